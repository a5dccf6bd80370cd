"""What strategies see in a backtest, against books of dicts; and tapes that must be refused."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.errors import SimulationError
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import JIT
from alephtx.core.records import TICK
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.testing.synthetic import synthetic
from tests.engine.test_replay import AS_THE_PEERS, MS, came_to, config, run

HERE = Path(__file__).parent / "replayed"


class Book:
    """A book as a person would keep it: a dict a side; what a better level crosses is gone."""

    def __init__(self):
        self.lots = {1: {}, -1: {}}

    def best(self, side):
        return max((side * price for price in self.lots[side]), default=None)

    def set(self, side, price, qty):
        before, mine = self.best(side), self.lots[side]
        mine.pop(price, None)
        if qty:
            mine[price] = qty
            if before is None or side * price > before:
                other = self.lots[-side]
                for crossed in [p for p in other if side * (price - p) >= 0]:
                    del other[crossed]

    def take(self, row):
        kind, side, price, qty = (int(row[name]) for name in ("kind", "side", "price", "qty"))
        if kind == words.DELTA:
            self.set(side, price, qty)
        elif kind == words.CLEAR:
            self.lots = {1: {}, -1: {}}
        elif kind == words.TOP:
            better = [p for p in self.lots[side] if side * (p - price) > 0 or not qty]
            for gone in better:
                del self.lots[side][gone]
            if qty:
                self.set(side, price, qty)

    def levels(self, depth):
        found = []
        for side in (1, -1):
            best = sorted(self.lots[side], reverse=side > 0)[:depth]
            rows = [[price, self.lots[side][price]] for price in best]
            found += rows + [[0, 0]] * (depth - len(rows))
        return [number for row in found for number in row]


def heard_by_hand(rows, i=0, shift=0):
    """Return (instrument, kind, heard, price, qty, *touch) of every slot that is news.

    A touch that stands is, when it was told long ago.
    """
    book, touch, told, changed, since = Book(), [0, 0, 0, 0], [], False, 0
    for row in rows:
        at = int(row["ts_recv"]) + shift
        if row["kind"] == words.TRADE:
            told.append([i, words.TRADE, at, int(row["price"]), int(row["qty"]), *touch])
        else:
            book.take(row)
            changed = True
        if row["flags"] & words.LAST_IN_MESSAGE and changed:
            bid, bid_qty, ask, ask_qty = book.levels(1)
            changed, sent = False, int(row["ts_event"])
            same = touch == [bid, bid_qty, ask, ask_qty]
            if not same or abs(sent - since) >= words.RETOLD_NS:
                touch, since = [bid, bid_qty, ask, ask_qty], sent
                told.append([i, words.DELTA if same else words.TOP, at, bid, bid_qty, *touch])
    return told


def tops_and_a_new_image(rows):
    """Add what the seeded feed has not: best prices by themselves, and a book told anew."""
    made = [row.reshape(1) for row in rows[:2_000]]
    later = rows[2_000:2_600].copy()
    for k, (kind, side, price, qty) in enumerate(
        [(words.TOP, 1, 599_990, 7), (words.TOP, -1, 599_991, 9), (words.TOP, 1, 599_980, 3),
         (words.TOP, -1, 0, 0), (words.CLEAR, 0, 0, 0), (words.DELTA, 1, 600_000, 5),
         (words.DELTA, -1, 600_002, 6), (words.DELTA, 1, 599_999, 4)],
    ):  # fmt: skip
        row = later[:1].copy()
        row["kind"], row["side"], row["price"], row["qty"] = kind, side, price, qty
        row["flags"] = words.LAST_IN_MESSAGE if k in (1, 3, 7) else 0
        made.append(row)
    return np.concatenate([*made, later])


@pytest.fixture(scope="module")
def market():
    return synthetic(6_000)


def replay(rows, table, use, *, venue=None, **own):
    return run(rows, table, configs=[config(use=str(HERE / f"{use}.py"), **own)], venue=venue)


def written(test, i=0):
    state = test.lanes[0].strategies[0].state[0]
    assert state["count"] <= len(state["rows"])
    return [row for row in state["rows"][: state["count"]].tolist() if row[0] == i]


@pytest.mark.kernel
@pytest.mark.parametrize("made", [lambda rows: rows, tops_and_a_new_image])
def test_a_listener_hears_each_touch_and_print_once_when_it_is_told(market, made):
    rows = made(market[0])
    test = replay(rows, market[1], "listener")
    assert written(test) == heard_by_hand(rows)
    assert len(written(test)) > 100


@pytest.mark.kernel
def test_a_listener_of_messages_that_overtook_each_other_hears_them_as_they_came(market):
    """Ours and the exchange's rows stand apart in the tape; ours are what is heard."""
    rows = tops_and_a_new_image(market[0])
    sides = [rows.copy(), rows.copy()]
    sides[0]["flags"] |= words.TICK_EXCHANGE
    sides[1]["flags"] |= words.TICK_LOCAL
    order = np.concatenate((rows["ts_event"], rows["ts_recv"])).argsort(kind="stable")
    test = replay(np.concatenate(sides)[order], market[1], "listener")
    assert written(test) == heard_by_hand(rows)


