"""Lanes alone: what moves one, what lets it rest, who may send into it. See test_leg_guard.py."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.records import INTENT, ORDER, POSITION, TOP_ROW
from alephtx.core.units import OVERFLOW
from alephtx.core.view import View
from alephtx.engine import context as c
from alephtx.engine.leg_guard import closes, closing_side
from alephtx.engine.leg_lanes import (
    BROKEN_NET,
    any_broken,
    closing_lots,
    fill_moves,
    is_dust,
    judge_groups,
    lane_moved,
    lane_opened,
    lane_settles,
    live_legs,
    rearm_lanes,
    touches,
)
from alephtx.risk.state import RULE_LEGS
from tests.strategies.world import COIN, PERP, SPOT, instruments

pytestmark = pytest.mark.kernel

NOW = 1_000
ETH = 3


@pytest.fixture
def view():
    """Spot lots of 0.00001 BTC, linear of 0.001, inverse of 100 USD; bid 50,000, ask 60,000."""
    rows = instruments().rows()
    top = np.zeros(len(rows), TOP_ROW)
    for i, scale in ((SPOT, 100), (PERP, 10), (COIN, 10)):
        top[i]["bid"], top[i]["ask"] = 50_000 * scale, 60_000 * scale
        top[i]["bid_qty"] = top[i]["ask_qty"] = 10**6
    none, now, count = np.zeros(1, np.int64), np.full(4, NOW), np.zeros(1, np.int64)
    return View(
        now, top, none, none, np.zeros(len(rows), POSITION), np.zeros(4, ORDER), count, rows
    )


def coin(view):
    return int(view.instruments[PERP]["underlying"])


def legs(*chosen):
    row = np.zeros(3, np.int64)
    row[list(chosen)] = 1
    return row


def some_lanes():
    return np.zeros((4, c.LANE_WORDS), np.int64), np.zeros(c.CONTROL_WORDS, np.int64)


def live(view, *orders):
    """Enter live orders: (instrument, group, when)."""
    view.open_count[0] = len(orders)
    for k, (i, group, when) in enumerate(orders):
        row = view.orders[k]
        row["instrument"], row["group_id"], row["ts_intent"] = i, group, when


# -- what moves a lane -----------------------------------------------------------------------


def test_lane_opens_once_with_the_time_of_what_opened_it():
    lanes, control = some_lanes()
    lanes[1, c.L_SINCE] = 3
    lane_opened(lanes[1], control, 5)
    lane_opened(lanes[1], control, 9)
    assert (lanes[1, c.L_STAGE], lanes[1, c.L_SINCE]) == (c.LANE_OPEN, 5)
    assert control[c.X_LANES_OPEN] == 1
    lane_opened(lanes[2], control, 9)
    assert control[c.X_LANES_OPEN] == 2


@pytest.mark.parametrize("stage", [c.LANE_OPEN, c.LANE_CLOSING, c.LANE_BROKEN])
def test_fill_moves_a_lane_whatever_its_stage(stage):
    lanes, control = some_lanes()
    lanes[1, c.L_STAGE], lanes[1, c.L_NET] = stage, 30
    lane_moved(lanes[1], control, -50, 5)
    assert (lanes[1, c.L_NET], lanes[1, c.L_STAGE], lanes[1, c.L_SINCE]) == (-20, stage, 0)
    assert control[c.X_LANES_OPEN] == 0


@pytest.mark.parametrize(
    ("net", "base", "found"),
    [
        (0, (1 << 58) - 1, (1 << 58) - 1),
        (0, 1 << 58, BROKEN_NET),
        (0, 1 - (1 << 58), 1 - (1 << 58)),
        (-1, 1 - (1 << 58), BROKEN_NET),
        (7, OVERFLOW, BROKEN_NET),
        (BROKEN_NET, 7, BROKEN_NET),
    ],
)
def test_net_beyond_its_bound_is_broken(net, base, found):
    lanes, control = some_lanes()
    lanes[1, c.L_NET] = net
    lane_moved(lanes[1], control, base, 5)
    assert (lanes[1, c.L_NET], lanes[1, c.L_STAGE]) == (found, c.LANE_OPEN)


@pytest.mark.parametrize(("bought", "paid"), [(1, 2), (2, 1)])
def test_both_coins_of_a_fill_move_whichever_has_the_smaller_number(view, bought, paid):
    """0.001 for 50.00."""
    lanes, control = some_lanes()
    lanes[paid, c.L_RISK] = 1
    row = view.instruments[SPOT : SPOT + 1].copy()
    row["underlying"], row["quote"] = bought, paid
    fill_moves(lanes, control, row, words.BUY, 5_000_000, 100, 100_000, 5)
    assert (lanes[bought, c.L_NET], lanes[paid, c.L_NET]) == (100_000, -5_000_000_000)
    assert control[c.X_LANES_OPEN] == 2


# -- who may send into it --------------------------------------------------------------------


@pytest.mark.parametrize("stage", [c.LANE_REST, c.LANE_OPEN, c.LANE_CLOSING, c.LANE_BROKEN])
@pytest.mark.parametrize("u", [0, 3])
def test_strategy_is_halted_by_one_broken_lane(stage, u):
    lanes, _ = some_lanes()
    lanes[u, c.L_STAGE] = stage
    assert any_broken(lanes) == (stage == c.LANE_BROKEN)


def judged(view, lanes, control, *rows):
    """Return the intents after they were judged."""
    intents = np.zeros(len(rows) + 1, INTENT)
    for k, fields in enumerate(rows):
        for name, value in ({"op": words.PLACE} | fields).items():
            intents[k][name] = value
    intents[-1]["op"], intents[-1]["flags"] = words.PLACE, words.HEDGE  # beyond the count
    judge_groups(intents, len(rows), lanes, control, view.instruments)
    assert intents[-1]["group_id"] == 0
    return intents[:-1]


def test_every_intent_is_judged_by_itself(view):
    lanes, control = some_lanes()
    lanes[coin(view), c.L_STAGE], control[c.X_LANES_OPEN] = c.LANE_CLOSING, 1
    found = judged(
        view, lanes, control,
        {"op": words.CANCEL, "instrument": SPOT},
        {"instrument": 3},  # there are three, so it is none; another's to deny
        {"instrument": PERP},
        {"instrument": SPOT, "verdict": words.DENY_SIZE, "rule": 1},
        {"op": words.AMEND, "instrument": COIN},
        {"op": words.CANCEL_ALL},
    )  # fmt: skip
    assert found["verdict"].tolist() == [
        words.PASS, words.PASS, words.DENY_LEGS, words.DENY_SIZE, words.DENY_LEGS, words.PASS,
    ]  # fmt: skip
    assert found["rule"].tolist() == [0, 0, RULE_LEGS, 1, RULE_LEGS, 0]


def test_lane_that_is_being_closed_shuts_no_other_but_a_broken_one_does(view):
    lanes, control = some_lanes()
    other = next(u for u in range(4) if u not in (coin(view), view.instruments[SPOT]["quote"]))
    control[c.X_LANES_OPEN] = 1
    for stage, verdict in (
        (c.LANE_OPEN, words.PASS), (c.LANE_CLOSING, words.PASS), (c.LANE_BROKEN, words.DENY_LEGS),
    ):  # fmt: skip
        lanes[other, c.L_STAGE] = stage
        (found,) = judged(view, lanes, control, {"instrument": SPOT})
        assert found["verdict"] == verdict


def test_market_paid_for_in_a_coin_that_is_being_closed_is_shut_too(view):
    """ETH bought with BTC would move the lane of BTC; a contract quoted in BTC would not."""
    lanes, control = some_lanes()
    view.instruments["quote"][[SPOT, PERP]] = ETH
    lanes[ETH, c.L_STAGE], control[c.X_LANES_OPEN] = c.LANE_CLOSING, 1
    found = judged(view, lanes, control, {"instrument": SPOT}, {"instrument": PERP})
    assert found["verdict"].tolist() == [words.DENY_LEGS, words.PASS]
    lanes[ETH, c.L_STAGE] = c.LANE_OPEN
    (found,) = judged(view, lanes, control, {"instrument": SPOT})
    assert found["verdict"] == words.PASS


def test_only_a_hedge_without_a_group_is_given_one(view):
    lanes, control = some_lanes()
    all_but = words.POST_ONLY | words.REDUCE_ONLY
    found = judged(
        view, lanes, control,
        {"flags": words.HEDGE},
        {"flags": all_but},
        {"flags": words.HEDGE | all_but},
        {"flags": words.HEDGE, "group_id": 1},
        {"flags": words.HEDGE, "op": words.CANCEL},
    )  # fmt: skip
    assert found["group_id"].tolist() == [words.LEG_GROUP, 0, words.LEG_GROUP, 1, 0]


@pytest.mark.parametrize(
    ("stages", "waits"),
    [
        ((c.LANE_REST, c.LANE_REST), False),
        ((c.LANE_OPEN, c.LANE_REST), True),
        ((c.LANE_REST, c.LANE_CLOSING), True),
        ((c.LANE_BROKEN, c.LANE_BROKEN), False),
    ],
)
def test_session_ends_without_waiting_for_what_rests_or_is_broken(stages, waits):
    class Engine:
        lanes = np.zeros((1, 2, c.LANE_WORDS), np.int64)
        control = np.zeros(c.CONTROL_WORDS, np.int64)

    Engine.lanes[0, :, c.L_STAGE] = stages
    assert closes(Engine) is waits


# -- what is live in it ----------------------------------------------------------------------


def test_spot_market_touches_both_its_coins_and_a_contract_one(view):
    view.instruments["quote"][:] = ETH
    for i in (SPOT, PERP, COIN):
        assert touches(view, i, coin(view))
        assert touches(view, i, ETH) == (i == SPOT)
        assert not touches(view, i, ETH + 1)


def test_live_orders_of_a_lane_are_counted_and_the_oldest_is_found(view):
    view.instruments["underlying"][COIN] = ETH
    assert live_legs(view, coin(view)) == (0, NOW)
    live(view, (COIN, 7, 100), (SPOT, 0, 200), (PERP, 7, 400), (SPOT, -1, 300))
    assert live_legs(view, coin(view)) == (2, 300)
    view.open_count[0] = 3
    assert live_legs(view, coin(view)) == (1, 400)
    assert live_legs(view, ETH) == (1, 100)


def settled(view, net, stage, since=50):
    """Return (live orders, stage, since, open lanes) of a lane after it was let rest."""
    lanes, control = some_lanes()
    lane = lanes[coin(view)]
    lane[c.L_NET], lane[c.L_STAGE], lane[c.L_SINCE] = net, stage, since
    control[c.X_LANES_OPEN] = 2
    found = lane_settles(view, lanes, legs(SPOT, PERP), control, coin(view))
    return found, lane[c.L_STAGE], lane[c.L_SINCE], control[c.X_LANES_OPEN]


@pytest.mark.parametrize("stage", [c.LANE_OPEN, c.LANE_CLOSING])
def test_even_lane_rests_when_nothing_is_live(view, stage):
    assert settled(view, 0, stage)[::3] == (0, 1)
    assert settled(view, 0, stage)[1] == c.LANE_REST
    assert settled(view, 100_000, stage) == (0, stage, 50, 2)


def test_broken_lane_does_not_rest(view):
    assert settled(view, 0, c.LANE_BROKEN) == (0, c.LANE_BROKEN, 50, 2)


def test_time_of_an_even_lane_counts_from_its_oldest_live_order(view):
    live(view, (SPOT, 7, 90), (PERP, 7, 70))
    assert settled(view, 0, c.LANE_OPEN) == (2, c.LANE_OPEN, 70, 2)
    assert settled(view, 0, c.LANE_OPEN, since=80) == (2, c.LANE_OPEN, 80, 2)
    assert settled(view, 100_000, c.LANE_OPEN) == (2, c.LANE_OPEN, 50, 2), "it is not even"


def test_enabling_rearms_what_was_broken_and_nothing_else():
    """The rest of a lane's words are written before they are read, when the guard takes over."""
    lanes, _ = some_lanes()
    lanes[:] = 9
    lanes[:, c.L_STAGE] = (c.LANE_BROKEN, c.LANE_REST, c.LANE_OPEN, c.LANE_CLOSING)
    rearmed = lanes.copy()
    rearmed[0, c.L_STAGE], rearmed[0, c.L_SINCE] = c.LANE_OPEN, 77
    rearm_lanes(lanes, 77)
    assert lanes.tolist() == rearmed.tolist()


