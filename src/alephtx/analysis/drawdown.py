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
    best = np.flatnonzero(depth[known] >= 0)  # places among the known ones
    if len(known) and (len(best) == 0 or best[0] != 0):
        best = np.append(0, best)
    recovered = len(known) == 0 or bool(depth[known[-1]] >= 0)
    stops = best if recovered else np.append(best, len(known) - 1)
    begins, ends = stops[:-1], stops[1:]
    wet = (ends - begins > 1) | (depth[known[ends]] < 0)  # else two bests side by side
    begins, ends = known[begins[wet]], known[ends[wet]]
    if len(begins) == 0:
        return UnderWater(0, 0, 0, recovered=True)
    k = int(np.argmax(ts[ends] - ts[begins]))
    begin, end = int(begins[k]), int(ends[k])
    return UnderWater(int(ts[end] - ts[begin]), begin, end, bool(depth[end] >= 0))


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
