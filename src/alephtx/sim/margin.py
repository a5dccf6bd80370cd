"""What a venue does with our money by itself: funding, margin, liquidation. Cross and isolated.

An account is one pool per settle currency, and one per isolated position: equity is a pool and what
is held on it at the mark, see `sim.books`. Each instrument has an initial fraction (1 / leverage),
that positions and open orders take of equity, and a maintenance fraction, below which the venue
acts: it takes the pool's orders off, closes what it holds by market orders of its own and asks a
fee for it; what is then missing its insurance pays. Both may come in tiers, see `sim.tiers`. Open
orders are carried by the cash, isolated or not. A pool whose marks are not all known is left alone.

Reports are those of live venues: funding is FUNDING_PAID, forced fills are FILL rows without an
order of ours, flagged FOREIGN, the fee and the insurance are MONEY_MOVED.
"""

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.units import CEIL, MAX_VALUE, NEAREST, OVERFLOW, mul_div_checked, notional
from alephtx.core.words import (
    CANCEL_ACK,
    CANCELED,
    FUNDING_PAID,
    IOC,
    MARKET,
    MONEY_INSURANCE,
    MONEY_LIQUIDATION,
    MONEY_MOVED,
    REASON_OTHER,
    SPOT,
)
from alephtx.sim.books import mark_of, move_cash, value_pool, worth
from alephtx.sim.bottle import (
    FILLS,
    I1,
    I2,
    I3,
    INSTRUMENTS,
    K_GROW,
    K_OVERFLOW,
    M_LIQUIDATION,
    M_POOL,
    M_TIERS,
    ODD_BLIND,
    ODD_STATUS,
    ONE_ORDER,
    T_FUND_AT,
    T_ODD,
    T_RATE,
    Z_CASH,
    Z_CLOCK,
    Z_FILLS,
    Z_HELD,
    Z_INSTRUMENTS,
    Z_ORDER,
    Z_STREAMS,
    Z_TERMS,
    Rows,
)
from alephtx.sim.lane import exchange_of, note_reach, say_fills, say_money, take_all_off
from alephtx.sim.matching import place
from alephtx.sim.state import STP_NONE, Exchange, side_index
from alephtx.sim.stops import take_stops_off
from alephtx.sim.tiers import E8, margin_of_more

RATE_UNIT = 10**12
MS = 1_000_000
SPAN_MS = 5_000
"""Venues number no funding payment; as live, its id is minus the five seconds it was paid in."""


