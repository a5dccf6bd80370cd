"""Send a hopeless order at every timer and at every report: it would never come to an end."""

import numpy as np

from alephtx.core.kernel import kernel
from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, LIMIT, PLACE

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=5_000_000)
PARAMS = np.dtype([("spare", "i8")])
STATE = np.dtype([("orders", "i8")])


def config_to_params(section, instruments):
    return np.zeros(1, PARAMS)


@kernel
def _order(view, state, intents):
    if view.top[0]["bid_qty"] == 0 or view.open_count[0] > 8:
        return 0
    state[0]["orders"] += 1
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, IOC
    intents[0]["side"], intents[0]["price"] = BUY, view.top[0]["bid"] - 1
    intents[0]["qty"] = 1
    return 1


def on_timer(now, view, params, state, intents):
    return _order(view, state, intents)


def on_update(update, view, params, state, intents):
    return _order(view, state, intents)
