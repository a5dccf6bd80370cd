"""GLFT on spot BTC at 50,000.00 / 50,000.02, ticks of 0.01; its measures against plain formulas."""

import math

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.core.records import EVENT
from alephtx.strategies import glft
from alephtx.strategies import intensity as flow
from tests.strategies.chance import move, play, reach, seeds
from tests.strategies.world import COIN, MS, PERP_KEY, SPOT, SPOT_KEY, World, instruments

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [SPOT_KEY], "gamma_per_tick": "0.05", "qty_base": "0.1", "requote_bps": "0",
    "inventory_max_base": "0.3", "rest_ms": 0, "fit_ms": 1_000, "sample_ms": 10,
    "vol_tau_ms": 1_000, "flow_tau_ms": 1_000,
}  # fmt: skip
AT, FAIR, UNIT, FINE = (5_000_000, 5_000_002), 5_000_001, 10_000, glft.FINE


def world(section=None, **more):
    made = World(glft, {**SECTION, **(section or {})}, **more)
    made.wait(1000 * MS, tell=False)
    made.fresh()
    return made


def fitted(half, skew, section=None):
    """A world whose last fit came to a half spread and a skew, in ticks, and stays."""
    made = world({"fit_ms": 3_600_000, **(section or {})})
    made.state["half_fine"], made.state["skew_fine"] = round(half * FINE), round(skew * FINE)
    made.state["fit_ns"] = made.view.now[0]
    return made


def trade(made, price, qty, side, *, ts=None):
    event = np.zeros(1, EVENT)
    event["instrument"], event["kind"], event["side"] = SPOT, w.TRADE, side
    event["price"], event["qty"] = price, qty
    event["ts_event"] = made.view.now[0] if ts is None else ts
    return made.run("on_event", event)


@pytest.mark.smoke
@pytest.mark.parametrize(("sigma", "gamma", "k", "arrival"), [(5, 0.05, 0.3, 12), (80, 2, 0.01, 1)])
def test_quotes_are_the_formulas(sigma, gamma, k, arrival):
    half, skew = glft.half_and_skew(0, float(sigma), float(gamma), float(k), float(arrival), 1.0)
    c1 = math.log1p(gamma / k) / gamma
    c2 = math.sqrt(gamma / (2 * arrival * k) * (1 + gamma / k) ** (1 + k / gamma))
    for q in (-2, 0, 3):
        assert -q * skew - half == pytest.approx(-c1 - (2 * q + 1) / 2 * sigma * c2, rel=1e-12)
        assert -q * skew + half == pytest.approx(c1 - (2 * q - 1) / 2 * sigma * c2, rel=1e-12)
    half, skew = glft.half_and_skew(1, float(sigma), float(gamma), float(k), float(arrival), 7.0)
    assert skew == pytest.approx(gamma * sigma**2 * 7)
    assert 2 * half == pytest.approx(gamma * sigma**2 * 7 + 2 / gamma * math.log1p(gamma / k))


def test_intensity_is_recovered_from_orders_that_have_one():
    """Both sides at A = 20 a second with k = 0.5 a tick, for three tau."""
    luck = np.random.default_rng(1)
    state, tau = np.zeros(1, glft.STATE), 20_000 * MS
    now, end = 10**18, 10**18 + 3 * tau
    while now < end:
        now += int(luck.exponential(1e9 / 40))
        far2, side = int(2 * luck.exponential(2.0)), 1 - 2 * int(luck.integers(0, 2))
        flow.intensity_trade(state, now, now, side, far2, 1, tau)
    assert flow.intensity_fit(state, now, 1, tau) == 1
    assert state[0]["arrival_per_s"] == pytest.approx(20, rel=0.2)
    assert state[0]["decay_per_tick"] == pytest.approx(0.5, rel=0.2)


def test_prints_of_one_moment_and_side_are_one_order():
    state, tau = np.zeros(1, glft.STATE), 10**15
    for far2 in (0, 6, 4):
        flow.intensity_trade(state, 5, 100, 1, far2, 1, tau)
    flow.intensity_trade(state, 5, 100, -1, 2, 1, tau)
    flow.intensity_count(state, 100, 1, tau)
    assert state[0]["flow_counts"].tolist()[:5] == [2.0, 2.0, 1.0, 1.0, 0.0]


def test_too_few_orders_and_a_rate_that_rises_are_no_intensity():
    state = np.zeros(1, glft.STATE)
    assert flow.intensity_fit(state, 10**18, 1, 1) == 0
    state["flow_first_ns"], state["flow_ts_ns"], state["order_far2"] = 1, 10**9, -1
    state[0]["flow_counts"][:] = [5, 5, 1, *[0] * 13]
    assert flow.intensity_fit(state, 10**9, 1, 10**8) == 0
    state[0]["flow_counts"][:] = 5
    assert flow.intensity_fit(state, 10**9, 1, 10**8) == 0


