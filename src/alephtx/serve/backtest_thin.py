"""Fewer points for a screen that lose no extreme."""

import numpy as np

from alephtx.analysis.tables import Column

POINTS_MAX = 4_000


def extremes(ts: Column, columns: tuple[Column, ...], most: int = POINTS_MAX) -> Column:
    """Return at most `most` places, rising, that draw like all of them.

    ts: rising (n,); columns: (n,) each, NaN = none. Time is cut into equal buckets; of each one the
    least and the greatest of every column stay, and of one that holds only NaN a point, so that a
    gap stays a gap. The first and the last place stay. most: at least 2 + 2 x columns.
    """
    count = len(ts)
    if count <= most:
        return np.arange(count)
    buckets = (most - 2) // (2 * len(columns))
    bounds = np.linspace(float(ts[0]), float(ts[-1]), buckets + 1)[1:-1]
    cuts = np.concatenate([[0], np.searchsorted(ts, bounds), [count]])
    filled = cuts[:-1] < cuts[1:]
    starts, stops = cuts[:-1][filled].tolist(), cuts[1:][filled].tolist()
    kept = [np.array([0, count - 1])]
    for column in columns:
        values = np.asarray(column, float)
        nothing = np.isnan(values)
        for fill, pick in ((np.inf, np.argmin), (-np.inf, np.argmax)):
            able = np.where(nothing, fill, values) if nothing.any() else values
            kept.append(
                np.array([a + int(pick(able[a:b])) for a, b in zip(starts, stops, strict=True)])
            )
    return np.unique(np.concatenate(kept))
