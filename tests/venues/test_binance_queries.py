"""Questions and answers over HTTP: paths, windows, rows, pages, counters and refusals."""

from decimal import Decimal
from itertools import pairwise
from urllib.parse import parse_qsl, urlsplit

import pytest

from alephtx.core import words
from alephtx.core.errors import ConfigError, OrderRejected, ProtocolError, TransportError
from alephtx.core.identity import to_text
from alephtx.core.ports import Balance, Batch, Holding, What
from alephtx.venues.binance_queries import DAY_NS, PAGE, usage_of_headers
from tests.venues.binance_golden import (
    NOW,
    VENUES,
    codec,
    controls,
    encode,
    instruments,
    text,
    updates,
)

OURS = (5 << 54) + 77
SPOT = instruments().index("binance_spot:BTC-USDT")
USDM = instruments().index("binance_usdm:BTC-USDT-PERP")


def ask(market, what, **args):
    return codec(market).request(what, NOW, **args)


def answered(market, what, value, *, status=200, headers=(), **args):
    """Return the batch that a codec makes of an answer to its own first request."""
    out = Batch()
    body = value if isinstance(value, bytes) else encode(value)
    codec(market).reply(ask(market, what, **args)[0], status, headers, body, out)
    return out


@pytest.mark.parametrize(
    ("market", "what", "args", "method", "path"),
    [
        ("spot", What.SNAPSHOT, {"instrument": SPOT}, "GET", "/api/v3/depth"),
        ("spot", What.ORDERS, {}, "GET", "/api/v3/openOrders"),
        ("spot", What.ORDER, {"instrument": SPOT, "order_id": OURS}, "GET", "/api/v3/order"),
        ("spot", What.FILLS_SINCE, {"instrument": SPOT, "since_ns": NOW - 1}, "GET",
         "/api/v3/myTrades"),
        ("spot", What.BALANCES, {}, "GET", "/api/v3/account"),
        ("spot", What.CANCEL_ALL, {"instrument": SPOT}, "DELETE", "/api/v3/openOrders"),
        ("usdm", What.LOGIN, {}, "POST", "/fapi/v1/listenKey"),
        ("usdm", What.KEEPALIVE, {"key": "k"}, "PUT", "/fapi/v1/listenKey"),
        ("usdm", What.POSITIONS, {}, "GET", "/fapi/v3/positionRisk"),
        ("usdm", What.BALANCES, {}, "GET", "/fapi/v3/balance"),
        ("usdm", What.FUNDING_SINCE, {"since_ns": 1}, "GET", "/fapi/v1/income"),
        ("usdm", What.DEADMAN, {"timeout_ns": 10**10}, "POST", "/fapi/v1/countdownCancelAll"),
        ("coinm", What.POSITIONS, {}, "GET", "/dapi/v1/positionRisk"),
        ("coinm", What.CANCEL_ALL, {}, "DELETE", "/dapi/v1/allOpenOrders"),
        ("coinm", What.TIME, {}, "GET", "/dapi/v1/time"),
    ],
)  # fmt: skip
def test_request_path_and_method(market, what, args, method, path):
    request = ask(market, what, **args)[0]
    assert (request.method, urlsplit(request.path).path) == (method, path)
    assert request.what is what
    assert dict(request.weights)["weight"] >= 1
    private = what not in (What.SNAPSHOT, What.TIME)
    assert (("X-MBX-APIKEY", "goldenApiKey") in request.headers) == private


@pytest.mark.parametrize(
    ("market", "instrument", "sizes"),
    [("spot", SPOT, [1] * 12), ("usdm", USDM, [10, 2])],
)
def test_request_cancels_by_our_ids_in_as_few_requests_as_the_venue_takes(
    market, instrument, sizes
):
    ids = [OURS + k for k in range(12)]
    found = ask(market, What.CANCEL_OURS, instrument=instrument, order_ids=ids)
    assert [len(request.order_ids) for request in found] == sizes
    assert {request.method for request in found} == {"DELETE"}
    query = dict(parse_qsl(urlsplit(found[0].path).query))
    named = query.get("origClientOrderIdList") or query["origClientOrderId"]
    assert to_text(OURS) in named
    assert ask(market, What.CANCEL_OURS, instrument=instrument, order_ids=[]) == []


def test_reply_to_a_cancel_of_ours_that_found_nothing_is_no_error():
    none = {"code": -2011, "msg": "Unknown order sent."}
    out = answered("spot", What.CANCEL_OURS, none, status=400, instrument=SPOT, order_ids=[OURS])
    assert not updates(out)
    rows = [none, {"symbol": "BTCUSDT", "orderId": 7}]
    assert not updates(answered("usdm", What.CANCEL_OURS, rows, instrument=USDM, order_ids=[OURS]))


