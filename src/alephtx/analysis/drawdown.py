"""Drawdown: how far below its best an account has been."""

from typing import Any, NamedTuple

import numpy as np

Column = np.ndarray[Any, Any]


class Drawdown(NamedTuple):
    """depth: float64 (n,), equity less its running best, never above 0, in the unit of equity.

    most: the deepest, 0 when there was none; peak, trough: where it began and where it was deepest.
    """

    depth: Column
    most: float
    peak: int
    trough: int


class UnderWater(NamedTuple):
    """The longest time below the best: from its best to where that was reached again.

    duration_ns: 0 when there was none. begin, end: places; recovered: False when it was still below
    at the end of the data, and longer is possible.
    """

    duration_ns: int
    begin: int
    end: int
    recovered: bool


def under_water(ts: Column, depth: Column) -> UnderWater:
    """Return the longest stretch below the best. ts: int64 ns (n,); depth: as `drawdown` gives it.

    It begins at the last moment at the best and ends at the first one at the best again; unknown
    moments (NaN) end nothing. Measured between moments of the data.
    """
    known = np.flatnonzero(~np.isnan(depth))
    longest = UnderWater(0, 0, 0, recovered=True)
    if len(known) == 0:
        return longest
    at_best = known[depth[known] >= 0]
    stops = at_best if len(at_best) and at_best[0] == known[0] else np.append(known[0], at_best)
    last = known[-1]
    for begin, end in zip(stops, np.append(stops[1:], last), strict=True):
        below = known[(known > begin) & (known <= end)]
        if len(below) == 0 or not (depth[below] < 0).any():
            continue
        recovered = bool(depth[end] >= 0)
        duration = int(ts[end] - ts[begin])
        if duration > longest.duration_ns:
            longest = UnderWater(duration, int(begin), int(end), recovered)
    return longest


def drawdown(equity: Column) -> Drawdown:
    """Return depth(t) = equity(t) - max(equity(0..t), 0), the start counting as 0.

    equity: P&L since the start, float64 (n,), NaN where it is not known; NaN stays NaN.
    """
    if len(equity) == 0 or np.isnan(equity).all():
        return Drawdown(np.full(len(equity), np.nan), 0.0, 0, 0)
    best = np.fmax.accumulate(np.fmax(equity, 0.0))
    depth = equity - best
    trough = int(np.nanargmin(depth))
    peak = int(np.nanargmax(equity[: trough + 1])) if depth[trough] < 0 else trough
    return Drawdown(depth, float(depth[trough]), peak, trough)
