"""A strategy that opens one two-legged trade and then behaves well or badly; for the world.

manner: 0 does nothing more, 1 hedges what is open once a report comes, 2 hedges the wrong way,
3 sends more and more, 4 cancels its own orders at once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows
from alephtx.core.view import Needs, View
from alephtx.core.words import BUY, CANCEL, GTC, HEDGE, IOC, LIMIT, PLACE, SELL, TOP

COMPILED = True
NEEDS = Needs()
PARAMS = np.dtype([("spot", "i8"), ("perp", "i8")])
STATE = np.dtype(
    [("manner", "i8"), ("opened", "i8"), ("tif", "i8"), ("sent", "i8"), ("lots", "i8")]
)

SPOT_LOTS_OF_PERP_LOT = 100
"""Lots of the spot market in one lot of the contract."""


def config_to_params(section: Mapping[str, Any], instruments: Instruments) -> Rows:
    """Return PARAMS."""
    row = np.zeros(1, PARAMS)
    row["spot"], row["perp"] = (instruments.index(key) for key in section["instruments"])
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Open the trade, then behave."""
    if event[0]["kind"] != TOP:
        return 0
    spot, perp = params[0]["spot"], params[0]["perp"]
    if view.top[spot]["ask"] <= 0 or view.top[perp]["bid"] <= 0:
        return 0
    if state[0]["opened"] == 0:
        state[0]["opened"] = 1
        for k in range(2):
            i, side = (spot, BUY) if k == 0 else (perp, SELL)
            lots = state[0]["lots"] * (SPOT_LOTS_OF_PERP_LOT if k == 0 else 1)
            intents[k]["op"], intents[k]["type"], intents[k]["tif"] = PLACE, LIMIT, state[0]["tif"]
            intents[k]["instrument"], intents[k]["side"], intents[k]["qty"] = i, side, lots
            touch = view.top[i]["ask"] if side == BUY else view.top[i]["bid"]
            intents[k]["price"], intents[k]["group_id"] = touch, 7
        return 2
    if state[0]["manner"] == 3 and state[0]["sent"] < 20:
        state[0]["sent"] += 1
        intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, GTC
        intents[0]["instrument"], intents[0]["side"] = spot, BUY
        intents[0]["qty"], intents[0]["group_id"] = SPOT_LOTS_OF_PERP_LOT, 8
        intents[0]["price"] = view.top[spot]["bid"]
        return 1
    if state[0]["manner"] == 4 and view.open_count[0] > 0:
        intents[0]["op"], intents[0]["instrument"] = CANCEL, view.orders[0]["instrument"]
        intents[0]["target_order_id"] = view.orders[0]["order_id"]
        return 1
    return 0


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Hedge, well or badly."""
    manner = state[0]["manner"]
    if (manner != 1 and manner != 2) or view.open_count[0] > 0 or state[0]["sent"] >= 3:
        return 0
    spot, perp = params[0]["spot"], params[0]["perp"]
    net = view.positions[spot]["qty"] + SPOT_LOTS_OF_PERP_LOT * view.positions[perp]["qty"]
    if net == 0:
        return 0
    side = SELL if net > 0 else BUY
    if manner == 2:
        side = -side
    state[0]["sent"] += 1
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, IOC
    intents[0]["instrument"], intents[0]["side"], intents[0]["qty"] = spot, side, abs(net)
    intents[0]["price"] = view.top[spot]["bid"] if side == SELL else view.top[spot]["ask"]
    intents[0]["flags"], intents[0]["group_id"] = HEDGE, 7
    return 1
