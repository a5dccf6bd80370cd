"""The recorded market runs by: rows into the book, what they did to our orders, what we hear.

The exchange's side goes by `ts_event`. Our side is late by the feed's delay; it is not a second
book where nobody reads depth, but a log: each time a message changed the touch, the exchange's side
writes down the slot that our feeder would have published, with the time at which we hear it. Where
a strategy reads depth, a second book follows at that distance instead.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.words import (
    CLEAR,
    CROSSED,
    DELTA,
    EMPTY_SIDE,
    LAST_IN_MESSAGE,
    TICK_EXCHANGE,
    TICK_LOCAL,
    TOP,
    TRADE,
)
from alephtx.matrix.ring import slot_aux
from alephtx.sim.bottle import (
    EVENTS,
    FILLS,
    I1,
    I2,
    I3,
    I4,
    K_GROW,
    K_GROW_LOG,
    K_LOAD_ON,
    K_NOW,
    K_ROWS,
    REACH_BEST,
    REACH_TAKEN,
    REACH_WORST,
    SLOTS,
    T_ASK,
    T_ASK_QTY,
    T_BASE,
    T_BID,
    T_BID_QTY,
    T_CHANGED,
    T_COUNT,
    T_DEEP,
    T_EVENTS,
    T_FEED_NS,
    T_HEAD,
    T_HEARD,
    T_IMAGE,
    T_LAGGED,
    T_LOCAL,
    T_NEXT,
    T_QTY_UNIT,
    T_SLOT,
    T_STAMP,
    T_TAIL,
    T_TRADES,
    T_TS,
    T_UNIT,
    T_VENUE,
    T_WIDE,
    TICKS,
    Z_BITS,
    Z_CLOCK,
    Z_FILLS,
    Z_LATENCY,
    Z_LOAD,
    Z_LOCAL_BITS,
    Z_LOCAL_LOTS,
    Z_LOCAL_MARKS,
    Z_LOG,
    Z_LOTS,
    Z_MARKS,
    Z_NEAR,
    Z_POINTS,
    Z_REACH,
    Z_ROWS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.flight import NEVER
from alephtx.sim.lane import exchange_of, note_reach, say_fills
from alephtx.sim.latency import FEED, L_DELAY, L_KIND, RECORDED, delay_of
from alephtx.sim.levels import (
    NO_LEVEL,
    Levels,
    levels_best,
    levels_clear,
    levels_qty,
    levels_set,
    levels_trim,
)
from alephtx.sim.market import on_trade, settle_queues
from alephtx.sim.state import forget_taken, match_crossed, move_queue, side_index

LOAD_NS = 10_000_000


@kernel
def _queues(z: Rows, i: Int, s: Int, key: Int, before: Int, qty: Int) -> None:
    """Tell every lane with orders at a level, or that took from it, that its lots changed."""
    near = field(z, Z_NEAR, I4)[i]
    for j in range(near.shape[2]):
        x = exchange_of(z, j)
        if x.taken_count[i, s] > 0:
            forget_taken(x, i, s, key)
        if near[s, 0, j] <= key <= near[s, 1, j]:
            move_queue(x, i, s, key, before, qty)


@kernel
def _crossed(z: Rows, i: Int, s: Int, key: Int) -> int:
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


@kernel
def _prints(z: Rows, i: Int, price: Int, qty: Int, aggressor: Int) -> int:
    """Let a public print meet our orders; returns fills."""
    near, hits = field(z, Z_NEAR, I4)[i], 0
    s = side_index(-aggressor)
    key = (1 - 2 * s) * price
    for j in range(near.shape[2]):
        if near[s, 1, j] < key:
            continue
        n = on_trade(exchange_of(z, j), i, price, qty, aggressor, field(z, Z_FILLS, FILLS))
        if n > 0:
            say_fills(z, j, n)
            note_reach(z, j, i)
            hits += n
    return hits


@kernel
def _imaged(z: Rows, i: Int) -> int:
    """After a whole new book: queues may have become shorter, orders may have been reached."""
    near, hits = field(z, Z_NEAR, I4)[i], 0
    for j in range(near.shape[2]):
        x = exchange_of(z, j)
        settle_queues(x, i)
        n = match_crossed(x, i, field(z, Z_FILLS, FILLS), 0)
        if n > 0:
            say_fills(z, j, n)
            hits += n
        note_reach(z, j, i)
    return hits


@kernel
def _forget_taken_all(z: Rows, i: Int) -> None:
    for j in range(field(z, Z_NEAR, I4).shape[3]):
        x = exchange_of(z, j)
        x.taken_count[i, 0], x.taken_count[i, 1] = 0, 0
        note_reach(z, j, i)


@kernel
def _stamp(z: Rows, i: Int, ts_event: Int, ts_recv: Int) -> int:
    """Return when we hear a message, by the feed's model; never before the one before it."""
    stream = field(z, Z_STREAMS, I2)[i]
    model = field(z, Z_LATENCY, I3)[stream[T_VENUE], FEED]
    if model[L_KIND] == RECORDED:
        stamp = ts_recv + model[L_DELAY]
    else:
        load = field(z, Z_LOAD, I2)[stream[T_VENUE]]
        points = field(z, Z_POINTS, I2)
        stamp = ts_event + delay_of(model, points, ts_event, 0, load[1] + load[2])
    stamp = max(stamp, stream[T_STAMP], ts_event)
    stream[T_STAMP] = stamp
    return stamp


