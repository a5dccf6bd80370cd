"""Double entry: every event's postings sum to zero in every currency, in exact Decimal."""

from decimal import Decimal, localcontext
from typing import NamedTuple

from alephtx.core.errors import AccountingError, LedgerMismatch
from alephtx.ledger.cost import EXACT

CASH = "cash"  # the venue's wallet: what `compare` compares
POSITION = "position"  # cost of what is held; for spot also the base currency's other side
REALIZED = "realized"  # spot: at average cost; contracts: as the venue states it
FEES, FUNDING, OPENING, ADJUSTED = "fees", "funding", "opening", "adjusted"
INTEREST, GAS, INSURANCE, GIFTS = "interest", "gas", "insurance", "gifts"
CORRECTED = "corrected"  # the venue mended its own books
CONVERTED = "converted"  # between the two legs of a swap of currencies
TRANSIT = "transit"  # between two accounts of ours: left the one, not yet in the other
EXTERNAL = "external"  # the world outside: deposits and withdrawals
BOOKS = (
    CASH, POSITION, REALIZED, FEES, FUNDING, OPENING, ADJUSTED,
    INTEREST, GAS, INSURANCE, GIFTS, CORRECTED, CONVERTED, TRANSIT, EXTERNAL,
)  # fmt: skip


class Posting(NamedTuple):
    """An amount that one book of one account gains (or, negative, gives)."""

    account: int
    book: str
    currency: str
    amount: Decimal


Key = tuple[int, str, str]


class DoubleEntry:
    """The balances of all books, by (account, book, currency); `sums` of all books by currency."""

    def __init__(self) -> None:
        self.balances: dict[Key, Decimal] = {}
        self.sums: dict[str, Decimal] = {}

    def post(self, postings: list[Posting], event: str = "an event") -> None:
        """Apply one event's postings, all or none; AccountingError when they do not sum to zero."""
        with localcontext(EXACT):
            sums: dict[str, Decimal] = {}
            for posting in postings:
                sums[posting.currency] = sums.get(posting.currency, Decimal(0)) + posting.amount
            for currency, amount in sums.items():
                if amount:
                    raise AccountingError(f"postings of {currency} = 0", event, amount, 0)
            for account, book, currency, amount in postings:
                if amount:
                    key = (account, book, currency)
                    self.balances[key] = self.balances.get(key, Decimal(0)) + amount
                    self.sums[currency] = self.sums.get(currency, Decimal(0)) + amount

    def balance(self, account: int, book: str, currency: str) -> Decimal:
        """Return one book's balance."""
        return self.balances.get((account, book, currency), Decimal(0))

    def totals(self, book: str, account: int | None = None) -> dict[str, Decimal]:
        """Return a book's balances by currency, of one account or of all."""
        found: dict[str, Decimal] = {}
        with localcontext(EXACT):
            for (owner, name, currency), amount in self.balances.items():
                if name == book and account in (None, owner):
                    found[currency] = found.get(currency, Decimal(0)) + amount
        return found

    def recount(self) -> dict[str, Decimal]:
        """Add up every book anew, by currency; all amounts are zero when the books are right."""
        sums: dict[str, Decimal] = {}
        with localcontext(EXACT):
            for (_, _, currency), amount in self.balances.items():
                sums[currency] = sums.get(currency, Decimal(0)) + amount
        return sums

    def check(self) -> None:
        """Raise LedgerMismatch when a currency does not sum to zero over all books."""
        wrong = {currency: amount for currency, amount in self.recount().items() if amount}
        if wrong:
            raise LedgerMismatch(
                f"the books do not sum to zero: {wrong}",
                remedy="fold the journal anew; if it happens again, report it with the journal",
            )
