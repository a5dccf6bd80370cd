"""Tapes order by order: who stands before our orders is known, not estimated.

A table holds every recorded resting order by its id, with the number of its arrival at the back of
a queue. An order of ours that comes to rest notes how many had arrived by then. So whoever leaves a
level stood before us or behind us, for certain; and when one behind us trades, or one at a worse
price, whoever traded would have met us first: those lots fill ours (at a better price: the whole
order, as a print through it does), up to what traded.

Public prints move nobody here, they repeat what ORDER_FILL rows said; except that one through our
price fills, as an order that nobody saw traded there. A new image tells no arrivals older than
itself: after it our orders stand at the back.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.words import MAKER, ORDER_ADD, ORDER_CHANGE, ORDER_FILL
from alephtx.sim.bottle import (
    FILLS,
    I1,
    I2,
    I3,
    I4,
    K_GROW,
    K_GROW_RESTING,
    K_RESTING,
    REACH_BEST,
    REACH_TAKEN,
    T_CHANGED,
    T_CHANGED_HERE,
    T_IMAGE,
    T_IMAGES,
    Z_BITS,
    Z_CLOCK,
    Z_FILLS,
    Z_LOCAL_BITS,
    Z_LOCAL_LOTS,
    Z_LOCAL_MARKS,
    Z_LOTS,
    Z_MARKS,
    Z_MODEL,
    Z_NEAR,
    Z_REACH,
    Z_RESTING,
    Z_STREAMS,
)
from alephtx.sim.lane import cross, exchange_of, note_reach, say_fills
from alephtx.sim.levels import NO_LEVEL, Levels, levels_qty, levels_set
from alephtx.sim.queue import PARTIAL, Q_ARRIVALS, Q_FILL
from alephtx.sim.resting import (
    ARRIVAL,
    KEY,
    LEFT,
    ORDER_ID,
    OWNER,
    SIDE_OF,
    resting_find,
    resting_free,
)
from alephtx.sim.state import Exchange, emit, forget_taken, next_match, remove

Rows = np.ndarray[Any, Any]


@inline_kernel
def _move_level(levels: Levels, i: Int, s: Int, key: Int, lots: Int) -> None:
    levels_set(levels, i, s, key, max(levels_qty(levels, i, s, key) + lots, 0))


@kernel
def _change(
    z: Rows, ours: Int, i: Int, kind: Int, order_id: Int, s: Int, key: Int, qty: Int
) -> tuple[int, int, int, int, int]:
    """Let a row change a side's table and levels.

    Returns (side, key, lots gone from there, arrival of the order that left them, lots added at
    `key` of the same side); nothing gone is key NO_LEVEL.
    """
    table, clock = field(z, Z_RESTING, I3)[ours], field(z, Z_CLOCK, I1)
    model = field(z, Z_MODEL, I2)[i]
    levels = Levels(field(z, Z_LOTS, I3), field(z, Z_BITS, I3), field(z, Z_MARKS, I3))
    if ours != 0:
        levels = Levels(
            field(z, Z_LOCAL_LOTS, I3), field(z, Z_LOCAL_BITS, I3), field(z, Z_LOCAL_MARKS, I3)
        )
    owner = (field(z, Z_STREAMS, I2)[i, T_IMAGES + ours] << 20) + i + 1
    at = resting_find(table, owner, order_id)
    known, added = table[at, OWNER] != 0, 0
    if kind == ORDER_ADD:
        if known or qty <= 0:
            return s, NO_LEVEL, 0, 0, 0
        table[at, OWNER], table[at, ORDER_ID], added = owner, order_id, qty
        clock[K_RESTING + ours] += 1
        if ours == 0 and 2 * clock[K_RESTING] >= table.shape[0]:
            clock[K_GROW] = K_GROW_RESTING
        old, gone, arrival = NO_LEVEL, 0, 0
    elif not known:
        return s, NO_LEVEL, 0, 0, 0
    else:
        s, old, gone, arrival = table[at, SIDE_OF], table[at, KEY], table[at, LEFT], 0
        arrival = table[at, ARRIVAL]
        if kind == ORDER_FILL or (kind == ORDER_CHANGE and key == old and 0 < qty <= gone):
            gone = min(qty, gone) if kind == ORDER_FILL else gone - qty
            table[at, LEFT] -= gone
        else:
            added = max(qty, 0) if kind == ORDER_CHANGE else 0
            table[at, LEFT] = 0
        _move_level(levels, i, s, old, -gone)
        if table[at, LEFT] == 0 and added == 0:
            resting_free(table, at)
            clock[K_RESTING + ours] -= 1
    if added > 0:
        model[Q_ARRIVALS] += 1 - ours
        table[at, KEY], table[at, SIDE_OF], table[at, LEFT] = key, s, added
        table[at, ARRIVAL] = model[Q_ARRIVALS]
        _move_level(levels, i, s, key, added)
    return s, old, gone, arrival, added


@kernel
def _queue_moves(
    x: Exchange, i: int, s: int, key: int, gone: int, arrival: int, traded: int, fills: Rows
) -> int:
    """Move our places by lots that left a level, and fill what of ours they would have met."""
    sign, rest, n, k = 1 - 2 * s, gone, 0, 0
    whole = x.model[i, Q_FILL] != PARTIAL
    while k < x.live[i, s] and n < fills.shape[0]:
        own, take = sign * x.orders[i, s, k]["price"], 0
        before = float(arrival) > x.orders[i, s, k]["traded"]  # we stand before the one who left
        if own < key:
            break
        if own > key:
            take = x.orders[i, s, k]["qty"] if traded != 0 else 0
        elif not before:
            ahead = x.orders[i, s, k]["ahead"] - float(gone)
            x.orders[i, s, k]["ahead"] = max(0.0, ahead)
        elif traded != 0:
            take = min(x.orders[i, s, k]["qty"], rest)
            rest -= take
            if whole and take > 0:
                take = x.orders[i, s, k]["qty"]
        if take > 0:
            x.orders[i, s, k]["qty"] -= take
            price = x.orders[i, s, k]["price"]
            n = emit(fills, n, x.orders[i, s], k, price, take, next_match(x), MAKER)
        if x.orders[i, s, k]["qty"] == 0:
            remove(x, i, s, k)
        else:
            k += 1
    return n


@kernel
def _gone(z: Rows, i: Int, s: Int, key: Int, gone: Int, arrival: Int, traded: Int) -> int:
    """Tell every lane what left a level; returns fills."""
    near, hits = field(z, Z_NEAR, I4)[i], 0
    for j in range(near.shape[2]):
        x = exchange_of(z, j)
        if x.taken_count[i, s] > 0:
            forget_taken(x, i, s, key)
        if near[s, 1, j] < key:
            continue
        n = _queue_moves(x, i, s, key, gone, arrival, traded, field(z, Z_FILLS, FILLS))
        if n > 0:
            say_fills(z, j, n)
            note_reach(z, j, i)
            hits += n
    return hits


@kernel
def fifo_row(z: Rows, i: Int, kind: Int, order_id: Int, side: Int, price: Int, qty: Int) -> int:
    """Let an ORDER_... row change the exchange's side; returns fills of ours."""
    stream, reach, hits = field(z, Z_STREAMS, I2)[i], field(z, Z_REACH, I3)[i], 0
    s = 0 if side > 0 else 1
    stream[T_CHANGED] = 1
    s, old, gone, arrival, added = _change(z, 0, i, kind, order_id, s, (1 - 2 * s) * price, qty)
    if gone > 0 and (reach[s, REACH_BEST] >= old or reach[s, REACH_TAKEN] > 0):
        traded = kind == ORDER_FILL and reach[s, REACH_BEST] >= old
        hits += _gone(z, i, s, old, gone, arrival, 1 if traded else 0)
    if added > 0:
        key = (1 - 2 * s) * price
        if reach[s, REACH_TAKEN] > 0:
            hits += _gone(z, i, s, key, 0, 0, 0)
        if reach[1 - s, REACH_BEST] + key >= 0 and stream[T_IMAGE] == 0:
            hits += cross(z, i, 1 - s, key)
    return hits


@kernel
def local_fifo_row(
    z: Rows, i: Int, kind: Int, order_id: Int, side: Int, price: Int, qty: Int
) -> None:  # fmt: skip
    """Let an ORDER_... row change our late copy of a book."""
    s = 0 if side > 0 else 1
    field(z, Z_STREAMS, I2)[i, T_CHANGED_HERE] = 1
    _change(z, 1, i, kind, order_id, s, (1 - 2 * s) * price, qty)


@kernel
def forget_resting(z: Rows, i: Int, ours: Int) -> None:
    """Forget the recorded orders of an instrument: a new image follows."""
    field(z, Z_STREAMS, I2)[i, T_IMAGES + ours] += 1
