"""The ledger: a fold over the journal, in exact Decimal, outside the hot process or beside it.

    ledger = Ledger(instruments)
    ledger.fold(read("runs/latest/journal"))
    ledger.compare(account, venue_balances, venue_holdings)  # [] when equal to the last unit

Spot: base and quote move by the fill, P&L is booked at average cost. Contracts: the wallet moves
by what the venue states (Update.realized); our own P&L, by average cost and FIFO, is kept beside it
for reports. Fees are booked in their own currency, funding when it is paid, everything else by its
cause (`ledger.moves`). What was seen before (a fill by account, instrument and trade id) changes
nothing, so folding it twice is harmless.

After every event its identities are looked at, at a cost that does not grow with the ledger; one
that does not hold is an AccountingError, and the books are not to be believed from there on.
"""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any, NamedTuple, Protocol

from alephtx.core import words
from alephtx.core.errors import LedgerMismatch
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.log import logger
from alephtx.core.ports import Balance, Holding
from alephtx.core.records import INTENT, UPDATE
from alephtx.core.units import MONEY_SCALE, to_decimal
from alephtx.ledger import identities, snapshot
from alephtx.ledger.compare import Difference, differences
from alephtx.ledger.cost import EXACT, Position, counted_fee, money
from alephtx.ledger.double_entry import (
    ADJUSTED,
    CASH,
    EXTERNAL,
    FEES,
    FUNDING,
    GAS,
    OPENING,
    POSITION,
    REALIZED,
    TRANSIT,
    Posting,
)
from alephtx.ledger.moves import CAUSES, COLUMNS, senseless
from alephtx.ledger.readings import Readings, traded_currency
from alephtx.ledger.rows import JournalRecord, rows_of, stated_of
from alephtx.matrix import journal

log = logger("ledger")

NOBODY = -1
"""The strategy of what belongs to none in particular."""


class Fill(NamedTuple):
    """A fill as it was booked, for whoever listens; fee and price as the venue states them."""

    ts: int
    account: int
    strategy: int
    instrument: int
    side: int
    price: int
    qty: int
    fee: Decimal
    fee_currency: str
    trade_id: int


class Listener(Protocol):
    """Who is told what is booked."""

    def filled(self, fill: Fill) -> None:
        """Take a fill."""
        ...

    def taken_up(self, ts: int, account: int, instrument: int, lots: int, cost: int) -> None:
        """Take a position that was there when the account was opened; cost as in Position."""
        ...