@pytest.mark.parametrize("what", [What.KEEPALIVE, What.POSITIONS, What.FUNDING_SINCE, What.DEADMAN])
def test_request_spot_has_no_such_thing(what):
    args = {What.FUNDING_SINCE: {"since_ns": 1}, What.DEADMAN: {"timeout_ns": 1}}.get(what, {})
    assert ask("spot", what, **args) == []


def test_request_fills_are_cut_into_windows_without_hole():
    """Spot answers at most 24 hours at a time."""
    since = NOW - 3 * DAY_NS - 5
    pages = [dict(parse_qsl(urlsplit(r.path).query))
             for r in ask("spot", What.FILLS_SINCE, instrument=SPOT, since_ns=since)]  # fmt: skip
    assert len(pages) == 4
    assert int(pages[0]["startTime"]) == since // 1_000_000
    for one, two in pairwise(pages):
        assert int(two["startTime"]) == int(one["endTime"]) + 1
        assert int(one["endTime"]) - int(one["startTime"]) < DAY_NS // 1_000_000
    assert int(pages[-1]["endTime"]) >= NOW // 1_000_000


def test_request_fills_since_the_future_asks_nothing():
    assert ask("usdm", What.FILLS_SINCE, instrument=USDM, since_ns=NOW + 1) == []


def test_request_deadman_is_per_instrument_in_ms():
    found = ask("usdm", What.DEADMAN, timeout_ns=120 * 10**9)
    assert len(found) == 2
    assert "countdownTime=120000&" in found[0].path


def test_request_private_without_account_names_the_remedy():
    with pytest.raises(ConfigError, match=r"accounts\.\*"):
        VENUES["spot"].bind(instruments(), None, 0).request(What.ORDERS, NOW)


# -- answers ---------------------------------------------------------------------------------


def test_reply_open_orders_are_states():
    order = text("http.json")["GET /api/v3/openOrders"][0]
    mine = {**order, "symbol": "BTCUSDT", "clientOrderId": to_text(OURS), "executedQty": "0.25",
            "status": "PARTIALLY_FILLED", "price": "0.1"}  # fmt: skip
    out = answered("spot", What.ORDERS, [order, mine])
    (row,) = updates(out)
    assert (row["kind"], row["order_id"]) == (words.ORDER_STATE, OURS)
    assert (row["status"], row["cum_qty"], row["qty"]) == (
        words.PARTIALLY_FILLED, 250_000, 1_000_000,
    )  # fmt: skip
    assert len(controls(out, "foreign")) == 1


def test_reply_order_recorded_is_answered_under_the_asked_id():
    """Whatever client id the venue shows: it was asked by ours."""
    body = text("http.json")["GET /api/v3/order"]
    (row,) = updates(answered("spot", What.ORDER, body, instrument=SPOT, order_id=OURS))
    assert (row["order_id"], row["venue_order_id"], row["status"]) == (OURS, 1337, words.NEW)


def test_reply_order_unknown_is_not_found():
    refusal = {"code": -2013, "msg": "Order does not exist."}
    out = answered("usdm", What.ORDER, refusal, status=400, instrument=USDM, order_id=OURS)
    (row,) = updates(out)
    assert (row["kind"], row["order_id"], row["instrument"]) == (words.NOT_FOUND, OURS, USDM)


SPOT_TRADE = {"symbol": "BTCUSDT", "id": 28457, "orderId": 100234, "price": "4.01", "qty": "12.0",
              "quoteQty": "48.12", "commission": "10.1", "commissionAsset": "BNB",
              "time": 1499865549590, "isBuyer": True, "isMaker": False}  # fmt: skip
USDM_TRADE = {"buyer": False, "commission": "-0.0781", "commissionAsset": "USDT", "id": 698759,
              "maker": True, "orderId": 25851813, "price": "7819.1", "qty": "0.002",
              "quoteQty": "15.63802", "realizedPnl": "-0.91539999", "side": "SELL",
              "positionSide": "SHORT", "symbol": "BTCUSDT", "time": 1569514978020}  # fmt: skip


def test_reply_fills_carry_the_venues_id_for_the_caller_to_resolve():
    out = answered("spot", What.FILLS_SINCE, [SPOT_TRADE], instrument=SPOT, since_ns=NOW - 1)
    (row,) = updates(out)
    assert (row["kind"], row["order_id"], row["venue_order_id"]) == (words.FILL, 0, 100234)
    assert (row["side"], row["liquidity"]) == (words.BUY, words.TAKER)
    assert instruments().currencies[row["fee_currency"]] == "BNB"
    assert not out.controls


