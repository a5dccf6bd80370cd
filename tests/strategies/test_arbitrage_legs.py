"""Arbitrage when legs part: every fate of an order, and in every order."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.strategies import hedging
from tests.strategies.pair import DEAR, FAIR, opened, world
from tests.strategies.world import MS, PERP, SPOT

pytestmark = pytest.mark.kernel

# -- open legs --------------------------------------------------------------------------


def test_unfilled_leg_is_sent_again_crossing_further():
    """Spot expires unfilled: buy 0.1 spot at 50,000.01 x 1.0005 = 50,025.01 (rounded down)."""
    made, perp, spot = opened()
    made.fill(perp)
    made.tell(w.EXPIRE, spot)
    hedge = made.order(SPOT, w.BUY)
    assert (hedge["price"], hedge["qty"], hedge["flags"]) == (5_002_501, 10_000, w.HEDGE)
    made.tell(w.EXPIRE, hedge)
    second = made.order(SPOT, w.BUY)
    assert second["price"] == 5_005_001  # 10 bps
    made.fill(second)
    assert (made.qty(PERP), made.qty(SPOT)) == (-100, 10_000)
    assert (made.of("hedges"), made.of("flattens"), made.of("alarm")) == (2, 0, 0)
    assert made.of("attempts") == 0


def test_leg_that_cannot_be_completed_is_flattened():
    made, perp, spot = opened()
    made.fill(perp)
    made.tell(w.REJECT, spot)
    for _ in range(2):
        made.tell(w.EXPIRE, made.order(SPOT, w.BUY))
    back = made.order(PERP, w.BUY)  # 50,060.1 x (1 + 15 bps)
    assert (back["price"], back["qty"], back["flags"]) == (501_352, 100, w.HEDGE)
    made.fill(back)
    assert (made.qty(PERP), made.qty(SPOT), made.of("flattens")) == (0, 0, 1)
    assert (made.of("halted"), made.of("alarm")) == (0, 0)


def test_leg_that_cannot_even_be_flattened_halts_and_alarms():
    made, perp, spot = opened()
    made.fill(perp)
    made.tell(w.REJECT, spot)
    for _ in range(4):
        [order] = made.live()
        made.tell(w.EXPIRE, order)
    assert made.live() == []
    assert (made.of("halted"), made.of("alarm")) == (1, hedging.ALARM_LEG_OPEN)
    assert (made.of("hedges"), made.of("flattens")) == (2, 2)
    made.wait(1000 * MS)
    made.fresh()
    assert made.quote(PERP, *DEAR) == 0
    made.run("on_start")  # a person re-arms it: it goes on closing the leg
    assert (made.of("halted"), made.of("alarm")) == (0, 0)
    assert made.wait(1) == 1


@pytest.mark.parametrize("first", ["perp", "spot"])
@pytest.mark.parametrize("ending", [w.EXPIRE, w.CANCEL_ACK])
@pytest.mark.parametrize(("perp_filled", "spot_filled"), [(40, 10_000), (100, 2_500), (40, 7_000)])
def test_partial_fills_are_evened_out(first, ending, perp_filled, spot_filled):
    made, perp, spot = opened()
    legs = {"perp": (perp, perp_filled), "spot": (spot, spot_filled)}
    for name in sorted(legs, reverse=first == "spot"):
        order, filled = legs[name]
        made.fill(order, filled)
        if filled < order["qty"]:
            made.tell(ending, order)
    hedge = made.live()
    assert len(hedge) == 1
    made.fill(hedge[0])
    made.run("on_timer", 1)
    assert made.live() == []
    assert abs(made.of("net_e8")) < 100_000  # one perp lot
    assert made.of("halted") == 0


def test_both_legs_unfilled_is_no_leg_at_all():
    made, perp, spot = opened()
    made.tell(w.EXPIRE, perp)
    made.tell(w.EXPIRE, spot)
    assert made.live() == []
    assert made.of("hedges") == 0


def test_dust_below_the_venues_least_is_carried():
    """0.00005 BTC is 2.5 USDT, less than any venue takes: no hedge, and trading goes on."""
    made, perp, spot = opened()
    made.fill(spot, 5)
    made.tell(w.EXPIRE, spot)
    made.tell(w.EXPIRE, perp)
    assert made.live() == []
    assert (made.of("net_e8"), made.of("hedges")) == (5_000, 0)
    made.wait(60 * MS)
    made.fresh()
    assert made.quote(PERP, *DEAR) == 2
    assert made.order(SPOT, w.BUY)["qty"] == 10_000 - 5


def test_hedge_waits_while_the_other_order_lives():
    made, perp, spot = opened()
    made.fill(perp)
    made.tell(w.ACK, spot)
    assert made.quote(PERP, *FAIR) == 0
    assert len(made.live()) == 1


def test_order_past_its_deadline_is_cancelled_then_hedged():
    made, perp, spot = opened()
    made.fill(perp)
    made.tell(w.ACK, spot)
    assert made.wait(199 * MS) == 0
    assert made.wait(1 * MS) == 1
    assert made.sent[-1][0] == w.CANCEL
    assert made.wait(1 * MS) == 0
    made.fresh()
    made.tell(w.CANCEL_ACK, spot)
    assert made.order(SPOT, w.BUY)["flags"] == w.HEDGE


def test_unproven_order_is_alarmed_and_never_hedged():
    made, perp, spot = opened()
    made.fill(perp)
    made.tell(w.AMBIGUOUS, spot)
    for _ in range(5):
        made.wait(200 * MS)
        made.fresh()
        made.quote(PERP, *DEAR)
    assert made.of("alarm") == hedging.ALARM_UNPROVEN
    assert len(made.sent) == 2
    made.tell(w.NOT_FOUND, spot)  # proven: it never arrived
    made.fill(made.order(SPOT, w.BUY))
    assert (made.qty(PERP), made.qty(SPOT)) == (-100, 10_000)


def test_late_fill_after_a_hedge_is_hedged_back():
    """The leg was said to be over, was hedged, and then turns out to have filled after all."""
    made, perp, spot = opened()
    made.fill(perp)
    made.tell(w.EXPIRE, spot)
    made.fill(made.order(SPOT, w.BUY))
    made.fill(spot)
    sale = made.order(PERP, w.SELL)  # too long by 0.1: the leg that sells is the perp
    made.fill(sale)
    assert (made.qty(PERP), made.qty(SPOT)) == (-200, 20_000)
    assert made.of("halted") == 0


def test_restart_with_an_open_leg_closes_it():
    made = world()
    made.view.positions[PERP]["qty"] = -100
    made.view.positions[PERP]["cost"] = -100 * 500_000
    assert made.wait(1) == 1
    assert made.sent[-1][:3] == (w.PLACE, PERP, w.BUY)


def test_hedge_goes_to_the_leg_that_has_a_price():
    made, perp, spot = opened()
    made.fill(perp)
    made.view.top[SPOT]["aux"] = w.STALE
    made.tell(w.REJECT, spot)
    assert made.sent[-1][:3] == (w.PLACE, PERP, w.BUY)


def test_no_price_anywhere_waits_and_alarms():
    made, perp, spot = opened()
    made.fill(perp)
    made.view.top["aux"][: PERP + 1] = w.STALE
    made.tell(w.REJECT, spot)
    assert made.live() == []
    assert made.of("alarm") == 0
    made.wait(200 * MS)
    assert made.of("alarm") == hedging.ALARM_NO_PRICE
    made.view.top["aux"] = 0
    made.view.top["bid"][: PERP + 1] = 0
    made.wait(200 * MS)
    assert made.live() == []


# -- the gate says no -------------------------------------------------------------------


def test_denied_pair_leaves_no_leg():
    made = world()
    made.gate.notional_max[:, SPOT] = 1
    assert made.quote(PERP, *DEAR) == 2
    assert made.denied == [w.DENY_NOTIONAL, w.DENY_NOTIONAL]
    assert (made.live(), made.sent) == ([], [])
    assert made.of("denied") == 2
    assert made.quote(PERP, *DEAR) == 0  # the cool-down holds it off


def test_denied_hedge_is_tried_again_at_its_deadline_and_alarmed():
    made, perp, spot = opened()
    made.fill(perp)
    made.gate.resync[0] = 1
    made.tell(w.EXPIRE, spot)
    assert made.live() == []
    for _ in range(30):
        made.wait(20 * MS)
        made.fresh()
    assert 2 <= made.denied.count(w.DENY_RESYNC) <= 5
    assert made.of("attempts") == 1
    for _ in range(12):
        made.wait(200 * MS, tell=False)
        made.fresh()
        made.wait(1)
    assert made.of("alarm") == hedging.ALARM_HEDGE_DENIED
    made.gate.resync[0] = 0
    made.wait(200 * MS, tell=False)
    made.fresh()
    made.wait(1)
    made.fill(made.order(SPOT, w.BUY))
    assert (made.of("halted"), made.qty(SPOT)) == (0, 10_000)


def test_hedge_passes_a_position_limit_that_stops_trades():
    made, perp, spot = opened()
    made.fill(perp)
    made.gate.position_max[:] = 1
    made.tell(w.EXPIRE, spot)
    assert made.order(SPOT, w.BUY)["flags"] == w.HEDGE


def test_position_beyond_arithmetic_halts():
    made = world()
    made.view.positions[SPOT]["qty"] = 1 << 61
    made.wait(1)
    assert (made.of("halted"), made.of("alarm")) == (1, hedging.ALARM_LEG_OPEN)


def test_stop_cancels_what_lives():
    made, perp, spot = opened()
    made.tell(w.ACK, perp)
    made.tell(w.AMBIGUOUS, spot)
    assert made.run("on_stop") == 1
    assert made.sent[-1][0] == w.CANCEL


# -- disorder ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_any_venue_behaviour_ends_flat_or_alarmed(seed):
    """A venue that fills, cuts, refuses, delays and forgets at random; hedges fill in the end."""
    luck = np.random.default_rng(seed)
    made = world({"hedges_max": 6})
    for _ in range(120):
        made.wait(int(luck.integers(1, 80)) * MS)
        made.fresh()
        edge = int(luck.choice([0, 0, 600, -600]))
        made.quote(PERP, 500_000 + edge, 500_001 + edge)
        for order in made.live():
            what = luck.integers(0, 6)
            leaves, kind = int(order["leaves_qty"]), int(order["status"])
            if what <= 1 and leaves > 0:
                made.fill(order)
            elif what == 2 and leaves > 1:
                made.fill(order, int(luck.integers(1, leaves)))
                made.tell(w.EXPIRE, order)
            elif what == 3:
                made.tell(w.EXPIRE if order["filled_qty"] else w.REJECT, order)
            elif what == 4 and kind == w.PENDING_NEW:
                made.tell(w.AMBIGUOUS, order)
            elif what == 5 and kind == w.UNKNOWN:
                made.tell(w.NOT_FOUND, order)
        assert len(made.live()) <= 2
        assert abs(made.qty(PERP)) <= 300
    for _ in range(40):
        made.wait(200 * MS)
        made.fresh()
        made.quote(PERP, *FAIR)
        for order in made.live():
            made.fill(order)
    made.run("on_timer", 1)
    assert abs(made.of("net_e8")) < 100_000 or made.of("halted") == 1
    assert made.of("trades") > 0
