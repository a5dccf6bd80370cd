"""The signals of a run, a line a second: the market runs once more, for them alone."""

from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core.config_schema import Account, Config, Strategy, VenueConfig
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows
from alephtx.engine import recorder
from alephtx.engine.backtest import Backtest
from alephtx.engine.tapes import Tape, Venue

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


def _record(only: Instruments, tape: Tape, venue: Venue, names: tuple[str, ...]) -> Columns:
    venue_name, key = only[0].venue, only[0].key
    use = Strategy(use=str(Path(recorder.__file__)), instruments=(key,), accounts=("none",))
    config = Config(
        venues={venue_name: VenueConfig(symbols=(only[0].symbol,))},
        accounts={"none": Account(venue=venue_name)},
        strategies={"record": use},
    )
    ways = {name: way for name, way in venue.ways.items() if name == venue_name}
    alone = _market_alone(venue, ways)
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


def _market_alone(venue: Venue, ways: dict[str, Any]) -> Venue:
    """Return a venue as it tells of its market; what it does with orders asks for nothing here."""
    return Venue(
        feed=venue.feed, ways=ways, depth_levels=venue.depth_levels,
        depth_growth=venue.depth_growth,
    )  # fmt: skip
