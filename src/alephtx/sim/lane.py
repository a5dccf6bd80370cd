"""One lane of a bottle: its orders at the venue, and the reports that go home. See `sim.bottle`."""

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.units import CEIL, OVERFLOW, mul_div_checked, notional
from alephtx.core.words import (
    ACK,
    CANCEL_ACK,
    CANCEL_REJECT,
    CANCELED,
    EXPIRE,
    EXPIRED,
    FILL,
    FILLED,
    FOREIGN,
    MAKER,
    MONEY_INSURANCE,
    MONEY_MOVED,
    NEW,
    PARTIALLY_FILLED,
    REASON_NOT_FILLED,
    REASON_OTHER,
    REASON_UNKNOWN_ORDER,
    REASON_WOULD_CROSS,
    REJECT,
    REJECTED,
    REPLACE_ACK,
)
from alephtx.sim.books import book_fill, move_cash
from alephtx.sim.bottle import (
    FILLS,
    I1,
    I2,
    I3,
    I4,
    I5,
    INSTRUMENTS,
    K_GROW,
    K_GROW_DOWN,
    K_MOVED,
    K_NOW,
    K_OVERFLOW,
    K_ROOM,
    LANE_ORDERS,
    M_IMPACT,
    M_POOL,
    ONE_ORDER,
    REACH_BEST,
    REACH_TAKEN,
    REACH_WORST,
    T_FEED_NS,
    T_VENUE,
    UPDATES,
    Z_BITS,
    Z_CLOCK,
    Z_DOWN_FREE,
    Z_DOWN_LANE,
    Z_DOWN_PLACE,
    Z_DOWN_RING,
    Z_DOWN_ROWS,
    Z_FILLS,
    Z_INSTRUMENTS,
    Z_LAST,
    Z_LATENCY,
    Z_LIVE,
    Z_LOAD,
    Z_LOTS,
    Z_MARKS,
    Z_MATCH,
    Z_MODEL,
    Z_NEAR,
    Z_ORDER,
    Z_ORDERS,
    Z_POINTS,
    Z_REACH,
    Z_SEQ,
    Z_STREAMS,
    Z_TAKEN,
    Z_TAKEN_COUNT,
    Z_TERMS,
    Z_TOP_KEY,
    Z_TOP_SEQ,
)
from alephtx.sim.flight import flight_send
from alephtx.sim.impact import push
from alephtx.sim.latency import RESPONSE, delay_of
from alephtx.sim.levels import Levels
from alephtx.sim.matching import (
    FILLED_ROW,
    UNFILLED,
    WOULD_CROSS,
    Exchange,
    cancel,
    place,
)
from alephtx.sim.state import FAR, REDUCED_SELF, Rows, match_crossed, remove

E8 = 100_000_000


@inline_kernel
def exchange_of(z: Rows, j: Int) -> Exchange:
    """Return the venue as lane j meets it: the shared book, its own orders."""
    return Exchange(
        Levels(field(z, Z_LOTS, I3), field(z, Z_BITS, I3), field(z, Z_MARKS, I3)),
        field(z, Z_SEQ, I1),
        field(z, Z_TOP_SEQ, I1),
        field(z, Z_TOP_KEY, I2),
        field(z, Z_ORDERS, LANE_ORDERS)[j],
        field(z, Z_LIVE, I3)[j],
        field(z, Z_MATCH, I2)[j],
        field(z, Z_TAKEN, I5)[j],
        field(z, Z_TAKEN_COUNT, I3)[j],
        field(z, Z_MODEL, I2),
    )


@kernel
def _least(keys: Rows, sign: int) -> int:
    """Return the least of sign x key."""
    found = sign * keys[0]
    for j in range(1, keys.shape[0]):
        found = min(found, sign * keys[j])
    return found


@kernel
def note_reach(z: Rows, j: Int, i: Int) -> None:
    """Note where lane j's orders of an instrument stand now, so that most rows can be passed by."""
    orders, live = field(z, Z_ORDERS, LANE_ORDERS)[j, i], field(z, Z_LIVE, I3)[j, i]
    near, reach = field(z, Z_NEAR, I4)[i], field(z, Z_REACH, I3)[i]
    taken = field(z, Z_TAKEN_COUNT, I3)[j, i]
    for s in range(2):
        n, sign, was = live[s], 1 - 2 * s, (near[s, 0, j], near[s, 1, j])
        near[s, 0, j] = sign * orders[s, n - 1]["price"] if n > 0 else FAR
        near[s, 1, j] = sign * orders[s, 0]["price"] if n > 0 else -FAR
        reach[s, REACH_TAKEN] += taken[s] - near[s, 2, j]
        near[s, 2, j] = taken[s]
        reach[s, REACH_WORST] = min(reach[s, REACH_WORST], near[s, 0, j])
        reach[s, REACH_BEST] = max(reach[s, REACH_BEST], near[s, 1, j])
        if was[0] == reach[s, REACH_WORST] and near[s, 0, j] > was[0]:
            reach[s, REACH_WORST] = _least(near[s, 0], 1)
        if was[1] == reach[s, REACH_BEST] and near[s, 1, j] < was[1]:
            reach[s, REACH_BEST] = -_least(near[s, 1], -1)