@pytest.mark.kernel
@pytest.mark.parametrize("made", [lambda rows: rows, tops_and_a_new_image])
def test_depth_is_that_of_the_book_as_heard(market, made):
    rows = made(market[0])
    test = replay(rows, market[1], "looker")
    state, book, k = test.lanes[0].strategies[0].state[0], Book(), 0
    assert state["count"] > 10
    for n in range(int(state["count"])):
        while k < len(rows) and rows[k]["ts_recv"] <= state["at"][n]:
            book.take(rows[k])
            k += 1
        assert state["levels"][n].tolist() == book.levels(5)


@pytest.mark.kernel
def test_two_instruments_are_merged_by_time(market):
    """Each is heard as alone, in one order of time; the first goes first where times are equal."""
    rows, one = market[0][:3_000], market[1][0]
    table = Instruments([one])
    table.add(msgspec.structs.replace(one, key="synthetic:X-USDT-PERP", symbol="X", base="X"))
    late = rows.copy()
    late["ts_event"] += 700_000
    late["ts_recv"] += 700_000
    both = config(use=str(HERE / "listener.py"))
    both.strategies["maker"] = msgspec.structs.replace(
        both.strategies["maker"], instruments=tuple(instrument.key for instrument in table)
    )
    test = Backtest([both], table, [Tape(rows), Tape(late)]).run()
    assert written(test) == heard_by_hand(rows)
    assert written(test, 1) == heard_by_hand(late, i=1)
    state = test.lanes[0].strategies[0].state[0]
    times = state["rows"][: state["count"], 2]
    assert (np.diff(times) >= 0).all()
    maker = config()
    maker.strategies["maker"] = msgspec.structs.replace(
        maker.strategies["maker"], instruments=(table[1].key,)
    )
    second = Backtest([maker], table, [Tape(late), Tape(rows)], venue=AS_THE_PEERS).run()
    assert came_to(second, i=1) == came_to(run(rows, market[1]))


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("feed", "shift"),
    [(Delay(kind="recorded"), 0), (Delay(kind="recorded", ns=3 * MS), 3 * MS)],
)
def test_a_feeds_shift_moves_what_is_heard(market, feed, shift):
    rows = market[0][:2_000]
    test = replay(rows, market[1], "listener", venue=Venue(feed=feed))
    assert written(test) == heard_by_hand(rows, shift=shift)


@pytest.mark.kernel
def test_takers_of_one_lane_empty_nothing_for_another(market):
    """The recorded book is nobody's: what a taker took is gone for himself alone."""
    rows, table = market[0], market[1]
    sets = [config(use=str(HERE / "taker.py"), qty=qty) for qty in (100, 3_000, 40_000)]
    together = run(rows, table, configs=sets, venue=Venue(entry=Delay(ns=MS)))
    fills = []
    for lane, one in enumerate(sets):
        alone = run(rows, table, configs=[one], venue=Venue(entry=Delay(ns=MS)))
        assert together.bottle.digest[lane] == alone.bottle.digest[0]
        fills.append(int(alone.lanes[0].ctx.counters[c.C_FILLS]))
    assert fills[0] > 10
    assert fills[2] > fills[0]


@pytest.mark.skipif(not JIT, reason="long uncompiled")
def test_what_is_told_and_not_yet_heard_needs_no_bound():
    """A strategy that wakes each 100 s: 13,000 touches are told meanwhile, and room is made."""
    rows, table = synthetic(300_000)
    late = Venue(feed=Delay(ns=400_000_000_000))
    test = replay(rows, table, "listener", venue=late)
    assert test.bottle.log.shape[1] > 4096
    state = test.lanes[0].strategies[0].state[0]
    wanted = [[*row[:2], *row[3:]] for row in heard_by_hand(rows[:80_000])][: len(state["rows"])]
    assert [[*row[:2], *row[3:]] for row in state["rows"].tolist()] == wanted


