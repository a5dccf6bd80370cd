"""Rule: price and quantity are on the instrument's grid and within its bounds."""

import numpy as np

from alephtx.core.exposure import quote_value
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import FLOOR, MAX_VALUE, OVERFLOW, price_grid
from alephtx.core.view import View
from alephtx.core.words import DENY_OVERFLOW, DENY_TICK, MARKET, PASS, REDUCE_ONLY, STOP
from alephtx.risk.state import GateState, Rows


@inline_kernel
def _off_grid(instrument: Rows, intents: Rows, k: Int) -> bool:
    """Tell whether a stop's trigger is no price of its instrument. instrument: INSTRUMENT (1,)."""
    trigger, row = intents[k]["trigger"], instrument[0]
    if trigger <= 0 or trigger >= MAX_VALUE or trigger < row["price_min"]:
        return True
    if row["price_max"] > 0 and trigger > row["price_max"]:
        return True
    tick = price_grid(instrument, trigger)
    return bool(tick <= 0 or trigger % tick != 0)


@inline_kernel
def check_grid(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse what the venue would refuse: tick, lot, least and most, least notional."""
    i = np.int64(intents[k]["instrument"])
    row, qty = view.instruments[i], intents[k]["qty"]
    step = row["lot_step"]
    if qty <= 0 or step <= 0 or qty % step != 0 or qty < row["qty_min"]:
        return DENY_TICK
    if qty >= MAX_VALUE or (row["qty_max"] > 0 and qty > row["qty_max"]):
        return DENY_TICK
    if intents[k]["type"] != MARKET:
        price = order_price(intents, k, view)
        if price <= 0 or price >= MAX_VALUE or price < row["price_min"]:
            return DENY_TICK
        if row["price_max"] > 0 and price > row["price_max"]:
            return DENY_TICK
        tick = price_grid(view.instruments[i : i + 1], price)
        if tick <= 0 or price % tick != 0:
            return DENY_TICK
        if intents[k]["type"] == STOP and _off_grid(view.instruments[i : i + 1], intents, k):
            return DENY_TICK
    least = row["notional_min"]
    if least > 0 and not (np.int64(intents[k]["flags"]) & REDUCE_ONLY):
        value = quote_value(view.instruments, i, order_price(intents, k, view), qty, FLOOR)
        if value == OVERFLOW:
            return DENY_OVERFLOW
        if value < least:
            return DENY_TICK
    return PASS


@inline_kernel
def order_price(intents: Rows, k: Int, view: View) -> Int:
    """Return the price an order is valued at: its own, or the touch it would take.

    A stop without a limit has only its trigger.
    """
    if intents[k]["type"] != MARKET:
        price = intents[k]["price"]
        return price if price != 0 or intents[k]["type"] != STOP else intents[k]["trigger"]
    i = np.int64(intents[k]["instrument"])
    return view.top[i]["ask"] if intents[k]["side"] > 0 else view.top[i]["bid"]
