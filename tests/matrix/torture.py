"""Both ends of the torture tests, each in its own process: python -m tests.matrix.torture ROLE ...

The writers publish records whose words all follow from one number; the readers check every word of
every record they accept. The broken variants are what the tests must catch.
"""

import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from alephtx.core.atomics import (
    fence_acquire,
    load_acquire,
    load_relaxed,
    monotonic_ns,
    pause,
    store_relaxed,
    store_release,
)
from alephtx.core.kernel import kernel
from alephtx.core.records import TOP_ROW
from alephtx.matrix.layout import MAP_RING_SLOTS, MAP_TOPS, TOP_BYTES
from alephtx.matrix.levels import levels_is_torn, levels_publish, levels_read
from alephtx.matrix.ring import ring_head, ring_publish, ring_read
from alephtx.matrix.shm import Matrix
from alephtx.matrix.spsc import Spsc, spsc_pop, spsc_push
from alephtx.matrix.tops import top_is_torn, top_publish, top_read, touch_read

# Words of a result.
READS, TORN, LOST, BUSY, LAST = 0, 1, 2, 3, 4


@kernel
def write_tops(matrix, i, levels, until_ns):
    """Publish tops and levels that all follow from n, as fast as possible."""
    n = load_relaxed(matrix[MAP_TOPS] + i * TOP_BYTES + 8)
    while True:
        for _ in range(256):
            n += 1
            top_publish(matrix, i, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6)
            if n & 7 == 0:
                levels[:] = n
                levels_publish(matrix, i, levels, n)
        if monotonic_ns() > until_ns:
            return n


@kernel
def write_tops_unlocked(matrix, i, levels, until_ns):
    """Broken on purpose: the word is raised once, after the payload, so it is never odd."""
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    n = load_relaxed(record + 8)
    while True:
        for _ in range(256):
            n += 1
            for k in range(7):
                store_relaxed(record + 8 + 8 * k, n + k)
            store_release(record, 2 * n)
        if monotonic_ns() > until_ns:
            return n


@kernel
def read_tops(matrix, i, row, levels, result, until_ns):
    """Count records accepted, and those among them whose words do not belong together."""
    while True:
        for _ in range(256):
            if top_read(matrix, i, row) < 0:
                result[BUSY] += 1
                continue
            result[READS] += 1
            n = row[0]["ts_event"]
            torn = row[0]["ts_recv"] != n + 1 or row[0]["bid"] != n + 2
            torn = torn or row[0]["bid_qty"] != n + 3 or row[0]["ask"] != n + 4
            torn = torn or row[0]["ask_qty"] != n + 5 or row[0]["aux"] != n + 6
            if (torn and n != 0) or n < result[LAST]:
                result[TORN] += 1
            result[LAST] = n
            bid, ask = touch_read(matrix, i)
            if bid != 0 and ask != bid + 2:
                result[TORN] += 1
        seq = levels_read(matrix, i, levels)
        if seq >= 0:
            result[READS] += 1
            for value in levels.flat:
                if value != seq:
                    result[TORN] += 1
                    break
        if monotonic_ns() > until_ns:
            return result[READS]


@kernel
def read_tops_once(matrix, i, row, levels, result, until_ns):
    """Broken on purpose: the word is looked at before the copy, and not again."""
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    while True:
        for _ in range(256):
            if load_acquire(record) & 1:
                continue
            n = load_relaxed(record + 8)
            fence_acquire()
            result[READS] += 1
            for k in range(1, 7):
                if n != 0 and load_relaxed(record + 8 + 8 * k) != n + k:
                    result[TORN] += 1
                    break
        if monotonic_ns() > until_ns:
            return result[READS]


@kernel
def write_ring(matrix, venue, until_ns):
    """Flood a ring, just slowly enough to be followed; every word of slot k follows from k."""
    k = ring_head(matrix, venue)
    while True:
        for _ in range(256):
            k += 1
            ring_publish(matrix, venue, k, k + 1, k + 2, k + 3, k + 4, k + 5, k + 6)
            for _ in range(4):
                pause()
        if monotonic_ns() > until_ns:
            return k


@kernel
def read_ring(matrix, venue, row, result, until_ns):
    """Read a ring, now and then slowly; slots taken and lost must add up to those published."""
    k = result[LAST] + 1
    while True:
        for turn in range(65_536):
            got = ring_read(matrix, venue, k, row)
            if got == 0:
                continue
            if got < 0:
                # Half a ring back: something to read even when both ends share a core.
                later = max(k + 1, ring_head(matrix, venue) - (matrix[MAP_RING_SLOTS] >> 1))
                result[LOST] += later - k
                result[BUSY] += 1
                k = later
                continue
            result[READS] += 1
            torn = row[0]["ts_event"] != k or row[0]["ts_recv"] != k + 1 or row[0]["bid"] != k + 2
            torn = torn or row[0]["bid_qty"] != k + 3 or row[0]["ask"] != k + 4
            torn = torn or row[0]["ask_qty"] != k + 5 or row[0]["aux"] != k + 6
            if torn or row[0]["word"] != 2 * k:
                result[TORN] += 1
            k += 1
            if turn == 77:  # a nap long enough to be lapped
                wake_ns = monotonic_ns() + 1_000_000
                while monotonic_ns() < wake_ns:
                    pause()
        result[LAST] = k - 1
        if monotonic_ns() > until_ns:
            return result[READS]


