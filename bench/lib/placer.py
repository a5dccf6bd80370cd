"""A strategy for the bench: one order for every top, none while `place` is 0."""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, LIMIT, PLACE, TOP

NEEDS = Needs()
PARAMS = np.dtype([("instrument", "i8"), ("qty", "i8")])
STATE = np.dtype([("place", "i8"), ("seen", "i8")])


def config_to_params(section, instruments):
    """Return the one instrument and a quantity."""
    row = np.zeros(1, PARAMS)
    row["instrument"], row["qty"] = instruments.index(section["instruments"][0]), 1_000
    return row


def on_event(event, view, params, state, intents):
    """Buy at the bid."""
    state[0]["seen"] += 1
    if state[0]["place"] == 0 or event[0]["kind"] != TOP:
        return 0
    i = params[0]["instrument"]
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, IOC
    intents[0]["instrument"], intents[0]["side"] = i, BUY
    intents[0]["price"], intents[0]["qty"] = view.top[i]["bid"], params[0]["qty"]
    return 1