def test_reply_futures_fills_have_side_realized_and_rebate():
    out = answered("usdm", What.FILLS_SINCE, [USDM_TRADE], instrument=USDM, since_ns=NOW - 1)
    (row,) = updates(out)
    assert (row["side"], row["liquidity"]) == (words.SELL, words.MAKER)
    assert (row["fee"], row["realized"]) == (-7_810_000, -91_539_999)


def test_reply_full_page_asks_for_more():
    """A thousand fills are a page, not the end; losing the rest would lose money."""
    trades = [{**USDM_TRADE, "id": k} for k in range(PAGE)]
    out = answered("usdm", What.FILLS_SINCE, trades, instrument=USDM, since_ns=NOW - 1)
    assert out.update_count == PAGE
    (more,) = controls(out, "more")
    (request,) = ask("usdm", What.FILLS_SINCE, **more)
    assert f"fromId={PAGE}" in request.path


def test_reply_funding_rows_are_signed_and_identified():
    rows = [{"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-0.37500000",
             "asset": "USDT", "time": 1570636800000, "tranId": 9, "tradeId": ""}]  # fmt: skip
    (row,) = updates(answered("usdm", What.FUNDING_SINCE, rows, since_ns=1))
    assert (row["kind"], row["realized"], row["instrument"]) == (
        words.FUNDING_PAID, -37_500_000, USDM,
    )  # fmt: skip


def income(kind, text="-1.5", number=9, **more):
    return {"symbol": "", "incomeType": kind, "income": text, "asset": "USDT",
            "time": 1570636800000, "tranId": number, "tradeId": "", **more}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("TRANSFER", words.MONEY_TRANSFER), ("COMMISSION_REBATE", words.MONEY_REBATE),
        ("INSURANCE_CLEAR", words.MONEY_INSURANCE), ("AUTO_EXCHANGE", words.MONEY_CONVERSION),
        ("WELCOME_BONUS", words.MONEY_AIRDROP), ("BFUSD_REWARD", words.MONEY_INTEREST),
        ("OPTIONS_PREMIUM_FEE", words.MONEY_FEE),
    ],
)  # fmt: skip
def test_reply_what_moved_the_wallet_is_booked_by_its_type(kind, cause):
    out = answered("usdm", What.FUNDING_SINCE, [income(kind)], since_ns=1)
    (row,) = updates(out)
    assert (row["kind"], row["code"], row["realized"]) == (words.MONEY_MOVED, cause, -150_000_000)
    assert (row["trade_id"], row["ts_event"]) == (9, 1570636800000 * 10**6)
    assert out.controls == []


def test_reply_what_fills_say_already_is_not_booked_again():
    rows = [income("COMMISSION"), income("REALIZED_PNL")]
    assert updates(answered("usdm", What.FUNDING_SINCE, rows, since_ns=1)) == []


def test_reply_type_that_nobody_knows_is_booked_and_named():
    out = answered("usdm", What.FUNDING_SINCE, [income("NEW_GIFT", number=0)], since_ns=1)
    (row,) = updates(out)
    assert (row["code"], row["trade_id"]) == (words.MONEY_CORRECTION, -1570636800000)
    assert controls(out, "foreign") == ["NEW_GIFT: -1.5 USDT"]


def test_reply_end_of_a_dated_contract_is_for_a_person():
    """Its price is not told, so the position cannot be closed by it."""
    out = answered("usdm", What.FUNDING_SINCE, [income("DELIVERED_SETTELMENT")], since_ns=1)
    assert (updates(out), controls(out, "forced")) == ([], ["DELIVERED_SETTELMENT: -1.5 USDT"])


def test_reply_positions_are_signed_lots():
    rows = [
        {"symbol": "BTCUSDT", "positionAmt": "-0.001", "entryPrice": "50000.5"},
        {"symbol": "ETHUSDT", "positionAmt": "0.000", "entryPrice": "0.0"},
        {"symbol": "DOGEUSDT", "positionAmt": "5", "entryPrice": "0.1"},
    ]
    out = answered("usdm", What.POSITIONS, rows)
    assert controls(out, "positions") == [[Holding(USDM, -1, Decimal("50000.5"))]]
    assert "DOGEUSDT" in controls(out, "foreign")[0]


