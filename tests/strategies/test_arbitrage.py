"""Arbitrage, with the numbers worked out by hand.

Fees are 4 bps a leg unless said otherwise, so two legs cost 8 bps; the trigger is 2 bps.
"""

from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.strategies import arbitrage as arb
from tests.strategies.world import (
    COIN,
    COIN_KEY,
    MS,
    PERP,
    PERP_KEY,
    SPOT,
    SPOT_KEY,
    World,
    instruments,
)

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [SPOT_KEY, PERP_KEY], "trigger_bps": "2", "unwind_bps": "0", "qty_base": "0.1",
    "position_max_base": "0.2", "cooldown_ms": 50, "leg_deadline_ms": 200, "hedges_max": 2,
    "cross_bps": "5",
}  # fmt: skip
COIN_SECTION = {**SECTION, "instruments": [SPOT_KEY, COIN_KEY], "assume_parity": True}

DEAR = (500_600, 500_601)  # perp 12 bps above spot's 50,000.00 / 50,000.01
FAIR = (500_000, 500_001)


def world(section=None, **more):
    made = World(arb, {**SECTION, **(section or {})}, **more)
    made.wait(1000 * MS)
    made.fresh()
    return made


def opened():
    """A world with both legs out: sell 0.1 perp at 50,060.0, buy 0.1 spot at 50,000.01."""
    made = world()
    assert made.quote(PERP, *DEAR) == 2
    return made, made.order(PERP, w.SELL), made.order(SPOT, w.BUY)


# -- the edge ---------------------------------------------------------------------------


@pytest.mark.smoke
def test_edge_above_fees_sends_both_legs_at_the_touch():
    made, perp, spot = opened()
    assert (perp["price"], perp["qty"]) == (500_600, 100)
    assert (spot["price"], spot["qty"]) == (5_000_001, 10_000)
    assert {perp["tif"], spot["tif"]} == {w.IOC}
    assert perp["group_id"] == spot["group_id"] != 0
    made.fill(perp)
    made.fill(spot)
    assert (made.qty(PERP), made.qty(SPOT)) == (-100, 10_000)
    assert (made.of("trades"), made.of("hedges"), made.of("alarm")) == (1, 0, 0)
    made.run("on_timer", 1)
    assert made.of("net_e8") == 0


def test_edge_between_fees_and_trigger_is_left_to_the_blind():
    """50,040.0 / 50,000.01 is 7.99 bps: above the trigger of 2, below fees of 8."""
    made = world()
    assert made.quote(PERP, 500_400, 500_401) == 0
    assert (made.of("seen_blind"), made.of("seen_aware")) == (1, 0)
    # 39.99 / (100,040.01 / 2) x 1e8 = 79,948.01
    assert made.of("best_blind_e8") == 79_948
    assert made.of("best_aware_e8") == 79_948 - 80_000


def test_blind_detector_takes_what_fees_eat():
    made = world({"fee_aware": False})
    assert made.quote(PERP, 500_400, 500_401) == 2


def test_episode_is_counted_once_until_it_ends():
    made = world()
    for _ in range(3):
        made.quote(PERP, 500_400, 500_401)
    assert made.of("seen_blind") == 1
    made.quote(PERP, *FAIR)
    made.quote(PERP, 500_400, 500_401)
    assert made.of("seen_blind") == 2


@pytest.mark.parametrize(("bid", "trades"), [(500_500, 0), (500_501, 1)])
def test_trigger_is_exact(bid, trades):
    """Fees 8 + trigger 2 = 10 bps: (b - 50,000.01) / ((b + 50,000.01) / 2) >= 0.001.

    b >= 50,000.01 x 1.0005 / 0.9995 = 50,050.035..., so 50,050.0 is not enough and 50,050.1 is.
    """
    made = world()
    made.quote(PERP, bid, bid + 1)
    assert made.of("trades") == trades


