"""What must always be true of the books.

`trade` and `wallet` are looked at after every event, at a cost that does not grow with the books;
`check` walks all of them. An identity that is broken is a fault of ours, so the error names it, the
event after which it was seen, and both its sides.
"""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

from alephtx.core.errors import AccountingError, LedgerMismatch
from alephtx.ledger.cost import EXACT
from alephtx.ledger.double_entry import CASH, TRANSIT

if TYPE_CHECKING:
    from alephtx.ledger.book import Ledger


def trade(ledger: "Ledger", account: int, i: int, strategies: Iterable[int]) -> None:
    """Look at an instrument of an account, and at the strategies that just traded it."""
    instrument, position = ledger.instruments[i], ledger.accounts[account, i]
    found = [("position = sum of strategies", position.qty, ledger.held.get((account, i), 0))]
    found += position.identities(instrument)
    for strategy in strategies:
        found += ledger.strategies[account, strategy, i].identities(instrument)
    for what, left, right in found:
        if left != right:
            where = f"{what} (account {account}, {instrument.key})"
            raise AccountingError(where, ledger.event, left, right)


def wallet(ledger: "Ledger", account: int, currency: str) -> None:
    """Look at a wallet that moved: it holds what was stated to move it; all books sum to zero."""
    cash = ledger.balance(account, currency)
    stated = ledger.days.closing[account, currency]
    if cash != stated:
        what = f"cash of account {account} = opening and movements of {currency}"
        raise AccountingError(what, ledger.event, cash, stated)
    if ledger.entries.sums[currency]:
        what = f"sum of all books in {currency} = 0"
        raise AccountingError(what, ledger.event, ledger.entries.sums[currency], 0)


def check(ledger: "Ledger") -> None:
    """Look at everything; LedgerMismatch when the books contradict themselves."""
    ledger.entries.check()
    for (account, i), position in ledger.accounts.items():
        wrong = position.check()
        own = sum(p.qty for (a, _, j), p in ledger.strategies.items() if (a, j) == (account, i))
        own += ledger.taken_up.get((account, i), 0)
        if not wrong and position.qty != own:
            wrong = f"{position.qty} lots, but its strategies hold {own}"
        if wrong:
            raise LedgerMismatch(f"account {account} {ledger.instruments[i].key}: {wrong}")
    days: dict[tuple[int, str], Decimal] = {}
    travelling: dict[str, Decimal] = {}
    with localcontext(EXACT):
        for (_, account, currency, _), amount in ledger.days.moved.items():
            days[account, currency] = days.get((account, currency), Decimal(0)) + amount
        for (_, currency), amount in ledger.transit.items():
            travelling[currency] = travelling.get(currency, Decimal(0)) + amount
    cash = {(a, c): x for (a, book, c), x in ledger.entries.balances.items() if book == CASH}
    _same("cash", cash, days)
    _same("in transit", ledger.entries.totals(TRANSIT), travelling)


def _same(what: str, booked: dict[Any, Decimal], told: dict[Any, Decimal]) -> None:
    ours = {key: amount for key, amount in booked.items() if amount}
    theirs = {key: amount for key, amount in told.items() if amount}
    if ours != theirs:
        raise LedgerMismatch(f"{what}: {ours} by the books, {theirs} by what was told")
