"""Detection: what a look at the matrix costs, with any number of instruments, and an arbitrage.

"nothing new" is the engine's own look (`ring_news`): one line a venue. Beside it in the same run
stand the bare loads of as many lines, which is the floor, and a look at every instrument's record,
which is how it would be done without rings. Turns depend on each other, or the compiler would look
once and count the rest.
"""

import os
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
from lib.eight_venues import (
    LOTS,
    PRICE,
    VENUES,
    Scene,
    crossed,
    decide_all,
    fill,
    matrix_of,
)
from lib.rounds import interleave, options, report

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.engine import bench  # noqa: E402

from alephtx.core.atomics import load_acquire, monotonic_ns  # noqa: E402
from alephtx.core.config_schema import Risk  # noqa: E402
from alephtx.core.kernel import Int, kernel  # noqa: E402
from alephtx.core.records import TOP_ROW  # noqa: E402
from alephtx.core.view import View  # noqa: E402
from alephtx.engine.step import step  # noqa: E402
from alephtx.matrix.layout import MAP_INSTRUMENTS, MAP_TOPS, TOP_BYTES  # noqa: E402
from alephtx.matrix.ring import ring_head, ring_news, ring_read  # noqa: E402
from alephtx.matrix.tops import top_publish, top_read, touch_read  # noqa: E402

LOOKS, SCANS = 4_000, 20
"""Of a turn: some tens of microseconds, so that most turns are not interrupted."""


@kernel
def look(matrix: np.ndarray, slots: np.ndarray, n: Int) -> int:
    """Ask n times whether any ring has news; returns ns."""
    begun, at = monotonic_ns(), 0
    for _ in range(n):
        at = ring_news(matrix, slots, at) - len(slots)
    return monotonic_ns() - begun + at


@kernel
def look_bare(lines: Int, count: Int, n: Int) -> int:
    """Load count lines n times and compare each with a word that is higher; returns ns."""
    begun, at = monotonic_ns(), 0
    for _ in range(n):
        for k in range(at, count):
            if load_acquire(lines + 64 * k) > 1 << 60:
                at = 1
    return monotonic_ns() - begun + at


@kernel
def scan(matrix: np.ndarray, seen: Int, n: Int) -> int:
    """Look n times at every instrument's word; returns ns."""
    begun, at, found = monotonic_ns(), 0, 0
    for _ in range(n):
        for i in range(at, matrix[MAP_INSTRUMENTS]):
            if load_acquire(matrix[MAP_TOPS] + i * TOP_BYTES) > seen:
                found += 1
        at = found
    return monotonic_ns() - begun + at


@kernel
def read_slots(matrix: np.ndarray, k: Int, n: Int, out: np.ndarray) -> int:
    """Find and take n times the slot that is new at the first venue; returns ns."""
    begun = monotonic_ns()
    for _ in range(n):
        k += ring_read(matrix, 0, k, out) - 1
    return monotonic_ns() - begun


@kernel
def read_tops(matrix: np.ndarray, i: Int, n: Int, out: np.ndarray) -> int:
    """Read one record n times; returns ns."""
    begun = monotonic_ns()
    for _ in range(n):
        i += top_read(matrix, i, out)
    return monotonic_ns() - begun


@kernel
def check(matrix: np.ndarray, wanted: np.ndarray, n: Int, view: View, params: np.ndarray) -> int:
    """Look n times at the eight venues' touches and decide; returns ns.

    What crosses, or is being written, is read whole and judged.
    """
    begun, at = monotonic_ns(), 0
    for _ in range(n):
        bid, ask = np.int64(0), np.int64(1 << 62)
        for k in range(at, len(wanted)):
            best = touch_read(matrix, wanted[k])
            scale = params[0]["price_mul"][k]
            bid, ask = max(bid, best[0] * scale), min(ask, best[1] * scale)
        at = (judge(matrix, wanted, view, params) if bid > ask else -1) + 1
    return monotonic_ns() - begun + at


@kernel
def judge(matrix: np.ndarray, wanted: np.ndarray, view: View, params: np.ndarray) -> int:
    """Read the eight venues' records and decide."""
    for k in range(len(wanted)):
        i = wanted[k]
        top_read(matrix, i, view.top[i : i + 1])
    return crossed(view, params)


@kernel
def check_whole(matrix: np.ndarray, wanted: np.ndarray, n: Int, view: View, params: np.ndarray
                ) -> int:  # fmt: skip
    """Read n times the eight venues' whole records and decide; returns ns."""
    begun, at = monotonic_ns(), 0
    for _ in range(n):
        at = judge(matrix, wanted[at:], view, params) + 1
    return monotonic_ns() - begun + at


