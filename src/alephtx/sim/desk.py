"""The long way of an order: amendments, good-till-date, reduce-only, and a venue's own rules.

What a venue refuses, in this order: it does not trade (NOT_TRADING); the order breaks a filter of
its instrument (FILTER: grid, size, value, band around the middle); it only reduces and there is
nothing to reduce (REDUCE_ONLY; what is too large is made smaller, and said so); the account cannot
carry it (INSUFFICIENT).

An AMEND states the whole quantity wanted and a price (0: as it was). A smaller quantity at the same
price keeps its place; anything else is a new order under the old id. One that leaves nothing, or a
post-only one that would take, ends the order. Behind a gap the book is not known: what may rest
rests unmatched until the next image, the rest is not filled.
"""

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.units import CEIL, OVERFLOW, mul_div_checked, notional, price_grid
from alephtx.core.words import (
    ACK,
    AMEND,
    CANCEL,
    CANCEL_ACK,
    CANCEL_ALL,
    CANCEL_REJECT,
    CANCELED,
    EXPIRE,
    EXPIRED,
    GTC,
    GTD,
    MAINTENANCE,
    MARKET,
    NEW,
    PLACE,
    REASON_FILTER,
    REASON_INSUFFICIENT,
    REASON_NOT_FILLED,
    REASON_NOT_TRADING,
    REASON_OTHER,
    REASON_REDUCE_ONLY,
    REASON_UNKNOWN_ORDER,
    REASON_WOULD_CROSS,
    REDUCE_ONLY,
    REJECT,
    REJECTED,
    STOP,
    TRADING,
)
from alephtx.sim.activation import acts_later
from alephtx.sim.books import mark_of
from alephtx.sim.bottle import (
    FILLS,
    I1,
    I2,
    I3,
    INSTRUMENTS,
    K_MARK_NS,
    KEEPS_SMALLER,
    M_AMEND,
    M_BAND,
    M_FILTERS,
    ODD_BLIND,
    ODD_STOPS,
    ONE_ORDER,
    REACH_BEST,
    REACH_WORST,
    T_ODD,
    T_STATUS,
    Z_CLOCK,
    Z_FILLS,
    Z_HELD,
    Z_INSTRUMENTS,
    Z_ORDER,
    Z_REACH,
    Z_STREAMS,
    Z_TERMS,
    Rows,
)
from alephtx.sim.lane import (
    cancel_order,
    enter_order,
    exchange_of,
    note_reach,
    say,
    say_fills,
    say_replaced,
    take_all_off,
)
from alephtx.sim.margin import lacks_margin
from alephtx.sim.matching import place, rest
from alephtx.sim.state import FAR, WOULD_CROSS, Exchange, find, remove, side_index
from alephtx.sim.stops import add_stop, cancel_stop, stop_at, take_stops_off, wake_venue

E8 = 100_000_000


@kernel
def hide_orders(z: Rows, i: Int) -> None:
    """Behind a gap: let no row of the market find orders of ours."""
    reach = field(z, Z_REACH, I3)[i]
    for s in range(2):
        reach[s, REACH_WORST], reach[s, REACH_BEST] = FAR, -FAR


@kernel
def _filtered(z: Rows, order: Rows) -> bool:
    """Say whether an order breaks a filter of its instrument."""
    i, price, qty = order[0]["instrument"], order[0]["price"], order[0]["qty"]
    instrument, terms = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1], field(z, Z_TERMS, I2)[i]
    if terms[M_FILTERS] == 0:
        return False
    row, middle = instrument[0], mark_of(z, i)
    if qty < row["qty_min"] or (0 < row["qty_max"] < qty) or qty % max(row["lot_step"], 1) != 0:
        return True
    if order[0]["type"] != MARKET:
        if price < row["price_min"] or 0 < row["price_max"] < price:
            return True
        if price <= 0 or price % price_grid(instrument, price) != 0:
            return True
        if terms[M_BAND] > 0 and middle > 0:
            band = mul_div_checked(middle, terms[M_BAND], E8, CEIL)
            if abs(price - middle) > band:
                return True
    else:
        price = middle
    if order[0]["flags"] & REDUCE_ONLY or row["notional_min"] <= 0 or price <= 0:
        return False
    value = notional(instrument, price, qty, CEIL)
    return bool(value == OVERFLOW or value < row["notional_min"])


@kernel
def refusal(z: Rows, j: Int, x: Exchange, order: Rows) -> int:
    """Return why a venue refuses an order, 0 when it does not; caps what only reduces."""
    i, account = order[0]["instrument"], order[0]["account"]
    status = field(z, Z_STREAMS, I2)[i, T_STATUS]
    if status not in (0, TRADING):
        return REASON_NOT_TRADING
    if _filtered(z, order):
        return REASON_FILTER
    if order[0]["flags"] & REDUCE_ONLY:
        held = field(z, Z_HELD, I3)[j, account, i]
        if held * order[0]["side"] >= 0:
            return REASON_REDUCE_ONLY
        order[0]["qty"] = min(order[0]["qty"], abs(held))
    elif field(z, Z_CLOCK, I1)[K_MARK_NS] != 0 and lacks_margin(z, j, x, order):
        return REASON_INSUFFICIENT
    return 0


@kernel
def _enter_blind(z: Rows, j: Int, x: Exchange, order: Rows) -> None:
    """Take an order behind a gap: it rests unmatched, or is not filled."""
    i, s = order[0]["instrument"], side_index(order[0]["side"])
    full = x.live[i, s] == x.orders.shape[2]
    if order[0]["qty"] <= 0 or (order[0]["type"] != MARKET and order[0]["price"] <= 0) or full:
        say(z, j, order, REJECT, REJECTED, REASON_OTHER)
        return
    say(z, j, order, ACK, NEW, 0)
    if order[0]["type"] != MARKET and order[0]["tif"] in (GTC, GTD):
        rest(x, order, i, s)
    else:
        say(z, j, order, EXPIRE, EXPIRED, REASON_NOT_FILLED)


