"""What a leg of a trade is worth in base coin, and whether it can be sent; for hedged strategies.

An inverse position counts with its cost in coin: its profit in quote currency moves with that, not
with today's value, so a spread that was balanced when opened stays balanced. Closing a part takes
off that part of the cost.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import stay_apart
from alephtx.core.exposure import base_lots, base_value, middle, quote_value
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import FLOOR, NEAREST, OVERFLOW, TRUNCATE, mul_div_checked
from alephtx.core.view import View
from alephtx.core.words import INVERSE, UNTRADEABLE_MASK

Rows = np.ndarray[Any, Any]

BASE_MAX = 1 << 58
"""Base amounts beyond this are refused, so that sums of a few cannot overflow."""


@inline_kernel
def position_base(positions: Rows, instruments: Rows, i: Int) -> Int:
    """Return a position as signed base coin in 10^-8, or OVERFLOW; both arrays by instrument."""
    if instruments[i]["contract"] == INVERSE:
        base: Int = np.int64(positions[i]["cost"])
    else:
        base = base_value(instruments, i, 0, positions[i]["qty"], NEAREST)
    return OVERFLOW if abs(base) >= BASE_MAX else base


@inline_kernel
def held_base(view: View, i: Int) -> Int:
    """Return the strategy's own position as signed base coin in 10^-8, or OVERFLOW."""
    return position_base(view.positions, view.instruments, i)


@inline_kernel
def trade_base(view: View, i: Int, price: Int, lots: Int, side: Int) -> Int:
    """Return by how much base a trade of so many lots would move the position, or OVERFLOW."""
    held, cost = np.int64(view.positions[i]["qty"]), np.int64(view.positions[i]["cost"])
    if view.instruments[i]["contract"] != INVERSE or held * side >= 0:
        return base_value(view.instruments, i, price, lots, NEAREST)
    return _closed_base(view.instruments, i, price, lots, abs(held), abs(cost))


@kernel
def _closed_base(instruments: Rows, i: Int, price: Int, lots: Int, held: Int, cost: Int) -> Int:
    """Return the base of lots that close an inverse position; apart, its callers are many."""
    stay_apart()
    closed = min(lots, held)
    base = mul_div_checked(cost, closed, held, NEAREST)
    if lots == closed or base == OVERFLOW:
        return base
    rest = base_value(instruments, i, price, lots - closed, NEAREST)
    return OVERFLOW if rest == OVERFLOW else base + rest


@inline_kernel
def trade_lots(view: View, i: Int, price: Int, base: Int, side: Int) -> Int:
    """Return the lots, on the lot step, whose trade moves the position by at most so much base."""
    held, cost = np.int64(view.positions[i]["qty"]), abs(np.int64(view.positions[i]["cost"]))
    if base <= 0 or base >= BASE_MAX:
        return 0
    if view.instruments[i]["contract"] != INVERSE or held * side >= 0 or cost == 0:
        return max(base_lots(view.instruments, i, price, base), 0)
    if base >= cost:
        return abs(held) + max(base_lots(view.instruments, i, price, base - cost), 0)
    # One unit more, because trade_base rounds: what it gave for n lots must come back as n.
    lots = mul_div_checked(base + 1, abs(held), cost, TRUNCATE)
    step = view.instruments[i]["lot_step"]
    return max(lots, 0) // step * step if step > 0 else 0


@inline_kernel
def usable(view: View, i: Int, max_age_ns: Int) -> bool:
    """Tell whether an instrument's touch may be traded on: both sides, unflagged, fresh."""
    top = view.top[i]
    fresh = view.now[0] - top["ts_recv"] <= max_age_ns
    return bool(top["aux"] & UNTRADEABLE_MASK == 0 and middle(view.top, i) > 0 and fresh)


@inline_kernel
def order_fits(view: View, i: Int, price: Int, lots: Int) -> bool:
    """Tell whether the venue takes an order of so many lots."""
    row = view.instruments[i]
    if lots <= 0 or lots < row["qty_min"] or (row["qty_max"] > 0 and lots > row["qty_max"]):
        return False
    value = quote_value(view.instruments, i, price, lots, FLOOR)
    return bool(value != OVERFLOW and value >= row["notional_min"])
