"""Bootstrap of a series that depends on its own past: blocks of it are drawn, not single values.

Source: D. Politis, J. Romano, "The stationary bootstrap" (JASA 89, 1994): blocks begin anywhere,
wrap around the end, and have geometric lengths, so what is drawn is stationary like the series.
"""

import math
from typing import Any, NamedTuple

import numpy as np

Column = np.ndarray[Any, Any]

RESAMPLES = 1_000
_CHUNK_CELLS = 1 << 22


class Band(NamedTuple):
    """Weighted means and their interval, each float64 (columns,); known: how many rows were."""

    mean: Column
    low: Column
    high: Column
    known: Column


def stationary_indices(rng: np.random.Generator, n: int, block: float, draws: int) -> Column:
    """Return int64 (draws, n): each row is a resample of 0 .. n-1 in blocks of mean length block.

    A new block begins at each place with probability 1 / block; block 1 is the ordinary bootstrap.
    """
    begins = rng.random((draws, n)) < 1.0 / max(block, 1.0)
    begins[:, 0] = True
    starts = rng.integers(0, n, (draws, n))
    places = np.arange(n)
    last = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    return (np.take_along_axis(starts, last, axis=1) + places - last) % n


def block_length(n: int, overlap: float = 1.0) -> float:
    """Return the mean block length to use: n^(1/3), or what overlaps anyway, at most n / 2.

    overlap: how many neighbours share the same stretch of time, e.g. fills within one horizon. The
    cube root is the order that H. Kuensch (Annals of Statistics 17(3), 1989) derives.
    """
    return max(1.0, min(max(n ** (1 / 3), overlap), n / 2))


def mean_bands(
    values: Column,
    weights: Column,
    *,
    block: float,
    confidence: float = 0.95,
    draws: int = RESAMPLES,
    seed: int = 1,
) -> Band:
    """Return weighted means over rows and their percentile intervals from the bootstrap.

    values: float64 (rows, columns) in time order, NaN = not known; weights: (rows,). A row is drawn
    with all its columns, so that a curve's points move together. Same seed, same result. Costs
    about draws x rows x (columns + 10) x 1 ns.
    """
    rows, columns = values.shape
    known = ~np.isnan(values) & (weights > 0)[:, None]
    shares = np.where(known, weights[:, None], 0.0)
    sums = np.where(known, values, 0.0) * shares
    count = known.sum(axis=0)
    mean = _ratio(sums.sum(axis=0), shares.sum(axis=0))
    if rows == 0:
        nothing = np.full(columns, math.nan)
        return Band(mean, nothing, nothing, count)
    rng = np.random.default_rng(seed)
    found = []
    step = max(1, _CHUNK_CELLS // rows)
    for first in range(0, draws, step):
        drawn = stationary_indices(rng, rows, block, min(step, draws - first))
        times = np.stack([np.bincount(row, minlength=rows) for row in drawn]).astype(float)
        found.append(_ratio(times @ sums, times @ shares))
    means = np.concatenate(found)
    low, high = np.full(columns, math.nan), np.full(columns, math.nan)
    for column in np.flatnonzero(count > 1):
        drawn_means = means[:, column][~np.isnan(means[:, column])]
        tail = (1 - confidence) / 2
        low[column], high[column] = np.quantile(drawn_means, [tail, 1 - tail])
    return Band(mean, low, high, count)


def _ratio(over: Column, under: Column) -> Column:
    return np.divide(over, under, out=np.full(over.shape, math.nan), where=under > 0)
