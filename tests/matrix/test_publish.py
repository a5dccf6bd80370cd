"""What readers see of a message: slots, top, levels and flags, and which source wins."""

import gzip
import json

import numpy as np
import pytest

from alephtx.core.records import EVENT, TOP_ROW
from alephtx.core.units import parse_scaled
from alephtx.core.words import (
    BUY,
    CLEAR,
    CROSSED,
    DELTA,
    EMPTY_SIDE,
    EPOCH_SHIFT,
    EXCHANGE_CLOCK,
    FUNDING,
    GAP,
    HALTED,
    LAST_IN_MESSAGE,
    MARK,
    NOT_TRADING,
    RESYNCING,
    SELL,
    SEQ,
    SNAPSHOT,
    STALE,
    STATUS,
    TOP,
    TRADE,
    TRADING,
    UNTRADEABLE_MASK,
)
from alephtx.matrix.book import book_bad_rows, book_qty, grow_books, make_books
from alephtx.matrix.levels import levels_read
from alephtx.matrix.publish import (
    dropped_tops,
    make_publish_state,
    publish,
    publish_flags,
    set_late,
    set_wants_depth,
)
from alephtx.matrix.ring import ring_head, ring_read
from alephtx.matrix.tops import top_flag, top_read
from tests.matrix.test_book import GOLDEN, DictBook

VENUE, I = 1, 2
DEPTH = 8


def event(kind, side=0, price=0, qty=0, seq=0, flags=0, instrument=I):
    row = np.zeros(1, EVENT)
    row["kind"], row["side"], row["price"], row["qty"] = kind, side, price, qty
    row["seq"], row["flags"], row["instrument"] = seq, flags, instrument
    row["ts_event"], row["ts_recv"] = 1000 + seq, 2000 + seq
    return row


def delta(side, price, qty, seq=0, flags=0, instrument=I):
    return event(DELTA, side, price, qty, seq, flags, instrument)


def top_pair(bid, bid_qty, ask, ask_qty, seq):
    return [
        event(TOP, BUY, bid, bid_qty, seq),
        event(TOP, SELL, ask, ask_qty, seq, LAST_IN_MESSAGE),
    ]


def snapshot(seq, bids, asks):
    rows = [event(CLEAR, seq=seq)]
    rows += [delta(BUY, price, qty, seq, SNAPSHOT) for price, qty in bids]
    return rows + [delta(SELL, price, qty, seq, SNAPSHOT) for price, qty in asks]


class Feed:
    """A feeder's half of a venue, and a reader that keeps what the ring says."""

    def __init__(self, matrix, *, wants_depth=True):
        self.map = matrix.map
        self.books = make_books(4)
        self.state = make_publish_state(4, depth=DEPTH, wants_depth=wants_depth)
        self.next = ring_head(self.map, VENUE) + 1

    def send(self, *rows):
        message = np.concatenate(rows)
        assert publish(self.map, VENUE, self.books, message, len(message), self.state) == len(rows)
        return self.slots()

    def slots(self):
        """Return the new slots as (kind, flags, bid, bid_qty, ask, ask_qty)."""
        out, found = np.zeros(1, TOP_ROW), []
        while ring_read(self.map, VENUE, self.next, out) == 1:
            aux = int(out[0]["aux"])
            assert aux & 0xFFFFFFFF == I
            found.append(((aux >> 32) & 0xFF, (aux >> 40) & 0xFFFF, *out[0].tolist()[3:7]))
            self.next += 1
        return found

    def top(self):
        """Return (flags, bid, bid_qty, ask, ask_qty)."""
        out = np.zeros(1, TOP_ROW)
        assert top_read(self.map, I, out) == 0
        return (int(out[0]["aux"]) & UNTRADEABLE_MASK, *out[0].tolist()[3:7])

    def levels(self):
        out = np.zeros((2, DEPTH, 2), np.int64)
        seq = levels_read(self.map, I, out)
        return seq, *([tuple(level) for level in side if level[1]] for side in out.tolist())


BIDS, ASKS = [(100, 5), (99, 6)], [(102, 7), (103, 8)]