@kernel
def enter(n: Int, event: np.ndarray, view: View, params: np.ndarray, state: np.ndarray,
          intents: np.ndarray) -> int:  # fmt: skip
    """Enter n times the strategy's own on_event: positions, legs and every pair; returns ns."""
    begun, at = monotonic_ns(), 0
    for _ in range(n):
        event[0]["instrument"] = view.now[1] * 0 + at
        at = decide_all(event, view, params, state, intents)
    return monotonic_ns() - begun + at


@kernel
def publish_dear(matrix: np.ndarray, i: Int) -> int:
    """Publish a top of instrument i that lies 6 bps above the others'."""
    bid = PRICE + 6 * PRICE // 10_000
    return top_publish(matrix, i, 10**9, 10**9, bid, LOTS, bid + 1, LOTS, 0)


@kernel
def idle(x: np.ndarray, n: Int) -> int:
    """Step n times with nothing to do; returns ns."""
    begun, done = monotonic_ns(), 0
    for _ in range(n):
        done += step(x, 64 + done)
    return monotonic_ns() - begun + done


class Floor:
    """A matrix of many venues, and a reader that has seen everything."""

    def __init__(self, path: Path, venues: int, each: int) -> None:
        self.matrix = matrix_of(path, venues, each)
        self.venue_of = self.matrix.instruments.rows()["venue"].astype(np.int64)
        fill(self.matrix.map, self.venue_of, 10**9)
        self.slots = np.array([ring_head(self.matrix.map, v) + 1 for v in range(venues)])
        self.memory = np.zeros(64 * (venues + 1), np.uint8)
        self.lines = -(-self.memory.ctypes.data // 64) * 64

    def look(self) -> float:
        """Return ns of a look."""
        return look(self.matrix.map, self.slots, LOOKS) / LOOKS

    def bare(self) -> float:
        """Return ns of bare loads of as many lines."""
        return look_bare(self.lines, len(self.slots), LOOKS) / LOOKS

    def scan(self) -> float:
        """Return ns of a look at every record."""
        return scan(self.matrix.map, 1 << 60, SCANS) / SCANS


def main() -> None:
    """Measure in matrices of its own, and on an engine with a journal."""
    parser = options(__doc__)
    parser.set_defaults(rounds=400)
    given = parser.parse_args()
    risk = Risk(notional_max=Decimal(10_000), position_notional_max=Decimal(100_000))
    with tempfile.TemporaryDirectory() as folder:
        here = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(folder)
        shapes = {"8": (8, 1), "64": (20, 64), "4096": (20, 205)}
        floors = {
            name: Floor(here / f"aleph-bench-{os.getpid()}-{name}", *shape)
            for name, shape in shapes.items()
        }
        eight, some, many = floors.values()
        scene, out = Scene(eight.matrix.instruments), np.zeros(1, TOP_ROW)
        view, params = scene.view, scene.params
        place = str(ROOT / "bench" / "lib" / "placer.py")
        made = bench.Bench(Path(folder), risk=risk, use=place)
        made.ctx.now[0], made.ctx.now[3] = bench.NOW, 10**9

        def arbitrage() -> float:
            return check(eight.matrix.map, scene.wanted, LOOKS, view, params) / LOOKS

        def arbitrage_whole() -> float:
            return check_whole(eight.matrix.map, scene.wanted, LOOKS, view, params) / LOOKS

        def crossing() -> float:
            """One venue bids 6 bps more than another asks: every touch is judged, none pays."""
            told = fill(eight.matrix.map, eight.venue_of, 10**9)
            publish_dear(eight.matrix.map, told - 1)
            took = arbitrage()
            fill(eight.matrix.map, eight.venue_of, 10**9)
            return took

        def strategy() -> float:
            told = enter(LOOKS, scene.event, view, params, scene.state, scene.intents)
            return told / LOOKS

        read = eight.matrix.map
        ways = {
            "nothing new, 8 venues": eight.look,
            "8 bare loads": eight.bare,
            "nothing new, 20 venues x 64 instruments": some.look,
            "nothing new, 20 venues x 205 (4,100)": many.look,
            "20 bare loads": many.bare,
            "the 4,100 records, one by one": many.scan,
            "a changed slot, read": lambda: read_slots(read, 1, LOOKS, out) / LOOKS,
            "a changed record, read": lambda: read_tops(read, 0, LOOKS, out) / LOOKS,
            f"{VENUES} touches read, arbitrage decided": arbitrage,
            f"{VENUES} whole records read, arbitrage decided": arbitrage_whole,
            "the first where two touches cross": crossing,
            "the arbitrage strategy, entered": strategy,
            "the whole engine's step, nothing to do": lambda: idle(made.packed, LOOKS) / LOOKS,
        }
        for way in ways.values():
            way()
        try:
            figures = interleave(ways, given.rounds)
        finally:
            made.close()
            for floor in floors.values():
                floor.matrix.unlink()
                floor.matrix.close()
    names = list(figures)
    against = {names[0]: names[1], names[2]: names[4], names[3]: names[4]}
    report("poll", figures, "ns", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
