"""Binance's compiled stages against the codec: the same rows, the same bytes, or a refusal."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import AlephError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import ORDER_NONCE, Batch
from alephtx.core.records import INTENT
from alephtx.core.secrets import Secret
from alephtx.signers.hmac_sha256 import HmacSigner
from alephtx.venues.binance_orders import signed_call
from tests.venues.binance_golden import NOW, VENUES, codec, encode, frames, instruments, signer
from tests.venues.entry import Desk, Scanner, agree

MARKETS = ("spot", "usdm")
CODECS = {market: codec(market) for market in VENUES}
DESKS = {market: Desk(CODECS[market]) for market in MARKETS}
SCANNERS = {market: Scanner(CODECS[market]) for market in VENUES}
OURS = {m: instruments().of_venue(CODECS[m].spec.name) for m in VENUES}
SIGNER = signer()
WORDS = st.one_of(st.integers(1, 10**9), st.integers(1, 2**62), st.integers(-2, 2))
ZERO, ONE = Decimal(0), Decimal(1)
_few = settings(max_examples=300, deadline=None)

ROW = {
    "order_id": (5 << 54) + 77, "op": words.PLACE, "type": words.LIMIT, "tif": words.GTC,
    "side": words.BUY, "price": 6_180_010, "qty": 1_000,
}  # fmt: skip


def row_of(market, **fields):
    row = np.zeros(1, INTENT)
    for name, value in {"instrument": OURS[market][0], **ROW, **fields}.items():
        row[name] = value
    return row


# -- market --------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("market", sorted(VENUES))
def test_market_stage_gives_the_rows_of_decode_on_recorded_frames(market):
    """The direct path and the feed build the same book from the same bytes."""
    taken, declined = agree(SCANNERS[market], CODECS[market], frames(market), NOW)
    assert taken > 1000
    assert declined < taken / 50


@pytest.mark.kernel
@pytest.mark.parametrize("market", sorted(VENUES))
def test_market_stage_gives_the_rows_of_decode_on_some_frames(market):
    taken, _ = agree(SCANNERS[market], CODECS[market], frames(market)[::97], NOW)
    assert taken > 5


@pytest.mark.kernel
@pytest.mark.parametrize(
    "frame",
    [b"", b"{}", b"x" * 40, b'{"e":"serverShutdown"}', b'{"result":null,"id":1}',
     encode({"e": "markPriceUpdate", "E": 1, "s": "BTCUSDT", "p": "1", "i": "2", "r": "", "T": 0}),
     encode({"e": "trade", "E": 1, "s": "NOTOURS", "t": 1, "p": "1", "q": "1", "m": True})],
)  # fmt: skip
def test_market_stage_declines_what_python_is_to_read(frame):
    """Such a frame is handed over whole, not taken for one that says nothing."""
    assert SCANNERS["spot"](frame, NOW) < 0


def test_market_stages_do_not_share_their_memory():
    """Two loops may scan at once; the codec scans for the feed at the same time."""
    one, other = CODECS["spot"].market_stage(), CODECS["spot"].market_stage()
    assert not {one.state[k] for k in (0, 6, 12)} & {other.state[k] for k in (0, 6, 12)}


# -- orders --------------------------------------------------------------------------------------


def asked(market, row, nonce):
    """Return what encode makes of a row, None where it refuses."""
    try:
        (request,) = CODECS[market].encode(row, NOW, nonce)
    except (AlephError, KeyError):
        return None
    return request


def compared(market, row):
    """Assert that the stages write what encode writes, or refuse; return the frame or the code."""
    desk, before = DESKS[market], row.copy()
    payload = desk.written(row, NOW)
    if isinstance(payload, int):
        assert desk.sealed(b"f" * 64) < 0, "nothing may leave after a refusal"
        return payload
    frame = desk.sealed(SIGNER.sign(payload))
    request = asked(market, before, int(row["nonce"][0]))
    assert request is not None, "the stages say what encode refuses"
    assert frame == request.body
    (told,) = CODECS[market].sent(row)
    assert told == msgspec.structs.replace(request, body=b"")
    return frame


INTENTS = st.fixed_dictionaries(
    {
        "op": st.sampled_from([words.PLACE] * 4 + [words.CANCEL, words.AMEND, words.CANCEL_ALL, 0]),
        "type": st.sampled_from([words.LIMIT] * 3 + [words.MARKET, words.STOP, 0, 9]),
        "tif": st.sampled_from([0, words.GTC, words.IOC, words.FOK, words.GTD, 9]),
        "side": st.sampled_from([words.BUY, words.SELL, 0]),
        "flags": st.integers(0, 7),
        "price": WORDS,
        "qty": WORDS,
        "order_id": st.one_of(st.integers(1, 2**63 - 1), st.just(0)),
        "target_order_id": st.one_of(st.integers(1, 2**63 - 1), st.just(0), st.just(-5)),
        "expires_ns": st.one_of(st.integers(NOW, 2 * NOW), st.integers(-1, 2)),
    }
)


@pytest.mark.kernel
@pytest.mark.smoke
@_few
@given(st.sampled_from(MARKETS), st.integers(0, 1), INTENTS)
def test_order_stages_write_the_bytes_of_encode_or_refuse(market, k, fields):
    """One other byte is another order, or one that the venue cannot verify."""
    compared(market, row_of(market, instrument=OURS[market][k], **fields))


COMMON = [
    ("spot", {}), ("spot", {"side": words.SELL, "tif": words.IOC}), ("spot", {"tif": words.FOK}),
    ("spot", {"flags": words.POST_ONLY}), ("spot", {"type": words.MARKET, "price": 0}),
    ("spot", {"op": words.CANCEL, "target_order_id": 9}), ("spot", {"flags": words.HEDGE}),
    ("usdm", {}), ("usdm", {"flags": words.POST_ONLY | words.REDUCE_ONLY}), ("usdm", {"tif": 0}),
    ("usdm", {"tif": words.GTD, "expires_ns": NOW}),
    ("usdm", {"tif": words.GTD, "expires_ns": NOW, "flags": words.REDUCE_ONLY}),
    ("usdm", {"type": words.MARKET, "price": 0, "flags": words.REDUCE_ONLY}),
    ("usdm", {"op": words.CANCEL, "target_order_id": 2**63 - 1}),
    ("usdm", {"op": words.AMEND, "target_order_id": 9, "side": words.SELL}),
    ("usdm", {"price": 2**63 - 1, "qty": 2**63 - 1}),
]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize(("market", "fields"), COMMON)
def test_order_stages_do_what_is_common_themselves(market, fields):
    """A stage that refused everything would pass the comparison above."""
    assert isinstance(compared(market, row_of(market, **fields)), bytes)


REFUSED = [
    ("spot", {"op": words.AMEND, "target_order_id": 9}), ("spot", {"flags": words.REDUCE_ONLY}),
    ("spot", {"type": words.STOP, "trigger": 5}), ("spot", {"tif": words.GTD, "expires_ns": NOW}),
    ("usdm", {"flags": words.POST_ONLY, "tif": words.IOC}), ("usdm", {"price": 0}),
    ("usdm", {"flags": words.POST_ONLY, "type": words.MARKET}), ("usdm", {"qty": -1}),
    ("usdm", {"instrument": 2**32 - 1}), ("usdm", {"instrument": OURS["spot"][0]}),
    ("usdm", {"op": words.CANCEL_ALL}), ("usdm", {"order_id": 0}), ("usdm", {"side": 0}),
    ("usdm", {"tif": words.GTD, "expires_ns": 0}),
]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize(("market", "fields"), REFUSED)
def test_order_stages_refuse_what_the_gateway_is_to_word(market, fields):
    row = row_of(market, **fields)
    assert compared(market, row) < 0
    assert row["nonce"] == 0


@pytest.mark.kernel
def test_write_of_no_row_or_of_two_or_without_a_time_is_refused():
    desk = DESKS["spot"]
    assert desk.written(np.concatenate([row_of("spot")] * 2), NOW) < 0
    assert desk.written(np.zeros(0, INTENT), NOW) < 0
    assert desk.written(row_of("spot"), 0) < 0


@pytest.mark.kernel
def test_seal_takes_one_signature_for_one_order():
    """A frame that is sealed twice would be an order that leaves twice."""
    desk = DESKS["spot"]
    assert isinstance(desk.written(row_of("spot"), NOW), bytes)
    assert desk.sealed(b"") < 0
    assert desk.sealed(b"f" * 64) < 0, "the refused one is gone"
    desk.written(row_of("spot"), NOW)
    assert desk.sealed(b"f" * 4_000) < 0
    desk.written(row_of("spot"), NOW)
    assert isinstance(desk.sealed(b"f" * 64), bytes)
    assert desk.sealed(b"f" * 64) < 0


@pytest.mark.kernel
def test_cancels_of_one_order_have_a_nonce_each():
    """Keys must differ, or one answer would be taken for another's."""
    desk = DESKS["usdm"]
    desk.words[ORDER_NONCE] = NOW
    rows = [row_of("usdm", op=words.CANCEL, target_order_id=9) for _ in range(3)]
    for row in rows:
        desk.written(row, NOW)
    assert [int(row["nonce"][0]) for row in rows] == [NOW + 1, NOW + 2, NOW + 3]
    keys = [CODECS["usdm"].sent(row)[0].key for row in rows]
    assert len(set(keys)) == 3
    desk.words[ORDER_NONCE] = 0


