"""Rules about equity and pace: leverage, breakers, messages, order ratio."""

from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.risk_schema import AccountRisk
from alephtx.risk import state as g
from alephtx.risk.drawdown import PROFIT_EVERY_NS
from alephtx.risk.gate import note_fill
from tests.risk.rows import COIN, ETH, PERP, SPOT, Risk, World, cancel, place
from tests.risk.test_order_rules import verdict

pytestmark = pytest.mark.kernel

MS = 1_000_000
E8 = 10**8
BIG = (1 << 63) - 1


# -- leverage ---------------------------------------------------------------------------


def geared(leverage="3", opening=1_000):
    world = World(Risk(accounts={"a0": AccountRisk(leverage_max=Decimal(leverage))}))
    world.gate.accounts[:, g.OPENING] = opening * E8
    return world


def test_leverage_is_gross_of_the_account_by_its_equity():
    """Equity 1,000, three times: 0.0599 BTC at 50,000.1 are 2,995; 0.060 are 3,000.006."""
    world = geared()
    assert verdict(world, place(qty=59)) == (w.PASS, "")
    assert verdict(world, place(qty=60)) == (w.DENY_LEVERAGE, "leverage")
    assert verdict(world, place(qty=60, account=1)) == (w.PASS, "")
    world.account_positions[0, ETH]["qty"] = 500  # 1,500
    world.account_positions[1, ETH]["qty"] = 500
    world.account_positions[0, ETH]["cost"] = 500 * 300_005
    world.gate.firm[g.RESCAN] = 1
    assert verdict(world, place(qty=29)) == (w.PASS, "")
    assert verdict(world, place(qty=30)) == (w.DENY_LEVERAGE, "leverage")


def test_equity_moves_with_profit_and_loss():
    world = geared()
    world.account_positions[0, ETH]["realized"] = 1_000 * E8
    assert verdict(world, place(qty=119)) == (w.PASS, "")
    world.view.now[3] += PROFIT_EVERY_NS
    world.account_positions[0, ETH]["realized"] = -500 * E8
    assert verdict(world, place(qty=30)) == (w.DENY_LEVERAGE, "leverage")
    assert verdict(world, place(qty=29)) == (w.PASS, "")


@pytest.mark.parametrize("opening", [0, -5])
def test_account_without_equity_opens_nothing_and_closes(opening):
    world = geared(opening=opening)
    assert verdict(world, place(qty=2)) == (w.DENY_LEVERAGE, "leverage")
    world.account_positions[0, PERP]["qty"] = 50
    world.account_positions[0, PERP]["cost"] = 50 * 500_000
    assert verdict(world, place(side=w.SELL, qty=50)) == (w.PASS, "")


def test_equity_that_is_not_known_opens_nothing():
    world = geared()
    world.gate.accounts[0, g.OPENING] = 1 << 60
    assert verdict(world, place(qty=2)) == (w.DENY_OVERFLOW, "leverage")
    world = geared()
    world.account_positions[0, COIN]["realized"] = 1
    world.view.top[COIN]["bid"] = 0
    assert verdict(world, place(qty=2)) == (w.DENY_OVERFLOW, "leverage")


def test_equity_times_leverage_beyond_the_bound_is_no_limit():
    world = geared("1000", 11_000_000_000 - 1)
    assert verdict(world, place(qty=2)) == (w.PASS, "")


# -- breakers ---------------------------------------------------------------------------


def lose(world, account, dollars_):
    world.account_positions[account, ETH]["realized"] = -dollars_ * E8
    world.gate.firm[g.RESCAN] = 1
    world.view.now[3] += PROFIT_EVERY_NS