def test_nothing_is_quoted_before_all_is_measured_then_it_is():
    luck = np.random.default_rng(3)
    made, middle = world(), FAIR
    for step in range(600):
        made.wait(5 * MS, tell=False)
        middle += int(luck.integers(-2, 3))
        made.quote(SPOT, middle - 1, middle + 1)
        if step < 100:
            assert made.live() == []
        side = 1 - 2 * int(luck.integers(0, 2))
        trade(made, middle + side * (1 + int(luck.exponential(3))), 5, side)
    assert made.of("fits") > 0
    assert {int(r["side"]) for r in made.live()} == {w.BUY, w.SELL}
    assert made.state[0]["half_fine"] > made.state[0]["skew_fine"] // 2 > 0


def test_quotes_stand_half_away_and_lean_against_inventory():
    made = fitted(10, 4)
    made.view.positions[SPOT]["qty"] = 2 * UNIT
    made.quote(SPOT, *AT)
    assert made.order(SPOT, w.BUY)["price"] == FAIR - 8 - 10
    assert made.order(SPOT, w.BUY)["qty"] == UNIT
    assert made.order(SPOT, w.SELL)["price"] == FAIR - 8 + 10


def test_edge_is_added_and_half_is_bounded():
    made = fitted(10**6, 0, {"half_max_bps": "2", "edge_bps": "1"})
    made.quote(SPOT, *AT)
    assert made.order(SPOT, w.BUY)["price"] == FAIR - 1_000 - 500 - 1
    assert made.order(SPOT, w.SELL)["price"] == FAIR + 1_000 + 500 + 1


def test_a_lean_through_the_touch_stops_at_it():
    made = fitted(1, 50)
    made.view.positions[SPOT]["qty"] = -2 * UNIT
    made.quote(SPOT, *AT)
    assert made.order(SPOT, w.BUY)["price"] == AT[1] - 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.quote(SPOT, *AT, aux=w.STALE),
        lambda m: m.quote(SPOT, 0, 5),
        lambda m: m.quote(SPOT, 1 << 48, (1 << 48) + 1),
        lambda m: m.wait(1600 * MS),
    ],
)
def test_unusable_touch_pulls_both_quotes(spoil):
    made = fitted(10, 1)
    made.quote(SPOT, *AT)
    for order in made.live():
        made.tell(w.ACK, order)
    spoil(made)
    assert {int(r["status"]) for r in made.live()} == {w.PENDING_CANCEL}
    assert made.of("pulled") == 2


def test_trades_without_a_market_and_of_others_count_nothing():
    made = world()
    made.quote(SPOT, *AT, aux=w.STALE)
    trade(made, 5_000_100, 5, 1)
    assert made.of("flow_first_ns") == 0
    assert made.quote(COIN, 500_000, 500_001) == 0


def test_stop_and_positions_beyond_arithmetic():
    made = fitted(10, 1)
    made.quote(SPOT, *AT)
    for order in made.live():
        made.tell(w.ACK, order)
    assert made.run("on_stop") == 2
    made.view.positions[SPOT]["qty"] = 1 << 61
    assert made.quote(SPOT, *AT) == 0


@pytest.mark.parametrize("seed", seeds(15))
def test_whatever_the_venue_does_the_bound_holds(seed):
    luck = np.random.default_rng(seed)
    made, middle = fitted(100, 60), 5_000_000
    for _ in range(80):
        middle = move(made, luck, SPOT, middle, 300)
        trade(made, middle + int(luck.integers(-9, 10)), 3, 1 - 2 * int(luck.integers(0, 2)))
        play(made, luck)
        low, high = reach(made, SPOT)
        assert -3 * UNIT <= low <= high <= 3 * UNIT
        live = made.live()
        bids = [int(r["price"]) for r in live if r["side"] == w.BUY]
        asks = [int(r["price"]) for r in live if r["side"] == w.SELL]
        assert max(len(bids), len(asks)) <= 1
        assert not bids or not asks or bids[0] < asks[0]
    assert made.of("fills") > 0


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"model": "as"}, "is not known"),
        ({"gamma_per_tick": "0"}, "outside"),
        ({"inventory_max_base": "0.05"}, "less than qty_base"),
        ({"sample_ms": 2_000}, "above vol_tau_ms"),
        ({"instruments": [SPOT_KEY, PERP_KEY]}, "must list 1 to 1"),
        ({"gamma_tick": "1"}, "did you mean gamma_per_tick"),
    ],
)
def test_config_mistake_is_named(changed, match):
    with pytest.raises(ConfigError, match=match):
        glft.config_to_params({**SECTION, **changed}, instruments())
