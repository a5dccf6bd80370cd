"""Bars of trades, and whether bars can be believed.

A bar ends on a whole multiple of its period since the epoch, and a trade at that very instant is of
the next one. Where nothing was traded there is no bar, and a period that the rows do not reach the
end of has none either: it has not closed.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.records import BAR, EVENT, TICK
from alephtx.core.units import MAX_VALUE, price_grid
from alephtx.core.words import TICK_LOCAL, TRADE
from alephtx.store.damage import DataError
from alephtx.store.ticks import Ticks

Rows = np.ndarray[Any, Any]

# What is wrong with a bar.
TIME, LOW, WITHIN, GRID, VOLUME, BIG = 1, 2, 3, 4, 5, 6
PROBLEMS = {
    TIME: ("does not end after the one before", "sort the bars by time and drop repetitions"),
    LOW: ("has a price that is not positive", "leave it out, or mend it"),
    WITHIN: ("has high < low, or open or close outside of them", "leave it out, or mend it"),
    GRID: ("has a price off the instrument's grid", "is it another instrument's, or adjusted?"),
    VOLUME: ("has a volume below 0", "leave it out, or write 0 for unknown"),
    BIG: ("has a number beyond 62 bits", "are the scales right?"),
}

_PROBLEM, _LOWEST, _HIGHEST = 0, 1, 2

# Words of the making of bars.
_BARS, _END, _TS, _ROW = 0, 1, 2, 3
_BACK, _HUGE = -1, -2


@kernel
def _first_fault(bars: Rows, instrument: Rows, out: Rows) -> int:
    """Return the first bar with a problem, -1 without; out: int64 (3,), see the words above."""
    out[_PROBLEM], out[_LOWEST], out[_HIGHEST] = 0, MAX_VALUE, 0
    free = instrument[0]["tick_step"] == 1 and instrument[0]["tick_from"][0] == 0
    free = free and instrument[0]["significant_figures"] == 0
    before = -1
    for k in range(bars.shape[0]):
        row = bars[k]
        low, high = min(row["low"], row["open"], row["close"]), max(row["open"], row["close"])
        problem = 0
        if row["ts_ns"] <= before:
            problem = TIME
        elif low <= 0:
            problem = LOW
        elif low < row["low"] or high > row["high"]:
            problem = WITHIN
        elif row["volume"] < 0:
            problem = VOLUME
        elif max(row["high"], row["volume"]) >= MAX_VALUE:
            problem = BIG
        elif not free:
            for price in (row["open"], row["high"], row["low"], row["close"]):
                problem = problem if price % price_grid(instrument, price) == 0 else GRID
        if problem != 0:
            out[_PROBLEM] = problem
            return k
        before = row["ts_ns"]
        out[_LOWEST], out[_HIGHEST] = min(out[_LOWEST], low), max(out[_HIGHEST], row["high"])
    return -1


def check_bars(bars: Rows, instrument: Instrument) -> tuple[int, int]:
    """Return the lowest and the highest price in ticks; DataError names the first bad bar.

    bars: BAR (N,), times rising, low <= open, close <= high, on the instrument's grid. 0, 0 without
    bars. About 3 ns a bar.
    """
    if bars.dtype != BAR or bars.ndim != 1:
        raise DataError(
            f"bars are {bars.dtype.name} of {bars.ndim} dimensions, not rows of records.BAR",
            remedy="make them with store.bars.bars_of or store.bar_tables.read_bars",
        )
    out = np.zeros(3, np.int64)
    at = _first_fault(bars, Instruments([instrument]).rows(), out)
    if at >= 0:
        said, remedy = PROBLEMS[int(out[_PROBLEM])]
        told = ", ".join(f"{name} {int(bars[at][name])}" for name in BAR.names or ())
        raise DataError(f"bar {at} ({told}) {said}", remedy=remedy)
    return (int(out[_LOWEST]), int(out[_HIGHEST])) if len(bars) else (0, 0)


@kernel
def _make(rows: Rows, index: Int, period_ns: Int, bars: Rows, words: Rows) -> int:
    """Add rows to bars; 0, or a code with words[_ROW] where it stopped.

    bars: BAR, of which the last one made may still grow; words: see above, kept between calls.
    """
    for k in range(rows.shape[0]):
        row, n = rows[k], words[_BARS]
        words[_ROW] = k
        if np.int64(row["instrument"]) != index or (np.int64(row["flags"]) & TICK_LOCAL) != 0:
            continue
        ts, price, qty = row["ts_event"], np.int64(row["price"]), np.int64(row["qty"])
        if ts < words[_TS]:
            return _BACK
        words[_TS] = ts
        if ts >= words[_END]:
            words[_END] = (ts // period_ns + 1) * period_ns
        if row["kind"] != TRADE:
            continue
        if n == 0 or bars[n - 1]["ts_ns"] != words[_END]:
            if n == bars.shape[0]:  # more bars than from the first time to the last
                return _BACK
            bars[n]["ts_ns"], bars[n]["open"], bars[n]["high"] = words[_END], price, price
            bars[n]["low"], bars[n]["volume"] = price, 0
            n += 1
            words[_BARS] = n
        bar = bars[n - 1]
        if not 0 <= qty < MAX_VALUE or bar["volume"] + qty >= MAX_VALUE:
            return _HUGE
        bar["high"], bar["low"] = max(bar["high"], price), min(bar["low"], price)
        bar["close"] = price
        bar["volume"] += qty
    return 0


def bars_of(rows: Rows | Ticks, period_ns: int, index: int = 0) -> Rows:
    """Make BAR rows of the trades of one instrument; DataError names what is out of order.

    rows: EVENT, TICK in ticks and lots, or an open replay file. index: the instrument's in the
    rows. By the venue's clock, ts_event.
    """
    if period_ns < 1:
        raise DataError(f"a period of {period_ns} ns", remedy="60_000_000_000 are a minute")
    chunks: Iterable[Rows] = (rows,) if isinstance(rows, np.ndarray) else rows.events()
    words, done = np.zeros(4, np.int64), 0
    bars = np.zeros(_room(rows, period_ns), BAR)
    for chunk in chunks:
        if chunk.dtype not in (EVENT, TICK) or chunk.ndim != 1:
            raise DataError(f"rows of {chunk.dtype} have no trades", remedy="give EVENT or TICK")
        code = _make(chunk, index, period_ns, bars, words)
        if code != 0:
            at = int(words[_ROW])
            said = "is older than a row before" if code == _BACK else "is of an impossible quantity"
            told = f"ts_event {int(chunk[at]['ts_event'])}, qty {int(chunk[at]['qty'])}"
            raise DataError(
                f"row {done + at} ({told}) {said}", remedy="sort the rows, or import them anew"
            )
        done += len(chunk)
    n = int(words[_BARS])
    if n > 0 and bars[n - 1]["ts_ns"] == words[_END]:  # nothing has come after its end
        n -= 1
    return bars[:n].copy()


def _room(rows: Rows | Ticks, period_ns: int) -> int:
    """Return how many bars there can be at most."""
    if len(rows) == 0:
        return 0
    if isinstance(rows, np.ndarray):
        first, last = int(rows["ts_event"].min()), int(rows["ts_event"].max())
    else:
        first, last = rows.first_event_ns, rows.last_event_ns
    return min(len(rows), last // period_ns - first // period_ns + 1)
