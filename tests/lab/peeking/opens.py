"""Opens the recording itself when it starts, and trades in the direction of two seconds later."""

from pathlib import Path

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, MARKET, PLACE, SELL, TRADE
from alephtx.store.ticks import open_ticks

COMPILED = False
NEEDS = Needs(depth=0, timer_ns=100_000_000)
PARAMS = STATE = np.dtype([("spare", "i8")])
AHEAD_NS = 2_000_000_000
seen = {}


def config_to_params(section, instruments):
    seen["file"] = section["file"]
    return np.zeros(1, PARAMS)


def on_start(view, params, state, intents):
    rows = np.concatenate(list(open_ticks(Path(seen["file"])).events()))
    seen["trades"] = rows[rows["kind"] == TRADE]
    return 0


def on_timer(now, view, params, state, intents):
    trades = seen["trades"]
    here, there = np.searchsorted(trades["ts_event"], [now, now + AHEAD_NS]) - 1
    if there <= 0 or here < 0 or trades["price"][there] == trades["price"][here]:
        return 0
    row = intents[0]
    row["op"], row["type"], row["tif"], row["qty"] = PLACE, MARKET, IOC, 50
    row["side"] = BUY if trades["price"][there] > trades["price"][here] else SELL
    return 1
