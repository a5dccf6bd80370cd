"""Isolated margin in a backtest: a position's own money, and what is none of its business."""

from decimal import Decimal

import pytest

from alephtx.core import words as w
from alephtx.engine.backtest import Venue
from alephtx.engine.margins import Margin, Tier
from tests.engine.replaying import MS, PLACE, START, TAKE, book, play, table_of, tape, told

BUY, SELL = w.BUY, w.SELL
E8 = 10**8
APART = Margin(leverage=10, maintenance=0.05, liquidation_fee=0.01, isolated=True)
SHARED = Margin(leverage=10, maintenance=0.05, liquidation_fee=0.01)
OTHER = {"key": "toy:ETH-USDT-PERP", "symbol": "ETHUSDT", "base": "ETH"}


def asking(balance=200, margin=APART, **more):
    return Venue(balance=Decimal(balance), margin=margin, margin_every_ns=10 * MS, **more)


def market(*later, end=900):
    return tape(
        *book(0, (BUY, 100, 50), (SELL, 102, 50)),
        (1, w.MARK, 0, 101, 0),
        *later,
        (end, w.TRADE, BUY, 150, 1),
    )


def falls(mark, *bids, at=20):
    """Rows of a book that has come down, and of its mark."""
    return (
        (at, w.CLEAR, 0, 0, 0, 0),
        *((at, w.DELTA, BUY, price, qty, 0) for price, qty in bids),
        (at, w.DELTA, SELL, 140, 50),
        (at + 1, w.MARK, 0, mark, 0),
    )


BOUGHT = {**TAKE, "at": 5, "side": BUY, "qty": 9}
"""9 from 102: 91.8 of margin, 1.836 of fee; at 101 their value is 909."""


def cash_of(test, lane=0):
    return int(test.bottle.cash[lane, 0, test.instruments.currency("USDT")])


def pool_of(test, i=0, lane=0):
    return int(test.bottle.cash[lane, 0, len(test.instruments.currencies) + i])


def units(text):
    return int(Decimal(text) * E8)


@pytest.mark.kernel
def test_growing_moves_the_initial_margin_out_of_the_cash():
    test = play(market(), [BOUGHT], venue=asking())
    assert cash_of(test) == units("200") - units("91.8") - units("1.836")
    assert pool_of(test) == units("91.8") - units("918")


@pytest.mark.kernel
def test_reducing_gives_back_its_part_and_what_it_realised():
    """3 of 9 from 102 sold at 100: 30.6 - 6; the fee is the cash's."""
    lines = [BOUGHT, {**TAKE, "at": 10, "side": SELL, "qty": 3}]
    test = play(market(), lines, venue=asking())
    assert cash_of(test) == units("106.364") + units("24.6") - units("0.6")
    assert pool_of(test) == units("61.2") - units("612")
    flat = play(market(), [*lines, {**TAKE, "at": 15, "side": SELL, "qty": 6}], venue=asking())
    assert pool_of(flat) == 0
    assert cash_of(flat) == units("200") - 18 * E8 - units("1.836") - units("1.8")


@pytest.mark.kernel
def test_its_open_orders_are_carried_by_the_cash():
    """106.364 are left: two bids of 5 at 100 take 50 each, a third finds 6.364; 25 are too many."""
    bid = {**PLACE, "side": BUY, "price": 100, "qty": 5}
    lines = [BOUGHT, *({**bid, "at": at} for at in (6, 7, 8)), {**bid, "at": 9, "qty": 25}]
    said = told(play(market(), lines, venue=asking()), 0, "kind", "tag", "reason")
    assert [row for row in said if row[0] != w.FILL] == [
        (w.ACK, 1, 0), (w.ACK, 2, 0), (w.ACK, 3, 0),
        (w.REJECT, 4, w.REASON_INSUFFICIENT), (w.REJECT, 5, w.REASON_INSUFFICIENT),
    ]  # fmt: skip


@pytest.mark.kernel
def test_below_its_own_maintenance_it_is_closed_and_the_rest_comes_back():
    """At 96: 864 - 826.2 is 37.8, and 43.2 are asked. The account alone has 144.164 then."""
    sold = 5 * 94 + 4 * 93
    fees = Decimal(sold) * Decimal("0.012")
    rows = market(*falls(96, (94, 5), (93, 50)))
    lines = [BOUGHT, {**PLACE, "at": 6, "side": SELL, "price": 151, "qty": 2}]
    test = play(rows, lines, venue=asking())
    said = told(test, 0, "kind", "tag", "reason", "status", "at")
    assert said[-1] == (w.CANCEL_ACK, 2, w.REASON_OTHER, w.CANCELED, START + 30 * MS)
    assert int(test.bottle.held[0, 0, 0]) == 0
    assert pool_of(test) == 0
    assert cash_of(test) == units("106.364") + units(Decimal("-826.2") + sold - fees)
    assert int(test.lanes[0].ctx.account_positions[0, 0]["qty"]) == 0
    above = play(market(*falls(97, (94, 5), (93, 50))), lines, venue=asking())
    assert int(above.bottle.held[0, 0, 0]) == 9
    cross = play(rows, lines, venue=asking(margin=SHARED))
    assert int(cross.bottle.held[0, 0, 0]) == 9


