"""Shared memory: what a look at the rings costs, and how soon another process sees an event.

Latency is half of a round trip between two processes that spin: an event through a ring of the
matrix (slot, head, top of the reader's copy) against a bare word in a shared cache line, which is
as fast as this machine can be. On a machine whose cores are busy both grow by the scheduler's
share; the ratio is what counts.
"""

import mmap
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
from lib.rounds import interleave, options, report

from alephtx.core.atomics import load_acquire, monotonic_ns, pause, store_release
from alephtx.core.kernel import Int, kernel
from alephtx.core.records import TOP_ROW
from alephtx.core.words import TOP
from alephtx.engine.tryout import instruments_of, recorded
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_head, ring_publish, ring_read, slot_aux
from alephtx.matrix.shm import Matrix

VENUES = ("binance_spot", "binance_usdm")
KEYS = ("binance_spot:BTC-USDT", "binance_usdm:BTC-USDT-PERP")
LOOKS, TRIPS = 1_000_000, 4_000
PATIENCE_NS = 20_000_000_000
SAMPLES = 1_024


@kernel
def look(matrix: np.ndarray, k: Int, n: Int, out: np.ndarray) -> int:
    """Look n times for slot k of the first ring, which is there or not; returns ns."""
    begun = monotonic_ns()
    for _ in range(n):
        ring_read(matrix, 0, k, out)
    return monotonic_ns() - begun


@kernel
def publish_many(matrix: np.ndarray, n: Int) -> int:
    """Publish n tops; returns ns."""
    begun = monotonic_ns()
    for k in range(n):
        ring_publish(matrix, 0, k, k, 100, 1, 101, 1, 0)
    return monotonic_ns() - begun


@kernel
def ring_trips(matrix: np.ndarray, mine: Int, theirs: Int, n: Int, first: Int, k: Int,
               samples: np.ndarray, out: np.ndarray) -> int:  # fmt: skip
    """Send n events and await n from slot k on; first = 1 begins. samples: ns of whole trips."""
    aux = slot_aux(0, TOP, 0, 0)
    for trip in range(n):
        begun = monotonic_ns()
        if first:
            ring_publish(matrix, mine, begun, begun, 1, 1, 2, 1, aux)
        while ring_read(matrix, theirs, k, out) == 0:
            pause()
            if monotonic_ns() - begun > PATIENCE_NS:
                return -1
        k += 1
        if not first:
            ring_publish(matrix, mine, begun, begun, 1, 1, 2, 1, aux)
        samples[trip % SAMPLES] = monotonic_ns() - begun
    return 0


@kernel
def word_trips(mine: Int, theirs: Int, n: Int, first: Int, base: Int, samples: np.ndarray) -> int:
    """Send and await n words, counting from base, as `ring_trips` does events."""
    for trip in range(n):
        begun = monotonic_ns()
        if first:
            store_release(mine, base + trip + 1)
        while load_acquire(theirs) < base + trip + 1:
            pause()
            if monotonic_ns() - begun > PATIENCE_NS:
                return -1
        if not first:
            store_release(mine, base + trip + 1)
        samples[trip % SAMPLES] = monotonic_ns() - begun
    return 0


class Trips:
    """One side of a round; where it begins is read before the other side is told to go."""

    def __init__(self, which: str, matrix: Matrix, words: int, first: int) -> None:
        mine, theirs = (0, 1) if first else (1, 0)
        self.samples = np.zeros(SAMPLES, np.int64)
        if which == "ring":
            k = int(ring_head(matrix.map, theirs)) + 1
            out = np.zeros(1, TOP_ROW)
            self.go = lambda: ring_trips(
                matrix.map, mine, theirs, TRIPS, first, k, self.samples, out
            )
        else:
            here, there = words + 128 * mine, words + 128 * theirs
            base = int(load_word(there))
            self.go = lambda: word_trips(here, there, TRIPS, first, base, self.samples)

    def run(self) -> float:
        """Do the round; returns the median of half a trip, ns."""
        assert self.go() == 0, "the other process did not answer"
        return float(np.median(self.samples)) / 2


@kernel
def load_word(address: Int) -> int:
    """Read one shared word."""
    return load_acquire(address)


def answer(path: Path, memory: mmap.mmap, turns) -> None:
    """Be the other process: attach, then answer a round for each word of the pipe."""
    words = np.frombuffer(memory, np.int64).ctypes.data
    with Matrix.attach(path) as matrix:
        while (which := turns.recv()) != "end":
            trips = Trips(which, matrix, words, 0)
            turns.send("ready")
            trips.run()
            turns.send("done")


def main() -> None:
    """Measure in a matrix of its own."""
    given = options(__doc__).parse_args()
    twins = {venue: recorded(venue) for venue in VENUES}
    table = instruments_of(twins, KEYS)
    path = Path(f"/dev/shm/aleph-bench-{os.getpid()}")
    geometry = Geometry(instruments_max=4, venues_max=2)
    memory = mmap.mmap(-1, 4096)
    words = np.frombuffer(memory, np.int64).ctypes.data
    ours, others = multiprocessing.get_context("fork").Pipe()
    with tempfile.TemporaryDirectory(), Matrix.create(path, table, geometry) as matrix:
        out = np.zeros(1, TOP_ROW)
        for warm in (look(matrix.map, 1, 1, out), publish_many(matrix.map, 1)):
            assert warm >= 0
        child = multiprocessing.get_context("fork").Process(
            target=answer, args=(matrix.path, memory, others), daemon=True
        )
        child.start()

        def trip(which: str) -> float:
            trips = Trips(which, matrix, words, 1)
            ours.send(which)
            assert ours.recv() == "ready"
            took = trips.run()
            assert ours.recv() == "done"
            return took

        try:
            figures = interleave(
                {
                    "look at a ring, nothing new": lambda: look(
                        matrix.map, 1 << 40, LOOKS, out) / LOOKS,
                    "look at a ring, an event": lambda: look(
                        matrix.map, ring_head(matrix.map, 0), LOOKS, out) / LOOKS,
                    "publish an event into a ring": lambda: publish_many(matrix.map, LOOKS) / LOOKS,
                    "writer to reader, event through a ring": lambda: trip("ring"),
                    "writer to reader, bare word": lambda: trip("word"),
                },
                given.rounds,
            )  # fmt: skip
        finally:
            ours.send("end")
            child.join(5)
            matrix.unlink()
    *_, ring, word = figures
    report("matrix", figures, "ns", against={ring: word}, as_json=given.json)


if __name__ == "__main__":
    main()