def test_margin_is_added_to_the_trigger():
    made = world({"margin_bps": "3"})
    assert made.quote(PERP, *DEAR) == 0
    assert made.quote(PERP, 500_700, 500_701) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.quote(SPOT, 5_000_000, 5_000_001, tell=False, aux=w.STALE),
        lambda m: m.quote(SPOT, 5_000_000, 5_000_001, tell=False, aux=w.CROSSED),
        lambda m: m.quote(SPOT, 0, 5_000_001, tell=False),
        lambda m: m.quote(SPOT, 5_000_000, 5_000_001, 0, 5, tell=False),
        lambda m: m.wait(1501 * MS, tell=False),
        lambda m: m.quote(SPOT, 1 << 61, (1 << 61) + 1, tell=False),
    ],
)
def test_unusable_leg_is_never_traded_on(spoil):
    made = world()
    spoil(made)
    assert made.quote(PERP, *DEAR) == 0
    assert made.of("seen_blind") == 0


def test_event_of_a_foreign_instrument_is_nothing():
    made = world()
    made.quote(PERP, *DEAR, tell=False)
    assert made.quote(COIN, *FAIR) == 0


# -- sizes ------------------------------------------------------------------------------


def test_size_is_cut_to_the_touch_and_to_the_coarser_lot():
    """Spot shows 0.05678 BTC: perp's lot of 0.001 gives 0.056 on both sides."""
    made = world()
    made.quote(SPOT, 5_000_000, 5_000_001, 5_678, 5_678, tell=False)
    made.quote(PERP, *DEAR)
    assert made.order(PERP, w.SELL)["qty"] == 56
    assert made.order(SPOT, w.BUY)["qty"] == 5_600


def test_inverse_contracts_are_matched_in_base():
    """0.1 BTC at 50,060 is 50.06 contracts of 100 USD: 50 of them are 0.09988014 BTC."""
    made = world(COIN_SECTION)
    made.quote(COIN, *DEAR)
    coin, spot = made.order(COIN, w.SELL), made.order(SPOT, w.BUY)
    assert coin["qty"] == 50
    assert spot["qty"] == 9_988  # 0.09988 of 0.09988014
    made.fill(coin)
    made.fill(spot)
    made.run("on_timer", 1)
    assert made.of("net_e8") == 9_988_000 - 9_988_014
    assert made.of("hedges") == 0


def test_inverse_balance_does_not_drift_with_the_price():
    made = world(COIN_SECTION)
    made.quote(COIN, *DEAR)
    for order in made.live():
        made.fill(order)
    for price in (300_000, 800_000):
        made.quote(COIN, price, price + 1)
        made.quote(SPOT, price * 10, price * 10 + 1)
        assert abs(made.of("net_e8")) < 1_000
        assert made.of("hedges") == 0


def test_residual_of_one_trade_is_taken_up_by_the_next():
    made = world({**COIN_SECTION, "position_max_base": "10"})
    for _ in range(6):
        made.wait(60 * MS)
        made.fresh()
        made.quote(COIN, *DEAR)
        for order in made.live():
            made.fill(order)
    made.run("on_timer", 1)
    assert made.of("trades") == 6
    assert abs(made.of("net_e8")) <= 500  # half a spot lot


def test_too_small_a_touch_is_not_traded():
    made = world()
    made.quote(SPOT, 5_000_000, 5_000_001, 99, 99, tell=False)
    assert made.quote(PERP, *DEAR) == 0
    assert made.of("trades") == 0


def test_position_cap_is_filled_and_not_passed():
    made = world()
    for _ in range(4):
        made.wait(60 * MS)
        made.fresh()
        made.quote(PERP, *DEAR)
        for order in made.live():
            made.fill(order)
    assert (made.qty(PERP), made.qty(SPOT)) == (-200, 20_000)
    assert made.of("trades") == 2


def test_cooldown_keeps_trades_apart():
    made, perp, spot = opened()
    made.fill(perp)
    made.fill(spot)
    assert made.quote(PERP, *DEAR) == 0
    made.wait(50 * MS)
    assert made.quote(PERP, *DEAR) == 2


# -- coming back ------------------------------------------------------------------------


def test_position_is_closed_when_the_spread_has_closed():
    """Unwind at 0 bps: sell spot at its bid, buy perp at its ask, once that is not a loss."""
    made, perp, spot = opened()
    made.fill(perp)
    made.fill(spot)
    made.wait(60 * MS)
    made.fresh()
    assert made.quote(PERP, 500_000, 500_001) == 0
    assert made.quote(PERP, 499_998, 500_000) == 2
    back_spot, back_perp = made.order(SPOT, w.SELL), made.order(PERP, w.BUY)
    assert (back_spot["price"], back_spot["qty"]) == (5_000_000, 10_000)
    assert (back_perp["price"], back_perp["qty"]) == (500_000, 100)
    made.fill(back_spot)
    made.fill(back_perp)
    assert (made.qty(PERP), made.qty(SPOT), made.of("unwinds")) == (0, 0, 1)


