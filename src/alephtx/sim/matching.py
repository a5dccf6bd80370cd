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

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.kernel import kernel
from alephtx.core.words import (
    BUY,
    CLEAR,
    DELTA,
    FOK,
    GTC,
    GTD,
    MAKER,
    MARKET,
    POST_ONLY,
    SEQ,
    TAKER,
    TOP,
    TRADE,
)
from alephtx.sim.ladder import Ladder, ladder_qty, ladder_set, ladder_trim, make_ladder

Rows = np.ndarray[Any, Any]

WOULD_CROSS, UNFILLED, FULL, BAD_ORDER = -1, -2, -3, -4
FILLED_ROW, EXPIRED_SELF = 1, 2
STP_NONE, STP_EXPIRE_TAKER, STP_EXPIRE_MAKER, STP_EXPIRE_BOTH = 0, 1, 2, 3
FAR = 1 << 62  # the limit key of an order without a limit

SIM_ORDER = np.dtype(
    [
        ("order_id", "i8"),
        ("price", "i8"),
        ("qty", "i8"),
        ("ahead", "i8"),
        ("instrument", "i8"),
        ("account", "i8"),
        ("side", "i8"),
        ("type", "i8"),
        ("tif", "i8"),
        ("flags", "i8"),
        ("stp", "i8"),
        ("resting", "i8"),
    ]
)
FILL_ROW = np.dtype(
    [
        ("order_id", "i8"),
        ("price", "i8"),
        ("qty", "i8"),
        ("left", "i8"),
        ("match", "i8"),
        ("instrument", "i8"),
        ("account", "i8"),
        ("side", "i8"),
        ("liquidity", "i8"),
        ("event", "i8"),
    ]
)


class Exchange(NamedTuple):
    """State of the matching engine.

    orders: SIM_ORDER (instruments, 2, orders_max), best price first, then arrival; count int64
    (instruments, 2). top_seq (instruments,) and top_key (instruments, 2): the newest best prices.
    seq (instruments,): the newest level message. match (1,): the last match number.
    """

    ladder: Ladder
    orders: Rows
    count: Rows
    seq: Rows
    top_seq: Rows
    top_key: Rows
    match: Rows


def make_exchange(instruments: int, orders_max: int = 256, levels_max: int = 4096) -> Exchange:
    """Return an exchange with empty books."""
    return Exchange(
        make_ladder(instruments, levels_max),
        np.zeros((instruments, 2, orders_max), SIM_ORDER),
        np.zeros((instruments, 2), np.int64),
        np.zeros(instruments, np.int64),
        np.full(instruments, -1, np.int64),
        np.zeros((instruments, 2), np.int64),
        np.zeros(1, np.int64),
    )


def make_fills(rows: int = 4096) -> Rows:
    """Return the array that kernels write fills to; it must hold the longest walk."""
    return np.zeros(rows, FILL_ROW)


@kernel
def _side_index(side: int) -> int:
    return 0 if side > 0 else 1


@kernel
def _emit(fills: Rows, n: int, order: Rows, k: int, price: int, qty: int, match: int, role: int):
    """Write one fill row for orders[k], whose qty is already what is left."""
    source, row = order[k], fills[n]
    row["order_id"] = source["order_id"]
    row["price"] = price
    row["qty"] = qty
    row["left"] = source["qty"]
    row["match"] = match
    row["instrument"] = source["instrument"]
    row["account"] = source["account"]
    row["side"] = source["side"]
    row["liquidity"] = role
    row["event"] = FILLED_ROW if qty > 0 else EXPIRED_SELF
    return n + 1


@kernel
def _next_match(x: Exchange) -> int:
    x.match[0] += 1
    return x.match[0]


@kernel
def _remove(x: Exchange, i: int, s: int, k: int) -> None:
    orders = x.orders[i, s]
    n = x.count[i, s] - 1
    for m in range(k, n):
        orders[m] = orders[m + 1]
    x.count[i, s] = n


