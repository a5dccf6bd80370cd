"""A private book that a matching engine may eat from: sorted levels, best last.

Unlike a feeder's book this one is changed by our own takers too (depletion), and it is small: one
sorted run of keys per instrument and side, key = side x price, so that the best level of either
side is the last one and changes near the touch move little memory. When a side is full its worst
level is forgotten.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.kernel import kernel

Rows = np.ndarray[Any, Any]

BID, ASK = 0, 1


class Ladder(NamedTuple):
    """keys and qtys: int64 (instruments, 2, levels); sizes: int64 (instruments, 2)."""

    keys: Rows
    qtys: Rows
    sizes: Rows


def make_ladder(instruments: int, levels_max: int) -> Ladder:
    """Return an empty ladder; 16 bytes per level and side."""
    shape = (instruments, 2, levels_max)
    return Ladder(
        np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape[:2], np.int64)
    )


@kernel
def ladder_find(ladder: Ladder, i: int, s: int, key: int) -> int:
    """Return the first position whose key is not below the given one."""
    low, high = 0, ladder.sizes[i, s]
    while low < high:
        middle = (low + high) >> 1
        if ladder.keys[i, s, middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def ladder_qty(ladder: Ladder, i: int, s: int, key: int) -> int:
    """Return the displayed quantity at a level, 0 where there is none."""
    at = ladder_find(ladder, i, s, key)
    if at < ladder.sizes[i, s] and ladder.keys[i, s, at] == key:
        return ladder.qtys[i, s, at]
    return 0


@kernel
def ladder_set(ladder: Ladder, i: int, s: int, key: int, qty: int) -> None:
    """Set the absolute quantity of a level; zero or less removes it."""
    at = ladder_find(ladder, i, s, key)
    n = ladder.sizes[i, s]
    keys, qtys = ladder.keys[i, s], ladder.qtys[i, s]
    present = at < n and keys[at] == key
    if qty > 0:
        if present:
            qtys[at] = qty
            return
        if n == keys.shape[0]:
            if at == 0:
                return  # worse than everything that is kept
            for k in range(at - 1):
                keys[k], qtys[k] = keys[k + 1], qtys[k + 1]
            at -= 1
        else:
            for k in range(n, at, -1):
                keys[k], qtys[k] = keys[k - 1], qtys[k - 1]
            ladder.sizes[i, s] = n + 1
        keys[at], qtys[at] = key, qty
    elif present:
        for k in range(at, n - 1):
            keys[k], qtys[k] = keys[k + 1], qtys[k + 1]
        ladder.sizes[i, s] = n - 1


@kernel
def ladder_trim(ladder: Ladder, i: int, s: int, key: int) -> None:
    """Remove every level that is better than the key."""
    at = ladder_find(ladder, i, s, key + 1)
    ladder.sizes[i, s] = min(at, ladder.sizes[i, s])
