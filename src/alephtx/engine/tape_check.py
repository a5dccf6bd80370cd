"""Look at every row of a tape once before it is replayed; refuse what would be read wrongly."""

from collections.abc import Sequence
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

MILLISECOND, PART_ROWS = 1_000_000, 1 << 20

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


class Feed(NamedTuple):
    """How a tape's venue is heard, for what is to be said of it.

    shift_ns: added to recorded receive stamps; None: they do not count. place: the table of the
    config that says so, empty without a config. tapes: the rows of all tapes that it says it of.
    """

    shift_ns: int | None
    place: str = ""
    tapes: Sequence[Rows] = ()


def check_tape(rows: Rows, key: str, feed: Feed) -> Seen:
    """Refuse a tape that would be read wrongly; SimulationError names the row and the remedy."""
    if rows.dtype not in (TICK, EVENT):
        raise SimulationError(f"{key}: rows of {rows.dtype}", remedy="use TICK or EVENT rows")
    allowed = LEVELS if rows.dtype == TICK else LEVELS | BY_ORDER
    out = np.zeros(3, np.int64)
    wrong = look(rows, allowed, -(1 << 62) if feed.shift_ns is None else feed.shift_ns, out)
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
        raise _early(rows, key, k, feed)
    name = "ts_event" if wrong == EVENT_FALLS else "ts_recv"
    raise SimulationError(
        f"{key}: {name} falls to {int(row[name])} at row {k}",
        remedy="`alephtx data import` puts messages in order",
    )


def _early(rows: Rows, key: str, k: int, feed: Feed) -> SimulationError:
    """Return what is wrong with clocks that differ, and the least that mends all of the tapes."""
    shift = feed.shift_ns or 0
    early = int(rows[k]["ts_event"]) - int(rows[k]["ts_recv"]) - shift
    most = _lack_ns(rows)
    needed = max(most, *(_lack_ns(others) for others in feed.tapes), 0)
    needed = -(-needed // MILLISECOND) * MILLISECOND
    say = f'set kind = "recorded" and delay_ns = {needed:_} in [{feed.place}]'
    call = f'give feed=Delay(kind="recorded", ns={needed})'
    return SimulationError(
        f"{key}: row {k} would be heard {early:,} ns before it was sent, and of all rows one "
        f"{most - shift:,} ns: the clocks differ",
        remedy=say if feed.place else call,
    )


def _lack_ns(rows: Rows) -> int:
    """Return how much earlier than sent a row was heard at most; below 0 where none was."""
    most = -(1 << 62)
    for first in range(0, len(rows), PART_ROWS):
        part = rows[first : first + PART_ROWS]
        lack = (part["ts_event"] - part["ts_recv"])[part["flags"] & TICK_EXCHANGE == 0]
        most = max(most, int(lack.max(initial=most)))
    return most
