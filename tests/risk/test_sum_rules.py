"""Rules about sums and pace: exposure, firm gross, leverage, breakers, messages, order ratio."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.risk_schema import AccountRisk, BaseRisk
from alephtx.risk import state as g
from alephtx.risk.drawdown import PROFIT_EVERY_NS
from alephtx.risk.gate import note_fill
from tests.risk.rows import COIN, ETH, PERP, SPOT, TOUCH, Risk, World, cancel, place
from tests.risk.test_order_rules import verdict

pytestmark = pytest.mark.kernel

MS = 1_000_000
E8 = 10**8
BIG = (1 << 63) - 1


# -- exposure ---------------------------------------------------------------------------


def test_gross_of_a_base_counts_every_account_and_contract():
    """BTC at 50,000: 0.1 of spot on one account, 50 contracts (0.1) short on the other, 10,000.

    The perp order of 0.04 at 50,000.1 is 2,000.004; the limit of 12,000.004 holds it exactly.
    """
    for limit, want in (("12000.01", w.PASS), ("12000.00", w.DENY_EXPOSURE)):
        world = World(Risk(bases={"BTC": BaseRisk(gross_max=Decimal(limit))}))
        world.account_positions[0, SPOT]["qty"] = 10_000
        world.account_positions[1, COIN]["qty"] = -50
        world.account_positions[1, ETH]["qty"] = 10_000  # another base
        world.view.top[SPOT]["bid"] = world.view.top[SPOT]["ask"] = 5_000_000
        assert verdict(world, place(qty=40))[0] == want


def test_gross_takes_open_orders_at_their_worst():
    world = World(Risk(base_gross_max=Decimal(10_000)))
    world.table.open_account[0, PERP] = (100, 60)  # 0.1 bought or 0.06 sold
    assert verdict(world, place(side=w.SELL, qty=39)) == (w.PASS, "")  # 0.099 is the smaller side
    assert verdict(world, place(qty=99)) == (w.PASS, "")
    assert verdict(world, place(qty=100)) == (w.DENY_EXPOSURE, "exposure")
    assert verdict(world, place(side=w.SELL, qty=140)) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, qty=141)) == (w.DENY_EXPOSURE, "exposure")


def test_order_that_makes_nothing_worse_passes_a_gross_limit_of_next_to_nothing():
    world = World(Risk(base_gross_max=Decimal("0.01"), firm_gross_max=Decimal("0.01")))
    world.account_positions[0, PERP]["qty"] = 50
    assert verdict(world, place(side=w.SELL, qty=50)) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, qty=100)) == (w.PASS, "")  # as short as it was long
    assert verdict(world, place(side=w.SELL, qty=101)) == (w.DENY_EXPOSURE, "exposure")
    assert verdict(world, place(qty=2)) == (w.DENY_EXPOSURE, "exposure")


def test_net_is_of_one_side_and_lets_the_other_pass():
    world = World(Risk(base_net_max=Decimal(5_000)))
    world.account_positions[0, SPOT]["qty"] = 10_000  # long 5,000
    world.account_positions[1, COIN]["qty"] = -20  # short 2,000
    assert verdict(world, place(qty=39)) == (w.PASS, "")  # 3,000 + 1,950
    assert verdict(world, place(qty=41)) == (w.DENY_EXPOSURE, "exposure")
    assert verdict(world, place(side=w.SELL, qty=159)) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, qty=161)) == (w.DENY_EXPOSURE, "exposure")
    world.table.open_account[1, COIN] = (20, 0)  # buys back: 2,000 more on the long side
    world.gate.firm[g.RESCAN] = 1
    assert verdict(world, place(qty=2)) == (w.DENY_EXPOSURE, "exposure")


def test_net_of_a_hedged_pair_is_flat_while_its_gross_is_twice():
    pair = [place(SPOT, qty=4000), place(side=w.SELL, qty=40)]
    assert World(Risk(base_net_max=Decimal(2_001))).check(*pair) == [(0, 0), (0, 0)]
    got = World(Risk(base_gross_max=Decimal(3_000))).check(*pair)
    assert got == [(0, 0), (w.DENY_EXPOSURE, g.RULE_EXPOSURE)]
    other = place(ETH, qty=400)  # another base: nothing to the base's gross, all to the firm's
    world = World(Risk(base_gross_max=Decimal(3_000), firm_gross_max=Decimal(3_000)))
    assert world.check(other, place(qty=40)) == [(0, 0), (w.DENY_EXPOSURE, g.RULE_FIRM_GROSS)]
    assert World(Risk(base_net_max=Decimal(3_000))).check(place(SPOT, qty=4000), place(qty=40)) == [
        (0, 0),
        (w.DENY_EXPOSURE, g.RULE_EXPOSURE),
    ]


@pytest.mark.parametrize(("cents", "want"), [(0, w.PASS), (-1, w.DENY_EXPOSURE)])
def test_firm_gross_is_exact_and_changeable_between_two_orders(cents, want):
    """2 ETH at 3,000.10 and 0.01 BTC at 50,000.1: 6,000.20 + 500.001."""
    world = World(Risk(firm_gross_max=Decimal(1_000_000)))
    world.account_positions[1, ETH]["qty"] = 2000
    world.view.top[ETH]["bid"] = world.view.top[ETH]["ask"] = 300_010
    world.gate.firm_gross_max[0] = 650_020_100_000 + cents
    assert verdict(world, place(qty=10))[0] == want
    world.gate.firm_gross_max[0] = 0
    assert verdict(world, place(qty=10)) == (w.DENY_EXPOSURE, "firm_gross")
    assert verdict(world, place(ETH, side=w.SELL, qty=100, account=1)) == (w.PASS, "")


def test_hedge_passes_exposure_limits():
    world = World(Risk(firm_gross_max=Decimal("0.01"), leverage_max=Decimal(1)))
    world.account_positions[0, SPOT]["qty"] = world.view.positions[SPOT]["qty"] = 10_000
    assert verdict(world, place(side=w.SELL, qty=100, flags=w.HEDGE)) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, qty=100)) == (w.DENY_EXPOSURE, "firm_gross")


def test_exposure_uses_the_rate_and_the_last_known_middle():
    world = World(Risk(firm_gross_max=Decimal(10_000)))
    world.gate.rate_e8[ETH] = 2 * E8
    world.account_positions[1, ETH]["qty"] = 1000  # 6,000.10
    assert verdict(world, place(qty=80)) == (w.DENY_EXPOSURE, "firm_gross")
    assert verdict(world, place(qty=79)) == (w.PASS, "")
    world.view.top[ETH]["bid_qty"] = 0  # a side is gone; what it was worth is known
    assert verdict(world, place(qty=80)) == (w.DENY_EXPOSURE, "firm_gross")
    assert verdict(world, place(qty=79)) == (w.PASS, "")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("held", 1 << 60),
        ("held", -(1 << 60)),
        ("bids", 1 << 60),
        ("asks", 1 << 60),
        ("held", 1 << 59),
    ],
)
def test_exposure_beyond_the_bound_is_an_overflow(cell, value):
    world = World(Risk(firm_gross_max=Decimal(10_000)))
    if cell == "held":
        world.account_positions[1, SPOT]["qty"] = value
    else:
        world.table.open_account[1, SPOT, 0 if cell == "bids" else 1] = value
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "exposure")


def test_exposure_of_many_large_cells_is_an_overflow():
    world = World(Risk(firm_gross_max=Decimal(10_000)))
    for a, i in ((1, PERP), (1, ETH), (0, ETH)):
        world.account_positions[a, i]["qty"] = 10**15 // (50 if i == PERP else 3)
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "exposure")
    world.account_positions[0, ETH]["qty"] = 0
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "exposure")


def test_own_cell_beyond_the_bound_is_an_overflow():
    world = World(Risk(firm_gross_max=Decimal(10_000)))
    world.table.open_account[0, PERP, 1] = 1 << 60
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "exposure")


def test_instrument_that_was_never_priced_blocks_what_is_not_a_reduction():
    world = World(Risk(firm_gross_max=Decimal(10_000)))
    world.account_positions[1, ETH]["qty"] = 10
    world.view.top[ETH]["bid"] = 0
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "exposure")
    world.account_positions[1, ETH]["qty"] = 0
    assert verdict(world, place()) == (w.PASS, "")


def worst(world, a, i, more=(0, 0)):
    held = int(world.account_positions[a, i]["qty"])
    bids, asks = (int(x) + y for x, y in zip(world.table.open_account[a, i], more, strict=True))
    return max(abs(held + bids), abs(held - asks)), held + bids, held - asks


def dollars(world, i, lots, price):
    """Value of lots, exact, from Decimals."""
    instrument = world.instruments[i]
    qty = Fraction(instrument.qty_decimal(lots))
    if instrument.inverse:
        return qty * Fraction(instrument.contract_value)
    return qty * Fraction(instrument.price_decimal(price))


@settings(max_examples=150)
@given(
    held=st.lists(st.integers(-60, 60), min_size=8, max_size=8),
    going=st.lists(st.integers(0, 30), min_size=16, max_size=16),
    batch=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([1, -1]), st.integers(1, 30)),
        min_size=1, max_size=4,
    ),
    firm=st.integers(0, 20_000), base=st.integers(1, 12_000), net=st.integers(1, 6_000),
)  # fmt: skip
def test_exposure_agrees_with_fractions(held, going, batch, firm, base, net):
    """Every order that passes keeps the limits or worsens nothing; every denial has its reason."""
    world = World(Risk(
        base_gross_max=Decimal(base), base_net_max=Decimal(net), self_trade="allow",
        open_orders_max=8, orders_per_s=1000, firm_gross_max=Decimal(1),
    ))  # fmt: skip
    world.gate.firm_gross_max[0] = firm * E8
    step = (1000, 5, 1, 100)  # lots worth about as much
    for k, lots in enumerate(held):
        world.account_positions[k // 4, k % 4]["qty"] = lots * step[k % 4]
    for k, lots in enumerate(going):
        world.table.open_account[k // 8, k // 2 % 4, k % 2] = lots * step[k // 2 % 4]
    rows = [place(i, side, qty * step[i]) for i, side, qty in batch]
    passed: list = []
    for (i, side, _), row, (verdict_, rule) in zip(batch, rows, world.check(*rows), strict=True):
        lots = int(row[0]["qty"])
        mids = [sum(TOUCH[j]) // 2 for j in range(4)]
        price = max(int(row[0]["price"]), mids[i])
        bases = [j for j in range(4) if (j == ETH) == (i == ETH)]
        gross = {a: {} for a in range(2)}
        toward = Fraction(0)
        for a in range(2):
            for j in range(4):
                more = (0, 0)
                if (a, j) == (0, i):
                    mine = [int(r[0]["qty"]) for r in passed if r[0]["instrument"] == i]
                    sides = [int(r[0]["side"]) for r in passed if r[0]["instrument"] == i]
                    both = list(zip(mine, sides, strict=True))
                    more = tuple(sum(q for q, s in both if s == d) for d in (1, -1))
                    before = worst(world, a, j, more)[0]
                    more = (more[0] + lots, more[1]) if side > 0 else (more[0], more[1] + lots)
                    after = worst(world, a, j, more)[0]
                    grows = after > before
                most, up, down = worst(world, a, j, more)
                at = price if (a, j) == (0, i) else mids[j]
                gross[a][j] = dollars(world, j, most, at)
                if j in bases:
                    toward += dollars(world, j, up if side > 0 else -down, at)
        for r in passed:
            j, at = int(r[0]["instrument"]), int(r[0]["price"])
            if j != i:
                worth = dollars(world, j, int(r[0]["qty"]), max(at, mids[j]))
                gross[0][j] += worth
                toward += worth if j in bases and r[0]["side"] == side else 0
        ours = sum(gross[a][j] for a in range(2) for j in bases)
        everything = sum(gross[a][j] for a in range(2) for j in range(4))
        beyond_net = toward > net
        beyond_gross = grows and (ours > base or everything > firm)
        if verdict_ == w.PASS:
            # The gate rounds up by a unit a cell, so only a hair may separate the two.
            assert not beyond_net
            assert not beyond_gross
            passed.append(row)
        elif verdict_ == w.DENY_EXPOSURE:
            hair = Fraction(30, E8)
            near_gross = grows and (ours > base - hair or everything > firm - hair)
            assert toward > net - hair or near_gross
            assert rule in (g.RULE_EXPOSURE, g.RULE_FIRM_GROSS)
        else:
            assert verdict_ in (w.DENY_NOTIONAL, w.DENY_POSITION)


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


def test_ratio_counts_trades_amends_and_the_batch():
    world = paced()
    traded(world, count=2)
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    assert [v for v, _ in world.check(*[place()] * 5, cancel(77), place(account=1))] == [w.PASS] * 7
    assert verdict(world, place(op=w.AMEND, target_order_id=77)) == (w.PASS, "")
    assert verdict(world, place(price=400_000)) == (w.DENY_BAND, "band")  # not counted
    assert world.check(place(account=1), place())[1] == (w.DENY_ORDER_RATIO, g.RULE_ORDER_RATIO)


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


def test_fills_are_not_counted_where_nothing_is_limited():
    world = World()
    traded(world)
    assert world.gate.accounts[0, g.TRADES] == 0
    assert world.gate.firm[g.CELL_COUNT] == 1
    traded(world)
    assert world.gate.firm[g.CELL_COUNT] == 1
    assert int(world.gate.cells[0, 0]) == PERP
    assert np.count_nonzero(world.gate.cells[:, 1]) == 1