@pytest.fixture
def feed(matrix):
    return Feed(matrix)


@pytest.fixture
def live(feed):
    feed.send(*snapshot(10, BIDS, ASKS))
    return feed


@pytest.mark.kernel
@pytest.mark.smoke
def test_snapshot_shows_top_and_levels(feed):
    slots = feed.send(*snapshot(10, BIDS, ASKS))
    assert slots == [(TOP, 0, 100, 5, 102, 7)]
    assert feed.top() == (0, 100, 5, 102, 7)
    assert feed.levels() == (10, BIDS, ASKS)


@pytest.mark.kernel
def test_change_of_the_top_is_one_slot_with_the_message_times(live):
    out = np.zeros(1, TOP_ROW)
    assert live.send(event(SEQ, seq=11), delta(BUY, 101, 1, 11), delta(SELL, 102, 0, 11)) == [
        (TOP, 0, 101, 1, 103, 8)
    ]
    top_read(live.map, I, out)
    assert (out[0]["ts_event"], out[0]["ts_recv"]) == (1011, 2011)
    assert live.levels() == (11, [(101, 1), *BIDS], [(103, 8)])


@pytest.mark.kernel
def test_change_below_the_top_is_a_delta_slot_only_where_depth_is_wanted(live):
    assert live.send(delta(BUY, 98, 1, 11)) == [(DELTA, 0, 100, 5, 102, 7)]
    set_wants_depth(live.state, I, wanted=False)
    assert live.send(delta(BUY, 97, 1, 12)) == []
    assert live.levels() == (12, [*BIDS, (98, 1), (97, 1)], ASKS), "levels are shown all the same"


@pytest.mark.kernel
def test_change_beyond_the_levels_shown_is_kept_but_not_shown(live):
    live.send(*(delta(BUY, 98 - n, 1, 11) for n in range(DEPTH)))
    assert live.send(delta(BUY, 50, 3, 12)) == []
    assert live.levels()[0] == 11
    assert book_qty(live.books, I, BUY, 50) == 3
    assert live.send(delta(BUY, 100, 0, 13)) == [(TOP, 0, 99, 6, 102, 7)]
    assert live.levels()[1][-1] == (92, 1), "a level from beyond moved up"
    live.send(*(delta(BUY, price, 0, 14) for price in range(92, 100)))
    assert live.levels()[1] == [(91, 1), (50, 3)]


@pytest.mark.kernel
def test_crossed_and_one_sided_books_are_flagged(live):
    assert live.send(delta(BUY, 102, 1, 11)) == [(TOP, CROSSED, 102, 1, 102, 7)]
    assert live.top()[0] == CROSSED
    assert live.send(delta(BUY, 102, 0, 12)) == [(TOP, 0, 100, 5, 102, 7)]
    slots = live.send(delta(SELL, 102, 0, 13), delta(SELL, 103, 0, 13))
    assert slots == [(TOP, EMPTY_SIDE, 100, 5, 0, 0)]
    assert live.top() == (EMPTY_SIDE, 100, 5, 0, 0)


@pytest.mark.kernel
def test_newer_top_wins_and_older_depth_does_not_move_it_back(live):
    assert live.send(*top_pair(100, 4, 101, 9, seq=20)) == [(TOP, 0, 100, 4, 101, 9)]
    assert live.send(delta(BUY, 100, 4, 15)) == [(DELTA, 0, 100, 4, 101, 9)]
    assert live.top() == (0, 100, 4, 101, 9)
    assert live.levels() == (15, [(100, 4), (99, 6)], ASKS), "book and levels do move on"
    assert live.send(*top_pair(90, 1, 91, 1, seq=19)) == []
    assert dropped_tops(live.state, I) == 1
    assert live.send(delta(SELL, 101, 3, 21)) == [(TOP, 0, 100, 4, 101, 3)]
    assert live.send(*top_pair(90, 1, 91, 1, seq=20)) == []
    assert live.send(*top_pair(99, 1, 101, 3, seq=21)) == [(TOP, 0, 99, 1, 101, 3)], (
        "same age: later"
    )
    assert live.send(*top_pair(99, 1, 101, 3, seq=22)) == [], "nothing new"
    assert live.send(*top_pair(98, 1, 101, 3, seq=0)) == [(TOP, 0, 98, 1, 101, 3)], "no numbers"


