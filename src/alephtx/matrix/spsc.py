"""A lossless ring for one producer and one consumer, over any memory that both can address.

Words, by cache line: 0 the shape, 128 bytes on the producer's position and its last sight of the
consumer's, 128 bytes on the reverse. Positions only grow; position & (capacity - 1) is the slot. A
side looks at the other's line only when its last sight says full or empty, so a ring that is
neither costs one shared line per record. Nothing is ever overwritten: a full ring says so.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import load_acquire, load_relaxed, store_relaxed, store_release
from alephtx.core.errors import MatrixError
from alephtx.core.kernel import Int, inline_kernel, kernel

Rows = np.ndarray[Any, Any]

MAGIC = 0x43535053_48504C41  # "ALPHSPSC"
HEADER_BYTES = 384
RECORD_BYTES_MAX = 1 << 16
CAPACITY_MAX = 1 << 28

_RECORD, _CAPACITY = 8, 16
_TAIL, _HEAD_SEEN = 128, 136
_HEAD, _TAIL_SEEN = 256, 264
_SLOTS = 384


def spsc_bytes(record_bytes: int, capacity: int) -> int:
    """Return how much memory a ring needs; MatrixError for a shape that cannot be."""
    if record_bytes % 8 or not 0 < record_bytes <= RECORD_BYTES_MAX:
        raise MatrixError(
            f"records of {record_bytes} bytes do not fit a ring",
            remedy=f"use a multiple of 8 up to {RECORD_BYTES_MAX}",
        )
    if capacity & (capacity - 1) or not 1 < capacity <= CAPACITY_MAX:
        raise MatrixError(
            f"a ring of {capacity} records is not possible",
            remedy=f"use a power of two from 2 to {CAPACITY_MAX}",
        )
    return HEADER_BYTES + record_bytes * capacity


@kernel
def spsc_init(address: Int, record_bytes: Int, capacity: Int) -> int:
    """Write the header of an empty ring; the magic comes last."""
    store_relaxed(address, 0)
    store_relaxed(address + _RECORD, record_bytes)
    store_relaxed(address + _CAPACITY, capacity)
    store_relaxed(address + _TAIL, 0)
    store_relaxed(address + _HEAD_SEEN, 0)
    store_relaxed(address + _HEAD, 0)
    store_relaxed(address + _TAIL_SEEN, 0)
    store_release(address, MAGIC)
    return 1


@kernel
def spsc_push(address: Int, row_address: Int) -> int:
    """Append the record at row_address. Returns 1, or 0 when the ring is full. Producer only."""
    tail = load_relaxed(address + _TAIL)
    capacity = load_relaxed(address + _CAPACITY)
    if tail - load_relaxed(address + _HEAD_SEEN) >= capacity:
        head = load_acquire(address + _HEAD)
        store_relaxed(address + _HEAD_SEEN, head)
        if tail - head >= capacity:
            return 0
    size = load_relaxed(address + _RECORD)
    slot = address + _SLOTS + (tail & (capacity - 1)) * size
    for offset in range(0, size, 8):
        store_relaxed(slot + offset, load_relaxed(row_address + offset))
    store_release(address + _TAIL, tail + 1)
    return 1


@kernel
def spsc_pop(address: Int, out_address: Int) -> int:
    """Take the oldest record into out_address. Returns 1, or 0 when empty. Consumer only."""
    head = load_relaxed(address + _HEAD)
    if head >= load_relaxed(address + _TAIL_SEEN):
        tail = load_acquire(address + _TAIL)
        store_relaxed(address + _TAIL_SEEN, tail)
        if head >= tail:
            return 0
    size = load_relaxed(address + _RECORD)
    capacity = load_relaxed(address + _CAPACITY)
    slot = address + _SLOTS + (head & (capacity - 1)) * size
    for offset in range(0, size, 8):
        store_relaxed(out_address + offset, load_relaxed(slot + offset))
    store_release(address + _HEAD, head + 1)
    return 1


@kernel
def spsc_take(address: Int, out_address: Int, most: Int) -> int:
    """Take up to so many of the oldest records, one behind the other. Returns how many."""
    n = 0
    while n < most and spsc_pop(address, out_address) != 0:
        out_address += load_relaxed(address + _RECORD)
        n += 1
    return n


@inline_kernel
def spsc_waits(address: Int) -> bool:
    """Tell whether a record waits, without a call: for polls. Consumer only."""
    return load_relaxed(address + _HEAD) < load_acquire(address + _TAIL)


@kernel
def spsc_size(address: Int) -> int:
    """Return how many records wait; from a third side only a moment's view."""
    head = load_acquire(address + _HEAD)
    return load_acquire(address + _TAIL) - head


@kernel
def _word(address: Int) -> int:
    return load_acquire(address)


class Spsc:
    """A ring and the memory it lives in, its own or borrowed at a given address.

    `push` and `pop` copy through a private record, about 1 us each; kernels use the addresses.
    """

    def __init__(
        self, record_bytes: int, capacity: int, *, address: int = 0, join: bool = False
    ) -> None:
        size = spsc_bytes(record_bytes, capacity)
        self.record_bytes = record_bytes
        self.capacity = capacity
        self._memory = np.zeros((size if not address else 0) // 8 + 16, np.int64)
        if address % 8:
            raise MatrixError(f"a ring at address {address:#x} is not aligned to 8 bytes")
        own: int = self._memory.ctypes.data
        self.address = address or (own + 127) // 128 * 128
        if not join:
            spsc_init(self.address, record_bytes, capacity)
        self._staged: Rows = np.zeros(record_bytes, np.uint8)
        self._staged_address: int = self._staged.ctypes.data

    @classmethod
    def over(cls, address: int) -> "Spsc":
        """Join a ring that another side has made at this address; the memory stays theirs."""
        if _word(address) != MAGIC:
            raise MatrixError(f"no ring at address {address:#x}", remedy="create it first")
        record_bytes, capacity = int(_word(address + _RECORD)), int(_word(address + _CAPACITY))
        return cls(record_bytes, capacity, address=address, join=True)

    def push(self, row: Any) -> bool:
        """Append one row (a length-1 array or a NumPy record); False when the ring is full."""
        data = row.tobytes()
        if len(data) != self.record_bytes:
            raise MatrixError(f"a row of {len(data)} bytes in a ring of {self.record_bytes}")
        self._staged[:] = np.frombuffer(data, np.uint8)
        return bool(spsc_push(self.address, self._staged_address))

    def pop(self, out: Rows) -> bool:
        """Take the oldest row into a length-1 array; False when there is none."""
        if out.nbytes != self.record_bytes:
            raise MatrixError(f"a row of {out.nbytes} bytes for a ring of {self.record_bytes}")
        if not spsc_pop(self.address, self._staged_address):
            return False
        out.view(np.uint8).reshape(-1)[:] = self._staged
        return True

    def __len__(self) -> int:
        return int(spsc_size(self.address))