# -- how much closes it ----------------------------------------------------------------------


def test_side_that_closes_is_the_other_one():
    assert [closing_side(net) for net in (1, 10**9, -1, -(10**9))] == [
        words.SELL, words.SELL, words.BUY, words.BUY,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("held", "side", "lots"),
    [
        (0, words.SELL, 300),
        (40, words.SELL, 40),  # to flat
        (300, words.SELL, 300),
        (301, words.SELL, 300),
        (-40, words.SELL, 300),
        (40, words.BUY, 300),
        (-40, words.BUY, 40),
        (9, words.SELL, 300),  # 9 lots are 4.5 dollars, the least is 5
        (10, words.SELL, 10),
        (-8, words.BUY, 300),  # 4.8
        (-9, words.BUY, 9),  # 5.4
    ],
)
def test_order_takes_a_position_to_flat_before_it_opens_another(view, held, side, lots):
    view.positions[SPOT]["qty"] = held
    assert closing_lots(view, SPOT, side, 300_000) == lots


@pytest.mark.parametrize(
    ("qty_max", "step", "lots"),
    [(0, 1, 305), (120, 1, 120), (304, 1, 304), (305, 1, 305), (306, 1, 305), (125, 10, 120),
     (9, 10, 0), (1, 1, 0), (0, 10, 300)],
)  # fmt: skip
def test_order_is_not_larger_than_its_venue_takes(view, qty_max, step, lots):
    view.instruments[SPOT]["qty_max"], view.instruments[SPOT]["lot_step"] = qty_max, step
    assert closing_lots(view, SPOT, words.SELL, 305_999) == lots


