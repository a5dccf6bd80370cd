"""Day statements: what moved each wallet, and what each strategy earned, on each UTC day."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext

import msgspec

from alephtx.ledger.cost import EXACT

DAY_NS = 86_400_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WALLET_COLUMNS = (
    "deposited", "transfers", "traded", "realized", "fees", "funding", "interest", "gas", "other",
)  # fmt: skip
STRATEGY_COLUMNS = ("realized", "fees", "funding")


class DayRow(msgspec.Struct, frozen=True, kw_only=True):
    """One day of one wallet: closing = opening + the sum of the movements, exactly."""

    day: str
    account: int
    currency: str
    opening: Decimal
    deposited: Decimal  # opening balances and adjustments to what the venue states
    transfers: Decimal  # between our accounts, and with the world outside
    traded: Decimal  # spot: the other leg of what was bought or sold
    realized: Decimal  # contracts, as the venue states it
    fees: Decimal  # rebates are positive
    funding: Decimal
    interest: Decimal
    gas: Decimal
    other: Decimal  # insurance, gifts, corrections, conversions
    closing: Decimal


class StrategyDay(msgspec.Struct, frozen=True, kw_only=True):
    """One day of one strategy on one account: closing = opening + realized + fees + funding.

    realized is our own, at average cost; fees are negative when paid. strategy -1: what is nobody's
    in particular, as funding of an instrument that several strategies hold.
    """

    day: str
    account: int
    strategy: int
    currency: str
    fills: int
    opening: Decimal
    realized: Decimal
    fees: Decimal
    funding: Decimal
    closing: Decimal


def day_of(ts: int) -> int:
    """Return the UTC day of a time in ns, counted from 1970."""
    return ts // DAY_NS


def day_name(day: int) -> str:
    """Return a day as 2026-07-29."""
    return f"{_EPOCH + timedelta(days=day):%Y-%m-%d}"


def parse_day(text: str) -> int:
    """Return the number of a day as `day_name` writes it; ValueError when it is none."""
    return (date.fromisoformat(text) - _EPOCH.date()).days


class Days:
    """What moved, by day.

    moved: of wallets, by (day, account, currency, column); closing: its sum by (account, currency),
    kept beside it. earned: by (day, account, strategy, currency, column); fills by (day, account,
    strategy, currency).
    """

    def __init__(self) -> None:
        self.moved: dict[tuple[int, int, str, str], Decimal] = {}
        self.closing: dict[tuple[int, str], Decimal] = {}
        self.earned: dict[tuple[int, int, int, str, str], Decimal] = {}
        self.fills: dict[tuple[int, int, int, str], int] = {}

    def add(self, ts: int, account: int, currency: str, column: str, amount: Decimal) -> None:
        """Count a movement of a wallet on the day of ts (ns, UTC)."""
        key, wallet = (day_of(ts), account, currency, column), (account, currency)
        with localcontext(EXACT):
            self.moved[key] = self.moved.get(key, Decimal(0)) + amount
            self.closing[wallet] = self.closing.get(wallet, Decimal(0)) + amount

    def earn(
        self, ts: int, account: int, strategy: int, currency: str, column: str, amount: Decimal
    ) -> None:
        """Count what a strategy earned (negative: paid) on the day of ts."""
        key = (day_of(ts), account, strategy, currency, column)
        with localcontext(EXACT):
            self.earned[key] = self.earned.get(key, Decimal(0)) + amount

    def filled(self, ts: int, account: int, strategy: int, currency: str) -> None:
        """Count a fill of a strategy, in the currency its gains are in."""
        key = (day_of(ts), account, strategy, currency)
        self.fills[key] = self.fills.get(key, 0) + 1

    def rows(self, account: int | None = None) -> list[DayRow]:
        """Return a row per day, account and currency whose wallet moved, in this order."""
        keys = sorted({(owner, currency, day) for day, owner, currency, _ in self.moved})
        rows, last, closing = [], (-1, ""), Decimal(0)
        for owner, currency, day in keys:
            if account not in (None, owner):
                continue
            opening = closing if (owner, currency) == last else Decimal(0)
            columns = {
                column: self.moved.get((day, owner, currency, column), Decimal(0))
                for column in WALLET_COLUMNS
            }
            with localcontext(EXACT):
                closing = opening + sum(columns.values(), Decimal(0))
            last = (owner, currency)
            rows.append(
                DayRow(
                    day=day_name(day), account=owner, currency=currency,
                    opening=opening, closing=closing, **columns,
                )
            )  # fmt: skip
        return sorted(rows, key=lambda row: (row.day, row.account, row.currency))

    def strategy_rows(self, strategy: int | None = None) -> list[StrategyDay]:
        """Return a row per day, account, strategy and currency with a fill or an amount."""
        found = {(a, s, currency, day) for day, a, s, currency, _ in self.earned}
        found |= {(a, s, currency, day) for day, a, s, currency in self.fills}
        rows, last, closing = [], (-1, -2, ""), Decimal(0)
        for account, who, currency, day in sorted(found):
            if strategy not in (None, who):
                continue
            opening = closing if (account, who, currency) == last else Decimal(0)
            columns = {
                column: self.earned.get((day, account, who, currency, column), Decimal(0))
                for column in STRATEGY_COLUMNS
            }
            with localcontext(EXACT):
                closing = opening + sum(columns.values(), Decimal(0))
            last = (account, who, currency)
            rows.append(
                StrategyDay(
                    day=day_name(day), account=account, strategy=who, currency=currency,
                    fills=self.fills.get((day, account, who, currency), 0),
                    opening=opening, closing=closing, **columns,
                )
            )  # fmt: skip
        return sorted(rows, key=lambda row: (row.day, row.account, row.strategy, row.currency))