@kernel
def send_report(z: Rows, j: Int, i: Int, account: Int, kind: Int, status: Int) -> int:
    """Send a report home; returns the slot of its row, with everything blank but what is given."""
    clock, venue = field(z, Z_CLOCK, I1), field(z, Z_STREAMS, I2)[i, T_VENUE]
    now = clock[K_NOW]
    load, feed_ns = field(z, Z_LOAD, I2)[venue], field(z, Z_STREAMS, I2)[i, T_FEED_NS]
    path, points = field(z, Z_LATENCY, I3)[venue, RESPONSE], field(z, Z_POINTS, I2)
    last = field(z, Z_LAST, I3)[j, venue]
    arrival = max(now + delay_of(path, points, now, feed_ns, load[1] + load[2]), last[1])
    last[1] = arrival
    place, ring = field(z, Z_DOWN_PLACE, I1), field(z, Z_DOWN_RING, I2)
    slot = flight_send(
        place, ring, field(z, Z_DOWN_FREE, I1), field(z, Z_DOWN_LANE, I1), arrival, j
    )
    if place[2] < clock[K_ROOM]:  # have room made before the next row or order
        clock[K_GROW] = K_GROW_DOWN
    row: Rows = field(z, Z_DOWN_ROWS, UPDATES)[slot]
    row["order_id"], row["venue_order_id"], row["trade_id"] = 0, 0, 0
    row["price"], row["qty"], row["cum_qty"], row["fee"], row["realized"] = 0, 0, -1, 0, 0
    row["ts_event"], row["ts_recv"], row["code"] = now, arrival, 0
    row["instrument"], row["fee_currency"], row["account"] = i, 0, account
    row["strategy"], row["kind"], row["status"], row["side"] = 0, kind, status, 0
    row["liquidity"], row["reason"], row["flags"], row["order_status"] = 0, 0, 0, 0
    row["target_order_id"], row["input_seq"], row["tag"], row["group_id"] = 0, 0, 0, 0
    row["filled_qty"], row["leaves_qty"] = 0, 0
    return slot


@kernel
def say(z: Rows, j: Int, order: Rows, kind: Int, status: Int, reason: Int) -> None:
    """Report about an order, SIM_ORDER (1,), that is no fill."""
    i, account = order[0]["instrument"], order[0]["account"]
    slot = send_report(z, j, i, account, kind, status)
    row: Rows = field(z, Z_DOWN_ROWS, UPDATES)[slot]
    row["order_id"], row["venue_order_id"] = order[0]["order_id"], order[0]["order_id"]
    row["side"], row["reason"] = order[0]["side"], reason


@kernel
def say_money(
    z: Rows, j: Int, i: Int, account: Int, kind: Int, code: Int, trade_id: Int, amount: Int
) -> None:  # fmt: skip
    """Move money of the pool that an instrument's position lives on, and report it.

    trade_id: 0 = the next number of movements.
    """
    if trade_id == 0:
        clock = field(z, Z_CLOCK, I1)
        clock[K_MOVED] += 1
        trade_id = clock[K_MOVED]
    move_cash(z, j, account, field(z, Z_TERMS, I2)[i, M_POOL], amount)
    slot = send_report(z, j, i, account, kind, 0)
    row: Rows = field(z, Z_DOWN_ROWS, UPDATES)[slot]
    row["trade_id"], row["realized"], row["code"] = trade_id, amount, code
    row["fee_currency"] = field(z, Z_INSTRUMENTS, INSTRUMENTS)[i]["settle"]


