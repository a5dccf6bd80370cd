"""Orders that act some time after they came, and what an amend keeps where venues differ."""

import pytest

from alephtx.core import words as w
from alephtx.core.errors import SimulationError
from alephtx.engine.backtest import Venue, Ways
from alephtx.sim.bottle import ODD_STOPS, T_ODD
from tests.engine.replaying import MS, PLACE, START, TAKE, book, play, tape, told

BUY, SELL = w.BUY, w.SELL
OPENING = book(0, (BUY, 100, 50), (BUY, 99, 50), (SELL, 102, 50), (SELL, 103, 50))
SLOW = Venue(activation_ns=20 * MS)
BUMP = Venue(activation_ns=20 * MS, activation_of="takers")


def trade(ms, price):
    return (ms, w.TRADE, SELL, price, 100)


def market(*rows):
    return tape(*OPENING, *rows, trade(900, 100))


def said(test):
    return [
        (kind, tag, price, reason, round((at - START) / MS))
        for kind, tag, price, reason, at in told(test, 0, "kind", "tag", "price", "reason", "at")
    ]


@pytest.mark.kernel
@pytest.mark.smoke
def test_an_order_is_acknowledged_when_it_comes_and_trades_only_when_it_acts():
    bid = {**PLACE, "at": 5, "side": BUY, "price": 101, "qty": 2}
    test = play(market(trade(15, 101), trade(30, 101)), [bid], venue=SLOW)
    assert said(test) == [(w.ACK, 1, 0, 0, 5), (w.FILL, 1, 101, 0, 30)]
    assert int(test.bottle.streams[0, T_ODD]) & ODD_STOPS == 0
    assert said(play(market(trade(15, 101)), [bid]))[1] == (w.FILL, 1, 101, 0, 15)


@pytest.mark.kernel
def test_a_taker_trades_at_what_is_there_when_it_acts_or_rests():
    moved = ((10, w.DELTA, SELL, 102, 0), (11, w.DELTA, SELL, 103, 0), (12, w.DELTA, SELL, 105, 9))
    script = [
        {**TAKE, "at": 5, "side": BUY, "qty": 2},
        {**PLACE, "at": 5, "side": BUY, "price": 102, "qty": 3},
    ]
    for venue in (SLOW, BUMP):
        assert said(play(market(*moved, trade(40, 102)), script, venue=venue)) == [
            (w.ACK, 1, 0, 0, 5), (w.ACK, 2, 0, 0, 5), (w.FILL, 1, 105, 0, 25),
            (w.FILL, 2, 102, 0, 40),
        ]  # fmt: skip


@pytest.mark.kernel
def test_where_takers_alone_wait_a_maker_rests_at_once_and_a_post_only_taker_is_refused():
    script = [
        {**PLACE, "at": 5, "side": BUY, "price": 101, "qty": 2},
        {**PLACE, "at": 5, "side": BUY, "price": 102, "qty": 2, "flags": w.POST_ONLY},
    ]
    rows = market(trade(15, 101))
    assert said(play(rows, script, venue=BUMP)) == [
        (w.ACK, 1, 0, 0, 5), (w.REJECT, 2, 0, w.REASON_WOULD_CROSS, 5), (w.FILL, 1, 101, 0, 15),
    ]  # fmt: skip
    assert said(play(rows, script, venue=SLOW))[2] == (w.EXPIRE, 2, 0, w.REASON_WOULD_CROSS, 25)


@pytest.mark.kernel
def test_a_waiting_order_is_cancelled_expires_by_its_date_and_is_not_amended():
    script = [
        {**TAKE, "at": 5, "side": BUY, "qty": 2, "tif": w.IOC},
        {**PLACE, "at": 5, "side": BUY, "price": 102, "qty": 2, "tif": w.GTD, "expires_ms": 12},
        {**PLACE, "at": 5, "side": BUY, "price": 99, "qty": 2},
        {**PLACE, "op": w.AMEND, "at": 8, "side": BUY, "price": 98, "qty": 1, "target": 3},
        {"op": w.CANCEL, "at": 9, "target": 1},
    ]
    test = play(market(), script, venue=SLOW)
    assert [row for row in said(test) if row[0] != w.ACK] == [
        (w.CANCEL_REJECT, 3, 0, w.REASON_OTHER, 8), (w.CANCEL_ACK, 1, 0, 0, 9),
        (w.EXPIRE, 2, 0, w.REASON_OTHER, 12),
    ]  # fmt: skip
    assert int(test.bottle.live.sum()) == 1
    assert int(test.bottle.stop_count.sum()) == 0


@pytest.mark.kernel
def test_an_order_of_no_sense_is_refused_when_it_comes_and_venues_differ():
    slow = Venue(ways={"toy": Ways(activation_ns=20 * MS, activation_of="takers")})
    script = [
        {**PLACE, "at": 5, "side": BUY, "price": 102, "qty": 2, "tif": w.IOC},
        {**PLACE, "at": 6, "side": SELL, "price": 101, "qty": 2, "flags": w.REDUCE_ONLY},
    ]
    assert said(play(market(), script, venue=slow)) == [
        (w.ACK, 1, 0, 0, 5), (w.REJECT, 2, 0, w.REASON_REDUCE_ONLY, 6), (w.FILL, 1, 102, 0, 25),
    ]  # fmt: skip


@pytest.mark.kernel
def test_more_orders_than_may_wait_are_refused_and_do_not_act_sooner():
    def fill(test):
        test.bottle.stop_count[0, 0] = test.bottle.stops.shape[2]

    script = [{**TAKE, "at": 5, "side": BUY, "qty": 1}]
    assert said(play(market(), script, venue=SLOW, before=fill)) == [
        (w.REJECT, 1, 0, w.REASON_OTHER, 5)
    ]


@pytest.mark.kernel
def test_a_venue_can_take_an_amended_orders_place_even_when_it_shrinks():
    order = {**PLACE, "at": 5, "side": BUY, "price": 100, "qty": 4}
    amend = {**PLACE, "op": w.AMEND, "at": 25, "side": BUY, "price": 100, "qty": 2, "target": 1}
    rows = tape(
        *OPENING, (20, w.TRADE, SELL, 100, 48), (30, w.TRADE, SELL, 100, 10), trade(900, 90)
    )
    done = [(w.ACK, 1, 0, 0, 5), (w.REPLACE_ACK, 1, 100, 0, 25), (w.FILL, 1, 100, 0, 30)]
    assert said(play(rows, [order, amend])) == done
    assert said(play(rows, [order, amend], venue=Venue(amend="keeps_nothing"))) == done[:2]


@pytest.mark.parametrize(
    ("venue", "named"),
    [
        (Venue(activation_ns=-1), "activation_ns -1"),
        (Venue(activation_ns=10**13), "which is an hour"),
        (Venue(activation_of="me"), "one of all, takers"),
        (Venue(ways={"toy": Ways(amend="always")}), "one of keeps_smaller, keeps_nothing"),
    ],
)
def test_what_no_venue_does_is_refused(venue, named):
    with pytest.raises(SimulationError) as refused:
        play(market(), venue=venue)
    assert named in str(refused.value)
