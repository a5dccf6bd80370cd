"""Bar strategies, against vectorbt in the same run, on the same bars, with the same crossings.

A hundred pairs of moving averages over a seeded walk of a million bars, each bought and sold at the
close with 2 bps. A speed counts only with the same trades: the run ends with an error where the
trades, the orders, the fees or the result of any pair differ. vectorbt lives in an environment of
its own (`make peers`) and takes some 6 GB and half a minute a round. ns are of one bar and pair.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
from lib.rounds import interleave, options, report

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.core.kernel import prefer_stored
from alephtx.core.records import BAR
from alephtx.lab.bars import BarResult, run_bars

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("ALEPHTX_PEERS", HERE.parent / ".peers"))
MINUTE_NS = 60_000_000_000
START, STEP = 600_000, 5
INSTRUMENT = Instrument(
    key="walk:A-B", venue="walk", symbol="AB", base="A", quote="B", settle="B",
    contract=words.LINEAR, price_scale=0, qty_scale=0, tick_size=Decimal(1), lot_size=Decimal(1),
    taker_fee=Decimal("0.0002"),
)  # fmt: skip


def walk(count: int) -> np.ndarray:
    """Return bars of a seeded walk in whole ticks."""
    dice = np.random.default_rng(7)
    bars = np.zeros(count, BAR)
    bars["ts_ns"] = np.arange(1, count + 1) * MINUTE_NS
    bars["close"] = START + np.cumsum(dice.integers(-STEP, STEP + 1, count))
    bars["open"] = np.concatenate([[START], bars["close"][:-1]])[:count]
    bars["high"] = np.maximum(bars["open"], bars["close"]) + 1
    bars["low"] = np.minimum(bars["open"], bars["close"]) - 1
    return bars


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Return fast and slow windows."""
    return [(5 + 2 * (k % 10), 40 + 12 * (k // 10)) for k in range(count)]


class Ours:
    """Our side; `told` is what the last run of each kind came to."""

    def __init__(self, bars: np.ndarray, pairs: list[tuple[int, int]]) -> None:
        self.bars = bars
        self.sets = [{"fast": fast, "slow": slow, "qty_lots": 1} for fast, slow in pairs]
        self.told: dict[str, list[BarResult]] = {}

    def sweep(self, fill: str, slip_ticks: int = 0) -> float:
        """Return ns a bar and set, checking and adding up included."""
        begun = time.perf_counter()
        found = run_bars(
            "sma_cross", self.bars, INSTRUMENT, self.sets, fill=fill, slip_ticks=slip_ticks
        )
        took = time.perf_counter() - begun
        self.told[fill] = found
        return took / len(self.bars) / len(self.sets) * 1e9


class Vectorbt:
    """vectorbt in its own process."""

    def __init__(self, bars: np.ndarray, pairs: list[tuple[int, int]], folder: str) -> None:
        self.work = len(bars) * len(pairs)
        self.told: dict[str, list[float]] = {}
        self.peak_mb = 0.0
        closes, windows = Path(folder) / "closes.npy", Path(folder) / "pairs.json"
        np.save(closes, bars["close"].astype(np.float64))
        windows.write_text(json.dumps(pairs))
        self._process = subprocess.Popen(
            [PEERS / "vectorbt" / "bin" / "python", HERE / "lib" / "peer_vectorbt.py",
             closes, windows], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.name = self._line()["ready"]

    def _line(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            sys.exit("vectorbt ended: is there memory for it? `make peers` installs it")
        return json.loads(line)

    def sweep(self) -> float:
        """Return ns a bar and set."""
        self._process.stdin.write("sweep\n")
        self._process.stdin.flush()
        found = self._line()
        self.told, self.peak_mb = found["told"], found["peak_mb"]
        return found["seconds"] / self.work * 1e9


def check(ours: Ours, peer: Vectorbt) -> None:
    """End with an error unless both sides did the same work, pair by pair."""
    for k, mine in enumerate(ours.told["close"]):
        theirs = {name: values[k] for name, values in peer.told.items()}
        counts = mine.trades == theirs["trades"] and mine.fills == theirs["orders"]
        # Ours are rounded up to 10^-8 at each fill; theirs are floats of about 10^9.
        money = all(
            abs(float(value) - theirs[name]) <= 1e-6 * max(1.0, mine.fills)
            for name, value in (("fees", mine.fees), ("net", mine.net))
        )
        if not (counts and money):
            sys.exit(f"pair {k} is not the same work: ours {mine}, vectorbt's {theirs}")


def peak_mb(bars: np.ndarray, count: int, folder: str) -> float:
    """Return the peak memory of a fresh process that runs our sweep, reading bars from a file."""
    path = Path(folder) / "bars.npy"
    np.save(path, bars)
    command = [sys.executable, Path(__file__), "--alone", path, "--sets", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000)
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--peer-rounds", type=int, default=1, help="rounds of vectorbt")
    parser.add_argument("--alone", help="run our sweep on such bars and print the peak memory")
    given = parser.parse_args()
    pairs = pairs_of(given.sets)
    if given.alone:
        prefer_stored()  # as programs that begin, compute and end do: Numba alone is 70 MB
        Ours(np.load(given.alone), pairs).sweep("close")
        sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}\n")
        return
    if not (PEERS / "vectorbt").exists():
        sys.exit("no vectorbt to compare with: run `make peers` first")
    bars = walk(given.bars)
    ours = Ours(bars, pairs)
    ways = {
        "sweep": lambda: ours.sweep("close"),
        "sweep, filled at the next open, 1 tick worse": lambda: ours.sweep("open", 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        mine_mb = peak_mb(bars, given.sets, folder)
        peer = Vectorbt(bars, pairs, folder)
        theirs = []
        for way in ways.values():
            way()
        for _ in range(given.peer_rounds):
            figures = interleave(ways, given.rounds)
            theirs.append(peer.sweep())
            check(ours, peer)
    theirs_name = f"sweep, {peer.name}"
    figures[theirs_name] = statistics.median(theirs)
    memory = {"peak memory of a fresh process": mine_mb, f"peak memory, {peer.name}": peer.peak_mb}
    if given.json:
        figures |= {f"{name} (MB)": peak for name, peak in memory.items()}
    report("bars", figures, "ns a bar and set", against={"sweep": theirs_name}, as_json=given.json)
    if not given.json:
        report("bars", memory, "MB", against={}, as_json=False)


main()