@kernel
def say_fills(z: Rows, j: Int, n: Int) -> None:
    """Report the n rows of fills, with the instrument's own fees."""
    fills, instruments = field(z, Z_FILLS, FILLS), field(z, Z_INSTRUMENTS, INSTRUMENTS)
    terms = field(z, Z_TERMS, I2)
    for k in range(n):
        fill = fills[k]
        i = fill["instrument"]
        filled = fill["event"] == FILLED_ROW
        status = EXPIRED if not filled else FILLED if fill["left"] == 0 else PARTIALLY_FILLED
        slot = send_report(z, j, i, fill["account"], FILL if filled else EXPIRE, status)
        row: Rows = field(z, Z_DOWN_ROWS, UPDATES)[slot]
        row["order_id"], row["venue_order_id"] = fill["order_id"], fill["order_id"]
        row["side"], row["liquidity"] = fill["side"], fill["liquidity"]
        if not filled:
            row["reason"] = REASON_OTHER
            if fill["event"] == REDUCED_SELF:
                row["kind"], row["status"], row["reason"] = REPLACE_ACK, 0, 0
                row["price"], row["qty"] = fill["price"], fill["qty"]
            continue
        instrument = instruments[i : i + 1]
        maker = fill["liquidity"] == MAKER
        if not maker and terms[i, M_IMPACT] != 0:
            push(z, j, k)
        row["price"], row["qty"] = fill["price"], fill["qty"]
        # Both sides of a trade with ourselves are fills of one account: each needs its own id.
        row["trade_id"] = 2 * fill["match"] + (1 if maker else 0)
        rate = instrument[0]["maker_fee_e8"] if maker else instrument[0]["taker_fee_e8"]
        value = notional(instrument, fill["price"], fill["qty"], CEIL)
        fee = mul_div_checked(value, rate, E8, CEIL) if value != OVERFLOW else OVERFLOW
        if fee == OVERFLOW:
            field(z, Z_CLOCK, I1)[K_OVERFLOW] = 1
        row["fee"], row["fee_currency"] = fee, instrument[0]["settle"]
        row["flags"] = FOREIGN if fill["order_id"] == 0 else 0  # the venue's own, see sim.margin
        lacks = book_fill(z, j, fill, fee)
        if lacks > 0:
            say_money(z, j, i, fill["account"], MONEY_MOVED, MONEY_INSURANCE, 0, lacks)


@kernel
def say_replaced(z: Rows, j: Int, order: Rows) -> None:
    """Report that an order, SIM_ORDER (1,), has this price and whole quantity now."""
    i, account = order[0]["instrument"], order[0]["account"]
    slot = send_report(z, j, i, account, REPLACE_ACK, 0)
    row: Rows = field(z, Z_DOWN_ROWS, UPDATES)[slot]
    row["order_id"], row["venue_order_id"] = order[0]["order_id"], order[0]["order_id"]
    row["side"], row["price"], row["qty"] = order[0]["side"], order[0]["price"], order[0]["whole"]


@inline_kernel
def enter_order(z: Rows, j: Int, x: Exchange, order: Rows) -> None:
    """Let the matching engine have an order, and report what came of it."""
    n = place(x, order, field(z, Z_FILLS, FILLS))
    if n == WOULD_CROSS:
        say(z, j, order, REJECT, REJECTED, REASON_WOULD_CROSS)
    elif n < 0 and n != UNFILLED:
        say(z, j, order, REJECT, REJECTED, REASON_OTHER)
    else:
        say(z, j, order, ACK, NEW, 0)
        say_fills(z, j, max(n, 0))
        if order[0]["qty"] > 0 and (n == UNFILLED or order[0]["resting"] == 0):
            say(z, j, order, EXPIRE, EXPIRED, REASON_NOT_FILLED)


@inline_kernel
def cancel_order(z: Rows, j: Int, x: Exchange, order: Rows, order_id: Int) -> None:
    """Take an order off and report it, or that it does not rest."""
    order[0]["order_id"] = order_id
    if cancel(x, order[0]["instrument"], order_id) >= 0:
        say(z, j, order, CANCEL_ACK, CANCELED, 0)
    else:
        say(z, j, order, CANCEL_REJECT, 0, REASON_UNKNOWN_ORDER)


@kernel
def take_all_off(
    z: Rows, j: Int, i: Int, account: Int, kind: Int, status: Int, reason: Int
) -> None:
    """Take every order of an account (-1: all) off an instrument's book, best first."""
    x, order = exchange_of(z, j), field(z, Z_ORDER, ONE_ORDER)
    for s in range(2):
        k = 0
        while k < x.live[i, s]:
            if account >= 0 and x.orders[i, s, k]["account"] != account:
                k += 1
                continue
            order[0] = x.orders[i, s, k]
            remove(x, i, s, k)
            say(z, j, order, kind, status, reason)


@kernel
def cross(z: Rows, i: Int, s: Int, key: Int) -> int:
    """Fill what of ours the market has reached from the other side; returns fills."""
    near, hits = field(z, Z_NEAR, I4)[i], 0
    for j in range(near.shape[2]):
        if near[s, 1, j] + key < 0:
            continue
        n = match_crossed(exchange_of(z, j), i, field(z, Z_FILLS, FILLS), 0)
        if n > 0:
            say_fills(z, j, n)
            note_reach(z, j, i)
            hits += n
    return hits