def test_account_breaker_latches_at_its_limit_and_spares_the_others():
    world = World(Risk(accounts={"a0": AccountRisk(drawdown_max=Decimal(100))}))
    lose(world, 0, 99)
    lose(world, 1, 5_000)
    assert verdict(world, place()) == (w.PASS, "")
    lose(world, 0, 100)
    assert verdict(world, place()) == (w.DENY_HALTED, "account_drawdown")
    lose(world, 0, 0)
    assert verdict(world, place()) == (w.DENY_HALTED, "account_drawdown")
    assert verdict(world, place(account=1)) == (w.PASS, "")
    world.view.positions[PERP]["qty"] = 100
    world.view.positions[PERP]["cost"] = 100 * 500_000
    assert verdict(world, place(side=w.SELL, flags=w.REDUCE_ONLY)) == (w.PASS, "")
    world.gate.accounts[0, g.LATCHED] = 0
    assert verdict(world, place()) == (w.PASS, "")


def test_firm_breaker_adds_the_accounts_up():
    world = World(Risk(firm_drawdown_max=Decimal(100)))
    lose(world, 0, 60)
    lose(world, 1, 39)
    assert verdict(world, place()) == (w.PASS, "")
    lose(world, 1, 40)
    assert verdict(world, place()) == (w.DENY_HALTED, "firm_drawdown")
    lose(world, 1, 0)
    assert verdict(world, place(account=1)) == (w.DENY_HALTED, "firm_drawdown")


def test_breakers_look_once_a_millisecond_and_after_a_step_back():
    assert PROFIT_EVERY_NS == MS
    world = World(Risk(account_drawdown_max=Decimal(100)))
    assert verdict(world, place()) == (w.PASS, "")
    world.account_positions[0, PERP]["realized"] = -100 * E8
    world.view.now[3] += PROFIT_EVERY_NS - 1
    assert verdict(world, place()) == (w.PASS, "")
    world.view.now[3] -= 10 * PROFIT_EVERY_NS
    assert verdict(world, place()) == (w.DENY_HALTED, "account_drawdown")


@pytest.mark.parametrize("scope", ["account", "firm"])
def test_profit_that_is_not_known_denies_without_latching(scope):
    world = World(Risk(**{f"{scope}_drawdown_max": Decimal(100)}))
    world.account_positions[0, PERP]["qty"] = 2
    world.account_positions[0, ETH]["realized"] = 5
    world.account_positions[0, COIN]["qty"] = 1
    world.view.top[PERP]["bid"] = 0
    assert verdict(world, place(SPOT, qty=1000)) == (w.DENY_OVERFLOW, f"{scope}_drawdown")
    assert world.gate.accounts[1, g.PROFIT] == 0
    world.view.top[PERP]["bid"] = 500_000
    world.view.now[3] += PROFIT_EVERY_NS
    assert verdict(world, place(SPOT, qty=1000)) == (w.PASS, "")


def test_profit_beyond_the_bound_is_unknown():
    world = World(Risk(firm_drawdown_max=Decimal(100)))
    for a in (0, 1):
        for i in (PERP, ETH):
            world.account_positions[a, i]["realized"] = (1 << 60) - 1
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "firm_drawdown")


# -- messages ---------------------------------------------------------------------------


def chatty(per_second=5, **more):
    world = World(Risk(messages_per_s=per_second, orders_per_s=1000, open_orders_max=1000, **more))
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    return world


def test_messages_allow_a_burst_then_their_pace():
    world = chatty()
    got = [verdict(world, place())[0] for _ in range(6)]
    assert got == [w.PASS] * 5 + [w.DENY_MESSAGES]
    assert verdict(world, place(account=1)) == (w.PASS, "")
    world.view.now[3] += 200 * MS - 1
    assert verdict(world, place()) == (w.DENY_MESSAGES, "messages")
    world.view.now[3] += 1
    assert verdict(world, place(op=w.AMEND, target_order_id=77)) == (w.PASS, "")
    assert verdict(world, place()) == (w.DENY_MESSAGES, "messages")


