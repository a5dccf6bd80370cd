"""Shared memory: what a look at the rings costs, and how soon another process has decided.

"writer to ..." is from the writer's stamp in one process to the reader's in another, on cores of
their own (`lib/one_way`): a bare word in a shared cache line, which is as fast as this machine can
be; an event through the ring; the same with the arbitrage over eight venues decided. Where two
cores share a cache the bare line takes some 50 ns, else 130 to 230: it says how near they are, and
the promise is the decision against the line of the same run: at most 90 ns more, p99 at most twice
that sum.
"""

import mmap
import multiprocessing
import os
from pathlib import Path

import numpy as np
from lib.eight_venues import VENUES, fill, matrix_of
from lib.one_way import WAYS, End, cycles_a_ns
from lib.rounds import interleave, options, report

from alephtx.core.atomics import monotonic_ns
from alephtx.core.kernel import Int, kernel
from alephtx.core.records import TOP_ROW
from alephtx.matrix.ring import ring_head, ring_publish, ring_read
from alephtx.matrix.shm import Matrix

LOOKS = 1_000_000
MORE_NS, NEAR_NS = 90, 80


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


def answer(path: Path, memory: mmap.mmap, core: int, turns) -> None:
    """Be the writer's process: attach, then write a round for each word of the pipe."""
    with Matrix.attach(path) as matrix:
        end = End(matrix, memory)
        turns.send("ready")
        while (which := turns.recv()) != "end":
            turns.send("ready")
            end.write(which, core)
            turns.send("done")


class Pair:
    """Both processes; keeps the quantiles that a median of medians would lose."""

    def __init__(self, matrix: Matrix) -> None:
        memory = mmap.mmap(-1, 4096)
        context = multiprocessing.get_context("fork")
        ours, others = context.Pipe()
        cores = sorted(os.sched_getaffinity(0))
        self.reader_core, writer_core = cores[-1], cores[0]
        self.turns, self.rate = ours, cycles_a_ns()
        self.late: dict[str, list[float]] = {which: [] for which in WAYS}
        self.child = context.Process(
            target=answer, args=(matrix.path, memory, writer_core, others), daemon=True
        )
        self.child.start()
        self.end = End(matrix, memory)
        assert ours.recv() == "ready"

    def trip(self, which: str) -> float:
        """Do a round; returns the median one way, ns."""
        self.end.aim()
        self.turns.send(which)
        assert self.turns.recv() == "ready"
        took = self.end.read(which, self.reader_core) / self.rate
        assert self.turns.recv() == "done"
        self.late[which].append(float(np.quantile(took, 0.99)))
        return float(np.median(took))

    def close(self) -> None:
        """End the other process."""
        self.turns.send("end")
        self.child.join(5)


def main() -> None:
    """Measure in a matrix of its own."""
    given = options(__doc__).parse_args()
    assert len(os.sched_getaffinity(0)) > 1, "two cores are needed"
    with matrix_of(Path(f"/dev/shm/aleph-bench-{os.getpid()}"), VENUES, 1) as matrix:
        fill(matrix.map, matrix.instruments.rows()["venue"].astype(np.int64), 10**9)
        out = np.zeros(1, TOP_ROW)
        for warm in (look(matrix.map, 1, 1, out), publish_many(matrix.map, 1)):
            assert warm >= 0
        pair = Pair(matrix)
        try:
            figures = interleave(
                {
                    "look at a ring, nothing new": lambda: look(
                        matrix.map, 1 << 40, LOOKS, out) / LOOKS,
                    "look at a ring, an event": lambda: look(
                        matrix.map, ring_head(matrix.map, 0), LOOKS, out) / LOOKS,
                    "publish an event into a ring": lambda: publish_many(matrix.map, LOOKS) / LOOKS,
                    "writer to reader, bare line": lambda: pair.trip("line"),
                    "writer to reader, event taken": lambda: pair.trip("event"),
                    "writer to decision over 8 venues": lambda: pair.trip("decision"),
                },
                given.rounds,
            )  # fmt: skip
        finally:
            pair.close()
            matrix.unlink()
    line, event, decision = list(figures)[-3:]
    for which in WAYS:
        figures[f"{which}, p99"] = float(np.median(pair.late[which]))
    figures["decision beyond the bare line"] = figures[decision] - figures[line]
    allowed = figures[line] + MORE_NS
    figures["p99 of the decision, times line + 90"] = figures["decision, p99"] / allowed
    near = "share a cache" if figures[line] < NEAR_NS else "are far apart"
    title = f"matrix: the two cores {near}"
    report(title, figures, "ns", against={event: line, decision: line}, as_json=given.json)


if __name__ == "__main__":
    main()