class Ledger(Readings):
    """Balances, positions, P&L, fees and funding; accounts and strategies go by index.

    listener hears of every fill that is booked, of settlements too (trade_id negative), and of
    positions that were there before.
    """

    def __init__(self, instruments: Instruments, listener: Listener | None = None) -> None:
        super().__init__(instruments)
        self.listener = listener
        self.seq = 0  # of the last record applied
        self.seen: set[tuple[int, ...]] = set()
        self.opened: set[int] = set()
        self.taken_up: dict[tuple[int, int], int] = {}  # positions from before the ledger
        self.held: dict[tuple[int, int], int] = {}  # lots of all strategies and of nobody
        self.holders: dict[tuple[int, int], list[int]] = {}  # strategies that ever held it
        self.duplicates = 0
        self.invalid = 0
        self.strategy_of: dict[int, int] = {}  # order id -> strategy, from the journal's intents

    @property
    def event(self) -> str:
        """Name what was booked last, for errors."""
        return f"record {self.seq}"

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
        self.seq = record.seq
        try:
            self._apply(record)
        except ArithmeticError as error:
            raise LedgerMismatch(
                f"record {record.seq} cannot be booked to the last digit: {type(error).__name__}",
                remedy="an amount in it is beyond reason; report it with the journal",
            ) from error

    def _apply(self, record: JournalRecord) -> None:
        if record.kind == journal.UPDATE:
            for row in rows_of(record, UPDATE):
                self.apply_update(row)
        elif record.kind == journal.INTENT:
            for row in rows_of(record, INTENT):
                if row["op"] == words.PLACE and row["verdict"] == words.PASS:
                    self.strategy_of[int(row["order_id"])] = int(row["strategy"])
        elif record.kind == journal.BALANCES:
            stated = stated_of(record)
            self.open_balances(*stated, ts=record.ts)

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
                self._post(account, ts, balance.currency, book, [(CASH, amount)])
        for holding in holdings if first else ():
            if holding.qty:
                position = self.accounts.setdefault((account, holding.instrument), Position())
                instrument = self._instrument(holding.instrument)
                position.take_up(instrument, holding.qty, holding.entry_price)
                self.taken_up[account, holding.instrument] = holding.qty
                self.held[account, holding.instrument] = holding.qty
                if self.listener is not None:
                    self.listener.taken_up(
                        ts, account, holding.instrument, holding.qty, position.cost
                    )

    def apply_update(self, update: Any, account: int | None = None) -> bool:
        """Apply an UPDATE row (or length-1 array); True when it moved money. Others change nothing.

        account: the account's index where the row does not carry the ledger's.
        """
        row = update[0] if getattr(update, "ndim", 0) else update
        kind = int(row["kind"])
        owner = int(row["account"]) if account is None else account
        if kind not in (words.FILL, words.FUNDING_PAID, words.MONEY_MOVED):
            return False
        with localcontext(EXACT):  # even a minus sign rounds to the context's digits
            if kind == words.FILL:
                return self._fill(row, owner)
            if kind == words.FUNDING_PAID:
                return self._funding(row, owner)
            return self._moved(row, owner)

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
        paid = int(row["fee"])
        fee = to_decimal(paid, MONEY_SCALE)
        fee_currency = self._currency(int(row["fee_currency"]), instrument) if paid else ""
        if self._known((words.FILL, account, i, trade_id)):
            return False
        strategy = self.strategy_of.get(int(row["order_id"]), int(row["strategy"]))
        if int(row["flags"]) & words.FOREIGN:
            strategy = NOBODY
        ts = int(row["ts_event"]) or int(row["ts_recv"])
        fill = Fill(ts, account, strategy, i, side, price, qty, fee, fee_currency, trade_id)
        self._trade_own(fill, instrument)
        position, cost = self._trade(fill, instrument)
        if instrument.contract == words.SPOT:
            self._spot(fill, instrument, cost)
            position.wallet -= money(instrument, side * price * qty)
        elif row["realized"]:
            amount = to_decimal(int(row["realized"]), MONEY_SCALE)
            self._post(account, ts, instrument.settle, REALIZED, [(CASH, amount)])
            position.wallet += amount
        if fee:
            self._fee(fill, instrument, paid)
        identities.trade(self, account, i, (strategy,))
        if self.listener is not None:
            self.listener.filled(fill)
        return True

    def _trade(self, fill: Fill, instrument: Instrument) -> tuple[Position, int]:
        """Move the account's position; returns it and what the fill changed of its cost."""
        position = self.accounts.setdefault((fill.account, fill.instrument), Position())
        cost = position.fill(instrument, fill.side, fill.price, fill.qty)
        position.came(fill.ts, waited=fill.strategy == NOBODY)
        return position, cost

    def _trade_own(self, fill: Fill, instrument: Instrument) -> None:
        """Move the strategy's own position, and count what it earned."""
        place, key = (fill.account, fill.instrument), (fill.account, fill.strategy, fill.instrument)
        own = self.strategies.get(key)
        if own is None:
            own = self.strategies[key] = Position()
            self.holders.setdefault(place, []).append(fill.strategy)
        lots, gain = own.qty, own.gain
        own.fill(instrument, fill.side, fill.price, fill.qty)
        self.held[place] = self.held.get(place, 0) + own.qty - lots
        currency = traded_currency(instrument)
        self.days.filled(fill.ts, fill.account, fill.strategy, currency)
        if own.gain != gain:
            earned = money(instrument, own.gain - gain)
            self.days.earn(fill.ts, fill.account, fill.strategy, currency, "realized", earned)

    def _spot(self, fill: Fill, instrument: Instrument, cost: int) -> None:
        """Book a spot fill. cost: what it changed of the position's cost."""
        base = instrument.qty_decimal(fill.side * fill.qty) * instrument.contract_value
        quote = money(instrument, fill.side * fill.price * fill.qty)
        self._post(fill.account, fill.ts, instrument.base, POSITION, [(CASH, base)])
        amounts = [(CASH, -quote), (POSITION, money(instrument, cost))]
        self._post(fill.account, fill.ts, instrument.quote, REALIZED, amounts, column="traded")

    def _fee(self, fill: Fill, instrument: Instrument, paid: int) -> None:
        """Book a fee in its own currency, and count it for the strategy."""
        account, strategy, currency = fill.account, fill.strategy, fill.fee_currency
        self._post(account, fill.ts, currency, FEES, [(CASH, -fill.fee)])
        key = (strategy, currency)
        self.strategy_fees[key] = self.strategy_fees.get(key, Decimal(0)) + fill.fee
        self.days.earn(fill.ts, account, strategy, currency, "fees", -fill.fee)
        counted = counted_fee(instrument, currency, paid, fill.price)
        if counted is None:
            self._aside(account, strategy, currency, -fill.fee)
        else:
            self.accounts[account, fill.instrument].fees += counted
            self.strategies[account, strategy, fill.instrument].fees += counted

    def _funding(self, row: Any, account: int) -> bool:
        i, trade_id = int(row["instrument"]), int(row["trade_id"])
        instrument = self._instrument(i)
        ts, amount = int(row["ts_event"]) or int(row["ts_recv"]), int(row["realized"])
        if self._known((words.FUNDING_PAID, account, i, trade_id or ts)):
            return False
        paid, currency = to_decimal(amount, MONEY_SCALE), instrument.settle
        self._post(account, ts, currency, FUNDING, [(CASH, paid)])
        strategy = self._holder(account, i)
        self.days.earn(ts, account, strategy, currency, "funding", paid)
        self._aside(account, strategy, currency, paid)
        return True

    def _aside(self, account: int, strategy: int, currency: str, amount: Decimal) -> None:
        """Note what a strategy earned that the gate does not count."""
        key = (account, strategy, currency)
        self.uncounted[key] = self.uncounted.get(key, Decimal(0)) + amount

    def _holder(self, account: int, i: int) -> int:
        """Return the only strategy that holds an instrument now; NOBODY when it is not one."""
        held = [s for s in self.holders.get((account, i), ()) if self.strategies[account, s, i].qty]
        return held[0] if len(held) == 1 and not self.taken_up.get((account, i)) else NOBODY

    def _moved(self, row: Any, account: int) -> bool:
        code, number = int(row["code"]), int(row["fee_currency"])
        trade_id, ts = int(row["trade_id"]), int(row["ts_event"]) or int(row["ts_recv"])
        other, transfer = int(row["target_order_id"]) - 1, int(row["group_id"])
        instrument = self._instrument(int(row["instrument"]))
        currency = self._currency(number, instrument)
        wrong = senseless(row, instrument, currency)
        if wrong:
            self.invalid += 1
            log.error("movement_refused", account=account, code=code, trade_id=trade_id, why=wrong)
            return False
        if self._known((words.MONEY_MOVED, account, code, trade_id, number)):
            return False
        amount = to_decimal(int(row["realized"]), MONEY_SCALE)
        if code == words.MONEY_SETTLEMENT:
            self._settle(row, account, ts, amount)
        if code == words.MONEY_TRANSFER:
            self._transfer(
                account, ts, currency, (amount, to_decimal(int(row["fee"]), MONEY_SCALE)),
                transfer if other >= 0 else 0,
            )  # fmt: skip
        elif amount:
            self._post(account, ts, currency, CAUSES[code].book, [(CASH, amount)])
        return True

    def _transfer(
        self, account: int, ts: int, currency: str, paid: tuple[Decimal, Decimal], transfer: int
    ) -> None:
        """Book one leg. paid: (what the wallet moved by, what the way took of it).

        transfer 0: with the world outside; otherwise both legs meet in the book TRANSIT.
        """
        amount, way = paid
        kept = amount + way
        self._post(account, ts, currency, TRANSIT if transfer else EXTERNAL, [(CASH, kept)])
        if way:
            self._post(account, ts, currency, GAS, [(CASH, -way)])
        if transfer:
            rest = self.transit.pop((transfer, currency), Decimal(0)) - kept
            if rest:
                self.transit[transfer, currency] = rest

    def _settle(self, row: Any, account: int, ts: int, amount: Decimal) -> None:
        """Close every position in an instrument at a price: the contract has ended."""
        i, price = int(row["instrument"]), int(row["price"])
        instrument, trade_id = self.instruments[i], -abs(int(row["trade_id"]))
        for strategy in self.holders.get((account, i), ()):
            lots = self.strategies[account, strategy, i].qty
            if lots:
                self._trade_own(_closing(ts, account, strategy, i, lots, price, trade_id),
                                instrument)  # fmt: skip
        self.held[account, i] = self.held.get((account, i), 0) - self.taken_up.pop((account, i), 0)
        position = self.accounts.setdefault((account, i), Position())
        if position.qty:
            fill = _closing(ts, account, NOBODY, i, position.qty, price, trade_id)
            self._trade(fill, instrument)
            if self.listener is not None:
                self.listener.filled(fill)
        position.wallet += amount
        identities.trade(self, account, i, self.holders.get((account, i), ()))

    def _post(
        self,
        account: int,
        ts: int,
        currency: str,
        other: str,
        amounts: list[tuple[str, Decimal]],
        *,
        column: str = "",
    ) -> None:
        """Post amounts of a currency by book, and what balances them to the other book."""
        made = [Posting(account, book, currency, amount) for book, amount in amounts]
        rest = -sum((amount for _, amount in amounts), Decimal(0))
        self.entries.post([*made, Posting(account, other, currency, rest)], self.event)
        for book, amount in amounts:
            if book == CASH and amount:
                self.days.add(ts, account, currency, column or COLUMNS[other], amount)
                identities.wallet(self, account, currency)

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
                f"an amount on {instrument.key} is in currency {index}, which is not in the table "
                f"of {len(self.instruments.currencies)}",
                remedy="the venue file must name the currency of every amount",
            )
        return self.instruments.currencies[index]

    # -- what it checks ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise LedgerMismatch when the books contradict themselves; walks all of them."""
        identities.check(self)

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


def _closing(
    ts: int, account: int, strategy: int, i: int, lots: int, price: int, trade_id: int
) -> Fill:
    """Return the fill that closes so many signed lots."""
    side = words.SELL if lots > 0 else words.BUY
    return Fill(ts, account, strategy, i, side, price, abs(lots), Decimal(0), "", trade_id)
