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


@pytest.mark.kernel
def test_own_impact_worsens_what_we_take_fades_and_stops_at_the_limit():
    """Half a tick a lot: 6 lots pay 1.5 more on average, the next 5 4.25; later none."""
    rows = tape(
        *((0, w.DELTA, side, price, qty) for side, price, qty in
          [(BUY, 100, 50), (SELL, 102, 6), (SELL, 103, 5), (SELL, 104, 90)]),
        (5.9, w.DELTA, SELL, 102, 6),
        (5.9, w.DELTA, SELL, 103, 5),
        (900, w.INDEX, 0, 1, 0),
    )  # fmt: skip
    limit = {**TAKE, "type": w.LIMIT, "price": 104}
    script = [
        {**TAKE, "at": 1.5, "side": BUY, "qty": 11},
        {**TAKE, "at": 2, "side": SELL, "qty": 2},  # against the push: at the bid
        {**limit, "at": 5, "side": BUY, "qty": 1},
        {**TAKE, "at": 500, "side": BUY, "qty": 1},
    ]
    venue = Venue(impact=0.5, impact_decay_ns=10_000_000)
    fills = [row[1:] for row in told(play(rows, script, venue=venue), 0, "kind", "price", "qty")]
    assert [row for row in fills if row[1]] == [(104, 6), (107, 5), (100, 2), (104, 1), (102, 1)]
    plain = [row[1:] for row in told(play(rows, script), 0, "kind", "price", "qty")]
    assert [row for row in plain if row[1]] == [(102, 6), (103, 5), (100, 2), (104, 1), (102, 1)]


def test_depth_that_cannot_be_is_refused():
    with pytest.raises(SimulationError, match="-1 levels made up"):
        play(TOUCH, venue=Venue(depth_levels=-1))
    with pytest.raises(SimulationError, match="ticks a lot, fading"):
        play(TOUCH, venue=Venue(impact=-1.0))
    apart = TOUCH.copy()
    apart["flags"] |= w.TICK_EXCHANGE
    with pytest.raises(SimulationError, match="overtook each other"):
        play(apart, venue=Venue(depth_levels=2))
