"""Pairs: BTC and ETH perpetuals (two coins), spot and perpetual of BTC (one). tau is 10 s.

The score is made by hand: mean 0 and a standard deviation of 10 bps of the spread at (50,000.0,
3,000.00), so that 2 deviations are 20 bps, 10 ticks of spot or 100 of the perpetual.
"""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.strategies import hedging
from alephtx.strategies import mean_reversion as pairs
from tests.strategies.chance import move, play, reach, seeds
from tests.strategies.world import (
    COIN_KEY,
    ETH,
    ETH_KEY,
    MS,
    PERP,
    PERP_KEY,
    SPOT,
    SPOT_KEY,
    World,
    instruments,
    with_eth,
)

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [PERP_KEY, ETH_KEY], "hedge_ratio": "0.5", "tau_ms": 10_000, "qty_base": "0.1",
    "fee_aware": False, "cooldown_ms": 50, "leg_deadline_ms": 200, "hedges_max": 2,
}  # fmt: skip
ONE = {**SECTION, "instruments": [SPOT_KEY, PERP_KEY], "hedge_ratio": "1"}


def world(section=None, base=SECTION, **more):
    made = World(pairs, {**base, **(section or {})}, table=with_eth(), **more)
    made.wait(1000 * MS, tell=False)
    both(made, 500_000)
    made.wait(11_000 * MS, tell=False)
    both(made, 500_000)
    steady(made)
    assert made.run("on_timer", int(made.view.now[0])) == 0
    return made


def both(made, perp, *, tell=True):
    """Quote spot at 50,000.00 and the perpetual around a middle, in its ticks of 0.1."""
    made.quote(SPOT, 4_999_999, 5_000_001, tell=False)
    made.quote(ETH, 299_999, 300_001, tell=False)
    return made.quote(PERP, perp - 1, perp + 1, tell=tell)


def steady(made, deviation=10.0):
    """Let the mean be the spread that is in force, for a long time, and the deviation a given."""
    made.state["spread_mean"][0][0] = made.state["spread_now"][0][0]
    made.state["spread_variance"][0][0] = deviation**2
    made.state["spread_weight"][0][0] = 1.0


def at(made, z, *, wait=100):
    """Move the perpetual to a score; the clock first, so that the score is of old mean and now."""
    made.wait(wait * MS, tell=False)
    was = made.state["spread_mean"][0][0]
    steady(made)
    made.state["spread_mean"][0][0] = was
    made.state["spread_ts"][0][0] = made.view.now[0]
    first = made.params[0]["instruments"][0] == PERP
    perp = round(500_000 * np.exp(z * 1e-3 if first else -z * 1e-3))
    return both(made, perp)


@pytest.mark.smoke
@pytest.mark.parametrize("side", [1, -1])
def test_two_coins_go_out_far_away_and_home_near_the_mean(side):
    made = world()
    assert at(made, side * 1.98) == 0
    assert at(made, side * 2.02) == 2
    first, second = made.order(PERP, -side), made.order(ETH, side)
    assert abs(made.of("z_e6") - side * 2_020_000) < 2_000
    assert first["qty"] == 100
    # Half of the value of 0.1 BTC at 50,000 x e^0.00202, in ETH of 3,000: 0.835, cut to lots.
    assert second["qty"] == (835 if side > 0 else 831)
    assert {int(row["group_id"]) for row in made.live()} == {0}
    made.fill(first)
    made.fill(second)
    assert at(made, side * 3) == 0
    assert at(made, side * 0.6) == 0
    assert at(made, side * 0.4) == 2
    assert {s[5] for s in made.sent[2:]} == {w.REDUCE_ONLY}
    made.fill(made.order(PERP, side))
    made.fill(made.order(ETH, -side))
    assert (made.qty(PERP), made.qty(ETH), made.of("exits")) == (0, 0, 1)


@pytest.mark.parametrize("side", [1, -1])
def test_one_coin_is_a_group_of_equal_base(side):
    made = world(base=ONE)
    assert at(made, side * 2.1) == 2
    first, second = made.order(SPOT, -side), made.order(PERP, side)
    assert (first["qty"], second["qty"]) == (10_000, 100)
    assert first["group_id"] == second["group_id"] != 0
    made.fill(first)
    made.fill(second)
    assert at(made, side * 1) == 0
    assert at(made, -side * 0.2) == 2
    made.fill(made.order(SPOT, side))
    made.fill(made.order(PERP, -side))
    assert (made.qty(SPOT), made.qty(PERP), made.of("exits")) == (0, 0, 1)


