"""The ledger along the samples: what the books said at every moment that was sampled."""

import math
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import numpy as np

from alephtx.analysis.samples import Samples
from alephtx.core import words
from alephtx.core.errors import LedgerMismatch
from alephtx.core.instruments import Instruments
from alephtx.core.records import UPDATE
from alephtx.ledger.book import Ledger
from alephtx.ledger.cost import EXACT
from alephtx.matrix import journal
from alephtx.risk.limits import DOLLARS

Amounts = dict[str, Decimal]


class Point(msgspec.Struct):
    """The books at one moment: amounts by currency, lots by instrument."""

    ts: int
    realized: Amounts
    unrealized: Amounts
    fees: Amounts
    funding: Amounts
    lots: dict[int, int]
    rates: dict[str, float]
    other: Amounts = {}

    def net(self) -> Amounts:
        """Return realized + unrealized - fees + funding + other, by currency."""
        found: Amounts = {}
        with localcontext(EXACT):
            for amounts in (self.realized, self.unrealized, self.funding, self.other):
                for currency, amount in amounts.items():
                    found[currency] = found.get(currency, Decimal(0)) + amount
            for currency, amount in self.fees.items():
                found[currency] = found.get(currency, Decimal(0)) - amount
        return found

    def dollars(self) -> float:
        """Estimate the net in dollars; NaN where a currency in it has no rate yet."""
        return sum(
            float(amount) * self.rates.get(currency, math.nan)
            for currency, amount in self.net().items()
            if amount
        )


class Equity:
    """Folds records between samples. Without samples it takes a point at every fill, unmarked."""

    def __init__(self, instruments: Instruments, samples: Samples) -> None:
        self.instruments = instruments
        self.samples = samples
        self.ledger = Ledger(instruments)
        self.points: list[Point] = []
        self.failure = ""
        self._marks: dict[int, Decimal] = {}
        self._rates: dict[str, float] = dict.fromkeys(DOLLARS, 1.0)

    def apply(self, record: Any) -> None:
        """Take one record, after the samples before it. Stops at what cannot be booked."""
        self.advance(record.ts)
        if self.failure:
            return
        try:
            self.ledger.apply(record)
        except LedgerMismatch as error:
            self.failure = f"record {record.seq}: {error}"
            return
        if len(self.samples.ts) == 0 and record.kind == journal.UPDATE:
            kinds = np.frombuffer(record.payload, UPDATE)["kind"]
            if np.isin(kinds, (words.FILL, words.FUNDING_PAID)).any():
                self.points.append(self._point(record.ts))

    def advance(self, ts: int | None = None) -> None:
        """Take the points of all samples before ts; of all that are left without one."""
        while len(self.points) < len(self.samples.ts):
            k = len(self.points)
            at = int(self.samples.ts[k])
            if ts is not None and at >= ts:
                return
            self._mark(self.samples.mid[k])
            self.points.append(self._point(at))

    def _mark(self, mids: Any) -> None:
        for i, mid in enumerate(mids.tolist()):
            if math.isnan(mid):
                continue
            self._marks[i] = Decimal(str(mid))
            instrument = self.instruments[i]
            if instrument.quote in DOLLARS and instrument.base not in DOLLARS:
                self._rates[instrument.base] = mid

    def _point(self, ts: int) -> Point:
        ledger = self.ledger
        lots: dict[int, int] = {}
        for (_, i), position in ledger.accounts.items():
            lots[i] = lots.get(i, 0) + position.qty
        return Point(
            ts,
            ledger.realized(),
            ledger.unrealized(self._marks),
            ledger.fees(),
            ledger.funding(),
            lots,
            dict(self._rates),
            ledger.other(),
        )

    def last(self) -> Point:
        """Return the books as they stand, marked at the last mids."""
        return self._point(self.points[-1].ts if self.points else 0)
