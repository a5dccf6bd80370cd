"""Who writes into the matrix: names, proofs of life, counters, epochs, and the halt word.

A writer claims a row by the hash of its name; a new process of the same name takes the row over.
Whether the old one still lives is not asked here: `Matrix.take_venue` holds a lock for that.
"""

import ctypes
import hashlib
from typing import Any

import numpy as np

from alephtx.core.atomics import (
    compare_exchange,
    fence_release,
    load_acquire,
    load_relaxed,
    store_relaxed,
    store_release,
)
from alephtx.core.kernel import Int, kernel
from alephtx.core.words import EMPTY_SIDE, EPOCH_SHIFT, STALE
from alephtx.matrix.layout import (
    COUNTER_BYTES,
    HEAD_BYTES,
    HEAD_EPOCH,
    HEAD_WRITER,
    LEVELS_DATA,
    LEVELS_SEQ,
    MAP_COUNTERS,
    MAP_HALT,
    MAP_HEADS,
    MAP_INSTRUMENTS,
    MAP_LEVEL_BYTES,
    MAP_LEVELS,
    MAP_TOPS,
    MAP_VENUES,
    MAP_WRITER_COUNT,
    MAP_WRITERS,
    TOP_BYTES,
    WRITER_BYTES,
)
from alephtx.matrix.levels import levels_is_torn
from alephtx.matrix.ring import ring_heal
from alephtx.matrix.tops import top_is_torn, top_publish

Rows = np.ndarray[Any, Any]

# Words of a writer's row.
_PID, _BEAT, _STARTS = 8, 16, 24

# Words of a writer's counters.
FRAMES, EVENTS, DROPS, GAPS, RESYNCS, RECONNECTS = 0, 1, 2, 3, 4, 5
NOT_UNDERSTOOD, STALE_TURNS, ERRORS, BYTES = 6, 7, 8, 9
LATENCY_P50, LATENCY_P99, LATENCY_MOST, LATENCY_COUNT = 10, 11, 12, 13  # wire to matrix, ns
COUNTER_WORDS = 16
COUNTER_NAMES = {
    FRAMES: "frames",
    EVENTS: "events",
    DROPS: "drops",
    GAPS: "gaps",
    RESYNCS: "resyncs",
    RECONNECTS: "reconnects",
    NOT_UNDERSTOOD: "not_understood",
    STALE_TURNS: "stale_turns",
    ERRORS: "errors",
    BYTES: "bytes",
    LATENCY_P50: "wire_to_matrix_p50",
    LATENCY_P99: "wire_to_matrix_p99",
    LATENCY_MOST: "wire_to_matrix_most",
    LATENCY_COUNT: "wire_to_matrix_count",
}

HALT_ORPHANED = 99
"""Left in a matrix whose owner died and was replaced: its readers must not trade on it."""


def name_hash(name: str) -> int:
    """Return 63 bits of a writer's name; never 0, which marks a free row."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1 or 1


@kernel
def claim(matrix: Rows, name: Int, pid: Int) -> int:
    """Claim the row of a name hash, safe between processes. Returns the row, -1 when none is free.

    A row claimed again keeps its counters and forgets its beat.
    """
    for writer in range(matrix[MAP_WRITER_COUNT]):
        row = matrix[MAP_WRITERS] + writer * WRITER_BYTES
        before = compare_exchange(row, 0, name)
        if before in (0, name):
            store_relaxed(row + _BEAT, 0)
            store_relaxed(row + _STARTS, load_relaxed(row + _STARTS) + 1)
            store_release(row + _PID, pid)
            return writer
    return -1


@kernel
def _find(matrix: Rows, name: Int) -> int:
    for writer in range(matrix[MAP_WRITER_COUNT]):
        if load_acquire(matrix[MAP_WRITERS] + writer * WRITER_BYTES) == name:
            return writer
    return -1


def find_writer(matrix: Rows, name: str) -> int:
    """Return the row of a writer's name, or -1 when it never claimed one."""
    return int(_find(matrix, name_hash(name)))


@kernel
def beat(matrix: Rows, writer: Int, monotonic: Int) -> int:
    """Prove life: store the monotonic time in ns. Returns 0, or -1 for a row that is not."""
    if writer < 0 or writer >= matrix[MAP_WRITER_COUNT]:
        return -1
    store_release(matrix[MAP_WRITERS] + writer * WRITER_BYTES + _BEAT, monotonic)
    return 0


@kernel
def last_beat(matrix: Rows, writer: Int) -> int:
    """Return the monotonic time of the last beat, 0 when none; -1 for a row that is not."""
    if writer < 0 or writer >= matrix[MAP_WRITER_COUNT]:
        return -1
    return load_acquire(matrix[MAP_WRITERS] + writer * WRITER_BYTES + _BEAT)


