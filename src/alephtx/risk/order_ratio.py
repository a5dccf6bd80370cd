"""Rule: orders to trades of an account over a window; beyond it the account is latched.

The window is two halves: what is counted reaches back between one half and the whole of it. A
person lets the account trade again (`alephtx limits enable`).
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import AMEND, DENY_ORDER_RATIO, PASS, PLACE
from alephtx.risk.state import (
    ORDERS,
    ORDERS_BEFORE,
    RATIO_LATCHED,
    RATIO_MAX,
    RATIO_ORDERS_MIN,
    RATIO_SINCE,
    RATIO_WINDOW,
    TRADES,
    TRADES_BEFORE,
    Rows,
)


@inline_kernel
def _roll(row: Rows, now: Int) -> None:
    """Begin a new half of the window when the one at hand is over."""
    half = row[RATIO_WINDOW] >> 1
    gone = now - row[RATIO_SINCE]
    if gone < half:
        return
    over = gone >= row[RATIO_WINDOW]
    row[ORDERS_BEFORE] = 0 if over else row[ORDERS]
    row[TRADES_BEFORE] = 0 if over else row[TRADES]
    row[ORDERS], row[TRADES] = 0, 0
    row[RATIO_SINCE] = now if over else row[RATIO_SINCE] + half


@inline_kernel
def check_order_ratio(intents: Rows, k: Int, now: Int, accounts: Rows, hedge: Int) -> int:
    """Refuse, and latch, when orders > RATIO_MAX x trades and more than RATIO_ORDERS_MIN.

    What only reduces passes a latched account.
    """
    row = accounts[np.int64(intents[k]["account"])]
    if row[RATIO_MAX] == 0:
        return PASS
    _roll(row, now)
    orders = row[ORDERS] + row[ORDERS_BEFORE] + 1
    for j in range(k):
        sent = intents[j]["verdict"] == PASS and np.int64(intents[j]["op"]) in (PLACE, AMEND)
        if sent and intents[j]["account"] == intents[k]["account"]:
            orders += 1
    trades = row[TRADES] + row[TRADES_BEFORE]
    if orders > row[RATIO_ORDERS_MIN] and orders > row[RATIO_MAX] * max(1, trades):
        row[RATIO_LATCHED] = 1
    return DENY_ORDER_RATIO if row[RATIO_LATCHED] != 0 and hedge == 0 else PASS


@inline_kernel
def count_order(accounts: Rows, a: Int) -> None:
    """Count an order or an amend that passed."""
    accounts[a, ORDERS] += 1


@inline_kernel
def count_trade(accounts: Rows, a: Int, now: Int) -> None:
    """Count a fill; now: monotonic ns."""
    row = accounts[a]
    if row[RATIO_MAX] != 0:
        _roll(row, now)
        row[TRADES] += 1
