"""The leg guard in the engine: what it counts, what it survives, what a person does about it."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.records import INTENT as INTENT_ROW
from alephtx.core.risk_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.assemble import assemble
from alephtx.engine.leg_lanes import BROKEN_NET, lane_moved
from alephtx.engine.recovery import fold
from alephtx.matrix.journal import INTENT, read
from alephtx.testing.legs.story import Story
from alephtx.testing.legs.world import DEADLINE_MS, LOTS, MS, PERP, SPOT, LegsWorld

pytestmark = pytest.mark.kernel


@pytest.fixture
def world(tmp_path):
    made = LegsWorld(tmp_path)
    made.fresh()
    state = made.engine.strategies[0].state[0]
    state["lots"], state["tif"] = LOTS, words.IOC
    yield made
    made.close()


def opened(world):
    """Let the strategy open its trade; returns the two orders that left."""
    world.top(SPOT)
    world.top(PERP)
    spot, perp = world.tick()
    return spot, perp


def hear(world, intent, kind, **fields):
    world.update(int(intent["instrument"]), kind=kind, order_id=int(intent["order_id"]), **fields)


def filled(world, intent, lots, trade):
    hear(world, intent, words.FILL, side=int(intent["side"]), qty=lots, price=int(intent["price"]),
         trade_id=trade)  # fmt: skip


def wait(world, milliseconds):
    """Let time pass with fresh books; returns what left."""
    left = []
    for _ in range(milliseconds // 5):
        world.top(SPOT)
        world.top(PERP)
        left += world.tick()
    return left


def half_open(world):
    """Leave the spot leg filled, the other one refused."""
    spot, perp = opened(world)
    filled(world, spot, LOTS * 100, 1)
    hear(world, perp, words.REJECT)
    world.tick()
    assert int(world.lane[c.L_NET]) == LOTS * 100_000
    return spot


def test_lane_rests_without_orders_and_opens_with_the_first(world):
    assert world.lane[c.L_STAGE] == c.LANE_REST
    assert world.ctx.control[c.X_LANES_OPEN] == 0
    opened(world)
    assert world.lane[c.L_STAGE] == c.LANE_OPEN
    assert world.ctx.control[c.X_LANES_OPEN] == 1


def test_guard_closes_after_half_the_deadline_with_one_order_through_the_gate(world):
    half_open(world)
    assert wait(world, DEADLINE_MS // 2 - 20) == [], "the first half is the strategy's"
    (order,) = wait(world, 40)
    assert (order["side"], order["qty"], order["tif"]) == (words.SELL, LOTS * 100, words.IOC)
    assert order["flags"] & words.HEDGE
    assert order["group_id"] == words.LEG_GROUP
    assert wait(world, 50) == [], "one at a time"
    filled(world, order, LOTS * 100, 2)
    world.tick()
    assert world.lane[c.L_STAGE] == c.LANE_REST
    assert (world.ctx.counters[c.C_LEG_CLOSINGS], world.ctx.counters[c.C_LEG_ORDERS]) == (1, 1)
    journaled = [np.frombuffer(r.payload, INTENT_ROW)[0] for r in read(world.folder / "journal")
                 if r.kind == INTENT]  # fmt: skip
    assert int(order["order_id"]) in [int(row["order_id"]) for row in journaled]


def test_each_try_crosses_further(world):
    half_open(world)
    prices = []
    for _ in range(3):
        (order,) = wait_for(world, 400)
        prices.append(int(order["price"]))
        hear(world, order, words.EXPIRE, cum_qty=0)
    assert prices[0] > prices[1] > prices[2]


def wait_for(world, milliseconds):
    """Let time pass until something leaves."""
    for _ in range(milliseconds // 5):
        if left := wait(world, 5):
            return left
    return []


def test_strategy_that_is_disabled_is_covered_at_once(world):
    half_open(world)
    world.command(c.COMMAND_DISABLE, 0)
    (order,) = wait(world, 10)
    assert order["side"] == words.SELL


def test_open_leg_at_its_deadline_halts_and_tells_and_enabling_tries_again(world):
    half_open(world)
    for _ in range(DEADLINE_MS // 5 + 2):
        world.top(SPOT, flags=words.STALE)
        world.top(PERP, flags=words.STALE)
        assert world.tick() == [], "no price is to be trusted"
    assert world.lane[c.L_STAGE] == c.LANE_BROKEN
    assert world.ctx.strategies[0, c.S_ENABLED] == 0
    assert world.alarms() == [
        "strategy pair halted by the leg guard: 0.003 BTC open, no venue took what would close it"
    ]
    world.command(c.COMMAND_ENABLE, 0)
    (order,) = wait_for(world, DEADLINE_MS)
    filled(world, order, LOTS * 100, 2)
    world.tick()
    assert world.lane[c.L_STAGE] == c.LANE_REST
    assert world.alarms() == []


def test_order_in_doubt_is_never_hedged(world):
    spot, perp = opened(world)
    filled(world, spot, LOTS * 100, 1)
    hear(world, perp, words.AMBIGUOUS)
    left = wait(world, DEADLINE_MS + 20)
    assert [int(intent["op"]) for intent in left if intent["op"] == words.PLACE] == []
    assert "unproven" in world.alarms()[0]


def test_remainder_below_every_minimum_is_dust(world):
    spot, perp = opened(world)
    filled(world, spot, LOTS * 100 + 5, 1)
    filled(world, perp, LOTS, 1)
    world.tick()
    assert int(world.lane[c.L_NET]) == 5_000
    assert world.lane[c.L_STAGE] == c.LANE_REST, "0.00005 BTC is 3 dollars, the least is 5"


def test_halted_engine_sends_nothing_and_the_lane_breaks_at_its_deadline(world):
    """A halt is a person's word; the leg is told all the same."""
    half_open(world)
    world.command(c.COMMAND_HALT)
    assert wait(world, DEADLINE_MS + 20) == []
    assert world.lane[c.L_STAGE] == c.LANE_BROKEN


