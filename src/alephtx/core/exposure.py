"""What an order or a position is worth across contracts: in base, in quote, marked to the middle.

Spot, linear and inverse contracts of one underlying are compared only here: base value in units of
10^-MONEY_SCALE of the base coin, quote value in the same units of the quote currency. All exact up
to one rounding; OVERFLOW where it does not fit.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import OVERFLOW, TRUNCATE, mul_div_checked, notional
from alephtx.core.words import INVERSE

Rows = np.ndarray[Any, Any]


_POWERS = np.array([10**k for k in range(19)], np.int64)


@inline_kernel
def power_of_ten(exponent: Int) -> Int:
    """Return 10^exponent, for 0..18."""
    return _POWERS[exponent]


@inline_kernel
def base_value(instruments: Rows, i: Int, price: Int, qty: Int, rounding: Int) -> int:
    """Return lots as base coin; price in ticks is used by inverse contracts only."""
    if instruments[i]["contract"] == INVERSE:
        return notional(instruments[i : i + 1], price, qty, rounding)
    scale = power_of_ten(np.int64(instruments[i]["qty_scale"]))
    return mul_div_checked(qty, instruments[i]["contract_value"], scale, rounding)


@inline_kernel
def base_lots(instruments: Rows, i: Int, price: Int, base: Int) -> int:
    """Return the lots, on the lot step and towards zero, that are worth at most so much base."""
    value, step = instruments[i]["contract_value"], instruments[i]["lot_step"]
    if instruments[i]["contract"] == INVERSE:
        lots = mul_div_checked(base, price, instruments[i]["money_mul"], TRUNCATE)
    else:
        scale = power_of_ten(np.int64(instruments[i]["qty_scale"]))
        lots = mul_div_checked(base, scale, value, TRUNCATE)
    if lots == OVERFLOW or step <= 0:
        return OVERFLOW
    magnitude = abs(lots) // step * step
    return magnitude if lots >= 0 else -magnitude


@inline_kernel
def quote_value(instruments: Rows, i: Int, price: Int, qty: Int, rounding: Int) -> int:
    """Return lots at a price as quote currency; an inverse contract's is its face, at any price."""
    if instruments[i]["contract"] == INVERSE:
        scale = power_of_ten(np.int64(instruments[i]["qty_scale"]))
        return mul_div_checked(qty, instruments[i]["contract_value"], scale, rounding)
    return notional(instruments[i : i + 1], price, qty, rounding)


@inline_kernel
def middle(top: Rows, i: Int) -> int:
    """Return the middle of the touch in ticks, rounded down; 0 where a side is missing."""
    bid, ask = top[i]["bid"], top[i]["ask"]
    if bid <= 0 or ask <= 0 or top[i]["bid_qty"] <= 0 or top[i]["ask_qty"] <= 0:
        return 0
    return (bid + ask) >> 1
