"""Rule: no order that could trade with an order of our own, whatever strategy or account has it."""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import AMEND, DENY_SELF_TRADE, MARKET, PASS, PLACE
from alephtx.risk.state import SELF_TRADE, Rows


@inline_kernel
def _meets(side: Int, price: Int, kind: Int, other: Int, other_kind: Int) -> bool:
    """Tell whether an order meets one of the other side; one without a price meets all."""
    if MARKET in (kind, other_kind) or price == 0 or other == 0:  # 0: a stop without a limit
        return True
    return bool((price - other) * side >= 0)


@inline_kernel
def check_self_trade(intents: Rows, k: Int, firm: Rows, table: Any) -> int:
    """Refuse what would meet a live order of ours on the other side of the same instrument.

    Live is everything that is not known to be over: also what is on its way, being cancelled or in
    doubt. Only strategies with lots open on that side are searched, and only until these are
    found: nothing to do is the usual case and costs a look per strategy.
    """
    if firm[SELF_TRADE] == 0:
        return PASS
    i, side = np.int64(intents[k]["instrument"]), np.int64(intents[k]["side"])
    price, kind = intents[k]["price"], np.int64(intents[k]["type"])
    column = 1 if side > 0 else 0
    for s in range(table.open_strategy.shape[0]):
        left: Int = table.open_strategy[s, i, column]
        for n in range(table.open_count[s, 0]):
            if left <= 0:
                break
            order = table.orders[s, n]
            if np.int64(order["instrument"]) != i or order["side"] != -side:
                continue
            left -= order["leaves_qty"]
            if _meets(side, price, kind, order["price"], np.int64(order["type"])):
                return DENY_SELF_TRADE
    for j in range(k):
        if intents[j]["verdict"] != PASS or np.int64(intents[j]["op"]) not in (PLACE, AMEND):
            continue
        if np.int64(intents[j]["instrument"]) != i or intents[j]["side"] != -side:
            continue
        if _meets(side, price, kind, intents[j]["price"], np.int64(intents[j]["type"])):
            return DENY_SELF_TRADE
    return PASS
