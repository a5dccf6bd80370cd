"""Money that moves without a fill: every cause by hand, and against a child's wallet."""

from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import LedgerMismatch
from alephtx.core.ports import Holding
from alephtx.ledger import double_entry
from alephtx.ledger.book import NOBODY, Ledger
from alephtx.ledger.moves import CAUSES, COLUMNS
from alephtx.ledger.statement import day_name, day_of, parse_day
from tests.ledger.worlds import (
    DAY,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    MONEY,
    ODD,
    SPOT,
    fill,
    moved,
    opened,
    update,
)

D = Decimal


@pytest.mark.parametrize(
    ("text", "day"),
    [("1970-01-01", 0), ("1970-01-02", 1), ("1969-12-31", -1), ("2026-07-29", 20_663)],
)
def test_days_are_named_and_read_as_they_are_named(text, day):
    assert (parse_day(text), day_name(day), day_of(day * DAY)) == (day, text, day)
    assert day_of((day + 1) * DAY - 1) == day


def test_every_cause_has_a_book_and_a_column():
    assert {words.MONEY_TRANSFER, *CAUSES} == set(words.MONEY_NAMES)
    assert set(COLUMNS) == set(double_entry.BOOKS) - {double_entry.CASH}


@pytest.mark.parametrize(
    ("code", "column"),
    [
        (words.MONEY_INTEREST, "interest"),
        (words.MONEY_GAS, "gas"),
        (words.MONEY_REBATE, "fees"),
        (words.MONEY_FEE, "fees"),
        (words.MONEY_LIQUIDATION, "fees"),
        (words.MONEY_INSURANCE, "other"),
        (words.MONEY_AIRDROP, "other"),
        (words.MONEY_CORRECTION, "other"),
        (words.MONEY_CONVERSION, "other"),
        (words.MONEY_TRANSFER, "transfers"),
    ],
)
def test_movement_is_booked_once_and_shown_in_its_column(code, column):
    ledger = opened(("USDT", "100"))
    row = moved(code, "-1.25", 7, ts_event=DAY)
    assert ledger.apply_update(row)
    assert not ledger.apply_update(row)
    assert ledger.duplicates == 1
    assert ledger.balance(0, "USDT") == D("98.75")
    day = ledger.statement(0)[-1]
    beside = column not in ("fees", "transfers")
    assert ledger.other() == ledger.other(0) == ({"USDT": D("-1.25")} if beside else {})
    assert (getattr(day, column), day.closing) == (D("-1.25"), D("98.75"))
    assert ledger.apply_update(moved(code, "-1.25", 8)), "another id is another movement"
    assert ledger.apply_update(moved(code, "1", 7, currency="BTC")), "or in another currency"
    ledger.check()


def test_fees_in_a_third_currency_are_booked_and_told_apart():
    """Binance takes BNB: the gate's drawdown does not see it, the books do."""
    INSTRUMENTS.currency("BNB")
    ledger = opened(("BNB", "1"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1, fee="0.003", currency="BNB", strategy=2))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 2, fee="-0.001", currency="BNB", strategy=2))
    assert ledger.balance(0, "BNB") == D("0.998")
    assert ledger.fees() == ledger.fees(strategy=2) == {"BNB": D("0.002")}
    assert ledger.uncounted == {(0, 2, "BNB"): D("-0.002")}
    assert ledger.accounts[0, LINEAR].fees == 0


def test_rebate_on_a_fill_is_a_negative_fee():
    ledger = opened(("USDT", "1"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1, fee="-0.02"))
    assert ledger.balance(0, "USDT") == D("1.02")
    assert ledger.accounts[0, LINEAR].fees == -2_000_000
    assert ledger.statement()[-1].fees == D("0.02")


def test_fee_in_the_base_coin_counts_at_the_price_rounded_up():
    ledger = opened()
    ledger.apply_fill(fill(SPOT, 1, 333, 1, 1, fee="0.00000001", currency="BTC", strategy=1))
    assert ledger.accounts[0, SPOT].fees == ledger.strategies[0, 1, SPOT].fees == 4


def test_transfer_between_our_accounts_is_in_transit_until_both_legs_came():
    """100 leave with 1 of gas in it; 99 arrive. Nothing is a deposit or a withdrawal."""
    ledger = opened(("USDT", "500"))
    ledger.open_balances(1, [])
    out = moved(words.MONEY_TRANSFER, "-100", 1, other=1, fee="1", group_id=77, ts_event=DAY)
    into = moved(words.MONEY_TRANSFER, "99", 2, other=0, group_id=77, account=1, ts_event=2 * DAY)
    assert ledger.apply_update(out)
    assert ledger.in_transit() == {(77, "USDT"): D(99)}
    assert ledger.transferred() == {"USDT": D(-99)}
    ledger.check()
    assert ledger.apply_update(into)
    assert ledger.in_transit() == {}
    assert (ledger.balance(0, "USDT"), ledger.balance(1, "USDT")) == (D(400), D(99))
    assert ledger.transferred() == {}
    assert ledger.transferred(0) == {"USDT": D(-99)}
    assert ledger.transferred(1) == {"USDT": D(99)}
    assert ledger.booked(double_entry.GAS) == {"USDT": D(-1)}
    assert ledger.booked(double_entry.EXTERNAL) == {}
    ledger.check()


