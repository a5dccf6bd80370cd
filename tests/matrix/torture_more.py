"""More of the torture: levels and signals by themselves, and what is broken about them on purpose.

As in `torture`: every word of a record follows from one number, and readers check all they accept.
`Case` is one writer and one reader of it in two processes; `bench/torture.py` runs them at length.
"""

import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from alephtx.core.atomics import (
    load_acquire,
    load_relaxed,
    monotonic_ns,
    pause,
    store_relaxed,
    store_release,
)
from alephtx.core.kernel import kernel
from alephtx.core.records import SIGNAL_ROW, TOP_ROW
from alephtx.matrix.layout import (
    LEVELS_DATA,
    LEVELS_SEQ,
    MAP_LEVEL_BYTES,
    MAP_LEVELS,
    MAP_RING_SLOTS,
    MAP_RINGS,
    MAP_SIGNALS,
    SIGNAL_BYTES,
    TOP_BYTES,
)
from alephtx.matrix.levels import levels_publish, levels_read
from alephtx.matrix.ring import ring_head
from alephtx.matrix.shm import Matrix
from alephtx.matrix.signals import signal_publish, signal_read
from alephtx.matrix.spsc import HEADER_BYTES, Spsc, spsc_push
from tests.matrix import torture
from tests.matrix.conftest import SMALL, make_instruments
from tests.matrix.torture import LAST, READS, TORN

Rows = np.ndarray[Any, Any]
SLICE_NS = 100_000_000
WIDE = msgspec.structs.replace(SMALL, ring_slots=2048)


@kernel
def write_levels(matrix, i, levels, until_ns):
    """Publish levels that are all n."""
    n = load_relaxed(matrix[MAP_LEVELS] + i * matrix[MAP_LEVEL_BYTES] + LEVELS_SEQ)
    while True:
        for _ in range(256):
            n += 1
            levels[:] = n
            levels_publish(matrix, i, levels, n)
        if monotonic_ns() > until_ns:
            return n


@kernel
def write_levels_unlocked(matrix, i, levels, until_ns):
    """Broken on purpose: the word is raised before the payload, and is never odd."""
    record = matrix[MAP_LEVELS] + i * matrix[MAP_LEVEL_BYTES]
    n = load_relaxed(record + LEVELS_SEQ)
    while True:
        for _ in range(256):
            n += 1
            store_release(record, 2 * n)
            store_relaxed(record + LEVELS_SEQ, n)
            for k in range(levels.size):
                store_relaxed(record + LEVELS_DATA + 8 * k, n)
        if monotonic_ns() > until_ns:
            return n


@kernel
def read_levels(matrix, i, levels, result, until_ns):
    """Count levels accepted, and those that are not all of one message, or older than the last."""
    while True:
        for _ in range(64):
            seq = levels_read(matrix, i, levels)
            if seq < 0:
                continue
            result[READS] += 1
            torn = seq < result[LAST]
            for value in levels.flat:
                torn = torn or value != seq
            result[TORN] += 1 if torn else 0
            result[LAST] = seq
        if monotonic_ns() > until_ns:
            return result[READS]


@kernel
def write_signals(matrix, i, levels, until_ns):
    """Publish signals whose every word follows from n."""
    n = load_relaxed(matrix[MAP_SIGNALS] + i * SIGNAL_BYTES + 16)
    while True:
        for _ in range(256):
            n += 1
            signal_publish(matrix, i, n, n, n + 1, n & 0xFFFF, n + 2 & 0xFFFF, n + 3 & 0xFFFF)
        if monotonic_ns() > until_ns:
            return n


@kernel
def write_signals_unlocked(matrix, i, levels, until_ns):
    """Broken on purpose: the word is raised once, after the payload."""
    record = matrix[MAP_SIGNALS] + i * SIGNAL_BYTES
    n = load_relaxed(record + 16)
    while True:
        for _ in range(256):
            n += 1
            bits = np.float64(n).view(np.int64)
            store_relaxed(record + 8, bits)
            store_relaxed(record + 16, n)
            store_relaxed(record + 24, n + 1)
            store_relaxed(record + 32, n & 0xFFFF | (n + 2 & 0xFFFF) << 32)
            store_relaxed(record + 40, n + 3 & 0xFFFF)
            store_release(record, 2 * n)
        if monotonic_ns() > until_ns:
            return n


