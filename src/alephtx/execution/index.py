"""A bounded hash index in one array: pairs of words to a word, for kernels.

Open addressing with linear probing over a power of two of rows at most half full, and deletion that
shifts followers back, so that probes stay short however long the process lives (tombstones would
fill the table). Rows are int64 (capacity, 4): used, key, second key, value. One lookup is one cache
line as a rule; about 5 ns.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel

Rows = np.ndarray[Any, Any]

ABSENT = -(1 << 63)
"""What `index_get` returns for a key that is not there."""

_M31 = 0x7FFFFFFF
_K32 = 0x9E3779B1


def make_index(entries_max: int) -> Rows:
    """Return an empty index that holds that many entries at most."""
    capacity = 16
    while capacity < 2 * entries_max:
        capacity *= 2
    return np.zeros((capacity, 4), np.int64)


@inline_kernel
def index_home(rows: Rows, a: Int, b: Int) -> int:
    """Return the row a key would like. Products stay below 2^63, so both modes agree.

    Eight keys that follow one another share 256 bytes: ids are counted, and the newest are wanted.
    """
    c, d = a >> 3, b >> 3
    first = ((c ^ (c >> 31)) & _M31) * _K32
    second = ((first >> 20) ^ d ^ (d >> 31)) & _M31
    return (((second * _K32) >> 20 << 3) | ((a ^ b) & 7)) & (rows.shape[0] - 1)


@inline_kernel
def index_find(rows: Rows, a: Int, b: Int) -> int:
    """Return the row that holds a key, or the free row where it belongs."""
    mask = rows.shape[0] - 1
    at = index_home(rows, a, b)
    while rows[at, 0] != 0 and (rows[at, 1] != a or rows[at, 2] != b):
        at = (at + 1) & mask
    return at


@inline_kernel
def index_get(rows: Rows, a: Int, b: Int) -> int:
    """Return a key's value, or ABSENT."""
    at = index_find(rows, a, b)
    return rows[at, 3] if rows[at, 0] != 0 else ABSENT


@inline_kernel
def index_put(rows: Rows, a: Int, b: Int, value: Int) -> None:
    """Set a key's value. The caller keeps the number of entries below half the rows."""
    at = index_find(rows, a, b)
    rows[at, 0], rows[at, 1], rows[at, 2], rows[at, 3] = 1, a, b, value


@inline_kernel
def index_delete(rows: Rows, a: Int, b: Int) -> int:
    """Forget a key; 1 when it was there, else 0."""
    mask = rows.shape[0] - 1
    hole = index_find(rows, a, b)
    if rows[hole, 0] == 0:
        return 0
    at = hole
    while True:
        at = (at + 1) & mask
        if rows[at, 0] == 0:
            break
        home = index_home(rows, rows[at, 1], rows[at, 2])
        # A follower may fill the hole unless its home lies between the hole and itself.
        if ((at - home) & mask) >= ((at - hole) & mask):
            rows[hole, 1], rows[hole, 2], rows[hole, 3] = rows[at, 1], rows[at, 2], rows[at, 3]
            hole = at
    rows[hole, 0] = 0
    return 1