@pytest.mark.parametrize(("debt", "want"), [(0, w.PASS), (1, w.DENY_MESSAGES)])
def test_hedge_goes_into_debt_by_a_burst_to_the_nanosecond(debt, want):
    world = chatty(per_second=4)
    world.view.positions[PERP]["qty"] = 1000
    bucket = world.gate.messages[0]
    bucket[g.REFILLED] = world.view.now[3]
    bucket[g.TOKENS] = bucket[g.INTERVAL] - bucket[g.BURST] - debt
    row = place(side=w.SELL, flags=w.REDUCE_ONLY)
    assert verdict(world, row)[0] == want
    bucket[g.TOKENS] = bucket[g.INTERVAL] - debt
    assert verdict(world, place())[0] == want


def test_refused_message_costs_no_order_token_and_groups_pay_nothing():
    world = chatty()
    group = [place(group_id=3), place(group_id=3, price=400_000)]
    assert world.check(*group)[0] == (w.DENY_BAND, g.RULE_GROUP)
    full = world.gate.buckets[0, g.BURST]
    assert world.gate.buckets[0, g.TOKENS] == full
    assert world.gate.messages[0, g.TOKENS] == world.gate.messages[0, g.BURST]
    for _ in range(9):
        verdict(world, place())
    assert full - world.gate.buckets[0, g.TOKENS] == 5 * world.gate.buckets[0, g.INTERVAL]


def test_cancels_pay_and_are_never_refused():
    world = chatty()
    every = cancel(0)
    every["op"] = w.CANCEL_ALL
    for _ in range(20):
        assert verdict(world, cancel(77)) == (w.PASS, "")
    assert verdict(world, every) == (w.PASS, "")
    assert world.gate.messages[0, g.TOKENS] == -world.gate.messages[0, g.BURST]
    world.view.now[3] += 1199 * MS
    assert verdict(world, place()) == (w.DENY_MESSAGES, "messages")
    world.view.now[3] += MS
    assert verdict(world, place()) == (w.PASS, "")
    assert verdict(world, cancel(5))[0] == w.DENY_UNKNOWN_ORDER  # not sent, not counted


def test_a_cancel_costs_what_an_order_does():
    world = chatty()
    tokens = world.gate.messages[0]
    full, price = int(tokens[g.TOKENS]), int(tokens[g.INTERVAL])
    for row, spent in ((cancel(77), 1), (place(), 2), (cancel(77), 3)):
        assert verdict(world, row) == (w.PASS, "")
        assert tokens[g.TOKENS] == full - spent * price
    assert list(world.gate.messages[1]) == [full, 0, price, full]


def test_hedge_may_overdraw_messages_by_a_burst():
    world = chatty()
    world.view.positions[SPOT]["qty"] = 10_000
    row = place(side=w.SELL, qty=100, flags=w.HEDGE)
    got = [verdict(world, row)[0] for _ in range(11)]
    assert got == [w.PASS] * 10 + [w.DENY_MESSAGES]


# -- order to trade ratio ---------------------------------------------------------------


def traded(world, account=0, count=1):
    for _ in range(count):
        note_fill(
            world.gate.cells, world.gate.firm, world.gate.accounts, account, PERP,
            world.view.now[3],
        )  # fmt: skip


def paced(most=3, least=0):
    return World(Risk(
        order_trade_ratio_max=most, order_trade_orders_min=least, order_trade_window_s=10,
        orders_per_s=1000, open_orders_max=1000,
    ))  # fmt: skip


def test_ratio_latches_at_one_order_too_many_until_enabled():
    world = paced()
    assert [verdict(world, place())[0] for _ in range(4)] == [w.PASS] * 3 + [w.DENY_ORDER_RATIO]
    traded(world, count=100)
    assert verdict(world, place()) == (w.DENY_ORDER_RATIO, "order_ratio")
    assert verdict(world, place(account=1)) == (w.PASS, "")
    world.view.positions[PERP]["qty"] = 100
    world.view.positions[PERP]["cost"] = 100 * 500_000
    assert verdict(world, place(side=w.SELL, flags=w.REDUCE_ONLY)) == (w.PASS, "")
    world.gate.accounts[0, g.RATIO_LATCHED] = 0
    assert verdict(world, place()) == (w.PASS, "")


