"""Take what is there, now from one side and now from the other, several levels deep; never rest."""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, LIMIT, PLACE, SELL

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=200_000_000)
PARAMS = np.dtype([("qty", "i8")])
STATE = np.dtype([("orders", "i8")])


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    row["qty"] = section["qty"]
    return row


def on_timer(now, view, params, state, intents):
    if view.top[0]["bid_qty"] == 0 or view.top[0]["ask_qty"] == 0:
        return 0
    state[0]["orders"] += 1
    side = BUY if state[0]["orders"] % 4 < 2 else SELL
    touch = view.top[0]["ask"] if side == BUY else view.top[0]["bid"]
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, IOC
    intents[0]["side"], intents[0]["price"] = side, touch + side * 8
    intents[0]["qty"] = params[0]["qty"]
    return 1
