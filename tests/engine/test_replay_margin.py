"""Margin, liquidation and filters of a simulated venue; its books of our money."""

from decimal import Decimal

import pytest

from alephtx.core import words as w
from alephtx.core.errors import SimulationError
from alephtx.engine import context as c
from alephtx.engine.backtest import Venue
from alephtx.engine.margins import Margin
from alephtx.testing.synthetic import synthetic
from tests.engine.replaying import MS, PLACE, START, TAKE, book, play, table_of, tape, told
from tests.engine.test_replay import AS_THE_PEERS, run

BUY, SELL = w.BUY, w.SELL
E8 = 10**8
TENTH = Margin(leverage=10, maintenance=0.05, liquidation_fee=0.01)


def poor(balance=100, **more):
    return Venue(balance=Decimal(balance), margin=TENTH, margin_every_ns=10 * MS, **more)


def falling(*later):
    """A book around 101 that then falls away, as the marks say."""
    return tape(
        *book(0, (BUY, 100, 50), (SELL, 102, 50)),
        (1, w.MARK, 0, 101, 0),
        *later,
        (900, w.TRADE, BUY, 150, 1),
    )


@pytest.mark.kernel
@pytest.mark.smoke
def test_what_an_account_cannot_carry_is_refused_and_what_reduces_is_not():
    script = [
        {**TAKE, "at": 5, "side": BUY, "qty": 9},  # 909 at the mark: 90.9 of 100, less a fee
        {**PLACE, "at": 6, "side": BUY, "price": 99, "qty": 1},
        {**PLACE, "at": 7, "side": SELL, "price": 103, "qty": 9},
        {**PLACE, "at": 8, "side": SELL, "price": 104, "qty": 9},  # both would make it short 9
        {**PLACE, "at": 9, "side": SELL, "price": 104, "qty": 1},  # nearer to flat by itself
    ]
    said = told(play(falling(), script, venue=poor()), 0, "kind", "tag", "reason")
    assert [row for row in said if row[0] != w.FILL] == [
        (w.ACK, 1, 0),
        (w.REJECT, 2, w.REASON_INSUFFICIENT),
        (w.ACK, 3, 0),
        (w.ACK, 4, 0),
        (w.ACK, 5, 0),
    ]
    free = told(play(falling(), script, venue=Venue()), 0, "kind", "tag")
    assert (w.ACK, 2) in free


@pytest.mark.kernel
def test_below_maintenance_the_venue_cancels_closes_and_asks_its_fee():
    """Long 9 from 102 with 98.164: at 95 equity is 35.164 and 42.75 are asked."""
    rows = falling(
        (20, w.MARK, 0, 97, 0),
        (21, w.CLEAR, 0, 0, 0, 0),
        (21, w.DELTA, BUY, 94, 5, 0),
        (21, w.DELTA, BUY, 93, 50, 0),
        (21, w.DELTA, SELL, 97, 50),
        (45, w.MARK, 0, 95, 0),
    )
    script = [
        {**TAKE, "at": 5, "side": BUY, "qty": 9},
        {**PLACE, "at": 6, "side": SELL, "price": 120, "qty": 2},
    ]
    test = play(rows, script, venue=poor())
    said = told(test, 0, "kind", "tag", "reason", "status", "at")
    assert said[-1] == (w.CANCEL_ACK, 2, w.REASON_OTHER, w.CANCELED, START + 50 * MS)
    assert int(test.bottle.held[0, 0, 0]) == 0
    sold = 5 * 94 + 4 * 93
    fees = (918 + sold) * 200_000 + sold * 1_000_000
    currency = test.instruments.currency("USDT")
    assert int(test.bottle.cash[0, 0, currency]) == (100 - 918 + sold) * E8 - fees
    ctx = test.lanes[0].ctx
    assert int(ctx.account_positions[0, 0]["qty"]) == 0  # told as fills of nobody's order
    assert int(ctx.positions[0, 0]["qty"]) == 9  # so the strategy's own stays, as live
    assert int(ctx.counters[c.C_FILLS]) == 1 + 2


@pytest.mark.kernel
def test_what_a_fall_leaves_missing_the_insurance_pays():
    rows = falling(
        (21, w.CLEAR, 0, 0, 0, 0),
        (21, w.DELTA, BUY, 50, 50, 0),
        (21, w.DELTA, SELL, 97, 50),
        (22, w.MARK, 0, 60, 0),
    )
    test = play(rows, [{**TAKE, "at": 5, "side": BUY, "qty": 9}], venue=poor())
    currency = test.instruments.currency("USDT")
    assert int(test.bottle.cash[0, 0, currency]) == 0
    assert int(test.bottle.held[0, 0, 0]) == 0