@kernel
def write_spsc(address, row, row_address, until_ns):
    """Push rows 1, 2, 3 ...; a full ring makes us wait, never skip."""
    n = 0
    while True:
        for _ in range(256):
            row[:] = n + 1
            n += spsc_push(address, row_address)
        if monotonic_ns() > until_ns:
            return n


@kernel
def read_spsc(address, row, row_address, result, until_ns):
    """Pop rows; each must be whole and the successor of the last."""
    while True:
        for _ in range(256):
            if spsc_pop(address, row_address) == 0:
                continue
            result[READS] += 1
            result[LAST] += 1
            for value in row:
                if value != result[LAST]:
                    result[TORN] += 1
                    break
        if monotonic_ns() > until_ns:
            return result[READS]


@kernel
def write_everything(matrix, i, venue, levels, times):
    """Write a ring, a top and levels; somebody will kill us in the midst of it."""
    n = ring_head(matrix, venue)
    for _ in range(times):
        n += 1
        ring_publish(matrix, venue, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6)
        top_publish(matrix, i, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6)
        levels[:] = n
        levels_publish(matrix, i, levels, n)


def map_file(path):
    """Return (buffer, address) of a file that both ends of a lossless ring map."""
    with Path(path).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    return memory, np.frombuffer(memory, np.uint8).ctypes.data


def kill_writers(matrix, count):
    """Fork writers, kill each in the midst of its work, and look at what it left behind.

    For a process without threads. Returns how many left a torn record, how many reads hung, and
    how often a reader was fooled, before or after the next writer healed the records.
    """
    row, levels = np.zeros(1, TOP_ROW), np.zeros((2, 8, 2), np.int64)
    i, venue, torn, hung, fooled = 2, 1, 0, 0, 0
    write_everything(matrix.map, i, venue, levels, 1)  # compiled before the first fork
    for n in range(count):
        child = os.fork()
        if child == 0:
            write_everything(matrix.map, i, venue, levels, 1 << 60)
        time.sleep(0.003 + 0.00013 * n)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        torn += bool(top_is_torn(matrix.map, i) or levels_is_torn(matrix.map, i))
        started = time.monotonic()
        seq, got = levels_read(matrix.map, i, levels), top_read(matrix.map, i, row)
        k = ring_head(matrix.map, venue)
        # The slot after the last complete one may be complete, too, but never taken half-written.
        following = ring_read(matrix.map, venue, k + 1, row.copy())
        hung += time.monotonic() - started > 1
        fooled += seq >= 0 and bool((levels != seq).any())
        written = got == 0 and row[0]["ts_event"] != 0
        fooled += written and row[0].tolist()[2:] != tuple(
            row[0]["ts_event"] + d for d in range(1, 7)
        )
        epoch = matrix.take_venue(venue)
        fooled += top_read(matrix.map, i, row) != 0 or row[0]["aux"] >> 32 != epoch
        fooled += levels_read(matrix.map, i, levels) != 0 or bool(levels.any())
        fooled += ring_head(matrix.map, venue) != k + following
        k = ring_publish(matrix.map, venue, 5, 0, 0, 0, 0, 0, 0)
        fooled += ring_read(matrix.map, venue, k, row) != 1 or row[0]["ts_event"] != 5
    return int(torn), int(hung), int(fooled)


def main(role, path, amount):
    """Run one end; `ready` on stdout says that everything is compiled and the clock may start."""
    if role == "spsc":
        memory, address = map_file(path)
        ring, row = Spsc.over(address), np.zeros(20, np.int64)
        spare = Spsc(160, 2)
        write_spsc(spare.address, row, row.ctypes.data, 0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        until_ns = time.monotonic_ns() + int(float(amount) * 1e9)
        written = write_spsc(ring.address, row, row.ctypes.data, until_ns)
        sys.stdout.write(f"{written}\n")
        assert memory
        return
    with Matrix.attach(path) as matrix:
        if role == "kill":
            sys.stdout.write(json.dumps(kill_writers(matrix, int(amount))) + "\n")
            return
        levels = np.zeros((2, 8, 2), np.int64)
        write = {
            "tops": lambda until_ns: write_tops(matrix.map, 0, levels, until_ns),
            "unlocked": lambda until_ns: write_tops_unlocked(matrix.map, 0, levels, until_ns),
            "ring": lambda until_ns: write_ring(matrix.map, 0, until_ns),
        }[role]
        write(0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        # numbers go on from the ones just written, so that readers may demand that they only rise
        sys.stdout.write(f"{write(time.monotonic_ns() + int(float(amount) * 1e9))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
