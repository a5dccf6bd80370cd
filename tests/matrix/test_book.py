"""The book against the obvious one: two dicts of price -> quantity."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from alephtx.core.units import parse_scaled
from alephtx.core.words import BUY, CLEAR, DELTA, SELL, TRADE
from alephtx.matrix.book import (
    book_apply,
    book_bad_rows,
    book_check,
    book_count,
    book_levels,
    book_moves,
    book_next,
    book_nth,
    book_qty,
    book_top,
    grow_books,
    make_books,
)
from alephtx.matrix.book_lane import PRICE_LIMIT, WINDOW

GOLDEN = Path(__file__).parent.parent / "golden" / "matrix" / "spot_btcusdt_depth_20240808.gz"
DEPTH = 12
EXAMPLES = 60 if JIT else 6


class DictBook:
    """The slow, obvious pair of a book."""

    def __init__(self):
        self.sides = {BUY: {}, SELL: {}}

    def apply(self, kind, side, price, qty):
        if kind == CLEAR:
            self.sides = {BUY: {}, SELL: {}}
        elif qty:
            self.sides[side][price] = qty
        else:
            self.sides[side].pop(price, None)

    def ranked(self, side):
        return sorted(self.sides[side].items(), reverse=side == BUY)


def rows_of(changes, instrument=0):
    rows = np.zeros(len(changes), EVENT)
    for k, (kind, side, price, qty) in enumerate(changes):
        rows[k]["kind"], rows[k]["side"], rows[k]["instrument"] = kind, side, instrument
        rows[k]["price"], rows[k]["qty"] = price, qty
    return rows


def assert_same(books, model, i=0, depth=DEPTH):
    levels, top, out = (
        np.zeros((2, depth, 2), np.int64),
        np.zeros(4, np.int64),
        np.zeros(2, np.int64),
    )
    book_levels(books, i, levels)
    sides = book_top(books, i, top)
    for s, side in enumerate((BUY, SELL)):
        ranked = model.ranked(side)
        padded = ranked[:depth] + [(0, 0)] * (depth - len(ranked))
        assert [tuple(level) for level in levels[s].tolist()] == padded
        assert bool(sides & (1 << s)) == bool(ranked)
        assert tuple(top[2 * s : 2 * s + 2].tolist()) == padded[0]
        assert book_count(books, i, side) == len(ranked)
        for n in (0, 1, len(ranked) // 2, len(ranked) - 1):
            if 0 <= n < len(ranked):
                assert book_nth(books, i, side, n, out) == 1
                assert tuple(out.tolist()) == ranked[n]
        assert book_nth(books, i, side, len(ranked), out) == 0


# Prices near a touch, around the edges of a window, and anywhere at all.
PRICES = st.one_of(
    st.integers(1000, 1040),
    st.integers(-3, 3).flatmap(
        lambda n: st.sampled_from([1000 + n * WINDOW // 4 + d for d in (-1, 0, 1)])
    ),
    st.sampled_from([PRICE_LIMIT, -PRICE_LIMIT, 0, 1 << 60, -(1 << 60)]),
    st.integers(-PRICE_LIMIT, PRICE_LIMIT),
)
CHANGES = st.one_of(
    st.tuples(
        st.just(DELTA),
        st.sampled_from([BUY, SELL]),
        PRICES,
        st.one_of(st.just(0), st.integers(1, 9), st.just((1 << 63) - 1)),
    ),
    st.tuples(st.just(CLEAR), st.just(0), st.just(0), st.just(0)),
)


@pytest.mark.kernel
@pytest.mark.smoke
@settings(max_examples=EXAMPLES, deadline=None)
@given(messages=st.lists(st.lists(CHANGES, max_size=25), max_size=8))
def test_book_equals_dict_book_whatever_comes(messages):
    """Removes of absent levels, huge jumps, crossed sides and CLEARs included."""
    books, model = make_books(2), DictBook()
    for changes in messages:
        rows = rows_of(changes, instrument=1)
        assert book_apply(books, rows, 0, len(rows)) == len(rows)
        for change in changes:
            model.apply(*change)
        assert_same(books, model, i=1)
    if JIT:  # 32,768 ticks, one by one
        assert book_check(books, 1) == 0
        assert book_check(books, 0) == 0
    for side in (BUY, SELL):
        for price, qty in model.sides[side].items():
            assert book_qty(books, 1, side, price) == qty


ROWS = st.lists(
    st.tuples(
        # Mostly of one instrument and side, so that what does not belong is in the midst of a run.
        st.sampled_from([1] * 6 + [0, 2, (1 << 32) - 1]),
        st.sampled_from([DELTA] * 5 + [TRADE, TRADE, CLEAR]),
        st.sampled_from([BUY] * 6 + [SELL, SELL, 0, 2, -128]),
        st.sampled_from([1000, 1001, 1002, 1003, -5, PRICE_LIMIT + 1]),
        st.sampled_from([0, 1, 2, 3, -1]),
        st.sampled_from([0, 1, (1 << 16) - 1]),  # flags are nothing to a book
    ),
    max_size=40,
)


@pytest.mark.kernel
@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(drawn=ROWS)
def test_rows_of_all_kinds_and_instruments_go_where_they_belong(drawn):
    books, models, bad = make_books(2), (DictBook(), DictBook()), 0
    rows = np.zeros(len(drawn), EVENT)
    for row, (i, kind, side, price, qty, flags) in zip(rows, drawn, strict=True):
        row["instrument"], row["kind"], row["side"], row["flags"] = i, kind, side, flags
        row["price"], row["qty"] = price, qty
        sound = abs(side) == 1 and price <= PRICE_LIMIT and qty >= 0
        if kind == TRADE:
            continue
        if i > 1 or (kind == DELTA and not sound):
            bad += 1
        else:
            models[i].apply(kind, side, price, qty)
    assert book_apply(books, rows, 0, len(rows)) == len(rows)
    assert book_bad_rows(books) == bad
    for i, model in enumerate(models):
        assert_same(books, model, i=i)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 30), spread=st.sampled_from([60, 3000, 40_000, 10**6, 10**12]))
def test_book_of_many_levels_equals_dict_book(seed, spread):
    """Thousands of levels, so that chunks split, close and are used again, and windows move."""
    source = np.random.default_rng(seed)
    books, model, middle = make_books(1), DictBook(), 10**7
    for _ in range(12):
        middle += int(source.integers(-spread, spread + 1))
        n = 400
        rows = np.zeros(n, EVENT)
        rows["kind"] = np.where(source.random(n) < 0.0005, CLEAR, DELTA)
        rows["side"] = source.choice([BUY, SELL], n)
        near = source.integers(0, 40, n)
        far = source.integers(0, spread, n)
        rows["price"] = middle - rows["side"] * np.where(source.random(n) < 0.3, near, far)
        rows["qty"] = source.integers(0, 3, n)
        assert book_apply(books, rows, 0, n) == n
        for row in rows:
            model.apply(int(row["kind"]), int(row["side"]), int(row["price"]), int(row["qty"]))
        assert_same(books, model, depth=40)
        assert book_check(books, 0) == 0


def test_book_sorts_chunks_under_any_order_of_insertion():
    for order in (1, -1):
        books, model = make_books(1), DictBook()
        prices = [10**9, *[n * 1_000_000 for n in range(1, 700)][::order]]
        changes = [(DELTA, BUY, price, price + 1) for price in prices]
        book_apply(books, rows_of(changes), 0, len(changes))
        for change in changes:
            model.apply(*change)
        assert_same(books, model, depth=800)
        assert book_check(books, 0) == 0
        removals = [(DELTA, BUY, price, 0) for price in prices if price % 3_000_000]
        book_apply(books, rows_of(removals), 0, len(removals))
        for change in removals:
            model.apply(*change)
        assert_same(books, model, depth=800)
        assert book_check(books, 0) == 0


@pytest.mark.kernel
def test_walk_visits_every_level_once_best_first():
    books, out, top = make_books(1), np.zeros(2, np.int64), np.zeros(4, np.int64)
    prices = [100, 101, 150, 100 + WINDOW, 100 + 3 * WINDOW, 10**12]
    changes = [(DELTA, side, side * -price, 5) for side in (BUY, SELL) for price in prices]
    book_apply(books, rows_of(changes), 0, len(changes))
    for s, side in enumerate((BUY, SELL)):
        book_top(books, 0, top)
        seen = [int(top[2 * s])]
        while book_next(books, 0, side, seen[-1], out):
            seen.append(int(out[0]))
            assert out[1] == 5
        assert seen == [-side * price for price in prices]
        assert book_next(books, 0, side, side * PRICE_LIMIT, out) == 1
        assert out[0] == seen[0]
        assert book_next(books, 0, side, -side * PRICE_LIMIT, out) == 0


@pytest.mark.kernel
def test_empty_book_has_nothing():
    books, out = make_books(1), np.full(4, 7, np.int64)
    assert book_top(books, 0, out) == 0
    assert out.tolist() == [0, 0, 0, 0]
    assert book_next(books, 0, BUY, 5, out) == 0
    assert book_nth(books, 0, SELL, 0, out) == 0
    assert book_nth(books, 0, SELL, -1, out) == 0
    assert book_qty(books, 0, BUY, 5) == 0
    assert book_qty(books, 0, BUY, -(1 << 63)) == 0
    assert book_levels(books, 0, np.zeros((2, 3, 2), np.int64)) == 0


@pytest.mark.kernel
@pytest.mark.parametrize(
    "bad",
    [
        {"price": PRICE_LIMIT + 1},
        {"price": -(1 << 63)},
        {"price": (1 << 63) - 1},
        {"qty": -1},
        {"qty": -(1 << 63)},
        {"side": 0},
        {"side": 2},
        {"side": -128},
        {"instrument": 2},
        {"instrument": (1 << 32) - 1},
    ],
)
def test_row_that_cannot_be_is_counted_and_passed_over(bad):
    books, model = make_books(2), DictBook()
    rows = rows_of([(DELTA, BUY, 10, 1), (DELTA, BUY, 11, 1), (DELTA, BUY, 12, 1)])
    for name, value in bad.items():
        rows[1][name] = value
    assert book_apply(books, rows, 0, 3) == 3
    assert book_bad_rows(books) == 1
    for price in (10, 12):
        model.apply(DELTA, BUY, price, 1)
    assert_same(books, model)


@pytest.mark.kernel
def test_clear_of_unknown_instrument_is_counted():
    books = make_books(1)
    assert book_apply(books, rows_of([(CLEAR, 0, 0, 0)], instrument=9), 0, 1) == 1
    assert book_bad_rows(books) == 1


@pytest.mark.kernel
def test_other_kinds_and_rows_outside_the_range_are_passed_over():
    books = make_books(1)
    rows = rows_of([(DELTA, BUY, 1, 1), (TRADE, BUY, 2, 1), (DELTA, BUY, 3, 1), (DELTA, BUY, 4, 1)])
    assert book_apply(books, rows, 1, 3) == 2
    assert [book_qty(books, 0, BUY, price) for price in (1, 2, 3, 4)] == [0, 0, 1, 0]


def test_books_stop_when_full_and_go_on_after_growth():
    """Far levels, so that all but a few need chunks; nothing is lost, nothing applied twice."""
    books, model, grown = make_books(2, directory=1, pool=1), DictBook(), 0
    room = len(books.memory)
    source = np.random.default_rng(5)
    prices = source.permutation(60_000)[:40_000] * 1_000_000
    changes = [(DELTA, BUY, int(price), 1 + n) for n, price in enumerate(prices)]
    rows, done = rows_of(changes, instrument=1), 0
    book_apply(books, rows_of([(DELTA, SELL, 77, 7)], instrument=0), 0, 1)
    while done < len(rows):
        applied = book_apply(books, rows, done, len(rows))
        done += applied
        if done < len(rows):
            books, grown = grow_books(books), grown + 1
    assert grown >= 1
    assert len(books.memory) > room
    for change in changes:
        model.apply(*change)
    assert_same(books, model, i=1, depth=50)
    assert book_check(books, 1) == book_check(books, 0) == 0
    assert book_qty(books, 0, SELL, 77) == 7


def test_window_follows_the_touch_and_does_not_move_for_every_tick():
    books, top = make_books(1), np.zeros(4, np.int64)
    rows = []
    for price in range(1000, 130_000, 3):  # a rising market, its old levels taken away
        rows += [(DELTA, BUY, price, 1), (DELTA, BUY, price - 60, 0)]
        rows += [(DELTA, SELL, price + 1, 1), (DELTA, SELL, price - 2, 0)]
    book_apply(books, rows_of(rows), 0, len(rows))
    assert book_top(books, 0, top) == 3
    assert top.tolist() == [129_997, 1, 129_998, 1]
    assert 2 <= book_moves(books, 0) < 40
    assert book_check(books, 0) == 0


def recorded_messages():
    """Yield each recorded message as changes; a snapshot begins with CLEAR."""
    with gzip.open(GOLDEN, "rt") as lines:
        for line in lines:
            data = json.loads(line.split(" ", 1)[1])
            data = data.get("data", data)
            if "A" in data:
                continue  # a bookTicker
            changes = [(CLEAR, 0, 0, 0)] if "lastUpdateId" in data else []
            for side, names in ((BUY, ("bids", "b")), (SELL, ("asks", "a"))):
                for price, qty in next(data[name] for name in names if name in data):
                    changes.append((DELTA, side, parse_scaled(price, 2), parse_scaled(qty, 8)))
            yield changes


def test_book_equals_dict_book_on_a_real_recording_level_by_level():
    books, model, messages = make_books(1), DictBook(), 0
    for changes in recorded_messages():
        rows = rows_of(changes)
        assert book_apply(books, rows, 0, len(rows)) == len(rows)
        for change in changes:
            model.apply(*change)
        assert_same(books, model, depth=25)
        messages += 1
    assert messages > 300
    assert book_bad_rows(books) == 0
    assert book_check(books, 0) == 0
    for side in (BUY, SELL):
        assert len(model.sides[side]) > 900
        for price, qty in model.sides[side].items():
            assert book_qty(books, 0, side, price) == qty
