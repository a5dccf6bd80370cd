"""Rows for the tests of this room."""

import numpy as np

from alephtx.core import words
from alephtx.core.records import INTENT, UPDATE
from alephtx.execution import orders as o

RUBBISH = 0x5A


def intent(order_id=1, qty=10, side=words.BUY, **fields):
    row = np.zeros(1, INTENT)
    row["order_id"], row["qty"], row["side"], row["price"] = order_id, qty, side, 100
    row["op"], row["type"], row["tif"] = words.PLACE, words.LIMIT, words.GTC
    for name, value in fields.items():
        row[name] = value
    return row


def update(kind, order_id=1, **fields):
    row = np.zeros(1, UPDATE)
    row["kind"], row["order_id"], row["cum_qty"], row["ts_recv"] = kind, order_id, -1, 1000
    for name, value in fields.items():
        row[name] = value
    return row


def fill(trade_id, qty, order_id=1, **fields):
    return update(words.FILL, order_id, trade_id=trade_id, qty=qty, price=100, **fields)


def followed(row):
    """Return a row with one of rubbish behind it, which nobody may read or write."""
    rows = np.zeros(2, row.dtype)
    rows[0] = row[0]
    rows[1:].view(np.uint8)[:] = RUBBISH
    return rows


class Desk:
    """An order table with one order in it and short names for what is done to it."""

    def __init__(self, **sizes):
        made = {"strategies": 2, "open_max": 4, "history": 8, "instruments": 4, "accounts": 2}
        self.table = o.make_order_table(**{**made, **sizes})
        self.out = followed(np.zeros(1, o.OUTCOME))

    def place(self, **fields):
        return o.orders_place(self.table, followed(intent(**fields)), 900)

    def apply(self, row):
        rows = followed(row)
        result = o.orders_apply(self.table, rows, self.out)
        row[0] = rows[0]
        assert {*bytes(rows[1]), *bytes(self.out[1])} == {RUBBISH}, "only the first row is meant"
        return result, int(self.out[0]["code"])

    def order(self, order_id=1):
        from alephtx.core.records import ORDER

        row = np.zeros(1, ORDER)
        assert o.orders_read(self.table, order_id, row) >= 0
        return row[0]

    def status(self, order_id=1):
        return int(self.order(order_id)["status"])

    def open(self, strategy=0, instrument=0):
        return tuple(int(v) for v in self.table.open_strategy[strategy, instrument])
