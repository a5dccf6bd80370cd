"""Tiers of maintenance in a backtest: what orders are asked, and when the venue acts."""

from decimal import Decimal

import pytest

from alephtx.core import words as w
from alephtx.engine.backtest import Venue
from alephtx.engine.margins import Margin, Tier
from tests.engine.replaying import MS, PLACE, TAKE, book, play, tape, told

BUY, SELL = w.BUY, w.SELL
E8 = 10**8
BELOW = Margin(leverage=10, maintenance=0.05)
STEP = Margin(
    leverage=10, maintenance=0.05,
    tiers=(Tier(above=Decimal(500), maintenance=0.1, leverage=4),),
)  # fmt: skip


def asking(margin, balance):
    return Venue(balance=Decimal(balance), margin=margin, margin_every_ns=10 * MS)


def market(*later):
    return tape(
        *book(0, (BUY, 100, 50), (SELL, 102, 50)),
        (1, w.MARK, 0, 101, 0),
        *later,
        (900, w.TRADE, BUY, 150, 1),
    )


def answers(lines, margin, balance):
    said = told(play(market(), lines, venue=asking(margin, balance)), 0, "kind", "tag", "reason")
    return [row for row in said if row[0] in (w.ACK, w.REJECT)]


@pytest.mark.kernel
def test_an_order_into_a_tier_of_less_leverage_needs_more_margin():
    """Long 4 takes 40.4 at 101; 5 are in the tier: a quarter of 505. Binance: -2027."""
    five = [{**TAKE, "at": 5, "side": BUY, "qty": 5}]
    assert answers(five, STEP, 126) == [(w.REJECT, 1, w.REASON_INSUFFICIENT)]
    assert answers(five, STEP, 127) == [(w.ACK, 1, 0)]
    assert answers(five, BELOW, 51) == [(w.ACK, 1, 0)]


@pytest.mark.kernel
def test_growing_into_a_tier_asks_for_the_whole_position():
    """Long 4 from 102: equity is 4.816 less, 40.4 are taken; one more asks 25.25 and 60.6."""
    lines = [
        {**TAKE, "at": 5, "side": BUY, "qty": 4},
        {**PLACE, "at": 10, "side": BUY, "price": 101, "qty": 1},
    ]
    need = Decimal("4.816") + Decimal("40.4") + Decimal("25.25") + Decimal("60.6")
    assert answers(lines, STEP, need) == [(w.ACK, 1, 0), (w.ACK, 2, 0)]
    short = need - Decimal("0.00000001")
    assert answers(lines, STEP, short) == [(w.ACK, 1, 0), (w.REJECT, 2, w.REASON_INSUFFICIENT)]


@pytest.mark.kernel
def test_orders_that_rest_lift_the_next_one_to_the_tier():
    """Each bid alone is 297: 29.7; both are 594, of which a quarter is 148.5."""
    bid = {**PLACE, "side": BUY, "price": 99, "qty": 3}
    lines = [{**bid, "at": 5}, {**bid, "at": 6}]
    assert answers(lines, STEP, "148.5") == [(w.ACK, 1, 0), (w.ACK, 2, 0)]
    short = answers(lines, STEP, "148.49999999")
    assert short == [(w.ACK, 1, 0), (w.REJECT, 2, w.REASON_INSUFFICIENT)]


@pytest.mark.kernel
def test_what_rests_in_a_tier_is_held_against_the_next_order():
    """Two bids take 148.5; a bid of 99 more takes 24.75, and nothing else is left."""
    bid = {**PLACE, "side": BUY, "price": 99, "qty": 3}
    lines = [{**bid, "at": 5}, {**bid, "at": 6}, {**bid, "at": 7, "qty": 1}]
    assert answers(lines, STEP, "173.25")[2] == (w.ACK, 3, 0)
    assert answers(lines, STEP, "173.24999999")[2] == (w.REJECT, 3, w.REASON_INSUFFICIENT)


@pytest.mark.kernel
def test_a_tier_asks_its_rate_less_its_deduction():
    """Long 9 from 102 with 300: at 97 equity is 253.164 and 0.1 x 873 - 25 are asked."""
    bought = [{**TAKE, "at": 5, "side": BUY, "qty": 9}]
    due = 873 * E8 // 10 - 25 * E8
    lost = 918 * 200_000 + 45 * E8
    for more, held in ((0, 9), (-1, 0)):
        balance = (Decimal(due + lost + more)).scaleb(-8)
        rows = market((20, w.MARK, 0, 97, 0))
        margin = Margin(
            leverage=20, maintenance=0.05,
            tiers=(Tier(above=Decimal(500), maintenance=0.1, leverage=10),),
        )  # fmt: skip
        test = play(rows, bought, venue=asking(margin, balance))
        assert int(test.bottle.held[0, 0, 0]) == held, balance


@pytest.mark.kernel
def test_tiers_out_of_reach_change_nothing():
    lines = [
        {**TAKE, "at": 5, "side": BUY, "qty": 9},
        {**PLACE, "at": 6, "side": SELL, "price": 104, "qty": 9},
        {**PLACE, "at": 7, "side": BUY, "price": 99, "qty": 9},
    ]
    far = Margin(
        leverage=10, maintenance=0.05,
        tiers=(Tier(above=Decimal(5_000), maintenance=0.1, leverage=4),),
    )  # fmt: skip
    rows = market((20, w.MARK, 0, 92, 0))
    one, other = (play(rows, lines, venue=asking(margin, 100)) for margin in (BELOW, far))
    assert int(one.bottle.held[0, 0, 0]) == 0
    assert one.bottle.digest[0] == other.bottle.digest[0]
    assert (one.bottle.cash == other.bottle.cash).all()
