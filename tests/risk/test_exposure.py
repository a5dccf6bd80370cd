"""Exposure by base and over everything: at its edges, and against fractions."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.risk_schema import BaseRisk
from alephtx.core.units import OVERFLOW
from alephtx.risk import state as g
from alephtx.risk.exposure import gross_now, mark, worth
from tests.risk.rows import COIN, ETH, PERP, SPOT, TOUCH, Risk, World, place
from tests.risk.test_order_rules import verdict

pytestmark = pytest.mark.kernel

MS = 1_000_000
E8 = 10**8
BIG = (1 << 63) - 1
WORDS = (g.FIRM_GROSS, g.BASE_GROSS, g.BASE_NET, g.ACCOUNT_GROSS)


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


@pytest.mark.parametrize(("side", "price"), [(w.BUY, 500_001), (w.SELL, 500_000)])
@pytest.mark.parametrize("going", [30, 31, 33])
def test_own_cell_adds_what_is_open_and_what_the_batch_brings(side, price, going):
    """A sell is valued at the middle of 50,000 (rounded down), a buy at its own price."""
    whole = (going + 31 + 33) * price
    for cents, want in ((0, w.PASS), (-1, w.DENY_EXPOSURE)):
        world = World(Risk(firm_gross_max=Decimal(1)))
        world.gate.firm_gross_max[0] = whole * 10_000 + cents
        world.table.open_account[0, PERP, 0 if side > 0 else 1] = going
        world.table.open_account[0, PERP, 1 if side > 0 else 0] = 2
        assert verdict(world, place(side=side, qty=31), place(side=side, qty=33))[0] == want


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


@pytest.mark.parametrize(("first", "second"), [(PERP, ETH), (ETH, PERP)])
def test_batch_adds_nothing_to_another_base(first, second):
    """Each order is worth about 3,000."""
    world = World(Risk(base_gross_max=Decimal(4_000), base_net_max=Decimal(4_000)))
    qty = {PERP: 60, ETH: 1000}
    batch = [place(i, qty=qty[i]) for i in (first, second)]
    assert world.check(*batch) == [(0, 0), (0, 0)]


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


def test_worth_is_nothing_for_nothing_and_bounded():
    """2^30 lots at 10^4 are 10^8 x 2^30; at a rate of 2^30 that is NO_LIMIT, which is too much."""
    rows = World().view.instruments
    for i, price in ((PERP, 0), (PERP, 500_000), (COIN, 0)):
        assert worth(rows, i, price, 0, E8) == 0
    assert worth(rows, PERP, 10_000, 1 << 30, 1 << 30) == OVERFLOW
    assert worth(rows, PERP, 10_000, -(1 << 30), 1 << 30) == OVERFLOW
    assert worth(rows, PERP, 10_000, 1 << 30, (1 << 30) - 1) == ((1 << 30) - 1) << 30
    assert worth(rows, PERP, 0, 1, E8) == OVERFLOW
    assert worth(rows, PERP, 1, 1, E8) == 10_000
    assert worth(rows, COIN, 0, 1, E8) == 100 * E8  # a contract of 100 dollars, whatever the price


def test_smallest_middle_is_one_and_is_remembered():
    world = World()
    row = world.view.top[PERP]
    row["bid"] = row["ask"] = 1
    assert mark(world.view.top, world.gate.market, PERP) == 1
    row["bid"] = 0
    assert mark(world.view.top, world.gate.market, PERP) == 1
    assert mark(world.view.top, np.zeros_like(world.gate.market), PERP) == 0


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


@given(
    held=st.lists(st.integers(-60, 60), min_size=8, max_size=8),
    going=st.lists(st.integers(0, 90), min_size=16, max_size=16),
    rate=st.sampled_from([E8 // 2, E8, 3 * E8]),
)
def test_gross_as_it_is_agrees_with_fractions(held, going, rate):
    world = World()
    world.gate.rate_e8[:] = rate
    exact = Fraction(0)
    for k, lots in enumerate(held):
        a, i = k // 4, k % 4
        world.account_positions[a, i]["qty"] = lots
        world.table.open_account[a, i] = going[2 * k : 2 * k + 2]
        exact += dollars(world, i, worst(world, a, i)[0], sum(TOUCH[i]) // 2) * rate / E8
    gate, view = world.gate, world.view
    got = gross_now(
        view.top, view.instruments, gate.market, gate.rate_e8, world.table.open_account,
        world.account_positions,
    )  # fmt: skip
    assert 0 <= got - exact * E8 <= 8 * (rate / E8 + 1)  # a unit up where a cell is valued


def test_gross_as_it_is_knows_the_last_middle_and_says_where_there_is_none():
    world = World()
    world.account_positions[1, ETH]["qty"] = -10

    def gross():
        gate, view = world.gate, world.view
        return gross_now(
            view.top, view.instruments, gate.market, gate.rate_e8, world.table.open_account,
            world.account_positions,
        )  # fmt: skip

    world.view.top[ETH]["bid"] = 0
    assert gross() == OVERFLOW
    world.gate.market[ETH, g.MIDDLE] = 300_000
    assert gross() == 30 * E8
    world.account_positions[0, SPOT]["qty"] = world.account_positions[1, SPOT]["qty"] = 10**16
    assert gross() == OVERFLOW


@given(
    held=st.lists(st.integers(-60, 60), min_size=8, max_size=8),
    going=st.lists(st.integers(0, 90), min_size=16, max_size=16),
    order=st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from([1, -1])),
    qty=st.integers(1, 60),
)
def test_sums_with_an_order_agree_with_fractions(held, going, order, qty):
    """What `survey` finds, word by word; the order's own cell is valued at its price if dearer."""
    world = World(Risk(firm_gross_max=Decimal(10**9), self_trade="allow", notional_max=10**9))
    world.view.instruments["notional_min"] = 0
    step = (2000, 10, 2, 200)  # lots worth about as much
    for k, lots in enumerate(held):
        world.account_positions[k // 4, k % 4]["qty"] = lots * step[k % 4]
        world.table.open_account[k // 4, k % 4] = [
            n * step[k % 4] for n in going[2 * k : 2 * k + 2]
        ]
    a, i, side = order
    row = place(i, side, qty * step[i], account=a)
    assert verdict(world, row) in ((w.PASS, ""), (w.DENY_POSITION, "position"))
    if verdict(world, row)[0] != w.PASS:
        return
    more = (qty * step[i], 0) if side > 0 else (0, qty * step[i])
    firm = base = mine = net = Fraction(0)
    for b in range(2):
        for j in range(4):
            own = (b, j) == (a, i)
            most, up, down = worst(world, b, j, more if own else (0, 0))
            middle = sum(TOUCH[j]) // 2
            at = max(middle, int(row[0]["price"])) if own else middle
            gross, toward = (dollars(world, j, n, at) for n in (most, up if side > 0 else -down))
            firm += gross
            mine += gross if b == a else 0
            same = (j == ETH) == (i == ETH)
            base += gross if same else 0
            net += toward if same else 0
    found = [int(world.gate.firm[word]) for word in WORDS]
    for got, exact in zip(found, (firm, base, net, mine), strict=True):
        assert -8 <= got - exact * E8 <= 8
    grows = worst(world, a, i, more)[0] > worst(world, a, i)[0]
    assert world.gate.firm[g.GROWS] == grows


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
