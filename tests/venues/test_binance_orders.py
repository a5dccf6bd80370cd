"""Orders out: exact numbers, the venue's words for ours, signatures over what is really sent."""

import hashlib
import hmac
import json
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import ConfigError, OrderRejected
from alephtx.core.identity import to_text
from alephtx.core.instruments import Instruments
from alephtx.core.ports import What
from alephtx.core.records import INTENT
from alephtx.core.units import parse_scaled
from alephtx.venues.binance_orders import answer_key, read_key
from tests.venues.binance_golden import NOW, VENUES, codec, instruments

SECRET = b"golden-secret-of-no-worth"
OURS = (5 << 54) + 77
KEYS = {
    "spot": "binance_spot:BTC-USDT",
    "usdm": "binance_usdm:BTC-USDT-PERP",
    "coinm": "binance_coinm:BTC-USD-PERP",
}


def intent(market, **fields):
    """Return one INTENT row: a limit bid unless told otherwise."""
    row = np.zeros(1, INTENT)
    usual = {
        "order_id": OURS, "instrument": instruments().index(KEYS[market]), "op": words.PLACE,
        "type": words.LIMIT, "tif": words.GTC, "side": words.BUY, "price": 6_180_010, "qty": 1_000,
    }  # fmt: skip
    for name, value in {**usual, **fields}.items():
        row[name] = value
    return row


