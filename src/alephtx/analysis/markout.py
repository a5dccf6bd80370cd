"""Markouts: how the market moved after our fills. Negative means that we were picked off."""

from typing import Any, NamedTuple

import numpy as np

from alephtx.analysis.bootstrap import Band, block_length, mean_bands
from alephtx.analysis.mids import mid_at

Column = np.ndarray[Any, Any]

HORIZONS_NS = (5_000_000_000, 30_000_000_000, 60_000_000_000)
CURVE_NS = tuple(
    round(seconds * 1e9)
    for seconds in (0, 0.01, 0.03, 0.1, 0.3, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120)
)
"""Horizons of the full curve; those of HORIZONS_NS are among them."""
AGE_MAX_NS = 2_000_000_000
"""A sample that is older than this at the horizon says nothing about it."""


def markouts(
    fills: tuple[Column, Column, Column, Column],
    sample_ts: Column,
    mid: Column,
    *,
    horizons_ns: tuple[int, ...] = HORIZONS_NS,
    age_max_ns: int | None = AGE_MAX_NS,
) -> Column:
    """Return the markout of every fill at every horizon, in bps: float64 (fills, horizons).

    markout(h) = side x (mid(t + h) - price) / price x 10^4

    fills: (ts ns, instrument, side, price); price and mid in the same unit. mid: (samples,
    instruments), NaN = none. mid(t) is that of the last sample at or before t; NaN where the run
    was over by then, or where that sample is older than age_max_ns (None: mids are of every change,
    and stand until the next). Of a maker's fill it is what is left of the half spread, of a taker's
    what the crossing was worth; fees are not in it.
    """
    ts, instrument, side, price = fills
    found = np.full((len(ts), len(horizons_ns)), np.nan)
    if len(sample_ts) == 0 or len(ts) == 0:
        return found
    for column, horizon in enumerate(horizons_ns):
        for i in np.unique(instrument):
            mine = instrument == i
            later = mid_at(ts[mine] + horizon, sample_ts, mid[:, i], age_max_ns=age_max_ns).mid
            found[mine, column] = side[mine] * (later - price[mine]) / price[mine] * 1e4
    return found


class MarkoutCurve(NamedTuple):
    """Markouts over horizons, weighted by value, with a confidence band; bps, (horizons,) each.

    adverse: how much of the edge at the fill the market took back by then: edge - markout. count:
    fills whose mid was known; beyond: fills whose horizon lies after the data's end, which are left
    out; unknown: fills left out because there was no mid then. shorter horizons keep their fills.
    """

    horizons_ns: tuple[int, ...]
    markout: Band
    adverse: Column
    beyond: Column
    unknown: Column


def markout_curve(
    fills: tuple[Column, Column, Column, Column],
    weights: Column,
    edges_bps: Column,
    sample_ts: Column,
    mid: Column,
    *,
    horizons_ns: tuple[int, ...] = CURVE_NS,
    age_max_ns: int | None = None,
    confidence: float = 0.95,
    draws: int = 1_000,
    seed: int = 1,
) -> MarkoutCurve:
    """Return the curve of mean markouts with bootstrap bands; fills in time order.

    weights: e.g. the fills' values; edges_bps: `edge.fill_edges`. Blocks are as long as the fills
    within the middle horizon are many, for these share their future. A fill counts at a horizon
    only where the mid is known: its later horizons do not decide over its earlier ones.
    """
    found = markouts(fills, sample_ts, mid, horizons_ns=horizons_ns, age_max_ns=age_max_ns)
    ts = fills[0]
    middle = sorted(horizons_ns)[len(horizons_ns) // 2]
    span = max(1, int(ts[-1] - ts[0])) if len(ts) else 1
    block = block_length(max(1, len(ts)), len(ts) * middle / span)
    band = mean_bands(found, weights, block=block, confidence=confidence, draws=draws, seed=seed)
    end = sample_ts[-1] if len(sample_ts) else -1
    beyond = np.array([int((ts + horizon > end).sum()) for horizon in horizons_ns])
    unknown = np.isnan(found).sum(axis=0) - beyond
    taken = edges_bps[:, None] - found
    adverse = np.array([weighted_mean(column, weights)[0] for column in taken.T])
    return MarkoutCurve(horizons_ns, band, adverse, beyond, unknown)


def weighted_mean(values: Column, weights: Column) -> tuple[float, int]:
    """Return (sum of value x weight / sum of weights over what is not NaN, how many were not)."""
    known = ~np.isnan(values) & ~np.isnan(weights) & (weights > 0)
    if not known.any():
        return float("nan"), 0
    return float(np.average(values[known], weights=weights[known])), int(known.sum())
