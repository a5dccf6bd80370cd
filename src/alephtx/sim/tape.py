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
    DELTA,
    LAST_IN_MESSAGE,
    TICK_EXCHANGE,
    TICK_LOCAL,
    TRADE,
)
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
    ODD_BLIND,
    ODD_STOPS,
    REACH_BEST,
    REACH_TAKEN,
    REACH_WORST,
    SLOTS,
    T_BASE,
    T_CHANGED,
    T_CHANGED_HERE,
    T_COUNT,
    T_EVENTS,
    T_HEAD,
    T_HEARD,
    T_IMAGE,
    T_LAGGED,
    T_LOCAL,
    T_NEXT,
    T_ODD,
    T_QTY_UNIT,
    T_TAIL,
    T_TOPS,
    T_TRADES,
    T_TS,
    T_UNIT,
    T_VENUE,
    T_WIDE,
    TICKS,
    Z_BITS,
    Z_CLOCK,
    Z_FILLS,
    Z_LOAD,
    Z_LOCAL_BITS,
    Z_LOCAL_LOTS,
    Z_LOCAL_MARKS,
    Z_LOG,
    Z_LOTS,
    Z_MARKS,
    Z_NEAR,
    Z_REACH,
    Z_ROWS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.fifo import forget_resting
from alephtx.sim.flight import NEVER
from alephtx.sim.lane import cross, exchange_of, note_reach, say_fills
from alephtx.sim.levels import (
    Levels,
    levels_best,
    levels_clear,
    levels_set,
    levels_trim,
)
from alephtx.sim.market import on_trade, settle_queues
from alephtx.sim.plain import (
    plain_rows,
    plain_rows_here,
    plain_rows_here_wide,
    plain_rows_wide,
)
from alephtx.sim.queue import FIFO, Q_QUEUE
from alephtx.sim.rare import local_rare_row, rare_row, requeue, top_in_gap
from alephtx.sim.state import forget_taken, match_crossed, move_queue, side_index
from alephtx.sim.stops import note_print
from alephtx.sim.told import (
    local_stamp,
    log_next,
    note_image,
    stamp_of,
    tell_touch,
    write_slot,
)

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
    near, hits, odd = field(z, Z_NEAR, I4)[i], 0, field(z, Z_STREAMS, I2)[i, T_ODD]
    for j in range(near.shape[2]):
        x = exchange_of(z, j)
        if odd & ODD_BLIND != 0 or x.model[i, Q_QUEUE] == FIFO:
            requeue(x, i)
        else:
            settle_queues(x, i)
        n = match_crossed(x, i, field(z, Z_FILLS, FILLS), 0)
        if n > 0:
            say_fills(z, j, n)
            hits += n
        note_reach(z, j, i)
    field(z, Z_STREAMS, I2)[i, T_ODD] = odd & ~ODD_BLIND
    return hits


@kernel
def _forget_taken_all(z: Rows, i: Int) -> None:
    for j in range(field(z, Z_NEAR, I4).shape[3]):
        x = exchange_of(z, j)
        x.taken_count[i, 0], x.taken_count[i, 1] = 0, 0
        note_reach(z, j, i)


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
def _exchange_rows(z: Rows, rows: Rows, i: Int, before: Int, upto: Int, wide: bool) -> Int:
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
            was, near = _set(levels, i, s, key, qty), 0
            if reach[s, REACH_WORST] <= key <= reach[s, REACH_BEST] or reach[s, REACH_TAKEN] > 0:
                _queues(z, i, s, key, was, qty)
                near = 1
            if qty > 0 and reach[1 - s, REACH_BEST] + key >= 0 and stream[T_IMAGE] == 0:
                hits += cross(z, i, 1 - s, key)
                near = 1
            stream[T_CHANGED] = 1
            if near == 0 and flags == 0:  # its neighbours, most likely, meet nothing either
                k = plain_rows_wide(z, i, k) if wide else plain_rows(z, i, k)
        elif kind == TRADE:
            if reach[1 - s, REACH_BEST] + key >= 0:
                hits += _prints(z, i, price, qty, side)
            if stream[T_ODD] & ODD_STOPS != 0:
                hits += note_print(z, i, price)
            if tells and stream[T_TRADES] != 0:
                stamp = stamp_of(z, i, ts, row["ts_recv"])
                write_slot(z, i, ts, stamp, TRADE, flags, side, price, qty, 0, 0)
                before = min(before, log_next(z, i)) if events else before
        elif kind > CLEAR:
            hits += rare_row(z, i, k - 1)
        else:
            hits += _other_row(z, levels, i, kind, s, key, qty)
        if flags & LAST_IN_MESSAGE:
            if stream[T_IMAGE] != 0:
                stream[T_IMAGE] = 0
                hits += _imaged(z, i)
            if tells and stream[T_CHANGED] != 0:
                tell_touch(z, levels, i, ts, row["ts_recv"])
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
        forget_resting(z, i, 0)
        stream[T_IMAGE] = 1
        if stream[T_LAGGED] == 0:
            note_image(stream)
    elif stream[T_ODD] & ODD_BLIND != 0:
        top_in_gap(stream)
    elif qty > 0:
        _queues(z, i, s, key, was, qty)
        return cross(z, i, 1 - s, key)
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
        return _exchange_rows(z, field(z, Z_ROWS + i, EVENTS), i, before, upto, wide=True)
    return _exchange_rows(z, field(z, Z_ROWS + i, TICKS), i, before, upto, wide=False)


@inline_kernel
def _local_rows(z: Rows, rows: Rows, i: Int, upto: Int, messages: Int, wide: bool) -> Int:
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
        flags, kind, at = np.int64(row["flags"]), np.int64(row["kind"]), k
        k = _skip(rows, k + 1, n, TICK_EXCHANGE)
        side, price = np.int64(row["side"]), base + np.int64(row["price"]) * unit
        qty = np.int64(row["qty"]) * qty_unit
        s = 0 if side > 0 else 1
        if kind == DELTA:
            _set(levels, i, s, side * price, qty)
            stream[T_CHANGED_HERE] = 1
            if flags == 0 and k == at + 1:
                k = plain_rows_here_wide(z, i, k) if wide else plain_rows_here(z, i, k)
                k = _skip(rows, k, n, TICK_EXCHANGE)
        elif kind == TRADE:
            if stream[T_TRADES] != 0:
                stamp = stamp_of(z, i, row["ts_event"], row["ts_recv"])
                write_slot(z, i, row["ts_event"], stamp, TRADE, flags, side, price, qty, 0, 0)
        elif kind > CLEAR:
            local_rare_row(z, i, at)
        else:
            _book_row(levels, i, kind, s, side * price, qty)
            stream[T_CHANGED_HERE] = 1
            if kind == CLEAR:
                forget_resting(z, i, 1)
            if kind == CLEAR or stream[T_TOPS] != 0:
                note_image(stream)
        if flags & LAST_IN_MESSAGE:
            heard += 1
            if stream[T_CHANGED_HERE] != 0:
                stream[T_CHANGED_HERE] = 0
                tell_touch(z, levels, i, row["ts_event"], row["ts_recv"])
    stream[T_LOCAL] = k
    return heard


@kernel
def run_local(z: Rows, i: Int, upto: Int, messages: Int) -> int:
    """Let our late copy hear at most so many messages up to a time; returns how many."""
    if field(z, Z_STREAMS, I2)[i, T_WIDE] != 0:
        return _local_rows(z, field(z, Z_ROWS + i, EVENTS), i, upto, messages, wide=True)
    return _local_rows(z, field(z, Z_ROWS + i, TICKS), i, upto, messages, wide=False)


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
