"""Private streams and account events: what each means, and what hostile ones must not do."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import ProtocolError
from alephtx.core.identity import to_text
from alephtx.core.ports import Batch
from alephtx.venues.binance_account import funding_id, money
from tests.venues.binance_golden import codec, controls, encode, instruments, updates

OURS = (5 << 54) + 77
RECV = 99
SPOT = {
    "e": "executionReport", "E": 1759347763168, "s": "BTCUSDT", "c": to_text(OURS), "S": "BUY",
    "o": "LIMIT", "f": "GTC", "q": "1.00000000", "p": "25000.00000000", "P": "0.00000000",
    "F": "0.00000000", "g": -1, "C": "", "x": "NEW", "X": "NEW", "r": "NONE", "i": 123456,
    "l": "0.00000000", "z": "0.00000000", "L": "0.00000000", "n": "0", "N": None,
    "T": 1759347763167, "t": -1, "I": 4644480641, "w": True, "m": False, "M": False,
    "O": 1759347763100, "Z": "0.00000000", "Y": "0.00000000", "Q": "0.00000000",
    "W": 1759347763100, "V": "EXPIRE_MAKER",
}  # fmt: skip
FILLED = {"x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.5", "z": "0.5", "L": "24999.5",
          "n": "0.0005", "N": "BTC", "t": 98765, "m": True}  # fmt: skip
FUTURES = {
    "s": "BTCUSDT", "c": to_text(OURS), "S": "SELL", "o": "LIMIT", "f": "GTX", "q": "0.010",
    "p": "7100.5", "ap": "0", "sp": "0", "x": "NEW", "X": "NEW", "i": 8886774, "l": "0", "z": "0",
    "L": "0", "T": 1568879465651, "t": 0, "b": "0", "a": "9.91", "m": False, "R": False,
    "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "BOTH", "cp": False, "rp": "0", "pP": False,
    "si": 0, "ss": 0, "V": "EXPIRE_TAKER", "pm": "NONE", "gtd": 0, "er": "0",
}  # fmt: skip


def spot(**change):
    """Return what the spot codec makes of a report, in the envelope of the WS API."""
    out = Batch()
    count = codec("spot").decode(
        "private", encode({"subscriptionId": 0, "event": {**SPOT, **change}}), RECV, out
    )
    assert count == out.update_count
    return out


def futures(market="usdm", **change):
    out = Batch()
    frame = {"e": "ORDER_TRADE_UPDATE", "T": 1568879465651, "E": 1568879465652}
    count = codec(market).decode(
        "private", encode({**frame, "o": {**FUTURES, **change}}), RECV, out
    )
    assert count == out.update_count
    return out


@pytest.mark.smoke
def test_report_spot_fill_has_every_field():
    (row,) = updates(spot(**FILLED))
    table = instruments()
    assert row["kind"] == words.FILL
    assert row["order_id"] == OURS
    assert (row["venue_order_id"], row["trade_id"]) == (123456, 98765)
    assert (row["price"], row["qty"], row["cum_qty"]) == (2499950, 500_000, 500_000)
    assert (row["fee"], table.currencies[row["fee_currency"]]) == (50_000, "BTC")
    assert row["instrument"] == table.index("binance_spot:BTC-USDT")
    assert (row["side"], row["liquidity"]) == (words.BUY, words.MAKER)
    assert (row["status"], row["account"]) == (words.PARTIALLY_FILLED, 3)
    assert (row["ts_event"], row["ts_recv"]) == (1759347763167 * 1_000_000, RECV)


def test_report_futures_fill_has_realized_and_taker():
    out = futures(x="TRADE", X="FILLED", l="0.010", z="0.010", L="7100.4", n="0.02", N="USDT",
                  t=12345678, rp="-12.34")  # fmt: skip
    (row,) = updates(out)
    assert (row["kind"], row["liquidity"]) == (words.FILL, words.TAKER)
    assert row["realized"] == -1_234_000_000
    assert (row["price"], row["qty"], row["side"]) == (71004, 10, words.SELL)
    assert not controls(out, "foreign")


def test_report_fee_in_a_new_currency_gets_an_index():
    out = spot(**FILLED | {"N": "BNB", "n": "0.00012345"})
    (row,) = updates(out)
    assert instruments().currencies[row["fee_currency"]] == "BNB"
    assert row["fee"] == 12345


@pytest.mark.parametrize(
    ("change", "kind", "status", "reason"),
    [
        ({}, words.ACK, words.NEW, 0),
        ({"x": "CANCELED", "X": "CANCELED"}, words.CANCEL_ACK, words.CANCELED, 0),
        ({"x": "REPLACED", "X": "NEW"}, words.REPLACE_ACK, words.NEW, 0),
        ({"x": "REJECTED", "X": "REJECTED", "r": "INSUFFICIENT_BALANCE"}, words.REJECT,
         words.REJECTED, words.REASON_INSUFFICIENT),
        ({"x": "EXPIRED", "X": "EXPIRED", "f": "IOC"}, words.EXPIRE, words.EXPIRED,
         words.REASON_NOT_FILLED),
        ({"x": "EXPIRED", "X": "EXPIRED", "eR": 3}, words.EXPIRE, words.EXPIRED,
         words.REASON_OTHER),
        ({"x": "TRADE_PREVENTION", "X": "EXPIRED_IN_MATCH"}, words.EXPIRE, words.EXPIRED,
         words.REASON_OTHER),
        ({"x": "TRADE_PREVENTION", "X": "PARTIALLY_FILLED"}, words.ORDER_STATE,
         words.PARTIALLY_FILLED, 0),
        ({"x": "SOMETHING_NEW", "X": "SOMETHING"}, words.ORDER_STATE, 0, 0),
    ],
)  # fmt: skip
def test_report_execution_type_maps_to_kind(change, kind, status, reason):
    (row,) = updates(spot(**change))
    assert (row["kind"], row["status"], row["reason"]) == (kind, status, reason)
    assert row["order_id"] == OURS


def test_report_cancel_names_the_order_in_its_original_id():
    """Spot puts the cancel's own id in c and the order's in C."""
    (row,) = updates(spot(x="CANCELED", X="CANCELED", c="web_abc", C=to_text(OURS)))
    assert row["order_id"] == OURS


def test_report_post_only_that_would_cross_expires_with_reason():
    (row,) = updates(futures(x="EXPIRED", X="EXPIRED", f="GTX"))
    assert (row["kind"], row["reason"]) == (words.EXPIRE, words.REASON_WOULD_CROSS)


@pytest.mark.parametrize("client", ["web_1", "autoclose-1", "adl_autoclose", "x-TKT5PX2F1", ""])
def test_report_foreign_order_is_said_to_be_foreign(client):
    """A fill of somebody else's order on the account still moves the position."""
    out = futures(c=client, x="TRADE", X="FILLED", l="0.01", z="0.01", L="7100", t=5)
    (row,) = updates(out)
    assert (row["order_id"], row["kind"]) == (0, words.FILL)
    kind = "forced" if "autoclose" in client else "foreign"
    assert len(controls(out, kind)) == 1