@kernel
def read_signals(matrix, i, row, result, until_ns):
    """Count signals accepted, and those whose words do not belong together."""
    while True:
        for _ in range(256):
            if signal_read(matrix, i, row) < 0:
                continue
            n = row[0]["ts"]
            if n == 0:
                continue
            result[READS] += 1
            torn = n < result[LAST] or row[0]["value"] != n or row[0]["expires_ns"] != n + 1
            torn = torn or np.int64(row[0]["instrument"]) != n & 0xFFFF
            torn = torn or np.int64(row[0]["name"]) != n + 2 & 0xFFFF
            torn = torn or np.int64(row[0]["source"]) != n + 3 & 0xFFFF
            result[TORN] += 1 if torn else 0
            result[LAST] = n
        if monotonic_ns() > until_ns:
            return result[READS]


@kernel
def read_ring_once(matrix, venue, row, result, until_ns):
    """Broken on purpose: a slot's word is looked at before the copy, and not again."""
    slots = matrix[MAP_RING_SLOTS]
    while True:
        for _ in range(4096):
            # A slot that is about to be written over: where a reader without the second look errs.
            k = ring_head(matrix, venue) - slots + 2
            if k < 1:
                continue
            slot = matrix[MAP_RINGS] + (venue * slots + (k & (slots - 1))) * TOP_BYTES
            if load_acquire(slot) != 2 * k:
                continue
            first = load_relaxed(slot + 8)
            for _ in range(3):
                pause()
            result[READS] += 1
            last = load_relaxed(slot + 56)
            result[TORN] += 1 if first != k or last != k + 6 else 0
        if monotonic_ns() > until_ns:
            return result[READS]


@kernel
def write_spsc(address, row, row_address, until_ns):
    """Push rows that are all n, from where an earlier call ended."""
    n = load_relaxed(address + 128)
    while True:
        for _ in range(256):
            row[:] = n + 1
            n += spsc_push(address, row_address)
        if monotonic_ns() > until_ns:
            return n


@kernel
def write_spsc_early(address, row, row_address, until_ns):
    """Broken on purpose: the position is raised before the record is there."""
    n, size = load_relaxed(address + 128), load_relaxed(address + 8)
    capacity = load_relaxed(address + 16)
    while True:
        for _ in range(256):
            if n - load_acquire(address + 256) >= capacity:
                continue
            store_release(address + 128, n + 1)
            slot = address + HEADER_BYTES + (n & (capacity - 1)) * size
            n += 1
            for _ in range(4):
                pause()
            for offset in range(0, size, 8):
                store_relaxed(slot + offset, n)
        if monotonic_ns() > until_ns:
            return n


class Case(NamedTuple):
    """One writer and one reader: functions of a deadline; the reader's also of its result."""

    bytes: int
    write: Callable[[int], int]
    read: Callable[[Any, int], int]
    broken: bool


