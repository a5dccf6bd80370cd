"""Identities after every event: broken code is caught by the next event, by name."""

from decimal import Decimal

import pytest

from alephtx.core import words
from alephtx.core.errors import AccountingError, LedgerMismatch
from alephtx.ledger.book import Ledger
from alephtx.ledger.cost import Position
from alephtx.ledger.double_entry import CASH, DoubleEntry
from alephtx.ledger.statement import Days
from tests.ledger.worlds import INSTRUMENTS, INVERSE, LINEAR, SPOT, fill, moved, opened, update

D = Decimal


def live(ledger):
    """Book a little of everything, until something complains."""
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1, fee="0.1"))
    ledger.apply_fill(fill(LINEAR, 1, 12_000, 1_000, 2, fee="0.1", strategy=1))
    ledger.apply_fill(fill(LINEAR, -1, 13_000, 1_500, 3, fee="0.1", realized="30"))
    ledger.apply_fill(fill(SPOT, 1, 2_000_000, 1_000, 4, fee="0.00001", currency="BTC"))
    ledger.apply_fill(fill(SPOT, -1, 2_100_000, 400, 5))
    ledger.apply_fill(fill(INVERSE, -1, 200_000, 10, 6))
    ledger.apply_update(update(words.FUNDING_PAID, instrument=LINEAR, realized=-5, trade_id=-1))
    ledger.apply_update(moved(words.MONEY_INTEREST, "-0.5", 1))
    ledger.apply_update(moved(words.MONEY_TRANSFER, "-5", 2, other=1, group_id=4))
    ledger.apply_update(moved(words.MONEY_TRANSFER, "5", 3, other=0, group_id=4, account=1))
    ledger.apply_update(moved(words.MONEY_SETTLEMENT, "1", 4, instrument=LINEAR, price=12_500))


def test_right_code_breaks_no_identity():
    ledger = opened(("USDT", "1000"), ("BTC", "1"))
    live(ledger)
    ledger.check()
    assert ledger.interest() == ledger.interest(0) == {"USDT": D("-0.5")}
    assert ledger.interest(1) == {}
    assert [row.strategy for row in ledger.strategy_statement(1)] == [1]


def forget_the_cost(monkeypatch):
    """Leave the cost where it is when lots are closed."""
    right = Position.fill

    def fill(self, instrument, side, price, qty):
        before, closes = self.cost, self.qty * side < 0
        right(self, instrument, side, price, qty)
        self.cost = before if closes else self.cost
        return self.cost - before

    monkeypatch.setattr(Position, "fill", fill)


def drop_a_fill(monkeypatch):
    """Move the account, and not its strategy."""
    right, calls = Ledger._trade_own, []

    def trade(self, fill, instrument):
        calls.append(fill)
        right(self, fill._replace(qty=fill.qty - 1) if len(calls) == 2 else fill, instrument)

    monkeypatch.setattr(Ledger, "_trade_own", trade)


def count_bought_twice(monkeypatch):
    right = Position.fill

    def fill(self, instrument, side, price, qty):
        moved = right(self, instrument, side, price, qty)
        self.bought += qty if side > 0 else 0
        return moved

    monkeypatch.setattr(Position, "fill", fill)


def take_the_newest(monkeypatch):
    """Forget to count what was taken from the lots."""
    right = Position._remove_oldest

    def remove(self, closed):
        removed = right(self, closed)
        self.fifo_qty += 1
        return removed

    monkeypatch.setattr(Position, "_remove_oldest", remove)


def lose_the_oldest_cost(monkeypatch):
    right = Position._remove_oldest
    monkeypatch.setattr(Position, "_remove_oldest", lambda self, closed: right(self, closed) - 1)


def gain_too_much(monkeypatch):
    right = Position.fill

    def fill(self, instrument, side, price, qty):
        moved = right(self, instrument, side, price, qty)
        self.gain += 1 if self.fills == 3 else 0
        return moved

    monkeypatch.setattr(Position, "fill", fill)


def forget_the_fee(monkeypatch):
    """Take a fee from the wallet without a word in the statement."""
    right = Days.add

    def add(self, ts, account, currency, column, amount):
        right(self, ts, account, currency, column, amount * 0 if column == "fees" else amount)

    monkeypatch.setattr(Days, "add", add)


def pay_funding_twice(monkeypatch):
    right = DoubleEntry.post

    def post(self, postings, event=""):
        right(self, postings, event)
        if any(posting.book == "funding" for posting in postings):
            right(self, postings, event)

    monkeypatch.setattr(DoubleEntry, "post", post)