def test_report_of_unbound_symbol_is_foreign_without_row():
    out = spot(s="DOGEUSDT")
    assert updates(out) == []
    assert "DOGEUSDT" in controls(out, "foreign")[0]


def test_report_fill_of_nothing_is_no_fill():
    (row,) = updates(spot(**FILLED | {"l": "0.00000000", "t": -1}))
    assert row["kind"] == words.ORDER_STATE


def test_report_fill_finer_than_lots_is_kept_and_said():
    """Losing a fill would be worse than losing its last digit; reconciliation is told."""
    out = spot(**FILLED | {"l": "0.12345678", "z": "0.12345678"})
    (row,) = updates(out)
    assert row["qty"] == 123456
    assert "decimals" in str(controls(out, "error")[0])


@pytest.mark.parametrize("missing", ["s", "c", "S", "x", "X", "i", "z", "T"])
def test_report_without_required_field_is_counted(missing):
    report = {key: value for key, value in SPOT.items() if key != missing}
    bound, out = codec("spot"), Batch()
    assert bound.decode("private", encode({"subscriptionId": 0, "event": report}), RECV, out) == -1
    assert bound.counters["malformed"] == 1
    assert isinstance(controls(out, "error")[0], ProtocolError)
    assert updates(out) == []


@pytest.mark.parametrize(
    "change",
    [
        {"z": "x"}, {"z": "-1"}, {"z": 5}, {"i": "1"}, {"i": 1 << 63}, {"T": -1}, {"T": 1 << 60},
        {"S": "HOLD"}, {"p": "1.001"}, {"q": "9" * 30}, {"c": None}, {"C": 7},
        FILLED | {"t": -1}, FILLED | {"n": "NaN"}, FILLED | {"n": "1e99"}, FILLED | {"L": "inf"},
        FILLED | {"m": "yes"}, FILLED | {"rp": "1" * 70}, FILLED | {"n": "9" * 25},
    ],
)  # fmt: skip
def test_report_hostile_value_gives_an_error_and_no_row(change):
    bound, out = codec("spot"), Batch()
    assert bound.decode("private", encode({**SPOT, **change}), RECV, out) == -1
    assert updates(out) == []
    assert isinstance(controls(out, "error")[0], ProtocolError)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 2000),
    st.integers(0, 255),
    st.integers(0, 2000),
    st.sampled_from(["spot", "usdm", "coinm"]),
)
def test_private_frame_mutated_never_raises(at, byte, cut, market):
    """Whatever arrives, decode answers rows, an error control, or -1."""
    bound, out = codec(market), Batch()
    frame = bytearray(encode({"e": "ORDER_TRADE_UPDATE", "o": {**FUTURES, **SPOT, **FILLED}}))
    frame[at % len(frame)] = byte
    count = bound.decode("private", bytes(frame[: len(frame) - cut % 7]), RECV, out)
    assert count in (-1, 0, 1)
    assert out.update_count == max(count, 0)


