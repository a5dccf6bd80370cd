"""A strategy for tests: answers what its config names - events, updates, timers - with an order."""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import ACK, BUY, CANCEL, GTC, LIMIT, PLACE, TOP

COMPILED = True
NEEDS = Needs(timer_ns=1_000_000)
PARAMS = np.dtype([("event", "i8"), ("update", "i8"), ("timer", "i8")])
STATE = np.dtype([("calls", "i8")])


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    for name in PARAMS.names:
        row[name] = section.get(name, 0)
    return row


def on_event(event, view, params, state, intents):
    state[0]["calls"] += 1
    if params[0]["event"] == 0 or event[0]["kind"] != TOP:
        return 0
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, GTC
    intents[0]["side"], intents[0]["price"], intents[0]["qty"] = BUY, view.top[0]["bid"], 1000
    return 1


def on_update(update, view, params, state, intents):
    if params[0]["update"] == 0 or update[0]["kind"] != ACK:
        return 0
    intents[0]["op"], intents[0]["target_order_id"] = CANCEL, update[0]["order_id"]
    return 1


def on_timer(now, view, params, state, intents):
    if params[0]["timer"] == 0:
        return 0
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, GTC
    intents[0]["side"], intents[0]["price"], intents[0]["qty"] = BUY, view.top[0]["bid"], 1000
    return 1