@pytest.mark.kernel
def test_a_strategy_that_would_go_on_for_ever_ends_with_the_tape(market):
    test = replay(market[0][:3_000], market[1], "restless", venue=Venue(entry=Delay(ns=20 * MS)))
    lane = test.lanes[0]
    assert lane.strategies[0].state[0]["orders"] > 10
    assert lane.ctx.table.open_count[0, 0] == 0  # what was under way was still reported


def test_tapes_that_would_be_read_wrongly_are_refused(market):
    def refused(change, match, venue=None):
        rows = market[0][:100].copy()
        change(rows)
        with pytest.raises(SimulationError, match=match):
            Backtest([config()], market[1], [Tape(rows)], venue=venue)

    def strange(rows):
        rows["kind"][7] = words.TIMER

    def falls(rows):
        rows["ts_event"][50] = 5

    def heard_early(rows):
        rows["ts_recv"] -= 10**9

    def unheard(rows):
        rows["ts_recv"][60] = rows["ts_recv"][0] - 1

    refused(strange, "row 7 is of kind 14, which is not simulated")
    refused(falls, "ts_event falls to 5")
    refused(unheard, "ts_recv falls to")
    refused(heard_early, "row 0 would be heard 998,000,000 ns before it was sent.*feed=Delay")
    rows = market[0][:100].copy()
    heard_early(rows)
    mended = Venue(feed=Delay(kind="recorded", ns=10**9))
    Backtest([config()], market[1], [Tape(rows)], venue=mended).run()


@pytest.mark.parametrize(
    ("venue", "match"),
    [
        (Venue(entry=Delay(kind="recorded")), "entry: latency 'recorded'"),
        (Venue(feed=Delay(kind="feed_tied")), "feed: latency 'feed_tied'"),
        (Venue(entry=Delay(ns=-1)), "entry: -1 ns"),
        (Venue(response=Delay(kind="loaded", ratio=-0.5)), "response: 0 ns, ratio -0.5"),
        (Venue(cancel=Delay(kind="table")), "cancel: 0 points of a table latency"),
        (Venue(cancel=Delay(points=((1, 1),))), "cancel: 1 points of a constant latency"),
        (Venue(entry=Delay(kind="table", points=((5, 1), (5, 2)))), "entry: 2 points of a table"),
        (Venue(queue="lifo"), "queue 'lifo'"),
        (Venue(power=0.5), "power 0.5"),
    ],
)
def test_a_venue_that_cannot_be_is_refused(market, venue, match):
    with pytest.raises(SimulationError, match=match):
        Backtest([config()], market[1], [Tape(market[0][:10])], venue=venue)


def test_money_beyond_its_words_ends_the_run_with_a_clear_error(market):
    """A seller that is under way while the bid leaves the earth."""
    rows = np.zeros(4, TICK)
    rows["ts_event"] = rows["ts_recv"] = [MS, MS, 450 * MS, 10**9]
    rows["kind"], rows["side"], rows["flags"] = words.DELTA, [1, -1, 1, 1], words.LAST_IN_MESSAGE
    rows["price"], rows["qty"] = [100, 102, 2 * 10**9, 2 * 10**9 + 1], 10**7
    with pytest.raises(SimulationError, match="a fill at 501000000 ns is beyond money"):
        replay(rows, market[1], "taker", venue=Venue(entry=Delay(ns=100 * MS)), qty=10**6)


@pytest.mark.kernel
def test_a_report_about_an_order_long_forgotten_refuses_the_result(market):
    """What the table has no room to remember is no silent difference from a live run."""
    slow = Venue(entry=Delay(ns=20 * MS), response=Delay(ns=900 * MS))
    rows = market[0][:6_000]
    sets = [config(half=0.5)]  # cancels arrive after fills
    Backtest(sets, market[1], [Tape(rows)], venue=slow).run()
    with pytest.raises(SimulationError, match=r"no longer remembered.*remembered=8"):
        Backtest(sets, market[1], [Tape(rows)], venue=slow, remembered=1).run()
