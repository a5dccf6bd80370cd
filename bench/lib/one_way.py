"""One way between two processes: from a writer's stamp to what the reader knows, in cycles.

The writer waits for the reader's word, then stamps and writes; the reader spins, and stamps when it
knows. Both stamps are the machine's one steady counter, read when all before it is done. "line" is
a bare word that is the stamp itself, in a shared cache line; "event" is a slot of the venue's ring
as the engine finds and takes it (`ring_news`, `ring_read`); "decision" is the same and then the
arbitrage over the touches of eight venues.
"""

import contextlib
import mmap
import os
import time
from collections.abc import Iterator

import numpy as np
from lib.eight_venues import LOTS, PRICE, VENUES, Scene, crossed

from alephtx.core.atomics import cycles, load_acquire, monotonic_ns, pause, store_release
from alephtx.core.kernel import Int, kernel
from alephtx.core.records import TOP_ROW
from alephtx.core.view import View
from alephtx.core.words import TOP
from alephtx.matrix.ring import ring_head, ring_news, ring_publish, ring_read, slot_aux

TRIPS = 2_000
PATIENCE_NS = 10_000_000_000
WAYS = ("line", "event", "decision")
READY, STAMP, WORDS = 0, 128, 512


@kernel
def steady() -> int:
    """Read the counter."""
    return cycles()


@kernel
def wait_word(address: Int, wanted: Int) -> int:
    """Spin until a word reaches what is wanted; 0, or -1 when nobody writes it."""
    until = monotonic_ns() + PATIENCE_NS
    turns = 0
    while load_acquire(address) < wanted:
        pause()
        turns += 1
        if turns & 0xFFFF == 0 and monotonic_ns() > until:
            return -1
    return 0


@kernel
def write_lines(words: Int, n: Int, base: Int) -> int:
    """Write n stamps into the shared line, each when the reader is ready for it."""
    for trip in range(n):
        if wait_word(words + READY, base + trip + 1) < 0:
            return -1
        for _ in range(8):
            pause()
        store_release(words + STAMP, cycles())
    return 0


@kernel
def read_lines(words: Int, n: Int, base: Int, took: np.ndarray) -> int:
    """Await n stamps; took: cycles from each to here."""
    for trip in range(n):
        before = load_acquire(words + STAMP)
        store_release(words + READY, base + trip + 1)
        if wait_word(words + STAMP, before + 1) < 0:
            return -1
        took[trip] = cycles() - load_acquire(words + STAMP)
    return 0


@kernel
def write_events(matrix: np.ndarray, wanted: np.ndarray, words: Int, n: Int, base: Int) -> int:
    """Publish n tops, of the eight venues in turn, each when the reader is ready for it."""
    for trip in range(n):
        if wait_word(words + READY, base + trip + 1) < 0:
            return -1
        for _ in range(8):
            pause()
        venue = trip % VENUES
        aux = slot_aux(wanted[venue], TOP, 0, 0)
        bid = PRICE - trip % 3
        begun = cycles()
        ring_publish(matrix, venue, begun, begun, bid, LOTS, PRICE + 1, LOTS, aux)
    return 0


@kernel
def read_events(matrix: np.ndarray, slots: np.ndarray, words: Int, n: Int, base: Int,
                view: View, params: np.ndarray, took: np.ndarray, slot: np.ndarray,
                decide: Int) -> int:  # fmt: skip
    """Find and take n events, decide or not; took: cycles from the writer's stamp to here."""
    found = 0
    for trip in range(n):
        store_release(words + READY, base + trip + 1)
        until, turns, venue = 0, 0, ring_news(matrix, slots, 0)
        while venue == len(slots):
            pause()
            turns += 1
            if turns & 0xFFFF == 0:
                until = monotonic_ns() + PATIENCE_NS if until == 0 else until
                if monotonic_ns() > until:
                    return -1
            venue = ring_news(matrix, slots, 0)
        if ring_read(matrix, venue, slots[venue], slot) != 1:
            return -2
        slots[venue] += 1
        if decide:
            i = slot[0]["aux"] & 0xFFFFFFFF
            view.top[i] = slot[0]
            view.top[i]["aux"] = 0
            found += crossed(view, params) + 1
        took[trip] = cycles() - slot[0]["ts_event"]
    return found


@contextlib.contextmanager
def alone(core: int) -> Iterator[None]:
    """Hold one core for a round, before all ordinary processes where that is allowed."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, before)


def cycles_a_ns() -> float:
    """Compare the counter with the clock for a tenth of a second."""
    first, begun = steady(), time.monotonic_ns()
    time.sleep(0.1)
    return (steady() - first) / (time.monotonic_ns() - begun)


class End:
    """One of the two processes; it has touched every page that it will use."""

    def __init__(self, matrix, memory: mmap.mmap) -> None:
        self.matrix, self.memory = matrix, memory
        self.words = int(np.frombuffer(memory, np.int64).ctypes.data)
        self.scene = Scene(matrix.instruments)
        for k, i in enumerate(self.scene.wanted):
            row = self.scene.view.top[i]
            row["bid"], row["ask"] = PRICE, PRICE + 1 + k
            row["bid_qty"], row["ask_qty"] = LOTS, LOTS
            row["ts_recv"] = self.scene.view.now[0]
        self.took, self.slot = np.zeros(TRIPS, np.int64), np.zeros(1, TOP_ROW)
        self.base = 0
        for which in WAYS:  # compiled before anybody waits
            self._read(which, 0)
            self._write(which, 0)

    def _read(self, which: str, n: int) -> int:
        if which == "line":
            return int(read_lines(self.words, n, self.base, self.took))
        scene = self.scene
        return int(read_events(
            self.matrix.map, scene.slots, self.words, n, self.base, scene.view, scene.params,
            self.took, self.slot, int(which == "decision"),
        ))  # fmt: skip

    def _write(self, which: str, n: int) -> int:
        if which == "line":
            return int(write_lines(self.words, n, self.base))
        return int(write_events(self.matrix.map, self.scene.wanted, self.words, n, self.base))

    def aim(self) -> None:
        """Wait for the next slot of every ring."""
        for venue in range(VENUES):
            self.scene.slots[venue] = ring_head(self.matrix.map, venue) + 1

    def read(self, which: str, core: int) -> np.ndarray:
        """Be the reader for a round; returns cycles."""
        with alone(core):
            done = self._read(which, TRIPS)
        assert done == 0, f"{which}: {done}: no writer, a lap, or an arbitrage where there is none"
        self.base += TRIPS
        return self.took

    def write(self, which: str, core: int) -> None:
        """Be the writer for a round."""
        with alone(core):
            assert self._write(which, TRIPS) == 0, "no reader"
        self.base += TRIPS
