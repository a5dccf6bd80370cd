"""What a hook in plain Python costs in a backtest, in ns a call on top of the replay.

    python bench/callback.py [ROWS]

empty      on_event of a plain Python strategy that returns 0
compiled   the same, compiled
bare       the same Python function called from Python: what no way of calling it can be under
"""

import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.plugins import load_module
from alephtx.core.risk_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Tape
from alephtx.testing.synthetic import synthetic

ROUNDS = 5
EMPTY = """
import numpy as np
from alephtx.core.view import Needs

COMPILED = {compiled}
NEEDS = Needs(trades=True)
PARAMS = STATE = np.dtype([("nothing", "i8")])


def config_to_params(section, instruments):
    return np.zeros(1, PARAMS)


def on_event(event, view, params, state, intents):
    return 0
"""


def config(key: str, use: str) -> Config:
    """Return the config of one empty strategy."""
    return Config(
        matrix=MatrixConfig(path="/nowhere"),
        venues={"synthetic": VenueConfig(symbols=("BTCUSDT",))},
        accounts={"main": Account(venue="synthetic")},
        risk=Risk(notional_max=Decimal(10**9)),
        strategies={"empty": Strategy(use=use, instruments=(key,), accounts=("main",))},
    )


def main() -> None:
    """Print the best of a few rounds, taken in turns."""
    rows, table = synthetic(int(sys.argv[1]) if sys.argv[1:] else 500_000)
    took: dict[str, list[float]] = {"empty": [], "compiled": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name in ("empty", "compiled"):
            files[name] = Path(folder) / f"{name}.py"
            files[name].write_text(EMPTY.format(compiled=name == "compiled"))
        function = load_module(files["empty"]).on_event
        calls = 0
        for _ in range(ROUNDS):
            for name, file in files.items():
                test = Backtest([config(table[0].key, str(file))], table, [Tape(rows)])
                begun = time.perf_counter_ns()
                test.run()
                took[name].append(time.perf_counter_ns() - begun)
                calls = int(test.lanes[0].ctx.strategies[0, c.S_EVENTS])
            begun = time.perf_counter_ns()
            for _ in range(calls):
                function(0, 0, 0, 0, 0)
            took["bare"].append(time.perf_counter_ns() - begun)
    best = {name: min(each) / calls for name, each in took.items()}
    sys.stdout.write(
        f"calls      {calls}\n"
        f"empty      {best['empty']:.0f} ns an event, the replay with it\n"
        f"compiled   {best['compiled']:.0f}\n"
        f"bare       {best['bare']:.0f}, its loop with it\n"
        f"a callback {best['empty'] - best['compiled']:.0f} ns\n"
    )


main()
