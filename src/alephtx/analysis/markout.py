"""Markouts: how the market moved after our fills. Negative means that we were picked off."""

from typing import Any

import numpy as np

Column = np.ndarray[Any, Any]

HORIZONS_NS = (1_000_000_000, 5_000_000_000, 30_000_000_000)
AGE_MAX_NS = 2_000_000_000
"""A sample that is older than this at the horizon says nothing about it."""


def markouts(
    fills: tuple[Column, Column, Column, Column],
    sample_ts: Column,
    mid: Column,
    *,
    horizons_ns: tuple[int, ...] = HORIZONS_NS,
    age_max_ns: int = AGE_MAX_NS,
) -> Column:
    """Return the markout of every fill at every horizon, in bps: float64 (fills, horizons).

    markout(h) = side x (mid(t + h) - price) / price x 10^4

    fills: (ts ns, instrument, side, price); price and mid in the same unit. mid: (samples,
    instruments), NaN = none. mid(t) is that of the last sample at or before t; NaN where the run
    was over by then, or where that sample is older than age_max_ns. Of a maker's fill it is what is
    left of the half spread, of a taker's what the crossing was worth; fees are not in it.
    """
    ts, instrument, side, price = fills
    found = np.full((len(ts), len(horizons_ns)), np.nan)
    if len(sample_ts) == 0 or len(ts) == 0:
        return found
    for column, horizon in enumerate(horizons_ns):
        wanted = ts + horizon
        place = np.searchsorted(sample_ts, wanted, side="right") - 1
        usable = (place >= 0) & (wanted <= sample_ts[-1])
        place = np.maximum(place, 0)
        usable &= wanted - sample_ts[place] <= age_max_ns
        later = np.where(usable, mid[place, instrument], np.nan)
        found[:, column] = side * (later - price) / price * 1e4
    return found


def weighted_mean(values: Column, weights: Column) -> tuple[float, int]:
    """Return (sum of value x weight / sum of weights over what is not NaN, how many were not)."""
    known = ~np.isnan(values) & ~np.isnan(weights) & (weights > 0)
    if not known.any():
        return float("nan"), 0
    return float(np.average(values[known], weights=weights[known])), int(known.sum())