def test_arrival_told_before_the_departure_is_in_transit_backwards():
    ledger = Ledger(INSTRUMENTS)
    ledger.apply_update(moved(words.MONEY_TRANSFER, "5", 2, other=0, group_id=9, account=1))
    assert ledger.in_transit() == {(9, "USDT"): D(-5)}
    ledger.apply_update(moved(words.MONEY_TRANSFER, "-5", 1, other=1, group_id=9))
    assert ledger.in_transit() == {}
    ledger.check()


def test_deposit_and_withdrawal_meet_the_world_outside():
    ledger = opened(("BTC", "1"))
    ledger.apply_update(moved(words.MONEY_TRANSFER, "2", 1, currency="BTC"))
    ledger.apply_update(
        moved(words.MONEY_TRANSFER, "-0.5", 2, currency="BTC", fee="0.0001", group_id=3)
    )
    assert ledger.balance(0, "BTC") == D("2.5")
    assert ledger.transferred(0) == {"BTC": D("1.5001")}
    assert ledger.booked(double_entry.EXTERNAL, 0) == {"BTC": D("1.5001")}
    assert ledger.in_transit() == {}


def test_settlement_closes_every_position_at_its_price():
    """Two strategies and lots from before; the venue pays what it states, rounded its own way."""
    ledger = opened(("USDT", "100"))
    told = []
    ledger.listener = SimpleNamespace(filled=told.append)
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 3_000, 1, strategy=1))
    ledger.apply_fill(fill(LINEAR, -1, 10_100, 1_000, 2, strategy=2, realized="1"))
    row = moved(words.MONEY_SETTLEMENT, "7.99999999", 5, instrument=LINEAR, price=10_400)
    assert ledger.apply_update(row)
    assert not ledger.apply_update(row)
    assert ledger.position(0, LINEAR) == 0
    assert {s: ledger.strategies[0, s, LINEAR].qty for s in (1, 2)} == {1: 0, 2: 0}
    assert ledger.realized() == {"USDT": D(9)}
    assert ledger.realized(strategy=1) == {"USDT": D(12)}
    assert ledger.realized(strategy=2) == {"USDT": D(-3)}
    assert ledger.balance(0, "USDT") == D("108.99999999")
    assert (told[-1].strategy, told[-1].trade_id, told[-1].qty) == (NOBODY, -5, 2_000)
    ledger.check()


def test_settlement_takes_what_was_held_before_the_run_too():
    ledger = opened(("BTC", "1"), holdings=[Holding(INVERSE, 10, D(20000))])
    ledger.apply_fill(fill(INVERSE, -1, 200_000, 10, 1, strategy=3))
    assert (ledger.position(0, INVERSE), ledger.strategies[0, 3, INVERSE].qty) == (0, -10)
    ledger.apply_update(
        moved(words.MONEY_SETTLEMENT, "0", 5, currency="BTC", instrument=INVERSE, price=250_000)
    )
    assert ledger.strategies[0, 3, INVERSE].qty == 0
    assert ledger.realized(strategy=3) == {"BTC": D("-0.01")}
    assert ledger.taken_up == {}
    ledger.check()


def test_settlement_tells_what_was_held_before_from_what_was_bought():
    ledger = opened(("USDT", "100"), holdings=[Holding(LINEAR, 3_000, D(100))])
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 2_000, 1, strategy=3))
    assert (ledger.held[0, LINEAR], ledger.taken_up[0, LINEAR]) == (5_000, 3_000)
    ledger.apply_update(moved(words.MONEY_SETTLEMENT, "5", 5, instrument=LINEAR, price=10_100))
    assert (ledger.held[0, LINEAR], ledger.position(0, LINEAR)) == (0, 0)
    ledger.check()


def test_market_that_resolves_to_nothing_is_worth_nothing():
    ledger = opened(("USDT", "100"))
    ledger.apply_fill(fill(LINEAR, 1, 60, 10_000, 1))
    ledger.apply_update(moved(words.MONEY_SETTLEMENT, "-6", 2, instrument=LINEAR, price=0))
    assert ledger.realized() == {"USDT": D(-6)}
    assert ledger.balance(0, "USDT") == D(94)
    assert ledger.position(0, LINEAR) == 0


def test_settlement_passes_over_a_strategy_that_is_flat_already():
    ledger = opened(("USDT", "100"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1, strategy=1))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 2, strategy=2))
    ledger.apply_fill(fill(LINEAR, -1, 10_000, 1_000, 3, strategy=1))
    ledger.apply_update(moved(words.MONEY_SETTLEMENT, "1", 5, instrument=LINEAR, price=10_100))
    assert ledger.realized(strategy=1) == {"USDT": D(0)}
    assert ledger.realized(strategy=2) == {"USDT": D(1)}
    ledger.check()


def test_settlement_of_what_is_not_held_moves_only_the_wallet():
    ledger = opened(("USDT", "1"))
    ledger.apply_update(moved(words.MONEY_SETTLEMENT, "1", 2, instrument=ODD, price=5))
    assert ledger.balance(0, "USDT") == D(2)
    ledger.check()


