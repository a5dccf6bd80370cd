"""What the market does to the matching engine: levels, best prices, prints; see `sim.matching`."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.words import BUY, CLEAR, DELTA, MAKER, SEQ, TOP, TRADE
from alephtx.sim.levels import (
    NO_LEVEL,
    levels_clear,
    levels_qty,
    levels_set,
    levels_trim,
    levels_worst,
)
from alephtx.sim.queue import FIFO, PARTIAL, Q_FILL, Q_QUEUE
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
def settle_queues(x: Exchange, i: int) -> None:
    """After a new image of the book: no order waits behind more than is displayed at its price.

    Below the worst level of the image nothing is known, so the queue there stays as it was.
    """
    for s in range(2):
        worst = levels_worst(x.levels, i, s) if x.live[i, s] > 0 else NO_LEVEL
        if worst == NO_LEVEL:
            continue
        for k in range(x.live[i, s]):
            order = x.orders[i, s, k]
            key = (1 - 2 * s) * order["price"]
            if key >= worst:
                order["ahead"] = min(order["ahead"], float(levels_qty(x.levels, i, s, key)))
                order["traded"] = 0.0


@inline_kernel
def _forget_book(x: Exchange, i: Int) -> None:
    for s in range(2):
        levels_clear(x.levels, i, s)
        x.taken_count[i, s] = 0
    x.top_seq[i] = -1


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
        _forget_book(x, i)
        for k in range(count):
            s = side_index(levels[k, 0])
            levels_set(x.levels, i, s, levels[k, 0] * levels[k, 1], levels[k, 2])
        settle_queues(x, i)
    else:
        for k in range(count):
            _delta(x, i, levels[k, 0], levels[k, 1], levels[k, 2], seq)
    x.seq[i] = seq
    return match_crossed(x, i, fills, 0)


@kernel
def _top_side(x: Exchange, i: int, side: int, price: int, qty: int) -> None:
    s = side_index(side)
    if qty <= 0:
        levels_clear(x.levels, i, s)
        x.taken_count[i, s] = 0
        x.top_key[i, s] = NO_LEVEL
        return
    key = side * price
    levels_trim(x.levels, i, s, key)
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
    """Let a public print eat the queue at its price and what of ours it reached or went through."""
    s = side_index(-aggressor)  # an aggressive seller meets resting bids
    sign, whole = 1 - 2 * s, x.model[i, Q_FILL] != PARTIAL
    key = sign * price
    own_before, k, fifo = 0, 0, x.model[i, Q_QUEUE] == FIFO
    while k < x.live[i, s] and n < fills.shape[0]:
        own = sign * x.orders[i, s, k]["price"]
        if own < key:
            break
        take = x.orders[i, s, k]["qty"]
        if own == key and fifo:
            break
        if own == key:
            reach = float(qty - own_before) - x.orders[i, s, k]["ahead"]
            x.orders[i, s, k]["ahead"] -= float(max(0, qty - own_before))
            x.orders[i, s, k]["traded"] += float(qty)
            if whole:
                take = take if reach > 0.5 else 0
            else:
                take = min(take, max(0, np.int64(reach)))
                own_before += take
            x.orders[i, s, k]["ahead"] = max(0.0, x.orders[i, s, k]["ahead"])
        if take > 0:
            x.orders[i, s, k]["qty"] -= take
            at = x.orders[i, s, k]["price"]
            n = emit(fills, n, x.orders[i, s], k, at, take, next_match(x), MAKER)
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
            _forget_book(x, i)
            seq = max(seq, row["seq"])
        elif kind == DELTA:
            touched = i
            if image:
                levels_set(x.levels, i, side_index(side), side * price, qty)
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
            settle_queues(x, touched)
        if image or seq > x.seq[touched]:
            x.seq[touched] = seq
        n = match_crossed(x, touched, fills, n)
    return n
