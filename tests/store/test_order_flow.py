"""Operations on orders become L3 rows, against a dict of orders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.kernel import JIT
from alephtx.store import order_flow as f

pytestmark = pytest.mark.kernel

OPS = st.lists(
    st.tuples(
        st.integers(f.ADD, f.END), st.integers(1, 5), st.integers(6, 9), st.integers(0, 4),
        st.integers(0, 5), st.sampled_from((1, -1)), st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


class Plain:
    """The naive pair."""

    def __init__(self):
        self.orders, self.rows, self.unknown = {}, [], 0

    def put(self, kind, key, price, qty, side):
        self.rows.append([kind, key, price, qty, side, False])

    def add(self, key, price, qty, side):
        if key in self.orders or qty <= 0:
            self.unknown += 1
            return
        self.orders[key] = [price, qty, side]
        self.put(words.ORDER_ADD, key, price, qty, side)

    def leave(self, key, left, price):
        old = self.orders[key]
        if left <= 0:
            self.put(words.ORDER_DELETE, key, old[0], old[1], old[2])
            del self.orders[key]
        else:
            self.orders[key] = [price, left, old[2]]
            self.put(words.ORDER_CHANGE, key, price, left, old[2])

    def fill(self, key, qty, price):
        old = self.orders[key]
        qty = min(qty, old[1])
        if qty <= 0:
            self.leave(key, old[1], old[0])
            return
        self.put(words.ORDER_FILL, key, price or old[0], qty, old[2])
        old[1] -= qty
        if old[1] == 0:
            del self.orders[key]

    def apply(self, op, key, other, price, qty, side, last):
        known = self.orders.get(key)
        if op == f.ADD:
            self.add(key, price, qty, side)
        elif op == f.PRINT:
            self.put(words.TRADE, 0, price, qty, side)
        elif op == f.FORGET:
            self.orders.clear()
            self.put(words.CLEAR, 0, 0, 0, 0)
        elif op == f.SAY:
            self.put(words.STATUS, 0, price, 0, 0)
        elif op != f.END:
            if op == f.EXECUTE and (known or price):
                self.put(words.TRADE, 0, price or known[0], qty, -known[2] if known else side)
            if known is None:
                self.unknown += 1
            elif op == f.LEAVE:
                self.leave(key, qty, price or known[0])
            elif op == f.REDUCE:
                self.leave(key, known[1] - qty, known[0])
            elif op == f.REMOVE:
                self.leave(key, 0, 0)
            elif op in (f.EXECUTE, f.FILL):
                self.fill(key, qty, price)
            elif op == f.LEAVE_FILLED:
                if qty < known[1]:
                    self.fill(key, known[1] - qty, price)
            elif op == f.REPLACE:
                own = known[2]
                self.leave(key, 0, 0)
                self.add(other, price, qty, own)
        if last and self.rows:
            self.rows[-1][5] = True


def found_of(parts):
    rows = np.concatenate(parts)
    last = (rows["flags"] & words.LAST_IN_MESSAGE) != 0
    return [
        [int(r[n]) for n in ("kind", "seq", "price", "qty", "side")] + [bool(end)]
        for r, end in zip(rows, last, strict=True)
    ]


class Notes:
    def note(self, text):
        self.text = text


@given(OPS, st.integers(0, 40))
def test_rows_are_those_of_a_dict(drawn, cut):
    plain, flow, notes = Plain(), f.OrderFlow(), Notes()
    ops = f.make_ops(len(drawn))
    for n, (op, key, other, price, qty, side, last) in enumerate(drawn):
        plain.apply(op, key, other, price, qty, side, last)
        ops[n] = op, key, other, price, qty, side, 5, 7, words.LAST_IN_MESSAGE if last else 0
    parts = [flow.rows(ops[:cut]), flow.rows(ops[cut:]), flow.finish(notes)]
    if plain.rows:
        plain.rows[-1][5] = True
    assert found_of(parts) == plain.rows
    assert flow.unknown == plain.unknown


@pytest.mark.skipif(not JIT, reason="too many rows for plain Python")
def test_many_orders_and_rows_grow_table_and_room():
    count = 150_000
    ops = f.make_ops(count)
    ops[:, f.OP], ops[:, f.ORDER] = f.ADD, np.arange(count)
    ops[:, f.PRICE_AT] = ops[:, f.QTY_AT] = ops[:, f.SIDE_AT] = 1
    ops[:, f.FLAGS_AT] = words.LAST_IN_MESSAGE
    flow = f.OrderFlow()
    rows = flow.rows(ops)
    assert rows["seq"].tolist() == list(range(count))
    assert flow.unknown == 0