def test_reply_balances():
    spot = {"balances": [{"asset": "BTC", "free": "1.5", "locked": "0.5"}]}
    assert controls(answered("spot", What.BALANCES, spot), "balances") == [
        [Balance("BTC", Decimal("2.0"), Decimal("1.5"))]
    ]
    usdm = [{"asset": "USDT", "balance": "122.12345678", "crossUnPnl": "9",
             "availableBalance": "100"}]  # fmt: skip
    assert controls(answered("usdm", What.BALANCES, usdm), "balances") == [
        [Balance("USDT", Decimal("122.12345678"), Decimal(100))]
    ]
    recorded = controls(
        answered("spot", What.BALANCES, text("http.json")["GET /api/v3/account"]), "balances"
    )
    assert len(recorded[0]) == 6


def test_reply_time_login_and_cancel_all():
    assert controls(answered("usdm", What.TIME, {"serverTime": 5}), "time") == [5]
    assert controls(answered("usdm", What.LOGIN, {"listenKey": "abc"}), "login") == ["abc"]
    done = {"code": 200, "msg": "The operation of cancel all open order is done."}
    assert not updates(answered("usdm", What.CANCEL_ALL, done, instrument=USDM))
    cancelled = {**text("http.json")["DELETE /api/v3/order"], "symbol": "BTCUSDT",
                 "origClientOrderId": to_text(OURS)}  # fmt: skip
    (row,) = updates(answered("spot", What.CANCEL_ALL, [cancelled], instrument=SPOT))
    assert (row["kind"], row["order_id"]) == (words.CANCEL_ACK, OURS)
    none = {"code": -2011, "msg": "Unknown order sent."}
    assert not updates(answered("spot", What.CANCEL_ALL, none, status=400, instrument=SPOT))


def test_reply_keepalive_of_a_dead_listen_key_says_that_the_login_expired():
    """Otherwise the private stream would fall silent within the hour and nobody would know."""
    refusal = {"code": -1125, "msg": "This listenKey does not exist."}
    out = answered("usdm", What.KEEPALIVE, refusal, status=400)
    assert [control.kind for control in out.controls] == ["login_expired"]


def test_reply_headers_become_limits():
    headers = {"X-MBX-USED-WEIGHT-1M": "17", "x-mbx-order-count-10s": "3", "Server": "x",
               "X-MBX-ORDER-COUNT-1D": "nine"}  # fmt: skip
    assert usage_of_headers(headers) == {"weight": 17, "orders_10s": 3}
    out = answered("usdm", What.TIME, {"serverTime": 5}, headers=headers)
    assert controls(out, "limits") == [{"weight": 17, "orders_10s": 3}]
    assert usage_of_headers(None) == {}


def test_reply_refusals_are_raised():
    with pytest.raises(OrderRejected):
        answered("usdm", What.ORDERS, {"code": -4061, "msg": "no"}, status=400)
    with pytest.raises(TransportError):
        answered("usdm", What.ORDERS, b"<html>Bad Gateway</html>", status=502)
    with pytest.raises(ProtocolError, match="unreadable"):
        answered("usdm", What.ORDERS, b"\xff\xfe", status=400)


@pytest.mark.parametrize(
    "what", [What.ORDERS, What.POSITIONS, What.BALANCES, What.TIME, What.LOGIN]
)
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[1]", b'{"a":', b"\xff", b"[{}]", b'[{"symbol":1}]', b'"x"', b"[" * 9999],
)
def test_reply_hostile_body_is_a_protocol_error(what, body):
    with pytest.raises(ProtocolError):
        answered("usdm", what, body)


def test_reply_to_http_order_is_an_ack_and_answers_its_key():
    """COIN-M orders travel by REST."""
    import numpy as np

    from alephtx.core.records import INTENT

    row = np.zeros(1, INTENT)
    index = instruments().index("binance_coinm:BTC-USD-PERP")
    row["order_id"], row["instrument"], row["op"], row["qty"] = OURS, index, words.PLACE, 3
    row["type"], row["side"], row["price"] = words.LIMIT, words.SELL, 600_000
    bound, out = codec("coinm"), Batch()
    (request,) = bound.encode(row, NOW, 1)
    body = {"clientOrderId": to_text(OURS), "orderId": 22542179, "symbol": "BTCUSD_PERP",
            "status": "NEW", "executedQty": "0", "origQty": "3", "price": "60000", "side": "SELL",
            "updateTime": 1566818724722, "cumBase": "0"}  # fmt: skip
    bound.reply(request, 200, {}, encode(body), out)
    (update,) = updates(out)
    assert (update["kind"], update["venue_order_id"]) == (words.ACK, 22542179)
    assert [(c.kind, c.key) for c in out.controls] == [("answer", request.key)]


@pytest.mark.parametrize("wrong", [10**18, -1, "5", None, 1.5])
def test_reply_time_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ProtocolError):
        answered("usdm", What.TIME, {"serverTime": wrong})
