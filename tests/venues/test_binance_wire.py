"""The typed decoder by itself: snapshots, marks, rounding, and what it refuses."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import ProtocolError, UnitError
from alephtx.core.ports import Batch
from alephtx.venues.binance_wire import (
    Symbols,
    nearest,
    put_market,
    put_snapshot,
    read_head,
    truncated,
)
from tests.venues.binance_golden import encode, instruments, recorded, text

MARKETS = {"spot": "BTCUSDT", "usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}
decimals = st.decimals(0, 10**6, allow_nan=False, places=9).map(lambda d: format(d, "f"))


@given(decimals, st.integers(0, 9))
def test_truncated_is_floor(number, scale):
    assert truncated(number, scale) == int(Decimal(number).scaleb(scale))


@given(decimals, st.integers(0, 8))
def test_nearest_is_half_up(number, scale):
    assert nearest(number, scale) == int(Decimal(number).scaleb(scale) + Decimal("0.5"))


@pytest.mark.parametrize("number", ["", ".", "-1", "1e5", "NaN", "inf", "1.2.3", "1,5", "٣", "0x1"])
def test_numbers_that_are_none_are_refused(number):
    for read in (truncated, nearest):
        with pytest.raises((UnitError, ProtocolError)):
            read(number, 2)


@pytest.mark.parametrize("market", MARKETS)
def test_snapshot_recorded_gives_clear_and_levels(market):
    """CLEAR carries the id that the stream joins on; every level is a SNAPSHOT row, best first."""
    out = Batch()
    body = next(frame for _, frame in recorded(market) if b"lastUpdateId" in frame)
    known = Symbols(instruments(), f"binance_{market}").need(MARKETS[market])
    put_snapshot(body, known, out)
    wire = msgspec.json.decode(body)
    rows = out.events[: out.event_count]
    assert out.event_count == 1 + len(wire["bids"]) + len(wire["asks"])
    assert (rows[0]["kind"], rows[0]["seq"]) == (words.CLEAR, wire["lastUpdateId"])
    assert set(rows[1:]["kind"].tolist()) == {words.DELTA}
    assert all(rows["flags"] & words.SNAPSHOT)
    assert [k for k in range(len(rows)) if rows[k]["flags"] & words.LAST_IN_MESSAGE] == [
        len(rows) - 1
    ]
    asks = rows[rows["side"] == words.SELL]["price"]
    assert asks.tolist() == sorted(asks.tolist())
    assert bool(rows[0]["flags"] & words.EXCHANGE_CLOCK) == (market != "spot")


@pytest.mark.parametrize(
    ("answer", "scales"),
    [
        ("GET /api/v3/depth", (2, 8)),
        ("GET /fapi/v1/depth", (2, 3)),
        ("GET /dapi/v1/depth", (1, 0)),
    ],
)
def test_snapshot_of_another_recorder_is_read(answer, scales):
    """The scales are those of its day: USD-M then had a tick of 0.01."""
    out = Batch()
    put_snapshot(encode(text("http.json")[answer]), (4, *scales), out)
    assert out.event_count > 10
    assert set(out.events[: out.event_count]["instrument"].tolist()) == {4}


def test_snapshot_empty_book_is_a_flagged_clear():
    out = Batch()
    put_snapshot(b'{"lastUpdateId":7,"bids":[],"asks":[]}', (0, 2, 5), out)
    assert out.events[0]["flags"] == words.SNAPSHOT | words.LAST_IN_MESSAGE


@pytest.mark.parametrize(
    "body",
    [
        b'{"lastUpdateId":7,"bids":[["1","x"]],"asks":[]}',
        b'{"lastUpdateId":7,"bids":[["-1","1"]],"asks":[]}',
        b'{"lastUpdateId":7,"bids":[["1.001","1"]],"asks":[]}',
        b'{"lastUpdateId":7,"bids":[["1"]],"asks":[]}',
        b'{"lastUpdateId":-7,"bids":[],"asks":[]}',
        b'{"lastUpdateId":99999999999999999999,"bids":[],"asks":[]}',
        b'{"lastUpdateId":7,"bids":[]}',
        b'{"lastUpdateId":7,"bids":[[1,2]],"asks":[]}',
        b"[]",
        b"",
        b'{"lastUpdateId":7,"bids":[],"asks":[]',
    ],
)
def test_snapshot_malformed_leaves_the_batch_as_it_was(body):
    out = Batch()
    with pytest.raises((msgspec.MsgspecError, UnitError, ProtocolError)):
        put_snapshot(body, (0, 2, 5), out)
    assert out.event_count == 0


def test_snapshot_too_large_is_refused_by_name():
    out = Batch(events=10)
    levels = ",".join(f'["{k}","1"]' for k in range(10))
    with pytest.raises(ProtocolError, match="more than 10 rows"):
        put_snapshot(f'{{"lastUpdateId":7,"bids":[{levels}],"asks":[]}}'.encode(), (0, 2, 5), out)
    assert out.event_count == 0


MARK = {
    "e": "markPriceUpdate", "E": 1562305380000, "s": "BTCUSDT", "p": "11794.15000001",
    "i": "11784.62659091", "P": "11784.25641265", "r": "0.00038167", "T": 1562306400000,
}  # fmt: skip


def read(frame, market="usdm"):
    out = Batch(events=64)
    head, body = read_head(frame)
    count = put_market(head.e, body, Symbols(instruments(), f"binance_{market}"), 5, out)
    return count, out.events[: out.event_count]


def test_mark_gives_mark_index_and_funding():
    count, rows = read(encode({"stream": "btcusdt@markPrice@1s", "data": MARK}))
    assert count == 3
    assert rows["kind"].tolist() == [words.MARK, words.INDEX, words.FUNDING]
    assert rows["price"].tolist() == [117942, 117846, 381_670_000]
    assert rows[2]["qty"] == 1562306400000 * 1_000_000
    assert rows[0]["ts_event"] == 1562305380000 * 1_000_000


def test_mark_of_delivery_contract_has_no_funding():
    frame = encode({**MARK, "s": "BTCUSD_PERP", "r": "", "T": 0, "i": ""})
    assert read(frame, "coinm")[0] == 1


def test_mark_negative_rate_is_negative():
    assert read(encode({**MARK, "r": "-0.00010000"}))[1][2]["price"] == -100_000_000


def test_ticker_quantity_finer_than_lots_is_truncated():
    """A dust digit must not cost us the book; the trader sees a little less than there is."""
    frame = encode({"u": 1, "s": "BTCUSDT", "b": "1", "B": "2.1234569", "a": "2", "A": "3"})
    count, rows = read(frame, "spot")
    assert count == 2
    assert rows[0]["qty"] == 2123456


def test_print_of_the_insurance_fund_is_no_trade():
    frame = encode({"e": "trade", "E": 3, "T": 2, "s": "BTCUSDT", "t": 77, "p": "1.5", "q": "2",
                    "X": "INSURANCE_FUND", "m": True})  # fmt: skip
    assert read(frame)[0] == 0


def test_print_with_unknown_fields_is_read():
    """Old spot trades carry order ids in b and a; new ones may carry anything."""
    frame = encode({"e": "trade", "E": 3, "s": "BTCUSDT", "t": 77, "p": "1.5", "q": "2", "b": 88,
                    "a": 50, "T": 2, "m": True, "M": True, "zz": {"x": [None]}})  # fmt: skip
    assert read(frame, "spot")[0] == 1


def test_unknown_event_is_not_ours():
    assert read(encode({"e": "kline", "E": 1, "s": "BTCUSDT"}))[0] == -1