@pytest.mark.kernel
def test_nothing_is_closed_behind_a_gap_nor_while_there_is_no_trading():
    crash = ((22, w.MARK, 0, 60, 0), (300, w.MARK, 0, 101, 0))
    for stop, start in (
        ([(15, w.GAP, 0, 0, 0)], book(400, (BUY, 100, 5), (SELL, 102, 5))),
        ([(15, w.STATUS, 0, w.HALTED, 0)], [(400, w.STATUS, 0, w.TRADING, 0)]),
    ):
        test = play(
            falling(*stop, *crash, *start), [{**TAKE, "at": 5, "side": BUY, "qty": 9}], venue=poor()
        )
        assert int(test.bottle.held[0, 0, 0]) == 9


@pytest.mark.kernel
def test_accounts_of_lanes_are_apart():
    """One lane is liquidated, its neighbour with a smaller position is not."""
    rows = falling((20, w.MARK, 0, 95, 0))
    lanes = [[{**TAKE, "at": 5, "side": BUY, "qty": qty}] for qty in (9, 2)]
    both = play(rows, lanes[0], sets=lanes[1:], venue=poor())
    assert both.bottle.held[:, 0, 0].tolist() == [0, 2]
    for lane, script in enumerate(lanes):
        alone = play(rows, script, venue=poor())
        assert alone.bottle.digest[0] == both.bottle.digest[lane]
        assert (alone.bottle.cash[0] == both.bottle.cash[lane]).all()


@pytest.mark.kernel
def test_an_inverse_contract_is_margined_in_its_coin():
    """100 contracts of 1 dollar from 102: at 51 their holder owes twice the coin he was given."""
    change = {
        "contract": w.INVERSE, "settle": "BTC", "maker_fee": Decimal(0), "taker_fee": Decimal(0),
    }  # fmt: skip
    rows = falling((20, w.MARK, 0, 51, 0))
    test = play(
        rows, [{**TAKE, "at": 5, "side": BUY, "qty": 50}], table=table_of(change), venue=poor(1)
    )
    currency = test.instruments.currency("BTC")
    assert int(test.bottle.cash[0, 0, currency]) == E8 + round(50 * E8 / 102)
    assert int(test.bottle.held[0, 0, 0]) == 50


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("change", "order"),
    [
        ({"qty_min": Decimal(2)}, {"price": 99, "qty": 1}),
        ({"lot_size": Decimal(2)}, {"price": 99, "qty": 3}),
        ({"tick_size": Decimal(5)}, {"price": 99, "qty": 2}),
        ({"notional_min": Decimal(199)}, {"price": 99, "qty": 2}),
        ({}, {"price": 80, "qty": 2}),
    ],
)
def test_a_venue_with_filters_refuses_what_breaks_them(change, order):
    """The gate knows the same grid: its own check is lifted here by telling it of none."""
    test = play(
        falling(),
        [{**PLACE, "at": 5, "side": BUY, **order}, {**PLACE, "at": 6, "side": BUY, **order}],
        venue=Venue(filters=True, band=0.15),
        table=table_of({}),
        before=lambda test: stricter(test, table_of(change)),
    )
    assert told(test, 0, "kind", "reason") == [(w.REJECT, w.REASON_FILTER)] * 2


def stricter(test, table):
    """Give the venue other rules than the engine was told."""
    test.bottle.instruments[:] = table.rows()


@pytest.mark.kernel
def test_the_venues_books_are_the_engines_to_the_unit():
    """Cash is what the lane's own positions say, less fees."""
    rows, table = synthetic(6_000)
    test = run(rows, table, venue=AS_THE_PEERS)
    held = test.lanes[0].ctx.positions[0, 0]
    wanted = int(held["realized"]) - int(held["cost"]) * 10**4 - int(held["fees"])
    assert int(test.bottle.held[0, 0, 0]) == int(held["qty"])
    assert test.bottle.cash[0, 0].tolist() == [
        wanted if name == "USDT" else 0 for name in table.currencies
    ]
    assert int(held["fills"]) > 10


@pytest.mark.parametrize(
    ("venue", "match"),
    [
        (Venue(self_trade="maybe"), "self_trade 'maybe'"),
        (Venue(margins={"x:Y": Margin()}), "margins of x:Y"),
        (Venue(margin=Margin(leverage=0.5)), "leverage 0.5"),
        (Venue(margin=Margin(leverage=20, maintenance=0.1)), "would be liquidated"),
        (Venue(band=1.0), "band 1.0"),
    ],
)
def test_rules_that_cannot_be_are_refused(venue, match):
    with pytest.raises(SimulationError, match=match):
        play(falling(), venue=venue)
