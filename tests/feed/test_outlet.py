"""The compiled way of a frame and the feeder's hand on the matrix, without sockets."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import MachineClock, ManualClock
from alephtx.core.errors import MatrixError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import JoinRule
from alephtx.core.records import EVENT, TOP_ROW
from alephtx.feed import intake as columns
from alephtx.feed import join as j
from alephtx.feed.outlet import Outlet
from alephtx.matrix.book import book_count, make_books
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_head, ring_read
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
    outlet.seed(0, snapshot(0, 10, (1, 99, 5), (-1, 101, 5)), 10)
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
    outlet.seed(0, snapshot(0, 10, (1, 99, 5), (-1, 101, 5)), 10)
    assert outlet.look_after(10**12) == []
    assert top_of(matrix, 0) == ([99, 5, 101, 5], 0)
    outlet.intake.terms[columns.STALE_AFTER] = -1
    outlet.look_after(10**12)
    outlet.intake.terms[columns.STALE_AFTER] = 10**12
    assert top_of(matrix, 0)[1] == words.STALE
    empty = rows_of(delta(0, 11, 11))  # a message without levels is a sign of life, too
    assert outlet.take_in(0, empty, len(empty)) == []
    assert top_of(matrix, 0) == ([99, 5, 101, 5], 0)
    assert outlet.counter(columns.STALE_TURNS) == 2  # BBB was silent as well


@pytest.mark.kernel
def test_crossed_book_is_named_after_its_time(matrix, outlet):
    outlet.seed(0, snapshot(0, 10, (1, 99, 5), (-1, 98, 5)), 10)
    assert outlet.look_after(0) == []
    assert outlet.look_after(0) == [0]
    assert outlet.look_after(10**12) == []


@pytest.mark.kernel
def test_gap_keeps_prices_but_flags_them(matrix, outlet):
    outlet.seed(0, snapshot(0, 10, (1, 99, 5), (-1, 101, 5)), 10)
    outlet.gap(0, stale=True)
    assert top_of(matrix, 0) == ([99, 5, 101, 5], words.STALE | words.RESYNCING)
    outlet.seed(0, snapshot(0, 20, (1, 97, 5), (-1, 101, 5)), 20)
    assert top_of(matrix, 0) == ([97, 5, 101, 5], 0)


def test_books_that_are_full_grow_and_lose_nothing(matrix, outlet):
    outlet.books = small = make_books(2, directory=1, pool=1)
    outlet.seed(0, snapshot(0, 1, (1, 10**8, 1), (-1, 10**8 + 1, 1)), 1)
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


MS = 1_000_000


@pytest.fixture
def dated(matrix):
    """Yield (clock, outlet) with books of both instruments; two links, 1.5 s is stale."""
    clock = ManualClock()
    outlet = Outlet(matrix, spec(JoinRule.SPOT), 0, 0, clock, links=2, stale_ns=1_500 * MS)
    for i in (0, 1):
        outlet.seed(i, snapshot(i, 10, (1, 99, 5), (-1, 101, 5)), 10)
    return clock, outlet


def book_message(outlet, clock, seq, *, made=None, link=0, i=0, arrived=0):
    """Take in a change that the venue stamped with `made`, None: without a stamp."""
    rows = rows_of(delta(i, seq, seq, (1, 99, seq)))
    rows["ts_event"], rows["ts_recv"] = made or 0, clock.now() - arrived
    assert outlet.take_in(link, rows, len(rows)) == []


@pytest.mark.kernel
@pytest.mark.parametrize("ahead", [-5_000 * MS, 0, 5_000 * MS])
def test_late_message_is_shown_flagged_until_one_is_young_enough(matrix, dated, ahead):
    clock, outlet = dated
    outlet.measured(ahead, 100 * MS)
    venue_now = clock.now() + ahead
    book_message(outlet, clock, 11, made=venue_now - 1_600 * MS)  # may be 1,500 ms old
    assert top_of(matrix, 0) == ([99, 11, 101, 5], 0)
    book_message(outlet, clock, 12, made=venue_now - 1_600 * MS - 1)
    assert top_of(matrix, 0) == ([99, 12, 101, 5], words.STALE)
    book_message(outlet, clock, 13, made=venue_now - 9_000 * MS)
    assert top_of(matrix, 0) == ([99, 13, 101, 5], words.STALE)
    assert outlet.look_after(10**12) == []
    book_message(outlet, clock, 14, made=venue_now)
    assert top_of(matrix, 0) == ([99, 14, 101, 5], 0)
    assert top_of(matrix, 1)[1] == 0
    counters = outlet.counters()
    assert (counters["late"], counters["early"], counters["stale_turns"]) == (2, 0, 1)


@pytest.mark.kernel
def test_late_price_is_never_shown_without_its_flag(matrix, dated):
    clock, outlet = dated
    outlet.measured(0, 0)
    first = ring_head(matrix.map, 0) + 1
    book_message(outlet, clock, 11, made=clock.now() - 2_000 * MS)
    slot = np.zeros(1, TOP_ROW)
    seen = []
    for k in range(first, ring_head(matrix.map, 0) + 1):
        assert ring_read(matrix.map, 0, k, slot) == 1
        seen.append((int(slot[0]["bid_qty"]), int(slot[0]["aux"]) >> 40 & 0xFF))
    assert seen == [(11, words.STALE)]


@pytest.mark.kernel
def test_message_ages_from_when_it_was_made(matrix, dated):
    clock, outlet = dated
    outlet.measured(0, 0)
    book_message(outlet, clock, 11, made=clock.now() - 1_000 * MS)
    clock.advance(500 * MS)
    outlet.look_after(10**12)
    assert top_of(matrix, 0)[1] == 0
    clock.advance(1)
    outlet.look_after(10**12)
    assert top_of(matrix, 0)[1] == words.STALE
    assert top_of(matrix, 1)[1] == 0


@pytest.mark.kernel
def test_stamp_says_nothing_while_the_venues_clock_is_unknown(matrix, dated):
    clock, outlet = dated
    for seq, made in enumerate((1, clock.now() - 10**15, clock.now() + 10**15, 2**63 - 1), 11):
        book_message(outlet, clock, seq, made=made)
        assert top_of(matrix, 0)[1] == 0
    assert outlet.counters()["late"] == outlet.counters()["early"] == 0


@pytest.mark.kernel
@pytest.mark.parametrize("made", [1, 2**63 - 1, -1, -(2**63)])
def test_absurd_stamp_makes_no_price_young_that_is_not(matrix, dated, made):
    clock, outlet = dated
    outlet.measured(3 * MS, MS)
    book_message(outlet, clock, 11, made=clock.now() - 9_000 * MS)
    book_message(outlet, clock, 12, made=made)
    counters = outlet.counters()
    if made == 1:
        assert (counters["late"], top_of(matrix, 0)[1]) == (2, words.STALE)
    elif made > 0:
        assert (counters["early"], top_of(matrix, 0)[1]) == (1, 0)
    else:  # no stamp: as old as the one before it in the queue
        assert (counters["late"], top_of(matrix, 0)[1]) == (2, words.STALE)


@pytest.mark.kernel
def test_message_without_a_stamp_may_be_as_old_as_the_one_before_it_on_its_link(matrix, dated):
    clock, outlet = dated
    outlet.measured(0, 0)
    book_message(outlet, clock, 11, made=clock.now() - 2_000 * MS, link=1)
    book_message(outlet, clock, 12, link=0)  # of another queue
    assert top_of(matrix, 0)[1] == 0
    book_message(outlet, clock, 13, link=1)
    assert top_of(matrix, 0)[1] == words.STALE
    book_message(outlet, clock, 11, link=1, i=1)
    assert top_of(matrix, 1)[1] == words.STALE
    book_message(outlet, clock, 14, link=-1)  # one that had waited with us, not there
    assert top_of(matrix, 0)[1] == 0
    book_message(outlet, clock, 15, made=clock.now() - 1_000 * MS, link=1)
    clock.advance(501 * MS)
    book_message(outlet, clock, 16, link=1)  # it may have been made right behind that one
    assert top_of(matrix, 0)[1] == words.STALE


@pytest.mark.kernel
def test_message_that_waited_with_us_is_as_old_as_its_arrival(matrix, dated):
    clock, outlet = dated
    book_message(outlet, clock, 11, link=-1, arrived=1_500 * MS)
    assert top_of(matrix, 0)[1] == 0
    book_message(outlet, clock, 12, link=-1, arrived=1_500 * MS + 1)
    assert top_of(matrix, 0)[1] == words.STALE


@pytest.mark.kernel
def test_message_from_the_future_is_counted_when_no_clock_error_explains_it(dated):
    clock, outlet = dated
    outlet.measured(1_000 * MS, 100 * MS)
    latest = clock.now() + 1_000 * MS + 100 * MS + columns.EARLY_NS
    book_message(outlet, clock, 11, made=latest)
    assert outlet.counter(columns.EARLY) == 0
    book_message(outlet, clock, 12, made=latest + 1)
    assert outlet.counter(columns.EARLY) == 1


@pytest.mark.kernel
def test_trade_neither_ages_nor_refreshes_a_book(matrix, dated):
    clock, outlet = dated
    outlet.measured(0, 0)
    rows = rows_of([(0, words.TRADE, {"price": 7, "qty": 1, "side": 1})])
    rows["ts_event"] = clock.now() - 60_000 * MS
    outlet.take_in(0, rows, 1)
    assert top_of(matrix, 0)[1] == 0
    clock.advance(1_500 * MS + 1)
    outlet.look_after(10**12)
    rows["ts_event"] = clock.now()
    outlet.take_in(0, rows, 1)
    assert top_of(matrix, 0)[1] == words.STALE


@pytest.mark.kernel
def test_snapshot_is_as_old_as_its_question(matrix, dated):
    clock, outlet = dated
    outlet.gap(0, stale=True)
    outlet.seed(0, snapshot(0, 20, (1, 97, 5), (-1, 101, 5)), 20, age_ns=1_500 * MS + 1)
    assert top_of(matrix, 0) == ([97, 5, 101, 5], words.STALE)
    outlet.seed(0, snapshot(0, 30, (1, 97, 6), (-1, 101, 5)), 30, age_ns=1_500 * MS)
    assert top_of(matrix, 0) == ([97, 6, 101, 5], 0)
    clock.advance(1)
    outlet.look_after(10**12)
    assert top_of(matrix, 0)[1] == words.STALE
