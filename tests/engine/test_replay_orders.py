"""Orders beyond the plain ones in a backtest: dated, reduce-only, amended, crossing our own."""

import pytest

from alephtx.core import words as w
from alephtx.core.errors import SimulationError
from alephtx.engine.backtest import Delay, Venue, Ways
from alephtx.sim.latency import CANCEL as CANCEL_PATH
from alephtx.sim.latency import L_DELAY
from tests.engine.replaying import (
    MS,
    PLACE,
    START,
    TAKE,
    book,
    heard,
    play,
    table_of,
    tape,
    told,
)

BUY, SELL = w.BUY, w.SELL
BOOK = book(0, (BUY, 100, 5), (BUY, 99, 5), (SELL, 102, 5), (SELL, 103, 50))
END = (900, w.TRADE, BUY, 1, 1)  # keeps the market going, far from everything
AMEND = {"op": w.AMEND, "type": w.LIMIT, "tif": w.GTC}


@pytest.mark.kernel
@pytest.mark.smoke
def test_a_dated_order_expires_at_its_time_and_not_before():
    dated = {**PLACE, "tif": w.GTD, "side": BUY, "qty": 2}
    script = [
        {**dated, "at": 5, "price": 98, "expires_ms": 50},
        {**dated, "at": 6, "price": 100, "expires_ms": 70},
        {**dated, "at": 7, "price": 97, "expires_ms": 40},
        {**dated, "at": 8, "price": 96},  # without a time it stays
    ]
    rows = tape(*BOOK, (60, w.TRADE, SELL, 100, 6), END)
    said = told(play(rows, script), 0, "kind", "tag", "qty", "status", "at")
    assert [row for row in said if row[0] != w.ACK] == [
        (w.EXPIRE, 3, 0, w.EXPIRED, START + 40 * MS),
        (w.EXPIRE, 1, 0, w.EXPIRED, START + 50 * MS),
        (w.FILL, 2, 1, w.PARTIALLY_FILLED, START + 60 * MS),
        (w.EXPIRE, 2, 0, w.EXPIRED, START + 70 * MS),
    ]


@pytest.mark.kernel
def test_an_order_that_only_reduces_is_refused_when_flat_and_cut_to_what_is_held():
    reduces = {"flags": w.REDUCE_ONLY, "side": SELL}
    script = [
        {**TAKE, "at": 3, **reduces, "qty": 2},  # flat
        {**TAKE, "at": 4, "side": BUY, "qty": 3},
        {**PLACE, "at": 5, **reduces, "side": BUY, "price": 90, "qty": 1},  # would add
        {**PLACE, "at": 6, **reduces, "price": 110, "qty": 9},
        {**TAKE, "at": 7, **reduces, "qty": 9},
    ]
    test = play(tape(*BOOK, END), script)
    said = told(test, 0, "kind", "tag", "price", "qty", "reason", "leaves")
    assert said == [
        (w.REJECT, 1, 0, 0, w.REASON_REDUCE_ONLY, 0),
        (w.ACK, 2, 0, 0, 0, 3),
        (w.FILL, 2, 102, 3, 0, 0),
        (w.REJECT, 3, 0, 0, w.REASON_REDUCE_ONLY, 0),
        (w.ACK, 4, 0, 0, 0, 9),
        (w.REPLACE_ACK, 4, 110, 3, 0, 3),
        (w.ACK, 5, 0, 0, 0, 9),
        (w.FILL, 5, 100, 3, 0, 6),
        (w.EXPIRE, 5, 0, 0, w.REASON_REDUCE_ONLY, 0),
    ]


@pytest.mark.kernel
def test_an_amended_order_keeps_its_place_when_it_shrinks_and_loses_it_when_it_grows():
    prints = [(20, w.DELTA, BUY, 100, 12), (30, w.TRADE, SELL, 100, 8)]
    order = {**PLACE, "at": 5, "side": BUY, "price": 100, "qty": 4}
    fills = {}
    for qty in (2, 3, 6):
        script = [order, {**AMEND, "at": 25, "side": BUY, "price": 100, "qty": qty, "target": 1}]
        said = told(play(tape(*BOOK, *prints, END), script), 0, "kind", "qty", "leaves")
        assert said[1] == (w.REPLACE_ACK, qty, qty)
        fills[qty] = [row for row in said if row[0] == w.FILL]
    assert fills == {2: [(w.FILL, 2, 0)], 3: [(w.FILL, 3, 0)], 6: []}


