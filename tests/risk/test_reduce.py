"""What reduces, by itself: which side counts, and where sizes are too large to add up."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.risk import state as g
from alephtx.risk.reduce import reduces
from tests.risk.rows import COIN, ETH, PERP, SPOT, World, place
from tests.risk.test_order_rules import verdict

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("side", [w.BUY, w.SELL])
def test_reduction_counts_what_is_open_on_its_own_side_only(side):
    world = World()
    world.view.positions[PERP]["qty"] = -side * 5000
    world.view.positions[PERP]["cost"] = -side * 5000 * 500_000
    world.account_positions[0, PERP]["qty"] = side * 9000  # the account stands the other way
    own, other = (0, 1) if side > 0 else (1, 0)
    row = place(side=side, qty=1000, flags=w.REDUCE_ONLY)
    world.table.open_strategy[0, PERP, other] = 100_000
    world.table.open_strategy[0, PERP, own] = 4000
    assert verdict(world, row) == (w.PASS, "")
    world.table.open_strategy[0, PERP, own] = 4001
    assert verdict(world, row)[0] != w.PASS


@pytest.mark.parametrize("side", [w.BUY, w.SELL])
def test_hedge_counts_every_instrument_of_its_underlying_and_no_other(side):
    """0.1 of spot against perps of 0.04, inverse ones of 0.02, and ETH, which is another coin."""
    world = World()
    held, open_ = world.view.positions, world.table.open_strategy[0]
    held[SPOT]["qty"], held[ETH]["qty"] = -side * 10_000, side * 10**9
    held[PERP]["qty"], held[COIN]["qty"] = side * 30, side * 5
    own, other = (0, 1) if side > 0 else (1, 0)
    open_[PERP, own], open_[COIN, own] = 10, 5
    open_[SPOT, other] = open_[PERP, other] = open_[ETH, own] = 10**6
    # Short of 0.06 (10,000 - 3,000 - 1,000): 0.02 are open already, 0.04 may come.
    first, gone = place(side=side, qty=10), place(side=side, qty=10, verdict=w.DENY_BAND)
    for qty, want in ((30, True), (31, False)):  # 0.01 is before it in the batch
        batch = np.concatenate([gone, first, place(side=side, qty=qty, flags=w.HEDGE)])
        assert reduces(batch, 2, world.view, world.table) is want
    for qty, want in ((40, True), (41, False)):
        row = place(side=side, qty=qty, flags=w.HEDGE)
        assert reduces(row, 0, world.view, world.table) is want
        assert not reduces(place(side=side, qty=qty), 0, world.view, world.table)
        assert not reduces(place(side=-side, qty=qty, flags=w.HEDGE), 0, world.view, world.table)


@pytest.mark.parametrize(("lots", "want"), [(45_035_996_273, True), (45_035_996_274, False)])
@pytest.mark.parametrize("held", [1, -1])
def test_hedge_of_what_cannot_be_added_up_is_none(lots, want, held):
    """The bound is NO_LIMIT / 256 = 2^52 of 10^-8 coins; a perp lot is 10^5 of them."""
    assert g.NO_LIMIT >> 8 == 1 << 52
    world = World()
    world.view.positions[PERP]["qty"] = held * lots
    row = place(side=-held, qty=1, flags=w.HEDGE)
    assert reduces(row, 0, world.view, world.table) is want


@pytest.mark.parametrize(("qty", "want"), [(g.NO_LIMIT - 1, True), (g.NO_LIMIT, False), (0, False)])
def test_size_out_of_range_reduces_nothing(qty, want):
    world = World()
    world.view.positions[PERP]["qty"] = -(1 << 62)
    row = place(qty=qty, flags=w.REDUCE_ONLY)
    assert reduces(row, 0, world.view, world.table) is want
    world.table.open_strategy[0, PERP, 0] = g.NO_LIMIT
    assert not reduces(row, 0, world.view, world.table)
    world.table.open_strategy[0, PERP, 0] = 0
    assert not reduces(place(qty=g.NO_LIMIT + 1, flags=w.REDUCE_ONLY), 0, world.view, world.table)


def test_instrument_that_is_not_held_needs_no_price():
    world = World()
    world.view.positions[SPOT]["qty"] = 10_000
    world.view.top[COIN]["bid"] = 0
    row = place(side=w.SELL, qty=100, flags=w.HEDGE)
    assert reduces(row, 0, world.view, world.table)
    world.view.positions[COIN]["qty"] = 1
    assert not reduces(row, 0, world.view, world.table)


@pytest.mark.parametrize("flags", range(16))
def test_only_its_own_flag_makes_a_reduction_of_an_order(flags):
    """Short of the perp, long of the underlying: a buy reduces the one, a sale the other."""
    world = World()
    world.view.positions[PERP]["qty"] = -100
    world.view.positions[SPOT]["qty"] = 100_000
    bought = reduces(place(flags=flags), 0, world.view, world.table)
    sold = reduces(place(side=w.SELL, flags=flags), 0, world.view, world.table)
    assert (bought, sold) == (bool(flags & w.REDUCE_ONLY), bool(flags & w.HEDGE))