@pytest.mark.kernel
def test_tops_without_depth_are_enough(feed):
    assert feed.top()[0] == STALE | EMPTY_SIDE
    assert feed.send(*top_pair(100, 4, 101, 9, seq=20)) == [(TOP, 0, 100, 4, 101, 9)]
    assert feed.send(event(TOP, BUY, 0, 0, 21), event(TOP, SELL, 101, 9, 21)) == [
        (TOP, EMPTY_SIDE, 0, 0, 101, 9)
    ]
    assert feed.send(event(TOP, BUY, 99, 1, 22)) == [(TOP, 0, 99, 1, 101, 9)], "one side alone"


@pytest.mark.kernel
def test_gap_blocks_until_clear_and_image(live):
    assert live.send(event(GAP, seq=11)) == [(GAP, 0, 0, 0, 11, 0)]
    assert live.top() == (RESYNCING, 100, 5, 102, 7)
    assert live.send(delta(BUY, 101, 1, 12))[0][:2] == (TOP, RESYNCING)
    assert live.send(*top_pair(100, 4, 101, 9, seq=13)) == [(TOP, RESYNCING, 100, 4, 101, 9)]
    slots = live.send(*snapshot(14, BIDS, ASKS))
    assert slots == [(CLEAR, 0, 0, 0, 0, 0), (TOP, 0, 100, 5, 102, 7)]
    assert live.top()[0] == 0


@pytest.mark.kernel
def test_numbers_that_restart_lower_are_taken_after_gap_or_clear(live):
    for reset in (event(GAP, seq=11), event(CLEAR)):
        live.send(*top_pair(100, 4, 101, 9, seq=10**9))
        live.send(reset)
        assert live.send(*top_pair(100, 3, 101, 3, seq=2)) != []
        live.send(*snapshot(3, BIDS, ASKS))
        assert live.top() == (0, 100, 5, 102, 7)


@pytest.mark.kernel
def test_snapshot_older_than_the_top_keeps_the_top(live):
    live.send(event(GAP))
    live.send(*top_pair(100, 4, 101, 9, seq=30))
    live.send(*snapshot(25, BIDS, ASKS))
    assert live.top() == (0, 100, 4, 101, 9)
    assert live.levels() == (25, BIDS, ASKS)


@pytest.mark.kernel
def test_bare_clear_forgets_everything_and_says_so_first(live):
    assert live.send(event(CLEAR)) == [(CLEAR, 0, 0, 0, 0, 0)]
    assert live.top() == (RESYNCING | EMPTY_SIDE, 0, 0, 0, 0)
    assert live.levels()[1:] == ([], [])


@pytest.mark.kernel
def test_image_of_an_empty_book_is_empty_and_known(live):
    live.send(event(GAP))
    slots = live.send(event(CLEAR, seq=20, flags=SNAPSHOT))
    assert slots == [(CLEAR, 0, 0, 0, 0, 0), (TOP, EMPTY_SIDE, 0, 0, 0, 0)]
    assert live.top()[0] == EMPTY_SIDE


@pytest.mark.kernel
def test_whole_books_replace_each_other_without_clear_slots(live):
    """Venues whose every message is a whole book: SEQ, CLEAR, DELTA rows."""
    again = [event(SEQ, seq=30), *snapshot(30, BIDS, ASKS)]
    assert live.send(*again) == [(DELTA, 0, 100, 5, 102, 7)]
    moved = [event(SEQ, seq=31), *snapshot(31, [(101, 1)], ASKS)]
    assert live.send(*moved) == [(TOP, 0, 101, 1, 102, 7)]
    assert live.levels() == (31, [(101, 1)], ASKS)


