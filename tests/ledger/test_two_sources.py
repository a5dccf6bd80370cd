"""Two profits: the kernel's and the books', held equal, and broken on purpose."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.config_schema import Risk
from alephtx.core.ports import Holding
from alephtx.core.records import ORDER, POSITION, TOP_ROW
from alephtx.core.units import OVERFLOW
from alephtx.core.view import View
from alephtx.ledger.cost import counted_fee
from alephtx.ledger.positions import position_fill
from alephtx.ledger.two_sources import (
    ACCOUNTING,
    FINE,
    ROUNDINGS,
    STOP,
    UNKNOWN,
    Marks,
    Profit,
    account_profit,
    judge,
    kernel_profit,
    strategy_profit,
    uncounted_profit,
    worth_of,
)
from alephtx.risk.drawdown import strategy_profit as compiled
from alephtx.risk.limits import make_gate
from tests.ledger.worlds import (
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    MONEY,
    ODD,
    ROWS,
    SPOT,
    STEPS,
    fill,
    opened,
    row_of,
    update,
)

D = Decimal
E8 = 10**8
RATES = dict.fromkeys(range(len(INSTRUMENTS)), E8)
LIMIT = 1_000 * E8


def kernel_rows(steps, owner):
    """Return the POSITION rows that compiled code has after the steps of one strategy."""
    rows, out = np.zeros(len(INSTRUMENTS), POSITION), np.zeros(1, np.int64)
    for i, side, price, qty, _, strategy, cents in steps:
        if owner in (None, strategy):
            assert position_fill(rows[i : i + 1], row_of(i), side, price, qty, out) == 0
            counted = counted_fee(INSTRUMENTS[i], "BTC", cents, price)
            rows[i]["fees"] += counted or 0
    return rows


def booked(steps):
    ledger = opened()
    for trade_id, (i, side, price, qty, _, strategy, cents) in enumerate(steps, 1):
        row = fill(
            i, side, price, qty, trade_id, strategy=strategy, fee=MONEY * cents, currency="BTC"
        )
        ledger.apply_update(row)
    return ledger


@pytest.mark.parametrize(
    ("kernel", "books", "aside", "verdict"),
    [
        (0, Profit(0, 5), 0, FINE),
        (-LIMIT + 1, Profit(-LIMIT + 1, 0), 0, FINE),
        (-LIMIT, Profit(-LIMIT, 5), 0, STOP),
        (-LIMIT + 3, Profit(-LIMIT, 5), 0, STOP),  # within rounding, one is beyond
        (-LIMIT, Profit(-LIMIT + 3, 5), 0, STOP),
        (-LIMIT + 5, Profit(-LIMIT + 5, 0), -5, STOP),  # funding and the like are a loss too
        (-LIMIT + 5, Profit(-LIMIT + 5, 0), -4, FINE),
        (-LIMIT, Profit(-LIMIT, 0), LIMIT, STOP),  # what was earned beside it does not mask it
        (-2 * LIMIT, Profit(0, 5), 0, ACCOUNTING),  # the kernel would have fired
        (0, Profit(-2 * LIMIT, 5), 0, ACCOUNTING),  # the kernel would have masked
        (0, Profit(6, 5), 0, ACCOUNTING),
        (5, Profit(0, 5), 0, FINE),
        (None, Profit(0, 5), 0, UNKNOWN),
        (0, None, 0, UNKNOWN),
        (None, None, 0, UNKNOWN),
    ],
)
def test_verdict_is_the_tables(kernel, books, aside, verdict):
    assert judge(kernel, books, aside, LIMIT) == verdict


def test_verdicts_are_told_apart():
    assert sorted((FINE, STOP, ACCOUNTING, UNKNOWN)) == [0, 1, 2, 3]


@pytest.mark.parametrize("fees", [-7, 0, 7])
@pytest.mark.parametrize("realized", [-7, 0, 7])
@pytest.mark.parametrize("qty", [-1, 0, 1])
def test_smallest_rows_count(qty, realized, fees):
    rows = np.zeros(len(INSTRUMENTS), POSITION)
    rows[LINEAR]["qty"], rows[LINEAR]["realized"], rows[LINEAR]["fees"] = qty, realized, fees
    for mark in (0, 10_000):
        got = kernel_profit(rows, ROWS, Marks({LINEAR: mark}, RATES))
        worth = qty * 100 * E8 // 1_000  # a lot is 0.001, the mark 100.00
        assert got == (None if qty and not mark else realized - fees + worth)


PRICES = st.lists(st.integers(1, 1_000_000), min_size=len(INSTRUMENTS), max_size=len(INSTRUMENTS))


@settings(max_examples=100)
@given(STEPS, PRICES, st.integers(1, 10**9))
def test_both_sources_agree_within_rounding(steps, prices, rate):
    marks = Marks(dict(enumerate(prices)), dict.fromkeys(RATES, rate))
    ledger = booked(steps)
    for strategy in range(3):
        kernel = kernel_profit(kernel_rows(steps, strategy), ROWS, marks)
        books = strategy_profit(ledger, strategy, marks)
        assert judge(kernel, books, 0, 1 << 62) == FINE, (kernel, books)
        assert books.tolerance < len(INSTRUMENTS) * (5 * 100_000 * rate / E8 + 4)


@settings(max_examples=60)
@given(STEPS, PRICES)
def test_books_agree_with_fractions(steps, prices):
    """Cash paid and received, and what is left at the mark: no rule of cost in it at all."""
    ledger = booked(steps)
    marks = Marks(dict(enumerate(prices)), RATES)
    for strategy in range(3):
        total = Fraction(0)
        for i, side, price, qty, _, who, cents in steps:
            if who != strategy:
                continue
            instrument, mark = INSTRUMENTS[i], Fraction(prices[i], 10 ** INSTRUMENTS[i].price_scale)
            paid = Fraction(price, 10**instrument.price_scale)
            size = Fraction(side * qty, 10**instrument.qty_scale) * Fraction(
                instrument.contract_value
            )
            if instrument.inverse:
                total += (size / paid - size / mark - Fraction(cents, E8)) * mark
            else:
                total += size * (mark - paid)
                total -= Fraction(cents, E8) * paid if instrument.settle != "BTC" else 0
        found = strategy_profit(ledger, strategy, marks)
        assert abs(found.amount - total * E8) <= len(steps) * 120_000


@pytest.mark.kernel
@settings(max_examples=60)
@given(STEPS, PRICES, st.integers(1, 10**9))
def test_python_reads_the_rows_as_the_latch_does(steps, prices, rate):
    """`kernel_profit` is the compiled `strategy_profit` in Python: equal to the unit."""
    rows = kernel_rows(steps, 1)
    top = np.zeros(len(INSTRUMENTS), TOP_ROW)
    top["bid"], top["ask"] = prices, prices
    top["bid_qty"] = top["ask_qty"] = 1
    view = View(
        np.zeros(4, np.int64), top, np.zeros((1, 2, 1, 2), np.int64), None, rows,
        np.zeros(1, ORDER), np.zeros(1, np.int64), ROWS,
    )  # fmt: skip
    gate = make_gate(Risk(), INSTRUMENTS, 1, 1)
    gate.rate_e8[:] = rate
    marks = Marks(dict(enumerate(prices)), dict.fromkeys(RATES, rate))
    found = compiled(view, gate)
    if found != OVERFLOW:  # then the gate refuses by itself
        assert kernel_profit(rows, ROWS, marks) == found


MARKS = Marks({SPOT: 2_000_000, LINEAR: 11_000, INVERSE: 250_000, ODD: 50_000}, RATES)


def settled_life(**bent):
    """Book a little life with fees in the settle currency; bent: changes of the second row."""
    ledger = opened(("USDT", "10000"), ("BTC", "1"))
    rows = [
        fill(LINEAR, 1, 10_000, 2_000, 1, strategy=1, fee="0.04"),
        fill(LINEAR, -1, 10_500, 500, 2, strategy=1, fee="0.01", realized="2.5"),
        fill(INVERSE, 1, 200_000, 10, 3, strategy=1, fee="0.00002", currency="BTC"),
        fill(SPOT, 1, 1_900_000, 1_000, 4, strategy=1, fee="0.000005", currency="BTC"),
    ]
    for name, value in bent.items():
        rows[1][name] = value
    for row in rows:
        ledger.apply_update(row)
    return ledger


def settled_rows():
    rows, out = np.zeros(len(INSTRUMENTS), POSITION), np.zeros(1, np.int64)
    for i, side, price, qty, fee in [
        (LINEAR, 1, 10_000, 2_000, 4_000_000), (LINEAR, -1, 10_500, 500, 1_000_000),
        (INVERSE, 1, 200_000, 10, 2_000), (SPOT, 1, 1_900_000, 1_000, 9_500_000),
    ]:  # fmt: skip
        position_fill(rows[i : i + 1], row_of(i), side, price, qty, out)
        rows[i]["fees"] += fee
    return rows


def verdicts(rows, ledger, marks=MARKS, limit=LIMIT):
    kernel = kernel_profit(rows, ROWS, MARKS)
    return (
        judge(kernel, strategy_profit(ledger, 1, marks), 0, limit),
        judge(kernel, account_profit(ledger, 0, marks), 0, limit),
    )


def test_a_life_without_error_is_fine_and_stops_at_its_limit():
    rows, ledger = settled_rows(), settled_life()
    assert verdicts(rows, ledger) == (FINE, FINE)
    profit = kernel_profit(rows, ROWS, MARKS)
    rows["fees"][LINEAR] += profit + LIMIT
    ledger.strategies[0, 1, LINEAR].fees += profit + LIMIT
    ledger.accounts[0, LINEAR].fees += profit + LIMIT
    assert verdicts(rows, ledger) == (STOP, STOP)


def test_mutant_that_forgets_a_fee_fires_no_stop():
    rows = settled_rows()
    rows["fees"][LINEAR] -= 1_000_000
    assert verdicts(rows, settled_life()) == (ACCOUNTING, ACCOUNTING)
    assert verdicts(settled_rows(), settled_life(fee=0)) == (ACCOUNTING, ACCOUNTING)


def test_mutant_that_doubles_a_fill_masks_no_stop():
    rows, out = settled_rows(), np.zeros(1, np.int64)
    position_fill(rows[LINEAR : LINEAR + 1], row_of(LINEAR), -1, 10_500, 500, out)
    assert verdicts(rows, settled_life()) == (ACCOUNTING, ACCOUNTING)
    ledger = settled_life()
    ledger.apply_fill(fill(LINEAR, -1, 10_500, 500, 99, strategy=1, fee="0.01", realized="2.5"))
    assert verdicts(settled_rows(), ledger) == (ACCOUNTING, ACCOUNTING)


@pytest.mark.parametrize("i", [SPOT, LINEAR, INVERSE])
def test_mutant_with_a_wrong_mark_sells_nothing(i):
    wrong = Marks({**MARKS.ticks, i: MARKS.ticks[i] // 2}, RATES)
    assert verdicts(settled_rows(), settled_life(), wrong) == (ACCOUNTING, ACCOUNTING)
    missing = Marks({**MARKS.ticks, i: 0}, RATES)
    assert verdicts(settled_rows(), settled_life(), missing) == (UNKNOWN, UNKNOWN)


def test_venue_that_states_another_gain_is_seen_on_the_account_only():
    ledger = settled_life(realized=10**8)
    assert verdicts(settled_rows(), ledger) == (FINE, ACCOUNTING)
    ledger = settled_life(realized=250_000_001)
    assert verdicts(settled_rows(), ledger) == (FINE, FINE), "the venue rounds its own way"


def test_what_came_from_outside_is_no_profit():
    ledger = settled_life()
    before = account_profit(ledger, 0, MARKS)
    ledger.apply_update(
        update(words.MONEY_MOVED, code=words.MONEY_TRANSFER, trade_id=1, realized=10**12,
               fee_currency=INSTRUMENTS.currency("USDT"))
    )  # fmt: skip
    assert account_profit(ledger, 0, MARKS) == before
    assert account_profit(ledger, 7, MARKS).amount == 0


def test_positions_from_before_the_run_count_from_their_entry():
    ledger = opened(holdings=[Holding(LINEAR, 1_000, D(100)), Holding(INVERSE, 10, D(20000))])
    rows = np.zeros(len(INSTRUMENTS), POSITION)
    for i in (LINEAR, INVERSE):
        position = ledger.accounts[0, i]
        rows[i]["qty"], rows[i]["cost"] = position.qty, position.cost
    kernel, books = kernel_profit(rows, ROWS, MARKS), account_profit(ledger, 0, MARKS)
    assert judge(kernel, books, 0, LIMIT) == FINE
    assert kernel == (10 + 250) * E8


@pytest.mark.parametrize("side", [1, -1])
def test_fills_booked_in_another_order_make_an_account_unknown_until_it_is_flat(side):
    """What the venue realized is by its average cost: bought at 100, at 110, and sold half."""
    ledger = opened(("USDT", "1000"))
    ledger.apply_fill(fill(LINEAR, side, 10_000, 500, 1, ts_event=1))
    ledger.apply_fill(fill(LINEAR, -side, 12_000, 500, 3, ts_event=3, realized="75"))
    ledger.apply_fill(fill(LINEAR, side, 11_000, 500, 2, ts_event=2))
    assert account_profit(ledger, 0, MARKS) is None
    ledger.apply_fill(fill(LINEAR, -side, 11_000, 500, 4, ts_event=4, realized="25"))
    assert account_profit(ledger, 0, MARKS) is not None
    ledger.apply_fill(fill(LINEAR, side, 11_000, 500, 5, ts_event=5))
    assert account_profit(ledger, 0, MARKS) is not None


@pytest.mark.parametrize(("ts", "known"), [(4, True), (3, False), (2, False)])
def test_foreign_fill_that_waited_may_have_been_the_first_of_its_millisecond(ts, known):
    ledger = opened(("USDT", "1000"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 500, 1, ts_event=1))
    ledger.apply_fill(fill(LINEAR, -1, 12_000, 250, 3, ts_event=3, realized="25"))
    foreign = fill(LINEAR, 1, 11_000, 500, 2, ts_event=ts)
    foreign["order_id"], foreign["flags"] = 0, words.FOREIGN
    ledger.apply_fill(foreign)
    assert (account_profit(ledger, 0, MARKS) is not None) == known


def test_spot_bought_in_another_order_is_worth_what_it_is():
    ledger = opened(("USDT", "1000"))
    for trade_id, ts in ((1, 2), (2, 1)):
        ledger.apply_fill(fill(SPOT, 1, 1_900_000, 100, trade_id, ts_event=ts))
    assert ledger.accounts[0, SPOT].disordered
    assert account_profit(ledger, 0, MARKS).amount == 2 * 100 * E8 // 100  # 1,000 a coin, 0.002


def test_what_the_gate_does_not_count_is_held_against_the_limit():
    """Funding of 3 USDT paid, 0.01 BNB of fees: BNB has no price here, BTC has."""
    INSTRUMENTS.currency("BNB")
    ledger = opened(("USDT", "1000"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 5, 1, strategy=1, fee="0.01", currency="BNB"))
    ledger.apply_fill(fill(ODD, 1, 10_000, 5, 2, strategy=1, fee="0.01", currency="USD"))
    ledger.apply_update(
        update(words.FUNDING_PAID, instrument=LINEAR, realized=-3 * E8, trade_id=-1)
    )
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 5, 3, strategy=2, fee="0.5", currency="BNB"))
    worths = {}
    for _ in range(2):
        assert uncounted_profit(ledger, 1, MARKS, worths) == -301_000_000
    assert worths == {"BNB": 0, "USD": 1, "USDT": 1}
    assert worth_of(ledger, "USDT", MARKS) == worth_of(ledger, "USD", MARKS) == 1
    assert worth_of(ledger, "BTC", MARKS) == 20_000
    assert worth_of(ledger, "BNB", MARKS) == 0


def test_worth_of_a_coin_is_in_the_reference():
    """A quote that is worth two of the reference makes the coin twice as dear."""
    ledger = opened()
    marks = Marks(MARKS.ticks, dict.fromkeys(RATES, 2 * E8))
    assert worth_of(ledger, "BTC", marks) == 40_000
    assert worth_of(ledger, "USDT", marks) == 2
    half = Marks(MARKS.ticks, dict.fromkeys(RATES, E8 // 2))
    assert (worth_of(ledger, "BTC", half), worth_of(ledger, "USDT", half)) == (10_000, D("0.5"))


@pytest.mark.parametrize(("i", "unit"), [(LINEAR, 1), (SPOT, 1), (ODD, 1), (INVERSE, 25_000)])
@pytest.mark.parametrize("rate", [1, 3])
def test_roundings_are_counted_in_the_currency_of_the_gain(i, unit, rate):
    """Each: ROUNDINGS in settle and one of the price, brought to the reference, and one more."""
    ledger = opened()
    ledger.apply_fill(fill(i, 1, 10_000, 1_000, 1, strategy=1))
    marks = Marks(MARKS.ticks, dict.fromkeys(RATES, rate * E8))
    one = (ROUNDINGS * unit + 1) * rate + 1
    assert strategy_profit(ledger, 1, marks).tolerance == one
    assert strategy_profit(ledger, 2, marks) == Profit(0, 0)
    ledger.apply_fill(fill(LINEAR if i != LINEAR else ODD, 1, 10_000, 1_000, 2, strategy=1))
    assert strategy_profit(ledger, 1, marks).tolerance == one + (ROUNDINGS + 1) * rate + 1


@pytest.mark.parametrize("qty", [1, -1, 7, -7])
@pytest.mark.parametrize("cost", [1, -1, 333_333, -333_334])
def test_value_and_cost_are_floored_apart(qty, cost):
    """A tick x lot of ODD is 0.03 of a unit of money."""
    rows = np.zeros(len(INSTRUMENTS), POSITION)
    rows[ODD]["qty"], rows[ODD]["cost"] = qty, cost
    row = ROWS[ODD]
    mul, div = int(row["money_mul"]), int(row["money_div"])
    assert div > mul > 1
    for mark in (1, 49_999):
        got = kernel_profit(rows, ROWS, Marks({ODD: mark}, RATES))
        exact = floor(Fraction(mark * qty * mul, div)) - floor(Fraction(cost * mul, div))
        assert (got, type(got)) == (exact, int)


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, -1]), st.integers(1, 10_000), st.integers(1, 50)),
        max_size=40,
    ),
    st.integers(1, 10_000),
)
def test_venue_that_rounds_money_and_not_cost_is_no_error(fills, mark):
    """A venue keeps its average exactly and rounds what it states to eight digits; ours rounds."""
    ledger, rows = opened(), np.zeros(len(INSTRUMENTS), POSITION)
    qty, cost, out = 0, Fraction(0), np.zeros(1, np.int64)
    for trade_id, (side, price, lots) in enumerate(fills, 1):
        closed, stated = min(lots, abs(qty)) if qty * side < 0 else 0, 0
        if closed:
            part = cost * closed / abs(qty)
            stated = round((-side * closed * price - part) * 1_000)  # 10^-5 of a unit is 10^-8
            cost -= part
        cost += side * (lots - closed) * price
        qty += side * lots
        row = fill(LINEAR, side, price, lots, trade_id, strategy=1)
        row["realized"] = stated
        ledger.apply_update(row)
        position_fill(rows[LINEAR : LINEAR + 1], row_of(LINEAR), side, price, lots, out)
        marks = Marks({LINEAR: mark}, RATES)
        books = account_profit(ledger, 0, marks)
        assert judge(kernel_profit(rows, ROWS, marks), books, 0, 1 << 62) == FINE