def post_one_side(monkeypatch):
    right = Ledger._post

    def post(self, account, ts, currency, other, amounts, **more):
        right(self, account, ts, currency, other, amounts, **more)
        if other == "interest":
            self.entries.balances[account, CASH, currency] -= 1
            self.entries.sums[currency] -= 1

    monkeypatch.setattr(Ledger, "_post", post)


def bend_a_strategy(monkeypatch):
    """Earn something on a strategy's position and not on its account's, which trades first."""
    right = Ledger._trade_own

    def trade(self, fill, instrument):
        right(self, fill, instrument)
        self.strategies[fill.account, fill.strategy, fill.instrument].gain += 1

    monkeypatch.setattr(Ledger, "_trade_own", trade)


MUTANTS = [
    (bend_a_strategy, "gain = cost - flow"),
    (forget_the_cost, "gain = cost - flow"),
    (drop_a_fill, "position = sum of strategies"),
    (count_bought_twice, "position = bought - sold"),
    (take_the_newest, "open FIFO lots = position"),
    (lose_the_oldest_cost, "FIFO gain = FIFO cost - flow"),
    (gain_too_much, "gain = cost - flow"),
    (forget_the_fee, "cash of account 0 = opening and movements of USDT"),
    (pay_funding_twice, "cash of account 0 = opening and movements of USDT"),
    (post_one_side, "cash of account 0 = opening and movements of USDT"),
]


@pytest.mark.parametrize(("mutant", "identity"), MUTANTS, ids=lambda x: getattr(x, "__name__", ""))
def test_mutant_is_caught_by_name(monkeypatch, mutant, identity):
    mutant(monkeypatch)
    ledger = opened(("USDT", "1000"), ("BTC", "1"))
    ledger.seq = 41
    with pytest.raises(AccountingError) as caught:
        live(ledger)
    error = caught.value
    assert error.identity.startswith(identity)
    assert error.event == "record 41"
    assert error.left != error.right
    assert isinstance(error, LedgerMismatch)
    assert f"after record 41: {error.left} is not {error.right}" in str(error)


def broken(position):
    found = position.identities(INSTRUMENTS[LINEAR])
    return {what: (left, right) for what, left, right in found if left != right}


def test_flat_position_that_kept_something_is_caught():
    """Cost and flow bent alike hold the identities of an open position; flat, they do not."""
    assert broken(Position()) == {}
    assert broken(Position(cost=4, flow=4, fifo_cost=4)) == {"cost when flat = 0": (4, 0)}
    bent = Position(gain=-7, flow=7, fifo_gain=-8, fifo_cost=-1)
    assert broken(bent) == {"FIFO gain = average gain when flat": (-8, -7)}
    assert broken(Position(qty=1, bought=1, fifo_qty=1, cost=4, flow=4, fifo_cost=4)) == {}


@pytest.mark.parametrize(
    ("bent", "said"),
    [
        ({}, ""), ({"cost": 4}, "a cost of 4 without a position"),
        ({"cost": -4}, "a cost of -4 without a position"), ({"fifo_cost": 1}, "FIFO lots cost 0"),
        ({"fifo_cost": -1}, "FIFO lots cost 0"), ({"qty": 1}, "FIFO holds 0 lots, not 1"),
        ({"bought": 2}, "bought 2 less sold 0 is not 0"), ({"sold": 2}, "bought 0 less sold 2"),
        ({"gain": 1}, "flat, but gained 1 at average cost and 0 by FIFO"),
        ({"gain": -1}, "flat, but gained -1"), ({"fifo_gain": 1}, "and 1 by FIFO"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flat_position_is_said(bent, said):
    told = Position(**bent).check()
    assert said in told
    assert bool(told) == bool(bent)


def test_books_that_sum_to_something_are_caught_by_the_next_event():
    ledger = opened(("USDT", "10"))
    ledger.entries.sums["USDT"] += 1
    with pytest.raises(AccountingError, match="sum of all books in USDT = 0 does not hold"):
        ledger.apply_update(moved(words.MONEY_GAS, "-1", 1))


@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (lambda x: x.accounts[0, LINEAR].open_lots[0].__setattr__("value", 5), "FIFO lots cost 5"),
        (lambda x: x.days.moved.clear(), "cash: "),
        (lambda x: x.transit.update({(1, "USDT"): D(1)}), "in transit: "),
    ],
)
def test_walking_all_books_finds_what_no_event_touches(bend, said):
    ledger = opened(("USDT", "10"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    bend(ledger)
    with pytest.raises(LedgerMismatch, match=said):
        ledger.check()