@kernel
def _place(z: Rows, j: Int, x: Exchange, order: Rows, intent: Rows) -> None:
    i, wanted = order[0]["instrument"], order[0]["qty"]
    order[0]["resting"] = 0
    if order[0]["tif"] == GTD:
        order[0]["expires_ns"] = intent[0]["expires_ns"]
    reason = refusal(z, j, x, order)
    if reason != 0:
        say(z, j, order, REJECT, REJECTED, reason)
        return
    allowed, order[0]["qty"] = order[0]["qty"], wanted
    if acts_later(z, j, x, order):
        return
    order[0]["qty"] = order[0]["whole"] = allowed
    if field(z, Z_STREAMS, I2)[i, T_ODD] & ODD_BLIND != 0:
        _enter_blind(z, j, x, order)
    else:
        enter_order(z, j, x, order)
    if order[0]["whole"] < wanted:
        say_capped(z, j, order)
    if order[0]["resting"] != 0 and order[0]["expires_ns"] > 0:
        wake_venue(z, order[0]["expires_ns"])


@kernel
def say_capped(z: Rows, j: Int, order: Rows) -> None:
    """Report that an order that only reduces was made smaller; nothing of the rest stays open."""
    if order[0]["type"] != MARKET and order[0]["tif"] in (GTC, GTD):
        say_replaced(z, j, order)
    elif order[0]["qty"] == 0:
        say(z, j, order, EXPIRE, EXPIRED, REASON_REDUCE_ONLY)


@kernel
def _amend(z: Rows, j: Int, x: Exchange, order: Rows, intent: Rows) -> None:
    i, blind = order[0]["instrument"], field(z, Z_STREAMS, I2)[order[0]["instrument"], T_ODD]
    order[0]["order_id"] = intent[0]["target_order_id"]
    s, k = find(x, i, order[0]["order_id"])
    if k < 0:
        waits = blind & ODD_STOPS != 0 and stop_at(z, j, i, order[0]["order_id"]) >= 0
        say(z, j, order, CANCEL_REJECT, 0, REASON_OTHER if waits else REASON_UNKNOWN_ORDER)
        return
    order[0] = x.orders[i, s, k]
    left, price = order[0]["qty"], order[0]["price"]
    whole = intent[0]["qty"] if intent[0]["qty"] > 0 else order[0]["whole"]
    order[0]["qty"] = whole - (order[0]["whole"] - left)
    order[0]["price"] = intent[0]["price"] if intent[0]["price"] > 0 else price
    if order[0]["qty"] <= 0:
        remove(x, i, s, k)
        say(z, j, order, CANCEL_ACK, CANCELED, 0)
        return
    x.orders[i, s, k]["qty"] = 0  # what it takes now is no burden to what it shall be
    asked = order[0]["qty"]
    reason = refusal(z, j, x, order)
    x.orders[i, s, k]["qty"] = left
    if reason != 0:
        say(z, j, order, CANCEL_REJECT, 0, reason)
        return
    order[0]["whole"] = whole - (asked - order[0]["qty"])
    keeps = field(z, Z_TERMS, I2)[i, M_AMEND] == KEEPS_SMALLER
    if keeps and order[0]["price"] == price and order[0]["qty"] <= left:
        x.orders[i, s, k]["qty"], x.orders[i, s, k]["whole"] = order[0]["qty"], order[0]["whole"]
        say_replaced(z, j, order)
        return
    remove(x, i, s, k)
    if blind & ODD_BLIND != 0:
        rest(x, order, i, s)
        say_replaced(z, j, order)
        return
    n = place(x, order, field(z, Z_FILLS, FILLS))
    if n == WOULD_CROSS:
        say(z, j, order, EXPIRE, EXPIRED, REASON_WOULD_CROSS)
        return
    say_replaced(z, j, order)
    say_fills(z, j, max(n, 0))


@kernel
def arrive_odd(z: Rows, j: Int, i: Int, intent: Rows) -> None:
    """Let what `arrivals.arrive` has put into the scratch order reach the venue the long way."""
    order, x = field(z, Z_ORDER, ONE_ORDER), exchange_of(z, j)
    stream = field(z, Z_STREAMS, I2)[i]
    op = np.int64(intent[0]["op"])
    closed = stream[T_STATUS] == MAINTENANCE
    if op == PLACE and order[0]["type"] == STOP:
        until: Int = intent[0]["expires_ns"] if order[0]["tif"] == GTD else 0
        add_stop(z, j, order, intent[0]["trigger"], until)
    elif op == PLACE:
        _place(z, j, x, order, intent)
    elif op == AMEND:
        _amend(z, j, x, order, intent)
    elif op == CANCEL and closed:
        order[0]["order_id"] = intent[0]["target_order_id"]
        say(z, j, order, CANCEL_REJECT, 0, REASON_NOT_TRADING)
    elif op == CANCEL:
        target: Int = intent[0]["target_order_id"]
        if stream[T_ODD] & ODD_STOPS == 0 or not cancel_stop(z, j, i, target):
            cancel_order(z, j, x, order, target)
    elif op == CANCEL_ALL and not closed:
        account: Int = order[0]["account"]
        take_all_off(z, j, i, account, CANCEL_ACK, CANCELED, 0)
        take_stops_off(z, j, i, account, CANCEL_ACK, CANCELED, 0)
    note_reach(z, j, i)
    if stream[T_ODD] & ODD_BLIND != 0:
        hide_orders(z, i)