@pytest.mark.parametrize("channel", ["market", "private", "trade"])
@pytest.mark.parametrize(
    "frame",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"e":"\x80"}', b'{"a":' + b"[" * 100_000, b"{}" * 9,
     b'{"id":"p","status":200}', b'{"stream":"x","data":[]}', b'{"error":{"code":"x"}}'],
)  # fmt: skip
def test_any_channel_rubbish_is_not_understood(channel, frame):
    bound, out = codec("usdm"), Batch()
    assert bound.decode(channel, frame, RECV, out) <= 0
    assert out.update_count == out.event_count == 0


# -- money -----------------------------------------------------------------------------------


@given(st.decimals(-(10**9), 10**9, allow_nan=False, places=8))
def test_money_is_exact_at_eight_decimals(value):
    assert money(format(value, "f")) == int(value.scaleb(8))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.000000005", 0), ("0.000000015", 2), ("0E-8", 0), ("-1.5", -150000000)],
)
def test_money_rounds_half_even(text, expected):
    assert money(text) == expected


ACCOUNT = {
    "e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938,
    "a": {"m": "FUNDING_FEE", "B": [{"a": "USDT", "wb": "122624.1", "cw": "100.1", "bc": "-0.25"}],
          "P": [{"s": "BTCUSDT", "pa": "20", "ep": "6563.6"}]},
}  # fmt: skip


def account(market="usdm", **body):
    out = Batch()
    codec(market).decode("private", encode({**ACCOUNT, "a": {**ACCOUNT["a"], **body}}), RECV, out)
    return out


def test_account_isolated_funding_is_paid_for_its_instrument():
    (row,) = updates(account())
    assert row["kind"] == words.FUNDING_PAID
    assert row["realized"] == -25_000_000
    assert row["instrument"] == instruments().index("binance_usdm:BTC-USDT-PERP")
    assert row["trade_id"] == funding_id(1564745798938) < 0


def test_account_cross_funding_with_several_candidates_asks_for_a_query():
    """The event does not say for what it paid; guessing would spoil a position's books."""
    out = account(P=[])
    assert updates(out) == []
    assert controls(out, "funding") == ["USDT"]


