"""Write down every event, with the time it was heard at and the touch that the view shows then."""

import numpy as np

from alephtx.core.view import Needs

COMPILED = True
NEEDS = Needs(depth=0, trades=True)
MOST = 8_000
PARAMS = np.dtype([("spare", "i8")])
STATE = np.dtype([("count", "i8"), ("rows", "i8", (MOST, 9))])


def config_to_params(section, instruments):
    return np.zeros(1, PARAMS)


def on_event(event, view, params, state, intents):
    k = state[0]["count"]
    if k < MOST:
        i = np.int64(event[0]["instrument"])
        row, top = state[0]["rows"][k], view.top[i]
        row[0], row[1], row[2] = i, np.int64(event[0]["kind"]), view.now[0]
        row[3], row[4] = event[0]["price"], event[0]["qty"]
        row[5], row[6], row[7], row[8] = top["bid"], top["bid_qty"], top["ask"], top["ask_qty"]
    state[0]["count"] = k + 1
    return 0
