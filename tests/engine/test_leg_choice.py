"""With what the leg guard closes: which instrument, how much, at what price; and when it acts."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.engine import context as c
from alephtx.engine.context import view_of
from alephtx.engine.leg_guard import _cancel
from alephtx.engine.leg_lanes import BROKEN_NET
from alephtx.engine.step import step
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.risk.state import LAST, LAST_AT
from alephtx.testing.legs.world import BID, DEADLINE_MS, LOTS, MS, PERP, SPOT, TICK_NS, LegsWorld

pytestmark = pytest.mark.kernel

HALF_NS = DEADLINE_MS * MS // 2
NET = 300_000  # 300 lots of spot, 3 of the contract


@pytest.fixture
def world(tmp_path):
    made = LegsWorld(tmp_path)
    fresh(made)
    yield made
    made.close()


def fresh(world):
    """Begin anew with a strategy that does nothing."""
    world.fresh()
    world.engine.strategies[0].state[0]["opened"] = 1


def open_lane(world, net=NET, stage=c.LANE_CLOSING, **words_of_lane):
    """Put the lane where a test wants it: by default being closed, with all the time there is."""
    lane = world.lane
    lane[c.L_NET], lane[c.L_STAGE] = net, stage
    lane[c.L_SINCE], lane[c.L_UNTIL] = world.now, world.now + (1 << 50)
    for name, value in words_of_lane.items():
        lane[getattr(c, name)] = value
    world.ctx.control[c.X_LANES_OPEN] = 1


def look(world, spot=0, perp=0):
    """Show both books and let the guard look once; returns what left."""
    world.top(SPOT, flags=spot)
    world.top(PERP, flags=perp)
    left = world.tick()
    assert not world.restless, "the guard is never done"
    return left


def sent(world, net=NET, spot=0, perp=0, **words_of_lane):
    """Return the one order that closes a net, given the lots held of each leg."""
    open_lane(world, net, **words_of_lane)
    world.ctx.positions[0]["qty"][[SPOT, PERP]] = spot, perp
    (order,) = look(world)
    return order


def at(world):
    """When the guard looks next."""
    return world.now + TICK_NS


# -- which instrument ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "spot", "perp", "first", "second"),
    [
        (NET, 0, 0, SPOT, PERP),
        (NET, 300, 0, SPOT, PERP),
        (NET, 0, 1, PERP, SPOT),
        (NET, -300, 6, PERP, SPOT),
        (NET, 600, -3, SPOT, PERP),
        (NET, 100, 2, SPOT, PERP),
        (NET, -100, -2, SPOT, PERP),
        (-NET, 0, 0, SPOT, PERP),
        (-NET, -300, 0, SPOT, PERP),
        (-NET, 0, -1, PERP, SPOT),
        (-NET, 300, -6, PERP, SPOT),
        (-NET, -600, 3, SPOT, PERP),
    ],
)
def test_what_holds_too_much_goes_first_and_the_other_after_two_tries(
    world, net, spot, perp, first, second
):
    order_of_tries = []
    for tries in range(6):
        fresh(world)
        order = sent(world, net, spot, perp, L_TRIES=tries)
        assert order["side"] == (words.SELL if net > 0 else words.BUY)
        order_of_tries.append(int(order["instrument"]))
    assert order_of_tries == [first, first, second, second, first, first]


def unsuitable(world, i, why):
    ctx = world.ctx
    if why == "none of its legs":
        ctx.legs[0, i] = 0
    elif why == "a leg of a coin before it":
        ctx.instruments["underlying"][i] -= 1
    elif why == "a leg of a coin after it":
        ctx.instruments["underlying"][i] += 1
    elif why == "no account there":
        ctx.account_of[0, i] = -1
    elif why == "its account is asked for":
        ctx.gate.resync[i] = 1
    elif why == "its price is too old":
        ctx.gate.stale_ns[i] = TICK_NS - 1
    elif why == "its order would be too small":
        ctx.instruments["qty_min"][i] = 1_000_000


@pytest.mark.parametrize("i", [SPOT, PERP])
@pytest.mark.parametrize(
    "why",
    [
        "none of its legs",
        "a leg of a coin before it",
        "a leg of a coin after it",
        "no account there",
        "its account is asked for",
        "its price is too old",
        "its order would be too small",
    ],
)
def test_instrument_that_cannot_be_used_takes_no_part_and_has_no_turn(world, i, why):
    for tries in (0, 2):
        fresh(world)
        open_lane(world, L_TRIES=tries)
        unsuitable(world, i, why)
        (order,) = look(world)
        assert int(order["instrument"]) == (PERP if i == SPOT else SPOT)


def test_price_as_old_as_it_may_be_is_used(world):
    world.ctx.gate.stale_ns[SPOT] = TICK_NS
    assert sent(world)["instrument"] == SPOT


def test_nothing_is_sent_where_no_instrument_can_be_used(world):
    open_lane(world)
    assert look(world, words.STALE, words.RESYNCING) == []
    assert (world.lane[c.L_TRIES], world.lane[c.L_CROSS]) == (0, 0)
    assert world.ctx.counters[c.C_INTENTS] == 0


# -- how much, at what price -----------------------------------------------------------------


def test_order_is_an_immediate_limit_order_of_the_guards_and_nothing_else(world):
    """The row it is written to holds what a strategy wrote, as long as none is entered again."""
    look(world)
    open_lane(world)
    world.ctx.intents.view("u1")[:] = 7
    (order,) = world.tick()
    told = {name: int(order[name]) for name in order.dtype.names if order[name] != 0}
    del told["order_id"], told["input_seq"]
    assert told == {
        "op": words.PLACE, "type": words.LIMIT, "tif": words.IOC, "side": words.SELL,
        "price": 5_994_000, "qty": 300, "flags": words.HEDGE, "group_id": words.LEG_GROUP,
        "ts_intent": world.now,
    }  # fmt: skip
    assert world.ctx.control[c.X_GUARDING] == 0
    assert world.ctx.counters[c.C_LEG_ORDERS] == 1


@pytest.mark.parametrize(
    ("net", "crossed", "price"),
    [  # the touch is 60,000.00 to 60,001.00
        (NET, 0, 5_994_000),
        (NET, 1, 5_988_000),
        (NET, 8, 5_946_000),
        (NET, 9, 5_940_000),
        (NET, 10, 5_940_000),
        (NET, 30, 5_940_000),
        (-NET, 0, 6_006_100),
        (-NET, 4, 6_030_101),  # 30,000.5 ticks further
    ],
)
def test_each_try_crosses_ten_basis_points_further_up_to_a_hundred(world, net, crossed, price):
    world.ctx.gate.band_bps[:] = 200
    order = sent(world, net, L_CROSS=crossed, L_TRIES=1)
    assert int(order["price"]) == price
    assert (world.lane[c.L_CROSS], world.lane[c.L_TRIES]) == (crossed + 1, 2)


def test_price_of_few_ticks_is_crossed_by_one(world):
    """Ten basis points of 100 ticks are less than one."""
    world.ctx.gate.band_bps[:] = 1_000
    world.ctx.gate.stale_ns[PERP] = -1
    world.ctx.instruments["notional_min"][:] = 0
    open_lane(world)
    world.top(PERP)
    ring_top(world, 100, 101)
    (order,) = world.tick()
    assert int(order["price"]) == 99


def ring_top(world, bid, ask):
    """Publish another touch of the spot market."""
    aux = slot_aux(SPOT, words.TOP, 0, 0)
    ring_publish(world.matrix.map, SPOT, world.now, world.now, bid, 10**6, ask, 10**6, aux)


@pytest.mark.parametrize("rule", ["band", "collar"])
def test_denial_for_the_price_starts_over_at_the_touch(world, rule):
    if rule == "band":
        world.ctx.gate.band_bps[:] = 20
    else:
        world.ctx.gate.collar_bps[:] = 20
        world.ctx.gate.market[:, LAST] = BID
        world.ctx.gate.market[:, LAST_AT] = world.ctx.now[3]
    open_lane(world, L_CROSS=4)
    assert look(world) == []
    assert (world.lane[c.L_CROSS], world.lane[c.L_TRIES]) == (0, 1)
    assert world.ctx.counters[c.C_LEG_ORDERS] == 0
    world.lane[c.L_NEXT] = 0
    (order,) = look(world)
    assert int(order["price"]) == 5_994_000


def test_denial_for_another_reason_crosses_further_all_the_same(world):
    world.ctx.gate.open_orders_max[:] = 0
    open_lane(world, L_CROSS=4)
    assert look(world) == []
    assert world.lane[c.L_CROSS] == 5
    assert world.ctx.counters[c.C_DENIED_BY + words.DENY_OPEN_ORDERS] == 1


# -- when ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("early_ns", "stage"), [(0, c.LANE_CLOSING), (1, c.LANE_OPEN)])
def test_guard_takes_over_at_half_the_deadline_to_the_nanosecond(world, early_ns, stage):
    since = at(world) - HALF_NS + early_ns
    open_lane(world, stage=c.LANE_OPEN, L_SINCE=since, L_TRIES=7, L_CROSS=7, L_NEXT=1 << 62)
    world.ctx.gate.stale_ns[:] = -1
    assert look(world) == []
    assert world.lane[c.L_STAGE] == stage
    if stage == c.LANE_CLOSING:
        assert world.lane[c.L_UNTIL] == world.now + HALF_NS
        assert (world.lane[c.L_TRIES], world.lane[c.L_CROSS]) == (0, 0), "an earlier trade's"
        assert world.ctx.counters[c.C_LEG_CLOSINGS] == 1


def test_guard_takes_over_at_once_where_nobody_is_in_charge(world):
    world.ctx.strategies[0, c.S_ENABLED] = 0
    assert sent(world, stage=c.LANE_OPEN, L_SINCE=at(world), L_NEXT=1 << 62)["qty"] == 300


@pytest.mark.parametrize(
    ("left_ns", "stage"),
    [(0, c.LANE_BROKEN), (1, c.LANE_CLOSING), (-1, c.LANE_BROKEN), (-HALF_NS, c.LANE_BROKEN)],
)
def test_lane_breaks_at_its_deadline_to_the_nanosecond_and_once(world, left_ns, stage):
    open_lane(world, L_UNTIL=at(world) + left_ns, L_NEXT=1 << 62)
    for _ in range(2 if left_ns <= 0 else 1):
        assert look(world) == []
    broken = int(stage == c.LANE_BROKEN)
    assert world.lane[c.L_STAGE] == stage
    assert world.ctx.strategies[0, c.S_ENABLED] == 1 - broken
    assert world.ctx.counters[c.C_LEG_HALTS] == broken
    assert len(world.alarms()) == broken


def test_lane_beyond_arithmetic_breaks_without_waiting(world):
    open_lane(world, BROKEN_NET)
    assert look(world) == []
    assert world.lane[c.L_STAGE] == c.LANE_BROKEN
    assert world.alarms()[0].endswith("its size is beyond arithmetic")


@pytest.mark.parametrize(("early_ns", "count"), [(0, 1), (1, 0)])
def test_guard_waits_between_tries(world, early_ns, count):
    open_lane(world, L_NEXT=at(world) + early_ns)
    assert len(look(world)) == count
    if count:
        assert world.lane[c.L_NEXT] == world.now + 25 * MS, "a sixteenth of its half"


def test_halted_engine_is_left_to_whoever_halted_it(world):
    resting(world)
    world.command(c.COMMAND_HALT)
    assert look(world) == []
    assert world.lane[c.L_NEXT] == 0


def test_no_lane_of_a_strategy_that_was_halted_is_closed(world):
    other = int(world.ctx.instruments[SPOT]["quote"])
    world.ctx.lanes[0, other, c.L_STAGE] = c.LANE_BROKEN
    open_lane(world)
    assert look(world) == []
    world.ctx.lanes[0, other, c.L_STAGE] = c.LANE_REST
    world.lane[c.L_NEXT] = 0
    assert len(look(world)) == 1


@pytest.mark.parametrize(
    ("fields", "book", "moves"),
    [
        ({"stage": c.LANE_OPEN}, 0, False),
        ({"stage": c.LANE_OPEN, "L_SINCE": 1}, 0, True),
        ({"stage": c.LANE_OPEN, "L_SINCE": 1}, words.STALE, True),
        ({}, 0, True),
        ({}, words.STALE, False),
        ({"L_NEXT": 1 << 62}, 0, False),
        ({"L_NEXT": 1 << 62, "L_UNTIL": 1}, 0, True),
        ({"L_UNTIL": 1}, 0, True),
        ({"stage": c.LANE_BROKEN}, 0, False),
    ],
)
def test_step_is_busy_exactly_while_a_lane_moves_on(world, fields, book, moves):
    look(world, book, book)
    assert step(world.packed, 256) == c.R_IDLE
    open_lane(world, **fields)
    assert bool(step(world.packed, 256) & c.R_BUSY) == moves
    assert not step(world.packed, 256) & c.R_BUSY


@pytest.mark.parametrize("stage", [c.LANE_OPEN, c.LANE_CLOSING])
@pytest.mark.parametrize("count", [1, 2])
def test_step_is_busy_while_cancels_leave(world, stage, count):
    resting(world)[count:]["status"] = words.UNKNOWN
    world.lane[c.L_STAGE], world.lane[c.L_SINCE] = stage, 1
    assert step(world.packed, 256) & c.R_BUSY
    assert not step(world.packed, 256) & c.R_BUSY


# -- cancels ---------------------------------------------------------------------------------


def resting(world, count=2, **fields):
    """Let the strategy's two orders rest in a lane that is being closed; returns their rows."""
    state = world.engine.strategies[0].state[0]
    state["opened"], state["lots"], state["tif"] = 0, LOTS, words.GTC
    assert len(look(world)) == count
    rows = view_of(world.ctx, 0).orders[:count]
    open_lane(world)
    for name, value in fields.items():
        rows[name] = value
    return rows


