"""A lossless ring of records of any length, for one producer and one consumer thread.

Words by cache line, as in `matrix.spsc`: 0 the shape, 128 bytes on the producer's position and its
last sight of the consumer's, 128 bytes on the reverse; the records lie from byte 384 on. Positions
count bytes and only grow. A record is four words - its payload's bytes, a kind and two words of the
user's - and the payload, rounded up to 8. One that would cross the end of the ring starts anew at
its beginning, behind a word -1. Nothing is ever overwritten: a full ring says so.
"""

import ctypes
from typing import Any

import numpy as np

from alephtx.core.atomics import load_acquire, load_relaxed, store_relaxed, store_release
from alephtx.core.errors import MatrixError
from alephtx.core.kernel import Int, kernel
from alephtx.core.memory import copy_bytes

Rows = np.ndarray[Any, Any]

CAPACITY_MIN, CAPACITY_MAX = 1 << 10, 1 << 30
HEAD_BYTES = 32
NONE = -1
"""What `bytes_peek` says of an empty ring."""

TOO_LONG = -1
"""What `bytes_push` says of a payload that can never be in this ring."""

_CAPACITY = 0
_TAIL, _HEAD_SEEN = 128, 136
_HEAD, _TAIL_SEEN = 256, 264
_RECORDS = 384
_SKIP = -1


@kernel
def bytes_push(ring: Int, kind: Int, a: Int, b: Int, address: Int, size: Int) -> int:
    """Append a record. Returns 1, 0 when the ring is full, TOO_LONG. Producer only."""
    capacity = load_relaxed(ring + _CAPACITY)
    need = HEAD_BYTES + ((size + 7) & -8)
    if need * 2 > capacity:
        return TOO_LONG
    tail = load_relaxed(ring + _TAIL)
    at = tail & (capacity - 1)
    to_end = capacity - at
    take = need if need <= to_end else need + to_end
    if tail + take - load_relaxed(ring + _HEAD_SEEN) > capacity:
        head = load_acquire(ring + _HEAD)
        store_relaxed(ring + _HEAD_SEEN, head)
        if tail + take - head > capacity:
            return 0
    if need > to_end:
        store_relaxed(ring + _RECORDS + at, _SKIP)
        at = 0
    record = ring + _RECORDS + at
    store_relaxed(record, size)
    store_relaxed(record + 8, kind)
    store_relaxed(record + 16, a)
    store_relaxed(record + 24, b)
    copy_bytes(record + HEAD_BYTES, address, size)
    store_release(ring + _TAIL, tail + take)
    return 1


@kernel
def bytes_peek(ring: Int, out: Int) -> int:
    """Look at the oldest record. Returns its payload's bytes or NONE. Consumer only.

    out: address of four words, which become kind, a, b and the payload's address. The record
    stays, and so does its payload, until `bytes_drop`.
    """
    head = load_relaxed(ring + _HEAD)
    if head >= load_relaxed(ring + _TAIL_SEEN):
        tail = load_acquire(ring + _TAIL)
        store_relaxed(ring + _TAIL_SEEN, tail)
        if head >= tail:
            return NONE
    capacity = load_relaxed(ring + _CAPACITY)
    record = ring + _RECORDS + (head & (capacity - 1))
    if load_relaxed(record) == _SKIP:  # the producer shows it together with what follows it
        record = ring + _RECORDS
    for k in range(3):
        store_relaxed(out + 8 * k, load_relaxed(record + 8 + 8 * k))
    store_relaxed(out + 24, record + HEAD_BYTES)
    return load_relaxed(record)


@kernel
def bytes_drop(ring: Int) -> int:
    """Give the oldest record's place back; only after `bytes_peek` showed one. Consumer only."""
    head = load_relaxed(ring + _HEAD)
    capacity = load_relaxed(ring + _CAPACITY)
    at = head & (capacity - 1)
    if load_relaxed(ring + _RECORDS + at) == _SKIP:
        head += capacity - at
        at = 0
    size = load_relaxed(ring + _RECORDS + at)
    store_release(ring + _HEAD, head + HEAD_BYTES + ((size + 7) & -8))
    return 1


@kernel
def bytes_waiting(ring: Int) -> int:
    """Return how many bytes of the ring are taken; from a third side only a moment's view."""
    head = load_acquire(ring + _HEAD)
    return load_acquire(ring + _TAIL) - head


class BytesRing:
    """A ring and the memory it lives in. Kernels take its address; methods are for Python."""

    def __init__(self, capacity: int) -> None:
        if capacity & (capacity - 1) or not CAPACITY_MIN <= capacity <= CAPACITY_MAX:
            raise MatrixError(
                f"a ring of {capacity} bytes is not possible",
                remedy=f"use a power of two from {CAPACITY_MIN} to {CAPACITY_MAX}",
            )
        self.capacity = capacity
        self.payload_max = capacity // 2 - HEAD_BYTES
        self._memory: Rows = np.zeros((_RECORDS + capacity) // 8 + 16, np.int64)
        own: int = self._memory.ctypes.data
        self.address = (own + 127) // 128 * 128
        ctypes.c_int64.from_address(self.address + _CAPACITY).value = capacity
        self._out: Rows = np.zeros(4, np.int64)
        self._out_address: int = self._out.ctypes.data

    def push(self, payload: bytes, kind: int = 0, a: int = 0, b: int = 0) -> bool:
        """Append a record; False when the ring is full. MatrixError for one that never fits."""
        where = ctypes.cast(ctypes.c_char_p(payload), ctypes.c_void_p).value or 0
        done = bytes_push(self.address, kind, a, b, where, len(payload))
        if done == TOO_LONG:
            raise MatrixError(
                f"a record of {len(payload)} bytes does not fit a ring of {self.capacity}",
                remedy=f"a payload has at most {self.payload_max} bytes",
            )
        return bool(done)

    def pop(self) -> tuple[int, int, int, bytes] | None:
        """Take the oldest record as (kind, a, b, payload); None when there is none."""
        size = bytes_peek(self.address, self._out_address)
        if size == NONE:
            return None
        kind, a, b, where = self._out.tolist()
        payload = ctypes.string_at(where, size)
        bytes_drop(self.address)
        return kind, a, b, payload

    def __len__(self) -> int:
        """Return how many bytes are taken."""
        return int(bytes_waiting(self.address))