@pytest.mark.kernel
def test_an_amend_counts_the_whole_order_and_what_it_filled():
    order = {**PLACE, "at": 5, "side": BUY, "price": 100, "qty": 4}
    rows = tape(*BOOK, (10, w.TRADE, SELL, 100, 6), END)  # 1 of 4 fills
    amend = {**AMEND, "at": 25, "side": BUY, "target": 1}
    script = [
        order,
        {**amend, "price": 100, "qty": 3},
        {**amend, "at": 30, "price": 102, "qty": 4},  # now it takes 3
        {**amend, "at": 40, "price": 102, "qty": 4},
    ]
    said = told(play(rows, script), 0, "kind", "price", "qty", "leaves", "status")
    assert said[1:] == [
        (w.FILL, 100, 1, 3, w.PARTIALLY_FILLED),
        (w.REPLACE_ACK, 100, 3, 2, w.PARTIALLY_FILLED),
        (w.REPLACE_ACK, 102, 4, 3, w.PARTIALLY_FILLED),
        (w.FILL, 102, 3, 0, w.FILLED),
    ]


@pytest.mark.kernel
def test_an_amend_that_leaves_nothing_or_that_a_post_only_order_may_not_ends_it():
    order = {**PLACE, "side": BUY, "price": 100, "qty": 4}
    script = [
        {**order, "at": 5},
        {**order, "at": 6, "flags": w.POST_ONLY, "price": 99},
        {**AMEND, "at": 25, "side": BUY, "price": 100, "qty": 1, "target": 1},
        {**AMEND, "at": 26, "side": BUY, "price": 103, "qty": 4, "target": 2},
    ]
    rows = tape(*BOOK, (10, w.TRADE, SELL, 100, 6), END)
    said = told(play(rows, script), 0, "kind", "tag", "reason")
    assert said[-2:] == [(w.CANCEL_ACK, 1, 0), (w.EXPIRE, 2, w.REASON_WOULD_CROSS)]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("none", [(w.FILL, 1, 4), (w.FILL, 2, 4)]),
        ("newest", [(w.EXPIRE, 2, 0)]),
        ("oldest", [(w.EXPIRE, 1, 0)]),
        ("both", [(w.EXPIRE, 1, 0), (w.EXPIRE, 2, 0)]),
        ("decrement", [(w.EXPIRE, 1, 0), (w.REPLACE_ACK, 2, 2)]),
    ],
)
def test_our_own_orders_meet_as_the_venue_is_told(mode, wanted):
    script = [
        {**PLACE, "at": 5, "side": SELL, "price": 101, "qty": 4},
        {**PLACE, "at": 6, "side": BUY, "price": 101, "qty": 6},
    ]
    test = play(tape(*BOOK, END), script, venue=Venue(self_trade=mode))
    said = told(test, 0, "kind", "tag", "qty")
    assert [row for row in said if row[0] != w.ACK] == wanted
    live = {1: 0, 2: 0}
    table = test.lanes[0].ctx.table
    for order in table.orders[0, : table.open_count[0, 0]]:
        live[int(order["tag"])] = int(order["leaves_qty"])
    rest = {"none": (0, 2), "newest": (4, 0), "oldest": (0, 6), "both": (0, 0)}
    assert (live[1], live[2]) == rest.get(mode, (0, 2))
    assert test.bottle.live[0, 0].tolist() == [int(live[2] > 0), int(live[1] > 0)]


@pytest.mark.kernel
def test_a_venue_has_ways_of_its_own():
    table = table_of({}, {"key": "far:BTC-USDT-PERP", "venue": "far"})
    tapes = [tape(*book(1, (BUY, 99, 5), (SELL, 101, 5))) for _ in range(2)]
    ways = {"far": Ways(feed=Delay(ns=7 * MS), entry=Delay(ns=2 * MS))}
    test = play(tapes, venue=Venue(feed=Delay(ns=MS), ways=ways), table=table)
    assert [at for _, at, *_ in heard(test)] == [2, 8]
    cancel = test.bottle.latency[:, CANCEL_PATH, L_DELAY].tolist()
    assert cancel == [0, 2 * MS]  # as its entry
    with pytest.raises(SimulationError, match="ways of fra"):
        play(tapes, venue=Venue(ways={"fra": Ways()}), table=table)
