"""The VAMP that our fills met, of several levels: the market runs once more, for it alone."""

import numpy as np

from alephtx.core.config_schema import Config
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import Rows
from alephtx.engine import vamp_recorder
from alephtx.engine.backtest import Backtest
from alephtx.engine.signal_record import config_of
from alephtx.engine.tapes import Tape, Venue
from alephtx.engine.touches import market_alone


def config_to_record(instrument: Instrument) -> Config:
    """Return the config of a market in which nothing but the VAMP is written down."""
    return config_of(instrument, vamp_recorder)


def vamp_before(only: Instruments, tape: Tape, venue: Venue, moments: Rows) -> Rows:
    """Return VAMP in ticks just before every moment, NaN where there is no market.

    only: the one instrument. moments: int64 (n,), rising, of the venue's clock. Another pass of the
    market for every `vamp_recorder.ROOM` different ones.
    """
    times, place = np.unique(moments, return_inverse=True)
    found = np.full(len(times), np.nan)
    config = config_to_record(only[0])
    for first in range(0, len(times), vamp_recorder.ROOM):
        some = times[first : first + vamp_recorder.ROOM]
        test = Backtest([config], only, [tape], venue=market_alone(venue, only[0]))
        state = test.lanes[0].strategies[0].state[0]
        state["now"], state["count"] = np.nan, len(some)
        state["at"][: len(some)] = some
        test.run()
        done = int(state["next"])
        found[first : first + done] = state["said"][:done]
        found[first + done : first + len(some)] = state["now"]  # nothing was told after them
    return found[place]
