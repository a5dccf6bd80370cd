"""Order by order to level by level: where each resting order stands, compiled.

A hash table from order id to (price, lots, side) that its owner grows: open addressing, linear
probing, deletion by shifting back, so that it stays good for any number of changes. `orders_apply`
turns one L3 row into the change of at most two levels.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.records import EVENT
from alephtx.core.words import (
    BUY,
    CLEAR,
    DELTA,
    ORDER_ADD,
    ORDER_CHANGE,
    ORDER_DELETE,
    ORDER_FILL,
)
from alephtx.matrix.book import Books, book_apply, book_qty

Rows = np.ndarray[Any, Any]

# Columns of a slot, and the words before the slots.
KEY, PRICE, QTY, SIDE, SLOT_WORDS = 0, 1, 2, 3, 4
USED, UNKNOWN, MASK, HEAD_WORDS = 0, 1, 2, 4
EMPTY = 0
"""SIDE of a free slot; ids may be any number."""


def make_orders(slots: int = 1 << 12) -> Rows:
    """Return an empty table: int64, HEAD_WORDS then slots x SLOT_WORDS. slots: a power of two."""
    table = np.zeros(HEAD_WORDS + slots * SLOT_WORDS, np.int64)
    table[MASK] = slots - 1
    return table


def grow_orders(table: Rows) -> Rows:
    """Return the same orders in a table of twice the size."""
    grown = make_orders(2 * (int(table[MASK]) + 1))
    grown[UNKNOWN] = table[UNKNOWN]
    _move(table, grown)
    return grown


@kernel
def _mix(key: Int) -> int:
    """Spread an id over 62 bits; ids of one venue differ in their low bits or by large steps."""
    key = np.int64(key)
    mixed = key ^ (key >> 33)
    mixed = (mixed & 0x7FFFFFFF) * 0x45D9F3B + ((mixed >> 31) & 0x7FFFFFFF) * 0x119DE1F3
    return (mixed ^ (mixed >> 17)) & 0x3FFFFFFFFFFFFFFF


@kernel
def orders_find(table: Rows, key: Int) -> int:
    """Return the address of an order's slot, or of the free one where it would go."""
    mask = table[MASK]
    slot = _mix(key) & mask
    while True:
        at = HEAD_WORDS + slot * SLOT_WORDS
        if table[at + SIDE] == EMPTY or table[at + KEY] == key:
            return at
        slot = (slot + 1) & mask


@kernel
def _move(table: Rows, grown: Rows) -> None:
    for slot in range(table[MASK] + 1):
        at = HEAD_WORDS + slot * SLOT_WORDS
        if table[at + SIDE] != EMPTY:
            to = orders_find(grown, table[at + KEY])
            for word in range(SLOT_WORDS):
                grown[to + word] = table[at + word]
            grown[USED] += 1


@kernel
def orders_forget(table: Rows) -> None:
    """Drop all orders."""
    for word in range(HEAD_WORDS, len(table)):
        table[word] = 0
    table[USED] = 0


@kernel
def orders_delete(table: Rows, at: Int) -> None:
    """Free a slot and move those behind it up, so that none is cut off from its place."""
    mask = table[MASK]
    hole = (at - HEAD_WORDS) // SLOT_WORDS
    slot = hole
    table[USED] -= 1
    while True:
        slot = (slot + 1) & mask
        source = HEAD_WORDS + slot * SLOT_WORDS
        if table[source + SIDE] == EMPTY:
            break
        home = _mix(table[source + KEY]) & mask
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            target = HEAD_WORDS + hole * SLOT_WORDS
            for word in range(SLOT_WORDS):
                table[target + word] = table[source + word]
            hole = slot
    table[HEAD_WORDS + hole * SLOT_WORDS + SIDE] = EMPTY


@kernel
def _level(books: Books, side: Int, price: Int, change: Int, scratch: Rows) -> int:
    row = scratch[0]
    row["kind"] = DELTA
    row["side"] = side
    row["price"] = price
    row["qty"] = max(np.int64(0), np.int64(book_qty(books, 0, side, price)) + change)
    return book_apply(books, scratch, 0, 1)


@kernel
def orders_apply(books: Books, table: Rows, rows: Rows, k: Int, scratch: Rows) -> int:
    """Apply one L3 or CLEAR row to orders and levels of instrument 0.

    scratch: (1,) EVENT. Returns 1, or 0 when table or books must grow first; an order that the
    table does not know is counted and passed over. About 60 ns.
    """
    row = rows[k]
    kind = np.int64(row["kind"])
    if kind == CLEAR:
        orders_forget(table)
        return book_apply(books, rows, k, k + 1)
    key, qty, price = np.int64(row["seq"]), np.int64(row["qty"]), np.int64(row["price"])
    at = orders_find(table, key)
    side = np.int64(table[at + SIDE])
    if kind == ORDER_ADD:
        if 2 * table[USED] > table[MASK]:
            return 0
        if side != EMPTY or qty <= 0 or np.int64(row["side"]) == 0:
            table[UNKNOWN] += 1
            return 1
        side = np.int64(row["side"])
        if _level(books, side, price, qty, scratch) == 0:
            return 0
        table[at + KEY], table[at + PRICE], table[at + QTY] = key, price, qty
        table[at + SIDE] = side
        table[USED] += 1
        return 1
    if side == EMPTY:
        table[UNKNOWN] += 1
        return 1
    old_price, old_qty = np.int64(table[at + PRICE]), np.int64(table[at + QTY])
    left = np.int64(0)
    if kind == ORDER_CHANGE:
        left = max(np.int64(0), qty)
    elif kind == ORDER_FILL:
        left = max(np.int64(0), old_qty - qty)
    if kind != ORDER_CHANGE or left == 0:
        price = old_price
    if price == old_price:
        if _level(books, side, price, left - old_qty, scratch) == 0:
            return 0
    else:
        if _level(books, side, old_price, -old_qty, scratch) == 0:
            return 0
        table[at + QTY] = 0  # so that doing it again after growth takes nothing off twice
        if _level(books, side, price, left, scratch) == 0:
            return 0
    if left > 0:
        table[at + PRICE], table[at + QTY] = price, left
    else:
        orders_delete(table, at)
    return 1


def make_scratch() -> Rows:
    """Return the row that `orders_apply` works with."""
    row = np.zeros(1, EVENT)
    row["side"] = BUY
    return row


BY_ORDER_KINDS = (ORDER_ADD, ORDER_CHANGE, ORDER_DELETE, ORDER_FILL)
