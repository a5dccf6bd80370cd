"""The best bid and ask of a tape as we hear them: what reports and markouts go by."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.records import TOP_ROW
from alephtx.core.risk_schema import Risk
from alephtx.core.words import DELTA, TOP
from alephtx.engine.tapes import Venue
from alephtx.sim import bottle as b
from alephtx.sim.bottle import I2
from alephtx.sim.flight import NEVER
from alephtx.sim.tape import run_local
from alephtx.sim.told import log_next, log_take, reflag

if TYPE_CHECKING:
    from alephtx.engine.backtest import Backtest

CHUNK = 1 << 16
LOCAL_MESSAGES = 256


@kernel
def pull(z: Rows, i: Int, top: Rows, slot: Rows, out: Rows) -> int:
    """Write the touches of instrument i that are logged into out, TOP_ROW (n,); returns how many.

    top, slot: TOP_ROW (1,); top is the touch last heard.
    """
    n = 0
    while n < out.shape[0]:
        if log_next(z, i) == NEVER:
            lagged = field(z, b.Z_STREAMS, I2)[i, b.T_LAGGED] != 0
            if not lagged or run_local(z, i, NEVER, LOCAL_MESSAGES) == 0:
                return n
            continue
        log_take(z, i, slot)
        kind = (slot[0]["aux"] >> 32) & 0xFF
        if kind == DELTA:  # the same again
            continue
        if kind <= TOP:
            top[0] = slot[0]
        else:
            reflag(z, i, slot, top)
        out[n] = top[0]
        n += 1
    return n


def touches(test: "Backtest", i: int) -> Iterator[Rows]:
    """Yield the touches of an instrument, TOP_ROW, from a test in which nothing has run yet."""
    clock, streams = test.bottle.clock, test.bottle.streams
    top, slot = np.zeros(1, TOP_ROW), np.zeros(1, TOP_ROW)
    streams[i, b.T_HEARD] = 1
    clock[b.K_BEGUN], clock[b.K_LANES], clock[b.K_TIMER] = 1, NEVER, NEVER  # nobody else hears
    going = streams[i, b.T_LAGGED] == 0  # a late copy of the book reads the tape itself
    while True:
        out = np.zeros(CHUNK, TOP_ROW)
        count = pull(test.words, i, top, slot, out)
        if count:
            yield out[:count]
        elif not going:
            return
        else:
            going = test.step(CHUNK, drained=True)


def market_alone(venue: Venue, instrument: Instrument) -> Venue:
    """Return a venue that only tells of one market; of its ways those of others are left out."""
    ways = {name: way for name, way in venue.ways.items() if name == instrument.venue}
    return Venue(
        feed=venue.feed, ways=ways, depth_levels=venue.depth_levels,
        depth_growth=venue.depth_growth,
    )  # fmt: skip


def nobodys_risk(instrument: Instrument) -> Risk:
    """Return a [risk] for a market without orders: any quote currency is worth something."""
    return Risk(rates={instrument.quote: Decimal(1)})


def all_touches(instruments: Instruments, tapes: Any, venue: Venue) -> list[Rows]:
    """Return the touches of every instrument; the market alone runs, nobody trades."""
    from alephtx.core.config_schema import Config
    from alephtx.engine.backtest import Backtest

    found = []
    for i, instrument in enumerate(instruments):  # each alone: none waits for another
        config = Config(venues={}, risk=nobodys_risk(instrument))
        alone = market_alone(venue, instrument)
        test = Backtest([config], Instruments([instrument]), [tapes[i]], venue=alone)
        parts = list(touches(test, 0))
        found.append(np.concatenate(parts) if parts else np.zeros(0, TOP_ROW))
    return found
