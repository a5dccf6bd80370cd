"""A strategy for tests: buys one lot batch at the bid on every top, counts what it hears."""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, CANCEL, GAP, GTC, LAPPED, LIMIT, PLACE, TOP

COMPILED = True
NEEDS = Needs(timer_ns=1_000_000_000)
PARAMS = np.dtype([("instrument", "i8"), ("qty", "i8"), ("live_max", "i8")])
STATE = np.dtype(
    [("tops", "i8"), ("gaps", "i8"), ("lapped", "i8"), ("updates", "i8"), ("timers", "i8"),
     ("started", "i8"), ("stopped", "i8"), ("last_kind", "i8")]
)  # fmt: skip


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    row["instrument"] = instruments.index(section["instruments"][0])
    row["qty"], row["live_max"] = section.get("qty", 1000), section.get("live_max", 4)
    return row


def on_start(view, params, state, intents):
    state[0]["started"] += 1
    return 0


def on_event(event, view, params, state, intents):
    if event[0]["kind"] == GAP:
        state[0]["gaps"] += 1
    if event[0]["kind"] == LAPPED:
        state[0]["lapped"] += 1
    if event[0]["kind"] != TOP:
        return 0
    state[0]["tops"] += 1
    if view.open_count[0] >= params[0]["live_max"]:
        return 0
    i = params[0]["instrument"]
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, GTC
    intents[0]["instrument"], intents[0]["side"] = i, BUY
    intents[0]["price"], intents[0]["qty"] = view.top[i]["bid"], params[0]["qty"]
    return 1


def on_update(update, view, params, state, intents):
    state[0]["updates"] += 1
    state[0]["last_kind"] = update[0]["kind"]
    return 0


def on_timer(now, view, params, state, intents):
    state[0]["timers"] += 1
    return 0


def on_stop(view, params, state, intents):
    state[0]["stopped"] += 1
    n = 0
    for k in range(view.open_count[0]):
        intents[n]["op"], intents[n]["target_order_id"] = CANCEL, view.orders[k]["order_id"]
        intents[n]["instrument"] = view.orders[k]["instrument"]
        n += 1
    return n
