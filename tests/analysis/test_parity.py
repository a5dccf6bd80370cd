"""Differences between a session and its replay: their causes, and sums that leave nothing over."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.parity import (
    AtVenue,
    ByDecision,
    Orders,
    Reach,
    at_venue,
    by_decision,
    causes_of,
    decisions_of,
    explained,
    fee_differences,
    foreign_fills,
    net,
    pair,
)
from alephtx.analysis.story import Fill, OrderLine
from alephtx.core import words

MS = 1_000_000
NOTHING, AT, THROUGH = (
    Reach(False, False, False),
    Reach(True, False, False),
    Reach(True, True, True),
)


class Market:
    def __init__(self, reach=NOTHING, *, broken=False):
        self._reach, self._broken = reach, broken

    def reach(self, *asked):
        return self._reach

    def broken(self, *asked):
        return self._broken


class Valued:
    """A mark of 100, and a fee of 1 a lot."""

    def worth(self, fill):
        return Decimal(fill.side * fill.qty * (100 - fill.price))

    def model_fee(self, fill):
        return Decimal(fill.qty)

    def currency(self, instrument):
        return "USDT"


def order(order_id, at=0, price=99, **more):
    row = {
        "strategy": 0, "account": 0, "instrument": 0, "side": words.BUY, "type": words.LIMIT,
        "tif": words.GTC, "flags": 0, "qty": 5, "group_id": 0, **more,
    }  # fmt: skip
    return OrderLine(order_id=order_id, price=price, ts_intent=at * MS, **row)


def fill(order_id, qty=5, price=99, at=1, side=words.BUY, liquidity=words.MAKER, fee=None):
    return Fill(
        ts=at * MS, order_id=order_id, account=0, instrument=0, strategy=0, side=side, price=price,
        qty=qty, fee=(qty if fee is None else fee) * 10**8, fee_currency=1, liquidity=liquidity,
        trade_id=1,
    )  # fmt: skip


def side(orders, *fills):
    return Orders.of({one.order_id: one for one in orders}, fills)


def venue(was, told, market=None, **variants):
    spans = dict.fromkeys(was.orders, (0, 10 * MS))
    return at_venue(AtVenue(was, told, variants, market or Market(), Valued(), spans))


def causes(found):
    return [one.cause for one in found]


def test_orders_that_came_to_the_same_differ_in_nothing():
    was = side([order(1)], fill(1, 2), fill(1, 3))  # in how many parts does not matter
    assert venue(was, side([order(1)], fill(1))) == []


@pytest.mark.parametrize(
    ("market", "cause"),
    [
        (Market(AT), "queue"),
        (Market(THROUGH), "queue"),  # filled in the session, at the venue's end of a queue here
        (Market(), "missing_data"),
        (Market(AT, broken=True), "missing_data"),
    ],
)
def test_a_fill_that_only_the_session_had(market, cause):
    found = venue(side([order(1)], fill(1)), side([order(1)]), market)
    assert causes(found) == [cause]
    assert found[0].amount == 5 * (100 - 99) - 5
    assert found[0].fills == (1, 0)


@pytest.mark.parametrize(
    ("market", "cause"),
    [(Market(AT), "queue"), (Market(THROUGH), "unexplained"), (Market(), "missing_data")],
)
def test_a_fill_that_only_the_simulation_had(market, cause):
    assert causes(venue(side([order(1)]), side([order(1)], fill(1)), market)) == [cause]


def test_arrival_is_tried_before_anything_else():
    was, told = side([order(1)], fill(1)), side([order(1)])
    found = venue(was, told, Market(broken=True), later=told, earlier=was)
    assert causes(found) == ["latency"]
    assert "earlier" in found[0].proof


def test_takers_and_refusals_that_no_arrival_explains_stay_open():
    taker = fill(1, liquidity=words.TAKER)
    assert causes(venue(side([order(1)], taker), side([order(1)]), Market(AT))) == ["unexplained"]
    refused = order(1)
    refused.status = words.REJECTED
    assert causes(venue(side([refused]), side([order(1)]), Market(AT))) == ["unexplained"]


def test_another_fee_for_the_same_fill_is_its_own_cause():
    names = ["", "USDT", "BNB"]
    paid = side([order(1)], fill(1, fee=7))
    (found,) = fee_differences(paid, Valued(), names)
    assert (found.cause, found.amount, found.currency) == ("fee", Decimal(-2), "USDT")
    other = side([order(1)], Fill(**{**_fields(fill(1)), "fee": 3 * 10**8, "fee_currency": 2}))
    amounts = {one.currency: one.amount for one in fee_differences(other, Valued(), names)}
    assert amounts == {"USDT": Decimal(5), "BNB": Decimal(-3)}


def _fields(one):
    return {name: getattr(one, name) for name in one.__struct_fields__}


def test_a_fill_of_no_order_of_ours_is_the_operators():
    (found,) = foreign_fills(side([], fill(77)), Valued())
    assert (found.cause, found.order_id, found.fills) == ("operations", 77, (1, 0))


def test_orders_are_paired_by_decision_then_by_time():
    ours = [order(1, at=0, price=99), order(2, at=100, price=98), order(3, at=5_000)]
    theirs = [order(11, at=99, price=99), order(12, at=101, price=98), order(13, at=9_000)]
    pairs = [(a and a.order_id, b and b.order_id) for a, b in pair(ours, theirs)]
    assert pairs == [(1, 11), (2, 12), (3, None), (None, 13)]


def decide(told, replay, late=(), before=(), blocked=False):
    decisions = [decisions_of(one) for one in late]
    return by_decision(ByDecision(told, replay, decisions, Valued(), lambda at: blocked), before)


def test_the_same_decision_at_another_time_may_be_filled_otherwise():
    found = decide(side([order(1, at=0)], fill(1)), side([order(9, at=2)]))
    assert causes(found) == ["latency"]
    assert found[0].amount == 0  # a gain of 5, a fee of 5
    same = decide(side([order(1)], fill(1)), side([order(9)]))
    assert causes(same) == ["unexplained"]


def test_a_decision_is_the_latencys_where_a_late_replay_takes_it():
    told, replay = side([order(1, price=99)]), side([order(9, price=98)])
    assert causes(decide(told, replay)) == ["unexplained"]
    assert causes(decide(told, replay, late=[[order(5, price=99, at=20)]])) == ["latency"]
    steady = [order(5, price=99, at=900), order(6, price=98)]  # too far, and as the replay
    assert causes(decide(told, replay, late=[steady])) == ["unexplained"]
    only = side([]), side([order(9)])
    assert causes(decide(*only, late=[[order(5)]])) == ["unexplained"]  # all of them take it
    assert causes(decide(*only, late=[[order(5)], []])) == ["latency"]


def test_what_follows_from_a_difference_has_its_cause_until_both_are_level():
    told = side([order(1, at=0), order(2, at=10, price=97), order(3, at=5_000, price=90)], fill(1))
    replay = side([order(11, at=0), order(12, at=10, price=96), order(13, at=5_000, price=91)])
    first = venue(side([order(1, at=0)], fill(1)), side([order(1, at=0)]), Market(AT))
    found = decide(told, replay, before=first)
    assert causes(found) == ["unexplained", "queue", "queue"]  # its own fill aside
    level = side([order(1, at=0), order(2, at=10), order(3, at=5_000, price=90)])
    other = side([order(11, at=0), order(12, at=10), order(13, at=5_000, price=91)])
    assert causes(decide(level, other, before=first)) == ["unexplained"]


def test_a_halted_session_is_the_operators():
    assert causes(decide(side([]), side([order(9)]), blocked=True)) == ["operations"]


lines = st.builds(
    order, st.integers(1, 6), st.integers(0, 3_000), st.integers(97, 103),
    side=st.sampled_from((words.BUY, words.SELL)), strategy=st.integers(0, 1),
)  # fmt: skip
orders = st.lists(lines, max_size=8, unique_by=lambda one: one.order_id)
parts = st.builds(
    fill, st.integers(0, 7), st.integers(1, 5), st.integers(97, 103), st.integers(0, 9),
    side=st.sampled_from((words.BUY, words.SELL)), fee=st.integers(-3, 3),
    liquidity=st.sampled_from((words.MAKER, words.TAKER)),
)  # fmt: skip


def sided(fills, lines):
    """A venue fills an order on the order's side."""
    sides = {one.order_id: one.side for one in lines}
    return [Fill(**{**_fields(one), "side": sides.get(one.order_id, one.side)}) for one in fills]


