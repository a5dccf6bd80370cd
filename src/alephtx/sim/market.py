"""What the market does to the matching engine: levels, best prices, prints; see `sim.matching`."""

from alephtx.core.kernel import kernel
from alephtx.core.words import BUY, CLEAR, DELTA, MAKER, SEQ, TOP, TRADE
from alephtx.sim.ladder import ladder_qty, ladder_set, ladder_trim
from alephtx.sim.state import (
    FAR,
    Exchange,
    Rows,
    emit,
    match_crossed,
    next_match,
    remove,
    set_level,
    side_index,
    word,
)


@kernel
def _settle_queues(x: Exchange, i: int) -> None:
    """After a new image of the book: no order waits behind more than is displayed at its price.

    Below the worst level of the image nothing is known, so the queue there stays as it was.
    """
    for s in range(2):
        if x.ladder.sizes[i, s] == 0:
            continue
        for k in range(x.live[i, s]):
            order = x.orders[i, s, k]
            key = (1 - 2 * s) * order["price"]
            if key >= x.ladder.keys[i, s, 0]:
                order["ahead"] = min(order["ahead"], ladder_qty(x.ladder, i, s, key))


@kernel
def _delta(x: Exchange, i: int, side: int, price: int, qty: int, seq: int) -> None:
    s = side_index(side)
    key = side * price
    # Best prices newer than this message have the say about the touch and what is better.
    if seq < x.top_seq[i] and key >= x.top_key[i, s]:
        return
    set_level(x, i, s, key, qty)


@kernel
def on_levels(
    x: Exchange, i: int, levels: Rows, count: int, seq: int, snapshot: int, fills: Rows
) -> int:
    """Apply one message of level changes, or with snapshot a whole book; return fill rows."""
    if snapshot:
        x.ladder.sizes[i, 0] = 0
        x.ladder.sizes[i, 1] = 0
        x.top_seq[i] = -1
        for k in range(count):
            s = side_index(levels[k, 0])
            ladder_set(x.ladder, i, s, levels[k, 0] * levels[k, 1], levels[k, 2])
        _settle_queues(x, i)
    else:
        for k in range(count):
            _delta(x, i, levels[k, 0], levels[k, 1], levels[k, 2], seq)
    x.seq[i] = seq
    return match_crossed(x, i, fills, 0)


@kernel
def _top_side(x: Exchange, i: int, side: int, price: int, qty: int) -> None:
    s = side_index(side)
    if qty <= 0:
        x.ladder.sizes[i, s] = 0
        x.top_key[i, s] = -FAR
        return
    key = side * price
    ladder_trim(x.ladder, i, s, key)
    set_level(x, i, s, key, qty)
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
    return match_crossed(x, i, fills, 0)


@kernel
def _print(x: Exchange, i: int, price: int, qty: int, aggressor: int, fills: Rows, n: int) -> int:
    s = side_index(-aggressor)  # an aggressive seller meets resting bids
    sign = 1 - 2 * s
    key = sign * price
    own_before, k = 0, 0
    while k < x.live[i, s] and n < fills.shape[0]:
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
            n = emit(fills, n, x.orders[i, s], k, order["price"], take, next_match(x), MAKER)
        if x.orders[i, s, k]["qty"] == 0:
            remove(x, i, s, k)
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
    Level changes without a SEQ row count as newer than any best price.
    """
    n, touched, image = 0, -1, 0
    seq, bid, bid_qty = 0, 0, 0
    for k in range(count):
        row = rows[k]
        i, kind, side = word(row["instrument"]), word(row["kind"]), word(row["side"])
        price, qty = row["price"], row["qty"]
        if kind == SEQ:
            seq = row["seq"]
        elif kind == CLEAR:
            touched, image = i, 1
            x.ladder.sizes[i, 0] = 0
            x.ladder.sizes[i, 1] = 0
            x.top_seq[i] = -1
            seq = max(seq, row["seq"])
        elif kind == DELTA:
            touched = i
            if image:
                ladder_set(x.ladder, i, side_index(side), side * price, qty)
            else:
                _delta(x, i, side, price, qty, seq if seq != 0 else FAR)
        elif kind == TOP:
            if side == BUY:
                bid, bid_qty = price, qty
            elif row["seq"] > x.seq[i] and row["seq"] > x.top_seq[i]:
                x.top_seq[i] = row["seq"]
                _top_side(x, i, BUY, bid, bid_qty)
                _top_side(x, i, -BUY, price, qty)
                n = match_crossed(x, i, fills, n)
        elif kind == TRADE:
            n = _print(x, i, price, qty, side, fills, n)
    if touched >= 0:
        if image:
            _settle_queues(x, touched)
        if image or seq > x.seq[touched]:
            x.seq[touched] = seq
        n = match_crossed(x, touched, fills, n)
    return n
