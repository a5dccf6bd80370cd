"""Profit as the breakers see it: against fractions, beyond its limit, found again by a start."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.records import INTENT
from alephtx.core.units import OVERFLOW
from alephtx.risk import state as g
from alephtx.risk.drawdown import (
    PROFIT_EVERY_NS,
    instrument_profit,
    latch_drawdown,
    strategy_profit,
)
from alephtx.risk.latches import clearing, latches, relatch
from tests.risk.rows import COIN, ETH, PERP, SPOT, TOUCH, Risk, World, place
from tests.risk.test_order_rules import verdict

pytestmark = pytest.mark.kernel

E8 = 10**8
MIDDLES = [sum(touch) // 2 for touch in TOUCH.values()]

lots = st.one_of(st.integers(-2, 2), st.integers(-(10**6), 10**6))
money = st.one_of(st.integers(-2, 2), st.integers(-(10**12), 10**12))


def exact(world, i, row, rate):
    """Profit of a position in 10^-8 of the reference, as a fraction."""
    instrument = world.instruments[i]
    settled = Fraction(int(row["realized"]) - int(row["fees"]), E8)
    price = Fraction(instrument.price_decimal(MIDDLES[i]))
    if instrument.inverse:  # cost is in 10^-8 of the coin
        held = Fraction(int(row["qty"])) * Fraction(instrument.contract_value) / price
        settled = (settled + Fraction(int(row["cost"]), E8) - held) * price
    else:
        paid = Fraction(instrument.qty_decimal(1)) * Fraction(instrument.price_decimal(1))
        settled += (int(row["qty"]) * MIDDLES[i] - int(row["cost"])) * paid
    return settled * rate


@given(
    st.lists(st.tuples(lots, money, money, money), min_size=4, max_size=4),
    st.sampled_from([E8 // 2, E8, 3 * E8]),
)
def test_profit_agrees_with_fractions(held, rate):
    world = World()
    world.gate.rate_e8[:] = rate
    total = Fraction(0)
    for i, (qty, cost, realized, fees) in enumerate(held):
        row = world.view.positions[i]
        row["qty"], row["realized"], row["fees"] = qty, realized, fees
        row["cost"] = cost if qty else 0
        total += exact(world, i, row, Fraction(rate, E8))
    units = total * E8
    # Down by a unit where a value, a cost, the coin and the rate are rounded; a cost in a coin of
    # 50,000 is a unit of the coin.
    slack = 4 * 2 * (50_000 + 2) * Fraction(rate, E8)
    assert units - slack <= strategy_profit(world.view, world.gate) <= units + slack


@pytest.mark.parametrize("qty", [-1, 0, 1])
@pytest.mark.parametrize("settled", [{"realized": 0}, {"realized": 7}, {"fees": 7}, {"fees": -7}])
def test_smallest_rows_count(qty, settled):
    world = World()
    row = world.view.positions[PERP]
    row["qty"] = qty
    for name, value in settled.items():
        row[name] = value
    want = qty * 500_000 * 10_000 + int(row["realized"]) - int(row["fees"])
    assert strategy_profit(world.view, world.gate) == want
    got = instrument_profit(world.view.positions, world.view.instruments, PERP, 500_000, E8)
    assert got == want


@pytest.mark.parametrize("i", [PERP, COIN])
@pytest.mark.parametrize("row", [{"qty": 1}, {"qty": -1}, {"qty": -1, "realized": 5}])
def test_what_is_held_is_worth_nothing_known_without_a_price(i, row):
    world = World()
    for name, value in row.items():
        world.view.positions[i][name] = value
    for price in (0, -1):
        got = instrument_profit(world.view.positions, world.view.instruments, i, price, E8)
        assert got == OVERFLOW


def test_even_row_is_worth_nothing_at_any_price():
    world = World()
    for i in (PERP, COIN):
        for price in (0, 500_000):
            got = instrument_profit(world.view.positions, world.view.instruments, i, price, E8)
            assert got == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_profit_of_many_large_rows_is_unknown_as_soon_as_it_cannot_be_added_up(sign):
    world = World()
    for i in (SPOT, PERP):
        world.view.positions[i]["realized"] = sign * (g.NO_LIMIT - 1)
    assert strategy_profit(world.view, world.gate) == 2 * sign * (g.NO_LIMIT - 1)
    world.view.positions[ETH]["realized"] = sign
    assert strategy_profit(world.view, world.gate) == OVERFLOW


@pytest.mark.parametrize("lost", [499, 500, 501, 5_000_000])
def test_strategy_is_latched_at_its_limit_and_beyond(lost):
    world = World()
    world.view.positions[PERP]["realized"] = -lost * E8
    assert latch_drawdown(world.view, world.gate, 1) == (lost >= 500)
    assert list(world.gate.latched) == [0, lost >= 500]
    world.view.positions[PERP]["realized"] = 0
    assert latch_drawdown(world.view, world.gate, 1) == (lost >= 500)  # a latch stays


@pytest.mark.parametrize("scope", ["account", "firm"])
@pytest.mark.parametrize("lost", [99, 100, 101, 5_000_000])
def test_breakers_are_latched_at_their_limits_and_beyond(scope, lost):
    world = World(Risk(**{f"{scope}_drawdown_max": Decimal(100)}))
    world.account_positions[0, PERP]["realized"] = -lost * E8
    want = (w.DENY_HALTED, f"{scope}_drawdown") if lost >= 100 else (w.PASS, "")
    assert verdict(world, place()) == want
    latched = [*world.gate.accounts[:, g.LATCHED], world.gate.firm[g.FIRM_LATCHED]]
    assert latched == [
        int(lost >= 100 and scope == "account"),
        0,
        int(lost >= 100 and scope == "firm"),
    ]


@pytest.mark.parametrize("fields", [{"fees": 100 * E8}, {"realized": -100 * E8}])
def test_breakers_find_what_is_only_paid_or_lost_after_a_start(fields):
    world = World(Risk(account_drawdown_max=Decimal(100)))
    for name, value in fields.items():
        world.account_positions[1, PERP][name] = value
    assert verdict(world, place(account=1)) == (w.DENY_HALTED, "account_drawdown")


def test_firm_is_not_latched_by_a_loss_beside_what_nobody_can_value():
    world = World(Risk(firm_drawdown_max=Decimal(100)))
    world.account_positions[0, PERP]["realized"] = -500 * E8
    world.account_positions[1, ETH]["qty"] = 1
    world.view.top[ETH]["bid"] = 0
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "firm_drawdown")
    assert world.gate.firm[g.FIRM_LATCHED] == 0
    world.view.top[ETH]["bid"] = 300_000
    world.view.now[3] += PROFIT_EVERY_NS
    assert verdict(world, place()) == (w.DENY_HALTED, "firm_drawdown")
    assert world.gate.firm[g.FIRM_LATCHED] == 1


def test_denials_that_latch_are_found_again_and_no_others():
    """Every verdict with every rule: four pairs of them tell of a latch."""
    said = set()
    for code in range(w.PASS, w.DENY_LEVERAGE + 10):
        for rule in range(len(g.RULE_NAMES)):
            world = World()
            row = np.zeros(1, INTENT)
            row["verdict"], row["rule"], row["account"], row["strategy"] = code, rule, 1, 1
            relatch(world.gate, row)
            places = [
                name for name, scope, (array, at) in latches(["x", "y"], ["p", "q"])
                for name in [f"{name} {scope}"] if getattr(world.gate, array)[at] != 0
            ]  # fmt: skip
            if places:
                said.add((code, rule if code == w.DENY_HALTED else -1, *places))
    assert said == {
        (w.DENY_ORDER_RATIO, -1, "order_ratio accounts.y"),
        (w.DENY_HALTED, g.RULE_DRAWDOWN, "drawdown strategies.q"),
        (w.DENY_HALTED, g.RULE_ACCOUNT_DRAWDOWN, "drawdown accounts.y"),
        (w.DENY_HALTED, g.RULE_FIRM_DRAWDOWN, "drawdown "),
    }


def test_lifted_ratio_counts_anew_and_other_latches_are_all_there_is_to_lift():
    for _, _, (name, index) in latches(["x"], ["p"]):
        stores = clearing((name, index))
        assert stores[0] == ((name, index), 0)
        more = [at for at, value in stores[1:] if value == 0]
        ratio = name == "accounts" and index[1] == g.RATIO_LATCHED
        want = [("accounts", (0, g.ORDERS)), ("accounts", (0, g.ORDERS_BEFORE))] if ratio else []
        assert more == want