@pytest.mark.kernel
def test_what_is_missing_the_insurance_pays_and_the_cash_is_untouched():
    test = play(market(*falls(60, (50, 50))), [BOUGHT], venue=asking())
    assert int(test.bottle.held[0, 0, 0]) == 0
    assert pool_of(test) == 0
    assert cash_of(test) == units("106.364")


@pytest.mark.kernel
def test_a_thin_book_closes_what_it_can_and_the_rest_at_the_next_look():
    """5 go at 94, the pool keeps what they bring; 18.16 of 19 leave it below for the other 4."""
    rows = market(*falls(95, (94, 5)), (45, w.DELTA, BUY, 93, 50))
    test = play(rows, [BOUGHT], venue=asking())
    assert pool_of(test) == 0
    sold = 5 * 94 + 4 * 93
    fees = Decimal(sold) * Decimal("0.012")
    assert cash_of(test) == units("106.364") + units(Decimal("-826.2") + sold - fees)


@pytest.mark.kernel
def test_our_own_close_beyond_the_margin_costs_no_more_than_it():
    """Sold at 50 before the venue looks: the fee is 0.9, the rest the insurance has paid."""
    rows = market(*falls(101, (50, 50), at=11))
    late = Venue(balance=Decimal(200), margin=APART, margin_every_ns=500 * MS)
    lines = [BOUGHT, {**TAKE, "at": 12, "side": SELL, "qty": 9}]
    test = play(rows, lines, venue=late)
    assert (cash_of(test), pool_of(test)) == (units("106.364") - units("0.9"), 0)


@pytest.mark.kernel
def test_a_loss_beyond_its_part_stays_with_what_is_held():
    """3 of 9 sold at 80: their part is 30.6, they lost 66: the others have 91.8 - 66 left."""
    rows = market(*falls(101, (80, 50), at=11), end=400)
    lines = [BOUGHT, {**TAKE, "at": 12, "side": SELL, "qty": 3}]
    late = Venue(balance=Decimal(200), margin=APART, margin_every_ns=500 * MS)
    test = play(rows, lines, venue=late)
    assert cash_of(test) == units("106.364") - units("0.48")
    assert pool_of(test) == units("25.8") - units("612")


@pytest.mark.kernel
def test_funding_is_paid_out_of_its_own_money():
    """1% of 909 at the mark. The account's cash is as without it."""
    rows = market((6, w.FUNDING, 0, 10**10, START + 20 * MS))
    test = play(rows, [BOUGHT], venue=asking())
    assert cash_of(test) == units("106.364")
    assert pool_of(test) == units("91.8") - units("918") - units("9.09")


@pytest.mark.kernel
def test_a_position_that_is_turned_around_is_asked_for_all_that_is_new():
    """Long 9; sold 12 at 100: 91.8 - 18 come back, 30 go to the short 3."""
    lines = [BOUGHT, {**TAKE, "at": 10, "side": SELL, "qty": 12}]
    test = play(market(), lines, venue=asking())
    assert int(test.bottle.held[0, 0, 0]) == -3
    assert cash_of(test) == units("106.364") + units("73.8") - units("2.4") - units("30")
    assert pool_of(test) == units("30") + units("300")


@pytest.mark.kernel
@pytest.mark.parametrize(("balance", "kind"), [("137.035", w.REJECT), ("137.037", w.ACK)])
def test_turning_needs_what_the_pool_does_not_give_back(balance, kind):
    """From 102 to 98 the 9 have lost 36: at the mark 55.8 come back, 20 lots need 107.8 at 98.

    Cash is what is left of the balance after 93.636: 52.
    """
    exact = Decimal(balance) + Decimal("8.6")  # 93.636 + 52 - 137.036
    rows = market((8, w.MARK, 0, 98, 0))
    lines = [BOUGHT, {**TAKE, "at": 10, "side": SELL, "qty": 20}]
    said = told(play(rows, lines, venue=asking(exact)), 0, "kind", "tag")
    assert (kind, 2) in said


@pytest.mark.kernel
@pytest.mark.parametrize(("balance", "kind"), [("135.93", w.REJECT), ("135.94", w.ACK)])
def test_an_order_that_rests_to_turn_it_holds_what_it_may_open(balance, kind):
    """20 asked at 103 leave it short 1,151: 115.1, less 82.8 of the pool; a bid of 100 takes 10."""
    lines = [
        BOUGHT,
        {**PLACE, "at": 6, "side": SELL, "price": 103, "qty": 20},
        {**PLACE, "at": 7, "side": BUY, "price": 100, "qty": 1},
    ]
    said = told(play(market(), lines, venue=asking(balance)), 0, "kind", "tag")
    assert (w.ACK, 2) in said
    assert (kind, 3) in said


