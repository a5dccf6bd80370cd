"""Take a position towards a target with one IOC order at a time; for strategies that take.

A strategy that uses `aim` has the PARAMS `cross_e8`, `cooldown_ns`, `deadline_ns` and `max_age_ns`,
and the STATE `sent_ns` and `sent`. With one order live at most, and none larger than what is
missing, the position never passes the target, whatever the venue does.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import NEAREST, OVERFLOW, mul_div_checked, round_price
from alephtx.core.view import View
from alephtx.core.words import (
    BUY,
    CANCEL,
    IOC,
    LIMIT,
    NEW,
    PARTIALLY_FILLED,
    PLACE,
    REDUCE_ONLY,
    SELL,
)
from alephtx.strategies.legs import held_base, order_fits, trade_lots, usable

Rows = np.ndarray[Any, Any]

PRICE_MAX = 1 << 48
WHOLE_E8 = 100_000_000


@inline_kernel
def aim(view: View, params: Rows, state: Rows, intents: Rows, i: Int, target_e8: Int) -> int:
    """Write the order that is missing to hold `target_e8` base, if any; returns intents written."""
    if view.open_count[0] > 0:
        if view.now[0] - state[0]["sent_ns"] < params[0]["deadline_ns"]:
            return 0
        state[0]["sent_ns"] = view.now[0]
        return cancel_all(view, intents)
    if view.now[0] - state[0]["sent_ns"] < params[0]["cooldown_ns"]:
        return 0
    n = order_missing(view, params, intents, 0, i, target_e8, 1)
    if n > 0:
        state[0]["sent_ns"] = view.now[0]
        state[0]["sent"] += 1
    return n


@inline_kernel
def order_missing(
    view: View, params: Rows, intents: Rows, n: Int, i: Int, target_e8: Int, times: Int
) -> int:
    """Write one IOC order towards `target_e8` base behind n intents; returns intents so far.

    It crosses `times` the PARAMS `cross_e8` beyond the touch. A position is reduced, as far as
    zero, by an order flagged REDUCE_ONLY, which the gate lets pass where it holds back new risk. (A
    HEDGE would be taken for the leg of a trade, and guarded.)
    """
    held = held_base(view, i)
    touch_max = max(view.top[i]["bid"], view.top[i]["ask"])
    sound = usable(view, i, params[0]["max_age_ns"]) and touch_max < PRICE_MAX
    if not sound or held == OVERFLOW or held == target_e8:
        return n
    side = BUY if target_e8 > held else SELL
    missing = abs(target_e8 - held)
    closing = held * side < 0
    if closing:
        missing = min(missing, abs(held))
    touch = view.top[i]["ask"] if side == BUY else view.top[i]["bid"]
    further = mul_div_checked(touch, params[0]["cross_e8"] * times, WHOLE_E8, NEAREST)
    price = round_price(view.instruments[i : i + 1], touch + side * further, side)
    lots = trade_lots(view, i, touch, missing, side)
    if price <= 0 or not order_fits(view, i, price, lots):
        return n
    intents[n]["op"], intents[n]["type"], intents[n]["tif"] = PLACE, LIMIT, IOC
    intents[n]["instrument"], intents[n]["side"] = i, side
    intents[n]["price"], intents[n]["qty"] = price, lots
    intents[n]["flags"] = REDUCE_ONLY if closing else 0
    return n + 1


@inline_kernel
def cancel_all(view: View, intents: Rows) -> int:
    """Write a CANCEL for every live order that is not in flight."""
    n = 0
    for k in range(view.open_count[0]):
        row = view.orders[k]
        if row["status"] in (NEW, PARTIALLY_FILLED) and n < intents.shape[0]:
            intents[n]["op"], intents[n]["target_order_id"] = CANCEL, row["order_id"]
            intents[n]["instrument"] = row["instrument"]
            n += 1
    return n
