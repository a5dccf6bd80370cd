"""Tax lots by hand, and against the ledger's own realized profit."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.ports import Balance, Holding
from alephtx.ledger.book import Ledger
from alephtx.ledger.lots import TaxLots
from tests.ledger.worlds import (
    DAY,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    MONEY,
    STEPS,
    fill,
    moved,
)

D = Decimal


def folded(rows, method="fifo", holdings=()):
    lots = TaxLots(INSTRUMENTS, method)
    ledger = Ledger(INSTRUMENTS, lots)
    ledger.open_balances(0, [Balance("USDT", D(1000), D(1000))], holdings, ts=5)
    for row in rows:
        ledger.apply_update(row)
    return ledger, lots


THREE = [
    fill(LINEAR, 1, 10_000, 1_000, 1, fee="0.1", ts_event=DAY),
    fill(LINEAR, 1, 12_000, 1_000, 2, fee="0.2", ts_event=2 * DAY),
    fill(LINEAR, -1, 13_000, 1_500, 3, fee="0.3", ts_event=3 * DAY),
]


def test_fifo_disposes_of_the_oldest_lots_first():
    """Of two lots at 100 and 120, one and a half are sold at 130: 30 and 5 gained."""
    _, lots = folded(THREE)
    told = [
        (d.acquired_trade, d.disposed_trade, d.lots, d.cost, d.proceeds, d.gain, d.fees)
        for d in lots.disposals
    ]
    assert told == [
        (1, 3, 1_000, D(100), D(130), D(30), {"USDT": D("0.3")}),
        (2, 3, 500, D(60), D(65), D(5), {"USDT": D("0.2")}),
    ]
    assert [(d.acquired // DAY, d.disposed // DAY, d.short) for d in lots.disposals] == [
        (1, 3, False), (2, 3, False),
    ]  # fmt: skip
    left = lots.open[0, LINEAR]
    assert [(lot.lots, lot.trade_id, lot.fees) for lot in left] == [(500, 2, {"USDT": D("0.1")})]


def test_average_disposes_of_a_pool():
    _, lots = folded(THREE, "average")
    (row,) = lots.disposals
    assert (row.lots, row.cost, row.proceeds, row.gain) == (1_500, D(165), D(195), D(30))
    assert (row.acquired_trade, row.fees) == (1, {"USDT": D("0.525")})


def test_short_lot_has_its_proceeds_first_and_a_flip_opens_the_other_side():
    rows = [
        fill(LINEAR, -1, 10_000, 1_000, 1),
        fill(LINEAR, 1, 9_000, 3_000, 2, fee="0.03"),
    ]
    _, lots = folded(rows)
    (row,) = lots.disposals
    assert (row.short, row.proceeds, row.cost, row.gain) == (True, D(100), D(90), D(10))
    assert row.fees == {"USDT": D("0.01")}
    (left,) = lots.open[0, LINEAR]
    assert (left.lots, left.fees) == (2_000, {"USDT": D("0.02")})


@pytest.mark.parametrize("side", [1, -1])
def test_inverse_gain_is_in_the_coin(side):
    rows = [fill(INVERSE, side, 200_000, 10, 1), fill(INVERSE, -side, 250_000, 10, 2)]
    _, lots = folded(rows)
    (row,) = lots.disposals
    assert (row.gain, row.currency) == (side * D("0.01"), "BTC")
    assert {row.cost, row.proceeds} == {D("0.05"), D("0.04")}


def test_what_was_held_before_is_a_lot_and_settlement_disposes_of_it():
    rows = [moved(words.MONEY_SETTLEMENT, "1", 9, instrument=LINEAR, price=10_100, ts_event=DAY)]
    _, lots = folded(rows, holdings=[Holding(LINEAR, 1_000, D(100))])
    (row,) = lots.disposals
    assert (row.acquired, row.acquired_trade, row.disposed_trade) == (5, 0, -9)
    assert row.gain == D(1)


def test_fee_that_does_not_divide_is_shared_out_whole():
    rows = [
        fill(LINEAR, 1, 100, 3, 1, fee="0.00000001"),
        *(fill(LINEAR, -1, 100, 1, k, fee="0.00000002") for k in (2, 3, 4)),
    ]
    _, lots = folded(rows)
    assert sum(d.fees["USDT"] for d in lots.disposals) == D("0.00000007")
    assert lots.open[0, LINEAR] == []


@settings(max_examples=100)
@given(STEPS, st.sampled_from(["fifo", "average"]))
def test_gains_and_fees_sum_to_the_ledgers(steps, method):
    rows = [
        fill(i, side, price, qty, trade_id, account=a, strategy=s, fee=MONEY * cents)
        for trade_id, (i, side, price, qty, a, s, cents) in enumerate(steps, 1)
    ]
    ledger, lots = folded(rows, method)
    gains, fees = {}, D(0)
    for row in lots.disposals:
        assert row.gain == row.proceeds - row.cost
        gains[row.currency] = gains.get(row.currency, D(0)) + row.gain
        fees += row.fees.get("USDT", D(0))
    realized = ledger.realized(method=method)
    assert {c: x for c, x in gains.items() if x} == {c: x for c, x in realized.items() if x}
    fees += sum((x for q in lots.open.values() for lot in q for x in lot.fees.values()), D(0))
    assert fees == ledger.fees().get("USDT", 0)
    for (account, i), queue in lots.open.items():
        position = ledger.accounts[account, i]
        assert sum(lot.lots for lot in queue) == position.qty
        cost = position.fifo_cost if method == "fifo" else position.cost
        assert sum(lot.value for lot in queue) == cost
