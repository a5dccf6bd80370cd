"""The recorded orders of tapes that tell them one by one, by id; see `sim.fifo`.

int64 (2, n, RESTING_WORDS), for the exchange's side and, where our side reads the tape by itself,
for ours. Open addressing; the exchange's is at most half full, ours, which is what that was some
messages ago, at most three quarters. Deletion shifts followers back.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel

Rows = np.ndarray[Any, Any]

RESTING_WORDS = 6
# Columns of a recorded order. OWNER: 0 = free; else its instrument and which of its images.
OWNER, ORDER_ID, KEY, SIDE_OF, LEFT, ARRIVAL = 0, 1, 2, 3, 4, 5

_M31 = 0x7FFFFFFF
_K32 = 0x9E3779B1


@inline_kernel
def _home(table: Rows, owner: Int, order_id: Int) -> Int:
    first = ((order_id ^ (order_id >> 31)) & _M31) * _K32
    second = ((first >> 20) ^ owner ^ (owner >> 31)) & _M31
    return ((second * _K32) >> 20) & (table.shape[0] - 1)


@kernel
def resting_find(table: Rows, owner: Int, order_id: Int) -> int:
    """Return the row of an order, or the free row where it would go."""
    mask, at = table.shape[0] - 1, _home(table, owner, order_id)
    while table[at, OWNER] != 0 and (table[at, OWNER] != owner or table[at, ORDER_ID] != order_id):
        at = (at + 1) & mask
    return at


@kernel
def resting_free(table: Rows, hole: Int) -> None:
    """Take an order out; those behind it move up, so that none is cut off from its place."""
    mask = table.shape[0] - 1
    at = hole
    while True:
        at = (at + 1) & mask
        if table[at, OWNER] == 0:
            break
        home = _home(table, table[at, OWNER], table[at, ORDER_ID])
        # A follower may fill the hole unless its home lies between the hole and itself.
        if ((at - home) & mask) >= ((at - hole) & mask):
            for word in range(table.shape[1]):
                table[hole, word] = table[at, word]
            hole = at
    table[hole, OWNER] = 0


@kernel
def move_resting(table: Rows, grown: Rows, images: Rows) -> int:
    """Put the orders of a table into a larger one, but those of forgotten images; how many."""
    count = 0
    for k in range(table.shape[0]):
        owner = table[k, OWNER]
        if owner == 0 or owner >> 20 != images[(owner & 0xFFFFF) - 1]:
            continue
        at = resting_find(grown, owner, table[k, ORDER_ID])
        for word in range(table.shape[1]):
            grown[at, word] = table[k, word]
        count += 1
    return count


def make_resting(orders: int = 1 << 10) -> Rows:
    """Return empty tables; orders: a power of two."""
    return np.zeros((2, orders, RESTING_WORDS), np.int64)


def grow_resting(tables: Rows, images: Rows, counts: Rows) -> Rows:
    """Return the orders of living images with room again. images: (instruments, 2); counts: (2,).

    Both sides keep one size; it doubles unless most of what is there was forgotten.
    """
    living = 0
    for side in range(2):
        owners = tables[side, :, OWNER]
        taken = owners[owners != 0]
        living = max(living, int((taken >> 20 == images[(taken & 0xFFFFF) - 1, side]).sum()))
    n = tables.shape[1]
    grown = make_resting(n if 4 * living < n else 2 * n)
    for side in range(2):
        numbers = np.ascontiguousarray(images[:, side])
        counts[side] = move_resting(tables[side], grown[side], numbers)
    return grown
