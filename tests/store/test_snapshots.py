"""Whole books as changes, against dicts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.store.snapshots import Differ
from tests.store.market import T0

pytestmark = pytest.mark.kernel

DEPTH = 4
SIDE = st.dictionaries(st.integers(1, 9), st.integers(1, 3), max_size=DEPTH)
BOOKS = st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=8)


class Told:
    def __init__(self):
        self.lines = []

    def damaged(self, row, column, problem):
        self.lines.append(row)


def array_of(books):
    made = np.zeros((len(books), 2, DEPTH, 2), np.int64)
    for n, pair in enumerate(books):
        for s, side in enumerate(pair):
            for k, price in enumerate(sorted(side, reverse=s == 0)):
                made[n, s, k] = price, side[price]
    return made


@given(BOOKS, st.integers(0, 8))
def test_applied_in_turn_the_changes_give_every_book(books, cut):
    differ, told = Differ(DEPTH), Told()
    stamps, lines = np.arange(len(books)) + T0, np.arange(len(books))
    made = array_of(books)
    parts = [
        differ.rows(stamps[part], stamps[part], made[part], lines[part], told)
        for part in (slice(0, cut), slice(cut, None))
    ]
    rows = np.concatenate(parts)
    assert told.lines == []
    assert rows[0]["kind"] == words.CLEAR
    book, at = {1: {}, -1: {}}, 0
    for n, (bids, asks) in enumerate(books):
        while at < len(rows) and rows[at]["ts_event"] == T0 + n:
            row = rows[at]
            if row["kind"] == words.DELTA:
                assert book[int(row["side"])].pop(int(row["price"]), 0) != row["qty"]
                if row["qty"]:
                    book[int(row["side"])][int(row["price"])] = int(row["qty"])
            at += 1
            ends = at == len(rows) or rows[at]["ts_event"] != T0 + n
            assert bool(row["flags"] & words.LAST_IN_MESSAGE) == ends
        assert (book[1], book[-1]) == (bids, asks)
    assert at == len(rows)


def test_levels_out_of_order_are_told_and_the_book_stays():
    for prices in ((3, 5), (4, 4)):
        made = array_of([({5: 1}, {7: 1})] * 3)
        made[1, 0, 0], made[1, 0, 1] = (prices[0], 1), (prices[1], 1)
        told = Told()
        stamps = np.arange(3) + T0
        rows = Differ(DEPTH).rows(stamps, stamps, made, np.array([11, 12, 13]), told)
        assert told.lines == [12]
        assert len(rows) == 3


def test_deeper_books_go_on():
    differ, told = Differ(1), Told()
    stamps = np.array([T0])
    first = np.array([[[[5, 1]], [[7, 1]]]])
    differ.rows(stamps, stamps, first, stamps, told)
    second = np.array([[[[5, 1], [4, 2]], [[7, 1], [0, 0]]]])
    rows = differ.deeper(2).rows(stamps, stamps, second, stamps, told)
    assert [(int(r["price"]), int(r["qty"])) for r in rows] == [(4, 2)]
