"""The market maker that every back-testing engine in the comparison can express.

Each 100 ms of local time quote both sides from the touch as we heard it: middle less `skew` ticks
per `qty` of position, half a spread away, never inside the touch; keep an order whose price is
right, else cancel it (once it is acknowledged) and send a new post-only order in the same step; a
side that would pass the position limit is not quoted.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import BUY, CANCEL, GTC, LIMIT, NEW, PARTIALLY_FILLED, PLACE, POST_ONLY

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=100_000_000)

PARAMS = np.dtype([
    ("instrument", "i8"), ("half", "f8"), ("skew", "f8"), ("qty", "i8"), ("most", "i8"),
])  # fmt: skip
STATE = np.dtype([("working", "i8", (2,)), ("sent", "i8", (2,)), ("orders", "i8")])


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Half and skew in ticks; qty and most in lots."""
    row = np.zeros(1, PARAMS)
    row["instrument"] = instruments.index(section["instruments"][0])
    for name in ("half", "skew", "qty", "most"):
        row[name] = section[name]
    return row


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Quote both sides."""
    i = params[0]["instrument"]
    bid, ask = view.top[i]["bid"], view.top[i]["ask"]
    if view.top[i]["bid_qty"] == 0 or view.top[i]["ask_qty"] == 0:
        return 0
    held, qty, most = view.positions[i]["qty"], params[0]["qty"], params[0]["most"]
    middle = float(bid + ask) / 2.0 - params[0]["skew"] * float(held) / float(qty)
    low = min(np.int64(np.floor(middle - params[0]["half"])), bid)
    high = max(np.int64(np.ceil(middle + params[0]["half"])), ask)
    n = _side(0, low, held + qty <= most, view, params, state, intents, 0)
    return _side(1, high, held - qty >= -most, view, params, state, intents, n)


@inline_kernel
def _side(
    s: Int, price: Int, wanted: bool, view: View, params: Rows, state: Rows, intents: Rows, n: Int
) -> Int:
    """Keep, cancel, place: one side. `working` is the tag of the order that quotes, 0 for none."""
    i, found = params[0]["instrument"], -1
    for k in range(view.open_count[0]):
        if view.orders[k]["tag"] == state[0]["working"][s] and state[0]["working"][s] != 0:
            found = k
    free = found < 0
    if found >= 0:
        order = view.orders[found]
        right = order["price"] == price and wanted
        if not right and order["status"] in (NEW, PARTIALLY_FILLED):
            intents[n]["op"], intents[n]["instrument"] = CANCEL, i
            intents[n]["target_order_id"] = order["order_id"]
            state[0]["working"][s] = 0
            free = True
            n += 1
    if free and wanted:
        state[0]["orders"] += 1
        state[0]["working"][s] = state[0]["orders"]
        intents[n]["op"], intents[n]["type"], intents[n]["tif"] = PLACE, LIMIT, GTC
        intents[n]["flags"], intents[n]["side"] = POST_ONLY, BUY if s == 0 else -BUY
        intents[n]["instrument"], intents[n]["price"] = i, price
        intents[n]["qty"], intents[n]["tag"] = params[0]["qty"], state[0]["orders"]
        n += 1
    return n
