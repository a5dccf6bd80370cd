"""An order that waited becomes one of the book: what the venue asks then, and what it says.

A stop that has met its trigger is a market order, or with a price a limit order, that came at this
moment. What the venue then refuses - no trading, a filter, nothing left to reduce, no margin - ends
it: EXPIRE with the reason. One that only reduces and is larger than what is held is made smaller,
as `sim.desk` has it.
"""

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.words import (
    EXPIRE,
    EXPIRED,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    REASON_NOT_FILLED,
    REASON_OTHER,
    REASON_WOULD_CROSS,
)
from alephtx.sim.bottle import (
    FILLS,
    I1,
    I2,
    I3,
    K_GROW,
    LANE_STOPS,
    ODD_BLIND,
    ONE_ORDER,
    T_ODD,
    Z_CLOCK,
    Z_FILLS,
    Z_ORDER,
    Z_STOP_AT,
    Z_STOP_COUNT,
    Z_STOPS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.desk import hide_orders, refusal, say_capped
from alephtx.sim.flight import NEVER
from alephtx.sim.lane import exchange_of, note_reach, say, say_fills
from alephtx.sim.matching import place, rest
from alephtx.sim.state import UNFILLED, WOULD_CROSS, Exchange, side_index
from alephtx.sim.stops import TRIGGERED, expire_stops, remove_stop


@kernel
def _meet_book(z: Rows, j: Int, x: Exchange, order: Rows) -> None:
    """Let a triggered order take and rest, and report it; its ACK was said when it came."""
    n = place(x, order, field(z, Z_FILLS, FILLS))
    if n < 0 and n != UNFILLED:
        say(z, j, order, EXPIRE, EXPIRED, REASON_WOULD_CROSS if n == WOULD_CROSS else REASON_OTHER)
        return
    say_fills(z, j, max(n, 0))
    if order[0]["qty"] > 0 and (n == UNFILLED or order[0]["resting"] == 0):
        say(z, j, order, EXPIRE, EXPIRED, REASON_NOT_FILLED)


@kernel
def _meet_nothing(z: Rows, j: Int, x: Exchange, order: Rows) -> None:
    """Behind a gap: rest unmatched what may rest, expire the rest."""
    i, s = order[0]["instrument"], side_index(order[0]["side"])
    rests = order[0]["type"] != MARKET and order[0]["tif"] in (GTC, GTD)
    if rests and x.live[i, s] < x.orders.shape[2]:
        rest(x, order, i, s)
    else:
        say(z, j, order, EXPIRE, EXPIRED, REASON_NOT_FILLED)


@kernel
def _fire(z: Rows, j: Int, i: Int, order: Rows) -> None:
    x, wanted = exchange_of(z, j), order[0]["qty"]
    order[0]["type"] = LIMIT if order[0]["price"] > 0 else MARKET
    if order[0]["type"] == MARKET and order[0]["tif"] in (GTC, GTD):
        order[0]["tif"] = IOC
    order[0]["resting"] = 0
    reason = refusal(z, j, x, order)
    if reason != 0:
        say(z, j, order, EXPIRE, EXPIRED, reason)
        return
    order[0]["whole"] = order[0]["qty"]
    blind = field(z, Z_STREAMS, I2)[i, T_ODD] & ODD_BLIND != 0
    if blind:
        _meet_nothing(z, j, x, order)
    else:
        _meet_book(z, j, x, order)
    if order[0]["whole"] < wanted:
        say_capped(z, j, order)
    note_reach(z, j, i)
    if blind:
        hide_orders(z, i)


@kernel
def act_on_stops(z: Rows, j: Int, i: Int, now: Int) -> int:
    """Enter what has triggered, take off what is due; returns when there is more to do."""
    stops, triggers = field(z, Z_STOPS, LANE_STOPS)[j, i], field(z, Z_STOP_AT, I3)[j, i]
    order, counts, first, k = field(z, Z_ORDER, ONE_ORDER), field(z, Z_STOP_COUNT, I2), NEVER, 0
    while k < counts[j, i]:
        if triggers[k] != TRIGGERED and not now >= -triggers[k] > 0:
            k += 1
            continue
        if field(z, Z_CLOCK, I1)[K_GROW] != 0:
            return now  # again, as soon as there is room for reports
        order[0] = stops[k]
        remove_stop(z, j, i, k)
        _fire(z, j, i, order)
    expire_stops(z, j, i, now)
    for m in range(counts[j, i]):
        if triggers[m] < 0:
            first = min(first, -triggers[m])
        if stops[m]["expires_ns"] > 0:
            first = min(first, stops[m]["expires_ns"])
    return first
