"""Orders one by one become levels, against a dict of orders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.matrix.book import book_qty, make_books
from alephtx.store import queue_index as q

pytestmark = pytest.mark.kernel

ADD, CHANGE, DELETE, FILL = q.BY_ORDER_KINDS
STEPS = st.lists(
    st.tuples(
        st.sampled_from((ADD, ADD, CHANGE, DELETE, FILL, words.CLEAR)),
        st.integers(0, 12) | st.integers(-(1 << 62), 1 << 62),
        st.integers(1, 6),
        st.integers(0, 5),
        st.sampled_from((1, -1)),
    ),
    max_size=60,
)


class Plain:
    """The naive pair: a dict, and levels summed anew each time."""

    def __init__(self):
        self.orders, self.unknown = {}, 0

    def apply(self, kind, key, price, qty, side):
        if kind == words.CLEAR:
            self.orders.clear()
        elif kind == ADD:
            if key in self.orders or qty <= 0:
                self.unknown += 1
            else:
                self.orders[key] = (price, qty, side)
        elif key not in self.orders:
            self.unknown += 1
        else:
            old_price, old_qty, own = self.orders.pop(key)
            if kind == CHANGE and qty > 0:
                self.orders[key] = (price, qty, own)
            elif kind == FILL and old_qty > qty:
                self.orders[key] = (old_price, old_qty - qty, own)

    def qty(self, side, price):
        return sum(q for p, q, s in self.orders.values() if (p, s) == (price, side))


@given(STEPS)
def test_levels_are_the_sums_of_their_orders(steps):
    books, table, plain = make_books(1), q.make_orders(4), Plain()
    scratch, row = q.make_scratch(), np.zeros(1, EVENT)
    for kind, key, price, qty, side in steps:
        row["kind"], row["seq"], row["price"] = kind, key, price
        row["qty"], row["side"] = qty, side
        while q.orders_apply(books, table, row, 0, scratch) == 0:
            table = q.grow_orders(table)
        plain.apply(kind, key, price, qty, side)
        levels = [book_qty(books, 0, s, p) for s in (1, -1) for p in range(1, 7)]
        assert levels == [plain.qty(s, p) for s in (1, -1) for p in range(1, 7)]
    assert table[q.USED] == len(plain.orders)
    assert table[q.UNKNOWN] == plain.unknown
