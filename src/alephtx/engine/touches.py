"""The best bid and ask of a tape as we hear them: what reports and markouts go by."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.records import TOP_ROW
from alephtx.core.words import DELTA, TOP
from alephtx.sim import bottle as b
from alephtx.sim.bottle import I1, I2
from alephtx.sim.flight import NEVER
from alephtx.sim.tape import run_exchange, run_local
from alephtx.sim.told import log_next, log_take, reflag

CHUNK = 1 << 16
LOCAL_MESSAGES = 256


@kernel
def pull(z: Rows, i: Int, top: Rows, slot: Rows, out: Rows) -> int:
    """Write the next touches of instrument i into out, TOP_ROW (n,); returns how many, -1: no more.

    top, slot: TOP_ROW (1,); top is the touch last heard. n must hold what a full log does.
    """
    stream, clock = field(z, b.Z_STREAMS, I2)[i], field(z, b.Z_CLOCK, I1)
    if log_next(z, i) == NEVER:
        more = False
        if stream[b.T_LAGGED] != 0:
            more = run_local(z, i, NEVER, LOCAL_MESSAGES) > 0
        else:
            run_exchange(z, i, NEVER - 1, NEVER - 1)  # ends where the log is full
            clock[b.K_GROW] = 0
            more = stream[b.T_TS] != NEVER
        if log_next(z, i) == NEVER and not more:
            return -1
    n = 0
    while n < out.shape[0] and log_next(z, i) != NEVER:
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


def touches(bottle: b.Bottle, words: Rows, i: int) -> Iterator[Rows]:
    """Yield the touches of an instrument, TOP_ROW, from a bottle in which nothing has run yet."""
    top, slot = np.zeros(1, TOP_ROW), np.zeros(1, TOP_ROW)
    bottle.streams[i, b.T_HEARD] = 1
    while True:
        out = np.zeros(CHUNK, TOP_ROW)
        count = pull(words, i, top, slot, out)
        if count < 0:
            return
        yield out[:count]


def all_touches(instruments: Instruments, tapes: Any, venue: Any) -> list[Rows]:
    """Return the touches of every instrument; the market alone runs, nobody trades."""
    from alephtx.core.config_schema import Config
    from alephtx.engine.backtest import Backtest

    found = []
    for i in range(len(instruments)):  # each in a market of its own: none waits for another
        only = Instruments([instruments[i]])
        test = Backtest([Config(venues={})], only, [tapes[i]], venue=venue)
        parts = list(touches(test.bottle, test.words, 0))
        found.append(np.concatenate(parts) if parts else np.zeros(0, TOP_ROW))
    return found
