"""How long a session's orders, cancels and reports took, as tables for backtests of other days."""

from collections.abc import Iterator

import numpy as np

from alephtx.core.backtest_schema import POINTS_MAX, WAYS
from alephtx.core.ports import Rows
from alephtx.engine.parity.stamps import Stamps

QUANTILES = (0.5, 0.99)


def ways_lines(stamps: Stamps, start_ns: int | None = None) -> Iterator[str]:
    """Yield the measured ways as tables of a config's [backtest]; none of ways that nothing took.

    start_ns: the time of the first point; None: when it was measured. Of more points than a table
    takes each remaining one is the median of its neighbours.
    """
    points = [
        (venue, name, np.array(delay.points, np.int64))
        for venue, ways in stamps.ways.items()
        for name in WAYS
        if (delay := getattr(ways, name)) is not None
    ]
    first = min((int(table[0, 0]) for _, _, table in points), default=0)
    shift = 0 if start_ns is None else start_ns - first
    for venue, name, table in points:
        low, high = (int(one) for one in np.quantile(table[:, 1], QUANTILES))
        yield f"# {len(table):,} measured: half within {low:,} ns, 99 % within {high:,} ns"
        yield f"[backtest.venues.{venue}.{name}]"
        yield 'kind = "table"'
        yield f"points_ns = {[[at + shift, ns] for at, ns in _thinned(table).tolist()]}"
        yield ""


def _thinned(table: Rows) -> Rows:
    """Return at most as many points as a table takes."""
    each = -(-len(table) // POINTS_MAX)
    if each == 1:
        return table
    parts = np.split(table, range(each, len(table), each))
    return np.array([np.median(part, axis=0).astype(np.int64) for part in parts])