def test_ratio_counts_trades_amends_and_the_batch_but_no_cancels():
    world = paced()
    traded(world, count=2)
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    batch = [cancel(77), *[place()] * 5, place(account=1), cancel(77)]
    assert [v for v, _ in world.check(*batch)] == [w.PASS] * 8
    assert verdict(world, place(op=w.AMEND, target_order_id=77)) == (w.PASS, "")
    assert verdict(world, place(price=400_000)) == (w.DENY_BAND, "band")  # not counted
    world.gate.accounts[0, g.TRADES] = 3
    got = world.check(cancel(77), place(), place(), place(), place())
    assert [v for v, _ in got] == [w.PASS] * 4 + [w.DENY_ORDER_RATIO]
    assert got[4][1] == g.RULE_ORDER_RATIO


@pytest.mark.parametrize(("now", "before"), [(0, 4), (4, 0), (1, 3), (2, 2), (3, 1)])
def test_trades_of_both_halves_add_up(now, before):
    world = paced(most=2)
    world.gate.accounts[0, g.RATIO_SINCE] = world.view.now[3]
    world.gate.accounts[0, [g.TRADES, g.TRADES_BEFORE]] = now, before
    world.gate.accounts[0, [g.ORDERS, g.ORDERS_BEFORE]] = 4, 3
    assert verdict(world, place()) == (w.PASS, "")
    assert verdict(world, place()) == (w.DENY_ORDER_RATIO, "order_ratio")


def test_few_orders_are_no_ratio():
    world = paced(least=10)
    got = [verdict(world, place())[0] for _ in range(11)]
    assert got == [w.PASS] * 10 + [w.DENY_ORDER_RATIO]


def test_window_forgets_by_halves():
    world = paced()
    for _ in range(3):
        assert verdict(world, place()) == (w.PASS, "")
    world.view.now[3] += 5 * 10**9  # the half before still counts
    traded(world)
    assert world.gate.accounts[0, g.ORDERS_BEFORE] == 3
    world.view.now[3] += 5 * 10**9
    assert verdict(world, place()) == (w.PASS, "")
    assert world.gate.accounts[0, g.ORDERS_BEFORE] == 0
    assert world.gate.accounts[0, g.TRADES_BEFORE] == 1
    world.view.now[3] += 10 * 10**9
    assert verdict(world, place()) == (w.PASS, "")
    assert list(world.gate.accounts[0, g.ORDERS :]) == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("gone", "counts", "since"),
    [
        (5 * 10**9 - 1, [4, 1, 0, 0], 0),  # the same half
        (5 * 10**9, [1, 0, 3, 1], 5 * 10**9),  # the next one
        (10 * 10**9 - 1, [1, 0, 3, 1], 5 * 10**9),
        (10 * 10**9, [1, 0, 0, 0], 10 * 10**9),  # a window without anything between
    ],
)
def test_window_is_two_halves_to_the_nanosecond(gone, counts, since):
    world = paced(most=9)
    world.gate.accounts[0, g.RATIO_SINCE] = began = int(world.view.now[3])
    traded(world)
    for _ in range(3):
        assert verdict(world, place()) == (w.PASS, "")
    world.view.now[3] += gone
    assert verdict(world, place()) == (w.PASS, "")
    assert list(world.gate.accounts[0, g.ORDERS :]) == counts
    assert world.gate.accounts[0, g.RATIO_SINCE] == began + since


def test_fills_are_not_counted_where_nothing_is_limited():
    world = World()
    traded(world)
    assert world.gate.accounts[0, g.TRADES] == 0
    assert world.gate.firm[g.CELL_COUNT] == 1
    traded(world)
    assert world.gate.firm[g.CELL_COUNT] == 1
    assert int(world.gate.cells[0, 0]) == PERP
    assert np.count_nonzero(world.gate.cells[:, 1]) == 1
    traded(world, account=1)
    assert world.gate.firm[g.CELL_COUNT] == 2
    assert [int(at) for at in world.gate.cells[:2, 0]] == [PERP, 1 << 32 | PERP]
    assert list(world.gate.cells[:, 1].nonzero()[0]) == [PERP, 4 + PERP]
