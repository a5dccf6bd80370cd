"""The hot ring: every tick of one venue, broadcast; 64-byte slots that carry the data themselves.

Slot k's word is 2k - 1 while it is written and 2k when complete, so a reader that waits for k knows
from one line: below 2k nothing yet, 2k take it, above lapped. Readers never write, so their number
costs the writer nothing. k starts at 1. One writer per venue; the slot comes before the matrix
record, because the record's line may be far away.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import (
    fence_acquire,
    fence_release,
    load_acquire,
    load_relaxed,
    store_relaxed,
    store_release,
)
from alephtx.core.kernel import Int, kernel
from alephtx.matrix.layout import (
    HEAD_BYTES,
    HEAD_LAST,
    MAP_HEADS,
    MAP_RING_SLOTS,
    MAP_RINGS,
    MAP_VENUES,
    TOP_BYTES,
)

Rows = np.ndarray[Any, Any]


@kernel
def slot_aux(instrument: Int, kind: Int, flags: Int, side: Int) -> int:
    """Pack a slot's aux word: instrument | kind << 32 | flags << 40 | (side + 1) << 56.

    TOP and DELTA slots carry the book's flags (words.STALE ...), the others Event.flags.
    """
    return instrument | (kind << 32) | ((flags & 0xFFFF) << 40) | ((side + 1) << 56)


@kernel
def _slot(matrix: Rows, venue: Int, k: Int) -> int:
    slots = matrix[MAP_RING_SLOTS]
    return matrix[MAP_RINGS] + (venue * slots + (k & (slots - 1))) * TOP_BYTES


@kernel
def ring_publish(
    matrix: Rows,
    venue: Int,
    ts_event: Int,
    ts_recv: Int,
    bid: Int,
    bid_qty: Int,
    ask: Int,
    ask_qty: Int,
    aux: Int,
) -> int:
    """Publish one slot and return its k, or -1 for a venue that is not. Writer only; about 4 ns."""
    if venue < 0 or venue >= matrix[MAP_VENUES]:
        return -1
    head = matrix[MAP_HEADS] + venue * HEAD_BYTES + HEAD_LAST
    k = load_relaxed(head) + 1
    slot = _slot(matrix, venue, k)
    store_relaxed(slot, 2 * k - 1)
    fence_release()
    store_relaxed(slot + 8, ts_event)
    store_relaxed(slot + 16, ts_recv)
    store_relaxed(slot + 24, bid)
    store_relaxed(slot + 32, bid_qty)
    store_relaxed(slot + 40, ask)
    store_relaxed(slot + 48, ask_qty)
    store_relaxed(slot + 56, aux)
    store_release(slot, 2 * k)
    store_release(head, k)
    return k


@kernel
def ring_read(matrix: Rows, venue: Int, k: Int, out: Rows) -> int:
    """Copy slot k into out, TOP_ROW (1,). Returns 1 taken, 0 nothing yet, -1 lapped.

    Also -1 for a k below 1 or a venue that is not; out is touched only on 1. About 4 ns when taken.
    """
    if k < 1 or venue < 0 or venue >= matrix[MAP_VENUES]:
        return -1
    slot = _slot(matrix, venue, k)
    word = load_acquire(slot)
    if word < 2 * k:
        return 0
    if word > 2 * k:
        return -1
    ts_event, ts_recv = load_relaxed(slot + 8), load_relaxed(slot + 16)
    bid, bid_qty = load_relaxed(slot + 24), load_relaxed(slot + 32)
    ask, ask_qty = load_relaxed(slot + 40), load_relaxed(slot + 48)
    aux = load_relaxed(slot + 56)
    fence_acquire()
    if load_relaxed(slot) != word:
        return -1
    row = out[0]
    row["word"], row["ts_event"], row["ts_recv"] = word, ts_event, ts_recv
    row["bid"], row["bid_qty"], row["ask"], row["ask_qty"] = bid, bid_qty, ask, ask_qty
    row["aux"] = aux
    return 1


@kernel
def ring_news(matrix: Rows, next_slot: Rows, first: Int) -> int:
    """Return the first venue from `first` on whose ring has news, or len(next_slot): none has.

    next_slot: int64 (V,), the k that the reader waits for at each venue; first: 0 or more. One line
    a venue, however many instruments there are; nothing is written. About 0.7 ns a venue. News may
    be a lap, which `ring_read` tells.
    """
    ring_bytes = matrix[MAP_RING_SLOTS] * TOP_BYTES
    ring = matrix[MAP_RINGS] + first * ring_bytes
    venues = min(len(next_slot), matrix[MAP_VENUES])
    # Unsigned, because an index that may be negative costs as much as the look.
    for venue in range(np.uint64(first), np.uint64(venues)):
        k = next_slot[venue]
        if load_acquire(ring + (k * TOP_BYTES & (ring_bytes - 1))) >= 2 * k:
            return int(np.int64(venue))
        ring += ring_bytes
    return len(next_slot)


@kernel
def ring_head(matrix: Rows, venue: Int) -> int:
    """Return the last complete k, 0 when none; -1 for a venue that is not."""
    if venue < 0 or venue >= matrix[MAP_VENUES]:
        return -1
    return load_acquire(matrix[MAP_HEADS] + venue * HEAD_BYTES + HEAD_LAST)


@kernel
def ring_heal(matrix: Rows, venue: Int) -> int:
    """Bring the head in step with the slots after a writer died. Returns the head.

    A slot that was complete before the head followed may have been read, so it keeps its k. A slot
    left half-written is simply written again: readers of that k still see "nothing yet".
    """
    head = matrix[MAP_HEADS] + venue * HEAD_BYTES + HEAD_LAST
    k = load_relaxed(head)
    if load_relaxed(_slot(matrix, venue, k + 1)) == 2 * (k + 1):
        k += 1
        store_release(head, k)
    return k
