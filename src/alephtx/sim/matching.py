"""One matching kernel for paper trading, twins and the simulator.

Our orders against a displayed book that we do not move, and against each other. The model, always
the less lucky reading where the data leaves a choice:

- A resting order joins the queue behind everything displayed at its price (`ahead`). Prints at its
  price eat the queue first, then the order. A level that shrinks below `ahead` clamps it; one that
  grows adds behind us. A print through its price fills it whole. A displayed opposite level at or
  through its price fills it at its own price, up to the quantity displayed there.
- A taker walks the displayed levels and our resting orders, best price first; at one price what is
  displayed ahead of ours goes first. What it takes stays gone (depletion) until the venue states
  that level again.
- MARKET, IOC and FOK never rest. POST_ONLY that would take is refused. Self-trade prevention works
  between orders of one account.

Interface (all prices ticks, quantities lots, int64):

    x = make_exchange(instruments, orders_max=256); fills = make_fills(4096)
    n = place(x, order, fills)      order: length-1 SIM_ORDER. Returns the number of fill rows, or
                                    WOULD_CROSS, UNFILLED (FOK), FULL, BAD_ORDER with nothing done.
                                    order[0]["qty"] becomes what is left, ["resting"] 1 if it rests
    left = cancel(x, i, order_id)   what was left, or -1 when it does not rest
    left = reduce(x, i, order_id, qty)   keep the queue place with a smaller quantity, or -1
    n = on_levels(x, i, levels, count, seq, snapshot, fills)   one message; levels (count, 3) of
                                    (side, price, absolute qty)
    n = on_top(x, i, bid, bid_qty, ask, ask_qty, seq, fills)   best prices newer than the levels
    n = on_trade(x, i, price, qty, aggressor, fills)           a public print
    n = on_rows(x, rows, count, fills)   EVENT rows (SEQ, CLEAR, DELTA, TOP, TRADE) of one message
    n = preview(x, i, side, limit, qty, out)   what a taker would meet: rows (price, qty)
    n = displayed(x, i, side, out)             a side's best levels, less what takers took

A fill row names the order, its price and quantity, what is left, whether it made or took, and the
match: both rows of a trade between two of our orders carry one match number. event EXPIRED_SELF is
an order that self-trade prevention took off, REDUCED_SELF one that it made smaller (STP_DECREMENT):
qty is then the order's whole quantity now.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.words import FOK, GTC, GTD, MAKER, MARKET, POST_ONLY, TAKER
from alephtx.sim.levels import NO_LEVEL, levels_below, levels_best
from alephtx.sim.market import on_levels, on_rows, on_top, on_trade
from alephtx.sim.queue import PARTIAL, Q_ARRIVALS, Q_FILL
from alephtx.sim.state import (
    BAD_ORDER,
    EXPIRED_SELF,
    FAR,
    FILL_ROW,
    FILLED_ROW,
    FULL,
    REDUCED_SELF,
    SIM_ORDER,
    STP_DECREMENT,
    STP_EXPIRE_BOTH,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    UNFILLED,
    WOULD_CROSS,
    Exchange,
    Rows,
    best_shown,
    deplete,
    emit,
    find,
    make_exchange,
    make_fills,
    next_match,
    remove,
    shown,
    side_index,
)

__all__ = [
    "BAD_ORDER",
    "EXPIRED_SELF",
    "FILLED_ROW",
    "FILL_ROW",
    "FULL",
    "REDUCED_SELF",
    "SIM_ORDER",
    "STP_DECREMENT",
    "STP_EXPIRE_BOTH",
    "STP_EXPIRE_MAKER",
    "STP_EXPIRE_TAKER",
    "STP_NONE",
    "UNFILLED",
    "WOULD_CROSS",
    "Exchange",
    "cancel",
    "displayed",
    "make_exchange",
    "make_fills",
    "on_levels",
    "on_rows",
    "on_top",
    "on_trade",
    "place",
    "preview",
    "queue_ahead",
    "reduce",
    "rest",
    "warm",
]


@kernel
def preview(x: Exchange, i: int, side: int, limit: int, qty: int, out: Rows) -> int:
    """Write the (price, qty) rows a taker of qty would meet, best first; return their number.

    limit in ticks, 0 for none. Own resting orders of other accounts are not shown.
    """
    other = side_index(-side)
    n, left = 0, qty
    key = levels_best(x.levels, i, other)
    while key != NO_LEVEL and left > 0 and n < out.shape[0]:
        price = -side * key
        if limit != 0 and side * (price - limit) > 0:
            break
        take = min(left, shown(x, i, other, key))
        if take > 0:
            out[n, 0], out[n, 1] = price, take
            left -= take
            n += 1
        key = levels_below(x.levels, i, other, key)
    return n


@kernel
def displayed(x: Exchange, i: int, side: int, out: Rows) -> int:
    """Write a side's best levels, (price, lots left) rows, best first; return their number."""
    s, n = side_index(side), 0
    key = levels_best(x.levels, i, s)
    while key != NO_LEVEL and n < out.shape[0]:
        lots = shown(x, i, s, key)
        if lots > 0:
            out[n, 0], out[n, 1] = side * key, lots
            n += 1
        key = levels_below(x.levels, i, s, key)
    return n


