"""Made-up depth against a slow model of what it is meant to show, message by message."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from alephtx.sim.depth import LOTS_MAX, deepen
from tests.engine.replaying import tape

BUY, SELL = w.BUY, w.SELL
STEP, LEVELS, GROWTH = 2, 3, 1.5
TRIES = 100 if JIT else 20


def wanted(base, bid, bid_qty, ask, ask_qty):
    """Return the book of a touch whose levels behind are of a usual size."""
    book = {}
    sizes = [max(1, int(base * GROWTH**k + 0.5)) for k in range(1, LEVELS + 1)]
    for side, touch, qty in ((BUY, bid, bid_qty), (SELL, ask, ask_qty)):
        for k, lots in enumerate((qty, *sizes)):
            if qty and touch - side * k * STEP > 0:
                book[side, touch - side * k * STEP] = lots
    return book


def usual(quantities, base):
    """Return the average so far, or what is stated where that is within a quarter of it."""
    size = max(1, sum(quantities) // len(quantities))
    return size if abs(size - base) * 4 >= base else base


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


def made_of(rows):
    return deepen(rows, LEVELS, step=STEP, growth=GROWTH)


best = st.tuples(st.integers(1, 30), st.integers(0, 9), st.integers(1, 6), st.integers(0, 9))


@pytest.mark.kernel
@settings(max_examples=TRIES, deadline=None)
@given(st.lists(best, min_size=1, max_size=12))
def test_levels_follow_the_touch_with_the_usual_size_so_far(touches):
    rows, shown, quantities, base = [], [{}], [], 0
    for k, (bid, bid_qty, away, ask_qty) in enumerate(touches):
        rows += [(k, w.TOP, BUY, bid, bid_qty, 0), (k, w.TOP, SELL, bid + away, ask_qty)]
        quantities += [qty for qty in (bid_qty, ask_qty) if qty]
        if quantities:
            base = usual(quantities, base) if bid_qty or ask_qty or shown[-1] else base
            book = wanted(base, bid, bid_qty, bid + away, ask_qty)
            if book != shown[-1]:
                shown.append(book)
    made = made_of(tape(*rows))
    assert books(made) == shown[1:]
    assert not (made["kind"] == w.TOP).any()


prints = st.tuples(st.sampled_from([BUY, SELL]), st.integers(40, 60), st.integers(1, 9))


@pytest.mark.kernel
@settings(max_examples=TRIES, deadline=None)
@given(st.lists(prints, min_size=1, max_size=20))
def test_trades_alone_make_a_book_around_them(trades):
    shown, spread, runs, run, base = [{}], 0, [], 0, 0
    for k, (side, price, qty) in enumerate(trades):
        before, at = trades[k - 1][:2] if k else (side, price)
        if (before, at) != (side, price):
            runs, run = [*runs, run], 0
            if turn := abs(price - at) * (before != side):
                spread = spread + max(-STEP, min(STEP, turn - spread)) if spread else turn
        run += qty
        base = usual(runs or [run], base)
        wide = max(STEP, spread // STEP * STEP)
        bid, ask = (price - wide, price) if side > 0 else (price, price + wide)
        book = wanted(base, bid, base, ask, base)
        if book != shown[-1]:
            shown.append(book)
    rows = tape(*((k, w.TRADE, *row) for k, row in enumerate(trades)))
    assert books(made_of(rows)) == shown[1:]


@pytest.mark.kernel
@pytest.mark.smoke
def test_a_gap_begins_a_new_book_and_keeps_the_averages():
    rows = tape(
        (0, w.TRADE, BUY, 100, 3),
        (1, w.TRADE, BUY, 100, 4),
        (2, w.TRADE, SELL, 96, 1),
        (3, w.GAP, 0, 0, 0),
        (4, w.TRADE, SELL, 90, 9),
    )
    made = made_of(rows)
    assert books(made) == [
        wanted(3, 98, 3, 100, 3),
        wanted(7, 98, 7, 100, 7),
        wanted(7, 96, 7, 100, 7),
        wanted(7, 90, 7, 94, 7),
    ]
    kinds = made["kind"].tolist()
    assert kinds[:2] == [w.TRADE, w.CLEAR]
    assert kinds[kinds.index(w.GAP) :][:3] == [w.GAP, w.TRADE, w.CLEAR]


@pytest.mark.kernel
@settings(max_examples=TRIES, deadline=None)
@given(st.lists(best, min_size=1, max_size=12), st.lists(prints, max_size=12), st.integers(0, 24))
def test_what_comes_later_changes_nothing_before(touches, trades, cut):
    tops = [
        (k, w.TOP, side, price, qty) for k, (bid, bid_qty, away, ask_qty) in enumerate(touches)
        for side, price, qty in ((BUY, bid, bid_qty), (SELL, bid + away, ask_qty))
    ]  # fmt: skip
    for rows in (tops, [(k, w.TRADE, *row) for k, row in enumerate(trades)]):
        whole, part = (made_of(tape(*kept)) for kept in (rows, rows[:cut]))
        if len(rows) and cut:
            assert part.tobytes() == whole[: len(part)].tobytes()


@pytest.mark.kernel
def test_quantities_beyond_all_measure_stay_within_words():
    rows = tape(*((k, w.TOP, BUY, 100, (1 << 61) + k) for k in range(9)))
    made = deepen(rows, 1_000, growth=10.0)
    assert made["qty"].max() == (1 << 61) + 8
    assert made["qty"].min() == 0  # of the CLEAR
    assert LOTS_MAX in made["qty"]
    assert len(deepen(np.zeros(0, EVENT), 1)) == 0
