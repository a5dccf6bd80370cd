"""Quotes: one resting order a side that is kept, moved, pulled or placed; for market makers.

A strategy that uses `quote_side` has the PARAMS `requote_e8` and `rest_ns`, and the STATE
`placed_ns` (two a place: bid, ask), `quotes`, `requotes` and `held_back`.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import FLOOR, mul_div_checked
from alephtx.core.view import View
from alephtx.core.words import BUY, CANCEL, GTC, LIMIT, NEW, PARTIALLY_FILLED, PLACE, POST_ONLY
from alephtx.strategies.legs import order_fits

Rows = np.ndarray[Any, Any]

WHOLE_E8 = 100_000_000


@inline_kernel
def quote_side(
    k: Int,
    i: Int,
    side: Int,
    price: Int,
    lots: Int,
    view: View,
    params: Rows,
    state: Rows,
    intents: Rows,
    n: Int,
) -> Int:
    """Keep, move, pull or place the quote of a side; returns intents so far.

    k: the instrument's place in params, i: its index. price in ticks and lots as it should be, 0 =
    none.
    """
    wanted = price > 0 and order_fits(view, i, price, lots)
    apart = mul_div_checked(price, params[0]["requote_e8"], WHOLE_E8, FLOOR)
    mine, facing = 0, 0
    for j in range(view.open_count[0]):
        row = view.orders[j]
        if row["instrument"] != i:
            continue
        if row["side"] != side:
            facing += 1 if (row["price"] - price) * side <= 0 else 0
            continue
        mine += 1
        if wanted and mine == 1 and abs(row["price"] - price) <= apart:
            continue
        if row["status"] in (NEW, PARTIALLY_FILLED) and n < intents.shape[0]:
            n = _cancel(row["order_id"], i, intents, n)
            state[0]["requotes"] += 1
    if mine > 0 or not wanted or n >= intents.shape[0]:
        return n
    slot = 2 * k + (0 if side == BUY else 1)
    if view.now[0] - state[0]["placed_ns"][slot] < params[0]["rest_ns"]:
        return n
    if facing > 0:  # our own quote on the other side is still there: wait for its cancel
        state[0]["held_back"] += 1
        return n
    state[0]["placed_ns"][slot] = view.now[0]
    state[0]["quotes"] += 1
    intents[n]["op"], intents[n]["type"], intents[n]["tif"] = PLACE, LIMIT, GTC
    intents[n]["flags"], intents[n]["side"], intents[n]["instrument"] = POST_ONLY, side, i
    intents[n]["price"], intents[n]["qty"], intents[n]["tag"] = price, lots, k
    return n + 1


@inline_kernel
def _cancel(order_id: Int, i: Int, intents: Rows, n: Int) -> Int:
    intents[n]["op"], intents[n]["target_order_id"], intents[n]["instrument"] = CANCEL, order_id, i
    return n + 1


@inline_kernel
def pull(i: Int, view: View, intents: Rows, n: Int) -> Int:
    """Cancel an instrument's quotes that are not in flight."""
    for j in range(view.open_count[0]):
        row = view.orders[j]
        if row["instrument"] != i:
            continue
        if row["status"] in (NEW, PARTIALLY_FILLED) and n < intents.shape[0]:
            n = _cancel(row["order_id"], i, intents, n)
    return n