@kernel
def pay_funding(z: Rows, i: Int) -> None:
    """Pay what the rate of an instrument asks of every position: longs pay shorts where it is > 0.

    The amount is rounded half away from zero, like a fill's value.
    """
    stream, held = field(z, Z_STREAMS, I2)[i], field(z, Z_HELD, I3)
    instrument = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1]
    at, mark = stream[T_FUND_AT], mark_of(z, i)
    stream[T_FUND_AT] = 0
    if mark <= 0 or instrument[0]["contract"] == SPOT:
        return
    for j in range(held.shape[0]):
        for account in range(held.shape[1]):
            if held[j, account, i] == 0:
                continue
            value = notional(instrument, mark, held[j, account, i], NEAREST)
            amount = OVERFLOW
            if value != OVERFLOW:
                amount = mul_div_checked(value, -stream[T_RATE], RATE_UNIT, NEAREST)
            if amount == OVERFLOW:
                field(z, Z_CLOCK, I1)[K_OVERFLOW] = 1
                return
            say_money(z, j, i, account, FUNDING_PAID, 0, -(at // MS // SPAN_MS), amount)


@kernel
def _resting(x: Exchange, i: int, s: int, account: int, instrument: Rows) -> int:
    """Return the value of an account's orders on one side."""
    total = 0
    for k in range(x.live[i, s]):
        order = x.orders[i, s, k]
        if order["account"] == account:
            value = notional(instrument, order["price"], order["qty"], CEIL)
            total = min(total + value, MAX_VALUE - 1)
    return total


@kernel
def margin_of_orders(z: Rows, x: Exchange, account: Int, currency: Int, j: Int) -> int:
    """Return what open orders may add to the initial margin: per instrument the worse side."""
    instruments, terms = field(z, Z_INSTRUMENTS, INSTRUMENTS), field(z, Z_TERMS, I2)
    held, cash = field(z, Z_HELD, I3)[j, account], field(z, Z_CASH, I3)[j, account]
    total = 0
    for i in range(held.shape[0]):
        if x.live[i, 0] + x.live[i, 1] == 0 or instruments[i]["settle"] != currency:
            continue
        instrument, mark, most = instruments[i : i + 1], mark_of(z, i), 0
        now = notional(instrument, mark, held[i], NEAREST) if mark > 0 else 0
        pool = terms[i, M_POOL]
        for s in range(2):
            after = now + (1 - 2 * s) * _resting(x, i, s, account, instrument)
            if pool != currency and ((now > 0 and after < 0) or (now < 0 and after > 0)):
                back = max(cash[pool] + worth(instrument, mark, held[i]), 0)
                most = max(most, margin_of_more(z, i, 0, abs(after)) - back)
            else:
                more = max(abs(after) - abs(now), 0)
                most = max(most, margin_of_more(z, i, abs(now), more))
        total += most
    return total


@kernel
def lacks_margin(z: Rows, j: Int, x: Exchange, order: Rows) -> bool:
    """Say whether an account cannot carry an order, SIM_ORDER (1,): as a venue asks it.

    An isolated position that an order turns around gives back first what it holds at the order's
    price; then all that is opened is asked for.
    """
    i, account, side = order[0]["instrument"], order[0]["account"], order[0]["side"]
    instrument, terms = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1], field(z, Z_TERMS, I2)[i]
    if instrument[0]["contract"] == SPOT:
        return False
    currency = np.int64(instrument[0]["settle"])
    held = field(z, Z_HELD, I3)[j, account, i]
    after = held + side * order[0]["qty"]
    turned = terms[M_POOL] != currency and ((held > 0 and after < 0) or (held < 0 and after > 0))
    before, back = 0 if turned else abs(held), 0
    if abs(after) <= before:
        return False
    price = order[0]["price"] if order[0]["type"] != MARKET else mark_of(z, i)
    equity, initial, _ = value_pool(z, j, account, currency)
    if price <= 0 or equity == OVERFLOW:
        return True
    more, there = notional(instrument, price, abs(after) - before, CEIL), 0
    if terms[M_TIERS] > 0:  # orders that rest on this side may have lifted it to a higher tier
        there = notional(instrument, price, before, CEIL)
        if there != OVERFLOW:
            resting = _resting(x, i, side_index(side), account, instrument)
            there = min(there + resting, MAX_VALUE - 1)
    value = worth(instrument, price, held)
    if OVERFLOW in (more, there, value):
        return True
    if turned:
        back = max(field(z, Z_CASH, I3)[j, account, terms[M_POOL]] + value, 0)
    need = margin_of_more(z, i, there, more) - back
    return bool(need > equity - initial - margin_of_orders(z, x, account, currency, j))


@kernel
def _close(z: Rows, j: Int, account: Int, i: Int) -> None:
    """Close a position by a market order of the venue's own, as far as the book goes."""
    held, order = field(z, Z_HELD, I3)[j, account], field(z, Z_ORDER, ONE_ORDER)
    if field(z, Z_STREAMS, I2)[i, T_ODD] & (ODD_BLIND | ODD_STATUS) != 0:
        return  # nothing can be traded now
    fills, x = field(z, Z_FILLS, FILLS), exchange_of(z, j)
    instrument = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1]
    order[0]["instrument"], order[0]["account"], order[0]["order_id"] = i, account, 0
    order[0]["side"] = -1 if held[i] > 0 else 1
    order[0]["price"], order[0]["qty"], order[0]["whole"] = 0, abs(held[i]), abs(held[i])
    order[0]["type"], order[0]["tif"], order[0]["flags"] = MARKET, IOC, 0
    order[0]["stp"], order[0]["expires_ns"] = STP_NONE, 0
    n, paid = place(x, order, fills), 0
    rate = field(z, Z_TERMS, I2)[i, M_LIQUIDATION]
    for k in range(n):
        if fills[k]["order_id"] == 0:
            value = abs(worth(instrument, fills[k]["price"], fills[k]["qty"]))
            paid += mul_div_checked(value, rate, E8, CEIL)
    say_fills(z, j, max(n, 0))
    note_reach(z, j, i)
    if paid > 0:
        say_money(z, j, i, account, MONEY_MOVED, MONEY_LIQUIDATION, 0, -paid)


@kernel
def _liquidate(z: Rows, j: Int, account: Int, pool: Int) -> None:
    """Take off the orders that a pool carries, close its positions, make good what is missing.

    Orders of isolated positions are carried by the cash too. What is left of an isolated pool goes
    back to the cash.
    """
    instruments, held = field(z, Z_INSTRUMENTS, INSTRUMENTS), field(z, Z_HELD, I3)[j, account]
    terms, last, left = field(z, Z_TERMS, I2), -1, 0
    for i in range(held.shape[0]):
        if instruments[i]["contract"] == SPOT:
            continue
        if instruments[i]["settle"] == pool or terms[i, M_POOL] == pool:
            take_all_off(z, j, i, account, CANCEL_ACK, CANCELED, REASON_OTHER)
            take_stops_off(z, j, i, account, CANCEL_ACK, CANCELED, REASON_OTHER)
            note_reach(z, j, i)
    for i in range(held.shape[0]):
        if instruments[i]["contract"] != SPOT and terms[i, M_POOL] == pool:
            if held[i] != 0:
                _close(z, j, account, i)
            left += abs(held[i])
            last = i
    rest: Int = field(z, Z_CASH, I3)[j, account, pool]
    if left == 0 and rest < 0:
        say_money(z, j, last, account, MONEY_MOVED, MONEY_INSURANCE, 0, -rest)
    elif left == 0:
        move_cash(z, j, account, pool, -rest)
        move_cash(z, j, account, np.int64(instruments[last]["settle"]), rest)


@kernel
def look_at_margins(z: Rows) -> int:
    """Liquidate every pool that has less than its maintenance margin.

    Returns 1 when it must be called again, as soon as there is room for reports.
    """
    cash = field(z, Z_CASH, I3)
    for j in range(cash.shape[0]):
        for account in range(cash.shape[1]):
            for pool in range(cash.shape[2]):
                equity, _, maintenance = value_pool(z, j, account, pool)
                if maintenance > 0 and equity != OVERFLOW and equity < maintenance:
                    if field(z, Z_CLOCK, I1)[K_GROW] != 0:
                        return 1
                    _liquidate(z, j, account, pool)
    return 0
