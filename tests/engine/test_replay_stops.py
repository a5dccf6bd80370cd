"""STOP orders at a simulated venue: what triggers them, when, and what they become."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import SimulationError
from alephtx.engine.backtest import Delay, Venue
from alephtx.engine.margins import Margin
from alephtx.sim.bottle import ODD_STOPS, T_ODD
from tests.engine.replaying import LOOSE, MS, PLACE, START, TAKE, book, play, table_of, tape, told

BUY, SELL = w.BUY, w.SELL
STOP = {"op": w.PLACE, "type": w.STOP, "tif": w.GTC}
OPENING = book(0, (BUY, 100, 50), (BUY, 99, 50), (SELL, 102, 50), (SELL, 103, 50))


def trade(ms, price):
    return (ms, w.TRADE, SELL, price, 1)


def market(*rows):
    return tape(*OPENING, trade(1, 101), *rows, trade(900, 101))


def said(test, *names):
    return told(test, 0, *(names or ("kind", "tag", "price", "reason", "status")))


@pytest.mark.kernel
@pytest.mark.smoke
def test_a_buy_triggers_at_or_above_and_a_sell_at_or_below_and_no_sooner():
    script = [
        {**STOP, "at": 5, "side": BUY, "trigger": 103, "qty": 2},
        {**STOP, "at": 5, "side": SELL, "trigger": 99, "qty": 3},
    ]
    test = play(market(trade(20, 102), trade(21, 100), trade(30, 103), trade(40, 99)), script)
    assert said(test, "kind", "tag", "price", "qty", "at") == [
        (w.ACK, 1, 0, 0, START + 5 * MS),
        (w.ACK, 2, 0, 0, START + 5 * MS),
        (w.FILL, 1, 102, 2, START + 30 * MS),
        (w.FILL, 2, 100, 3, START + 40 * MS),
    ]
    assert int(test.bottle.held[0, 0, 0]) == -1
    assert int(test.bottle.streams[0, T_ODD]) & ODD_STOPS == 0


@pytest.mark.kernel
def test_a_stop_limit_rests_at_its_price_and_a_post_only_one_that_would_take_expires():
    script = [
        {**STOP, "at": 5, "side": BUY, "trigger": 103, "price": 101, "qty": 2},
        {**STOP, "at": 5, "side": BUY, "trigger": 103, "price": 102, "qty": 2,
         "flags": w.POST_ONLY},
    ]  # fmt: skip
    rows = market(trade(30, 103), (50, w.DELTA, SELL, 101, 5))
    assert said(play(rows, script), "kind", "tag", "price", "reason", "at")[2:] == [
        (w.EXPIRE, 2, 0, w.REASON_WOULD_CROSS, START + 30 * MS),
        (w.FILL, 1, 101, 0, START + 50 * MS),
    ]


@pytest.mark.kernel
def test_what_would_trigger_at_once_is_refused_and_what_means_nothing_is_denied():
    script = [
        {**STOP, "at": 5, "side": BUY, "trigger": 101, "qty": 2},  # the last trade
        {**STOP, "at": 5, "side": SELL, "trigger": 101, "qty": 2},
        {**STOP, "at": 6, "side": BUY, "qty": 2},
        {**STOP, "at": 6, "side": BUY, "trigger": 103, "qty": 2, "flags": w.POST_ONLY},
        {**STOP, "at": 6, "side": BUY, "trigger": 103, "price": 900, "qty": 2},
    ]
    test = play(market(), script)
    reports = said(test, "kind", "tag", "reason", "status")
    assert sorted(row[:3] for row in reports if row[0] == w.REJECT and row[1] < 3) == [
        (w.REJECT, 1, w.REASON_WOULD_TRIGGER),
        (w.REJECT, 2, w.REASON_WOULD_TRIGGER),
    ]
    assert not any(row[0] == w.ACK for row in reports)
    assert int(test.bottle.stop_count.sum()) == 0


@pytest.mark.kernel
def test_before_any_trade_nothing_is_known_to_trigger_and_the_next_one_decides():
    rows = tape(*OPENING, trade(20, 104), trade(900, 101))
    test = play(rows, [{**STOP, "at": 5, "side": BUY, "trigger": 101, "qty": 2}])
    assert said(test, "kind", "price", "at") == [
        (w.ACK, 0, START + 5 * MS),
        (w.FILL, 102, START + 20 * MS),
    ]


@pytest.mark.kernel
def test_a_waiting_stop_can_be_cancelled_expires_by_its_date_and_is_not_amended():
    script = [
        {**STOP, "at": 5, "side": BUY, "trigger": 103, "qty": 2},
        {**STOP, "at": 5, "side": BUY, "trigger": 104, "qty": 2, "tif": w.GTD, "expires_ms": 30},
        {**STOP, "at": 5, "side": BUY, "trigger": 105, "qty": 2},
        {"op": w.AMEND, "type": w.LIMIT, "tif": w.GTC, "at": 9, "side": BUY, "target": 3,
         "price": 99, "qty": 2},
        {"op": w.CANCEL, "at": 10, "target": 1},
        {"op": w.CANCEL, "at": 60, "target": 3},
    ]  # fmt: skip
    test = play(market(trade(40, 104)), script)
    assert said(test, "kind", "tag", "reason", "at")[3:] == [
        (w.CANCEL_REJECT, 3, w.REASON_OTHER, START + 9 * MS),
        (w.CANCEL_ACK, 1, 0, START + 10 * MS),
        (w.EXPIRE, 2, w.REASON_OTHER, START + 30 * MS),
        (w.CANCEL_ACK, 3, 0, START + 60 * MS),
    ]
    assert int(test.bottle.held[0, 0, 0]) == 0


@pytest.mark.kernel
def test_one_that_only_reduces_ends_when_nothing_is_left_and_is_cut_when_too_much():
    only = {"flags": w.REDUCE_ONLY}
    script = [
        {**TAKE, "at": 3, "side": BUY, "qty": 4},
        {**STOP, "at": 5, "side": SELL, "trigger": 99, "qty": 4, **only},
        {**STOP, "at": 5, "side": SELL, "trigger": 98, "qty": 4, **only},
        {**TAKE, "at": 9, "side": SELL, "qty": 1},
    ]
    test = play(market(trade(40, 99), trade(50, 98)), script)
    assert int(test.bottle.held[0, 0, 0]) == 0
    reports = said(test, "kind", "tag", "qty", "reason", "at")
    assert [row for row in reports if row[1] in (2, 3)] == [
        (w.ACK, 2, 0, 0, START + 5 * MS),
        (w.ACK, 3, 0, 0, START + 5 * MS),
        (w.FILL, 2, 3, 0, START + 40 * MS),
        (w.EXPIRE, 2, 0, w.REASON_REDUCE_ONLY, START + 40 * MS),
        (w.EXPIRE, 3, 0, w.REASON_REDUCE_ONLY, START + 50 * MS),
    ]  # fmt: skip


@pytest.mark.kernel
def test_by_the_mark_no_trade_triggers():
    script = [{**STOP, "at": 5, "side": SELL, "trigger": 99, "qty": 2}]
    rows = market((2, w.MARK, 0, 101, 0), trade(20, 98), (30, w.MARK, 0, 99, 0))
    venue = Venue(stop_trigger="mark")
    assert said(play(rows, script, venue=venue), "kind", "at")[1] == (w.FILL, START + 30 * MS)
    assert said(play(rows, script), "kind", "at")[1] == (w.FILL, START + 20 * MS)
    with pytest.raises(SimulationError, match="without marks"):
        play(market(), script, venue=venue)
    with pytest.raises(SimulationError, match="stop_trigger 'index'"):
        play(rows, script, venue=Venue(stop_trigger="index"))


@pytest.mark.kernel
def test_a_stop_is_there_when_its_delay_is_over_and_hears_nothing_before():
    """The print at 20 ms is on its way past the stop, which arrives at 25."""
    script = [{**STOP, "at": 5, "side": BUY, "trigger": 103, "qty": 2}]
    rows = market(trade(20, 103), trade(24, 101), trade(40, 103))
    venue = Venue(entry=Delay(ns=20 * MS), response=Delay(ns=7 * MS))
    assert said(play(rows, script, venue=venue), "kind", "at") == [
        (w.ACK, START + 25 * MS),
        (w.FILL, START + 40 * MS),
    ]


@pytest.mark.kernel
def test_no_row_after_the_trigger_changes_what_came_before_it():
    """Two markets that part at 50 ms: all until then is the same, the trigger at 40 too."""
    script = [
        {**STOP, "at": 5, "side": BUY, "trigger": 103, "qty": 2},
        {**STOP, "at": 5, "side": BUY, "trigger": 104, "qty": 2},
        {**STOP, "at": 5, "side": SELL, "trigger": 98, "qty": 2},
    ]
    first = [trade(40, 103)]
    up, down = (
        said(play(market(*first, *rows), script), "kind", "tag", "price", "at")
        for rows in ([trade(50, 104)], [trade(50, 97)])
    )
    assert up[:4] == down[:4]
    assert up[3] == (w.FILL, 1, 102, START + 40 * MS)
    assert up[4][:2] == (w.FILL, 2)
    assert down[4][:2] == (w.FILL, 3)


@pytest.mark.kernel
def test_behind_a_gap_and_in_a_halt_nothing_triggers_and_what_ends_takes_it_off():
    script = [{**STOP, "at": 5, "side": BUY, "trigger": 103, "qty": 2}]
    gap = market((10, w.GAP, 0, 0, 0), trade(20, 103), *book(30, (BUY, 100, 5), (SELL, 102, 5)))
    assert len(said(play(gap, script))) == 1
    halt = market((10, w.STATUS, 0, w.HALTED, 0), trade(20, 103), (30, w.STATUS, 0, w.TRADING, 0))
    assert len(said(play(halt, script))) == 1
    over = market((10, w.STATUS, 0, w.DELISTED, 0), trade(20, 103))
    assert said(play(over, script), "kind", "reason")[1:] == [(w.EXPIRE, w.REASON_NOT_TRADING)]


@pytest.mark.kernel
def test_margin_is_asked_for_when_it_triggers():
    script = [{**STOP, "at": 5, "side": BUY, "trigger": 103, "qty": 20}]
    venue = Venue(balance=Decimal(100), margin=Margin(leverage=10, maintenance=0.05))
    rows = market((2, w.MARK, 0, 101, 0), trade(40, 103))
    assert said(play(rows, script, venue=venue), "kind", "reason", "at") == [
        (w.ACK, 0, START + 5 * MS),
        (w.EXPIRE, w.REASON_INSUFFICIENT, START + 40 * MS),
    ]


@pytest.mark.kernel
def test_lanes_have_stops_of_their_own_and_the_digest_tells_triggers_apart():
    scripts = [
        [{**STOP, "at": 5, "side": BUY, "trigger": trigger, "qty": 2}] for trigger in (103, 104)
    ]
    rows = market(trade(40, 103))
    both = play(rows, scripts[0], sets=scripts[1:])
    assert both.bottle.held[:, 0, 0].tolist() == [2, 0]
    alone = [play(rows, script) for script in scripts]
    assert both.bottle.digest.tolist() == [int(one.bottle.digest[0]) for one in alone]
    other = play(market(), [{**scripts[0][0], "trigger": 105}])
    assert int(other.bottle.digest[0]) != int(play(market(), scripts[1]).bottle.digest[0])
    assert np.array_equal(both.bottle.stop_count, [[0], [1]])


@pytest.mark.kernel
def test_a_stop_is_open_exposure_from_the_start():
    """The strategy's limit of 330 holds three lots at the trigger, waiting or not."""
    risk = msgspec.structs.replace(LOOSE, position_notional_max=Decimal(330))
    script = [
        {**STOP, "at": 5, "side": BUY, "trigger": 105, "qty": 3},
        {**PLACE, "at": 6, "side": BUY, "price": 99, "qty": 1},
    ]
    test = play(market(), script, risk=risk, table=table_of())
    denied = said(test, "kind", "tag", "status")
    assert denied[0][:2] == (w.ACK, 1)
    assert (w.ACK, 2) not in [row[:2] for row in denied]