@pytest.mark.parametrize("base", [SECTION, ONE])
def test_beyond_the_stop_it_goes_out_and_not_in_again_before_it_was_back(base):
    made = world(base=base)
    at(made, 2.5)
    for row in made.live():
        made.fill(row)
    assert at(made, 3.9) == 0
    assert at(made, 4.1) == 2
    for row in made.live():
        made.fill(row)
    assert (made.qty(PERP), made.of("stops"), made.of("exits")) == (0, 1, 0)
    assert at(made, 3) == 0
    assert at(made, -3) == 0
    assert at(made, 0.4) == 0
    assert at(made, 3) == 2
    assert made.of("entries") == 2


def test_beyond_the_stop_nothing_is_begun():
    made = world()
    assert at(made, 4.5) == 0
    assert at(made, -4.5) == 0
    assert made.of("entries") == 0


def test_what_does_not_pay_for_itself_is_left():
    """2.5 deviations are 25 bps, 20 to exit_z; 1.5 x 8 bps of fees, and 0.04 + 0.03 of spreads."""
    made = world({"fee_aware": True})
    assert pairs.cost_e8(made.view, made.params) == 80_000 + 400 + (80_000 + 666) // 2
    assert at(made, 1.5) == 0
    assert made.of("too_dear") == 0  # not far enough to be asked
    assert at(made, 2.5) == 2
    made = world({"fee_aware": True, "margin_bps": "7.95"})
    assert at(made, 2.5) == 0
    assert made.of("too_dear") == 1
    assert at(made, 2.51) == 2


def test_warm_up():
    made = world({"warmup_ms": 12_000})
    assert at(made, 3) == 0
    assert at(made, 3, wait=900) == 2
    cold = World(pairs, SECTION, table=with_eth())
    cold.wait(1000 * MS, tell=False)
    both(cold, 500_000)
    cold.wait(9_900 * MS, tell=False)
    both(cold, 502_000)
    assert (cold.of("known"), len(cold.sent)) == (0, 0)


@pytest.mark.parametrize("spoil", [
    lambda m: m.quote(ETH, 300_000, 300_001, aux=w.STALE),
    lambda m: m.quote(PERP, 501_500, 0, 10**6, 0),
    lambda m: m.wait(1600 * MS),
])  # fmt: skip
def test_without_two_markets_nothing_is_opened(spoil):
    made = world()
    at(made, 1.9)
    spoil(made)
    assert made.run("on_timer", int(made.view.now[0])) == 0
    assert made.of("known") == 0


def test_size_is_what_the_touch_shows_of_both():
    made = world()
    made.quote(ETH, 299_999, 300_001, 10**6, 83, tell=False)
    ours, theirs = pairs.sized(made.view, made.params, -1)
    assert (ours, theirs) == (996_000, 8_300_000)  # 0.083 ETH are 249 USDT, and twice that in BTC
    made.view.top[ETH]["ask_qty"] = 0
    assert pairs.sized(made.view, made.params, -1) == (0, 0)
    assert pairs.sized(made.view, made.params, 1)[0] == 10_000_000


def test_a_leg_that_stays_behind_is_sent_again_crossing_further_then_both_go_back():
    made = world()
    at(made, 2.5)
    made.fill(made.order(PERP, w.SELL))
    for times in (1, 2):
        order = made.order(ETH, w.BUY)
        assert order["price"] == 300_001 + times * 150
        made.tell(w.EXPIRE, order)
        made.wait(100 * MS)
    back = made.order(PERP, w.BUY)
    assert (made.sent[-1][5], made.of("flattens")) == (w.REDUCE_ONLY, 1)
    made.fill(back)
    assert (made.qty(PERP), made.qty(ETH), made.of("halted")) == (0, 0, 0)


def test_where_flat_cannot_be_had_it_halts_and_says_so():
    made = world()
    at(made, 2.5)
    made.fill(made.order(PERP, w.SELL))
    for _ in range(4):
        (order,) = made.live()
        made.tell(w.EXPIRE, order)
        made.wait(100 * MS)
        made.fresh()
    assert (made.of("halted"), made.of("alarm")) == (1, hedging.ALARM_LEG_OPEN)
    assert at(made, 0) == 0
    made.run("on_start")
    assert at(made, 0) == 1  # one leg alone is closed
    assert made.order(PERP, w.BUY)["qty"] == 100


