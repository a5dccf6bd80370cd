"""The gate's rules about STOP orders, with the numbers written out. BTC at 50,000, ETH at 3,000."""

import pytest

from alephtx.core import words as w
from alephtx.risk import state as lim
from tests.risk.rows import ETH, PERP, World, place
from tests.risk.test_gate import BIG, verdict

pytestmark = pytest.mark.kernel


@pytest.fixture
def world():
    return World()


STOP = {"type": w.STOP, "price": 0}


def test_a_stop_passes_only_where_it_can_be_sent(world):
    assert verdict(world, place(PERP, trigger=510_000, **STOP)) == (w.DENY_ORDER_TYPE, "shape")
    world.gate.market[PERP, lim.STOPS] = 1
    assert verdict(world, place(PERP, trigger=510_000, **STOP)) == (w.PASS, "")
    assert verdict(world, place(ETH, trigger=310_000, **STOP)) == (w.DENY_ORDER_TYPE, "shape")
    for trigger in (0, -1):
        assert verdict(world, place(PERP, trigger=trigger, **STOP)) == (w.DENY_TICK, "shape")
    market = place(PERP, trigger=510_000, flags=w.POST_ONLY, **STOP)
    assert verdict(world, market) == (w.DENY_TICK, "shape")
    for trigger in (BIG, 10_000_001):
        assert verdict(world, place(PERP, trigger=trigger, **STOP)) == (w.DENY_TICK, "grid")
    world.gate.market[ETH, lim.STOPS] = 1
    assert verdict(world, place(ETH, trigger=310_001, **STOP)) == (w.DENY_TICK, "grid")
    limit = {"type": w.STOP, "price": 310_000}
    assert verdict(world, place(ETH, trigger=310_001, **limit)) == (w.DENY_TICK, "grid")


def test_the_band_of_a_stop_lies_around_its_trigger(world):
    """510,000 is 2 % from the middle; the band is 1 %."""
    world.gate.market[PERP, lim.STOPS] = 1
    limit = {"type": w.STOP, "trigger": 510_000}
    assert verdict(world, place(PERP, price=515_100, **limit)) == (w.PASS, "")
    assert verdict(world, place(PERP, price=515_101, **limit)) == (w.DENY_BAND, "band")


def test_a_stop_is_valued_at_its_trigger(world):
    """1.97 BTC at 51,000 are 100,470, at the middle 98,500; the limit is 100,000."""
    world.gate.market[PERP, lim.STOPS] = 1
    assert verdict(world, place(PERP, qty=1_970, trigger=510_000, **STOP)) == (
        w.DENY_NOTIONAL, "notional",
    )  # fmt: skip
    assert verdict(world, place(PERP, qty=1_960, trigger=510_000, **STOP)) == (w.PASS, "")


def test_a_trigger_beyond_the_instruments_prices_is_off_its_grid(world):
    world.gate.market[PERP, lim.STOPS] = 1
    row = world.view.instruments[PERP]
    row["price_min"], row["price_max"] = 400_000, 600_000
    limit = {"type": w.STOP, "price": 500_000}
    for trigger in (399_999, 600_001):
        for kind in (STOP, limit):
            assert verdict(world, place(PERP, trigger=trigger, **kind)) == (w.DENY_TICK, "grid")
    assert verdict(world, place(PERP, trigger=600_000, **STOP)) == (w.PASS, "")


def test_a_stop_is_not_amended(world):
    world.gate.market[PERP, lim.STOPS] = 1
    amend = place(PERP, op=w.AMEND, target_order_id=77, trigger=510_000, **STOP)
    assert verdict(world, amend) == (w.DENY_ORDER_TYPE, "shape")
