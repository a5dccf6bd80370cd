"""What a venue does at times of its own: funding, triggered stops, expiry, a look at margins."""

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.words import EXPIRE, EXPIRED, REASON_OTHER
from alephtx.sim.bottle import (
    I1,
    I2,
    I3,
    K_DUE,
    K_MARK_NS,
    K_NOW,
    LANE_ORDERS,
    ODD_BLIND,
    ODD_STOPS,
    ONE_ORDER,
    T_FUND_AT,
    T_ODD,
    Z_CLOCK,
    Z_LIVE,
    Z_ORDER,
    Z_ORDERS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.desk import hide_orders
from alephtx.sim.flight import NEVER
from alephtx.sim.lane import exchange_of, note_reach, say
from alephtx.sim.margin import look_at_margins, pay_funding
from alephtx.sim.state import remove
from alephtx.sim.triggers import act_on_stops


@kernel
def _expire(z: Rows, j: Int, i: Int, now: Int) -> int:
    """Take off what a lane's orders of an instrument are due; returns when the next one is."""
    orders, live = field(z, Z_ORDERS, LANE_ORDERS)[j, i], field(z, Z_LIVE, I3)[j, i]
    order, first = field(z, Z_ORDER, ONE_ORDER), NEVER
    for s in range(2):
        k = 0
        while k < live[s]:
            at = orders[s, k]["expires_ns"]
            if 0 < at <= now:
                order[0] = orders[s, k]
                remove(exchange_of(z, j), i, s, k)
                say(z, j, order, EXPIRE, EXPIRED, REASON_OTHER)
                note_reach(z, j, i)
                continue
            first = min(first, at) if at > 0 else first
            k += 1
    return first


@kernel
def venue_acts(z: Rows, now: Int) -> None:
    """Do what is due by now, and note when the venue acts again."""
    clock, streams = field(z, Z_CLOCK, I1), field(z, Z_STREAMS, I2)
    clock[K_NOW], due = now, NEVER
    for i in range(streams.shape[0]):
        if 0 < streams[i, T_FUND_AT] <= now:
            pay_funding(z, i)
        if streams[i, T_FUND_AT] > now:
            due = min(due, streams[i, T_FUND_AT])
        for j in range(field(z, Z_LIVE, I3).shape[0]):
            if streams[i, T_ODD] & ODD_STOPS != 0:
                due = min(due, act_on_stops(z, j, i, now))
            due = min(due, _expire(z, j, i, now))
        if streams[i, T_ODD] & ODD_BLIND != 0:
            hide_orders(z, i)
    if clock[K_MARK_NS] != 0:
        again = look_at_margins(z)
        due = now if again != 0 else min(due, now - now % clock[K_MARK_NS] + clock[K_MARK_NS])
    clock[K_DUE] = due
