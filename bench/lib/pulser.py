"""A strategy for the bench: keeps so many orders under way, and sends the next when one has ended.

rest = 0: IOC orders below the touch, which end by themselves. rest = 1: resting orders, each
cancelled as soon as its venue has it.
"""

import numpy as np

from alephtx.core.kernel import kernel
from alephtx.core.view import Needs
from alephtx.core.words import (
    ACK,
    BUY,
    CANCEL,
    CANCEL_ACK,
    EXPIRE,
    GTC,
    IOC,
    LIMIT,
    PLACE,
    REJECT,
    TOP,
)

NEEDS = Needs()
PARAMS = np.dtype([("instrument", "i8"), ("qty", "i8"), ("flight", "i8"), ("rest", "i8")])
STATE = np.dtype([("ended", "i8"), ("refused", "i8"), ("stop", "i8")])


def config_to_params(section, instruments):
    """Return the instrument, how many orders at once, and of which kind."""
    row = np.zeros(1, PARAMS)
    row["instrument"], row["qty"] = instruments.index(section["instruments"][0]), section["qty"]
    row["flight"], row["rest"] = section["flight"], section["rest"]
    return row


def on_event(event, view, params, state, intents):
    """Fill up what is missing in flight."""
    if event[0]["kind"] != TOP or state[0]["stop"] != 0:
        return 0
    return _place(view, params, intents, params[0]["flight"] - view.open_count[0])


def on_update(update, view, params, state, intents):
    """Cancel what rests; follow what has ended by the next one."""
    kind = update[0]["kind"]
    if kind == ACK and params[0]["rest"] != 0:
        intents[0]["op"], intents[0]["instrument"] = CANCEL, update[0]["instrument"]
        intents[0]["target_order_id"] = update[0]["order_id"]
        return 1
    if kind == REJECT:
        state[0]["refused"] += 1
    if (kind == CANCEL_ACK or kind == EXPIRE) and state[0]["stop"] == 0:
        state[0]["ended"] += 1
        return _place(view, params, intents, params[0]["flight"] - view.open_count[0])
    return 0


@kernel
def _place(view, params, intents, wanted):
    i, n = params[0]["instrument"], 0
    bid = view.top[i]["bid"]
    if bid <= 0:
        return 0
    step = view.instruments[i]["tick_step"]
    for _ in range(min(wanted, 16)):
        intents[n]["op"], intents[n]["type"] = PLACE, LIMIT
        intents[n]["tif"] = GTC if params[0]["rest"] != 0 else IOC
        intents[n]["instrument"], intents[n]["side"], intents[n]["qty"] = i, BUY, params[0]["qty"]
        intents[n]["price"] = (bid - bid // 200) // step * step
        n += 1
    return n
