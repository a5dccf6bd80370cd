"""From messages as they were recorded to a stream: dated, in the venue's order, numbered.

Recorders write in the order of arrival; the venue's order differs where one of its connections is
slower than another. A message that overtook an earlier one stands in the stream twice: flagged
TICK_EXCHANGE where the venue sent it and TICK_LOCAL where we heard it. All others stand once, so
both orders can be read from one file (the idea is hftbacktest's, there row by row).

A message without the venue's stamp is dated by the offset of the last one that had one, never
later than the next of those: what came over one wire in order was sent in order.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.records import EVENT
from alephtx.core.words import (
    EXCHANGE_CLOCK,
    LAST_IN_MESSAGE,
    ORDER_ADD,
    ORDER_FILL,
    TICK_EXCHANGE,
    TICK_LOCAL,
)

Rows = np.ndarray[Any, Any]

WINDOW_NS = 2_000_000_000
"""How much later than a message another may arrive that was sent before it."""
ROWS_MAX = 1 << 22
"""Rows held back at most; beyond it, late messages are dated anew, and counted."""
BATCH_ROWS = 1 << 18

# Words of the state.
OFFSET, LAST_RECV, LAST_EVENT, RECV_BACK, LATE, ESTIMATED, KNOWN, UNFIT = 0, 1, 2, 3, 4, 5, 6, 7
SEEN, STATE_WORDS = 8, 10
LIMIT = 1 << 62
WILD_NS = 3600 * 1_000_000_000


@kernel
def find_messages(rows: Rows, n: Int, ends: Rows) -> int:
    """Write the end of each message among rows[:n] into ends; return how many were whole."""
    count = 0
    for k in range(n):
        if (np.int64(rows[k]["flags"]) & LAST_IN_MESSAGE) != 0:
            ends[count] = k + 1
            count += 1
    return count


@kernel
def _stamp_of(rows: Rows, start: Int, end: Int, clock: Int) -> int:
    """Return a message's latest stamp of the venue's clock (0) or ours (1), 0 when it has none."""
    stamp: Int = np.int64(0)
    for k in range(start, end):
        if clock == 1:
            stamp = max(stamp, np.int64(rows[k]["ts_recv"]))
        elif (np.int64(rows[k]["flags"]) & EXCHANGE_CLOCK) != 0:
            stamp = max(stamp, np.int64(rows[k]["ts_event"]))
    return int(stamp)


@kernel
def _next_stamped(rows: Rows, ends: Rows, first: Int, count: Int, unfit: Rows, clock: Int) -> int:
    """Return the next message from `first` on that has a stamp of a clock, count when none has."""
    n = first
    while n < count and (unfit[n] != 0 or _stamp_of(rows, ends[n - 1], ends[n], clock) == 0):
        n += 1
    return n


@kernel
def screen(rows: Rows, ends: Rows, count: Int, state: Rows, unfit: Rows) -> int:
    """Mark messages that would spoil the stream; returns how many.

    Those with a number beyond 62 bits or an impossible side or kind; and those that are stamped an
    hour or more after the next message or before the last one, while these two agree: a damaged
    stamp, which all that follows would be lifted to. state[SEEN + clock]: the last good stamps.
    """
    found = 0
    for m in range(count):
        unfit[m] = 0
        start = ends[m - 1] if m > 0 else 0
        for k in range(start, ends[m]):
            row = rows[k]
            side, kind = np.int64(row["side"]), np.int64(row["kind"])
            if (
                abs(np.int64(row["price"])) >= LIMIT
                or abs(np.int64(row["qty"])) >= LIMIT
                or side * side > 1
                or kind < 1
                or kind > ORDER_FILL
            ):
                unfit[m] = 1
    for clock in range(2):
        for m in range(count):
            if unfit[m] != 0:
                continue
            start = ends[m - 1] if m > 0 else 0
            stamp, last = _stamp_of(rows, start, ends[m], clock), state[SEEN + clock]
            if stamp == 0:
                continue
            n = _next_stamped(rows, ends, m + 1, count, unfit, clock)
            then: Int = np.int64(0)
            if n < count:
                then = _stamp_of(rows, ends[n - 1], ends[n], clock)
            agree = then == 0 or last == 0 or then >= last - WILD_NS
            early = last != 0 and stamp < last - WILD_NS
            late = then != 0 and stamp > then + WILD_NS
            if late and last == 0:  # the first of all: the two after it must agree
                n = _next_stamped(rows, ends, n + 1, count, unfit, clock)
                agree = n < count and stamp > _stamp_of(rows, ends[n - 1], ends[n], clock) + WILD_NS
            if agree and (early or late):
                unfit[m] = 1
            else:
                state[SEEN + clock] = stamp
    for m in range(count):
        found += unfit[m]
    return found


@kernel
def date(rows: Rows, ends: Rows, first: Int, count: Int, state: Rows, events: Rows) -> None:
    """Give messages first..count one time each on both clocks, in the order of arrival.

    ts_recv never falls (0: there was no local clock; it is the venue's then). events[m] = the
    message's ts_event: its own latest stamp, or an estimate, then negative.
    """
    for m in range(first, count):
        start = ends[m - 1] if m > 0 else 0
        stamp, recv = np.int64(0), np.int64(0)
        for k in range(start, ends[m]):
            if (np.int64(rows[k]["flags"]) & EXCHANGE_CLOCK) != 0:
                stamp = max(stamp, np.int64(rows[k]["ts_event"]))
            recv = max(recv, np.int64(rows[k]["ts_recv"]))
        if recv == 0:
            recv = max(stamp, state[LAST_RECV])
        if recv < state[LAST_RECV]:
            state[RECV_BACK] += 1
            recv = state[LAST_RECV]
        state[LAST_RECV] = recv
        if stamp > 0:
            if state[KNOWN] == 0:  # what came before the first stamp is dated by it
                for earlier in range(m):
                    events[earlier] -= stamp - recv
            state[OFFSET], state[KNOWN] = stamp - recv, 1
            events[m] = stamp
        else:
            state[ESTIMATED] += 1
            events[m] = -(recv + state[OFFSET])
        for k in range(start, ends[m]):
            rows[k]["ts_recv"] = recv


@kernel
def settle(events: Rows, count: Int, floor: Int, out: Rows) -> None:
    """Write final times to out: estimates between the stamps around them, nothing before floor."""
    ceiling = np.int64(0)
    for m in range(count - 1, -1, -1):
        out[m] = events[m]
        if events[m] >= 0:
            ceiling = events[m] if ceiling == 0 else min(ceiling, events[m])
        elif ceiling > 0 and -events[m] > ceiling:
            out[m] = -ceiling
    last = np.int64(floor)
    for m in range(count):
        if out[m] < 0:
            out[m] = max(last, -out[m])
        elif out[m] < floor:
            out[m] = floor
        last = max(last, out[m])


@kernel
def clean_cuts(events: Rows, recvs: Rows, count: Int, until_ns: Int, least: Rows) -> int:
    """Return the last m with recvs[m - 1] <= until_ns such that no message from m on is earlier.

    least: scratch (count + 1,), left as the earliest ts_event from m on.
    """
    least[count] = np.iinfo(np.int64).max
    for m in range(count - 1, -1, -1):
        least[m] = min(least[m + 1], events[m])
    cut, latest = 0, np.iinfo(np.int64).min
    for m in range(count):
        latest = max(latest, events[m])
        if recvs[m] > until_ns:
            break
        if latest <= least[m + 1]:
            cut = m + 1
    return cut


@kernel
def merge(
    rows: Rows, ends: Rows, events: Rows, by_event: Rows, least: Rows, count: Int,
    number: Int, out: Rows,
) -> int:  # fmt: skip
    """Write messages 0..count in both orders to out, numbered from `number`; return the rows.

    by_event: the messages by (ts_event, arrival). A message overtook when a later one is earlier:
    events[m] > least[m + 1]. out: room for twice the rows.
    """
    written: Int = np.int64(0)
    local, exchange = 0, 0
    while local < count or exchange < count:
        while exchange < count and _overtook(events, least, by_event[exchange]):
            message = by_event[exchange]
            written = _put(rows, ends, events, message, TICK_EXCHANGE, number, out, written)
            number += 1
            exchange += 1
        while local < count and _overtook(events, least, local):
            written = _put(rows, ends, events, local, TICK_LOCAL, number, out, written)
            number += 1
            local += 1
        if local < count:  # both orders have come to the same message
            written = _put(rows, ends, events, local, 0, number, out, written)
            number += 1
            local += 1
            exchange += 1
    return int(written)


@kernel
def _overtook(events: Rows, least: Rows, message: Int) -> bool:
    return events[message] > least[message + 1]


@kernel
def _put(
    rows: Rows, ends: Rows, events: Rows, message: Int, flag: Int, number: Int,
    out: Rows, written: Int,
) -> int:  # fmt: skip
    start = ends[message - 1] if message > 0 else 0
    for k in range(start, ends[message]):
        out[written] = rows[k]
        row = out[written]
        row["ts_event"] = events[message]
        row["flags"] = np.int64(row["flags"]) | flag
        row["instrument"] = 0
        if np.int64(row["kind"]) < ORDER_ADD:
            row["seq"] = number
        written += 1
    return written


class Arranger:
    """Arranges one instrument's messages: `push` chunks in the order of arrival, then `finish`.

    Both return chunks of a stream. Memory is bounded by what arrives within the window. counts:
    recv_back (arrivals stamped earlier than the one before), late (messages that came later than
    the window after one that was sent after them; dated as that one), estimated (without a stamp),
    unfit (left out: see `screen`).
    """

    def __init__(self, window_ns: int = WINDOW_NS, rows_max: int = ROWS_MAX) -> None:
        self._window_ns, self._rows_max = window_ns, rows_max
        self._rows, self._events = np.zeros(0, EVENT), np.zeros(0, np.int64)
        self._waiting: list[Rows] = []
        self._waiting_rows = 0
        self._state = np.zeros(STATE_WORDS, np.int64)
        self.messages = 0

    @property
    def counts(self) -> dict[str, int]:
        """What had to be mended."""
        state = self._state
        return {
            "recv_back": int(state[RECV_BACK]),
            "late": int(state[LATE]),
            "estimated": int(state[ESTIMATED]),
            "unfit": int(state[UNFIT]),
        }

    def push(self, rows: Rows) -> list[Rows]:
        """Take more rows, the last one ends a message; return what is settled by now."""
        self._waiting.append(rows)
        self._waiting_rows += len(rows)
        return self.settle() if self._waiting_rows >= BATCH_ROWS else []

    def finish(self) -> list[Rows]:
        """Return all that is left, arranged."""
        return self.settle(last=True)

    def settle(self, *, last: bool = False) -> list[Rows]:
        """Arrange what nothing can come before any more; last: all."""
        rows = np.concatenate([self._rows, self._screened(last=last)])
        if not len(rows):
            return []
        ends = np.zeros(len(rows), np.int64)
        count = int(find_messages(rows, len(rows), ends))
        events, times = np.zeros(count, np.int64), np.zeros(count, np.int64)
        dated = len(self._events)
        events[:dated] = self._events
        date(rows, ends, dated, count, self._state, events)
        floor = int(self._state[LAST_EVENT])
        settle(events, count, floor, times)
        least = np.zeros(count + 1, np.int64)
        recvs = np.ascontiguousarray(rows["ts_recv"][ends[:count] - 1])
        until = recvs[-1] if last else recvs[-1] - self._window_ns
        cut = int(clean_cuts(times, recvs, count, until, least))
        if last or (cut == 0 and len(rows) > self._rows_max):
            cut = count
        made = []
        if cut:
            self._state[LATE] += np.count_nonzero((events[:cut] >= 0) & (events[:cut] < floor))
            self._state[LAST_EVENT] = times[:cut].max()
            made = [self._merged(rows, ends, times, least, cut)]
        self._rows = rows[ends[cut - 1] if cut else 0 :].copy()
        self._events = events[cut:].copy()
        return made

    def _screened(self, *, last: bool) -> Rows:
        """Return what waits without what is unfit; the last message waits for the next one."""
        rows = np.concatenate([self._rows[:0], *self._waiting])
        self._waiting, self._waiting_rows = [], 0
        if not len(rows):
            return rows
        ends = np.zeros(len(rows), np.int64)
        count = int(find_messages(rows, len(rows), ends))
        assert count, "a chunk without the end of a message"
        assert ends[count - 1] == len(rows), "a chunk ends within a message"
        if not last:
            count -= 1
            cut = int(ends[count - 1]) if count else 0
            self._waiting = [rows[cut:]]
            self._waiting_rows = len(rows) - cut
            rows = rows[:cut]
        unfit = np.zeros(count, np.int64)
        if count and screen(rows, ends, count, self._state, unfit):
            self._state[UNFIT] += unfit.sum()
            rows = rows[np.repeat(unfit == 0, np.diff(ends[:count], prepend=0))]
        return rows

    def _merged(self, rows: Rows, ends: Rows, times: Rows, least: Rows, count: int) -> Rows:
        out = np.zeros(2 * int(ends[count - 1]), EVENT)
        by_event = np.argsort(times[:count], kind="stable")
        size = merge(rows, ends, times, by_event, least, count, self.messages, out)
        made = out[:size]
        self.messages += int(np.count_nonzero(made["flags"] & LAST_IN_MESSAGE))
        return made
