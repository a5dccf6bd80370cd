"""The best `depth` levels of every instrument: a seqlock record each, for readers that want depth.

levels: int64 (2, depth, 2): [0 bid | 1 ask, level, 0 ticks | 1 lots], 0 lots = no level.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import (
    fence_acquire,
    fence_release,
    load_acquire,
    load_relaxed,
    pause,
    store_relaxed,
    store_release,
)
from alephtx.core.kernel import Int, kernel
from alephtx.matrix.layout import (
    LEVELS_DATA,
    LEVELS_SEQ,
    MAP_DEPTH,
    MAP_INSTRUMENTS,
    MAP_LEVEL_BYTES,
    MAP_LEVELS,
)
from alephtx.matrix.tops import READ_RETRIES

Rows = np.ndarray[Any, Any]


@kernel
def levels_publish(matrix: Rows, i: Int, levels: Rows, seq: Int) -> int:
    """Publish instrument i's levels as of the venue's seq; levels int64 (2, n, 2), n any depth.

    Levels beyond the matrix's depth are not shown, missing ones are zero. Returns 0, or -2 for an
    instrument that is not. About 25 ns at depth 32.
    """
    if i < 0 or i >= matrix[MAP_INSTRUMENTS]:
        return -2
    record = matrix[MAP_LEVELS] + i * matrix[MAP_LEVEL_BYTES]
    depth = matrix[MAP_DEPTH]
    shown = min(depth, levels.shape[1])
    word = load_relaxed(record) | 1
    store_relaxed(record, word)
    fence_release()
    store_relaxed(record + LEVELS_SEQ, seq)
    for side in range(2):
        at = record + LEVELS_DATA + side * depth * 16
        for n in range(shown):
            store_relaxed(at + n * 16, levels[side, n, 0])
            store_relaxed(at + n * 16 + 8, levels[side, n, 1])
        for rest in range(shown * 16, depth * 16, 8):
            store_relaxed(at + rest, 0)
    store_release(record, word + 1)
    return 0


@kernel
def levels_read(matrix: Rows, i: Int, out: Rows) -> int:
    """Copy instrument i's levels into out, int64 (2, n, 2). Returns their seq, or -1 and zeros.

    -1: the writer died or sleeps inside, or there is no such instrument.
    """
    if 0 <= i < matrix[MAP_INSTRUMENTS]:
        record = matrix[MAP_LEVELS] + i * matrix[MAP_LEVEL_BYTES]
        depth, wanted = matrix[MAP_DEPTH], min(matrix[MAP_DEPTH], out.shape[1])
        for _ in range(READ_RETRIES):
            word = load_acquire(record)
            if word & 1:
                pause()
                continue
            seq = load_relaxed(record + LEVELS_SEQ)
            for side in range(2):
                at = record + LEVELS_DATA + side * depth * 16
                for n in range(wanted):
                    out[side, n, 0] = load_relaxed(at + n * 16)
                    out[side, n, 1] = load_relaxed(at + n * 16 + 8)
            fence_acquire()
            if load_relaxed(record) == word:
                for n in range(wanted, out.shape[1]):
                    out[0, n, 0], out[0, n, 1], out[1, n, 0], out[1, n, 1] = 0, 0, 0, 0
                return seq
    out[:] = 0
    return -1


@kernel
def levels_is_torn(matrix: Rows, i: Int) -> int:
    """Return 1 when the record's word is odd."""
    return load_acquire(matrix[MAP_LEVELS] + i * matrix[MAP_LEVEL_BYTES]) & 1
