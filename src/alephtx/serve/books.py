"""A run's ledger for people and programs: balances, positions, statements and lots as plain rows.

A row is a dict of text, in the order of its columns; amounts are exact decimals. Everything is read
from the run's journal, which may still grow; what cannot be believed is one error that names it.
"""

import csv
import tomllib
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments
from alephtx.engine.rundir import RunDirectory
from alephtx.ledger.book import NOBODY, Ledger
from alephtx.ledger.cost import EXACT, MARKED, Position, mark_value, money
from alephtx.ledger.lots import Fees, TaxLots
from alephtx.ledger.readings import Method, traded_currency
from alephtx.ledger.statement import (
    DAY_NS,
    STRATEGY_COLUMNS,
    WALLET_COLUMNS,
    DayRow,
    StrategyDay,
    day_name,
)
from alephtx.matrix.journal import read, tail

LOT_COLUMNS = (
    "account", "instrument", "side", "acquired", "disposed", "qty", "proceeds", "cost", "gain",
    "fees", "net_gain", "currency", "other_fees", "method", "acquired_trade", "disposed_trade",
)  # fmt: skip

Row = dict[str, str]
Marks = dict[int, Decimal]


class Names(msgspec.Struct):
    """What indices are called. venues: of accounts, by index."""

    accounts: list[str] = []
    venues: list[str] = []
    strategies: list[str] = []

    def account(self, index: int) -> str:
        """Return an account's name, or its number."""
        return self.accounts[index] if index < len(self.accounts) else f"account {index}"

    def venue(self, index: int) -> str:
        """Return the venue of an account, or the account's name where no config tells."""
        return self.venues[index] if index < len(self.venues) else self.account(index)

    def strategy(self, index: int) -> str:
        """Return a strategy's name, `-` for what is nobody's."""
        if index == NOBODY:
            return "-"
        return self.strategies[index] if index < len(self.strategies) else f"strategy {index}"


