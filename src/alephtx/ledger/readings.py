"""What the ledger says: balances, positions, P&L, fees, funding, statements. Reads, never books."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from typing import Literal

from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments
from alephtx.ledger.cost import EXACT, Position, mark_value, money
from alephtx.ledger.double_entry import (
    CASH,
    CONVERTED,
    CORRECTED,
    EXTERNAL,
    FEES,
    FUNDING,
    GAS,
    GIFTS,
    INSURANCE,
    INTEREST,
    REALIZED,
    TRANSIT,
    DoubleEntry,
)
from alephtx.ledger.statement import DayRow, Days, StrategyDay

Method = Literal["average", "fifo"]


class Readings:
    """The questions one can ask of the books; `book.Ledger` keeps them."""

    def __init__(self, instruments: Instruments) -> None:
        self.instruments = instruments
        self.entries = DoubleEntry()
        self.days = Days()
        self.accounts: dict[tuple[int, int], Position] = {}  # (account, instrument)
        self.strategies: dict[tuple[int, int, int], Position] = {}  # (account, strategy, ...)
        self.strategy_fees: dict[tuple[int, str], Decimal] = {}
        self.uncounted: dict[tuple[int, int, str], Decimal] = {}
        """What a strategy earned that the gate's drawdown does not see: funding, and (negative)
        fees in a third currency. By (account, strategy, currency)."""
        self.transit: dict[tuple[int, str], Decimal] = {}  # (transfer, currency)

    def balance(self, account: int, currency: str) -> Decimal:
        """Return the wallet balance, without open P&L."""
        return self.entries.balance(account, CASH, currency)

    def balances(self, account: int) -> dict[str, Decimal]:
        """Return every wallet balance of an account that is not zero."""
        return {c: amount for c, amount in self.entries.totals(CASH, account).items() if amount}

    def position(self, account: int, instrument: int) -> int:
        """Return signed lots."""
        found = self.accounts.get((account, instrument))
        return found.qty if found else 0

    def _positions(
        self, account: int | None, strategy: int | None, instrument: int | None
    ) -> Iterable[tuple[int, Position]]:
        """Yield (instrument, position) of an account's, or of a strategy's own, positions."""
        if strategy is None:
            for (owner, i), position in self.accounts.items():
                if account in (None, owner) and instrument in (None, i):
                    yield i, position
        else:
            for (owner, who, i), position in self.strategies.items():
                if who == strategy and account in (None, owner) and instrument in (None, i):
                    yield i, position

    def realized(
        self,
        account: int | None = None,
        *,
        strategy: int | None = None,
        instrument: int | None = None,
        method: Method = "average",
    ) -> dict[str, Decimal]:
        """Return our own P&L of closed lots by currency, before fees and funding, exactly."""
        found: dict[str, Decimal] = {}
        with localcontext(EXACT):
            for i, position in self._positions(account, strategy, instrument):
                traded = self.instruments[i]
                gain = position.gain if method == "average" else position.fifo_gain
                currency = traded_currency(traded)
                found[currency] = found.get(currency, Decimal(0)) + money(traded, gain)
        return found

    def unrealized(
        self,
        marks: Mapping[int, Decimal],
        account: int | None = None,
        *,
        strategy: int | None = None,
        instrument: int | None = None,
    ) -> dict[str, Decimal]:
        """Return the P&L of open positions at marks (prices by instrument), by currency.

        At average cost. A position without a mark is not counted. Inverse values round to 1e-8.
        """
        found: dict[str, Decimal] = {}
        with localcontext(EXACT):
            for i, position in self._positions(account, strategy, instrument):
                if i not in marks or position.qty == 0:
                    continue
                traded = self.instruments[i]
                value = mark_value(traded, marks[i], position.qty)
                cost = money(traded, position.cost)
                gain = cost - value if traded.inverse else value - cost
                currency = traded_currency(traded)
                found[currency] = found.get(currency, Decimal(0)) + gain
        return found

    def realized_by_currency(self) -> dict[str, Decimal]:
        """Return the realized P&L of everything at average cost."""
        return self.realized()

    def unrealized_by_currency(self, marks: Mapping[int, Decimal]) -> dict[str, Decimal]:
        """Return the open P&L of everything."""
        return self.unrealized(marks)

    def venue_realized(self, account: int | None = None) -> dict[str, Decimal]:
        """Return the realized P&L that was booked: as venues state it, for spot at average cost."""
        with localcontext(EXACT):
            return {c: -amount for c, amount in self.entries.totals(REALIZED, account).items()}

    def fees(
        self, account: int | None = None, *, strategy: int | None = None
    ) -> dict[str, Decimal]:
        """Return what was paid in fees, by currency; rebates are negative."""
        if strategy is None:
            return self.entries.totals(FEES, account)
        return {c: paid for (who, c), paid in self.strategy_fees.items() if who == strategy}

    def funding(self, account: int | None = None) -> dict[str, Decimal]:
        """Return what was received (negative: paid) as funding, by currency."""
        with localcontext(EXACT):
            return {c: -amount for c, amount in self.entries.totals(FUNDING, account).items()}

    def statement(self, account: int | None = None) -> list[DayRow]:
        """Return a row per UTC day, account and currency whose wallet moved."""
        return self.days.rows(account)

    def strategy_statement(self, strategy: int | None = None) -> list[StrategyDay]:
        """Return a row per UTC day, account, strategy and currency; -1 is what is nobody's."""
        return self.days.strategy_rows(strategy)

    def booked(self, book: str, account: int | None = None) -> dict[str, Decimal]:
        """Return what wallets gained (negative: gave) for one reason, a book but CASH."""
        with localcontext(EXACT):
            totals = self.entries.totals(book, account)
            return {currency: -amount for currency, amount in totals.items() if amount}

    def interest(self, account: int | None = None) -> dict[str, Decimal]:
        """Return what was received (negative: paid) as interest, by currency."""
        return self.booked(INTEREST, account)

    def other(self, account: int | None = None) -> dict[str, Decimal]:
        """Return what is no trade, fee, funding or transfer: interest, gas, gifts and so on."""
        found: dict[str, Decimal] = {}
        with localcontext(EXACT):
            for book in (INTEREST, GAS, INSURANCE, GIFTS, CORRECTED, CONVERTED):
                for currency, amount in self.booked(book, account).items():
                    found[currency] = found.get(currency, Decimal(0)) + amount
        return found

    def transferred(self, account: int | None = None) -> dict[str, Decimal]:
        """Return what came from outside and from our other accounts, less what went there."""
        found = self.booked(EXTERNAL, account)
        with localcontext(EXACT):
            for currency, amount in self.booked(TRANSIT, account).items():
                found[currency] = found.get(currency, Decimal(0)) + amount
        return {currency: amount for currency, amount in found.items() if amount}

    def in_transit(self) -> dict[tuple[int, str], Decimal]:
        """Return what left one account of ours and has not reached the other.

        By (transfer, currency); negative where the arrival was told first.
        """
        return dict(self.transit)


def traded_currency(instrument: Instrument) -> str:
    """Return the currency an instrument's gains are in."""
    return instrument.quote if instrument.contract == words.SPOT else instrument.settle
