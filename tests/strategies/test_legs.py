"""Base coin of legs: inverse positions by their cost, closed to the contract."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.core.records import POSITION, TOP_ROW
from alephtx.core.units import OVERFLOW
from alephtx.core.view import View
from alephtx.strategies import legs
from alephtx.strategies.sections import reading
from tests.strategies.world import COIN, PERP, SPOT, instruments

pytestmark = pytest.mark.kernel


def view(**positions):
    rows = np.zeros(3, POSITION)
    for name, (qty, cost) in positions.items():
        i = {"spot": SPOT, "perp": PERP, "coin": COIN}[name]
        rows[i]["qty"], rows[i]["cost"] = qty, cost
    none = np.zeros(1, np.int64)
    return View(none, np.zeros(3, TOP_ROW), none, none, rows, none, none, instruments().rows())


def test_base_of_positions_by_contract():
    world = view(spot=(12_345, 1), perp=(-7, 1), coin=(50, 9_988_014))
    assert legs.held_base(world, SPOT) == 12_345_000
    assert legs.held_base(world, PERP) == -700_000
    assert legs.held_base(world, COIN) == 9_988_014


@pytest.mark.parametrize("lots", [(1 << 62) - 1, 1 << 58])
def test_base_beyond_the_bound_is_an_overflow(lots):
    assert legs.held_base(view(spot=(lots, 0)), SPOT) == OVERFLOW
    assert legs.held_base(view(coin=(1, -lots)), COIN) == OVERFLOW


def test_closing_an_inverse_takes_off_its_cost_whatever_the_price():
    world = view(coin=(-50, -10_000_000))  # sold at 50,000
    for price in (100_000, 500_000, 2_000_000):
        assert legs.trade_base(world, COIN, price, 20, w.BUY) == 4_000_000
        assert legs.trade_lots(world, COIN, price, 4_000_000, w.BUY) == 20
        assert legs.trade_lots(world, COIN, price, 10_000_000, w.BUY) == 50
    assert legs.trade_base(world, COIN, 500_000, 70, w.BUY) == 10_000_000 + 4_000_000
    assert legs.trade_lots(world, COIN, 500_000, 14_000_000, w.BUY) == 70
    assert legs.trade_base(world, COIN, 500_000, 20, w.SELL) == 4_000_000
    assert legs.trade_lots(world, COIN, 500_000, 0, w.BUY) == 0
    assert legs.trade_base(world, COIN, 1, (1 << 61), w.BUY) == OVERFLOW


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(100_000, 900_000), st.integers(1, 9))
def test_lots_of_the_base_of_lots_are_those_lots(held, lots, price, part):
    """The way there and back is exact while closing, for any cost."""
    cost = held * 10**8 * 1000 // price
    world = view(coin=(-held, -cost))
    closing = min(held, lots * part // 9 + 1)
    base = legs.trade_base(world, COIN, price, closing, w.BUY)
    assert legs.trade_lots(world, COIN, price, base, w.BUY) == closing


def test_instrument_without_a_lot_step_gives_no_lots():
    world = view(coin=(-50, -10_000_000))
    world.instruments[COIN]["lot_step"] = 0
    assert legs.trade_lots(world, COIN, 500_000, 4_000_000, w.BUY) == 0
    assert legs.trade_lots(world, COIN, 500_000, 4_000_000, w.SELL) == 0


def test_order_must_fit_the_venues_bounds():
    world = view()
    world.instruments[SPOT]["qty_max"] = 1000
    fits = [legs.order_fits(world, SPOT, 5_000_000, lots) for lots in (0, 9, 10, 1000, 1001)]
    assert fits == [False, False, True, True, False]


def test_section_refuses_what_does_not_fit_a_word():
    with (
        pytest.raises(ConfigError, match="does not fit 62 bits"),
        reading({"x": "900000000000"}, "mine") as read,
    ):
        read.scaled("x", "1", "0", "1e12", 9)
