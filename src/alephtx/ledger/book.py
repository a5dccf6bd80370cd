"""The ledger: a fold over the journal, in exact Decimal, outside the hot process or beside it.

    ledger = Ledger(instruments)
    ledger.fold(read("runs/latest/journal"))
    ledger.compare(account, venue_balances, venue_holdings)  # [] when equal to the last unit

Spot: base and quote move by the fill, P&L is booked at average cost. Contracts: the wallet moves
by what the venue states (Update.realized); our own P&L, by average cost and FIFO, is kept beside it
for reports. Fees are booked in their own currency, funding when it is paid. A fill that was seen
before (account, instrument, trade id) changes nothing, so folding it twice is harmless.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.errors import LedgerMismatch
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.log import logger
from alephtx.core.ports import Balance, Holding
from alephtx.core.records import INTENT, UPDATE
from alephtx.core.units import MONEY_SCALE, to_decimal
from alephtx.ledger import snapshot
from alephtx.ledger.compare import Difference, differences
from alephtx.ledger.cost import EXACT, Position, mark_value, money
from alephtx.ledger.double_entry import (
    ADJUSTED,
    CASH,
    FEES,
    FUNDING,
    OPENING,
    POSITION,
    REALIZED,
    DoubleEntry,
    Posting,
)
from alephtx.ledger.statement import DayRow, Days
from alephtx.matrix import journal

log = logger("ledger")

Method = Literal["average", "fifo"]

NOBODY = -1
"""The strategy of fills that are on the account and of no order of ours."""


class JournalRecord(Protocol):
    """What the ledger reads of a journal's record."""

    @property
    def kind(self) -> int: ...  # noqa: D102
    @property
    def ts(self) -> int: ...  # noqa: D102
    @property
    def payload(self) -> memoryview: ...  # noqa: D102


class _Rows(msgspec.Struct):
    currency: str
    total: Decimal


class _Held(msgspec.Struct):
    instrument: int
    qty: int
    entry_price: Decimal


class _Balances(msgspec.Struct):
    account: int
    balances: list[_Rows]
    holdings: list[_Held] = []