@kernel
def writer_pid(matrix: Rows, writer: Int) -> int:
    """Return the process id a row was last claimed with; -1 for a row that is not. For display."""
    if writer < 0 or writer >= matrix[MAP_WRITER_COUNT]:
        return -1
    return load_acquire(matrix[MAP_WRITERS] + writer * WRITER_BYTES + _PID)


@kernel
def writer_starts(matrix: Rows, writer: Int) -> int:
    """Return how often a row was claimed; -1 for a row that is not."""
    if writer < 0 or writer >= matrix[MAP_WRITER_COUNT]:
        return -1
    return load_acquire(matrix[MAP_WRITERS] + writer * WRITER_BYTES + _STARTS)


def counters(matrix: Rows, writer: int) -> Rows:
    """Return a writer's counters, int64 (16,), as a view of shared memory.

    Only the writer stores. The view dies with the mapping; copy it to keep the figures.
    """
    if not 0 <= writer < matrix[MAP_WRITER_COUNT]:
        raise IndexError(f"no writer {writer} in a matrix of {matrix[MAP_WRITER_COUNT]} writers")
    address = int(matrix[MAP_COUNTERS]) + writer * COUNTER_BYTES
    return np.ctypeslib.as_array((ctypes.c_int64 * COUNTER_WORDS).from_address(address))


@kernel
def counter_add(matrix: Rows, writer: Int, word: Int, amount: Int) -> int:
    """Add to one of our own counters; returns its new value, or -1."""
    if writer < 0 or writer >= matrix[MAP_WRITER_COUNT] or word < 0 or word >= COUNTER_WORDS:
        return -1
    address = matrix[MAP_COUNTERS] + writer * COUNTER_BYTES + word * 8
    value = load_relaxed(address) + amount
    store_relaxed(address, value)
    return value


@kernel
def halt_set(matrix: Rows, code: Int) -> int:
    """Set the halt word: any code but 0 blocks every new order of every engine."""
    store_release(matrix[MAP_HALT], code)
    return 0


@kernel
def halt_read(matrix: Rows) -> int:
    """Return the halt word; 0 = trade."""
    return load_acquire(matrix[MAP_HALT])


@kernel
def venue_epoch(matrix: Rows, venue: Int) -> int:
    """Return the epoch of a venue's writer; 0 = none yet, -1 for a venue that is not."""
    if venue < 0 or venue >= matrix[MAP_VENUES]:
        return -1
    return load_acquire(matrix[MAP_HEADS] + venue * HEAD_BYTES + HEAD_EPOCH)


@kernel
def venue_writer(matrix: Rows, venue: Int) -> int:
    """Return the writers row of a venue's feeder, or -1 when none took the venue."""
    if venue < 0 or venue >= matrix[MAP_VENUES]:
        return -1
    return load_acquire(matrix[MAP_HEADS] + venue * HEAD_BYTES + HEAD_WRITER) - 1


@kernel
def heal(matrix: Rows, venue: Int, instruments: Rows, writer: Int) -> int:
    """Make a venue's records whole after its last writer, raise its epoch. Returns the torn ones.

    instruments: int64 (n,), those of the venue. Their prices are forgotten, because nobody knows
    how old they are: every top is empty and STALE, every levels record is empty. writer: row of the
    new writer, -1 to leave it unsaid. The caller must be the venue's only writer.
    """
    if venue < 0 or venue >= matrix[MAP_VENUES]:
        return -1
    head = matrix[MAP_HEADS] + venue * HEAD_BYTES
    epoch = load_relaxed(head + HEAD_EPOCH) + 1
    torn = 0
    ring_heal(matrix, venue)
    for n in range(len(instruments)):
        i = instruments[n]
        if i < 0 or i >= matrix[MAP_INSTRUMENTS]:
            continue
        torn += top_is_torn(matrix, i) + levels_is_torn(matrix, i)
        top_publish(matrix, i, 0, 0, 0, 0, 0, 0, STALE | EMPTY_SIDE | (epoch << EPOCH_SHIFT))
        _forget_levels(matrix, i)
    if writer >= 0:
        store_relaxed(head + HEAD_WRITER, writer + 1)
    store_release(head + HEAD_EPOCH, epoch)
    return torn


@kernel
def _forget_levels(matrix: Rows, i: Int) -> None:
    record = matrix[MAP_LEVELS] + i * matrix[MAP_LEVEL_BYTES]
    word = load_relaxed(record) | 1
    store_relaxed(record, word)
    fence_release()
    store_relaxed(record + LEVELS_SEQ, 0)
    for offset in range(LEVELS_DATA, matrix[MAP_LEVEL_BYTES], 8):
        store_relaxed(record + offset, 0)
    store_release(record, word + 1)


@kernel
def flag_blank_tops(matrix: Rows) -> int:
    """Flag every top of a new matrix: nobody has written it, so nobody may trade on it."""
    for i in range(matrix[MAP_INSTRUMENTS]):
        store_relaxed(matrix[MAP_TOPS] + i * TOP_BYTES + 56, STALE | EMPTY_SIDE)
    return matrix[MAP_INSTRUMENTS]
