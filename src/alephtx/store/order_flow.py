"""What venues tell of single orders, in their many ways, as the four kinds of L3 rows.

Feeds tell a cancel by what goes or by what is left, an execution by what was traded or by what is
left, a replacement under the same id or a new one. Importers write their messages as operations
here; the kernel knows each resting order and writes ORDER_ADD, ORDER_CHANGE (what is left),
ORDER_DELETE, ORDER_FILL and TRADE rows. What concerns an order that was never added (older than the
file) makes no L3 row; its trade is kept.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.records import EVENT
from alephtx.core.words import (
    CLEAR,
    EXCHANGE_CLOCK,
    LAST_IN_MESSAGE,
    ORDER_ADD,
    ORDER_CHANGE,
    ORDER_DELETE,
    ORDER_FILL,
    STATUS,
    TRADE,
)
from alephtx.store.queue_index import (
    EMPTY,
    KEY,
    MASK,
    PRICE,
    QTY,
    SIDE,
    UNKNOWN,
    USED,
    grow_orders,
    make_orders,
    orders_delete,
    orders_find,
    orders_forget,
)
from alephtx.store.reading import Reading

Rows = np.ndarray[Any, Any]

# Operations. ADD: price, qty, side. LEAVE: qty is what is left, price 0 = the same. REDUCE: qty
# goes. REMOVE. EXECUTE: qty traded at price (0 = its own), with a public trade. FILL: the same
# without one. LEAVE_FILLED: qty is what is left after a fill. REPLACE: gone, OTHER comes with price
# and qty. PRINT: a trade with no order. FORGET: all orders. SAY: status = price. END: nothing.
ADD, LEAVE, REDUCE, REMOVE, EXECUTE, FILL, LEAVE_FILLED, REPLACE, PRINT, FORGET, SAY, END = range(
    12
)

# Columns of an operation.
OP, ORDER, OTHER, PRICE_AT, QTY_AT, SIDE_AT, EVENT_NS, RECV_NS, FLAGS_AT, OP_WORDS = range(10)


@kernel
def _put(rows: Rows, k: Int, op: Rows, kind: Int, seq: Int, price: Int, qty: Int, side: Int) -> int:
    row = rows[k]
    row["ts_event"] = max(op[EVENT_NS], np.int64(0))
    row["ts_recv"] = op[RECV_NS]
    row["seq"] = seq
    row["price"] = price
    row["qty"] = qty
    row["instrument"] = 0
    row["kind"] = kind
    row["side"] = side
    row["flags"] = (op[FLAGS_AT] & ~LAST_IN_MESSAGE) | (EXCHANGE_CLOCK if op[EVENT_NS] > 0 else 0)
    return k + 1


@kernel
def _add(table: Rows, key: Int, price: Int, qty: Int, side: Int) -> bool:
    at = orders_find(table, key)
    if table[at + SIDE] != EMPTY or qty <= 0 or side * side != 1:
        return False
    table[at + KEY], table[at + PRICE], table[at + QTY], table[at + SIDE] = key, price, qty, side
    table[USED] += 1
    return True


@kernel
def _of_order(table: Rows, at: Int, op: Rows, rows: Rows, first: Int) -> int:
    """Write what an operation does to an order that is known; returns the next row."""
    k, what = first, op[OP]
    key, side = np.int64(table[at + KEY]), np.int64(table[at + SIDE])
    price, qty = np.int64(table[at + PRICE]), np.int64(table[at + QTY])
    traded, left, moved = np.int64(0), qty, price
    if what == LEAVE:
        left, moved = op[QTY_AT], op[PRICE_AT] if op[PRICE_AT] != 0 else price
    elif what == REDUCE:
        left = qty - op[QTY_AT]
    elif what == REMOVE or what == REPLACE:
        left = np.int64(0)
    elif what == LEAVE_FILLED:
        traded = max(np.int64(0), qty - op[QTY_AT])
    else:
        traded = min(qty, op[QTY_AT])
    if traded > 0:
        left = qty - traded
        paid = op[PRICE_AT] if op[PRICE_AT] != 0 else price
        k = _put(rows, k, op, ORDER_FILL, key, paid, traded, side)
    elif left <= 0:
        k = _put(rows, k, op, ORDER_DELETE, key, price, qty, side)
    elif what != LEAVE_FILLED:
        k = _put(rows, k, op, ORDER_CHANGE, key, moved, left, side)
    if left > 0:
        table[at + PRICE], table[at + QTY] = moved, left
    else:
        orders_delete(table, at)
    return k


@kernel
def order_flow(ops: Rows, first: Int, table: Rows, rows: Rows, message: Rows, done: Rows) -> int:
    """Write the rows of ops[first:], (N, OP_WORDS); returns their number, done[0] = the next one.

    It stops when rows or the table are full: take the rows, grow the table. An operation flagged
    LAST_IN_MESSAGE ends a message; message: (1,), 1 when the row before the first one ends one,
    because what would have ended it made no row. About 30 ns an operation.
    """
    k: Int = np.int64(0)
    n = first
    message[0] = 0
    while n < len(ops) and k + 4 <= len(rows) and 2 * (table[USED] + 1) <= table[MASK]:
        op = ops[n]
        what = op[OP]
        if what == ADD:
            if _add(table, op[ORDER], op[PRICE_AT], op[QTY_AT], op[SIDE_AT]):
                k = _put(rows, k, op, ORDER_ADD, op[ORDER], op[PRICE_AT], op[QTY_AT], op[SIDE_AT])
            else:
                table[UNKNOWN] += 1
        elif what == PRINT:
            k = _put(rows, k, op, TRADE, 0, op[PRICE_AT], op[QTY_AT], op[SIDE_AT])
        elif what == FORGET:
            orders_forget(table)
            k = _put(rows, k, op, CLEAR, 0, 0, 0, 0)
        elif what == SAY:
            k = _put(rows, k, op, STATUS, 0, op[PRICE_AT], 0, 0)
        elif what != END:
            at = orders_find(table, op[ORDER])
            side = np.int64(table[at + SIDE])
            known = side != EMPTY
            if what == EXECUTE and (known or op[PRICE_AT] != 0):
                paid = op[PRICE_AT] if op[PRICE_AT] != 0 else table[at + PRICE]
                taker = -side if known else op[SIDE_AT]
                k = _put(rows, k, op, TRADE, 0, paid, op[QTY_AT], taker)
            if known:
                k = _of_order(table, at, op, rows, k)
            else:
                table[UNKNOWN] += 1
            if what == REPLACE:
                if known and _add(table, op[OTHER], op[PRICE_AT], op[QTY_AT], side):
                    k = _put(rows, k, op, ORDER_ADD, op[OTHER], op[PRICE_AT], op[QTY_AT], side)
                elif known:
                    table[UNKNOWN] += 1
        if (op[FLAGS_AT] & LAST_IN_MESSAGE) != 0:
            if k > 0:
                rows[k - 1]["flags"] = np.int64(rows[k - 1]["flags"]) | LAST_IN_MESSAGE
            else:
                message[0] = 1
        n += 1
    done[0] = n
    return int(k)


class OrderFlow:
    """One instrument's orders: `rows` turns operations into whole messages, chunk by chunk."""

    def __init__(self) -> None:
        self._table = make_orders()
        self._open = np.zeros(0, EVENT)

    @property
    def unknown(self) -> int:
        """Operations so far on orders that are not known, or that were already there."""
        return int(self._table[UNKNOWN])

    def rows(self, ops: Rows) -> Rows:
        """Return the rows of operations (N, OP_WORDS), up to the last end of a message."""
        done, message = np.zeros(1, np.int64), np.zeros(1, np.int64)
        made = [self._open]
        while done[0] < len(ops):
            room = np.zeros(1 << 16, EVENT)
            count = order_flow(ops, int(done[0]), self._table, room, message, done)
            if message[0] and len(made[-1]):
                made[-1]["flags"][-1] |= LAST_IN_MESSAGE
            if count:
                made.append(room[:count])
            if 2 * (self._table[USED] + 1) > self._table[MASK]:
                self._table = grow_orders(self._table)
        rows = np.concatenate(made)
        ends = np.flatnonzero(rows["flags"] & LAST_IN_MESSAGE)
        cut = int(ends[-1]) + 1 if len(ends) else 0
        self._open = rows[cut:].copy()
        return rows[:cut]

    def finish(self, reading: Reading) -> Rows:
        """Return a last message that was not ended, and tell of orders that are not known."""
        rows, self._open = self._open, self._open[:0]
        if len(rows):
            rows["flags"][-1] |= LAST_IN_MESSAGE
        if self.unknown:
            reading.note(
                f"{self.unknown:,} operations on orders that are not known, or known twice"
            )
        return rows


def make_ops(count: int) -> Rows:
    """Return blank operations: int64 (count, OP_WORDS), all END."""
    ops = np.zeros((count, OP_WORDS), np.int64)
    ops[:, OP] = END
    return ops
