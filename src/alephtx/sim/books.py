"""The venue's own books of our accounts: lots held, and money in and out. Exact integers.

cash counts every fill at its whole value, so that equity is cash plus what is held at the mark; for
an account that holds nothing it is the wallet. Money in 10^-8 of the settle currency; a fill's
value is rounded once, half away from zero. Spot moves no cash here: nothing is margined.
"""

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.units import MAX_VALUE, NEAREST, OVERFLOW, notional
from alephtx.core.words import INVERSE, SPOT
from alephtx.sim.bottle import (
    I1,
    I2,
    I3,
    INSTRUMENTS,
    K_OVERFLOW,
    T_MARK,
    Z_BITS,
    Z_CASH,
    Z_CLOCK,
    Z_HELD,
    Z_INSTRUMENTS,
    Z_LOTS,
    Z_MARKS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.levels import NO_LEVEL, Levels, levels_best


@kernel
def worth(instrument: Rows, price: Int, lots: Int) -> int:
    """Return what signed lots at a price add to equity, or OVERFLOW. instrument: INSTRUMENT (1,).

    Linear: price x lots. Inverse: minus the coin's value, which a long contract owes.
    """
    value = notional(instrument, price, lots, NEAREST)
    if value == OVERFLOW or instrument[0]["contract"] != INVERSE:
        return value
    return -value


@kernel
def move_cash(z: Rows, j: Int, account: Int, currency: Int, amount: Int) -> None:
    """Add money to an account; beyond 62 bits the run ends."""
    cash = field(z, Z_CASH, I3)
    if abs(amount) >= MAX_VALUE or abs(cash[j, account, currency] + amount) >= MAX_VALUE:
        field(z, Z_CLOCK, I1)[K_OVERFLOW] = 1
    else:
        cash[j, account, currency] += amount


@kernel
def book_fill(z: Rows, j: Int, fill: Rows, fee: Int) -> None:
    """Book a fill, a row of FILL_ROW, and its fee."""
    i, account, lots = fill["instrument"], fill["account"], fill["side"] * fill["qty"]
    instrument = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1]
    field(z, Z_HELD, I3)[j, account, i] += lots
    if instrument[0]["contract"] == SPOT:
        return
    value = worth(instrument, fill["price"], lots)
    if OVERFLOW in (value, fee):
        field(z, Z_CLOCK, I1)[K_OVERFLOW] = 1
        return
    currency: Int = instrument[0]["settle"]
    move_cash(z, j, account, currency, -value - fee)


@kernel
def mark_of(z: Rows, i: Int) -> int:
    """Return the mark in ticks: the venue's, else the middle of the recorded book; 0 for none."""
    stream = field(z, Z_STREAMS, I2)[i]
    if stream[T_MARK] > 0:
        return stream[T_MARK]
    levels = Levels(field(z, Z_LOTS, I3), field(z, Z_BITS, I3), field(z, Z_MARKS, I3))
    bid, ask = levels_best(levels, i, 0), -levels_best(levels, i, 1)
    if bid == NO_LEVEL or ask == -NO_LEVEL:
        return 0
    return (bid + ask) // 2
