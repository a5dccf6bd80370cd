"""Gaps, crossings, clocks and silences, against a plain count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.kernel import JIT
from alephtx.store import review as r
from alephtx.store.review import Review
from tests.store.market import DATED, T0, numbered, rows_of, trade

pytestmark = pytest.mark.kernel

BOOK_STEPS = st.lists(
    st.tuples(
        st.sampled_from((words.DELTA, words.DELTA, words.DELTA, words.CLEAR, words.GAP, words.TOP)),
        st.integers(1, 6), st.integers(0, 2), st.sampled_from((1, -1)), st.booleans(),
        st.sampled_from((0, 0, 0, words.TICK_EXCHANGE, words.TICK_LOCAL)),
    ),
    max_size=40,
)  # fmt: skip


def reviewed(rows, *cuts):
    review = Review()
    for part in np.split(rows, list(cuts)):
        review.take(part)
    return review.report()


def plain(rows):
    """Count crossed and locked messages and gaps with dicts."""
    book, tops, stale = {1: {}, -1: {}}, {1: (0, 0), -1: (0, 0)}, False
    crossed = locked = gaps = 0
    touched_book = touched_top = False
    for row in rows:
        kind, side, price, qty = (int(row[n]) for n in ("kind", "side", "price", "qty"))
        if kind == words.GAP:
            gaps += 1
        if not row["flags"] & words.TICK_EXCHANGE:
            if kind == words.DELTA:
                book[side].pop(price, None)
                if qty:
                    book[side][price] = qty
                touched_book = True
            elif kind == words.CLEAR:
                book, stale, touched_book = {1: {}, -1: {}}, False, True
                tops = {1: (0, 0), -1: (0, 0)}
            elif kind == words.TOP:
                tops[side], touched_top = (price, qty), True
            elif kind == words.GAP:
                stale = True
        if row["flags"] & words.LAST_IN_MESSAGE:
            pairs = []
            if touched_book and not stale and book[1] and book[-1]:
                pairs.append(max(book[1]) - min(book[-1]))
            if touched_top and tops[1][1] and tops[-1][1]:
                pairs.append(tops[1][0] - tops[-1][0])
            crossed += any(gap > 0 for gap in pairs)
            locked += 0 in pairs and not any(gap > 0 for gap in pairs)
            touched_book = touched_top = False
    return gaps, crossed, locked


@given(BOOK_STEPS, st.integers(0, 40))
def test_gaps_and_crossings_are_those_of_a_plain_book(steps, cut):
    rows = rows_of(*(
        {"kind": kind, "price": price, "qty": qty, "side": side, "open": is_open, "flags": flags,
         "ts_recv": T0 + n, "ts_event": T0 + n}
        for n, (kind, price, qty, side, is_open, flags) in enumerate(steps)
    ))  # fmt: skip
    found = reviewed(rows, min(cut, len(rows)))
    assert (found.gaps, found.crossed, found.locked) == plain(rows)
    assert found.rows == len(rows)


def test_trades_that_do_not_say_who_took_are_counted_once():
    print_ = {"kind": words.TRADE, "qty": 1, "price": 5, "ts_recv": T0, "ts_event": T0}
    rows = rows_of(
        print_, {**print_, "side": 1}, {**print_, "side": -1},
        {**print_, "flags": words.TICK_EXCHANGE}, {**print_, "flags": words.TICK_LOCAL},
        {**print_, "kind": words.MARK},
    )  # fmt: skip
    found = reviewed(rows)
    assert (found.sideless, found.kinds["trade"]) == (2, 5)


def test_orders_one_by_one_cross_as_levels_do():
    add = {"kind": words.ORDER_ADD, "qty": 1, "ts_recv": T0, "ts_event": T0}
    rows = rows_of(
        {**add, "seq": 1, "price": 5, "side": 1},
        {**add, "seq": 2, "price": 4, "side": -1},
        {**add, "kind": words.ORDER_DELETE, "seq": 1},
        {**add, "kind": words.ORDER_DELETE, "seq": 9},
    )
    found = reviewed(rows)
    assert (found.crossed, found.unknown_orders) == (1, 1)
    assert found.kinds == {"order_add": 2, "order_delete": 2}


def test_clocks_are_told():
    second = 1_000_000_000
    rows = numbered(rows_of(
        trade(0, 10), trade(100, 60), trade(90, 50), trade(2 * second, 2 * second),
        trade(2 * second + 5),
    ))  # fmt: skip
    found = reviewed(rows)
    clocks = found.clocks
    assert (clocks.offset_min_ns, clocks.offset_median_ns, clocks.offset_max_ns) == (-10, 0, 40)
    assert (clocks.event_back, clocks.recv_back, clocks.dated) == (2, 1, 4)
    assert (clocks.silent, clocks.silent_max_ns, clocks.silent_at_ns) == (
        1, 2 * second - 100, T0 + 100,
    )  # fmt: skip
    assert found.span_ns == 2 * second + 5


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=200), st.sampled_from((4, 8, 64, 256)))
def test_the_median_is_that_of_evenly_spaced_messages(offsets, room):
    state, samples = r.make_state(), np.zeros(room, np.int64)
    for offset in offsets:
        r._sample(state, samples, offset)
    stride = int(state[r.STRIDE])
    assert samples[: state[r.SAMPLED]].tolist() == offsets[::stride]
    assert stride == 1 or len(offsets) > room
    assert (state[r.OFFSET_MIN], state[r.OFFSET_MAX]) == (min(offsets), max(offsets))


@pytest.mark.skipif(not JIT, reason="too many rows for plain Python")
def test_a_deep_book_grows():
    """More levels than the first books and the first order table have room for."""
    count = 300_000
    rows = np.zeros(count, rows_of(trade(0)).dtype)
    rows["kind"], rows["side"], rows["qty"] = words.DELTA, 1, 1
    rows["price"] = np.arange(count) * 1_000 - 10**9
    rows["flags"] = DATED
    rows["ts_event"] = rows["ts_recv"] = T0
    rows["flags"][-1] |= words.LAST_IN_MESSAGE
    assert reviewed(rows).bad_rows == 0
    rows["kind"], rows["seq"] = words.ORDER_ADD, np.arange(count)
    found = reviewed(rows)
    assert (found.bad_rows, found.unknown_orders) == (0, 0)