@kernel
def _write_slot(
    z: Rows, i: Int, ts_event: Int, stamp: Int, kind: Int, flags: Int, side: Int, a: Int, b: Int,
    c: Int, d: Int,
) -> None:  # fmt: skip
    """Write a slot of the log, as a feeder would publish it into its ring."""
    stream, log = field(z, Z_STREAMS, I2)[i], field(z, Z_LOG, SLOTS)
    row = log[i, stream[T_TAIL] & (log.shape[1] - 1)]
    stream[T_TAIL] += 1
    stream[T_SLOT] += 1
    row["word"], row["ts_event"], row["ts_recv"] = 2 * stream[T_SLOT], ts_event, stamp
    row["bid"], row["bid_qty"], row["ask"], row["ask_qty"] = a, b, c, d
    row["aux"] = slot_aux(i, kind, flags, side)


@kernel
def _tell_touch(z: Rows, levels: Levels, i: Int, ts_event: Int, ts_recv: Int) -> None:
    """Write the touch after a message, if it is another, or the depth changed and is wanted."""
    stream = field(z, Z_STREAMS, I2)[i]
    bid, ask = levels_best(levels, i, 0), -levels_best(levels, i, 1)
    bid_qty = levels_qty(levels, i, 0, bid) if bid != NO_LEVEL else 0
    ask_qty = levels_qty(levels, i, 1, -ask) if ask != -NO_LEVEL else 0
    bid, ask = bid if bid_qty > 0 else 0, ask if ask_qty > 0 else 0
    same = (
        bid == stream[T_BID]
        and bid_qty == stream[T_BID_QTY]
        and ask == stream[T_ASK]
        and ask_qty == stream[T_ASK_QTY]
    )
    stream[T_CHANGED] = 0
    if same and stream[T_DEEP] == 0:
        return
    stream[T_BID], stream[T_BID_QTY], stream[T_ASK], stream[T_ASK_QTY] = bid, bid_qty, ask, ask_qty
    flags = EMPTY_SIDE if bid_qty == 0 or ask_qty == 0 else CROSSED if bid >= ask else 0
    kind = DELTA if same else TOP
    stamp = _stamp(z, i, ts_event, ts_recv)
    _write_slot(z, i, ts_event, stamp, kind, flags, 0, bid, bid_qty, ask, ask_qty)


@inline_kernel
def log_next(z: Rows, i: Int) -> Int:
    """Return when the oldest slot of the log is heard, NEVER without one."""
    stream, log = field(z, Z_STREAMS, I2)[i], field(z, Z_LOG, SLOTS)
    if stream[T_HEAD] == stream[T_TAIL]:
        return NEVER
    return log[i, stream[T_HEAD] & (log.shape[1] - 1)]["ts_recv"]


@inline_kernel
def _set(levels: Levels, i: Int, s: Int, key: Int, qty: Int) -> Int:
    """Set a level; what it crosses on the other side is gone. Returns the lots before."""
    best = levels_best(levels, i, s)
    before = levels_set(levels, i, s, key, qty)
    if qty > 0 and key > best and levels_best(levels, i, 1 - s) + key >= 0:
        levels_trim(levels, i, 1 - s, -key - 1)
    return before


@inline_kernel
def _book_row(levels: Levels, i: Int, kind: Int, s: Int, key: Int, qty: Int) -> Int:
    """Apply a CLEAR, or one side of a TOP, to a book; returns the lots that were at the key."""
    if kind == CLEAR:
        levels_clear(levels, i, 0)
        levels_clear(levels, i, 1)
        return 0
    if qty <= 0:
        levels_clear(levels, i, s)
        return 0
    levels_trim(levels, i, s, key)
    return _set(levels, i, s, key, qty)


