"""A strategy that trades nothing and writes down the VAMP that stood just before given moments.

It stands in a market of its own beside the run (`engine.vamp_record`). Moments are times of the
venue; what a message at that very time tells does not count. STATE has room for so many of them.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals.vamp import NEEDS as VAMP_NEEDS
from alephtx.signals.vamp import vamp

COMPILED = True
LEVELS = VAMP_NEEDS.depth
NEEDS = Needs(depth=LEVELS)
ROOM = 1 << 16

PARAMS = np.dtype([("instrument", "i8"), ("levels", "i8")])
STATE = np.dtype([
    ("now", "f8"), ("next", "i8"), ("count", "i8"), ("at", "i8", (ROOM,)), ("said", "f8", (ROOM,)),
])  # fmt: skip


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Take the signal's own number of levels; section: the instrument alone."""
    row = np.zeros(1, PARAMS)
    row["instrument"] = instruments.index(section["instruments"][0])
    row["levels"] = LEVELS
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Write down what stood at the moments that have passed, then look at the book."""
    i, now = params[0]["instrument"], state[0]["now"]
    while state[0]["next"] < state[0]["count"]:
        k = state[0]["next"]
        if state[0]["at"][k] > event[0]["ts_event"]:
            break
        state[0]["said"][k] = now
        state[0]["next"] = k + 1
    tradeable = np.int64(view.top[i]["aux"]) & UNTRADEABLE_MASK == 0
    state[0]["now"] = vamp(view.levels, i, params[0]["levels"]) if tradeable else np.nan
    return 0
