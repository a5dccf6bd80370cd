"""Rules: position with everything open taken as filled, and the number of open orders."""

from typing import Any

import numpy as np

from alephtx.core.exposure import middle, quote_value
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import CEIL, OVERFLOW
from alephtx.core.view import View
from alephtx.core.words import (
    DENY_OPEN_ORDERS,
    DENY_OVERFLOW,
    DENY_POSITION,
    PASS,
    PLACE,
)
from alephtx.risk.grid import order_price
from alephtx.risk.reduce import pending_lots
from alephtx.risk.state import NO_LIMIT, GateState, Rows


@inline_kernel
def check_position(
    intents: Rows,
    k: Int,
    view: View,
    gate: GateState,
    table: Any,
    account_positions: Rows,
    hedge: Int,
) -> int:
    """Refuse what could take the strategy's or the account's position beyond its limit.

    Worst case on the order's side: position + open orders of that side + this batch + the order,
    valued at the larger of its price and the middle. What ends flat or on the other side of flat
    than the limit guards is no risk. hedge: 1 when the intent only reduces (`reduce`); it passes.
    """
    i, side = np.int64(intents[k]["instrument"]), np.int64(intents[k]["side"])
    s, a = np.int64(intents[k]["strategy"]), np.int64(intents[k]["account"])
    column = 0 if side > 0 else 1
    mine, ours = table.open_strategy[s, i, column], table.open_account[a, i, column]
    held, all_held = view.positions[i]["qty"] * side, account_positions[a, i]["qty"] * side
    adding: Int = pending_lots(intents, k, i, side)
    if max(mine, ours, adding, abs(held), abs(all_held)) >= NO_LIMIT:
        return DENY_OVERFLOW
    adding += intents[k]["qty"]
    price = max(order_price(intents, k, view), middle(view.top, i))
    strategy = _worth(view, i, price, held + mine + adding)
    account = _worth(view, i, price, all_held + ours + adding)
    within = strategy <= gate.position_max[s, i] and account <= gate.account_position_max[a, i]
    if OVERFLOW not in (strategy, account) and within:
        return PASS
    if hedge:
        return PASS
    return DENY_OVERFLOW if OVERFLOW in (strategy, account) else DENY_POSITION


@inline_kernel
def _worth(view: View, i: Int, price: Int, lots: Int) -> int:
    """Return what lots beyond flat are worth in quote currency, rounded up; 0 at or before flat."""
    return quote_value(view.instruments, i, price, lots, CEIL) if lots > 0 else 0


@inline_kernel
def check_open_orders(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse a PLACE beyond the number of live orders the strategy may have."""
    if intents[k]["op"] != PLACE:
        return PASS
    count = view.open_count[0] + 1
    for j in range(k):
        if intents[j]["verdict"] == PASS and intents[j]["op"] == PLACE:
            count += 1
    most = gate.open_orders_max[np.int64(intents[k]["strategy"])]
    return DENY_OPEN_ORDERS if count > most else PASS