@pytest.mark.kernel
def test_one_position_is_cross_and_the_other_isolated():
    """Each falls alone, and is closed alone; then both."""
    table = table_of({}, OTHER)
    venue = asking(300, SHARED, margins={OTHER["key"]: APART})
    calm, crash = market(), market(*falls(60, (50, 50)))
    both = [BOUGHT, {**BOUGHT, "at": 6, "instrument": 1}]
    one, other = (play(rows, both, venue=venue, table=table) for rows in (
        [calm, crash], [crash, calm],
    ))  # fmt: skip
    assert one.bottle.held[0, 0].tolist() == [9, 0]
    assert pool_of(one, 1) == 0
    assert cash_of(one) == units("300") - units("918") - units("3.672") - units("91.8")
    assert other.bottle.held[0, 0].tolist() == [0, 9]
    assert pool_of(other, 1) == units("91.8") - units("918")
    assert cash_of(other) == 0  # the insurance has paid what was missing of the cross position
    test = play([crash, crash], both, venue=venue, table=table)
    assert test.bottle.held[0, 0].tolist() == [0, 0]


@pytest.mark.kernel
def test_a_cross_liquidation_takes_the_orders_that_its_cash_carried_for_isolated_ones():
    table = table_of({}, OTHER)
    venue = asking(300, SHARED, margins={OTHER["key"]: APART})
    lines = [
        BOUGHT,
        {**PLACE, "at": 6, "side": BUY, "price": 90, "qty": 1, "instrument": 1},
        {**TAKE, "at": 7, "side": BUY, "qty": 2, "instrument": 1},
    ]
    test = play([market(*falls(60, (50, 50))), market()], lines, venue=venue, table=table)
    said = told(test, 0, "kind", "tag", "reason", "status")
    assert said[-1] == (w.CANCEL_ACK, 2, w.REASON_OTHER, w.CANCELED)
    assert test.bottle.held[0, 0].tolist() == [0, 2]
    own = play([market(), market(*falls(60, (50, 50)))], [
        {**PLACE, "at": 5, "side": BUY, "price": 90, "qty": 1},
        {**BOUGHT, "at": 7, "instrument": 1},
    ], venue=venue, table=table)  # fmt: skip
    assert w.CANCEL_ACK not in [kind for (kind,) in told(own, 0, "kind")]


@pytest.mark.kernel
def test_tiers_hold_for_isolated_positions_too():
    """A quarter of 918 is moved where a tenth was; below 0.1 x 792 - 25 it is closed."""
    margin = Margin(
        leverage=10, maintenance=0.05, isolated=True,
        tiers=(Tier(above=Decimal(500), maintenance=0.1, leverage=4),),
    )  # fmt: skip
    test = play(market(), [BOUGHT], venue=asking(400, margin))
    assert pool_of(test) == units("229.5") - units("918")
    for mark, held in ((82, 9), (81, 0)):  # 49.5 of 48.8 asked, 40.5 of 47.9
        test = play(market(*falls(mark, (80, 50))), [BOUGHT], venue=asking(400, margin))
        assert int(test.bottle.held[0, 0, 0]) == held


@pytest.mark.kernel
def test_no_more_margin_is_moved_than_the_account_has():
    """A market order is asked 90.9 at the mark; filled at 150 its margin were 135."""
    rows = tape(
        *book(0, (BUY, 100, 50), (SELL, 150, 50)),
        (1, w.MARK, 0, 101, 0),
        (8, w.TRADE, BUY, 150, 1),
    )
    test = play(rows, [BOUGHT], venue=asking(100))
    assert cash_of(test) == 0
    assert pool_of(test) == units("100") - units("2.7") - units("1350")


@pytest.mark.kernel
def test_without_a_balance_nothing_is_isolated():
    test = play(market(), [BOUGHT], venue=Venue(margin=APART))
    plain = play(market(), [BOUGHT], venue=Venue())
    assert test.bottle.cash.tolist() == plain.bottle.cash.tolist()
    assert test.bottle.digest[0] == plain.bottle.digest[0]


@pytest.mark.kernel
def test_an_inverse_position_has_its_own_coins():
    """50 contracts from 102 at 10x: a tenth of 50 / 102 coins."""
    change = {
        "contract": w.INVERSE, "settle": "BTC", "maker_fee": Decimal(0), "taker_fee": Decimal(0),
    }  # fmt: skip
    lines = [{**BOUGHT, "qty": 50}]
    test = play(market(), lines, table=table_of(change), venue=asking(1))
    coins = (50 * E8 + 51) // 102
    margin = -(-coins // 10)
    assert int(test.bottle.cash[0, 0, test.instruments.currency("BTC")]) == E8 - margin
    assert pool_of(test) == margin + coins