def cases_of(matrix: Matrix, memory: int, *, early: int) -> dict[str, Case]:
    """Return all of them by name. memory, early: addresses where rings of 64 records find room.

    Each has a record of its own: a writer that was ended leaves half of one.
    """
    m, levels, shown = matrix.map, np.zeros((2, 8, 2), np.int64), np.zeros((2, 8, 2), np.int64)
    row, signal = np.zeros(1, TOP_ROW), np.zeros(1, SIGNAL_ROW)

    def seqlock(size: int, i: int, write: Any, read: Any, out: Rows, *, broken: bool) -> Case:
        scratch = (row, shown) if out is row else (out,)
        return Case(
            size, lambda until: write(m, i, levels, until),
            lambda result, until: read(m, i, *scratch, result, until), broken,
        )  # fmt: skip

    def ring(venue: int, read: Any, *, broken: bool) -> Case:
        return Case(
            64, lambda until: torture.write_ring(m, venue, until),
            lambda result, until: read(m, venue, row, result, until), broken,
        )  # fmt: skip

    whole, record = seqlock, 64 + levels.nbytes
    once, unlocked = torture.read_tops_once, torture.write_tops_unlocked
    found = {
        "top": whole(64, 0, torture.write_tops, torture.read_tops, row, broken=False),
        "levels": whole(record, 1, write_levels, read_levels, shown, broken=False),
        "signal": whole(64, 0, write_signals, read_signals, signal, broken=False),
        "ring slot": ring(0, torture.read_ring, broken=False),
        "top, writer never odd": whole(64, 2, unlocked, torture.read_tops, row, broken=True),
        "top, reader looks once": whole(64, 3, torture.write_tops, once, row, broken=True),
        "levels, writer never odd": whole(
            record, 4, write_levels_unlocked, read_levels, shown, broken=True
        ),
        "signal, writer never odd": whole(
            64, 1, write_signals_unlocked, read_signals, signal, broken=True
        ),
        "ring slot, reader looks once": ring(1, read_ring_once, broken=True),
    }
    for size, at in ((64, memory), (128, memory + 65_536), (160, memory + 131_072)):
        found[f"lossless ring, {size} bytes"] = _lossless(size, at, write_spsc, False)
    found["lossless ring, position first"] = _lossless(160, early, write_spsc_early, True)
    return found


def _lossless(size: int, address: int, write: Callable[..., int], broken: bool) -> Case:
    ring = Spsc(size, 64, address=address)
    pushed, popped = np.zeros(size // 8, np.int64), np.zeros(size // 8, np.int64)
    return Case(
        size,
        lambda until: write(ring.address, pushed, pushed.ctypes.data, until),
        lambda result, until: torture.read_spsc(
            ring.address, popped, popped.ctypes.data, result, until),
        broken,
    )  # fmt: skip


def beside(case: Case, writes: int, most_s: float) -> tuple[int, int, int]:
    """Let a child write so often while we read; returns (writes, reads, torn reads).

    One that is broken writes until it is caught. Both ends are compiled before the fork; for a process
    without threads.
    """
    result = np.zeros(8, np.int64)
    case.read(result, 0)
    result[:] = 0
    come = os.pipe()
    child = os.fork()
    if child == 0:
        begun, done, first = time.monotonic(), 0, -1
        while (done < writes or case.broken) and time.monotonic() - begun < most_s:
            last = int(case.write(time.monotonic_ns() + SLICE_NS))
            first = max(0, last - 256) if first < 0 else first
            done = last - first
            os.write(come[1], done.to_bytes(8, "little"))
        os._exit(0)
    os.close(come[1])
    os.set_blocking(come[0], False)
    written, ended = 0, False
    while not ended:
        ended = os.waitpid(child, os.WNOHANG)[0] == child
        case.read(result, time.monotonic_ns() + (0 if ended else SLICE_NS))
        try:
            while told := os.read(come[0], 8):
                written = int.from_bytes(told, "little")
        except BlockingIOError:
            pass
        if case.broken and result[TORN] and not ended:
            os.kill(child, 9)
            os.waitpid(child, 0)
            ended = True
    os.close(come[0])
    return written, int(result[READS]), int(result[TORN])


def main(path: str, writes: int) -> None:
    """Run every case on a matrix of our own at a path; prints {name: [broken, writes, torn]}."""
    memory, early = mmap.mmap(-1, 1 << 18), mmap.mmap(-1, 1 << 16)
    at, early_at = (int(np.frombuffer(m, np.uint8).ctypes.data) for m in (memory, early))
    with Matrix.create(path, make_instruments(), WIDE, clock_offset_ns=1) as matrix:
        told = {}
        for name, case in cases_of(matrix, at, early=early_at).items():
            done, _, torn = beside(case, writes, 10.0 if case.broken else 30.0)
            told[name] = case.broken, done, torn
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
