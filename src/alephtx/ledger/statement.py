"""Day statements: what moved each wallet on each UTC day, and why."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import msgspec

from alephtx.ledger.cost import EXACT

DAY_NS = 86_400_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DayRow(msgspec.Struct, frozen=True, kw_only=True):
    """One day of one wallet: closing = opening + the sum of the movements, exactly."""

    day: str
    account: int
    currency: str
    opening: Decimal
    deposited: Decimal  # opening balances and adjustments
    traded: Decimal  # spot: the other leg of what was bought or sold
    realized: Decimal  # contracts, as the venue states it
    fees: Decimal
    funding: Decimal
    closing: Decimal


_COLUMN = {
    "opening": "deposited",
    "adjusted": "deposited",
    "position": "traded",
    "realized": "realized",
    "fees": "fees",
    "funding": "funding",
}


class Days:
    """Movements of wallets by (day, account, currency, column)."""

    def __init__(self) -> None:
        self.moved: dict[tuple[int, int, str, str], Decimal] = {}

    def add(self, ts: int, account: int, currency: str, cause: str, amount: Decimal) -> None:
        """Count a movement on the day of ts (ns, UTC)."""
        key = (ts // DAY_NS, account, currency, _COLUMN[cause])
        with localcontext(EXACT):
            self.moved[key] = self.moved.get(key, Decimal(0)) + amount

    def rows(self, account: int | None = None) -> list[DayRow]:
        """Return a row per day, account and currency, in this order."""
        keys = sorted({(owner, currency, day) for day, owner, currency, _ in self.moved})
        rows, last, closing = [], (-1, ""), Decimal(0)
        for owner, currency, day in keys:
            if account not in (None, owner):
                continue
            opening = closing if (owner, currency) == last else Decimal(0)
            columns = {
                column: self.moved.get((day, owner, currency, column), Decimal(0))
                for column in ("deposited", "traded", "realized", "fees", "funding")
            }
            with localcontext(EXACT):
                closing = opening + sum(columns.values(), Decimal(0))
            last = (owner, currency)
            rows.append(
                DayRow(
                    day=f"{_EPOCH + timedelta(days=day):%Y-%m-%d}",
                    account=owner,
                    currency=currency,
                    opening=opening,
                    closing=closing,
                    **columns,
                )
            )
        return sorted(rows, key=lambda row: (row.day, row.account, row.currency))
