"""Alignment: whether a signal at our fills pointed to where the market then went.

The point-biserial correlation between a number x (e.g. how far VAMP stood from the mid, signed our
way) and a yes or no y (e.g. the mid moved our way within 30 s):

r = (mean x where yes - mean x where no) / s x sqrt(n_yes n_no / n^2),   s with divisor n

which is Pearson's r with y as 0 and 1. Its interval is Fisher's: artanh r +- z / sqrt(n - 3), good
for some tens of independent fills; fills that overlap in time are not, and the interval is then
too narrow. Sources: R. Tate, "Correlation between a discrete and a continuous variable" (Annals of
Mathematical Statistics 25(3), 1954); computed by scipy.stats.
"""

import math
from typing import Any

import msgspec
import numpy as np

Column = np.ndarray[Any, Any]


class Alignment(msgspec.Struct, frozen=True, kw_only=True):
    """r with its interval and the p-value of no correlation; NaN where it cannot be said.

    count: pairs that were known; yes: how many of them were a yes.
    """

    r: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    count: int = 0
    yes: int = 0


def align(x: Column, y: Column, *, confidence: float = 0.95) -> Alignment:
    """Return the point-biserial correlation of x with y.

    x: float64 (n,), NaN = not known; y: (n,) of 0, 1 and NaN. Needs four known pairs, both answers,
    and an x that varies.
    """
    from scipy import stats

    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.isfinite(x) & ~np.isnan(y)
    x, y = x[known], y[known]
    count, yes = len(x), int(y.sum())
    if count < 4 or yes in (0, count) or np.ptp(x) == 0:
        return Alignment(count=count, yes=yes)
    found = stats.pointbiserialr(y > 0, x)
    interval = stats.pearsonr(y, x).confidence_interval(confidence)
    return Alignment(
        r=float(found.statistic), low=float(interval.low), high=float(interval.high),
        p=float(found.pvalue), count=count, yes=yes,
    )  # fmt: skip


def toward(side: Column, price: Column, mid: Column) -> Column:
    """Return how far a price (VAMP, microprice) stood from the mid our way, in bps."""
    found: Column = side * (price - mid) / mid * 1e4
    return found


def moved_our_way(side: Column, mid: Column, mid_later: Column) -> Column:
    """Return 1 where the mid moved our way, 0 where against us, NaN where not or not known."""
    move = side * (mid_later - mid)
    return np.where(np.isnan(move) | (move == 0), np.nan, np.where(move > 0, 1.0, 0.0))
