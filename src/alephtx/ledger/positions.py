"""Positions at average cost, compiled; for the gate, the strategies and the backtest.

Linear contracts and spot: cost is exact ticks x lots, signed like qty. A close takes its share of
the cost, rounded once to a whole unit (half away from zero), and the rest stays in the position; so
whatever was rounded comes back with the last lot, and a round trip realizes exactly what was paid
and received. The gain is turned into money by flooring the total, never each fill: what is below
10^-MONEY_SCALE waits in `carry` (in units of 1 / money_div), so money does not drift either.

Inverse contracts: value is a division, so each fill's value in the coin is rounded once (half away
from zero), and from there on all is exact. cost is that value, signed like qty; carry stays 0.

A fill through zero is a close and an open. `ledger.book` does the same slowly, in Python integers.
"""

from alephtx.core.atomics import multiply_wide
from alephtx.core.kernel import kernel
from alephtx.core.ports import Rows
from alephtx.core.units import FLOOR, MAX_VALUE, NEAREST, OVERFLOW, mul_div_checked

INVERSE = 3


@kernel
def fill_value(instrument: Rows, price: int, qty: int) -> int:
    """Return what signed lots at a price add to cost: ticks x lots, or coin money if inverse.

    instrument: INSTRUMENT (1,). OVERFLOW when it does not fit, or an inverse price is not positive.
    """
    if instrument[0]["contract"] == INVERSE:
        return mul_div_checked(qty, instrument[0]["money_mul"], price, NEAREST)
    return mul_div_checked(price, qty, 1, FLOOR)


@kernel
def remainder(a: int, b: int, quotient: int, c: int) -> int:
    """Return a * b - quotient * c where 0 <= that < c, from the low words alone."""
    _, low = multiply_wide(a, b)
    _, taken = multiply_wide(quotient, c)
    rest = low - taken
    if rest < 0:  # only un-jitted, where words do not wrap
        for _ in range(4):
            rest += 1 << 62
    return rest


@kernel
def position_fill(
    position: Rows, instrument: Rows, side: int, price: int, qty: int, out: Rows
) -> int:
    """Apply a fill of qty lots at price ticks; 0, or -1 and nothing changed.

    position: POSITION (1,); instrument: INSTRUMENT (1,); side +1 bought, -1 sold; out: int64 (1,),
    the money this fill realized before fees. -1: a sum beyond 62 bits, qty below 1, no such side,
    or an inverse price that is not positive. About 25 ns.
    """
    out[0] = 0
    if qty < 1 or qty >= MAX_VALUE or abs(side) != 1:
        return -1
    row = position[0]
    held, cost, carry = row["qty"], row["cost"], row["carry"]
    closed = min(qty, abs(held)) if held * side < 0 else 0
    money = 0
    if closed != 0:
        removed = cost
        if closed != abs(held):
            removed = mul_div_checked(cost, closed, abs(held), NEAREST)
        value = fill_value(instrument, price, -side * closed)
        if OVERFLOW in (removed, value):
            return -1
        gain = value - removed
        if abs(gain) >= MAX_VALUE:
            return -1
        if instrument[0]["contract"] == INVERSE:
            money = -gain  # more coin for the same contracts is a lower price
        else:
            mul, div = instrument[0]["money_mul"], instrument[0]["money_div"]
            money = mul_div_checked(gain, mul, div, FLOOR)
            if money == OVERFLOW:
                return -1
            carry += remainder(gain, mul, money, div)
            if carry >= div:
                carry -= div
                money += 1
        cost -= removed
        held += side * closed
    if qty != closed:
        value = fill_value(instrument, price, side * (qty - closed))
        if value == OVERFLOW:
            return -1
        cost += value
        held += side * (qty - closed)
    total = row["realized"] + money
    traded = (row["bought"] if side > 0 else row["sold"]) + qty
    if max(abs(cost), abs(held), abs(total), traded) >= MAX_VALUE:
        return -1
    row["qty"], row["cost"], row["carry"], row["realized"] = held, cost, carry, total
    if side > 0:
        row["bought"] = traded
    else:
        row["sold"] = traded
    row["fills"] += 1
    out[0] = money
    return 0