class Books:
    """One run's journal, folded."""

    def __init__(self, run: RunDirectory, method: Method = "fifo") -> None:
        """Fold it; JournalError, ConfigError or LedgerMismatch where it cannot be believed."""
        self.names = names_of(run.config)
        self.instruments: Instruments = run.load_instruments()
        self.method = method
        self.lots = TaxLots(self.instruments, method)
        self.ledger = Ledger(self.instruments, self.lots)
        if run.alive:
            with tail(run.journal) as growing:
                while records := growing.poll():
                    self.ledger.fold(records)
        else:
            self.ledger.fold(read(run.journal))
        self.ledger.check()

    def marks(self, given: Iterable[str]) -> Marks:
        """Return prices from KEY=PRICE texts; ConfigError names one that is none."""
        found = {}
        for text in given:
            key, _, price = text.rpartition("=")
            try:
                value = Decimal(price)
            except InvalidOperation:
                value = Decimal("NaN")
            if not value.is_finite() or value <= 0 or abs(value.adjusted()) > 20:
                raise ConfigError(
                    f"--mark {text!r} has no price",
                    remedy="write the instrument's key, =, and a positive decimal",
                )
            found[self.instruments.index(key)] = value
        return found

    # -- rows --------------------------------------------------------------------------------

    def balances(self) -> list[Row]:
        """Return every wallet that is not empty, and what is between two of our accounts."""
        accounts = sorted({account for account, _, _ in self.ledger.entries.balances})
        rows = [
            {
                "account": self.names.account(account), "venue": self.names.venue(account),
                "currency": currency, "total": plain(amount),
            }
            for account in accounts
            for currency, amount in sorted(self.ledger.balances(account).items())
        ]  # fmt: skip
        rows += [
            {
                "account": f"in transit ({transfer})", "venue": "-",
                "currency": currency, "total": plain(amount),
            }
            for (transfer, currency), amount in sorted(self.ledger.in_transit().items())
        ]  # fmt: skip
        return rows

    def positions(self, marks: Marks) -> list[Row]:
        """Return what accounts hold or held, then what their strategies do, each by instrument."""
        rows = [
            self._position(account, "", i, position, marks)
            for (account, i), position in sorted(self.ledger.accounts.items())
        ]
        rows += [
            self._position(account, self.names.strategy(s), i, position, marks)
            for (account, s, i), position in sorted(self.ledger.strategies.items())
        ]
        return rows

    def _position(
        self, account: int, strategy: str, i: int, position: Position, marks: Marks
    ) -> Row:
        instrument = self.instruments[i]
        open_profit = ""
        with localcontext(MARKED):
            if i in marks:
                value = mark_value(instrument, marks[i], position.qty) if position.qty else 0
                gain = value - money(instrument, position.cost)
                open_profit = plain(-gain if instrument.inverse else gain)
        return {
            "account": self.names.account(account), "strategy": strategy or "(all)",
            "instrument": instrument.key, "qty": plain(instrument.qty_decimal(position.qty)),
            "cost": plain(money(instrument, position.cost)),
            "fifo_cost": plain(money(instrument, position.fifo_cost)),
            "realized": plain(money(instrument, position.gain)),
            "fifo_realized": plain(money(instrument, position.fifo_gain)),
            "unrealized": open_profit, "currency": traded_currency(instrument),
            "fills": str(position.fills),
        }  # fmt: skip

    def statement(self, by: str, day: str | None, marks: Marks) -> list[Row]:
        """Return a row per UTC day, owner and currency; by: account, venue or strategy.

        unrealized: of the last day, at the marks given, where there are any.
        """
        rows = self._by_strategy(marks) if by == "strategy" else self._by_wallet(by, marks)
        return [row for row in rows if day in (None, row["day"])]

    def _by_wallet(self, by: str, marks: Marks) -> list[Row]:
        name = self.names.account if by == "account" else self.names.venue
        sums: dict[tuple[str, str, str], dict[str, Decimal]] = {}
        last: dict[tuple[str, str], Decimal] = {}
        days = self.ledger.statement()
        for day in sorted({row.day for row in days}):
            # A wallet that did not move on a day still has what it had, in the venue's sum.
            for row in (row for row in days if row.day == day):
                wallet = (name(row.account), row.currency)
                cells = sums.setdefault((day, *wallet), {"opening": last.get(wallet, Decimal(0))})
                _add(cells, row, WALLET_COLUMNS)
            for (when, owner, currency), cells in sums.items():
                if when == day:
                    last[owner, currency] = _close(cells, WALLET_COLUMNS)
        columns = (by, ("opening", *WALLET_COLUMNS, "closing"))
        return _told(sums, columns, self._open_by(marks, lambda account, _: name(account)))

    def _by_strategy(self, marks: Marks) -> list[Row]:
        name = self.names.strategy
        sums: dict[tuple[str, str, str], dict[str, Decimal]] = {}
        last: dict[tuple[str, str], Decimal] = {}
        days = self.ledger.strategy_statement()
        for day in sorted({row.day for row in days}):
            for row in (row for row in days if row.day == day):
                owner = (name(row.strategy), row.currency)
                cells = sums.setdefault(
                    (day, *owner), {"fills": Decimal(0), "opening": last.get(owner, Decimal(0))}
                )
                cells["fills"] += row.fills
                _add(cells, row, STRATEGY_COLUMNS)
            for (when, who, currency), cells in sums.items():
                if when == day:
                    last[who, currency] = _close(cells, STRATEGY_COLUMNS)
        columns = ("strategy", ("fills", "opening", *STRATEGY_COLUMNS, "closing"))
        return _told(sums, columns, self._open_by(marks, lambda _, strategy: name(strategy)))

    def _open_by(
        self, marks: Marks, name: Callable[[int, int], str]
    ) -> dict[tuple[str, str], Decimal]:
        """Return open profit at the marks by (owner, currency); {} without marks."""
        found: dict[tuple[str, str], Decimal] = {}
        for account, strategy, i in self.ledger.strategies if marks else ():
            key = (name(account, strategy), traded_currency(self.instruments[i]))
            gains = self.ledger.unrealized(marks, account, strategy=strategy, instrument=i)
            with localcontext(EXACT):
                for amount in gains.values():
                    found[key] = found.get(key, Decimal(0)) + amount
        return found

    def disposals(self, day: str | None) -> list[Row]:
        """Return every closed lot, oldest disposal first; day: of the disposal."""
        rows = []
        for lot in self.lots.disposals:
            if day not in (None, day_name(lot.disposed // DAY_NS)):
                continue
            instrument = self.instruments[lot.instrument]
            own = lot.fees.get(lot.currency, Decimal(0))
            others = {c: x for c, x in lot.fees.items() if c != lot.currency}
            with localcontext(EXACT):
                net = lot.gain - own
            rows.append(
                {
                    "account": self.names.account(lot.account),
                    "instrument": instrument.key,
                    "side": "short" if lot.short else "long",
                    "acquired": moment(lot.acquired), "disposed": moment(lot.disposed),
                    "qty": plain(instrument.qty_decimal(lot.lots)),
                    "proceeds": plain(lot.proceeds), "cost": plain(lot.cost),
                    "gain": plain(lot.gain), "fees": plain(own), "net_gain": plain(net),
                    "currency": lot.currency, "other_fees": _listed(others),
                    "method": self.method, "acquired_trade": str(lot.acquired_trade),
                    "disposed_trade": str(lot.disposed_trade),
                }
            )  # fmt: skip
        return rows


def names_of(config: Path) -> Names:
    """Return what a run's config calls its accounts and strategies; numbers where it cannot say."""
    try:
        told: dict[str, Any] = tomllib.loads(config.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return Names()
    accounts, strategies = told.get("accounts"), told.get("strategies")
    accounts = accounts if isinstance(accounts, dict) else {}
    venues = [a.get("venue", name) if isinstance(a, dict) else name for name, a in accounts.items()]
    return Names(
        list(accounts),
        [str(venue) for venue in venues],
        list(strategies) if isinstance(strategies, dict) else [],
    )


def plain(amount: Decimal) -> str:
    """Return an amount as plain digits, without zeros at the end."""
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def moment(ts: int) -> str:
    """Return a time in ns as UTC text, to the second; empty for 0, which nobody stated."""
    if ts <= 0:
        return ""
    seconds = ts % DAY_NS // 1_000_000_000
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{day_name(ts // DAY_NS)}T{clock}Z"


def write_csv(rows: list[Row], columns: Iterable[str], path: Path) -> None:
    """Write rows to a file that is whole or not there; ConfigError when it cannot be written."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _add(cells: dict[str, Decimal], row: DayRow | StrategyDay, columns: Iterable[str]) -> None:
    with localcontext(EXACT):
        for column in columns:
            cells[column] = cells.get(column, Decimal(0)) + getattr(row, column)


def _close(cells: dict[str, Decimal], columns: Iterable[str]) -> Decimal:
    with localcontext(EXACT):
        cells["closing"] = cells["opening"] + sum((cells[c] for c in columns), Decimal(0))
    return cells["closing"]


def _told(
    sums: dict[tuple[str, str, str], dict[str, Decimal]],
    columns: tuple[str, tuple[str, ...]],
    open_profit: dict[tuple[str, str], Decimal],
) -> list[Row]:
    """Return the sums as rows, the open profit with the last day of its owner and currency.

    columns: (what the owner is, the cells).
    """
    owner_is, names = columns
    latest = {(owner, currency): day for day, owner, currency in sorted(sums)}
    newest = max((day for day, _, _ in sums), default="")
    for owner, currency in open_profit:
        if (owner, currency) not in latest:  # a contract is open, but its money never moved
            latest[owner, currency] = newest
            sums[newest, owner, currency] = dict.fromkeys(names, Decimal(0))
    rows = []
    for (day, owner, currency), cells in sorted(sums.items()):
        row = {"day": day, owner_is: owner, "currency": currency}
        row |= {name: plain(cells.get(name, Decimal(0))) for name in names}
        last = latest[owner, currency] == day and (owner, currency) in open_profit
        row["unrealized"] = plain(open_profit[owner, currency]) if last else ""
        rows.append(row)
    return rows


def _listed(fees: Fees) -> str:
    return "; ".join(f"{plain(amount)} {currency}" for currency, amount in sorted(fees.items()))