def sent(market, **fields):
    """Return (method or verb, parameters) of the one request an intent makes, signature checked."""
    (request,) = codec(market).encode(intent(market, **fields), NOW, 41)
    assert request.what is What.INTENT
    if request.transport == "http":
        query = urlsplit(request.path).query
        payload, _, signature = query.rpartition("&signature=")
        assert ("X-MBX-APIKEY", "goldenApiKey") in request.headers
        params, verb = dict(parse_qsl(payload)), request.method
    else:
        frame = json.loads(request.body)
        params, verb = frame["params"], frame["method"]
        signature = params.pop("signature")
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        assert params.pop("apiKey") == "goldenApiKey"
        assert frame["id"] == request.key
    assert signature == hmac.new(SECRET, payload.encode(), hashlib.sha256).hexdigest()
    assert int(params.pop("timestamp")) == NOW // 1_000_000
    assert int(params.pop("recvWindow")) == 5000
    return verb, params


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("market", "verb", "price", "qty"),
    [
        ("spot", "order.place", "61800.1", "0.001"),
        ("usdm", "order.place", "618001", "1"),
        ("coinm", "POST", "618001", "1000"),
    ],
)
def test_encode_limit_order(market, verb, price, qty):
    symbol = "BTCUSD_PERP" if market == "coinm" else "BTCUSDT"
    assert sent(market) == (
        verb,
        {
            "symbol": symbol, "side": "BUY", "type": "LIMIT", "quantity": qty, "price": price,
            "timeInForce": "GTC", "newClientOrderId": to_text(OURS), "newOrderRespType": "ACK",
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("market", "fields", "expected"),
    [
        ("spot", {"flags": words.POST_ONLY}, {"type": "LIMIT_MAKER", "timeInForce": None}),
        ("usdm", {"flags": words.POST_ONLY}, {"type": "LIMIT", "timeInForce": "GTX"}),
        ("coinm", {"flags": words.POST_ONLY}, {"timeInForce": "GTX"}),
        ("spot", {"tif": words.IOC, "side": words.SELL}, {"timeInForce": "IOC", "side": "SELL"}),
        ("usdm", {"tif": words.FOK}, {"timeInForce": "FOK"}),
        ("usdm", {"tif": words.GTD, "expires_ns": NOW}, {"timeInForce": "GTD",
                                                         "goodTillDate": NOW // 10**9 * 1000}),
        ("usdm", {"type": words.MARKET, "price": 0}, {"type": "MARKET", "price": None,
                                                      "timeInForce": None}),
        ("usdm", {"flags": words.REDUCE_ONLY}, {"reduceOnly": "true", "positionSide": None}),
        ("usdm", {"flags": words.HEDGE}, {"positionSide": None, "reduceOnly": None}),
        ("spot", {"flags": words.HEDGE}, {"positionSide": None, "reduceOnly": None}),
        ("spot", {"type": words.STOP, "trigger": 6_100_000}, {"type": "STOP_LOSS_LIMIT",
                                                              "stopPrice": "61000"}),
        ("spot", {"type": words.STOP, "trigger": 6_100_000, "price": 0},
         {"type": "STOP_LOSS", "price": None}),
    ],
)  # fmt: skip
def test_encode_words_of_the_venue(market, fields, expected):
    _, params = sent(market, **fields)
    assert {name: params.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("market", "fields"),
    [
        ("spot", {"flags": words.REDUCE_ONLY}),
        ("spot", {"tif": words.GTD}),
        ("spot", {"flags": words.POST_ONLY, "tif": words.IOC}),
        ("usdm", {"flags": words.POST_ONLY, "type": words.MARKET}),
        ("usdm", {"type": words.STOP, "trigger": 5}),
        ("usdm", {"tif": 99}),
    ],
)
def test_encode_inexpressible_order_is_refused_by_name(market, fields):
    """Dropping a flag silently would send another order than the strategy wanted."""
    with pytest.raises(OrderRejected, match=str(OURS)):
        codec(market).encode(intent(market, **fields), NOW, 1)


@given(st.integers(1, 10**11), st.integers(1, 10**10))
def test_encode_numbers_are_exact(price, qty):
    """Text of ticks and lots, read back, is the same ticks and lots."""
    _, params = sent("spot", price=price, qty=qty)
    assert parse_scaled(params["price"], 2) == price
    assert parse_scaled(params["quantity"], 6) == qty


@pytest.mark.parametrize(
    ("market", "verb"), [("spot", "order.cancel"), ("usdm", "order.cancel"), ("coinm", "DELETE")]
)
def test_encode_cancel_names_its_target(market, verb):
    found = sent(market, op=words.CANCEL, order_id=0, target_order_id=OURS)
    assert found[0] == verb
    assert found[1]["origClientOrderId"] == to_text(OURS)


@pytest.mark.parametrize(("market", "verb"), [("usdm", "order.modify"), ("coinm", "PUT")])
def test_encode_amend_carries_side_price_and_qty(market, verb):
    found = sent(market, op=words.AMEND, target_order_id=OURS)
    assert found[0] == verb
    assert {"side", "price", "quantity", "origClientOrderId", "symbol"} == set(found[1])


def test_encode_amend_on_spot_is_refused():
    with pytest.raises(ConfigError, match="cancel and place"):
        codec("spot").encode(intent("spot", op=words.AMEND), NOW, 1)


def test_encode_cancel_all_is_a_request_per_instrument():
    (request,) = codec("usdm").encode(intent("usdm", op=words.CANCEL_ALL), NOW, 1)
    assert (request.method, request.op) == ("DELETE", words.CANCEL_ALL)
    assert request.path.startswith("/fapi/v1/allOpenOrders?symbol=BTCUSDT&")


def test_encode_batch_keys_are_unique_and_charged():
    rows = np.concatenate(
        [intent("usdm", order_id=OURS + k) for k in range(3)]
        + [intent("usdm", op=words.CANCEL, target_order_id=OURS) for _ in range(2)]
    )
    requests = codec("usdm").encode(rows, NOW, 7)
    assert len({request.key for request in requests}) == 5
    assert [dict(request.weights).get("orders_10s", 0) for request in requests] == [1, 1, 1, 0, 0]
    assert requests[0].order_ids == (OURS,)


def test_encode_foreign_instrument_or_missing_signer_is_refused():
    with pytest.raises(ConfigError, match="came to binance_usdm"):
        codec("usdm").encode(intent("spot"), NOW, 1)
    with pytest.raises(ConfigError, match="accounts"):
        VENUES["usdm"].bind(instruments(), None, 0).encode(intent("usdm"), NOW, 1)


class Nameless:
    def sign(self, payload):
        return payload


def test_bind_signer_without_api_key_is_refused():
    with pytest.raises(ConfigError, match="no API key"):
        VENUES["spot"].bind(Instruments(), Nameless(), 0)


@given(
    st.sampled_from([words.PLACE, words.CANCEL, words.AMEND]),
    st.integers(1, (1 << 63) - 1),
    st.integers(0, 10**13),
    st.integers(0, 99),
)
def test_answer_key_is_read_back(op, order_id, nonce, k):
    """The venue takes at most 36 characters."""
    key = answer_key(op, order_id, nonce, k)
    assert len(key) <= 36
    assert read_key(key) == (op, order_id)


@given(st.text(max_size=40))
def test_answer_key_of_others_is_no_order(text):
    op, order_id = read_key(text)
    assert (op == 0) == (order_id == 0) or text[:1] not in "pcm"


def test_request_repr_shows_neither_key_nor_signature():
    (request,) = codec("coinm").encode(intent("coinm"), NOW, 1)
    assert "signature" not in repr(request)
    assert "goldenApiKey" not in repr(request)