def test_lane_beyond_arithmetic_breaks_and_is_told(world):
    half_open(world)
    world.lane[c.L_NET] = BROKEN_NET
    wait(world, DEADLINE_MS + 20)
    assert world.lane[c.L_STAGE] == c.LANE_BROKEN
    assert "beyond arithmetic" in world.alarms()[0]


def test_sum_beyond_arithmetic_is_a_broken_net():
    control, lane = np.zeros(c.CONTROL_WORDS, np.int64), np.zeros(c.LANE_WORDS, np.int64)
    lane_moved(lane, control, (1 << 58) - 1, 5)
    assert (lane[c.L_NET], control[c.X_LANES_OPEN]) == ((1 << 58) - 1, 1)
    lane_moved(lane, control, 1, 5)
    assert lane[c.L_NET] == BROKEN_NET
    lane_moved(lane, control, -5, 5)
    assert lane[c.L_NET] == BROKEN_NET, "nobody knows what it would be"


def test_restart_between_two_legs_finds_the_open_one_and_closes_it(world):
    """The journal gives back what was open; the deadline begins anew."""
    half_open(world)
    before = world.lane.copy()
    world.journal.sync()
    again = assemble(world.config, world.table, world.matrix, world.journal.map, world.inputs.map)
    fold(world.folder / "journal", again.ctx, world.table)
    lane = again.ctx.lanes[0, int(again.ctx.instruments[PERP]["underlying"])]
    assert (lane[c.L_NET], lane[c.L_STAGE]) == (before[c.L_NET], before[c.L_STAGE])
    assert again.ctx.control[c.X_LANES_OPEN] == 1


def test_even_lanes_rest_after_a_restart(world):
    Story(world, []).play()
    world.journal.sync()
    again = assemble(world.config, world.table, world.matrix, world.journal.map, world.inputs.map)
    fold(world.folder / "journal", again.ctx, world.table)
    assert again.ctx.control[c.X_LANES_OPEN] == 0
    assert (again.ctx.lanes[:, :, c.L_STAGE] == c.LANE_REST).all()


def test_deadline_is_the_configs(world):
    assert world.ctx.strategies[0, c.S_LEG_NS] == DEADLINE_MS * MS
    assert Risk().leg_deadline_ms == 4_000
