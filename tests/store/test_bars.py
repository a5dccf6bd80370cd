"""Bars of trades against a dictionary of lists, and what is refused."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.core.records import BAR, EVENT, TICK
from alephtx.store.bars import bars_of, check_bars
from alephtx.store.damage import DataError
from alephtx.store.ticks import open_ticks, write_ticks

SPOT = Instrument(
    key="x:A-B", venue="x", symbol="AB", base="A", quote="B", settle="B", contract=words.SPOT,
    price_scale=2, qty_scale=3, tick_size=Decimal("0.01"), lot_size=Decimal("0.001"),
)  # fmt: skip


def rows_of(trades, dtype=EVENT, start=0):
    """Return rows of (ts, price, qty, kind, instrument)."""
    rows = np.zeros(len(trades), dtype)
    for row, (ts, price, qty, kind, instrument) in zip(rows, trades, strict=True):
        row["ts_event"], row["price"], row["qty"] = start + ts, price, qty
        row["kind"], row["instrument"], row["flags"] = kind, instrument, words.LAST_IN_MESSAGE
    return rows


def naive(trades, period, index):
    mine = [trade for trade in trades if trade[4] == index]
    groups = {}
    for ts, price, qty, kind, _ in mine:
        if kind == words.TRADE:
            groups.setdefault(ts // period, []).append((price, qty))
    whole = [begin for begin in groups if mine[-1][0] >= (begin + 1) * period]
    return [
        ((begin + 1) * period, told[0][0], max(told)[0], min(told)[0], told[-1][0],
         sum(qty for _, qty in told))
        for begin, told in groups.items() if begin in whole
    ]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.smoke
def test_bars_by_hand():
    """A trade at the end is of the next bar; nothing traded, no bar; the last one has not ended."""
    trades = [(1, 50, 2), (9, 40, 1), (10, 45, 3), (19, 47, 1), (40, 60, 5), (41, 30, 1)]
    rows = rows_of([(*trade, words.TRADE, 0) for trade in trades])
    assert bars_of(rows, 10).tolist() == [(10, 50, 50, 40, 40, 3), (20, 45, 47, 45, 47, 4)]


@pytest.mark.kernel
def test_other_rows_close_a_bar_but_do_not_make_one():
    rows = rows_of([(1, 50, 2, words.TRADE, 0), (12, 7, 7, words.DELTA, 0)])
    assert bars_of(rows, 10).tolist() == [(10, 50, 50, 50, 50, 2)]
    rows["instrument"][1] = 3
    assert len(bars_of(rows, 10)) == 0


STEPS = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(1, 100), st.integers(0, 50),
        st.sampled_from([words.TRADE, words.TRADE, words.DELTA]), st.sampled_from([0, 0, 1]),
    ), max_size=60,
)  # fmt: skip


@given(STEPS, st.integers(1, 30), st.sampled_from([EVENT, TICK]), st.sampled_from([0, 1]))
def test_bars_are_those_of_a_dictionary(steps, period, dtype, index):
    times = np.cumsum([step for step, *_ in steps])
    trades = [(int(ts), *rest) for ts, (_, *rest) in zip(times, steps, strict=True)]
    bars = bars_of(rows_of(trades, dtype), period, index)
    assert bars.dtype == BAR
    assert bars.tolist() == naive(trades, period, index)
    if len(bars):
        check_bars(bars, SPOT)


def test_rows_of_a_replay_file_are_in_ticks_and_lots(tmp_path):
    """The file keeps prices as multiples of 500 above a base."""
    start = 1_700_000_000_000_000_000
    trades = [(k * 4, 6_000_000 + 500 * (k % 7), 20 * (k + 1), words.TRADE, 0) for k in range(90)]
    rows = rows_of(trades, start=start)
    rows["ts_recv"], rows["seq"] = rows["ts_event"] + 5, np.arange(len(rows))
    path = tmp_path / "x.ticks"
    assert write_ticks(path, SPOT, rows).price_unit == 500
    assert bars_of(open_ticks(path), 20).tolist() == bars_of(rows, 20).tolist() != []


def test_rows_that_only_our_side_sees_are_left_out():
    trades = [(1, 50, 2, words.TRADE, 0), (2, 90, 2, words.TRADE, 0), (12, 1, 1, words.TRADE, 0)]
    rows = rows_of(trades, TICK)
    rows["flags"][1] |= words.TICK_LOCAL
    assert bars_of(rows, 10).tolist() == [(10, 50, 50, 50, 50, 2)]


@pytest.mark.parametrize("fall", [(30, 20), (30, 29), (1, 0)])
def test_time_that_falls_is_named(fall):
    rows = rows_of([(ts, 50, 2, words.TRADE, 0) for ts in (0, *fall, 100)])
    with pytest.raises(DataError, match=r"row 2 .* is older than a row before"):
        bars_of(rows, 10)


@pytest.mark.parametrize("qty", [-1, 1 << 62, (1 << 61) + 1])
def test_quantities_that_cannot_be_are_named(qty):
    rows = rows_of([(1, 50, 1 << 61, words.TRADE, 0), (2, 50, qty, words.TRADE, 0)])
    with pytest.raises(DataError, match=r"row 1 .* impossible quantity"):
        bars_of(rows, 10)


def test_what_has_no_trades_is_refused():
    with pytest.raises(DataError, match="have no trades"):
        bars_of(np.zeros(3, BAR)[["ts_ns"]].astype([("ts_event", "i8")]), 10)
    with pytest.raises(DataError, match="a period of 0 ns"):
        bars_of(rows_of([]), 0)
    assert bars_of(rows_of([]), 10).tolist() == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("ts_ns", 10, "does not end after the one before"),
        ("ts_ns", -5, "does not end after the one before"),
        ("low", 0, "not positive"),
        ("open", -3, "not positive"),
        ("high", 101, "high < low"),
        ("open", 121, "high < low"),
        ("close", 99, "high < low"),
        ("low", 111, "high < low"),
        ("volume", -1, "a volume below 0"),
        ("volume", 1 << 62, "beyond 62 bits"),
        ("high", (1 << 63) - 1, "beyond 62 bits"),
        ("close", 107, "off the instrument's grid"),
        ("open", 118, "off the instrument's grid"),
    ],
)
def test_bar_that_cannot_be_is_named(field, value, said):
    fives = msgspec.structs.replace(SPOT, tick_size=Decimal("0.05"))
    bars = np.array([(10, 105, 120, 100, 110, 3), (20, 105, 120, 100, 110, 3)], BAR)
    assert check_bars(bars, fives) == (100, 120)
    bars[1][field] = value
    with pytest.raises(DataError, match=rf"bar 1 \(.*{field} {value}.*\) .*{said}"):
        check_bars(bars, fives)
