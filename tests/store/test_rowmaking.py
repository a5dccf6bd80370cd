"""Columns to rows, against loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.store import rowmaking

MESSAGES = st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), min_size=1,
                    max_size=8)  # fmt: skip


@given(MESSAGES)
def test_books_open_with_a_clear_and_breaks_with_a_gap(messages):
    count = sum(length for length, _, _ in messages)
    column = np.arange(1, count + 1)
    starts = np.cumsum([0] + [length for length, _, _ in messages[:-1]])
    books = np.array([book for _, book, _ in messages])
    gaps = np.array([gap for _, _, gap in messages])
    rows = rowmaking.with_clears(
        rowmaking.deltas(column, 0, column, column, column % 2 * 2 - 1, starts), books, starts, gaps
    )
    expected, n = [], 0
    for length, book, gap in messages:
        if gap:
            expected.append((w.GAP, 0, w.LAST_IN_MESSAGE))
        if book:
            expected.append((w.CLEAR, 0, w.SNAPSHOT))
        for k in range(length):
            n += 1
            last = w.LAST_IN_MESSAGE if k == length - 1 else 0
            expected.append((w.DELTA, n, last | (w.SNAPSHOT if book else 0)))
    found = [(int(r["kind"]), int(r["price"]), int(r["flags"]) & ~w.EXCHANGE_CLOCK) for r in rows]
    assert found == expected
    assert (rows["flags"] & w.EXCHANGE_CLOCK).all()


def test_tops_are_two_rows_and_an_empty_side_has_no_price():
    one, none = np.array([5]), np.array([0])
    rows = rowmaking.tops(one, 7, one, none, one, one)
    assert [(int(r["side"]), int(r["price"]), int(r["qty"])) for r in rows] == [
        (w.BUY, 0, 0), (w.SELL, 5, 5),
    ]  # fmt: skip
    assert rows["ts_recv"].tolist() == [7, 7]


def test_without_a_stamp_a_row_does_not_claim_the_venues_clock():
    rows = rowmaking.trades(np.array([0, 5]), 7, *(np.array([1, 1]),) * 3)
    assert [bool(f & w.EXCHANGE_CLOCK) for f in rows["flags"]] == [False, True]
