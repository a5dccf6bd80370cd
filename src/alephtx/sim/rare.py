"""Rows of a tape that seldom come: gaps, halts, funding, marks. Apart: the loop stays short.

GAP      We were blind, the venue went on. Until the next image no order of ours meets anything:
         cancels arrive, new orders rest or expire, strategies see a book that is RESYNCING. At the
         image what it crosses is filled, the rest stands at the back of its queue.
STATUS   Anything but TRADING: the venue takes no new orders. DELISTED takes off what rests.
FUNDING  The rate holds for the time the row names; it is paid then, see `sim.margin`.
MARK     What positions are worth from now on.

ORDER_... rows go to `sim.fifo`. All others, INDEX, BAR and LIQUIDATION rows too, are told to
strategies as live; SEQ rows are not.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.words import (
    DELISTED,
    EXPIRE,
    EXPIRED,
    FUNDING,
    GAP,
    LIQUIDATION,
    MARK,
    ORDER_ADD,
    REASON_NOT_TRADING,
    SEQ,
    STATUS,
    TRADING,
)
from alephtx.sim.bottle import (
    EVENTS,
    I1,
    I2,
    I4,
    K_DUE,
    K_GROW,
    K_TIMER,
    ODD_BLIND,
    ODD_STATUS,
    ODD_STOPS,
    T_BASE,
    T_BID,
    T_FUND_AT,
    T_HEARD,
    T_IMAGE,
    T_LAGGED,
    T_MARK,
    T_ODD,
    T_QTY_UNIT,
    T_RATE,
    T_STATUS,
    T_TOPS,
    T_UNIT,
    T_WIDE,
    TICKS,
    Z_CLOCK,
    Z_NEAR,
    Z_ROWS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.desk import hide_orders
from alephtx.sim.fifo import fifo_row, local_fifo_row
from alephtx.sim.lane import note_reach, take_all_off
from alephtx.sim.levels import NO_LEVEL, levels_qty, levels_worst
from alephtx.sim.margin import pay_funding
from alephtx.sim.queue import Q_ARRIVALS
from alephtx.sim.state import Exchange
from alephtx.sim.stops import note_mark, take_stops_off
from alephtx.sim.told import note_image, tell_rare


@kernel
def requeue(x: Exchange, i: int) -> None:
    """After a gap: our orders stand behind all that the new image shows at their price.

    Below the worst level of the image nothing is known, so the queue there stays as it was.
    """
    for s in range(2):
        worst = levels_worst(x.levels, i, s) if x.live[i, s] > 0 else NO_LEVEL
        for k in range(x.live[i, s]):
            order = x.orders[i, s, k]
            key = (1 - 2 * s) * order["price"]
            if worst != NO_LEVEL and key >= worst:
                order["ahead"] = float(levels_qty(x.levels, i, s, key))
            order["traded"] = float(x.model[i, Q_ARRIVALS])


@kernel
def top_in_gap(stream: Rows) -> None:
    """Let a pair of best prices end a gap where the tape has nothing else."""
    if stream[T_TOPS] != 0:
        stream[T_IMAGE] = 1
        if stream[T_LAGGED] == 0:
            note_image(stream)


@kernel
def _says(z: Rows, i: Int, status: Int) -> None:
    """Take in the trading status; an instrument that ends takes our orders off."""
    stream = field(z, Z_STREAMS, I2)[i]
    stream[T_STATUS] = status
    stream[T_ODD] &= ~ODD_STATUS
    if status == TRADING:
        return
    stream[T_ODD] |= ODD_STATUS
    if status == DELISTED:
        for j in range(field(z, Z_NEAR, I4).shape[3]):
            take_all_off(z, j, i, -1, EXPIRE, EXPIRED, REASON_NOT_TRADING)
            take_stops_off(z, j, i, -1, EXPIRE, EXPIRED, REASON_NOT_TRADING)
            note_reach(z, j, i)
        if stream[T_ODD] & ODD_BLIND != 0:
            hide_orders(z, i)


@kernel
def _funding(z: Rows, i: Int, ts: Int, rate: Int, at: Int) -> None:
    """Take in a rate and when it is paid; the venue acts then by itself."""
    stream, clock = field(z, Z_STREAMS, I2)[i], field(z, Z_CLOCK, I1)
    if 0 < stream[T_FUND_AT] <= ts:
        pay_funding(z, i)
    stream[T_RATE] = rate
    if at > ts:
        stream[T_FUND_AT] = at
        clock[K_DUE] = min(clock[K_DUE], at)
        clock[K_TIMER] = min(clock[K_TIMER], at)


@inline_kernel
def _rare(z: Rows, rows: Rows, i: Int, k: Int, ours: Int) -> None:
    stream, row = field(z, Z_STREAMS, I2)[i], rows[k]
    kind, side, ts = np.int64(row["kind"]), np.int64(row["side"]), row["ts_event"]
    price = stream[T_BASE] + np.int64(row["price"]) * stream[T_UNIT]
    qty = np.int64(row["qty"]) * stream[T_QTY_UNIT]
    if ours == 0:
        if kind == GAP:
            stream[T_ODD] |= ODD_BLIND
            stream[T_IMAGE] = 0
            hide_orders(z, i)
        elif kind == STATUS:
            _says(z, i, price)
        elif kind == FUNDING:
            _funding(z, i, ts, price, qty)
        elif kind == MARK:
            stream[T_MARK] = price
            if stream[T_ODD] & ODD_STOPS != 0:
                note_mark(z, i, price)
        if stream[T_HEARD] == 0 or stream[T_LAGGED] != 0:
            return
    if kind <= LIQUIDATION and kind != SEQ:
        tell_rare(z, i, kind, ts, row["ts_recv"], np.int64(row["flags"]), side, price, qty)
        if kind == GAP:
            stream[T_BID] = -1  # the next touch is told, whatever it is


@inline_kernel
def _by_order(z: Rows, row: Rows, i: Int, ours: Int) -> Int:
    """Take a row about one recorded order; returns fills."""
    kind, side, order_id = np.int64(row["kind"]), np.int64(row["side"]), np.int64(row["seq"])
    stream = field(z, Z_STREAMS, I2)[i]
    price = stream[T_BASE] + row["price"] * stream[T_UNIT]
    qty = row["qty"] * stream[T_QTY_UNIT]
    if ours != 0:
        local_fifo_row(z, i, kind, order_id, side, price, qty)
        return 0
    return fifo_row(z, i, kind, order_id, side, price, qty)


@kernel
def rare_row(z: Rows, i: Int, k: Int) -> int:
    """Let a row that is not of the book meet the venue, and be told.

    Returns fills of ours; 1 where the loop must look what comes next.
    """
    if field(z, Z_STREAMS, I2)[i, T_WIDE] != 0:
        row = field(z, Z_ROWS + i, EVENTS)[k]
        if np.int64(row["kind"]) >= ORDER_ADD:
            hits = _by_order(z, row, i, 0)
            return 1 if field(z, Z_CLOCK, I1)[K_GROW] != 0 else hits
        _rare(z, field(z, Z_ROWS + i, EVENTS), i, k, 0)
    else:
        _rare(z, field(z, Z_ROWS + i, TICKS), i, k, 0)
    return 1


@kernel
def local_rare_row(z: Rows, i: Int, k: Int) -> None:
    """Tell such a row where our side reads the tape by itself."""
    if field(z, Z_STREAMS, I2)[i, T_WIDE] != 0:
        row = field(z, Z_ROWS + i, EVENTS)[k]
        if np.int64(row["kind"]) >= ORDER_ADD:
            _by_order(z, row, i, 1)
            return
        _rare(z, field(z, Z_ROWS + i, EVENTS), i, k, 1)
    else:
        _rare(z, field(z, Z_ROWS + i, TICKS), i, k, 1)
