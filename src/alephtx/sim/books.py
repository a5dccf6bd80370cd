"""The venue's own books of our accounts: lots held, and money in and out. Exact integers.

An account's money lies in pools: one of each settle currency - its cash - and one of each isolated
position. A pool counts every fill of its instruments at its whole value, so that its equity is the
pool and what is held at the mark; where nothing is held it is the wallet. Money in 10^-8 of the
settle currency; a fill's value is rounded once, half away from zero. Spot moves no cash here:
nothing is margined.

An isolated position's pool is fed by fills that open: their initial margin at the fill's price,
out of the cash, though never more than its equity is above maintenance (what Binance lets be added
to an isolated position). Fills that close give back their part of the pool with what they realised,
but a loss beyond that part stays with the pool while anything is held. Fees of our orders are the
cash's; fills of the venue's own orders, and funding, move the pool alone (Binance's ACCOUNT_UPDATE
tells an isolated position's funding with the position, for its wallet has changed).
"""

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.units import CEIL, FLOOR, MAX_VALUE, NEAREST, OVERFLOW, mul_div_checked, notional
from alephtx.core.words import INVERSE, SPOT
from alephtx.sim.bottle import (
    I1,
    I2,
    I3,
    INSTRUMENTS,
    K_OVERFLOW,
    M_POOL,
    T_MARK,
    Z_BITS,
    Z_CASH,
    Z_CLOCK,
    Z_HELD,
    Z_INSTRUMENTS,
    Z_LOTS,
    Z_MARKS,
    Z_STREAMS,
    Z_TERMS,
    Rows,
)
from alephtx.sim.levels import NO_LEVEL, Levels, levels_best
from alephtx.sim.tiers import E8, asked_at, margin_of_more


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
def move_cash(z: Rows, j: Int, account: Int, pool: Int, amount: Int) -> None:
    """Add money to a pool of an account; beyond 62 bits the run ends."""
    cash = field(z, Z_CASH, I3)
    if abs(amount) >= MAX_VALUE or abs(cash[j, account, pool] + amount) >= MAX_VALUE:
        field(z, Z_CLOCK, I1)[K_OVERFLOW] = 1
    else:
        cash[j, account, pool] += amount


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


@kernel
def value_pool(z: Rows, j: Int, account: Int, pool: Int) -> tuple[int, int, int]:
    """Return (equity, initial margin of positions, maintenance margin) of an account's pool.

    (OVERFLOW, 0, 0) where a mark is not known or a sum is beyond money.
    """
    instruments, terms = field(z, Z_INSTRUMENTS, INSTRUMENTS), field(z, Z_TERMS, I2)
    held = field(z, Z_HELD, I3)[j, account]
    initial, maintenance = 0, 0
    equity: Int = field(z, Z_CASH, I3)[j, account, pool]
    for i in range(held.shape[0]):
        other = instruments[i]["contract"] == SPOT or terms[i, M_POOL] != pool
        if held[i] == 0 or other:
            continue
        mark = mark_of(z, i)
        if mark <= 0:
            return OVERFLOW, 0, 0
        value = worth(instruments[i : i + 1], mark, held[i])
        if value == OVERFLOW:
            return OVERFLOW, 0, 0
        fraction, rate, deduction = asked_at(z, i, abs(value))
        equity += value
        initial += mul_div_checked(abs(value), fraction, E8, CEIL)
        maintenance += mul_div_checked(abs(value), rate, E8, CEIL) - deduction
    return equity, initial, maintenance


@kernel
def _settle_isolated(z: Rows, j: Int, fill: Rows, before: Int, value: Int) -> int:
    """Move margin between the cash and the pool, that has paid a fill's value, of a position.

    before: lots held before the fill. Returns what the pool lacks when the position it was of is
    closed; it is left there.
    """
    i, account, price = fill["instrument"], fill["account"], fill["price"]
    cash, pool = field(z, Z_CASH, I3)[j, account], field(z, Z_TERMS, I2)[i, M_POOL]
    instrument = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1]
    currency = np.int64(instrument[0]["settle"])
    closes = before != 0 and (before > 0) != (fill["side"] > 0)
    closed = min(abs(before), fill["qty"]) if closes else 0
    opened, lacks = fill["qty"] - closed, 0
    new = worth(instrument, price, fill["side"] * opened)
    if closed > 0:
        whole = cash[pool] + value
        kept = whole - mul_div_checked(whole, closed, abs(before), FLOOR)
        back = cash[pool] + new - kept
        if back > 0:
            move_cash(z, j, account, pool, -back)
            move_cash(z, j, account, currency, back)
        elif closed == abs(before):
            lacks = -back
    if opened > 0:
        old = abs(worth(instrument, price, before)) if closed == 0 else 0
        margin = margin_of_more(z, i, old, abs(new))
        equity, _, maintenance = value_pool(z, j, account, currency)
        if equity != OVERFLOW:
            margin = min(margin, max(equity - maintenance, 0))
        move_cash(z, j, account, currency, -margin)
        move_cash(z, j, account, pool, margin)
    return lacks


@kernel
def book_fill(z: Rows, j: Int, fill: Rows, fee: Int) -> int:
    """Book a fill, a row of FILL_ROW, and its fee.

    Returns what is missing in the pool of an isolated position that an order of ours has closed.
    """
    i, account, lots = fill["instrument"], fill["account"], fill["side"] * fill["qty"]
    instrument, held = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1], field(z, Z_HELD, I3)
    before = held[j, account, i]
    held[j, account, i] = before + lots
    if instrument[0]["contract"] == SPOT:
        return 0
    value = worth(instrument, fill["price"], lots)
    if OVERFLOW in (value, fee):
        field(z, Z_CLOCK, I1)[K_OVERFLOW] = 1
        return 0
    currency = np.int64(instrument[0]["settle"])
    pool = field(z, Z_TERMS, I2)[i, M_POOL]
    if pool == currency or fill["order_id"] == 0:
        move_cash(z, j, account, pool, -value - fee)
        return 0
    move_cash(z, j, account, currency, -fee)
    move_cash(z, j, account, pool, -value)
    return _settle_isolated(z, j, fill, before, value)
