"""Look at every row of a tape once before it is replayed; refuse what would be read wrongly."""

from typing import NamedTuple

import numpy as np

from alephtx.core.errors import SimulationError
from alephtx.core.kernel import Int, kernel
from alephtx.core.ports import Rows
from alephtx.core.records import EVENT, TICK
from alephtx.core.words import (
    BAR,
    CLEAR,
    DELTA,
    FUNDING,
    GAP,
    INDEX,
    LIQUIDATION,
    MARK,
    ORDER_ADD,
    ORDER_CHANGE,
    ORDER_DELETE,
    ORDER_FILL,
    SEQ,
    STATUS,
    TICK_EXCHANGE,
    TICK_LOCAL,
    TOP,
    TRADE,
)


def _mask(*kinds: int) -> int:
    return sum(1 << kind for kind in kinds)


BY_ORDER = _mask(ORDER_ADD, ORDER_CHANGE, ORDER_DELETE, ORDER_FILL)
LEVELS = _mask(DELTA, TRADE, TOP, CLEAR, GAP, SEQ, FUNDING, MARK, INDEX, STATUS, BAR, LIQUIDATION)
"""What is simulated: of TICK rows, and beside it order by order of EVENT rows."""

FINE, STRANGE, EVENT_FALLS, RECV_FALLS, EARLY = 0, 1, 2, 3, 4


class Seen(NamedTuple):
    """What a tape holds: a bit for every kind of row, and all flags together."""

    kinds: int
    flags: int

    @property
    def overtaken(self) -> bool:
        """True where messages overtook each other: only a second book can follow."""
        return bool(self.flags & (TICK_EXCHANGE | TICK_LOCAL))

    @property
    def tops_alone(self) -> bool:
        """True where a tape has best prices and no levels, so that a pair of them is its image."""
        return self.has(TOP) and not self.has(DELTA)

    @property
    def by_order(self) -> bool:
        """True where a tape tells single orders: our places in its queues are known then."""
        return bool(self.kinds & BY_ORDER)

    def has(self, *kinds: int) -> bool:
        """Say whether there is a row of any of these kinds."""
        return bool(self.kinds & _mask(*kinds))


@kernel
def look(rows: Rows, allowed: Int, shift_ns: Int, out: Rows) -> int:
    """Look at rows; FINE, or what is wrong with row out[2]. About 1 ns a row.

    allowed: a bit a kind. shift_ns: of the recorded receive stamps; below -2^60: they do not count.
    out: int64 (3,): kinds, flags, row.
    """
    kinds: Int = np.int64(0)
    flags: Int = np.int64(0)
    sent: Int = np.int64(-1)
    heard: Int = np.int64(-1)
    for k in range(rows.shape[0]):
        row = rows[k]
        kind, flag = np.int64(row["kind"]), np.int64(row["flags"])
        ts_event, ts_recv = row["ts_event"], row["ts_recv"]
        out[2] = k
        if kind > 61 or (allowed >> kind) & 1 == 0:
            return STRANGE
        kinds, flags = kinds | np.int64(1) << kind, flags | flag
        if flag & TICK_LOCAL == 0:
            if ts_event < sent:
                return EVENT_FALLS
            sent = ts_event
        if flag & TICK_EXCHANGE == 0:
            if ts_recv < heard:
                return RECV_FALLS
            heard = ts_recv
            if shift_ns > -(1 << 60) and ts_recv + shift_ns < ts_event:
                return EARLY
    out[0], out[1] = kinds, flags
    return FINE


def check_tape(rows: Rows, key: str, shift_ns: int | None) -> Seen:
    """Refuse a tape that would be read wrongly; SimulationError names the row and the remedy.

    shift_ns: of a recorded feed; None: the recorded receive stamps do not count.
    """
    if rows.dtype not in (TICK, EVENT):
        raise SimulationError(f"{key}: rows of {rows.dtype}", remedy="use TICK or EVENT rows")
    allowed = LEVELS if rows.dtype == TICK else LEVELS | BY_ORDER
    out = np.zeros(3, np.int64)
    wrong = look(rows, allowed, -(1 << 62) if shift_ns is None else shift_ns, out)
    if wrong == FINE:
        return Seen(int(out[0]), int(out[1]))
    k = int(out[2])
    row = rows[k]
    if wrong == STRANGE:
        raise SimulationError(
            f"{key}: row {k} is of kind {int(row['kind'])}, which is not simulated",
            remedy="leave such rows out, or cut the tape there",
        )
    if wrong == EARLY:
        early = int(row["ts_event"]) - int(row["ts_recv"]) - (shift_ns or 0)
        raise SimulationError(
            f"{key}: row {k} would be heard {early} ns before it was sent",
            remedy='the clocks differ: give feed=Delay(kind="recorded", ns=what is missing)',
        )
    name = "ts_event" if wrong == EVENT_FALLS else "ts_recv"
    raise SimulationError(
        f"{key}: {name} falls to {int(row[name])} at row {k}",
        remedy="`alephtx data import` puts messages in order",
    )