@inline_kernel
def _skip(rows: Rows, k: Int, n: Int, flag: Int) -> Int:
    """Return the next row from k on that this side sees."""
    while k < n and np.int64(rows[k]["flags"]) & flag != 0:
        k += 1
    return k


@inline_kernel
def _exchange_rows(z: Rows, rows: Rows, i: Int, before: Int, upto: Int) -> Int:
    """Run the exchange's side of one instrument; see `run_exchange`."""
    stream, clock, reach = (
        field(z, Z_STREAMS, I2)[i], field(z, Z_CLOCK, I1), field(z, Z_REACH, I3)[i],
    )  # fmt: skip
    levels = Levels(field(z, Z_LOTS, I3), field(z, Z_BITS, I3), field(z, Z_MARKS, I3))
    base, unit, qty_unit = stream[T_BASE], stream[T_UNIT], stream[T_QTY_UNIT]
    tells = stream[T_HEARD] != 0 and stream[T_LAGGED] == 0
    events = stream[T_EVENTS] != 0
    slots, first = field(z, Z_LOG, SLOTS).shape[1], stream[T_NEXT]
    k, n, hits = first, stream[T_COUNT], 0
    while k < n and hits == 0:
        row = rows[k]
        ts = row["ts_event"]
        flags, kind = np.int64(row["flags"]), np.int64(row["kind"])
        if flags & TICK_LOCAL:
            k += 1
            continue
        if ts >= before or ts > upto:
            break
        if tells and stream[T_TAIL] - stream[T_HEAD] >= slots - 2:
            clock[K_GROW] = K_GROW_LOG
            break
        k += 1
        clock[K_NOW] = ts
        side, price = np.int64(row["side"]), base + np.int64(row["price"]) * unit
        qty = np.int64(row["qty"]) * qty_unit
        s = 0 if side > 0 else 1
        key = side * price
        if kind == DELTA:
            was = _set(levels, i, s, key, qty)
            if reach[s, REACH_WORST] <= key <= reach[s, REACH_BEST] or reach[s, REACH_TAKEN] > 0:
                _queues(z, i, s, key, was, qty)
            if qty > 0 and reach[1 - s, REACH_BEST] + key >= 0 and stream[T_IMAGE] == 0:
                hits += _crossed(z, i, 1 - s, key)
            stream[T_CHANGED] = 1
        elif kind == TRADE:
            if reach[1 - s, REACH_BEST] + key >= 0:
                hits += _prints(z, i, price, qty, side)
            if tells and stream[T_TRADES] != 0:
                stamp = _stamp(z, i, ts, row["ts_recv"])
                _write_slot(z, i, ts, stamp, TRADE, flags, side, price, qty, 0, 0)
                before = min(before, log_next(z, i)) if events else before
        else:
            hits += _other_row(z, levels, i, kind, s, key, qty)
        if flags & LAST_IN_MESSAGE:
            if stream[T_IMAGE] != 0:
                stream[T_IMAGE] = 0
                hits += _imaged(z, i)
            if tells and stream[T_CHANGED] != 0:
                _tell_touch(z, levels, i, ts, row["ts_recv"])
                before = min(before, log_next(z, i)) if events else before
    k = _skip(rows, k, n, TICK_LOCAL)
    stream[T_NEXT] = k
    stream[T_TS] = rows[k]["ts_event"] if k < n else NEVER
    clock[K_ROWS] += k - first
    if clock[K_LOAD_ON] != 0:
        _count_load(z, stream[T_VENUE], clock[K_NOW], k - first)
    return hits


@kernel
def _other_row(z: Rows, levels: Levels, i: Int, kind: Int, s: Int, key: Int, qty: Int) -> int:
    """Take a row that is neither a level nor a print; returns fills."""
    stream = field(z, Z_STREAMS, I2)[i]
    was = _book_row(levels, i, kind, s, key, qty)
    stream[T_CHANGED] = 1
    if kind == CLEAR:
        _forget_taken_all(z, i)
        stream[T_IMAGE] = 1
    elif qty > 0:
        _queues(z, i, s, key, was, qty)
        return _crossed(z, i, 1 - s, key)
    return 0


@kernel
def _count_load(z: Rows, venue: Int, now: Int, rows: Int) -> None:
    load = field(z, Z_LOAD, I2)[venue]
    bucket = now // LOAD_NS
    if bucket != load[0]:
        load[2] = load[1] if bucket == load[0] + 1 else 0
        load[0], load[1] = bucket, 0
    load[1] += rows