@inline_kernel
def _best_own(x: Exchange, i: Int, s: Int) -> Int:
    """Return the key of our best resting order of a side, NO_LEVEL without one."""
    if x.live[i, s] == 0:
        return NO_LEVEL
    return (1 - 2 * s) * x.orders[i, s, 0]["price"]


@kernel
def _available(x: Exchange, order: Rows, i: int, other: int, worst: int) -> int:
    """Return the quantity a taker could get at keys not below `worst`."""
    total = 0
    key = levels_best(x.levels, i, other)
    while key != NO_LEVEL and key >= worst:
        total += shown(x, i, other, key)
        key = levels_below(x.levels, i, other, key)
    for k in range(x.live[i, other]):
        own = x.orders[i, other, k]
        if (1 - 2 * other) * own["price"] < worst:
            break
        if own["account"] != order[0]["account"] or order[0]["stp"] == STP_NONE:
            total += own["qty"]
    return total


@kernel
def _take_displayed(
    x: Exchange, order: Rows, i: int, other: int, key: int, most: int, fills: Rows, n: int
) -> int:
    take = order[0]["qty"]
    if x.model[i, Q_FILL] == PARTIAL:
        take = min(take, most)
        deplete(x, i, other, key, take)
    order[0]["qty"] -= take
    return emit(fills, n, order, 0, (1 - 2 * other) * key, take, next_match(x), TAKER)


@kernel
def _take_own(x: Exchange, order: Rows, i: int, other: int, fills: Rows, n: int) -> int:
    """Meet our own best resting order; self-trade prevention decides first."""
    own = x.orders[i, other, 0]
    if own["account"] == order[0]["account"] and order[0]["stp"] != STP_NONE:
        mode = order[0]["stp"]
        if mode == STP_DECREMENT:
            return _decrement(x, order, i, other, fills, n)
        if mode != STP_EXPIRE_TAKER:
            n = emit(fills, n, x.orders[i, other], 0, own["price"], 0, 0, MAKER)
            remove(x, i, other, 0)
        if mode != STP_EXPIRE_MAKER:
            n = emit(fills, n, order, 0, order[0]["price"], 0, 0, TAKER)
            order[0]["qty"] = 0
        return n
    take = min(order[0]["qty"], own["qty"])
    order[0]["qty"] -= take
    own["qty"] -= take
    price, match = own["price"], next_match(x)
    n = emit(fills, n, x.orders[i, other], 0, price, take, match, MAKER)
    n = emit(fills, n, order, 0, price, take, match, TAKER)
    if x.orders[i, other, 0]["qty"] == 0:
        remove(x, i, other, 0)
    return n


@kernel
def _decrement(x: Exchange, order: Rows, i: int, other: int, fills: Rows, n: int) -> int:
    """Take the smaller of two orders of one account off both; rows of what is left and what not."""
    cut = min(order[0]["qty"], x.orders[i, other, 0]["qty"])
    own = x.orders[i, other]
    own[0]["qty"] -= cut
    own[0]["whole"] -= cut
    n = emit(fills, n, own, 0, own[0]["price"], 0, 0, MAKER)
    if own[0]["qty"] > 0:
        fills[n - 1]["event"], fills[n - 1]["qty"] = REDUCED_SELF, own[0]["whole"]
    order[0]["qty"] -= cut
    order[0]["whole"] -= cut
    n = emit(fills, n, order, 0, order[0]["price"], 0, 0, TAKER)
    if order[0]["qty"] > 0:
        fills[n - 1]["event"], fills[n - 1]["qty"] = REDUCED_SELF, order[0]["whole"]
    if x.orders[i, other, 0]["qty"] == 0:
        remove(x, i, other, 0)
    return n