def test_inverse_position_is_closed_to_the_contract_at_any_price():
    made = world(COIN_SECTION)
    made.quote(COIN, *DEAR)
    for order in made.live():
        made.fill(order)
    for price in (350_000, 650_000):
        made.wait(60 * MS)
        made.fresh()
        made.quote(SPOT, price * 10 + 10, price * 10 + 20, tell=False)
        made.quote(COIN, price - 1, price)
        for order in made.live():
            made.fill(order)
    assert made.qty(COIN) == 0
    assert abs(made.qty(SPOT)) <= 1
    assert (made.of("unwinds"), made.of("hedges")) == (1, 0)


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
    assert (made.of("halted"), made.of("alarm")) == (1, arb.ALARM_LEG_OPEN)
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
    assert made.of("alarm") == arb.ALARM_UNPROVEN
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
    assert made.of("alarm") == arb.ALARM_NO_PRICE
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
    assert made.of("alarm") == arb.ALARM_HEDGE_DENIED
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
    assert (made.of("halted"), made.of("alarm")) == (1, arb.ALARM_LEG_OPEN)


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
    made = world({"hedges_max": 6, "instruments": [SPOT_KEY, PERP_KEY]})
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


# -- config -----------------------------------------------------------------------------


def params(**changed):
    section = {**SECTION, **changed}
    return arb.config_to_params({k: v for k, v in section.items() if v is not None}, instruments())


def test_params_are_exact_integers():
    row = params(trigger_bps=Decimal("2.5"), qty_base="0.12345678")[0]
    assert (row["trigger_e8"], row["qty_base_e8"], row["leg_deadline_ns"]) == (
        25_000, 12_345_678, 200_000_000,
    )  # fmt: skip
    assert list(row["instruments"][:2]) == [0, 1]
    assert list(row["price_mul"][:2]) == [1, 10]
    assert params(position_max_base=None)[0]["position_max_e8"] == 10_000_000


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"triger_bps": "1"}, "unknown key 'triger_bps'. did you mean trigger_bps"),
        ({"zzz": 1}, "unknown key 'zzz'. known"),
        ({"trigger_bps": 1.5}, "trigger_bps = 1.5 is not a decimal number"),
        ({"trigger_bps": True}, "not a decimal"),
        ({"trigger_bps": "a"}, "trigger_bps = 'a' is not a decimal"),
        ({"trigger_bps": "nan"}, "outside"),
        ({"trigger_bps": "-1"}, "outside 0"),
        ({"trigger_bps": "1.00001"}, "more decimals"),
        ({"qty_base": None}, "qty_base is missing"),
        ({"qty_base": "0"}, "outside"),
        ({"qty_base": "0.000000001"}, "outside"),
        ({"qty_base": "0.3"}, "position_max_base = '0.2' is less than qty_base"),
        ({"cooldown_ms": -1}, "outside"),
        ({"cooldown_ms": "0.0000001"}, "more decimals"),
        ({"hedges_max": 0}, "outside"),
        ({"fee_aware": "yes"}, "not true or false"),
        ({"instruments": SPOT_KEY}, "not a list"),
        ({"instruments": [SPOT_KEY]}, "must list 2 to 8"),
        ({"instruments": [SPOT_KEY, SPOT_KEY]}, "lists one twice"),
        ({"instruments": [SPOT_KEY, "x:Y"]}, "unknown instrument"),
        ({"instruments": [SPOT_KEY, COIN_KEY]}, "USD and USDT.*assume_parity"),
    ],
)
def test_config_mistake_is_named(changed, match):
    with pytest.raises(ConfigError, match=match):
        params(**changed)


def test_instruments_of_two_underlyings_are_refused():
    import msgspec

    table = instruments()
    table.add(msgspec.structs.replace(table[0], key="a:ETH-USDT", symbol="ETH", base="ETH",
                                      underlying="ETH"))  # fmt: skip
    with pytest.raises(ConfigError, match="not all of one underlying"):
        arb.config_to_params({**SECTION, "instruments": [SPOT_KEY, "a:ETH-USDT"]}, table)