@kernel
def run_exchange(z: Rows, i: Int, before: Int, upto: Int) -> int:
    """Run an instrument's rows with ts_event < before and <= upto; returns fills of ours.

    Stops at the first row that fills: its reports may be home before the next row. Stops too where
    the log or the reports need room (clock[K_GROW]).
    """
    if field(z, Z_STREAMS, I2)[i, T_WIDE] != 0:
        return _exchange_rows(z, field(z, Z_ROWS + i, EVENTS), i, before, upto)
    return _exchange_rows(z, field(z, Z_ROWS + i, TICKS), i, before, upto)


@inline_kernel
def _local_rows(z: Rows, rows: Rows, i: Int, upto: Int, messages: Int) -> Int:
    """Let our late copy of a book hear; see `run_local`."""
    stream = field(z, Z_STREAMS, I2)[i]
    levels = Levels(
        field(z, Z_LOCAL_LOTS, I3), field(z, Z_LOCAL_BITS, I3), field(z, Z_LOCAL_MARKS, I3)
    )
    base, unit, qty_unit = stream[T_BASE], stream[T_UNIT], stream[T_QTY_UNIT]
    slots = field(z, Z_LOG, SLOTS).shape[1]
    n, heard = stream[T_COUNT], 0
    k = _skip(rows, stream[T_LOCAL], n, TICK_EXCHANGE)
    while k < n and heard < messages and stream[T_TAIL] - stream[T_HEAD] < slots - 2:
        row = rows[k]
        if local_stamp(z, i, row["ts_event"], row["ts_recv"]) > upto:
            break
        flags, kind = np.int64(row["flags"]), np.int64(row["kind"])
        k = _skip(rows, k + 1, n, TICK_EXCHANGE)
        side, price = np.int64(row["side"]), base + np.int64(row["price"]) * unit
        qty = np.int64(row["qty"]) * qty_unit
        s = 0 if side > 0 else 1
        if kind == DELTA:
            _set(levels, i, s, side * price, qty)
            stream[T_CHANGED] = 1
        elif kind == TRADE:
            if stream[T_TRADES] != 0:
                stamp = _stamp(z, i, row["ts_event"], row["ts_recv"])
                _write_slot(z, i, row["ts_event"], stamp, TRADE, flags, side, price, qty, 0, 0)
        else:
            _book_row(levels, i, kind, s, side * price, qty)
            stream[T_CHANGED] = 1
        if flags & LAST_IN_MESSAGE:
            heard += 1
            if stream[T_CHANGED] != 0:
                _tell_touch(z, levels, i, row["ts_event"], row["ts_recv"])
    stream[T_LOCAL] = k
    return heard


@kernel
def local_stamp(z: Rows, i: Int, ts_event: Int, ts_recv: Int) -> int:
    """Return when we shall hear a message, without noting it."""
    stream = field(z, Z_STREAMS, I2)[i]
    kept = stream[T_STAMP]
    stamp = _stamp(z, i, ts_event, ts_recv)
    stream[T_STAMP] = kept
    return stamp


@kernel
def run_local(z: Rows, i: Int, upto: Int, messages: Int) -> int:
    """Let our late copy hear at most so many messages up to a time; returns how many."""
    if field(z, Z_STREAMS, I2)[i, T_WIDE] != 0:
        return _local_rows(z, field(z, Z_ROWS + i, EVENTS), i, upto, messages)
    return _local_rows(z, field(z, Z_ROWS + i, TICKS), i, upto, messages)


@kernel
def local_next(z: Rows, i: Int) -> int:
    """Return when our late copy hears its next row, NEVER without one."""
    stream = field(z, Z_STREAMS, I2)[i]
    k = stream[T_LOCAL]
    if stream[T_LAGGED] == 0 or k >= stream[T_COUNT]:
        return NEVER
    if stream[T_WIDE] != 0:
        wide = field(z, Z_ROWS + i, EVENTS)
        return local_stamp(z, i, wide[k]["ts_event"], wide[k]["ts_recv"])
    ticks = field(z, Z_ROWS + i, TICKS)
    return local_stamp(z, i, ticks[k]["ts_event"], ticks[k]["ts_recv"])


@inline_kernel
def log_take(z: Rows, i: Int, out: Rows) -> None:
    """Take the oldest slot into out, TOP_ROW (1,), and note the delay it had."""
    stream, log = field(z, Z_STREAMS, I2)[i], field(z, Z_LOG, SLOTS)
    out[0] = log[i, stream[T_HEAD] & (log.shape[1] - 1)]
    stream[T_HEAD] += 1
    stream[T_FEED_NS] = out[0]["ts_recv"] - out[0]["ts_event"]