@kernel
def _walk(x: Exchange, order: Rows, i: int, other: int, worst: int, fills: Rows) -> int:
    n = 0
    while order[0]["qty"] > 0 and n + 2 <= fills.shape[0]:
        best, own = best_shown(x, i, other), _best_own(x, i, other)
        if max(best, own) < worst or max(best, own) == NO_LEVEL:
            break
        if best > own:
            n = _take_displayed(x, order, i, other, best, shown(x, i, other, best), fills, n)
        elif best == own and x.orders[i, other, 0]["ahead"] >= 1.0:
            most = min(np.int64(x.orders[i, other, 0]["ahead"]), shown(x, i, other, best))
            n = _take_displayed(x, order, i, other, best, most, fills, n)
        else:
            n = _take_own(x, order, i, other, fills, n)
    return n


@inline_kernel
def rest(x: Exchange, order: Rows, i: Int, s: Int) -> None:
    """Insert behind every order at the same or a better price."""
    sign = 1 - 2 * s
    key = sign * order[0]["price"]
    orders, at = x.orders[i, s], x.live[i, s]
    while at > 0 and sign * orders[at - 1]["price"] < key:
        orders[at] = orders[at - 1]
        at -= 1
    order[0]["ahead"] = float(shown(x, i, s, key))
    order[0]["traded"] = float(x.model[i, Q_ARRIVALS])
    order[0]["resting"] = 1
    orders[at] = order[0]
    x.live[i, s] += 1


@inline_kernel
def place(x: Exchange, order: Rows, fills: Rows) -> Int:
    """Take what the order may take and rest what may rest; see the module for the results."""
    i, side, qty = order[0]["instrument"], order[0]["side"], order[0]["qty"]
    kind, tif = order[0]["type"], order[0]["tif"]
    if i < 0 or i >= x.seq.shape[0] or qty <= 0 or side * side != 1:
        return BAD_ORDER
    if kind != MARKET and order[0]["price"] <= 0:
        return BAD_ORDER
    s, other = side_index(side), side_index(-side)
    rests = kind != MARKET and tif in (GTC, GTD)
    if rests and x.live[i, s] == x.orders.shape[2]:
        return FULL
    worst = -side * order[0]["price"] if kind != MARKET else -FAR
    order[0]["resting"] = 0
    if order[0]["flags"] & POST_ONLY:
        best = max(best_shown(x, i, other), _best_own(x, i, other))
        if best >= worst and best != NO_LEVEL:
            return WOULD_CROSS
    if tif == FOK and _available(x, order, i, other, worst) < qty:
        return UNFILLED
    n = 0
    if order[0]["flags"] & POST_ONLY == 0:
        n = _walk(x, order, i, other, worst, fills)
    if order[0]["qty"] > 0 and rests:
        rest(x, order, i, s)
    return n


@inline_kernel
def cancel(x: Exchange, i: Int, order_id: Int) -> Int:
    """Take a resting order off; return what was left of it, -1 when it does not rest."""
    s, k = find(x, i, order_id)
    if k < 0:
        return -1
    left = x.orders[i, s, k]["qty"]
    remove(x, i, s, k)
    return left


@kernel
def reduce(x: Exchange, i: int, order_id: int, qty: int) -> int:
    """Make a resting order smaller without losing its place; return its new quantity or -1."""
    s, k = find(x, i, order_id)
    if k < 0 or qty <= 0 or qty > x.orders[i, s, k]["qty"]:
        return -1
    x.orders[i, s, k]["qty"] = qty
    return qty


@kernel
def queue_ahead(x: Exchange, i: int, order_id: int) -> int:
    """Return the lots ahead of a resting order, rounded up; -1 when it does not rest."""
    s, k = find(x, i, order_id)
    ahead: Int = np.ceil(x.orders[i, s, k]["ahead"]) if k >= 0 else -1.0
    return np.int64(ahead)  # type: ignore[return-value]


def warm(like: Exchange) -> None:
    """Run every kernel once on a scratch exchange of the same types."""
    x, fills = make_exchange(1, 4, 8, 1024), make_fills(8)
    assert len(x) == len(like)
    levels = np.array([[1, 99, 5], [-1, 101, 5]], np.int64)
    on_levels(x, 0, levels, 2, 1, 1, fills)
    on_top(x, 0, 99, 5, 101, 5, 2, fills)
    order = np.zeros(1, SIM_ORDER)
    order["order_id"], order["price"], order["qty"] = 1, 98, 2
    order["side"], order["type"], order["tif"] = 1, 1, GTC
    place(x, order, fills)
    queue_ahead(x, 0, 1)
    reduce(x, 0, 1, 1)
    cancel(x, 0, 1)
    on_trade(x, 0, 99, 1, -1, fills)
    preview(x, 0, 1, 0, 1, np.zeros((8, 2), np.int64))
    displayed(x, 0, 1, np.zeros((8, 2), np.int64))
