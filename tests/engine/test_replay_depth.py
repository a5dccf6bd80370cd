"""Tapes of best prices or trades alone, with depth made up behind them."""

import pytest

from alephtx.core import words as w
from alephtx.core.errors import SimulationError
from alephtx.engine.backtest import Venue
from tests.engine.replaying import TAKE, play, tape, told

BUY, SELL = w.BUY, w.SELL
TRADES = tape(*((k, w.TRADE, side, 101 + side, 6) for k, side in enumerate([BUY, SELL] * 20)))
TOUCH = tape((0, w.TOP, BUY, 100, 4, 0), (0, w.TOP, SELL, 102, 6), (50, w.INDEX, 0, 101, 0))


def taken(rows, **venue):
    test = play(rows, [{**TAKE, "at": 5.5, "side": BUY, "qty": 14}], venue=Venue(**venue))
    return [row[1:] for row in told(test, 0, "kind", "price", "qty") if row[0] == w.FILL]


@pytest.mark.kernel
@pytest.mark.smoke
def test_a_taker_walks_the_levels_that_the_profile_makes():
    assert taken(TOUCH) == [(102, 6)]
    assert taken(TOUCH, depth_levels=4) == [(102, 6), (103, 5), (104, 3)]
    assert taken(TOUCH, depth_levels=1) == [(102, 6), (103, 5)]


@pytest.mark.kernel
def test_trades_alone_become_a_market_that_can_be_traded():
    assert taken(TRADES) == []
    # The seller's print at 5 ms left the touch at 100 and 102, six lots as usually traded.
    assert taken(TRADES, depth_levels=4) == [(102, 6), (103, 6), (104, 2)]


def test_depth_that_cannot_be_is_refused():
    with pytest.raises(SimulationError, match="-1 levels made up"):
        play(TOUCH, venue=Venue(depth_levels=-1))
    apart = TOUCH.copy()
    apart["flags"] |= w.TICK_EXCHANGE
    with pytest.raises(SimulationError, match="overtook each other"):
        play(apart, venue=Venue(depth_levels=2))
