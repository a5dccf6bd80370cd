"""Orders that wait at the venue apart from the book: STOP orders for their trigger, others to act.

A stop is an order with a trigger. It waits until the venue has seen a trade, or a mark where
`Venue.stop_trigger` says so, at or beyond it: a buy at or above, a sell at or below. Nothing of it
is in the book, nothing is asked for it: margin, position and filters are looked at when it
triggers. What would trigger at once is refused (WOULD_TRIGGER,
Binance -2021). It cannot be amended. Behind a gap and while there is no trading nothing triggers.

An order that is not a stop waits here where the venue lets orders act some time after they came
(`sim.activation`): its trigger is that time, below zero.

A row of the market only notes which stops are triggered. They enter the book in `sim.triggers`
when the venue next acts, at the same time and after all rows of that time, in the order in which
they had come.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.units import price_grid
from alephtx.core.words import (
    ACK,
    CANCEL_ACK,
    CANCELED,
    EXPIRE,
    EXPIRED,
    NEW,
    REASON_FILTER,
    REASON_NOT_TRADING,
    REASON_OTHER,
    REASON_WOULD_TRIGGER,
    REJECT,
    REJECTED,
    TICK_LOCAL,
    TRADE,
    TRADING,
)
from alephtx.sim.bottle import (
    EVENTS,
    I1,
    I2,
    I3,
    INSTRUMENTS,
    K_DUE,
    K_NOW,
    K_TIMER,
    LANE_STOPS,
    M_FILTERS,
    M_TRIGGER,
    ODD_BLIND,
    ODD_STATUS,
    ODD_STOPS,
    ONE_ORDER,
    T_BASE,
    T_MARK,
    T_NEXT,
    T_ODD,
    T_STATUS,
    T_UNIT,
    T_WIDE,
    TICKS,
    TRIGGER_LAST,
    TRIGGER_MARK,
    Z_CLOCK,
    Z_INSTRUMENTS,
    Z_ORDER,
    Z_ROWS,
    Z_STOP_AT,
    Z_STOP_COUNT,
    Z_STOPS,
    Z_STREAMS,
    Z_TERMS,
    Rows,
)
from alephtx.sim.lane import say

TRIGGERED = 0
"""Trigger of a stop that has met it and enters the book next."""


@kernel
def wake_venue(z: Rows, at: Int) -> None:
    """Have the venue act at a time, if not before."""
    clock = field(z, Z_CLOCK, I1)
    clock[K_DUE] = min(clock[K_DUE], max(at, clock[K_NOW]))
    clock[K_TIMER] = min(clock[K_TIMER], clock[K_DUE])


@kernel
def _last_trade(z: Rows, rows: Rows, i: Int) -> int:
    """Return the price of the last print that the venue has seen, 0 without one.

    Looked up in the rows behind, so that prints need not be noted: stops are rarer than they.
    """
    stream = field(z, Z_STREAMS, I2)[i]
    k = stream[T_NEXT] - 1
    while k >= 0:
        row = rows[k]
        if np.int64(row["kind"]) == TRADE and np.int64(row["flags"]) & TICK_LOCAL == 0:
            price: Int = stream[T_BASE] + np.int64(row["price"]) * stream[T_UNIT]
            return price
        k -= 1
    return 0


@kernel
def _reference(z: Rows, i: Int) -> int:
    """Return the price that triggers are held against now, 0 where there was none yet."""
    stream, terms = field(z, Z_STREAMS, I2)[i], field(z, Z_TERMS, I2)[i]
    if terms[M_TRIGGER] == TRIGGER_MARK:
        return stream[T_MARK]
    if stream[T_WIDE] != 0:
        return _last_trade(z, field(z, Z_ROWS + i, EVENTS), i)
    return _last_trade(z, field(z, Z_ROWS + i, TICKS), i)


@kernel
def remove_stop(z: Rows, j: Int, i: Int, k: Int) -> None:
    """Take the k-th waiting stop of a lane off, keeping the others in place."""
    stops, triggers = field(z, Z_STOPS, LANE_STOPS)[j, i], field(z, Z_STOP_AT, I3)[j, i]
    counts = field(z, Z_STOP_COUNT, I2)
    n = counts[j, i] - 1
    for m in range(k, n):
        stops[m] = stops[m + 1]
        triggers[m] = triggers[m + 1]
    counts[j, i] = n
    for lane in range(counts.shape[0]):
        if counts[lane, i] != 0:
            return
    field(z, Z_STREAMS, I2)[i, T_ODD] &= ~ODD_STOPS


@kernel
def _refusal(z: Rows, i: Int, order: Rows, trigger: Int) -> int:
    """Return why a venue does not take a stop, 0 when it does."""
    if field(z, Z_STREAMS, I2)[i, T_STATUS] not in (0, TRADING):
        return REASON_NOT_TRADING
    instrument = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i : i + 1]
    if order[0]["qty"] <= 0 or trigger <= 0 or order[0]["price"] < 0:
        return REASON_OTHER
    if field(z, Z_TERMS, I2)[i, M_FILTERS] != 0 and trigger % price_grid(instrument, trigger) != 0:
        return REASON_FILTER
    now = _reference(z, i)
    if now > 0 and (now - trigger) * order[0]["side"] >= 0:
        return REASON_WOULD_TRIGGER
    return 0


@inline_kernel
def has_room(z: Rows, j: Int, i: Int) -> bool:
    """Say whether one more order of a lane can wait."""
    stops = field(z, Z_STOPS, LANE_STOPS)
    return bool(field(z, Z_STOP_COUNT, I2)[j, i] < stops.shape[2])


@kernel
def keep_waiting(z: Rows, j: Int, order: Rows, trigger: Int, expires_ns: Int) -> None:
    """Let an order of a lane wait, there being room, and acknowledge it.

    trigger: a price, or a time in ns below zero.
    """
    i, counts = order[0]["instrument"], field(z, Z_STOP_COUNT, I2)
    say(z, j, order, ACK, NEW, 0)
    order[0]["expires_ns"] = expires_ns
    k = counts[j, i]
    field(z, Z_STOPS, LANE_STOPS)[j, i, k] = order[0]
    field(z, Z_STOP_AT, I3)[j, i, k] = trigger
    counts[j, i] = k + 1
    field(z, Z_STREAMS, I2)[i, T_ODD] |= ODD_STOPS
    if expires_ns > 0:
        wake_venue(z, expires_ns)
    if trigger < 0:
        wake_venue(z, -trigger)


@kernel
def add_stop(z: Rows, j: Int, order: Rows, trigger: Int, expires_ns: Int) -> None:
    """Let a stop of a lane, SIM_ORDER (1,), wait for its trigger, and report what came of it.

    expires_ns: of GTD, 0 for none.
    """
    i = order[0]["instrument"]
    reason = _refusal(z, i, order, trigger)
    if reason == 0 and not has_room(z, j, i):
        reason = REASON_OTHER
    if reason != 0:
        say(z, j, order, REJECT, REJECTED, reason)
        return
    keep_waiting(z, j, order, trigger, expires_ns)


@kernel
def stop_at(z: Rows, j: Int, i: Int, order_id: Int) -> int:
    """Return the place of a waiting stop, -1 when there is none of that id."""
    stops = field(z, Z_STOPS, LANE_STOPS)[j, i]
    for k in range(field(z, Z_STOP_COUNT, I2)[j, i]):
        if stops[k]["order_id"] == order_id:
            return k
    return -1


@kernel
def cancel_stop(z: Rows, j: Int, i: Int, order_id: Int) -> bool:
    """Take a waiting stop off and report it; False when there is none of that id."""
    order, k = field(z, Z_ORDER, ONE_ORDER), stop_at(z, j, i, order_id)
    if k < 0:
        return False
    order[0] = field(z, Z_STOPS, LANE_STOPS)[j, i, k]
    remove_stop(z, j, i, k)
    say(z, j, order, CANCEL_ACK, CANCELED, 0)
    return True


@kernel
def take_stops_off(
    z: Rows, j: Int, i: Int, account: Int, kind: Int, status: Int, reason: Int
) -> None:
    """Take every waiting stop of an account (-1: all) off, in the order they came."""
    stops, order = field(z, Z_STOPS, LANE_STOPS)[j, i], field(z, Z_ORDER, ONE_ORDER)
    k = 0
    while k < field(z, Z_STOP_COUNT, I2)[j, i]:
        if account >= 0 and stops[k]["account"] != account:
            k += 1
            continue
        order[0] = stops[k]
        remove_stop(z, j, i, k)
        say(z, j, order, kind, status, reason)


@kernel
def expire_stops(z: Rows, j: Int, i: Int, now: Int) -> None:
    """Take off the waiting stops of a lane that are due; those that have triggered stay."""
    stops, order = field(z, Z_STOPS, LANE_STOPS)[j, i], field(z, Z_ORDER, ONE_ORDER)
    triggers, k = field(z, Z_STOP_AT, I3)[j, i], 0
    while k < field(z, Z_STOP_COUNT, I2)[j, i]:
        if triggers[k] == TRIGGERED or not 0 < stops[k]["expires_ns"] <= now:
            k += 1
            continue
        order[0] = stops[k]
        remove_stop(z, j, i, k)
        say(z, j, order, EXPIRE, EXPIRED, REASON_OTHER)


@kernel
def _note(z: Rows, i: Int, price: Int) -> int:
    """Note which stops a price triggers; returns 1 if any, so that the loop looks what is next."""
    stops, triggers = field(z, Z_STOPS, LANE_STOPS), field(z, Z_STOP_AT, I3)
    counts, found = field(z, Z_STOP_COUNT, I2), 0
    if field(z, Z_STREAMS, I2)[i, T_ODD] & (ODD_BLIND | ODD_STATUS) != 0:
        return 0
    for j in range(counts.shape[0]):
        for k in range(counts[j, i]):
            trigger = triggers[j, i, k]
            if trigger > TRIGGERED and (price - trigger) * stops[j, i, k]["side"] >= 0:
                triggers[j, i, k] = TRIGGERED
                found = 1
    if found != 0:
        wake_venue(z, 0)
    return found


@kernel
def note_print(z: Rows, i: Int, price: Int) -> int:
    """Let a public print trigger stops where the last trade is what they wait for."""
    return _note(z, i, price) if field(z, Z_TERMS, I2)[i, M_TRIGGER] == TRIGGER_LAST else 0


@kernel
def note_mark(z: Rows, i: Int, price: Int) -> None:
    """Let a mark trigger stops where the mark is what they wait for."""
    if field(z, Z_TERMS, I2)[i, M_TRIGGER] == TRIGGER_MARK:
        _note(z, i, price)
