"""A strategy for the bench: one order for every tick, of a side and price that its bid decides.

ttt_plan says the same of a tick, and the exchange holds one against the other.
"""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, LIMIT, PLACE, SELL, TOP, UNTRADEABLE_MASK

NEEDS = Needs()
PARAMS = np.dtype([(name, "i8") for name in ("instrument", "qty", "above", "apart", "step")])
STATE = np.dtype([("bid", "i8")])


def config_to_params(section, instruments):
    """Return instrument, lots, and how many steps above the bid to buy, and above that to sell."""
    row = np.zeros(1, PARAMS)
    row["instrument"], row["qty"] = instruments.index(section["instruments"][0]), section["qty"]
    row["above"], row["apart"], row["step"] = (section[name] for name in ("above", "apart", "step"))
    return row


def on_event(event, view, params, state, intents):
    """Quote inside the spread, buying above even bids and selling above odd ones."""
    i = params[0]["instrument"]
    top = view.top[i]
    bid = top["bid"]
    if event[0]["kind"] != TOP or bid == state[0]["bid"] or top["aux"] & UNTRADEABLE_MASK != 0:
        return 0
    state[0]["bid"] = bid
    step = params[0]["step"]
    if step == 0:
        step = view.instruments[i]["tick_step"]
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, IOC
    intents[0]["instrument"], intents[0]["qty"] = i, params[0]["qty"]
    sells = bid // step % 2
    intents[0]["price"] = bid + (params[0]["above"] + sells * params[0]["apart"]) * step
    intents[0]["side"] = SELL if sells != 0 else BUY
    return 1
