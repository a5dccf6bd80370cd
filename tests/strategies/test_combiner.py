"""Combiner on spot BTC around 50,000.00, ticks of 0.01, taker fee 4 bps; deviations over 1 s."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.core.records import EVENT
from alephtx.strategies import combiner
from tests.strategies.chance import move, play, reach, seeds
from tests.strategies.world import COIN, MS, PERP_KEY, SPOT, SPOT_KEY, World, instruments

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [SPOT_KEY], "imbalance_weight": 1, "tau_ms": 1_000, "flow_tau_ms": 1_000,
    "momentum_ms": 500, "qty_base": "0.1", "inventory_max_base": "0.3", "edge_bps": "10",
    "cooldown_ms": 0,
}  # fmt: skip
MIDDLE, UNIT, WHOLE = 5_000_000, 10_000, 10**6


def world(section=None, **more):
    made = World(combiner, {**SECTION, **(section or {})}, **more)
    made.wait(1000 * MS, tell=False)
    made.fresh()
    return made


def scored(score, section=None, held=0):
    """A world whose signals came to a score, and that looks once."""
    made = world(section)
    made.view.positions[SPOT]["qty"] = held
    made.state["ready"], made.state["score_e6"] = 1, round(score * WHOLE)
    made.run("on_timer", int(made.view.now[0]))
    return made


def sent(made):
    return [(s[2], s[4], s[5]) for s in made.sent]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("score", "held", "expected"),
    [
        (2, 0, [(w.BUY, 2 * UNIT, 0)]),
        (-1.5, 0, [(w.SELL, 15_000, 0)]),
        (9, 0, [(w.BUY, 3 * UNIT, 0)]),  # the bound
        (2, 2 * UNIT, []),
        (1, 2 * UNIT, [(w.SELL, UNIT, w.REDUCE_ONLY)]),
        (-2, UNIT, [(w.SELL, UNIT, w.REDUCE_ONLY)]),  # flat first, then short
    ],
)
def test_a_score_is_a_position(score, held, expected):
    assert sent(scored(score, held=held)) == expected


@pytest.mark.parametrize(
    ("score", "held", "expected"),
    [
        (0.4, 0, []),
        (2, 0, [(w.BUY, 15_000, 0)]),  # to the near edge
        (2, 2 * UNIT + 4_000, []),
        (0, 2 * UNIT, [(w.SELL, 15_000, w.REDUCE_ONLY)]),
    ],
)
def test_within_the_dead_band_nothing_moves(score, held, expected):
    assert sent(scored(score, {"dead_band_base": "0.05"}, held)) == expected


@pytest.mark.parametrize(
    ("score", "held", "expected"),
    [
        (2, 0, []),  # 2 x 2 bps do not pay 4.00001
        (2.01, 0, [(w.BUY, 20_100, 0)]),
        (2, UNIT, []),
        (1, 2 * UNIT, [(w.SELL, UNIT, w.REDUCE_ONLY)]),  # reducing is always allowed
        (-1, 2 * UNIT, [(w.SELL, 2 * UNIT, w.REDUCE_ONLY)]),  # but only to flat
    ],
)
def test_a_gain_that_does_not_pay_opens_nothing(score, held, expected):
    made = scored(score, {"edge_bps": "2"}, held)
    assert sent(made) == expected
    for order in made.live():
        made.fill(order)
    if score < 0:
        assert (made.qty(SPOT), made.live()) == (0, [])


def test_margin_is_a_cost():
    assert sent(scored(2.01, {"edge_bps": "2", "margin_bps": "0.1"})) == []


def quote(made, bid_qty, ask_qty, middle=MIDDLE):
    made.wait(50 * MS, tell=False)
    return made.quote(SPOT, middle - 1, middle + 1, bid_qty, ask_qty)


def test_scores_are_weighed_deviations():
    """Imbalance 1/3 and -1/3 in turn, mean 0 and deviation 1/3, then 0.8: z = 2.4."""
    made = world({"imbalance_weight": "0.5", "z_max": 100, "edge_bps": 0})
    for step in range(400):
        quote(made, *((200, 100) if step % 2 else (100, 200)))
    assert abs(made.of("score_e6")) == pytest.approx(500_000, rel=0.1)
    quote(made, 900, 100)
    assert made.of("score_e6") == pytest.approx(0.5 * 2.4 * WHOLE, rel=0.1)
    assert made.live() == []  # edge 0 pays nothing


def test_a_score_is_cut_at_z_max():
    made = world({"z_max": 2})
    for _ in range(60):
        quote(made, 100, 100)
    quote(made, 900, 100)
    assert made.of("score_e6") == 2 * WHOLE


def test_signals_of_other_kinds():
    made = world({"imbalance_weight": 0, "momentum_weight": 1, "z_max": 3})
    for _ in range(60):
        quote(made, 100, 100)
    quote(made, 100, 100, MIDDLE + 5_000)
    assert made.of("score_e6") == 3 * WHOLE
    made = world({"imbalance_weight": 0, "flow_weight": 1})
    event = np.zeros(1, EVENT)
    event["instrument"], event["kind"], event["side"], event["qty"] = SPOT, w.TRADE, -1, 100
    for step in range(80):
        quote(made, 100, 100)
        event["side"] = 1 if step % 2 else -1
        made.run("on_event", event)
    event["side"], event["qty"] = 1, 10_000
    made.run("on_event", event)
    assert made.of("score_e6") > WHOLE


def test_not_ready_is_no_order():
    made = world()
    quote(made, 900, 100)
    assert (made.of("ready"), made.live()) == (0, [])
    for _ in range(60):
        quote(made, 100, 100)
    assert made.of("ready") == 1
    made.quote(SPOT, 0, 5)
    assert made.of("ready") == 0
    assert made.quote(COIN, 500_000, 500_001) == 0


def test_position_beyond_arithmetic_orders_nothing():
    assert sent(scored(2, held=1 << 61)) == []


@pytest.mark.parametrize("seed", seeds(15))
def test_whatever_the_venue_does_the_bound_holds(seed):
    luck = np.random.default_rng(seed)
    made, middle = world({"tau_ms": 100, "momentum_weight": -1, "edge_bps": "100"}), MIDDLE
    for _ in range(120):
        middle = move(made, luck, SPOT, middle, 600)
        play(made, luck)
        assert len(made.live()) <= 1
        low, high = reach(made, SPOT)
        assert -3 * UNIT <= low <= high <= 3 * UNIT
    assert made.of("fills") > 0


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"imbalance_weight": 0}, "leaves no signal"),
        ({"imbalance_weight": 101}, "outside"),
        ({"z_max": "0"}, "outside"),
        ({"instruments": [SPOT_KEY, PERP_KEY]}, "must list 1 to 1"),
        ({"dead_band": "1"}, "did you mean dead_band_base"),
    ],
)
def test_config_mistake_is_named(changed, match):
    with pytest.raises(ConfigError, match=match):
        combiner.config_to_params({**SECTION, **changed}, instruments())