def test_position_larger_than_the_venue_takes_without_a_lot_step_is_not_divided(view):
    """50 contracts sold, worth 0.1 BTC then."""
    view.positions[COIN]["qty"], view.positions[COIN]["cost"] = -50, -10_000_000
    row = view.instruments[COIN]
    assert closing_lots(view, COIN, words.BUY, 10_000_000) == 50
    row["qty_max"] = 20
    assert closing_lots(view, COIN, words.BUY, 10_000_000) == 20
    row["lot_step"] = 0
    assert closing_lots(view, COIN, words.BUY, 10_000_000) == 0


def test_dust_is_judged_at_the_price_that_would_be_paid(view):
    """Nine lots are bought for 5.4 dollars, sold for 4.5."""
    assert is_dust(view, legs(SPOT), coin(view), 9_000)
    assert not is_dust(view, legs(SPOT), coin(view), 10_000)
    assert not is_dust(view, legs(SPOT), coin(view), -9_000)
    assert is_dust(view, legs(SPOT), coin(view), -8_000)


def test_least_net_there_is_has_a_side_too(view):
    """One lot of 0.00000001 BTC sells for 0.5, is bought for 0.6; the least is 0.55."""
    view.instruments["qty_scale"][SPOT], view.instruments["notional_min"][SPOT] = 8, 55_000_000
    view.instruments["qty_min"][SPOT] = 1
    assert is_dust(view, legs(SPOT), coin(view), 1)
    assert not is_dust(view, legs(SPOT), coin(view), -1)


