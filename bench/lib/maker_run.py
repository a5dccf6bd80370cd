"""Our side of the back-testing benches: the common market maker on a tape, with what it came to.

As a script it is one run in a process of its own, which tells its seconds and its peak of memory:

    python bench/lib/maker_run.py FILE.ticks
"""

import json
import sys
import time
from decimal import Decimal
from pathlib import Path

from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.instruments import Instruments
from alephtx.core.risk_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.sim.bottle import T_HEARD
from alephtx.sim.flight import NEVER
from alephtx.sim.tape import run_exchange
from alephtx.store.ticks import open_ticks

HERE = Path(__file__).parent
MS = 1_000_000
MAKER = HERE / "common_maker.py"
DEEP = (
    ("depth=0", "depth=10"),
    ('bid, ask = view.top[i]["bid"], view.top[i]["ask"]',
     "bid, ask = view.levels[i, 0, 0, 0], view.levels[i, 1, 0, 0]"),
)  # fmt: skip
"""What makes it read a book of ten levels, which is kept as late as we hear it."""
LANES = 25
"""More sets in a pass than this wait for each other's memory: the second-level cache is full."""

EXACT = {
    1_000_000: (16_602, 7_855, -0.25, 14_958.0),
    5_000_000: (79_251, 38_044, 0.3, -18_188.435),
    10_000_000: (163_188, 77_074, 0.1, -6_406.91),
}
"""Rows -> orders, fills, position, balance, as hftbacktest and a C sketch of it come to them."""

FREE = Risk(
    notional_max=Decimal(10**9), position_notional_max=Decimal(10**9), band_bps=5_000,
    orders_per_s=10_000, stale_ms=600_000, drawdown_max=Decimal(10**9), self_trade="allow",
    open_orders_max=16,
)  # fmt: skip


def deep_maker(folder: Path) -> Path:
    """Write the maker that reads depth into a folder."""
    text = MAKER.read_text()
    for what, instead in DEEP:
        assert text.count(what) == 1, what
        text = text.replace(what, instead)
    made = folder / "common_maker_deep.py"
    made.write_text(text)
    return made


def config(key: str, use: Path = MAKER, half: float = 1.5, skew: float = 0.5) -> Config:
    """Return the config of one set of parameters."""
    own = {"half": half, "skew": skew, "qty": 50, "most": 500}
    accounts = ("main",)
    return Config(
        matrix=MatrixConfig(path="/nowhere"),
        venues={"synthetic": VenueConfig(symbols=("BTCUSDT",))},
        accounts={"main": Account(venue="synthetic")},
        risk=FREE,
        strategies={
            "maker": Strategy(use=str(use), instruments=(key,), accounts=accounts, own=own)
        },
    )


class Ours:
    """Our side; `told` is what the last run of each kind came to."""

    def __init__(self, tape: Tape, table: Instruments) -> None:
        self.tape, self.table = tape, table
        self.count = len(tape.rows)
        self.key = table[0].key
        self.told: dict[str, tuple] = {}

    def test(self, configs: list[Config]) -> Backtest:
        """Return a fresh backtest, compiled."""
        venue = Venue(entry=Delay(ns=5 * MS), response=Delay(ns=5 * MS), whole_fills=True)
        return Backtest(configs, self.table, [self.tape], venue=venue)

    def maker(self, use: Path = MAKER) -> float:
        """Return ns a row of the maker."""
        test = self.test([config(self.key, use)])
        begun = time.perf_counter()
        test.run()
        took = time.perf_counter() - begun
        lane = test.lanes[0]
        held, orders = lane.ctx.positions[0, 0], int(lane.strategies[0].state[0]["orders"])
        cash = int(held["realized"]) / 1e8 - int(held["cost"]) / 1e4
        fills = int(lane.ctx.counters[c.C_FILLS])
        self.told[use.stem] = (orders, fills, int(held["qty"]) / 1e3, round(cash, 3))
        return took / self.count * 1e9

    def sweep(self, sets: int) -> float:
        """Return ns a row and set; LANES sets share a pass, as in a sweep of the lab."""
        pairs = [(0.5 + 0.25 * (k % 10), 0.1 * (k // 10)) for k in range(sets)]
        took, fills = 0.0, 0
        for first in range(0, sets, LANES):
            some = pairs[first : first + LANES]
            test = self.test([config(self.key, half=half, skew=skew) for half, skew in some])
            begun = time.perf_counter()
            test.run()
            took += time.perf_counter() - begun
            fills += sum(int(lane.ctx.counters[c.C_FILLS]) for lane in test.lanes)
        self.told["sweep"] = (fills,)
        return took / self.count / sets * 1e9

    def replay(self) -> float:
        """Return ns a row of the exchange's book alone."""
        test = self.test([config(self.key)])
        test.bottle.streams[0, T_HEARD] = 0
        begun = time.perf_counter()
        run_exchange(test.words, 0, NEVER, NEVER)
        return (time.perf_counter() - begun) / self.count * 1e9


def main() -> None:
    """Run once; see the module."""
    file = open_ticks(Path(sys.argv[1]))
    table = Instruments()
    table.add(file.instrument)
    tape = Tape(file.rows, file.price_base, file.price_unit, file.qty_unit)
    ours = Ours(tape, table)
    from rounds import peak_mib  # as a script this folder is on the path, in a bench its parent is

    told = {"ns": ours.maker(), "told": ours.told[MAKER.stem]}
    told["peak_mib"] = peak_mib()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