@kernel
def _find(x: Exchange, i: int, order_id: int):
    for s in range(2):
        for k in range(x.count[i, s]):
            if x.orders[i, s, k]["order_id"] == order_id:
                return s, k
    return -1, -1


@kernel
def _clamp(x: Exchange, i: int, s: int, key: int, qty: int) -> None:
    """Pull the queue place of our orders at a level down to what is displayed."""
    sign = 1 - 2 * s
    for k in range(x.count[i, s]):
        order = x.orders[i, s, k]
        own = sign * order["price"]
        if own < key:
            return
        if own == key and order["ahead"] > qty:
            order["ahead"] = qty


@kernel
def _set_level(x: Exchange, i: int, s: int, key: int, qty: int) -> None:
    ladder_set(x.ladder, i, s, key, qty)
    if x.count[i, s] > 0:
        _clamp(x, i, s, key, max(qty, 0))


@kernel
def _match_crossed(x: Exchange, i: int, fills: Rows, n: int) -> int:
    """Fill our resting orders that the displayed opposite side has reached."""
    ladder = x.ladder
    for s in range(2):
        other = 1 - s
        sign = 1 - 2 * s
        k = 0
        while k < x.count[i, s]:
            best = ladder.count[i, other] - 1
            if best < 0 or n >= fills.shape[0]:
                break
            order = x.orders[i, s, k]
            # Keys of the two sides have opposite signs: they meet where their sum is not negative.
            if sign * order["price"] + ladder.keys[i, other, best] < 0:
                break
            take = min(order["qty"], ladder.qtys[i, other, best])
            order["qty"] -= take
            n = _emit(fills, n, x.orders[i, s], k, order["price"], take, _next_match(x), MAKER)
            key = ladder.keys[i, other, best]
            _set_level(x, i, other, key, ladder.qtys[i, other, best] - take)
            if x.orders[i, s, k]["qty"] == 0:
                _remove(x, i, s, k)
    return n


@kernel
def _settle_queues(x: Exchange, i: int) -> None:
    """After a new image of the book: no order waits behind more than is displayed at its price.

    Below the worst level of the image nothing is known, so the queue there stays as it was.
    """
    for s in range(2):
        if x.ladder.count[i, s] == 0:
            continue
        for k in range(x.count[i, s]):
            order = x.orders[i, s, k]
            key = (1 - 2 * s) * order["price"]
            if key >= x.ladder.keys[i, s, 0]:
                order["ahead"] = min(order["ahead"], ladder_qty(x.ladder, i, s, key))


@kernel
def _delta(x: Exchange, i: int, side: int, price: int, qty: int, seq: int) -> None:
    s = _side_index(side)
    key = side * price
    # Best prices newer than this message have the say about the touch and what is better.
    if seq < x.top_seq[i] and key >= x.top_key[i, s]:
        return
    _set_level(x, i, s, key, qty)


@kernel
def on_levels(
    x: Exchange, i: int, levels: Rows, count: int, seq: int, snapshot: int, fills: Rows
) -> int:
    """Apply one message of level changes, or with snapshot a whole book; return fill rows."""
    if snapshot:
        x.ladder.count[i, 0] = 0
        x.ladder.count[i, 1] = 0
        x.top_seq[i] = -1
        for k in range(count):
            s = _side_index(levels[k, 0])
            ladder_set(x.ladder, i, s, levels[k, 0] * levels[k, 1], levels[k, 2])
        _settle_queues(x, i)
    else:
        for k in range(count):
            _delta(x, i, levels[k, 0], levels[k, 1], levels[k, 2], seq)
    x.seq[i] = seq
    return _match_crossed(x, i, fills, 0)


