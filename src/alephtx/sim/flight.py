"""Messages under way, in order of arrival; what was sent first arrives first of equals.

A ring of places in order of time and, beside it, the rows themselves, so that a message that
arrives before one sent earlier moves words, not rows. Nearly all go to the end at once.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel

Rows = np.ndarray[Any, Any]

NEVER = (1 << 63) - 1

# Words of `place`.
_HEAD, _TAIL, _FREE = 0, 1, 2


class Flight(NamedTuple):
    """Messages on one way.

    place: int64 (4,). ring: int64 (n, 2) of (arrival ns, slot), n a power of two. free: int64 (n,),
    a stack of slots. lane: int64 (n,) by slot. rows: (n,) by slot.
    """

    place: Rows
    ring: Rows
    free: Rows
    lane: Rows
    rows: Rows


def make_flight(row: Any, count: int) -> Flight:
    """Return room for `count` messages of a dtype, rounded up to a power of two."""
    n = 1 << max(4, (count - 1).bit_length())
    free, place = np.arange(n, dtype=np.int64)[::-1].copy(), np.zeros(4, np.int64)
    place[_FREE] = n
    return Flight(place, np.zeros((n, 2), np.int64), free, np.zeros(n, np.int64), np.zeros(n, row))


def grow_flight(flight: Flight) -> Flight:
    """Return the same messages with twice the room; the old ones are spent."""
    n = len(flight.rows)
    grown = make_flight(flight.rows.dtype, 2 * n)
    head, tail = int(flight.place[_HEAD]), int(flight.place[_TAIL])
    for at in range(head, tail):
        grown.ring[at & (2 * n - 1)] = flight.ring[at & (n - 1)]
    grown.lane[:n], grown.rows[:n] = flight.lane, flight.rows
    taken = int(flight.place[_FREE])
    grown.free[:n] = np.arange(2 * n - 1, n - 1, -1)
    grown.free[n : n + taken] = flight.free[:taken]
    grown.place[:] = head, tail, n + taken, 0
    return grown


@inline_kernel
def flight_next(place: Rows, ring: Rows) -> Int:
    """Return when the next message arrives, NEVER without one."""
    head = place[_HEAD]
    if head == place[_TAIL]:
        return NEVER
    return ring[head & (ring.shape[0] - 1), 0]


@inline_kernel
def flight_room(place: Rows) -> Int:
    """Return for how many more messages there is room."""
    return place[_FREE]


@kernel
def flight_send(place: Rows, ring: Rows, free: Rows, lane_of: Rows, time: int, lane: int) -> int:
    """Send a message; returns the slot whose row the caller fills, -1 without room."""
    if place[_FREE] == 0:
        return -1
    place[_FREE] -= 1
    slot, mask = free[place[_FREE]], ring.shape[0] - 1
    at = place[_TAIL]
    place[_TAIL] = at + 1
    while at > place[_HEAD] and ring[(at - 1) & mask, 0] > time:
        ring[at & mask, 0], ring[at & mask, 1] = ring[(at - 1) & mask, 0], ring[(at - 1) & mask, 1]
        at -= 1
    ring[at & mask, 0], ring[at & mask, 1] = time, slot
    lane_of[slot] = lane
    return slot


@inline_kernel
def flight_take(place: Rows, ring: Rows, free: Rows) -> Int:
    """Take the message that arrives next; returns its slot, which is free for the next send."""
    head = place[_HEAD]
    slot = ring[head & (ring.shape[0] - 1), 1]
    place[_HEAD] = head + 1
    free[place[_FREE]] = slot
    place[_FREE] += 1
    return slot
