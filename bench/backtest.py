"""Backtests, against hftbacktest in the same run, on the same rows, with the same strategy.

A speed counts only with the exact fills: the run ends with an error where orders, fills, position
or balance differ. Peers live in environments of their own (`make peers`). ns are of one input row.

    maker    the common market maker: queue, latency, gate, order table, positions
    replay   the exchange's book alone
    sweep    sets of the maker's parameters in one pass, ns of a row and set
    floor    read the same rows once
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
from lib.rounds import interleave, options, report

from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.kernel import kernel
from alephtx.core.risk_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.sim.bottle import T_HEARD
from alephtx.sim.flight import NEVER
from alephtx.sim.tape import run_exchange
from alephtx.testing.synthetic import synthetic

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("ALEPHTX_PEERS", HERE.parent / ".peers"))
MS = 1_000_000
EXACT = {
    1_000_000: (16_602, 7_855, -0.25, 14_958.0),
    5_000_000: (79_251, 38_044, 0.3, -18_188.435),
    10_000_000: (163_188, 77_074, 0.1, -6_406.91),
}
FREE = Risk(
    notional_max=Decimal(10**9), position_notional_max=Decimal(10**9), band_bps=5_000,
    orders_per_s=10_000, stale_ms=600_000, drawdown_max=Decimal(10**9), self_trade="allow",
    open_orders_max=16,
)  # fmt: skip


def config(key: str, use: str = "common_maker", half: float = 1.5, skew: float = 0.5) -> Config:
    """Return the config of one set of parameters."""
    own = {"half": half, "skew": skew, "qty": 50, "most": 500}
    accounts, file = ("main",), str(HERE / "lib" / f"{use}.py")
    return Config(
        matrix=MatrixConfig(path="/nowhere"),
        venues={"synthetic": VenueConfig(symbols=("BTCUSDT",))},
        accounts={"main": Account(venue="synthetic")},
        risk=FREE,
        strategies={"maker": Strategy(use=file, instruments=(key,), accounts=accounts, own=own)},
    )


class Ours:
    """Our side; `told` is what the last run of each kind came to."""

    def __init__(self, count: int) -> None:
        self.rows, self.table = synthetic(count)
        self.key = self.table[0].key
        self.told: dict[str, tuple] = {}

    def test(self, configs: list[Config]) -> Backtest:
        """Return a fresh backtest, compiled."""
        venue = Venue(entry=Delay(ns=5 * MS), response=Delay(ns=5 * MS), whole_fills=True)
        return Backtest(configs, self.table, [Tape(self.rows)], venue=venue)

    def maker(self, use: str = "common_maker") -> float:
        """Return ns a row of the maker."""
        test = self.test([config(self.key, use)])
        begun = time.perf_counter()
        test.run()
        took = time.perf_counter() - begun
        lane = test.lanes[0]
        held, orders = lane.ctx.positions[0, 0], int(lane.strategies[0].state[0]["orders"])
        cash = int(held["realized"]) / 1e8 - int(held["cost"]) / 1e4
        fills = int(lane.ctx.counters[c.C_FILLS])
        self.told[use] = (orders, fills, int(held["qty"]) / 1e3, round(cash, 3))
        return took / len(self.rows) * 1e9

    def sweep(self, sets: int) -> float:
        """Return ns a row and set."""
        pairs = [(0.5 + 0.25 * (k % 10), 0.1 * (k // 10)) for k in range(sets)]
        test = self.test([config(self.key, half=half, skew=skew) for half, skew in pairs])
        begun = time.perf_counter()
        test.run()
        took = time.perf_counter() - begun
        fills = sum(int(lane.ctx.counters[c.C_FILLS]) for lane in test.lanes)
        self.told["sweep"] = (fills,)
        return took / len(self.rows) / sets * 1e9

    def replay(self) -> float:
        """Return ns a row of the exchange's book alone."""
        test = self.test([config(self.key)])
        test.bottle.streams[0, T_HEARD] = 0
        begun = time.perf_counter()
        run_exchange(test.words, 0, NEVER, NEVER)
        return (time.perf_counter() - begun) / len(self.rows) * 1e9

    def floor(self) -> float:
        """Return ns a row of reading it once."""
        begun = time.perf_counter()
        read(self.rows)
        return (time.perf_counter() - begun) / len(self.rows) * 1e9


@kernel
def read(rows: np.ndarray) -> int:
    """Add up what a replay has to look at."""
    total = 0
    for k in range(rows.shape[0]):
        row = rows[k]
        total += row["ts_event"] ^ np.int64(row["price"]) ^ np.int64(row["qty"])
    return total


class Hft:
    """hftbacktest in its own process."""

    def __init__(self, rows: np.ndarray) -> None:
        self.count = len(rows)
        self.told: dict[str, list] = {}
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file, rows)
            file.flush()
            self._process = subprocess.Popen(
                [PEERS / "hft" / "bin" / "python", HERE / "lib" / "peer_hft.py", file.name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            self.name = self._line()["ready"]

    def _line(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            sys.exit("hftbacktest ended; `make peers` installs it")
        return json.loads(line)

    def ask(self, mode: str, sets: int = 1) -> float:
        """Return ns a row (and set) of a mode."""
        self._process.stdin.write(f"{mode} {sets}\n")
        self._process.stdin.flush()
        found = self._line()
        self.told[mode] = found["told"]
        return found["seconds"] / self.count / sets * 1e9


def check(ours: Ours, hft: Hft, sets: int) -> None:
    """End with an error unless both sides did the same work."""
    mine, theirs = ours.told["common_maker"], hft.told["mm"]
    wanted = EXACT.get(hft.count)
    if list(mine) != theirs or (wanted and mine != wanted):
        sys.exit(f"not the same work: ours {mine}, hftbacktest's {theirs}, known {wanted}")
    if list(ours.told["sweep"]) != hft.told["sweep"]:
        sys.exit(f"not the same sweep of {sets}: {ours.told['sweep']}, {hft.told['sweep']}")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sets", type=int, default=10)
    given = parser.parse_args()
    if not (PEERS / "hft").exists():
        sys.exit("no hftbacktest to compare with: run `make peers` first")
    ours = Ours(given.rows)
    hft = Hft(ours.rows)
    ways = {
        "floor: read the rows": ours.floor,
        "replay": ours.replay,
        f"replay, {hft.name}": lambda: hft.ask("replay"),
        "maker": ours.maker,
        f"maker, {hft.name}": lambda: hft.ask("mm"),
        f"sweep of {given.sets}, a set": lambda: ours.sweep(given.sets),
        f"sweep of {given.sets}, a set, {hft.name}": lambda: hft.ask("sweep", given.sets),
    }
    for way in ways.values():
        way()
    figures = interleave(ways, given.rounds)
    check(ours, hft, given.sets)
    against = {name: f"{name}, {hft.name}" for name in ways if f"{name}, {hft.name}" in ways}
    report("backtest", figures, "ns a row", against=against, as_json=given.json)


main()