@kernel
def _top_side(x: Exchange, i: int, side: int, price: int, qty: int) -> None:
    s = _side_index(side)
    if qty <= 0:
        x.ladder.count[i, s] = 0
        x.top_key[i, s] = -FAR
        return
    key = side * price
    ladder_trim(x.ladder, i, s, key)
    _set_level(x, i, s, key, qty)
    x.top_key[i, s] = key


@kernel
def on_top(
    x: Exchange, i: int, bid: int, bid_qty: int, ask: int, ask_qty: int, seq: int, fills: Rows
) -> int:
    """Apply best prices unless they are older than the levels; an empty side has quantity 0."""
    if seq <= x.seq[i] or seq <= x.top_seq[i]:
        return 0
    x.top_seq[i] = seq
    _top_side(x, i, BUY, bid, bid_qty)
    _top_side(x, i, -BUY, ask, ask_qty)
    return _match_crossed(x, i, fills, 0)


@kernel
def _print(x: Exchange, i: int, price: int, qty: int, aggressor: int, fills: Rows, n: int) -> int:
    s = _side_index(-aggressor)  # an aggressive seller meets resting bids
    sign = 1 - 2 * s
    key = sign * price
    own_before, k = 0, 0
    while k < x.count[i, s] and n < fills.shape[0]:
        order = x.orders[i, s, k]
        own = sign * order["price"]
        if own < key:
            break
        if own > key:
            take = order["qty"]
        else:
            reach = qty - own_before
            take = max(0, min(order["qty"], reach - order["ahead"]))
            order["ahead"] = max(0, order["ahead"] - max(0, reach))
            own_before += take
        if take > 0:
            order["qty"] -= take
            n = _emit(fills, n, x.orders[i, s], k, order["price"], take, _next_match(x), MAKER)
        if x.orders[i, s, k]["qty"] == 0:
            _remove(x, i, s, k)
        else:
            k += 1
    return n


@kernel
def on_trade(x: Exchange, i: int, price: int, qty: int, aggressor: int, fills: Rows) -> int:
    """Apply a public print; aggressor BUY or SELL. Return fill rows."""
    return _print(x, i, price, qty, aggressor, fills, 0)


@kernel
def on_rows(x: Exchange, rows: Rows, count: int, fills: Rows) -> int:
    """Apply the EVENT rows of one message; all rows of a message take effect before matching.

    TOP comes as two rows, BUY and SELL; kinds that say nothing about the book are passed over.
    """
    n, touched, image = 0, -1, 0
    seq = np.int64(0)
    bid, bid_qty = np.int64(0), np.int64(0)
    for k in range(count):
        row = rows[k]
        i, kind, side = np.int64(row["instrument"]), np.int64(row["kind"]), np.int64(row["side"])
        price, qty = row["price"], row["qty"]
        if kind == SEQ:
            seq = row["seq"]
        elif kind == CLEAR:
            touched, image = i, 1
            x.ladder.count[i, 0] = 0
            x.ladder.count[i, 1] = 0
            x.top_seq[i] = -1
            seq = max(seq, row["seq"])
        elif kind == DELTA:
            touched = i
            if image:
                ladder_set(x.ladder, i, _side_index(side), side * price, qty)
            else:
                _delta(x, i, side, price, qty, seq)
        elif kind == TOP:
            if side == BUY:
                bid, bid_qty = price, qty
            elif row["seq"] > x.seq[i] and row["seq"] > x.top_seq[i]:
                x.top_seq[i] = row["seq"]
                _top_side(x, i, BUY, bid, bid_qty)
                _top_side(x, i, -BUY, price, qty)
                n = _match_crossed(x, i, fills, n)
        elif kind == TRADE:
            n = _print(x, i, price, qty, side, fills, n)
    if touched >= 0:
        if image:
            _settle_queues(x, touched)
        x.seq[touched] = max(seq, x.seq[touched]) if not image else seq
        n = _match_crossed(x, touched, fills, n)
    return n


