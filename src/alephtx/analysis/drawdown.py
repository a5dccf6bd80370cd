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