def test_price_of_one_tick_is_a_price(view):
    """What it makes of an order counts then, not the smallest quantity alone."""
    view.top[PERP]["bid"], view.top[PERP]["ask"] = 1, 2
    assert is_dust(view, legs(PERP), coin(view), 100_000)
    view.top[PERP]["bid"] = 0
    assert not is_dust(view, legs(PERP), coin(view), 100_000)


def test_number_of_a_book_says_nothing_about_its_price(view):
    view.top["aux"] = 3 << words.EPOCH_SHIFT
    assert is_dust(view, legs(SPOT), coin(view), 9_000)
    assert not is_dust(view, legs(SPOT), coin(view), 10_000)


def test_any_leg_may_take_what_others_do_not(view):
    view.instruments["qty_min"][SPOT] = 10**6
    assert not is_dust(view, legs(SPOT, PERP), coin(view), 100_000)
    assert is_dust(view, legs(SPOT), coin(view), 100_000)
    assert is_dust(view, legs(PERP), coin(view), 99_000)
    assert not is_dust(view, legs(PERP), coin(view), 100_000)
    view.instruments["underlying"][SPOT] = ETH
    assert not is_dust(view, legs(SPOT, PERP), coin(view), 100_000)
    assert is_dust(view, legs(SPOT, PERP), ETH, 100_000)


@pytest.mark.parametrize("why", ["stale", "one-sided"])
@pytest.mark.parametrize(
    ("least", "net", "dust"),
    [(1, 100_000, False), (1, 99_000, True), (2, 199_000, True), (2, 200_000, False),
     (0, 99_000, True), (0, 100_000, False), (0, -100_000, False)],
)  # fmt: skip
def test_without_a_price_only_the_smallest_quantity_says_no(view, why, least, net, dust):
    if why == "stale":
        view.top["aux"] = words.STALE
    else:
        view.top["bid_qty"] = 0
    view.instruments["qty_min"][:] = least
    view.instruments["qty_min"][SPOT] = 10**6
    view.instruments["notional_min"][:] = 1 << 60  # nobody knows what the lots are worth
    assert is_dust(view, legs(SPOT, PERP), coin(view), net) == dust


def test_inverse_contract_without_a_price_may_take_anything_but_nothing(view):
    view.top["aux"] = words.CROSSED
    assert not is_dust(view, legs(SPOT, COIN), coin(view), 1)
    assert not is_dust(view, legs(COIN), coin(view), -1)
    assert is_dust(view, legs(SPOT, COIN), coin(view), 0)
    assert not is_dust(view, legs(), coin(view), BROKEN_NET)