@pytest.mark.kernel
def test_trades_and_marks_pass_through_with_their_own_flags(live):
    flags = LAST_IN_MESSAGE | EXCHANGE_CLOCK
    assert live.send(event(TRADE, SELL, 100, 3, 77, flags)) == [(TRADE, flags, 100, 3, 77, 0)]
    assert live.send(event(TRADE, BUY, 102, 3, 78), event(TRADE, BUY, 103, 1, 79)) == [
        (TRADE, 0, 102, 3, 78, 0),
        (TRADE, 0, 103, 1, 79, 0),
    ]
    assert live.send(event(MARK, 0, 101, 0), event(FUNDING, 0, -5, 10**18)) == [
        (MARK, 0, 101, 0, 0, 0),
        (FUNDING, 0, -5, 10**18, 0, 0),
    ]
    assert live.top() == (0, 100, 5, 102, 7)


@pytest.mark.kernel
def test_status_closes_and_opens_the_instrument(live):
    assert live.send(event(STATUS, 0, HALTED)) == [(STATUS, 0, HALTED, 0, 0, 0)]
    assert live.top() == (NOT_TRADING, 100, 5, 102, 7)
    assert live.send(delta(BUY, 101, 1, 11)) == [(TOP, NOT_TRADING, 101, 1, 102, 7)]
    live.send(event(STATUS, 0, TRADING))
    assert live.top() == (0, 101, 1, 102, 7)


@pytest.mark.kernel
def test_stale_is_told_and_ends_with_the_next_message(live):
    k = publish_flags(live.map, VENUE, I, STALE, 0, 5000)
    assert k == ring_head(live.map, VENUE)
    assert live.slots() == [(TOP, STALE, 100, 5, 102, 7)]
    assert publish_flags(live.map, VENUE, I, STALE, 0, 5001) == 0
    assert live.send(delta(BUY, 99, 1, 11)) == [(TOP, 0, 100, 5, 102, 7)]
    top_flag(live.map, I, STALE, 0)
    assert live.send(*top_pair(100, 5, 102, 7, seq=12)) == [(TOP, 0, 100, 5, 102, 7)]


@pytest.mark.kernel
def test_what_is_published_late_stays_stale(live):
    set_late(live.state, I, late=1)
    assert live.send(delta(BUY, 99, 1, 11)) == [(TOP, STALE, 100, 5, 102, 7)]
    assert live.send(*top_pair(100, 6, 102, 7, seq=12)) == [(TOP, STALE, 100, 6, 102, 7)]
    set_late(live.state, I, late=0)
    assert live.send(*top_pair(100, 6, 102, 7, seq=13)) == [(TOP, 0, 100, 6, 102, 7)]


@pytest.mark.kernel
def test_epoch_of_the_venue_is_in_every_record(matrix, path):
    matrix.take_venue(VENUE)
    assert matrix.take_venue(VENUE) == 2, "the same descriptor may take it again"
    out = np.zeros(1, TOP_ROW)
    assert top_read(matrix.map, I, out) == 0
    assert out[0]["aux"] == STALE | EMPTY_SIDE | 2 << EPOCH_SHIFT
    Feed(matrix).send(*snapshot(1, BIDS, ASKS))
    top_read(matrix.map, I, out)
    assert out[0]["aux"] == 2 << EPOCH_SHIFT


@pytest.mark.kernel
def test_message_about_several_instruments_settles_each_once(matrix):
    feed = Feed(matrix)
    rows = []
    for seq in (5, 6):
        for i in (3, 0, 3, 2):
            rows += [delta(BUY, 100 + seq, seq, seq, 0, i), delta(SELL, 200, 1, seq, 0, i)]
    message = np.concatenate(rows)
    assert publish(feed.map, VENUE, feed.books, message, len(message), feed.state) == len(rows)
    assert ring_head(feed.map, VENUE) == 3
    out = np.zeros(1, TOP_ROW)
    for i in (0, 2, 3):
        assert top_read(feed.map, i, out) == 0
        assert out[0].tolist()[3:7] == (106, 6, 200, 1)


