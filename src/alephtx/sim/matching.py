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

    x = make_exchange(instruments, orders_max=256, levels_max=4096); fills = make_fills(4096)
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

A fill row names the order, its price and quantity, what is left, whether it made or took, and the
match: both rows of a trade between two of our orders carry one match number. event EXPIRED_SELF is
an order that self-trade prevention took off.
"""

import numpy as np

from alephtx.core.kernel import kernel
from alephtx.core.words import FOK, GTC, GTD, MAKER, MARKET, POST_ONLY, TAKER
from alephtx.sim.ladder import ladder_qty
from alephtx.sim.market import on_levels, on_rows, on_top, on_trade
from alephtx.sim.state import (
    BAD_ORDER,
    EXPIRED_SELF,
    FAR,
    FILL_ROW,
    FILLED_ROW,
    FULL,
    SIM_ORDER,
    STP_EXPIRE_BOTH,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    UNFILLED,
    WOULD_CROSS,
    Exchange,
    Rows,
    emit,
    find,
    make_exchange,
    make_fills,
    next_match,
    remove,
    set_level,
    side_index,
)

__all__ = [
    "BAD_ORDER",
    "EXPIRED_SELF",
    "FILLED_ROW",
    "FILL_ROW",
    "FULL",
    "SIM_ORDER",
    "STP_EXPIRE_BOTH",
    "STP_EXPIRE_MAKER",
    "STP_EXPIRE_TAKER",
    "STP_NONE",
    "UNFILLED",
    "WOULD_CROSS",
    "Exchange",
    "cancel",
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
    "warm",
]


@kernel
def preview(x: Exchange, i: int, side: int, limit: int, qty: int, out: Rows) -> int:
    """Write the (price, qty) rows a taker of qty would meet, best first; return their number.

    limit in ticks, 0 for none. Own resting orders of other accounts are not shown.
    """
    other = side_index(-side)
    at, n, left = x.ladder.sizes[i, other] - 1, 0, qty
    while at >= 0 and left > 0 and n < out.shape[0]:
        price = -side * x.ladder.keys[i, other, at]
        if limit != 0 and side * (price - limit) > 0:
            break
        take = min(left, x.ladder.qtys[i, other, at])
        out[n, 0], out[n, 1] = price, take
        left -= take
        n += 1
        at -= 1
    return n


@kernel
def _best_own(x: Exchange, i: int, s: int) -> int:
    """Return the key of our best resting order of a side, -FAR without one."""
    if x.live[i, s] == 0:
        return -FAR
    return (1 - 2 * s) * x.orders[i, s, 0]["price"]


@kernel
def _best_displayed(x: Exchange, i: int, s: int) -> int:
    n = x.ladder.sizes[i, s]
    return x.ladder.keys[i, s, n - 1] if n > 0 else -FAR


@kernel
def _available(x: Exchange, order: Rows, i: int, other: int, worst: int) -> int:
    """Return the quantity a taker could get at keys not below `worst`."""
    total = 0
    for at in range(x.ladder.sizes[i, other] - 1, -1, -1):
        if x.ladder.keys[i, other, at] < worst:
            break
        total += x.ladder.qtys[i, other, at]
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
    take = min(order[0]["qty"], most)
    order[0]["qty"] -= take
    price = (1 - 2 * other) * key
    n = emit(fills, n, order, 0, price, take, next_match(x), TAKER)
    set_level(x, i, other, key, ladder_qty(x.ladder, i, other, key) - take)
    for k in range(x.live[i, other]):  # what we took stood ahead of our own orders there
        own = x.orders[i, other, k]
        if own["price"] == price:
            own["ahead"] = max(0, own["ahead"] - take)
    return n


@kernel
def _take_own(x: Exchange, order: Rows, i: int, other: int, fills: Rows, n: int) -> int:
    """Meet our own best resting order; self-trade prevention decides first."""
    own = x.orders[i, other, 0]
    if own["account"] == order[0]["account"] and order[0]["stp"] != STP_NONE:
        mode = order[0]["stp"]
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
def _walk(x: Exchange, order: Rows, i: int, other: int, worst: int, fills: Rows) -> int:
    n = 0
    while order[0]["qty"] > 0 and n + 2 <= fills.shape[0]:
        shown, own = _best_displayed(x, i, other), _best_own(x, i, other)
        if max(shown, own) < worst or max(shown, own) == -FAR:
            break
        if shown > own:
            n = _take_displayed(
                x, order, i, other, shown, ladder_qty(x.ladder, i, other, shown), fills, n
            )
        elif shown == own and x.orders[i, other, 0]["ahead"] > 0:
            most = min(x.orders[i, other, 0]["ahead"], ladder_qty(x.ladder, i, other, shown))
            n = _take_displayed(x, order, i, other, shown, most, fills, n)
        else:
            n = _take_own(x, order, i, other, fills, n)
    return n


@kernel
def _rest(x: Exchange, order: Rows, i: int, s: int) -> None:
    """Insert behind every order at the same or a better price."""
    sign = 1 - 2 * s
    key = sign * order[0]["price"]
    orders, at = x.orders[i, s], x.live[i, s]
    while at > 0 and sign * orders[at - 1]["price"] < key:
        orders[at] = orders[at - 1]
        at -= 1
    order[0]["ahead"] = ladder_qty(x.ladder, i, s, key)
    order[0]["resting"] = 1
    orders[at] = order[0]
    x.live[i, s] += 1


@kernel
def place(x: Exchange, order: Rows, fills: Rows) -> int:
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
        best = max(_best_displayed(x, i, other), _best_own(x, i, other))
        if best >= worst and best != -FAR:
            return WOULD_CROSS
    if tif == FOK and _available(x, order, i, other, worst) < qty:
        return UNFILLED
    n = _walk(x, order, i, other, worst, fills)
    if order[0]["qty"] > 0 and rests:
        _rest(x, order, i, s)
    return n


@kernel
def cancel(x: Exchange, i: int, order_id: int) -> int:
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
    """Return what is displayed ahead of a resting order, -1 when it does not rest."""
    s, k = find(x, i, order_id)
    return x.orders[i, s, k]["ahead"] if k >= 0 else -1


def warm(like: Exchange) -> None:
    """Run every kernel once on a scratch exchange of the same types."""
    x, fills = make_exchange(1, 4, 8), make_fills(8)
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
