"""The mid in force at a time: the last one known then, never a later one."""

from typing import Any, NamedTuple

import numpy as np

Column = np.ndarray[Any, Any]


class InForce(NamedTuple):
    """mid: float64 (n,), NaN where it is not known; beyond: bool (n,), after the data's end."""

    mid: Column
    beyond: Column


def mid_at(
    wanted: Column,
    sample_ts: Column,
    mid: Column,
    *,
    age_max_ns: int | None = None,
    before: bool = False,
) -> InForce:
    """Return the mid in force at each wanted time.

    sample_ts: int64 (samples,), rising; mid: float64 (samples,). The last sample at or before the
    time counts, with before=True the last strictly before it: what a fill at that very nanosecond
    cannot have moved. NaN before the first sample, where the sample says NaN, where it is older
    than age_max_ns (None: a mid stands until the next one), and after the last sample, which is
    where the data ends: what was in force there is not known.
    """
    if len(sample_ts) == 0:
        return InForce(np.full(len(wanted), np.nan), np.ones(len(wanted), bool))
    side: Any = "left" if before else "right"
    place = np.searchsorted(sample_ts, wanted, side=side) - 1
    beyond = wanted > sample_ts[-1]
    usable = (place >= 0) & ~beyond
    place = np.maximum(place, 0)
    if age_max_ns is not None:
        usable &= wanted - sample_ts[place] <= age_max_ns
    return InForce(np.where(usable, mid[place], np.nan), beyond)