@pytest.mark.kernel
def test_hostile_rows_change_nothing(live):
    before, head = live.top(), ring_head(live.map, VENUE)
    rows = [
        delta(BUY, 101, -1),
        delta(BUY, (1 << 63) - 1, 1),
        delta(SELL, -(1 << 63), 1),
        delta(0, 101, 1),
        delta(BUY, 101, 1, instrument=4),
        event(CLEAR, instrument=(1 << 32) - 1),
        event(TRADE, BUY, 1, 1, instrument=77),
        event(0, BUY, 101, 1),
        event(255, BUY, 101, 1),
    ]
    set_wants_depth(live.state, I, wanted=False)
    message = np.concatenate(rows)
    assert publish(live.map, VENUE, live.books, message, len(message), live.state) == len(rows)
    assert (live.top(), ring_head(live.map, VENUE)) == (before, head)
    assert book_bad_rows(live.books) == 6
    assert publish(live.map, VENUE, live.books, message, 0, live.state) == 0


@pytest.mark.kernel
@pytest.mark.parametrize("venue", [-1, 4])
def test_unknown_venue_is_refused(live, venue):
    assert publish(live.map, venue, live.books, delta(BUY, 1, 1), 1, live.state) == -1


def test_message_that_does_not_fit_is_shown_only_after_growth(matrix):
    feed = Feed(matrix)
    feed.books = make_books(4, directory=1, pool=1)
    feed.send(*snapshot(1, BIDS, ASKS))
    n = 40_000
    message = np.zeros(n + 1, EVENT)
    message["kind"], message["side"], message["instrument"], message["seq"] = DELTA, BUY, I, 2
    message["price"], message["qty"] = -np.arange(n + 1) * 10**7, 1
    message[n]["price"] = 101
    assert publish(feed.map, VENUE, feed.books, message, n + 1, feed.state) < n + 1
    assert feed.slots()[-1] == (TOP, RESYNCING, 100, 5, 102, 7), "nobody may trade on half a book"
    feed.books = grow_books(feed.books)
    while publish(feed.map, VENUE, feed.books, message, n + 1, feed.state) < n + 1:
        feed.books = grow_books(feed.books)
    assert feed.top()[1:] == (101, 1, 102, 7)


def recorded():
    """Yield (is top, seq, rows) for each recorded frame."""
    with gzip.open(GOLDEN, "rt") as lines:
        for line in lines:
            data = json.loads(line.split(" ", 1)[1])
            data = data.get("data", data)
            seq = data.get("u", data.get("lastUpdateId"))
            if "A" in data:
                sides = ((BUY, [(data["b"], data["B"])]), (SELL, [(data["a"], data["A"])]))
            else:
                sides = (
                    (BUY, data.get("b", data.get("bids"))),
                    (SELL, data.get("a", data.get("asks"))),
                )
            changes = [
                (side, parse_scaled(price, 2), parse_scaled(qty, 8))
                for side, pairs in sides
                for price, qty in pairs
            ]
            yield "A" in data, "lastUpdateId" in data, seq, changes


def test_recording_shows_at_every_moment_the_newest_of_book_and_ticker(matrix):
    """Against the obvious publisher; the two sources agree wherever their numbers do."""
    feed, model, shown, newest, slots, agreed = (
        Feed(matrix, wants_depth=False),
        DictBook(),
        None,
        0,
        0,
        0,
    )
    for is_top, is_snapshot, seq, changes in recorded():
        kind = TOP if is_top else DELTA
        rows = [event(kind, side, price, qty, seq) for side, price, qty in changes]
        if is_snapshot:
            rows.insert(0, event(CLEAR, seq=seq))
        found = feed.send(*rows)
        if is_top:
            wanted = tuple(value for _, price, qty in changes for value in (price, qty))
        else:
            for side, price, qty in changes:
                model.apply(DELTA, side, price, qty)
            bid, ask = model.ranked(BUY)[0], model.ranked(SELL)[0]
            wanted = (*bid, *ask)
            assert feed.levels()[1:] == (model.ranked(BUY)[:DEPTH], model.ranked(SELL)[:DEPTH])
        if seq >= newest:
            if seq == newest and shown is not None:
                assert wanted == shown
                agreed += 1
            assert found == ([(TOP, 0, *wanted)] if wanted != shown else [])
            newest, shown = seq, wanted
        else:
            assert found == []
        assert feed.top() == (0, *shown)
        slots += len(found)
    assert slots > 1000
    assert agreed > 50