def test_cancel_names_its_order_and_nothing_else(world):
    rows = resting(world)
    world.ctx.intents.view("u1")[:] = 7
    told = []
    for cancel in world.tick():
        told.append({name: int(cancel[name]) for name in cancel.dtype.names if cancel[name] != 0})
        del told[-1]["input_seq"], told[-1]["ts_intent"]
    common = {"op": words.CANCEL}
    assert told == [
        common | {"target_order_id": int(rows[0]["order_id"])},
        common | {"target_order_id": int(rows[1]["order_id"]), "instrument": PERP, "account": 1},
    ]
    assert world.lane[c.L_NEXT] == world.now + 25 * MS


@pytest.mark.parametrize(
    ("fields", "age", "cancelled"),
    [  # patience is an eighth of the deadline
        ({"status": words.PENDING_CANCEL}, ("ts_last", 99), False),
        ({"status": words.PENDING_CANCEL}, ("ts_last", 100), True),
        ({"tif": words.IOC}, ("ts_intent", 99), False),
        ({"tif": words.IOC}, ("ts_intent", 100), True),
        ({"tif": words.GTC}, ("ts_intent", 0), True),
        ({"tif": words.GTD}, ("ts_intent", 0), True),
        ({"status": words.NEW}, ("ts_last", 0), True),
        ({"status": words.UNKNOWN}, ("ts_last", 900), False),
    ],
)
def test_order_is_cancelled_again_only_after_some_patience(world, fields, age, cancelled):
    rows = resting(world)
    name, milliseconds = age
    for key, value in (fields | {name: at(world) - milliseconds * MS}).items():
        rows[0][key] = value
    inputs = int(world.ctx.control[c.X_INPUT_SEQ])
    targets = [int(row["target_order_id"]) for row in look(world)]
    expected = [int(row["order_id"]) for row in rows]
    assert targets == (expected if cancelled else expected[1:]), "the other one in any case"
    assert world.ctx.control[c.X_INPUT_SEQ] > inputs


def test_guard_that_has_nothing_to_cancel_takes_no_input(world):
    resting(world, status=words.UNKNOWN)
    world.ctx.control[c.X_INPUT_SEQ] = -5
    assert world.tick() == []
    assert world.ctx.control[c.X_INPUT_SEQ] == -5


def test_broken_lane_has_its_orders_cancelled_still(world):
    resting(world)
    world.lane[c.L_UNTIL] = 0
    assert [int(row["op"]) for row in look(world)] == [words.CANCEL, words.CANCEL]
    assert world.lane[c.L_STAGE] == c.LANE_BROKEN
    assert world.alarms()[0].endswith("unproven or its cancel unanswered")


def test_more_orders_than_an_emission_holds_are_cancelled_in_turns(world):
    rows = resting(world)
    many = view_of(world.ctx, 0)._replace(
        orders=rows[[0] * (c.INTENTS_MAX + 3)], open_count=np.array([c.INTENTS_MAX + 3])
    )
    coin = int(world.ctx.instruments[PERP]["underlying"])
    assert _cancel(world.packed, 0, coin, many) == c.INTENTS_MAX
    assert world.ctx.counters[c.C_INTENTS] == c.INTENTS_MAX + 2, "two opened the trade"
