"""Where a venue's word on an account differs from the ledger's."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext

import msgspec

from alephtx.core.instruments import Instruments
from alephtx.core.ports import Balance, Holding
from alephtx.ledger.cost import EXACT


class Difference(msgspec.Struct, frozen=True):
    """One number that is not the same. what: a currency, or an instrument's key."""

    account: int
    what: str
    ours: Decimal
    venue: Decimal

    def __str__(self) -> str:
        with localcontext(EXACT):
            gap = self.venue - self.ours
        return f"{self.what}: ours {self.ours:f}, venue {self.venue:f}, difference {gap:f}"


def differences(
    instruments: Instruments,
    account: int,
    cash: Mapping[str, Decimal],
    contracts: Mapping[int, int],
    balances: Iterable[Balance],
    holdings: Iterable[Holding],
) -> list[Difference]:
    """Compare wallets by currency and contracts by instrument; what is not named counts as zero."""
    found = []
    stated: dict[str, Decimal] = {}
    held: dict[int, int] = {}
    with localcontext(EXACT):
        for balance in balances:
            stated[balance.currency] = stated.get(balance.currency, Decimal(0)) + balance.total
    for holding in holdings:  # a hedged account has two of one instrument
        held[holding.instrument] = held.get(holding.instrument, 0) + holding.qty
    for currency in sorted(stated.keys() | cash.keys()):
        ours, venue = cash.get(currency, Decimal(0)), stated.get(currency, Decimal(0))
        if ours != venue:
            found.append(Difference(account, currency, ours, venue))
    for i in sorted(held.keys() | contracts.keys()):
        lots, said = contracts.get(i, 0), held.get(i, 0)
        if lots != said:
            if not 0 <= i < len(instruments):
                found.append(Difference(account, f"instrument {i}", Decimal(lots), Decimal(said)))
                continue
            instrument = instruments[i]
            found.append(
                Difference(
                    account,
                    instrument.key,
                    instrument.qty_decimal(lots),
                    instrument.qty_decimal(said),
                )
            )
    return found