@pytest.mark.kernel
def test_signature_of_another_length_is_taken_as_it_is():
    """Ed25519 keys sign in base64."""
    desk, row = DESKS["spot"], row_of("spot")
    desk.written(row, NOW)
    other = HmacSigner("goldenApiKey", Secret("x"))
    other_frame = desk.sealed(b"Zm9v" * 22)
    assert msgspec.json.decode(other_frame)["params"]["signature"] == "Zm9v" * 22
    assert signed_call(other, "k", "m", {}, NOW)  # the frame is the codec's, not the signer's


def test_answers_to_sent_orders_are_understood():
    """The loop's orders are answered on the link that Python reads."""
    for market, fields in COMMON:
        row = row_of(market, **fields)
        compared(market, row)
        (request,) = CODECS[market].sent(row)
        out = Batch()
        body = {"symbol": "BTCUSDT", "orderId": 5, "clientOrderId": "x", "transactTime": 1}
        answer = {"id": request.key, "status": 200, "result": body}
        CODECS[market].decode("trade", encode(answer), NOW, out)
        assert [(c.kind, c.key) for c in out.controls] == [("answer", request.key)]


def test_stages_are_none_without_a_signer_or_a_trade_link():
    assert VENUES["spot"].bind(instruments(), None, 0).order_stages() is None
    assert CODECS["coinm"].order_stages() is None
    quoted = HmacSigner('say"so', Secret("x"))
    assert VENUES["spot"].bind(instruments(), quoted, 0).order_stages() is None


