"""No cheat: buys and sells more than the touch holds, so that its fills tell what lies behind."""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, MARKET, PLACE, SELL

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=500_000_000)
PARAMS = np.dtype([("qty", "i8")])
STATE = np.dtype([("turn", "i8")])


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    row["qty"] = section["qty"]
    return row


def on_timer(now, view, params, state, intents):
    if view.top[0]["bid_qty"] == 0 or view.top[0]["ask_qty"] == 0:
        return 0
    state[0]["turn"] = 1 - state[0]["turn"]
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, MARKET, IOC
    intents[0]["qty"], intents[0]["side"] = params[0]["qty"], BUY if state[0]["turn"] else SELL
    return 1