class Ledger:
    """Balances, positions, P&L, fees and funding; accounts and strategies go by index."""

    def __init__(self, instruments: Instruments) -> None:
        self.instruments = instruments
        self.entries = DoubleEntry()
        self.days = Days()
        self.accounts: dict[tuple[int, int], Position] = {}  # (account, instrument)
        self.strategies: dict[tuple[int, int, int], Position] = {}  # (account, strategy, ...)
        self.strategy_fees: dict[tuple[int, str], Decimal] = {}
        self.seen: set[tuple[int, ...]] = set()
        self.opened: set[int] = set()
        self.taken_up: dict[tuple[int, int], int] = {}  # positions from before the ledger
        self.duplicates = 0
        self.invalid = 0
        self.strategy_of: dict[int, int] = {}  # order id -> strategy, from the journal's intents

    def to_json(self) -> bytes:
        """Return everything the ledger knows; the same ledger gives the same bytes."""
        return snapshot.save(self)

    @classmethod
    def from_json(cls, instruments: Instruments, data: bytes) -> "Ledger":
        """Read back what `to_json` wrote; LedgerMismatch when it is damaged or foreign."""
        ledger = cls(instruments)
        snapshot.load(ledger, data)
        return ledger

    # -- the fold ----------------------------------------------------------------------------

    def fold(self, records: Iterable[JournalRecord]) -> int:
        """Apply every record; returns how many."""
        count = 0
        for record in records:
            self.apply(record)
            count += 1
        return count

    def apply(self, record: JournalRecord) -> None:
        """Apply one record of the journal; kinds that move no money are passed over."""
        if record.kind == journal.UPDATE:
            for row in _rows(record, UPDATE):
                self.apply_update(row)
        elif record.kind == journal.INTENT:
            for row in _rows(record, INTENT):
                if row["op"] == words.PLACE and row["verdict"] == words.PASS:
                    self.strategy_of[int(row["order_id"])] = int(row["strategy"])
        elif record.kind == journal.BALANCES:
            try:
                stated = msgspec.json.decode(record.payload, type=_Balances)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise LedgerMismatch(f"a BALANCES record does not parse: {error}") from error
            self.open_balances(
                stated.account,
                [Balance(row.currency, row.total, row.total) for row in stated.balances],
                [Holding(row.instrument, row.qty, row.entry_price) for row in stated.holdings],
                ts=record.ts,
            )

    def open_balances(
        self,
        account: int,
        balances: Iterable[Balance],
        holdings: Iterable[Holding] = (),
        *,
        ts: int = 0,
    ) -> None:
        """Book an account's opening balances and positions; later ones are booked as adjustments.

        An adjustment is the step from what the ledger has to what is stated: a deposit, a
        withdrawal, or trades made while nobody watched. Positions are only taken up at the opening.
        """
        first = account not in self.opened
        book = OPENING if first else ADJUSTED
        self.opened.add(account)
        with localcontext(EXACT):
            for balance in balances:
                amount = balance.total - self.balance(account, balance.currency)
                self._post(account, ts, book, [(CASH, balance.currency, amount)])
        for holding in holdings if first else ():
            if holding.qty:
                position = self.accounts.setdefault((account, holding.instrument), Position())
                instrument = self._instrument(holding.instrument)
                position.take_up(instrument, holding.qty, holding.entry_price)
                self.taken_up[account, holding.instrument] = holding.qty

    def apply_update(self, update: Any, account: int | None = None) -> bool:
        """Apply an UPDATE row (or length-1 array); True when it moved money. Others change nothing.

        account: the account's index where the row does not carry the ledger's.
        """
        row = update[0] if getattr(update, "ndim", 0) else update
        kind = int(row["kind"])
        owner = int(row["account"]) if account is None else account
        with localcontext(EXACT):  # even a minus sign rounds to the context's digits
            if kind == words.FILL:
                return self._fill(row, owner)
            if kind == words.FUNDING_PAID:
                return self._funding(row, owner)
        return False

    def apply_fill(self, update: Any) -> bool:
        """Apply a FILL row; False when it was seen before or is none."""
        return self.apply_update(update)

    def apply_funding(self, update: Any) -> bool:
        """Apply a FUNDING_PAID row; False when it was seen before or is none."""
        return self.apply_update(update)

    def _fill(self, row: Any, account: int) -> bool:
        side, price, qty = int(row["side"]), int(row["price"]), int(row["qty"])
        i, trade_id = int(row["instrument"]), int(row["trade_id"])
        instrument = self._instrument(i)
        if abs(side) != 1 or price <= 0 or qty <= 0 or trade_id == 0:
            self.invalid += 1
            log.error("fill_refused", account=account, instrument=instrument.key, trade_id=trade_id)
            return False
        fee = to_decimal(int(row["fee"]), MONEY_SCALE)
        fee_currency = self._currency(int(row["fee_currency"]), instrument) if fee else ""
        if self._known((words.FILL, account, i, trade_id)):
            return False
        strategy = self.strategy_of.get(int(row["order_id"]), int(row["strategy"]))
        if int(row["flags"]) & words.FOREIGN:
            strategy = NOBODY
        own = self.strategies.setdefault((account, strategy, i), Position())
        own.fill(instrument, side, price, qty)
        position = self.accounts.setdefault((account, i), Position())
        cost = position.fill(instrument, side, price, qty)
        ts = int(row["ts_event"]) or int(row["ts_recv"])
        if instrument.contract == words.SPOT:
            self._spot(account, ts, instrument, side * qty, (side * price * qty, cost))
        elif row["realized"]:
            amount = to_decimal(int(row["realized"]), MONEY_SCALE)
            self._post(account, ts, REALIZED, [(CASH, instrument.settle, amount)])
        if fee:
            self._post(account, ts, FEES, [(CASH, fee_currency, -fee)])
            key = (strategy, fee_currency)
            self.strategy_fees[key] = self.strategy_fees.get(key, Decimal(0)) + fee
        return True

    def _spot(
        self, account: int, ts: int, instrument: Instrument, lots: int, paid: tuple[int, int]
    ) -> None:
        """Book a spot fill. paid: (what it cost, what it changed of the position's cost)."""
        base = instrument.qty_decimal(lots) * instrument.contract_value
        quote, cost = money(instrument, paid[0]), money(instrument, paid[1])
        self._post(account, ts, POSITION, [(CASH, instrument.base, base)])
        postings = [(CASH, instrument.quote, -quote), (POSITION, instrument.quote, cost)]
        self._post(account, ts, REALIZED, postings, cause=POSITION)

    def _funding(self, row: Any, account: int) -> bool:
        i, trade_id = int(row["instrument"]), int(row["trade_id"])
        instrument = self._instrument(i)
        ts, amount = int(row["ts_event"]) or int(row["ts_recv"]), int(row["realized"])
        if self._known((words.FUNDING_PAID, account, i, trade_id or ts)):
            return False
        paid = to_decimal(amount, MONEY_SCALE)
        self._post(account, ts, FUNDING, [(CASH, instrument.settle, paid)])
        return True

    def _post(
        self,
        account: int,
        ts: int,
        other: str,
        postings: list[tuple[str, str, Decimal]],
        *,
        cause: str = "",
    ) -> None:
        """Post amounts, and what balances them to the other book."""
        made = [Posting(account, book, currency, amount) for book, currency, amount in postings]
        for currency in dict.fromkeys(posting.currency for posting in made):
            rest = -sum((p.amount for p in made if p.currency == currency), Decimal(0))
            made.append(Posting(account, other, currency, rest))
        self.entries.post(made)
        for book, currency, amount in postings:
            if book == CASH and amount:
                self.days.add(ts, account, currency, cause or other, amount)

    def _known(self, key: tuple[int, ...]) -> bool:
        if key in self.seen:
            self.duplicates += 1
            return True
        self.seen.add(key)
        return False

    def _instrument(self, index: int) -> Instrument:
        if not 0 <= index < len(self.instruments):
            raise LedgerMismatch(
                f"instrument {index} is not in the table of {len(self.instruments)}",
                remedy="fold a journal with the instruments of its own header",
            )
        return self.instruments[index]

    def _currency(self, index: int, instrument: Instrument) -> str:
        if not 0 < index < len(self.instruments.currencies):
            raise LedgerMismatch(
                f"a fee on {instrument.key} is in currency {index}, which is not in the table of "
                f"{len(self.instruments.currencies)}",
                remedy="the venue file must name the currency of every fee",
            )
        return self.instruments.currencies[index]

    # -- what it says ------------------------------------------------------------------------

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
                currency = _money_currency(traded)
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
                currency = _money_currency(traded)
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

    # -- what it checks ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise LedgerMismatch when the books contradict themselves."""
        self.entries.check()
        for (account, i), position in self.accounts.items():
            wrong = position.check()
            parts = [p.qty for (a, _, j), p in self.strategies.items() if (a, j) == (account, i)]
            own = sum(parts) + self.taken_up.get((account, i), 0)
            if not wrong and position.qty != own:
                wrong = f"{position.qty} lots, but its strategies hold {own}"
            if wrong:
                raise LedgerMismatch(f"account {account} {self.instruments[i].key}: {wrong}")

    def compare(
        self, account: int, balances: Iterable[Balance], holdings: Iterable[Holding]
    ) -> list[Difference]:
        """Return where the venue's word on an account differs from ours; [] when it does not.

        Exact to the last unit: wallet totals of every currency, and lots of every contract.
        """
        contracts = {
            i: position.qty
            for (owner, i), position in self.accounts.items()
            if owner == account and self.instruments[i].contract != words.SPOT
        }
        return differences(
            self.instruments, account, self.balances(account), contracts, balances, holdings
        )


def _money_currency(instrument: Instrument) -> str:
    return instrument.quote if instrument.contract == words.SPOT else instrument.settle


def _rows(record: JournalRecord, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if len(record.payload) % dtype.itemsize:
        raise LedgerMismatch(
            f"a record of kind {record.kind} has {len(record.payload)} bytes, which are no whole "
            f"rows of {dtype.itemsize}",
            remedy="read the journal with the version that wrote it",
        )
    return np.frombuffer(record.payload, dtype)