def test_symbol_that_json_would_escape_is_left_to_the_gateway():
    table = Instruments()
    for k, symbol in enumerate(("币安人生USDT", 'A"B', "BTCUSDT")):
        base = instruments()[OURS["usdm"][0]]
        table.add(msgspec.structs.replace(base, key=f"binance_usdm:{k}", symbol=symbol))
    bound = VENUES["usdm"].bind(table, signer(), 0)
    desk = Desk(bound)
    written = [desk.written(row_of("usdm", instrument=k), NOW) for k in range(3)]
    assert [isinstance(one, bytes) for one in written] == [False, False, True]


@example(scale=(0, 0))
@settings(max_examples=25, deadline=None)
@given(scale=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_numbers_of_any_scale_are_the_codecs(scale):
    table = Instruments()
    base = instruments()[OURS["usdm"][0]]
    price, qty = scale
    table.add(msgspec.structs.replace(
        base, price_scale=price, qty_scale=qty, tick_size=ONE, lot_size=ONE, qty_min=ZERO,
        price_max=ZERO, qty_max=ZERO, price_min=ZERO,
    ))  # fmt: skip
    bound = VENUES["usdm"].bind(table, signer(), 0)
    desk, row = Desk(bound), row_of("usdm", instrument=0)
    payload = desk.written(row, NOW)
    assert desk.sealed(SIGNER.sign(payload)) == bound.encode(row, NOW, 1)[0].body


def test_costs_are_those_of_the_requests():
    for market in MARKETS:
        costs = DESKS[market].stages.costs
        for op in costs:
            row = row_of(market, op=op, target_order_id=7)
            assert costs[op] == asked(market, row, 1).weights
    assert set(DESKS["spot"].stages.costs) == {words.PLACE, words.CANCEL}