@kernel
def preview(x: Exchange, i: int, side: int, limit: int, qty: int, out: Rows) -> int:
    """Write the (price, qty) rows a taker of qty would meet, best first; return their number.

    limit in ticks, 0 for none. Own resting orders of other accounts are not shown.
    """
    other = _side_index(-side)
    at, n, left = x.ladder.count[i, other] - 1, 0, qty
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
    if x.count[i, s] == 0:
        return -FAR
    return (1 - 2 * s) * x.orders[i, s, 0]["price"]


@kernel
def _best_displayed(x: Exchange, i: int, s: int) -> int:
    n = x.ladder.count[i, s]
    return x.ladder.keys[i, s, n - 1] if n > 0 else -FAR


@kernel
def _available(x: Exchange, order: Rows, i: int, other: int, worst: int) -> int:
    """Return the quantity a taker could get at keys not below `worst`."""
    total = 0
    for at in range(x.ladder.count[i, other] - 1, -1, -1):
        if x.ladder.keys[i, other, at] < worst:
            break
        total += x.ladder.qtys[i, other, at]
    for k in range(x.count[i, other]):
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
    n = _emit(fills, n, order, 0, price, take, _next_match(x), TAKER)
    _set_level(x, i, other, key, ladder_qty(x.ladder, i, other, key) - take)
    for k in range(x.count[i, other]):  # what we took stood ahead of our own orders there
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
            n = _emit(fills, n, x.orders[i, other], 0, own["price"], 0, 0, MAKER)
            _remove(x, i, other, 0)
        if mode != STP_EXPIRE_MAKER:
            n = _emit(fills, n, order, 0, order[0]["price"], 0, 0, TAKER)
            order[0]["qty"] = 0
        return n
    take = min(order[0]["qty"], own["qty"])
    order[0]["qty"] -= take
    own["qty"] -= take
    price, match = own["price"], _next_match(x)
    n = _emit(fills, n, x.orders[i, other], 0, price, take, match, MAKER)
    n = _emit(fills, n, order, 0, price, take, match, TAKER)
    if x.orders[i, other, 0]["qty"] == 0:
        _remove(x, i, other, 0)
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
    orders, at = x.orders[i, s], x.count[i, s]
    while at > 0 and sign * orders[at - 1]["price"] < key:
        orders[at] = orders[at - 1]
        at -= 1
    order[0]["ahead"] = ladder_qty(x.ladder, i, s, key)
    order[0]["resting"] = 1
    orders[at] = order[0]
    x.count[i, s] += 1


@kernel
def place(x: Exchange, order: Rows, fills: Rows) -> int:
    """Take what the order may take and rest what may rest; see the module for the results."""
    i, side, qty = order[0]["instrument"], order[0]["side"], order[0]["qty"]
    kind, tif = order[0]["type"], order[0]["tif"]
    if i < 0 or i >= x.seq.shape[0] or qty <= 0 or (side != 1 and side != -1):
        return BAD_ORDER
    if kind != MARKET and order[0]["price"] <= 0:
        return BAD_ORDER
    s, other = _side_index(side), _side_index(-side)
    rests = kind != MARKET and (tif == GTC or tif == GTD)
    if rests and x.count[i, s] == x.orders.shape[2]:
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
    s, k = _find(x, i, order_id)
    if k < 0:
        return -1
    left = x.orders[i, s, k]["qty"]
    _remove(x, i, s, k)
    return left


@kernel
def reduce(x: Exchange, i: int, order_id: int, qty: int) -> int:
    """Make a resting order smaller without losing its place; return its new quantity or -1."""
    s, k = _find(x, i, order_id)
    if k < 0 or qty <= 0 or qty > x.orders[i, s, k]["qty"]:
        return -1
    x.orders[i, s, k]["qty"] = qty
    return qty


@kernel
def queue_ahead(x: Exchange, i: int, order_id: int) -> int:
    """Return what is displayed ahead of a resting order, -1 when it does not rest."""
    s, k = _find(x, i, order_id)
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