def test_account_cross_funding_with_one_candidate_is_its():
    """COIN-M settles each contract in its own coin."""
    (row,) = updates(account("coinm", P=[], B=[{"a": "BTC", "bc": "0.00001"}]))
    assert row["instrument"] == instruments().index("binance_coinm:BTC-USD-PERP")
    assert row["realized"] == 1000


def test_account_transfer_is_asked_for_and_order_is_silent():
    """The stream gives it no number, so that it could be booked twice; the query does."""
    out = account(m="DEPOSIT")
    assert "DEPOSIT" in controls(out, "funding")[0]
    assert not updates(out)
    for silent in ("ORDER", "MARGIN_TYPE_CHANGE"):
        out = account(m=silent)
        assert not out.controls
        assert not updates(out)


@pytest.mark.parametrize(
    ("market", "event", "kind"),
    [
        ("usdm", {"e": "listenKeyExpired", "E": 1, "listenKey": "abc"}, "login_expired"),
        ("spot", {"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}},
         "login_expired"),
        ("spot", {"event": {"e": "serverShutdown", "E": 1}}, "reconnect"),
        ("spot", {"subscriptionId": 0, "event": {"e": "externalLockUpdate", "E": 1, "a": "BTC",
                                                 "d": "100.0", "T": 1}}, "foreign"),
        ("usdm", {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": {"m": "DEPOSIT", "P": [],
                  "B": [{"a": "USDT", "wb": "5", "cw": "5", "bc": "5"}]}}, "funding"),
    ],
)  # fmt: skip
def test_notice_becomes_a_control(market, event, kind):
    out = Batch()
    assert codec(market).decode("private", encode(event), RECV, out) == 0
    assert [control.kind for control in out.controls] == [kind]


@pytest.mark.parametrize(("text", "moved"), [("100.0", 10_000_000_000), ("-0.00000001", -1)])
def test_spot_deposit_is_a_transfer_named_by_its_time(text, moved):
    event = {"e": "balanceUpdate", "E": 1573200697110, "a": "BTC", "d": text, "T": 1573200697068}
    bound, out = codec("spot"), Batch()
    assert bound.decode("private", encode({"subscriptionId": 0, "event": event}), RECV, out) == 1
    (row,) = updates(out)
    assert (row["kind"], row["code"]) == (words.MONEY_MOVED, words.MONEY_TRANSFER)
    assert (row["realized"], row["trade_id"]) == (moved, -1573200697068)
    assert row["fee_currency"] == bound.instruments.currency("BTC")
    assert (row["ts_event"], row["ts_recv"]) == (1573200697068 * 10**6, RECV)


@pytest.mark.parametrize("wrong", [{"d": "much"}, {"d": "1e40"}, {"d": 5}, {"a": 7}, {"T": -1}])
def test_spot_deposit_that_cannot_be_read_is_an_error_and_no_row(wrong):
    event = {"e": "balanceUpdate", "E": 1, "a": "BTC", "d": "1", "T": 1, **wrong}
    out = Batch()
    said = encode({"subscriptionId": 0, "event": event})
    assert codec("spot").decode("private", said, RECV, out) == -1
    assert ([control.kind for control in out.controls], updates(out)) == (["error"], [])


def test_private_unknown_event_is_counted():
    bound, out = codec("usdm"), Batch()
    assert bound.decode("private", encode({"e": "NEW_THING", "E": 1}), RECV, out) == -1
    assert bound.counters["not_understood"] == 1
    assert bound.decode("private", encode({"e": "TRADE_LITE", "E": 1}), RECV, out) == 0


def test_funding_id_joins_stream_and_query():
    """The two channels stamp one payment some milliseconds apart."""
    assert funding_id(1_700_006_400_004) == funding_id(1_700_006_402_000)
    assert funding_id(1_700_006_400_004) != funding_id(1_700_010_000_004)
    assert Decimal(funding_id(1_700_006_400_004)) < 0
