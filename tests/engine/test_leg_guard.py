"""The leg guard in the engine: what it counts, what it survives, what a person does about it."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.exposure import quote_value
from alephtx.core.records import INTENT as INTENT_ROW
from alephtx.core.risk_schema import Risk
from alephtx.core.units import NEAREST
from alephtx.engine import context as c
from alephtx.engine.assemble import assemble
from alephtx.engine.context import view_of
from alephtx.engine.leg_guard import closes
from alephtx.engine.leg_lanes import (
    BROKEN_NET,
    closing_lots,
    fill_moves,
    is_dust,
    judge_groups,
    lane_moved,
)
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


# -- kernels alone -------------------------------------------------------------------------


def test_session_waits_for_legs_that_are_being_closed_unless_it_is_halted(world):
    assert not closes(world.ctx)
    half_open(world)
    assert closes(world.ctx)
    world.ctx.control[c.X_HALTED] = 1
    assert not closes(world.ctx)


def judged(world, **fields):
    """Return an intent after the guard judged it."""
    row = np.zeros(1, INTENT_ROW)
    row["op"] = words.PLACE
    for name, value in fields.items():
        row[name] = value
    judge_groups(row, 1, world.ctx.lanes[0], world.ctx.control, world.ctx.instruments)
    return row[0]


def test_hedge_without_a_group_is_counted_with_the_guards(world):
    assert judged(world, flags=words.HEDGE)["group_id"] == words.LEG_GROUP
    assert judged(world, flags=words.HEDGE, group_id=3)["group_id"] == 3
    assert judged(world)["group_id"] == 0


@pytest.mark.parametrize(
    ("stage", "guarding", "fields", "verdict"),
    [
        (c.LANE_OPEN, 0, {}, words.PASS),
        (c.LANE_CLOSING, 0, {}, words.DENY_LEGS),
        (c.LANE_BROKEN, 0, {}, words.DENY_LEGS),
        (c.LANE_CLOSING, 1, {}, words.PASS),
        (c.LANE_CLOSING, 0, {"op": words.CANCEL}, words.PASS),
        (c.LANE_CLOSING, 0, {"op": words.AMEND}, words.DENY_LEGS),
        (c.LANE_CLOSING, 0, {"instrument": 99}, words.PASS),
        (c.LANE_CLOSING, 0, {"verdict": words.DENY_SIZE}, words.DENY_SIZE),
    ],
)  # fmt: skip
def test_strategy_sends_nothing_into_a_lane_that_is_being_closed(
    world, stage, guarding, fields, verdict
):
    world.lane[c.L_STAGE] = stage
    world.ctx.control[c.X_LANES_OPEN], world.ctx.control[c.X_GUARDING] = 1, guarding
    assert judged(world, **fields)["verdict"] == verdict


def moved(world, instrument, *, side=1, price=2_000, qty=50, risk=1, base=50_000):
    """Return how a fill moves the lanes of its coin and of the coin it is paid in."""
    lanes = np.zeros((4, c.LANE_WORDS), np.int64)
    lanes[2, c.L_RISK] = risk
    control = np.zeros(c.CONTROL_WORDS, np.int64)
    fill_moves(lanes, control, instrument, side, price, qty, base, 5)
    return int(lanes[1, c.L_NET]), int(lanes[2, c.L_NET])


def test_triangle_counts_the_coin_that_was_paid_with_too(world):
    """ETH bought with BTC leaves the BTC lane that much shorter."""
    row = world.ctx.instruments[SPOT : SPOT + 1].copy()
    row["underlying"], row["quote"] = 1, 2
    paid = int(quote_value(row, 0, 2_000, 50, NEAREST))
    assert paid > 0
    assert moved(world, row) == (50_000, -paid)
    assert moved(world, row, side=-1, base=-50_000) == (-50_000, paid)
    assert moved(world, row, risk=0) == (50_000, 0), "it trades nothing in that coin"
    assert moved(world, row, price=1 << 61, qty=1 << 61)[1] == BROKEN_NET
    row["contract"] = words.LINEAR
    assert moved(world, row) == (50_000, 0), "a contract moves no second coin"
    row["contract"], row["quote"] = words.SPOT, 1
    assert moved(world, row) == (50_000, 0)


def test_order_that_closes_is_bounded_by_the_venue_and_does_not_cross_flat(world):
    world.top(SPOT)
    world.top(PERP)
    world.tick()
    world.ctx.positions[0]["qty"] = 0
    view = view_of(world.ctx, 0)
    assert closing_lots(view, SPOT, words.SELL, 300_000) == 300
    world.ctx.instruments["qty_max"][SPOT] = 120
    assert closing_lots(view, SPOT, words.SELL, 300_000) == 120
    world.ctx.positions[0]["qty"][SPOT] = 40
    assert closing_lots(view, SPOT, words.SELL, 300_000) == 40, "what it holds there, first"
    world.ctx.positions[0]["qty"][SPOT] = 2
    assert closing_lots(view, SPOT, words.SELL, 300_000) == 120, "two lots are too few to sell"
    world.ctx.instruments["qty_max"][SPOT] = 10**9


def test_dust_is_what_no_leg_takes(world):
    world.top(SPOT)
    world.top(PERP)
    world.tick()
    view, legs, coin = view_of(world.ctx, 0), world.ctx.legs[0].copy(), 0
    coin = int(world.ctx.instruments[PERP]["underlying"])
    assert is_dust(view, legs, coin, 0)
    assert not is_dust(view, legs, coin, BROKEN_NET)
    assert not is_dust(view, legs, coin, 100_000)
    assert not is_dust(view, legs, coin, -100_000)
    assert is_dust(view, legs, coin, 8_000), "less than five dollars"
    legs[:] = 0
    assert is_dust(view, legs, coin, 100_000), "nobody may close it there"
    legs[PERP] = 1
    assert is_dust(view, legs, coin, 99_000)
    world.ctx.top[PERP]["aux"] = words.STALE
    assert not is_dust(view, legs, coin, 100_000), "a price may come that lets it"
    assert is_dust(view, legs, coin, 99_000)
    contract = int(world.ctx.instruments[PERP]["contract"])
    world.ctx.instruments["contract"][PERP] = words.INVERSE
    assert not is_dust(view, legs, coin, 99_000), "without a price nobody knows its lots"
    world.ctx.instruments["contract"][PERP] = contract


def test_order_beyond_the_band_starts_over_near_the_touch(world):
    half_open(world)
    world.lane[c.L_CROSS] = 9
    world.ctx.gate.band_bps[...] = 20
    wait(world, DEADLINE_MS // 2)
    assert wait_for(world, DEADLINE_MS // 2), "the next one is within the band"
    assert world.lane[c.L_CROSS] <= 2


def test_account_that_is_being_asked_for_is_not_traded_on(world):
    half_open(world)
    world.update(SPOT, kind=words.RESYNC_BEGIN)
    (order,) = wait_for(world, DEADLINE_MS)
    assert int(order["instrument"]) == PERP
    world.ctx.account_of[0, PERP] = -1
    hear(world, order, words.EXPIRE, cum_qty=0)
    assert wait(world, 100) == [], "nowhere is left"


def test_many_resting_orders_are_cancelled_in_turns(world):
    """An emission holds so many intents; the others wait for the next look."""
    state = world.engine.strategies[0].state[0]
    state["tif"] = words.GTC
    opened(world)
    view = view_of(world.ctx, 0)
    count = int(view.open_count[0])
    assert count == 2
    world.command(c.COMMAND_DISABLE, 0)
    left = wait(world, 30)
    assert [int(intent["op"]) for intent in left] == [words.CANCEL, words.CANCEL]


def test_lane_rests_once_what_is_open_is_too_little_for_anybody(world):
    """The venue raised its minimum meanwhile."""
    half_open(world)
    world.ctx.instruments["notional_min"] = 1 << 60
    assert wait(world, 20) == []
    assert world.lane[c.L_STAGE] == c.LANE_REST


def test_lane_of_the_journal_gets_its_time_from_the_first_look(world):
    half_open(world)
    world.lane[c.L_SINCE] = 0
    world.tick()
    assert world.lane[c.L_SINCE] == world.now


def test_orders_without_a_group_are_none_of_its_business(world):
    world.engine.strategies[0].state[0]["tif"] = words.GTC
    opened(world)
    view_of(world.ctx, 0).orders["group_id"][0] = 0
    world.command(c.COMMAND_DISABLE, 0)
    (cancel,) = wait(world, 30)
    assert int(cancel["instrument"]) == PERP


def test_leg_of_an_instrument_that_is_not_the_strategys_is_not_touched(world):
    half_open(world)
    world.ctx.legs[0, SPOT] = 0
    world.command(c.COMMAND_DISABLE, 0)
    (order,) = wait_for(world, 100)
    assert int(order["instrument"]) == PERP
