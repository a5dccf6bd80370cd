"""Compiled: its params are a table of prices, of the future too."""

from pathlib import Path

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, MARKET, PLACE, SELL, TRADE
from alephtx.store.ticks import open_ticks

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=100_000_000)
STEP_NS, STEPS, AHEAD = 100_000_000, 512, 20
PARAMS = np.dtype([("start", "i8"), ("prices", "i8", (STEPS,))])
STATE = np.dtype([("spare", "i8")])


def config_to_params(section, instruments):
    rows = np.concatenate(list(open_ticks(Path(section["file"])).events()))
    trades = rows[rows["kind"] == TRADE]
    row = np.zeros(1, PARAMS)
    row["start"] = rows[0]["ts_event"]
    at = row["start"] + STEP_NS * np.arange(STEPS)
    last = np.searchsorted(trades["ts_event"], at, "right") - 1
    row[0]["prices"] = trades["price"][np.maximum(last, 0)]
    return row


def on_timer(now, view, params, state, intents):
    k = (now - params[0]["start"]) // STEP_NS
    if k < 0 or k + AHEAD >= STEPS:
        return 0
    here, there = params[0]["prices"][k], params[0]["prices"][k + AHEAD]
    if here == there:
        return 0
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, MARKET, IOC
    intents[0]["qty"], intents[0]["side"] = 50, BUY if there > here else SELL
    return 1
