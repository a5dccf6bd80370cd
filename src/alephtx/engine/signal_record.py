"""The signals of a run, a line a second: the market runs once more, for them alone."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from alephtx.core.config_schema import Account, Config, Strategy, VenueConfig
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import Rows
from alephtx.engine import recorder
from alephtx.engine.backtest import Backtest
from alephtx.engine.tapes import Tape, Venue
from alephtx.engine.touches import market_alone, nobodys_risk

Columns = dict[str, Rows]


def record_signals(
    instruments: Instruments, tapes: list[Tape], venue: Venue, names: tuple[str, ...]
) -> list[Columns]:
    """Return ts_ns and the named signals of every instrument, as heard; NaN while not ready.

    The defaults of each signal count. Another pass of the market; memory 80 bytes a second.
    """
    return [
        _record(Instruments([instruments[i]]), tapes[i], venue, names)
        for i in range(len(instruments))
    ]


def config_of(instrument: Instrument, module: ModuleType) -> Config:
    """Return a config in which a strategy of ours looks at one market and trades nothing."""
    use = Strategy(
        use=str(Path(str(module.__file__))), instruments=(instrument.key,), accounts=("none",)
    )
    return Config(
        venues={instrument.venue: VenueConfig(symbols=(instrument.symbol,))},
        accounts={"none": Account(venue=instrument.venue)},
        risk=nobodys_risk(instrument),
        strategies={"record": use},
    )


def _record(only: Instruments, tape: Tape, venue: Venue, names: tuple[str, ...]) -> Columns:
    config, alone = config_of(only[0], recorder), market_alone(venue, only[0])
    test = Backtest([config], only, [tape], venue=alone, batch_rows=recorder.LINES // 2)
    state = test.lanes[0].strategies[0].state[0]
    ts: list[Rows] = []
    said: list[Rows] = []
    more = True
    while more:
        more = test.step()
        count = int(state["lines"])
        ts.append(state["ts"][:count].copy())
        said.append(state["said"][:count].copy())
        state["lines"] = 0
    if state["heard"]:
        ts.append(np.array([state["heard"]], np.int64))
        said.append(state["now"][None, :].copy())
    whole = np.concatenate([np.zeros((0, len(recorder.NAMES))), *said])
    columns: dict[str, Any] = {"ts_ns": np.concatenate([np.zeros(0, np.int64), *ts])}
    return columns | {name: whole[:, recorder.NAMES.index(name)] for name in names}
