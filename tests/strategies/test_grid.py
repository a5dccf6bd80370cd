"""Grid on spot BTC at 50,000.00 / 50,000.02: steps of 10 bps = 50.00, units of 0.1."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.strategies import grid
from tests.strategies.chance import move, play, reach, seeds
from tests.strategies.world import COIN, COIN_KEY, MS, PERP_KEY, SPOT, SPOT_KEY, World, instruments

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [SPOT_KEY], "step_bps": "10", "levels": 2, "qty_base": "0.1",
    "inventory_max_base": "0.3", "rest_ms": 10,
}  # fmt: skip
AT = (5_000_000, 5_000_002)
CENTRE, STEP, UNIT = 5_000_001, 5_000, 10_000


def world(section=None, **more):
    made = World(grid, {**SECTION, **(section or {})}, **more)
    made.wait(1000 * MS, tell=False)
    made.fresh()
    return made


def standing(section=None):
    made = world(section)
    made.quote(SPOT, *AT)
    for order in made.live():
        made.tell(w.ACK, order)
    return made


def levels(made):
    """Return (side, steps from the centre, lots) of what is live and not being cancelled."""
    return sorted(
        (int(r["side"]), (int(r["price"]) - CENTRE) / STEP, int(r["leaves_qty"]))
        for r in made.live() if r["status"] != w.PENDING_CANCEL
    )  # fmt: skip


@pytest.mark.smoke
def test_levels_stand_at_even_steps_around_the_middle():
    made = standing()
    assert levels(made) == [(-1, 1, UNIT), (-1, 2, UNIT), (1, -2, UNIT), (1, -1, UNIT)]
    assert all(r["flags"] == w.POST_ONLY and r["tif"] == w.GTC for r in made.live())
    assert made.quote(SPOT, *AT) == 0


def test_a_filled_bid_is_offered_one_level_higher():
    made = standing()
    made.fill(max(made.live(), key=lambda r: r["price"] * (r["side"] == w.BUY)))
    assert made.qty(SPOT) == UNIT
    made.quote(SPOT, 4_996_000, 4_996_002)
    assert levels(made) == [(-1, 0, UNIT), (-1, 1, UNIT), (1, -3, UNIT), (1, -2, UNIT)]


def test_a_part_of_a_fill_moves_a_part():
    made = standing()
    made.fill(max(made.live(), key=lambda r: r["price"] * (r["side"] == w.BUY)), 4_000)
    made.quote(SPOT, 4_996_000, 4_996_002)
    assert (w.SELL, 0, 4_000) in levels(made)
    assert (w.BUY, -1, 6_000) in levels(made)


def test_a_round_trip_earns_a_step():
    made = standing()
    made.fill(max(made.live(), key=lambda r: r["price"] * (r["side"] == w.BUY)))
    made.quote(SPOT, 4_996_000, 4_996_002)
    made.fill(min(made.live(), key=lambda r: r["price"] + 10**9 * (r["side"] == w.BUY)))
    assert made.qty(SPOT) == 0
    assert made.realized[0] == 50 * 10**7  # 0.1 x 50.00


def test_inventory_bound_ends_the_bids():
    made = world()
    made.view.positions[SPOT]["qty"] = 2 * UNIT
    made.quote(SPOT, *AT)
    assert [row for row in levels(made) if row[0] == w.BUY] == [(1, -1, UNIT)]
    made = world()
    made.view.positions[SPOT]["qty"] = 3 * UNIT
    made.quote(SPOT, *AT)
    assert [row for row in levels(made) if row[0] == w.BUY] == []


def test_centre_moves_with_the_market_when_told_to():
    made = standing({"recentre_bps": "30"})
    made.quote(SPOT, 5_014_000, 5_014_002)  # 28 bps
    assert made.of("moved") == 0
    made.quote(SPOT, 5_016_000, 5_016_002)  # 32 bps
    assert made.of("moved") == 1
    for order in made.live():
        if order["status"] == w.PENDING_CANCEL:
            made.tell(w.CANCEL_ACK, order)
    made.wait(20 * MS, tell=False)
    made.fresh()
    made.quote(SPOT, 5_016_000, 5_016_002)
    prices = sorted(int(r["price"]) for r in made.live() if r["status"] == w.PENDING_NEW)
    assert prices == [5_005_969, 5_010_985, 5_021_017, 5_026_033]  # steps of 5,016


def test_a_fixed_grid_stays_and_skips_what_the_market_has_passed():
    made = world({"centre_quote": "50200"})
    made.quote(SPOT, *AT)
    assert int(made.state[0]["centre"]) == 5_020_000
    assert all(r["side"] == w.SELL for r in made.live())  # bids would take


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.quote(SPOT, *AT, aux=w.STALE),
        lambda m: m.quote(SPOT, 0, 5),
        lambda m: m.quote(SPOT, 1 << 48, (1 << 48) + 1),
        lambda m: m.wait(1600 * MS),
    ],
)
def test_unusable_touch_pulls_every_level(spoil):
    made = standing()
    spoil(made)
    assert {int(r["status"]) for r in made.live()} == {w.PENDING_CANCEL}
    assert made.of("pulled") == 4


def test_after_a_refusal_it_rests():
    made = world()
    made.quote(SPOT, *AT)
    made.tell(w.REJECT, made.live()[0], reason=w.REASON_WOULD_CROSS)
    assert made.quote(SPOT, *AT) == 0
    made.wait(10 * MS, tell=False)
    made.fresh()
    assert made.quote(SPOT, *AT) == 1


def test_a_gate_that_denies_is_not_asked_at_every_event():
    made = world()
    made.gate.latched[:] = 1
    for _ in range(5):
        made.quote(SPOT, *AT)
    assert len(made.denied) == 4


def test_stop_cancels_all_and_other_instruments_are_not_its_own():
    made = standing()
    assert made.quote(COIN, 500_000, 500_001) == 0
    assert made.run("on_stop") == 4


def test_inverse_contracts_are_measured_in_coin():
    made = world({"instruments": [COIN_KEY]})
    made.quote(COIN, 500_000, 500_002)
    assert {int(r["qty"]) for r in made.live() if r["side"] == w.BUY} == {49}  # 0.1 at 49,950


def test_position_beyond_arithmetic_places_nothing():
    made = world(gate=False)
    made.view.positions[SPOT]["qty"] = 1 << 61
    assert made.quote(SPOT, *AT) == 0


@pytest.mark.parametrize("seed", seeds(12))
@pytest.mark.parametrize("section", [{"recentre_bps": "20"}, {"centre_quote": "50000"}])
def test_whatever_the_venue_does_the_bound_holds(seed, section):
    luck = np.random.default_rng(seed)
    made, middle = world(section), 5_000_000
    for _ in range(80):
        middle = move(made, luck, SPOT, middle, 4_000)
        play(made, luck)
        low, high = reach(made, SPOT)
        assert -3 * UNIT <= low <= high <= 3 * UNIT
        live = made.live()
        bids = [int(r["price"]) for r in live if r["side"] == w.BUY]
        asks = [int(r["price"]) for r in live if r["side"] == w.SELL]
        assert not bids or not asks or max(bids) < min(asks)
    assert made.of("fills") > 0
    assert made.denied == []


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"inventory_max_base": "0.25"}, "is not 1 to 1000 times"),
        ({"inventory_max_base": "0.05"}, "is not 1 to 1000 times"),
        ({"centre_quote": "50000", "recentre_bps": "5"}, "is given beside centre_quote"),
        ({"centre_quote": "50000.001"}, "more decimals"),
        ({"levels": 17}, "outside"),
        ({"instruments": [SPOT_KEY, PERP_KEY]}, "must list 1 to 1"),
        ({"step_bp": "1"}, "did you mean step_bps"),
    ],
)
def test_config_mistake_is_named(changed, match):
    with pytest.raises(ConfigError, match=match):
        grid.config_to_params({**SECTION, **changed}, instruments())
