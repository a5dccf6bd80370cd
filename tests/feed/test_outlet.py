"""The compiled way of a frame and the feeder's hand on the matrix, without sockets."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import MachineClock
from alephtx.core.errors import MatrixError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import JoinRule
from alephtx.core.records import EVENT, TOP_ROW
from alephtx.feed import intake as columns
from alephtx.feed import join as j
from alephtx.feed.outlet import Outlet
from alephtx.matrix.book import book_count, make_books
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from tests.feed.toy_venue import instrument, spec


@pytest.fixture
def matrix(tmp_path):
    table = Instruments([instrument(symbol) for symbol in ("AAA", "BBB")])
    with Matrix.create(tmp_path / "m", table, Geometry(instruments_max=4, depth=4)) as made:
        yield made
        made.unlink()


@pytest.fixture
def outlet(matrix):
    return Outlet(matrix, spec(JoinRule.SPOT), 0, 0, MachineClock(matrix.clock_offset_ns))


def rows_of(*messages):
    """Return rows of messages [(instrument, kind, fields...)]; each message's last is flagged."""
    made = []
    for message in messages:
        for number, (i, kind, fields) in enumerate(message):
            row = np.zeros(1, EVENT)
            for name, value in {"instrument": i, "kind": kind, **fields}.items():
                row[0][name] = value
            if number == len(message) - 1:
                row[0]["flags"] |= words.LAST_IN_MESSAGE
            made.append(row)
    return np.concatenate(made)


def delta(i, first, last, *levels):
    head = (i, words.SEQ, {"price": first, "qty": -1, "seq": last})
    return [
        head,
        *((i, words.DELTA, {"price": p, "qty": q, "side": s, "seq": last}) for s, p, q in levels),
    ]


def snapshot(i, last, *levels):
    clear = (i, words.CLEAR, {"seq": last, "flags": words.SNAPSHOT})
    return rows_of(
        [
            clear,
            *(
                (i, words.DELTA, {"price": p, "qty": q, "side": s, "flags": words.SNAPSHOT})
                for s, p, q in levels
            ),
        ]
    )


def top_of(matrix, i):
    out = np.zeros(1, TOP_ROW)
    assert top_read(matrix.map, i, out) == 0
    row = out[0]
    return [int(row[n]) for n in ("bid", "bid_qty", "ask", "ask_qty")], int(row["aux"]) & 0xFF


@pytest.mark.kernel
def test_frame_of_many_messages_is_judged_message_by_message(matrix, outlet):
    outlet.publish(snapshot(0, 10, (1, 99, 5), (-1, 101, 5)))
    outlet.seeded(0, 10)
    trade = [(1, words.TRADE, {"price": 7, "qty": 1, "side": 1})]
    rows = rows_of(
        delta(0, 9, 10, (1, 50, 1)),  # older than the snapshot
        delta(0, 11, 12, (1, 100, 3)),
        trade,
        delta(1, 5, 6, (1, 9, 9)),  # no snapshot yet
        [(3, words.TRADE, {"price": 1})],  # an instrument that is not
        delta(0, 15, 16, (1, 100, 0)),  # 13..14 were lost
        delta(0, 17, 18, (1, 98, 1)),
    )
    left = outlet.take_in(0, rows, len(rows))
    assert [(verdict, i) for _, _, verdict, i in left] == [(j.WAIT, 1), (j.GAP, 0), (j.WAIT, 0)]
    assert [rows[a]["seq"] for a, *_ in left] == [6, 16, 18]
    assert [b - a for a, b, *_ in left] == [2, 2, 2]
    assert top_of(matrix, 0)[0] == [100, 3, 101, 5]
    counters = outlet.counters()
    assert (counters["messages"], counters["applied"]) == (7, 2)
    assert (counters["skipped"], counters["foreign"]) == (1, 1)
    assert list(outlet.intake.link_of) == [0, 0]


@pytest.mark.kernel
def test_rows_without_a_last_flag_are_one_message(outlet):
    rows = rows_of(delta(0, 1, 2, (1, 99, 1)))
    rows["flags"] = 0
    assert outlet.take_in(0, rows, len(rows)) == [[0, 2, j.WAIT, 0]]
    assert outlet.take_in(0, rows, 0) == []


@pytest.mark.kernel
def test_silent_instrument_is_flagged_and_its_next_message_unflags_it(matrix, outlet):
    outlet.publish(snapshot(0, 10, (1, 99, 5), (-1, 101, 5)))
    outlet.seeded(0, 10)
    assert outlet.look_after(10**12, 10**12) == []
    assert top_of(matrix, 0) == ([99, 5, 101, 5], 0)
    outlet.look_after(-1, 10**12)
    assert top_of(matrix, 0)[1] == words.STALE
    empty = rows_of(delta(0, 11, 11))  # a message without levels is a sign of life, too
    assert outlet.take_in(0, empty, len(empty)) == []
    assert top_of(matrix, 0) == ([99, 5, 101, 5], 0)
    assert outlet.counter(columns.STALE_TURNS) == 2  # BBB was silent as well


@pytest.mark.kernel
def test_crossed_book_is_named_after_its_time(matrix, outlet):
    outlet.publish(snapshot(0, 10, (1, 99, 5), (-1, 98, 5)))
    outlet.seeded(0, 10)
    assert outlet.look_after(10**12, 0) == []
    assert outlet.look_after(10**12, 0) == [0]
    assert outlet.look_after(10**12, 10**12) == []


@pytest.mark.kernel
def test_gap_keeps_prices_but_flags_them(matrix, outlet):
    outlet.publish(snapshot(0, 10, (1, 99, 5), (-1, 101, 5)))
    outlet.seeded(0, 10)
    outlet.gap(0, stale=True)
    assert top_of(matrix, 0) == ([99, 5, 101, 5], words.STALE | words.RESYNCING)
    outlet.publish(snapshot(0, 20, (1, 97, 5), (-1, 101, 5)))
    outlet.seeded(0, 20)
    assert top_of(matrix, 0) == ([97, 5, 101, 5], 0)


def test_books_that_are_full_grow_and_lose_nothing(matrix, outlet):
    outlet.books = small = make_books(2, directory=1, pool=1)
    outlet.publish(snapshot(0, 1, (1, 10**8, 1), (-1, 10**8 + 1, 1)))
    outlet.seeded(0, 1)
    count, last = 0, 1
    for _ in range(6):
        first = last + 1
        messages = []
        for part in range(2):
            levels = [
                (1, 10**8 - 10_000 - (count + k) * 3, 1)
                for k in range(part * 5000, part * 5000 + 5000)
            ]
            messages.append(delta(0, first + part, first + part, *levels))
        rows = rows_of(*messages)
        assert outlet.take_in(0, rows, len(rows)) == []
        count += 10_000
        last = first + 1
    assert outlet.books is not small
    assert book_count(outlet.books, 0, words.BUY) == count + 1
    assert top_of(matrix, 0) == ([10**8, 1, 10**8 + 1, 1], 0)


def test_second_feeder_of_a_living_one_is_refused(matrix, outlet):
    other = Matrix.attach(matrix.path)
    try:
        with pytest.raises(MatrixError, match="living feeder"):
            Outlet(other, spec(JoinRule.SPOT), 0, 1, MachineClock())
    finally:
        other.close()
