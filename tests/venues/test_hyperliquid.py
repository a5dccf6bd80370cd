"""Hyperliquid's codec: the kit over golden files, and the vendor's SDK as a second opinion."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hyperliquid.utils.signing import (
    float_to_wire,
    order_request_to_order_wire,
    order_wires_to_order_action,
    recover_agent_or_user_from_l1_action,
)
from hyperliquid.utils.types import Cloid
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import (
    ConfigError,
    ProtocolError,
    VenueError,
)
from alephtx.core.identity import to_cloid
from alephtx.core.instruments import Instruments
from alephtx.core.plugins import find
from alephtx.core.ports import Balance, Batch, JoinRule, What
from alephtx.core.secrets import Secret
from alephtx.core.units import SIGNIFICANT_FIGURES, round_price
from alephtx.signers.evm import EvmSigner
from alephtx.testing.golden import intent_rows, load_golden, rows_as_dicts
from alephtx.testing.venue import check_venue
from alephtx.venues.hyperliquid import Hyperliquid, HyperliquidCodec
from tests.venues.hyperliquid_golden import (
    ADDRESS,
    GOLDEN,
    INFO,
    KEY,
    META,
    NONCE,
    NOW,
    ORDER_ID,
    PLACE,
    OverHttp,
    body_of,
    codec,
)


@pytest.mark.smoke
def test_golden_files_conform():
    signer = EvmSigner(Secret(KEY))
    report = check_venue(Hyperliquid(), GOLDEN, signer=signer, secrets=[KEY, KEY[2:]], mutations=20)
    assert report.recorded == 55
    assert min(report.frames, report.answers, report.orders) > 20
    assert report.compared > 5_000


def test_golden_files_conform_over_http_too(tmp_path):
    """The killer has no link: the same orders, and their answers as bodies."""
    content = load_golden(GOLDEN)
    for case in content.orders:
        case.says = [said["request"]["payload"] for said in case.says]
        if case.answer is not None:
            response = case.answer["data"]["response"]
            case.answer = response["payload"]
            if response["type"] == "error":
                status, _, case.answer = case.answer.partition(": ")
                case.status = int(status)
    content.frames, content.answers, content.recordings = [], [], []
    (tmp_path / "instruments.json").write_bytes(META)
    (tmp_path / "conformance.json").write_bytes(msgspec.json.encode(content))
    assert check_venue(OverHttp(), tmp_path, signer=EvmSigner(Secret(KEY))).orders > 20


def test_plugin_is_found_by_name():
    assert find("venues", "hyperliquid") is Hyperliquid


def test_spec_says_whole_books_and_evm_signatures():
    spec = Hyperliquid.spec
    assert (spec.join, spec.signer, spec.transport) == (JoinRule.FULL, "evm", "trade")
    assert set(spec.endpoints) == {"mainnet", "testnet"}


# -- instruments ---------------------------------------------------------------------------------


def test_instrument_of_btc_has_the_documented_grid():
    btc, doge = Hyperliquid().parse_instruments(META, ["BTC", "DOGE"])
    assert btc.key == "hyperliquid:BTC-USD-PERP"
    assert (btc.base, btc.quote, btc.settle) == ("BTC", "USD", "USDC")
    assert (btc.price_scale, btc.qty_scale) == (1, 5)
    assert (btc.tick_rule, btc.significant_figures) == (SIGNIFICANT_FIGURES, 5)
    assert (btc.lot_size, btc.notional_min) == (Decimal("0.00001"), Decimal(10))
    assert (btc.venue_index, doge.venue_index) == (0, 12)
    assert (doge.price_scale, doge.qty_scale, doge.lot_size) == (6, 0, Decimal(1))


def test_prices_round_to_five_figures_and_whole_numbers_stay():
    rows = Instruments(Hyperliquid().parse_instruments(META, ["BTC", "DOGE"])).rows()
    btc, doge = rows[:1], rows[1:]
    assert round_price(btc, 1_050_555, words.BUY) == 1_050_550  # 105055.5 has seven figures
    assert round_price(btc, 1_050_555, words.SELL) == 1_050_560
    assert round_price(btc, 99_995, words.BUY) == 99_995  # 9999.5 has five
    assert round_price(doge, 782_556, words.BUY) == 782_550  # 0.782556 has six


def test_instruments_all_where_none_is_named():
    found = Hyperliquid().parse_instruments(META, [])
    assert [one.symbol for one in found] == [one["name"] for one in INFO["meta"]["universe"]]


def test_delisted_instrument_is_so_marked():
    body = b'{"universe":[{"name":"OLD","szDecimals":1,"isDelisted":true}]}'
    assert Hyperliquid().parse_instruments(body, ["OLD"])[0].status == words.DELISTED


def test_unknown_coin_is_refused_with_what_is_near():
    with pytest.raises(ConfigError, match=r"no perpetual 'btc'.*BTC"):
        Hyperliquid().parse_instruments(META, ["btc"])


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"universe":{}}', b'{"universe":[{"name":"A"}]}', b"\xff",
     b'{"universe":[{"name":"A","szDecimals":1.5}]}', b'{"universe":[{"name":"A","szDecimals":9}]}',
     b'{"universe":[{"name":"A","szDecimals":-1}]}', META[:-20]],
)  # fmt: skip
def test_malformed_meta_is_a_protocol_error(body):
    with pytest.raises(ProtocolError):
        Hyperliquid().parse_instruments(body, [])


# -- links ---------------------------------------------------------------------------------------


def test_market_link_subscribes_each_coin_to_four_channels():
    (link,) = codec().links("market")
    asked = [msgspec.json.decode(frame) for frame in link.frames]
    assert asked[0] == {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC"}}
    assert len(asked) == 8
    assert (link.path, link.ping, link.ping_every_ns) == (
        "/ws", b'{"method":"ping"}', 50_000_000_000,
    )  # fmt: skip


def test_private_link_needs_an_address_and_no_login():
    (link,) = codec().links("private")
    users = {msgspec.json.decode(frame)["subscription"]["user"] for frame in link.frames}
    assert users == {ADDRESS.lower()}
    assert codec(signer=None).links("private") == []


def test_trade_link_asks_for_life_and_nothing_else():
    """The venue cuts who is silent for a minute, and a link that stalls holds orders in doubt."""
    (link,) = codec().links("trade")
    assert (link.path, link.frames, link.ping) == ("/ws", (), b'{"method":"ping"}')
    assert link.ping_every_ns < link.stall_ns < 60_000_000_000
    assert codec(signer=None).links("trade") == []
    assert codec().links("other") == []


def test_api_wallet_signs_for_another_address():
    master = "0x" + "Ab" * 20
    bound = codec(user=master)
    assert body_of(bound.request(What.ORDERS, NOW)[0])["user"] == master.lower()
    request = bound.encode(intent_rows([PLACE]), NOW, NONCE)[0]
    assert recovered(request, mainnet=False) == ADDRESS


def test_signer_of_another_scheme_is_refused():
    class Other:
        def sign(self, payload):
            return payload

    with pytest.raises(ConfigError, match="use evm"):
        codec(signer=Other())


# -- orders --------------------------------------------------------------------------------------


def recovered(request, *, mainnet):
    body = body_of(request)
    return recover_agent_or_user_from_l1_action(
        body["action"], body["signature"], None, body["nonce"], None, mainnet
    )


@pytest.mark.parametrize("mainnet", [True, False])
def test_order_signature_recovers_to_our_address_by_the_vendors_sdk(mainnet):
    requests = codec(mainnet=mainnet).encode(
        intent_rows([PLACE, {"op": words.CANCEL, "target_order_id": ORDER_ID}]), NOW, NONCE
    )
    assert [recovered(request, mainnet=mainnet) for request in requests] == [ADDRESS, ADDRESS]
    assert recovered(requests[0], mainnet=not mainnet) != ADDRESS


@settings(max_examples=60, deadline=None)
@given(
    price=st.integers(1, 10**8),
    qty=st.integers(1, 10**9),
    side=st.sampled_from([words.BUY, words.SELL]),
    tif=st.sampled_from([(words.GTC, 0, "Gtc"), (words.IOC, 0, "Ioc"),
                         (words.GTC, words.POST_ONLY, "Alo")]),
    reduce_only=st.booleans(),
    order_id=st.integers(1, 2**63 - 1),
    instrument=st.sampled_from([0, 1]),
)  # fmt: skip
def test_order_action_equals_the_vendors(price, qty, side, tif, reduce_only, order_id, instrument):
    """Prices stay below 10^7, where the floats of the SDK still have its eight decimals."""
    bound = codec()
    table = bound.instruments[instrument]
    flags = tif[1] | (words.REDUCE_ONLY if reduce_only else 0)
    change = {"price": price, "qty": qty, "side": side, "tif": tif[0], "flags": flags,
              "order_id": order_id, "instrument": instrument}  # fmt: skip
    request = bound.encode(intent_rows([PLACE | change]), NOW, NONCE)[0]
    wire = order_request_to_order_wire(
        {
            "coin": table.symbol,
            "is_buy": side == words.BUY,
            "sz": float(table.qty_decimal(qty)),
            "limit_px": float(table.price_decimal(price)),
            "order_type": {"limit": {"tif": tif[2]}},
            "reduce_only": reduce_only,
            "cloid": Cloid.from_str(to_cloid(order_id)),
        },
        table.venue_index,
    )
    assert order_wires_to_order_action([wire]) == body_of(request)["action"]
    assert list(wire) == list(body_of(request)["action"]["orders"][0])
    assert request.order_ids == (order_id,)
    assert float_to_wire(float(table.price_decimal(price))) == wire["p"]


def test_nonces_are_never_used_twice_even_when_the_same_is_given():
    bound = codec()
    rows = intent_rows([PLACE, PLACE | {"instrument": 1}])
    made = [
        *bound.encode(rows, NOW, NONCE),
        *bound.encode(rows, NOW, NONCE),
        *bound.request(What.DEADMAN, NOW, timeout_ns=10**10),
        *bound.encode(rows, NOW, NONCE + 100),
    ]
    nonces = [body_of(request)["nonce"] for request in made]
    assert nonces == sorted(set(nonces))
    assert nonces[0] == NONCE
    ahead = NOW // 10**6 + 2_000
    assert nonces[-3:] == [ahead, ahead + 1, ahead + 2], "a killer's are two seconds ahead"


def test_batch_weight_grows_by_one_for_forty_orders():
    rows = intent_rows([PLACE | {"order_id": ORDER_ID + k} for k in range(81)])
    (request,) = codec().encode(rows, NOW, NONCE)
    assert request.weights == (("ip_weight", 3),)
    assert len(request.order_ids) == 81


def test_bad_row_stops_the_whole_batch_before_anything_is_signed():
    bound = codec()
    with pytest.raises(VenueError) as caught:
        bound.encode(intent_rows([PLACE, PLACE | {"tif": words.FOK}]), NOW, NONCE)
    assert caught.value.reason == words.REASON_FILTER
    assert body_of(bound.encode(intent_rows([PLACE]), NOW, NONCE)[0])["nonce"] == NONCE


def test_order_without_a_signer_is_refused():
    with pytest.raises(ConfigError, match="without a signer"):
        codec(signer=None).encode(intent_rows([PLACE]), NOW, NONCE)


def test_requests_show_no_signature():
    (request,) = codec().encode(intent_rows([PLACE]), NOW, NONCE)
    assert body_of(request)["signature"]["r"][2:] not in repr(request)
    assert KEY[2:] not in repr(request) + request.body.decode()


# -- questions -----------------------------------------------------------------------------------


def test_deadman_is_a_time_in_the_future_and_off_without_one():
    bound = codec()
    on = body_of(bound.request(What.DEADMAN, NOW, timeout_ns=30 * 10**9)[0])["action"]
    off = body_of(bound.request(What.DEADMAN, NOW, timeout_ns=0)[0])["action"]
    assert on == {"type": "scheduleCancel", "time": NOW // 10**6 + 30_000}
    assert off == {"type": "scheduleCancel"}
    with pytest.raises(ConfigError, match="5 s"):
        bound.request(What.DEADMAN, NOW, timeout_ns=10**9)


def test_cancel_ours_names_all_of_an_instrument_in_one_action():
    bound, ours = codec(), [(3 << 54) + k for k in range(45)]
    assert bound.request(What.CANCEL_OURS, NOW, instrument=1, order_ids=[]) == []
    (request,) = bound.request(What.CANCEL_OURS, NOW, instrument=1, order_ids=ours)
    action = body_of(request)["action"]
    assert action["type"] == "cancelByCloid"
    assert [c["cloid"] for c in action["cancels"]] == [to_cloid(order_id) for order_id in ours]
    assert request.order_ids == tuple(ours)
    assert [cost for _, cost in request.weights] == [2], "forty cost one more"


def test_cancel_all_names_the_orders_or_asks_nothing():
    bound = codec()
    assert bound.request(What.CANCEL_ALL, NOW, instrument=1) == []
    (request,) = bound.request(What.CANCEL_ALL, NOW, instrument=1, venue_order_ids=[7, 8])
    assert body_of(request)["action"] == {
        "type": "cancel", "cancels": [{"a": 1, "o": 7}, {"a": 1, "o": 8}],
    }  # fmt: skip


def test_questions_the_venue_has_not_are_empty():
    bound = codec()
    assert bound.request(What.LOGIN, NOW) == []
    assert bound.request(What.KEEPALIVE, NOW, key="") == []
    assert codec(signer=None).request(What.ORDERS, NOW) == []


def test_time_is_asked_of_the_exchanges_status_and_answered_in_ms():
    (request,) = codec(signer=None).request(What.TIME, NOW)
    assert Hyperliquid().request(What.TIME, NOW) == [request]
    assert (body_of(request), request.weights) == ({"type": "exchangeStatus"}, (("ip_weight", 2),))
    out = ask(codec(), What.TIME, {"specialStatuses": None, "time": 1_700_000_000_123})
    assert [(c.kind, c.value) for c in out.controls] == [("time", 1_700_000_000_123)]


@pytest.mark.parametrize("wrong", [{}, {"time": "soon"}, {"time": -1}, {"time": 10**15}, []])
def test_time_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ProtocolError):
        ask(codec(), What.TIME, wrong)


def ask(bound, what, body, status=200, **args):
    out = Batch()
    request = bound.request(what, NOW, **args)[0]
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    bound.reply(request, status, {}, encoded, out)
    return out


def test_balance_is_the_account_value_without_open_profit():
    state = INFO["clearinghouseState"]
    out = ask(codec(), What.BALANCES, state)
    pnl = sum(Decimal(e["position"]["unrealizedPnl"]) for e in state["assetPositions"])
    total = Decimal("1182.312496") - pnl
    assert out.controls[0].value == [Balance("USDC", total, Decimal(state["withdrawable"]))]


def test_positions_are_signed_lots_and_foreign_coins_are_told():
    out = ask(codec(), What.POSITIONS, INFO["clearinghouseState"])
    (held,) = [control.value for control in out.controls if control.kind == "positions"]
    assert [(one.instrument, one.qty, one.entry_price) for one in held] == [
        (0, -785, Decimal("26951.0")),
        (1, 1334, Decimal("1705.82")),
    ]
    others = [control for control in out.controls if control.kind == "foreign"]
    assert len(others) == len(INFO["clearinghouseState"]["assetPositions"]) - 2


def fill(time_ms, tid):
    return {"coin": "BTC", "px": "1", "sz": "1", "side": "B", "time": time_ms, "oid": 1,
            "tid": tid, "crossed": True, "fee": "0"}  # fmt: skip


def test_full_page_of_fills_asks_for_more_from_its_newest():
    page = [fill(5_000 + k // 2, k) for k in range(2_000)]
    out = ask(codec(), What.FILLS_SINCE, page, instrument=0, since_ns=0)
    assert out.update_count == 2_000
    assert out.controls[-1].kind == "more"
    assert out.controls[-1].value == {"instrument": 0, "since_ns": 5_999 * 10**6}


def test_full_page_within_one_millisecond_does_not_ask_the_same_again():
    page = [fill(5_000, k) for k in range(2_000)]
    out = ask(codec(), What.FILLS_SINCE, page, instrument=0, since_ns=5_000 * 10**6)
    assert out.controls[-1].value["since_ns"] == 5_001 * 10**6


def test_page_that_is_not_full_asks_for_nothing():
    out = ask(codec(), What.FILLS_SINCE, [fill(1, 1)], instrument=0, since_ns=0)
    assert [control.kind for control in out.controls] == []


def test_more_rows_than_the_batch_holds_is_an_error_and_no_crash():
    out = Batch(events=4, updates=2)
    bound = codec()
    request = bound.request(What.FILLS_SINCE, NOW, since_ns=0)[0]
    bound.reply(request, 200, {}, msgspec.json.encode([fill(1, k) for k in range(5)]), out)
    assert out.update_count == 2
    assert [control.kind for control in out.controls] == ["error"] * 3
    book = {"coin": "BTC", "time": 1, "levels": [[{"px": "1", "sz": "1", "n": 1}] * 9, []]}
    frame = msgspec.json.encode({"channel": "l2Book", "data": book})
    assert bound.decode("market", frame, NOW, out) == -1
    assert out.event_count == 0


def test_liquidation_is_loud():
    out = Batch()
    frame = b'{"channel":"user","data":{"liquidation":{"lid":1}}}'
    codec().decode("private", frame, NOW, out)
    assert (out.controls[0].kind, "liquidated" in out.controls[0].value) == ("forced", True)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["1.5", "-1", "NaN", "Infinity", "1e9", "9" * 40, "B", "A", "BTC", "open"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["order", "status", "coin", "px", "sz", "side", "oid", "tid", "fee",
                         "time", "fills", "fundings", "levels", "bbo", "ctx", "markPx", "id"]),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip
CHANNELS = ["l2Book", "bbo", "trades", "activeAssetCtx", "orderUpdates", "userFills", "user",
            "userFundings", "post", "error", "subscriptionResponse", "pong", "x"]  # fmt: skip
BOUND: HyperliquidCodec = codec()
OUT = Batch()


@settings(max_examples=300, deadline=None)
@given(
    channel=st.sampled_from(CHANNELS),
    data=JSON_VALUES,
    role=st.sampled_from(["market", "private", "trade"]),
)
def test_any_json_is_taken_or_declined_and_never_raises(channel, data, role):
    import json

    OUT.clear()
    frame = json.dumps({"channel": channel, "data": data}).encode()
    returned = BOUND.decode(role, frame, NOW, OUT)
    assert returned >= 0 or (OUT.event_count, OUT.update_count) == (0, 0)


FILL = {"coin": "BTC", "px": "72528.0", "sz": "0.11693", "side": "A", "time": 5, "oid": 1,
        "tid": 2, "crossed": True, "fee": "2.9", "closedPnl": "1"}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(FILL)),
    value=st.sampled_from(
        ["", "-1", "NaN", "Infinity", "-Infinity", "1e5", "1" * 30, "0.1234567890123", "1.", ".",
         "+1", " 1", "\uff11", -1, 2**63, 2**64, 10**30, 1.5, None, True, [], {}]
    ),
)  # fmt: skip
def test_fill_with_one_bad_field_is_dropped_aloud_and_its_neighbour_kept(name, value):
    out = Batch()
    both = {"fills": [FILL | {name: value}, FILL | {"tid": 77}]}
    frame = msgspec.json.encode({"channel": "userFills", "data": both})
    returned = BOUND.decode("private", frame, NOW, out)
    rows = rows_as_dicts(out.updates, out.update_count)
    if returned < 0:  # not even the shape: nothing is taken, and it is told
        assert [control.kind for control in out.controls] == ["error"]
    else:
        assert rows[-1]["trade_id"] == 77
        assert len(rows) == 2 or out.controls
    assert all(row["price"] == 725_280 or name == "px" for row in rows)
    assert np.all(out.updates[: out.update_count]["kind"] == words.FILL)