@given(
    orders, st.lists(parts, max_size=8), st.lists(parts, max_size=8),
    orders, st.lists(parts, max_size=8), st.booleans(),
)  # fmt: skip
def test_nothing_is_left_over(ours, was, told, theirs, own, broken):
    """The session less the replay is the sum of all differences, whatever the two did."""
    was, told, own = sided(was, ours), sided(told, ours), sided(own, theirs)
    session = side(ours, *was)
    mine = {one.order_id for one in ours}
    simulated = side(ours, *(one for one in told if one.order_id in mine))
    replay = side(theirs, *(one for one in own if one.order_id in {o.order_id for o in theirs}))
    at = venue(session, simulated, Market(AT, broken=broken))
    found = [
        *at, *decide(simulated, replay, before=at), *foreign_fills(session, Valued()),
        *fee_differences(session, Valued(), ["", "USDT"]),
    ]  # fmt: skip
    fees = sum(one.fee for part in session.fills.values() for one in part) // 10**8
    gained = sum(Valued().worth(one) for part in session.fills.values() for one in part) - Decimal(
        fees
    )
    replayed = sum((net(part, Valued()) for part in replay.fills.values()), Decimal(0))
    assert sum((one.amount for one in found), Decimal(0)) == gained - replayed
    summed = causes_of(found)
    assert sum(cause.differences for cause in summed.values()) == len(found)
    fills, pnl = explained(found, len(was) + len(own))
    assert pnl <= 1
    assert (fills == pnl == 1) or any(one.cause == "unexplained" for one in found)


def test_a_share_of_one_currency_hides_nothing_of_another():
    taker = fill(1, liquidity=words.TAKER)
    (open_one,) = venue(side([order(1)], taker), side([order(1)], fill(1, price=98)), Market())
    assert open_one.cause == "unexplained"
    assert open_one.amount != 0
    (paid,) = fee_differences(side([order(2)], fill(2, fee=10**6)), Valued(), ["", "USDT"])
    other = msgspec.structs.replace(paid, currency="BTC")
    assert explained([open_one, other], 4) == (0.5, 0.0)
