"""A ledger as JSON and back, so that a long journal need not be folded from its first record."""

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from alephtx.core.errors import LedgerMismatch
from alephtx.ledger.cost import Position

if TYPE_CHECKING:
    from alephtx.ledger.book import Ledger

VERSION = 1


class _Snapshot(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    version: int
    instruments: list[str]
    balances: list[tuple[int, str, str, Decimal]]
    days: list[tuple[int, int, str, str, Decimal]]
    accounts: list[tuple[int, int, Position]]
    strategies: list[tuple[int, int, int, Position]]
    strategy_fees: list[tuple[int, str, Decimal]]
    seen: list[tuple[int, ...]]
    opened: list[int]
    taken_up: list[tuple[int, int, int]]
    strategy_of: list[tuple[int, int]]
    duplicates: int
    invalid: int


def save(ledger: "Ledger") -> bytes:
    """Serialise everything the ledger knows; the same ledger gives the same bytes."""
    return msgspec.json.encode(
        _Snapshot(
            version=VERSION,
            instruments=[instrument.key for instrument in ledger.instruments],
            balances=sorted((*key, v) for key, v in ledger.entries.balances.items()),
            days=sorted((*key, v) for key, v in ledger.days.moved.items()),
            accounts=[(*key, v) for key, v in sorted(ledger.accounts.items())],
            strategies=[(*key, v) for key, v in sorted(ledger.strategies.items())],
            strategy_fees=sorted((*key, v) for key, v in ledger.strategy_fees.items()),
            seen=sorted(ledger.seen),
            opened=sorted(ledger.opened),
            taken_up=sorted((*key, v) for key, v in ledger.taken_up.items()),
            strategy_of=sorted(ledger.strategy_of.items()),
            duplicates=ledger.duplicates,
            invalid=ledger.invalid,
        )
    )


def load(ledger: "Ledger", data: bytes) -> None:
    """Fill a new ledger; LedgerMismatch when the snapshot is damaged or of other instruments."""
    try:
        told = msgspec.json.decode(data, type=_Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerMismatch(
            f"the ledger's snapshot does not parse: {error}",
            remedy="delete it; the journal has everything",
        ) from error
    keys = [instrument.key for instrument in ledger.instruments]
    if told.version != VERSION or told.instruments != keys[: len(told.instruments)]:
        raise LedgerMismatch(
            f"the ledger's snapshot (version {told.version}) is of other instruments or of another "
            "version",
            remedy="delete it; the journal has everything",
        )
    ledger.entries.balances = {(a, book, c): v for a, book, c, v in told.balances}
    ledger.days.moved = {(day, a, c, column): v for day, a, c, column, v in told.days}
    ledger.accounts = {(a, i): position for a, i, position in told.accounts}
    ledger.strategies = {(a, s, i): position for a, s, i, position in told.strategies}
    ledger.strategy_fees = {(s, c): v for s, c, v in told.strategy_fees}
    ledger.seen, ledger.opened = set(told.seen), set(told.opened)
    ledger.taken_up = {(a, i): lots for a, i, lots in told.taken_up}
    ledger.strategy_of = dict(told.strategy_of)
    ledger.duplicates, ledger.invalid = told.duplicates, told.invalid
    ledger.check()