def test_denied_legs_wait_for_the_deadline_and_are_given_up():
    made = world()
    made.gate.latched[:] = 1
    assert at(made, 2.5) == 2
    assert at(made, 2.5) == 0
    assert len(made.denied) == 2
    for _ in range(2):
        at(made, 2.5, wait=210)
    assert made.of("flattens") == 1
    assert tuple(made.state[0]["target_e8"]) == (0, 0)


def test_an_order_in_flight_is_waited_for_then_cancelled():
    made = world()
    at(made, 2.5)
    for row in made.live():
        made.tell(w.ACK, row)
    assert at(made, 2.5) == 0
    assert at(made, 2.5, wait=150) == 2
    assert {int(row["status"]) for row in made.live()} == {w.PENDING_CANCEL}


def test_after_a_restart_two_legs_are_kept_and_one_is_closed():
    made = world()
    at(made, 2.5)
    for row in made.live():
        made.fill(row)
    kept = made.qty(PERP), made.qty(ETH)
    made.state[:] = np.zeros(1, pairs.STATE)
    made.run("on_start")
    assert made.wait(100 * MS) == 0
    assert (made.qty(PERP), made.qty(ETH)) == kept
    made.view.positions[ETH]["qty"] = 0
    made.run("on_start")
    made.fresh()
    assert made.wait(100 * MS) == 1
    assert made.order(PERP, w.BUY)["qty"] == 100


def test_stop_cancels_and_keeps_the_pair():
    made = world()
    at(made, 2.5)
    assert made.run("on_stop") == 2


@pytest.mark.parametrize("seed", seeds(8))
@pytest.mark.parametrize("base", [SECTION, ONE])
def test_whatever_the_venue_does_bounds_hold(seed, base):
    luck = np.random.default_rng(seed)
    own = {"tau_ms": 500, "entry_z": 1, "floor_bps": "0.01", "hedges_max": 20}
    made = World(pairs, {**base, **own}, table=with_eth())
    spot, perp, eth = 5_000_000, 500_000, 300_000
    for _ in range(150):
        spot = move(made, luck, SPOT, spot, 4_000)
        perp = move(made, luck, PERP, perp, 400)
        eth = move(made, luck, ETH, eth, 100)
        play(made, luck)
        assert len(made.live()) <= 2
        for i, lots in ((SPOT, 10_001), (PERP, 101), (ETH, 900)):
            low, high = reach(made, i)
            assert -lots <= low <= high <= lots
    assert made.of("entries") > 0


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"instruments": [PERP_KEY]}, "must list 2 to 2"),
        ({"instruments": [PERP_KEY, PERP_KEY]}, "PERP"),
        ({"instruments": [COIN_KEY, ETH_KEY]}, "are quoted in USD and USDT"),
        ({"instruments": [SPOT_KEY, PERP_KEY]}, "for two instruments of one coin"),
        ({"hedge_ratio": 0}, "is outside"),
        ({"hedge_ratio": "-0.5"}, "is outside"),
        ({"hedge_ratio": 0.5}, "is not a decimal number"),
        ({"hedge_ratio": "0.123456789"}, "more decimals"),
        ({"entry_z": "0"}, "is outside"),
        ({"exit_z": 2}, "is not below entry_z"),
        ({"stop_z": 2}, "is not above entry_z"),
        ({"exit_z": "-1"}, "is outside"),
        ({"tau_ms": 0}, "is outside"),
        ({"floor_bps": 0}, "is outside"),
        ({"warmup_ms": -1}, "is outside"),
        ({"margin_bps": "1001"}, "is outside"),
        ({"fee_aware": 1}, "is not true or false"),
        ({"qty_base": None}, "qty_base is missing"),
        ({"hedges_max": 21}, "is outside"),
        ({"entry": 2}, "did you mean entry_z"),
    ],
)
def test_config_mistake_is_named(changed, match):
    section = {key: value for key, value in {**SECTION, **changed}.items() if value is not None}
    with pytest.raises(ConfigError, match=match):
        pairs.config_to_params(section, with_eth())


def test_an_unknown_instrument_is_named():
    with pytest.raises(ConfigError, match="ETH"):
        pairs.config_to_params(SECTION, instruments())
