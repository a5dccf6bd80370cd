"""Trend on spot BTC around 50,000.00, ticks of 0.01; averages over 1 and 3 s, sampled at 100 ms."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.strategies import trend
from tests.strategies.chance import move, play, reach, seeds
from tests.strategies.world import COIN, MS, NOW, PERP_KEY, SPOT, SPOT_KEY, World, instruments

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [SPOT_KEY], "sample_ms": 100, "fast_ms": 1_000, "slow_ms": 3_000,
    "vol_tau_ms": 3_000, "band_bps": "0.5", "trail_bps": "10", "qty_base": "0.1",
    "inventory_max_base": "0.3", "vol_target_bps_per_root_s": "1", "cooldown_ms": 0,
}  # fmt: skip
MIDDLE, UNIT = 5_000_000, 10_000


def world(section=None, **more):
    made = World(trend, {**SECTION, **(section or {})}, **more)
    made.wait(1000 * MS, tell=False)
    made.fresh()
    return made


def walk(made, start, steps, each, *, fills=True):
    """Move the middle by `each` ticks every 100 ms; orders fill whole when told."""
    middle = start
    for _ in range(steps):
        made.wait(100 * MS, tell=False)
        middle += each
        made.quote(SPOT, middle - 1, middle + 1)
        for order in made.live() if fills else []:
            made.fill(order)
    return middle


@pytest.mark.smoke
@pytest.mark.parametrize("side", [1, -1])
def test_it_goes_with_a_crossing_and_out_at_the_trailing_stop(side):
    made = world()
    at = walk(made, MIDDLE, 60, 0)
    assert made.qty(SPOT) == 0
    at = walk(made, at, 60, side * 100)
    assert made.qty(SPOT) * side > 0
    assert made.of("entries") == 1
    at = walk(made, at, 1, -side * 4_000)  # 8 bps back
    assert made.qty(SPOT) * side > 0
    at = walk(made, at, 1, -side * 1_500)  # 11 bps
    assert made.qty(SPOT) == 0
    assert made.of("stops") == 1
    walk(made, at, 5, 0)
    assert (made.qty(SPOT), made.of("entries")) == (0, 1)  # not again in this direction


def test_it_turns_through_flat_and_closes_by_reducing():
    made = world({"trail_bps": "500"})
    at = walk(made, walk(made, MIDDLE, 60, 0), 60, 100)
    held = made.qty(SPOT)
    walk(made, at, 120, -100)
    assert held > 0 > made.qty(SPOT)
    closing = [s for s in made.sent if s[5] == w.REDUCE_ONLY]
    assert [(s[2], s[4]) for s in closing] == [(w.SELL, held)]


@pytest.mark.parametrize(
    ("vol_bps", "base"), [(1, 10_000_000), (2, 5_000_000), ("0.1", 30_000_000)]
)
def test_size_is_inverse_to_volatility_and_bounded(vol_bps, base):
    made = world()
    made.state["vol_points"] = 10**6
    made.state[0]["vol_variance"][0][:] = (float(vol_bps) * 1e-4) ** 2
    assert abs(trend.sized(made.params, made.state) - base) <= 1


def test_no_volatility_yet_is_no_size():
    made = world()
    assert trend.sized(made.params, made.state) == 0
    made.state["vol_points"] = 10**6
    assert trend.sized(made.params, made.state) == 30_000_000  # none at all: the bound


def test_open_range_breakout_is_bought():
    """A session of 100 s that opens for 10 s, begun when the test does."""
    start = (NOW + 1000 * MS) % (100_000 * MS) // MS
    made = world({
        "entry": "open_range", "session_ms": 100_000, "offset_ms": start, "open_ms": 10_000,
    })  # fmt: skip
    made.quote(SPOT, MIDDLE - 1, MIDDLE + 1)
    at = walk(made, walk(made, MIDDLE, 50, 20), 60, -16)
    assert (made.qty(SPOT), made.of("entries")) == (0, 0)
    walk(made, at, 60, 40)
    assert made.qty(SPOT) > 0


def test_a_part_left_over_is_ordered_again():
    made = world()
    at = walk(made, MIDDLE, 60, 0)
    while not made.live():
        at = walk(made, at, 1, 100, fills=False)
    (order,) = made.live()
    assert order["tif"] == w.IOC
    made.fill(order, int(order["leaves_qty"]) // 2)
    made.tell(w.EXPIRE, order)
    (again,) = made.live()
    assert made.qty(SPOT) + again["leaves_qty"] == order["qty"]


def test_one_order_at_a_time_and_a_late_one_is_cancelled_only_when_it_is_known():
    made = world()
    at = walk(made, MIDDLE, 60, 0)
    while not made.live():
        at = walk(made, at, 1, 100, fills=False)
    walk(made, at, 20, 100, fills=False)
    (order,) = made.live()
    assert order["status"] == w.PENDING_NEW  # in flight: nothing to cancel, nothing stacked
    made.tell(w.ACK, order)
    walk(made, at, 20, 100, fills=False)
    assert made.live()[0]["status"] == w.PENDING_CANCEL


@pytest.mark.parametrize("spoil", [
    lambda m: m.quote(SPOT, MIDDLE, MIDDLE + 2, aux=w.STALE),
    lambda m: m.quote(SPOT, 0, 5),
    lambda m: m.wait(1600 * MS),
])  # fmt: skip
def test_without_a_market_nothing_is_ordered(spoil):
    made = world()
    made.state["target_e8"] = 10_000_000
    spoil(made)
    assert made.live() == []
    assert made.quote(COIN, 500_000, 500_001) == 0


def test_denied_orders_wait_for_the_cooldown():
    made = world({"cooldown_ms": 50})
    made.state["target_e8"], made.state["direction"], made.state["size_e8"] = 10_000_000, 1, 10**7
    made.state["best2"] = 2 * MIDDLE
    made.gate.latched[:] = 1
    for _ in range(5):
        made.quote(SPOT, MIDDLE - 1, MIDDLE + 1)
    assert len(made.denied) == 1


@pytest.mark.parametrize("seed", seeds(15))
def test_whatever_the_venue_does_the_bound_holds(seed):
    luck = np.random.default_rng(seed)
    made = world({"slow_ms": 300, "fast_ms": 100, "vol_tau_ms": 300, "trail_bps": "1"})
    middle = MIDDLE
    for _ in range(120):
        middle = move(made, luck, SPOT, middle, 600)
        play(made, luck)
        assert len(made.live()) <= 1
        low, high = reach(made, SPOT)
        assert -3 * UNIT <= low <= high <= 3 * UNIT


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"entry": "range"}, "is not known"),
        ({"fast_ms": 3_000}, "is not below slow_ms"),
        ({"sample_ms": 2_000}, "is above fast_ms"),
        ({"open_ms": 90_000_000}, "not below session_ms"),
        ({"late_ms": 900_001}, "above open_ms"),
        ({"instruments": [SPOT_KEY, PERP_KEY]}, "must list 1 to 1"),
        ({"trail": "1"}, "unknown key 'trail'"),
    ],
)
def test_config_mistake_is_named(changed, match):
    with pytest.raises(ConfigError, match=match):
        trend.config_to_params({**SECTION, **changed}, instruments())
