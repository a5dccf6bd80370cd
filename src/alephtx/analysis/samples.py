"""The samples a run kept of its markets, as columns."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Column = np.ndarray[Any, Any]

PRICE_MIN, PRICE_MAX = 1e-12, 1e12
"""What is outside is no price; the bounds keep exact sums of money within their digits."""


class Samples(NamedTuple):
    """Columns in time order. ts: int64 ns (n,); the others float64 (n, instruments), NaN = none.

    skipped: rows that were not usable.
    """

    ts: Column
    mid: Column
    bid: Column
    ask: Column
    skipped: int


def price_of(value: Any) -> float:
    """Return a price, NaN for anything that is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        price = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return price if PRICE_MIN <= price <= PRICE_MAX else math.nan


def read_samples(data: Any, keys: Sequence[str]) -> Samples:
    """Turn decoded samples into columns, one per key; rows that make no sense are counted.

    A sample is {"ts": ns, "mids": {key: price}, "tops": {key: [bid, ask]}}; tops may be missing.
    Later samples of the same time are dropped.
    """
    rows: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    skipped = 0
    for entry in data if isinstance(data, list) else ():
        ts = entry.get("ts") if isinstance(entry, dict) else None
        if type(ts) is not int or not 0 < ts < 1 << 62 or ts in rows:
            skipped += 1
            continue
        rows[ts] = (_mapping(entry.get("mids")), _mapping(entry.get("tops")))
    ordered = sorted(rows)
    shape = (len(ordered), len(keys))
    mid, bid, ask = (np.full(shape, np.nan) for _ in range(3))
    for n, ts in enumerate(ordered):
        mids, tops = rows[ts]
        for k, key in enumerate(keys):
            mid[n, k] = price_of(mids.get(key))
            top = tops.get(key)
            if isinstance(top, list) and len(top) == 2:
                bid[n, k], ask[n, k] = price_of(top[0]), price_of(top[1])
    return Samples(np.array(ordered, np.int64), mid, bid, ask, skipped)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def thin(count: int, most: int) -> Column:
    """Return at most `most` places of 0..count-1, evenly, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def take(samples: Samples, places: Column) -> Samples:
    """Return the samples at some places."""
    return Samples(
        samples.ts[places],
        samples.mid[places],
        samples.bid[places],
        samples.ask[places],
        samples.skipped,
    )