@pytest.mark.parametrize(
    "row",
    [
        moved(0, "1", 1),
        moved(99, "1", 1),
        moved(words.MONEY_GAS, "1", 0),
        moved(words.MONEY_TRANSFER, "1", 1, other=1),
        moved(words.MONEY_SETTLEMENT, "1", 1, instrument=SPOT, price=5),
        moved(words.MONEY_SETTLEMENT, "1", 1, instrument=LINEAR, price=-5),
        moved(words.MONEY_SETTLEMENT, "1", 1, instrument=INVERSE, price=0, currency="BTC"),
        moved(words.MONEY_SETTLEMENT, "1", 1, instrument=LINEAR, price=5, currency="BTC"),
    ],
)
def test_movement_that_makes_no_sense_is_counted_and_refused(row):
    ledger = opened()
    ledger.apply_fill(fill(LINEAR, 1, 5, 5, 1))
    before = ledger.to_json()
    assert not ledger.apply_update(row)
    assert ledger.invalid == 1
    ledger.invalid = 0
    assert ledger.to_json() == before


def test_movement_of_an_unknown_currency_or_instrument_stops_the_fold():
    ledger = opened()
    row = moved(words.MONEY_GAS, "1", 1)
    row["fee_currency"] = 99
    with pytest.raises(LedgerMismatch, match="currency 99"):
        ledger.apply_update(row)
    with pytest.raises(LedgerMismatch, match="instrument 99"):
        ledger.apply_update(moved(words.MONEY_GAS, "1", 1, instrument=99))


def test_funding_belongs_to_the_one_strategy_that_holds_the_instrument():
    ledger = opened(("USDT", "100"))
    paid = iter(range(1, 9))

    def funding():
        number = next(paid)
        ledger.apply_update(
            update(words.FUNDING_PAID, instrument=LINEAR, realized=10**8, trade_id=-number)
        )

    funding()
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 5, 1, strategy=4))
    funding()
    ledger.apply_fill(fill(LINEAR, -1, 10_000, 5, 2, strategy=2))
    funding()
    ledger.apply_fill(fill(LINEAR, -1, 10_000, 5, 3, strategy=4))
    funding()
    ledger.taken_up[0, LINEAR] = 1
    funding()
    told = {row.strategy: row.funding for row in ledger.strategy_statement()}
    assert told == {NOBODY: D(3), 2: D(1), 4: D(1)}


def test_strategys_days_carry_on_from_each_other():
    ledger = opened(("USDT", "100"))
    rows = [(1, 10_000, 1_000, "0.1", 1), (-1, 11_000, 500, "0.2", 2), (-1, 9_000, 500, "0.3", 4)]
    for trade_id, (side, price, qty, fee, day) in enumerate(rows, 1):
        ledger.apply_fill(
            fill(LINEAR, side, price, qty, trade_id, strategy=3, fee=fee, ts_event=day * DAY)
        )
    told = [
        (r.day, r.fills, r.opening, r.realized, r.fees, r.closing)
        for r in ledger.strategy_statement(3)
    ]
    assert told == [
        ("1970-01-02", 1, D(0), D(0), D("-0.1"), D("-0.1")),
        ("1970-01-03", 1, D("-0.1"), D(5), D("-0.2"), D("4.7")),
        ("1970-01-05", 1, D("4.7"), D(-5), D("-0.3"), D("-0.6")),
    ]


MOVES = st.lists(
    st.tuples(
        st.sampled_from(sorted(words.MONEY_NAMES)),
        st.integers(-(10**12), 10**12),
        st.sampled_from(["USDT", "BTC", "USD"]),
        st.integers(0, 2),  # account
        st.sampled_from([None, 0, 1, 2]),  # the other end
        st.integers(0, 50),  # fee of the way
        st.integers(0, 5),  # day
    ),
    max_size=40,
)


@settings(max_examples=80)
@given(MOVES, st.randoms(use_true_random=False))
def test_movements_agree_with_a_childs_wallet(moves, rng):
    """Plain integers per wallet, whatever comes doubled; days add up, books sum to zero."""
    ledger, purse = Ledger(INSTRUMENTS), {}
    for trade_id, (code, units, currency, account, other, fee, day) in enumerate(moves, 1):
        if code == words.MONEY_SETTLEMENT:
            continue
        row = moved(
            code, MONEY * units, trade_id, currency=currency, account=account, other=other,
            fee=MONEY * fee, group_id=1 + trade_id // 2, ts_event=day * DAY + 1,
        )  # fmt: skip
        for _ in range(rng.choice([1, 1, 3])):
            ledger.apply_update(row)
        purse[account, currency] = purse.get((account, currency), 0) + units
    ledger.check()
    for (account, currency), units in purse.items():
        assert ledger.balance(account, currency) == MONEY * units
        last = [r for r in ledger.statement(account) if r.currency == currency]
        assert not last or last[-1].closing == MONEY * units
        assert all(a.closing == b.opening for a, b in pairwise(last))
