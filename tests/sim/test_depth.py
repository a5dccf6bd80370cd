"""Made-up depth against the book it is meant to show."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.sim.depth import Depth, calibrate, deepen
from tests.engine.replaying import tape

BUY, SELL = w.BUY, w.SELL
MODEL = Depth(step=2, spread=4, touch=9, sizes=(5, 6, 7))


def wanted(bid, bid_qty, ask, ask_qty):
    book = {}
    for side, touch, qty in ((BUY, bid, bid_qty), (SELL, ask, ask_qty)):
        for k, lots in enumerate((qty, *MODEL.sizes)):
            if qty and touch - side * k * MODEL.step > 0:
                book[side, touch - side * k * MODEL.step] = lots
    return book


def books(rows):
    """Return the book after each message of levels."""
    book, found, changed = {}, [], False
    for row in rows:
        kind, side, price, qty = (int(row[n]) for n in ("kind", "side", "price", "qty"))
        if kind == w.CLEAR:
            book = {}
        if kind == w.DELTA:
            changed = True
            book.pop((side, price), None)
            if qty:
                book[side, price] = qty
        if row["flags"] & w.LAST_IN_MESSAGE and changed:
            found.append(dict(book))
            changed = False
    return found


best = st.tuples(st.integers(1, 30), st.integers(0, 5), st.integers(1, 6), st.integers(0, 5))


@pytest.mark.kernel
@settings(max_examples=60, deadline=None)
@given(st.lists(best, min_size=1, max_size=12))
def test_levels_follow_the_touch_with_the_sizes_of_the_profile(touches):
    rows, shown, before = [], [], (0, 0, 0, 0)
    for k, (bid, bid_qty, away, ask_qty) in enumerate(touches):
        rows += [(k, w.TOP, BUY, bid, bid_qty, 0), (k, w.TOP, SELL, bid + away, ask_qty)]
        now = (bid if bid_qty else 0, bid_qty, bid + away if ask_qty else 0, ask_qty)
        if now != before:
            shown.append(wanted(*now))
        before = now
    made = deepen(tape(*rows), MODEL)
    found = books(made)
    assert [book for book in found if book] == [book for book in shown if book]
    assert not (made["kind"] == w.TOP).any()


@pytest.mark.kernel
@pytest.mark.smoke
def test_trades_alone_make_a_book_around_them_and_a_gap_begins_a_new_one():
    rows = tape(
        (0, w.TRADE, BUY, 100, 3),
        (1, w.TRADE, BUY, 100, 4),
        (2, w.TRADE, SELL, 98, 1),
        (3, w.GAP, 0, 0, 0),
        (4, w.TRADE, SELL, 98, 1),
    )
    made = deepen(rows, MODEL)
    first, second, third = books(made)
    assert first == wanted(96, 9, 100, 9)
    assert second == third == wanted(98, 9, 102, 9)
    kinds = made["kind"].tolist()
    assert kinds[:2] == [w.TRADE, w.CLEAR]
    assert kinds[kinds.index(w.GAP) :][:3] == [w.GAP, w.TRADE, w.CLEAR]


@pytest.mark.kernel
def test_a_profile_is_what_the_tape_shows_on_average():
    prints = [(BUY, 100, 3), (BUY, 100, 5), (SELL, 97, 2), (SELL, 96, 2), (BUY, 101, 4)]
    rows = tape(*((k, w.TRADE, *row) for k, row in enumerate(prints)))
    assert calibrate(rows, 2) == Depth(step=1, spread=4, touch=4, sizes=(4, 4))
    both = tape((0, w.TOP, BUY, 99, 10, 0), (0, w.TOP, SELL, 101, 20))
    assert calibrate(both, 3, growth=2.0).sizes == (30, 60, 120)
    assert calibrate(rows[:0], 1) == Depth(step=1, spread=1, touch=1, sizes=(1,))
