"""Note when it begins, wakes and stops; an order rests from the first wake until the stop."""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, CANCEL, GTC, LIMIT, PLACE

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=1_000_000_000)
PARAMS = np.dtype([("spare", "i8")])
STATE = np.dtype([("begun", "i8"), ("woken", "i8"), ("wakes", "i8"), ("stopped", "i8"),
                  ("bid", "i8")])  # fmt: skip


def config_to_params(section, instruments):
    return np.zeros(1, PARAMS)


def on_start(view, params, state, intents):
    state[0]["begun"], state[0]["bid"] = view.now[0], view.top[0]["bid"]
    return 0


def on_timer(now, view, params, state, intents):
    state[0]["wakes"] += 1
    if state[0]["woken"] != 0:
        return 0
    state[0]["woken"] = now
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, GTC
    intents[0]["side"], intents[0]["price"] = BUY, view.top[0]["bid"] - 2_000
    intents[0]["qty"] = 10
    return 1


def on_stop(view, params, state, intents):
    state[0]["stopped"] = view.now[0]
    n = view.open_count[0]
    for k in range(n):
        intents[k]["op"], intents[k]["instrument"] = CANCEL, view.orders[k]["instrument"]
        intents[k]["target_order_id"] = view.orders[k]["order_id"]
    return n
