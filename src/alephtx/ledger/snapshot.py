"""A ledger as JSON and back, so that a long journal need not be folded from its first record.

    data = ledger.to_json()
    ledger = Ledger.from_json(instruments, data)
    ledger.fold(read(directory, ledger.seq))  # the rest; the same as all of it from the start

What is damaged, foreign or of another version is refused: fold the journal from its start then.
"""

import hashlib
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

import msgspec

from alephtx.core.errors import LedgerMismatch
from alephtx.ledger.cost import EXACT, Position

if TYPE_CHECKING:
    from alephtx.ledger.book import Ledger

VERSION = 2
REMEDY = "delete it; the journal has everything"


class _Version(msgspec.Struct):
    version: int


class _Snapshot(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    version: int
    instruments: list[str]
    seq: int
    balances: list[tuple[int, str, str, Decimal]]
    days: list[tuple[int, int, str, str, Decimal]]
    earned: list[tuple[int, int, int, str, str, Decimal]]
    fills: list[tuple[int, int, int, str, int]]
    accounts: list[tuple[int, int, Position]]
    strategies: list[tuple[int, int, int, Position]]
    strategy_fees: list[tuple[int, str, Decimal]]
    uncounted: list[tuple[int, int, str, Decimal]]
    transit: list[tuple[int, str, Decimal]]
    seen: list[tuple[int, ...]]
    opened: list[int]
    taken_up: list[tuple[int, int, int]]
    strategy_of: list[tuple[int, int]]
    duplicates: int
    invalid: int


def save(ledger: "Ledger") -> bytes:
    """Serialise everything the ledger knows; the same ledger gives the same bytes."""
    return sealed(
        _Snapshot(
            version=VERSION,
            instruments=[instrument.key for instrument in ledger.instruments],
            seq=ledger.seq,
            balances=sorted((*key, v) for key, v in ledger.entries.balances.items()),
            days=sorted((*key, v) for key, v in ledger.days.moved.items()),
            earned=sorted((*key, v) for key, v in ledger.days.earned.items()),
            fills=sorted((*key, v) for key, v in ledger.days.fills.items()),
            accounts=[(*key, v) for key, v in sorted(ledger.accounts.items())],
            strategies=[(*key, v) for key, v in sorted(ledger.strategies.items())],
            strategy_fees=sorted((*key, v) for key, v in ledger.strategy_fees.items()),
            uncounted=sorted((*key, v) for key, v in ledger.uncounted.items()),
            transit=sorted((*key, v) for key, v in ledger.transit.items()),
            seen=sorted(ledger.seen),
            opened=sorted(ledger.opened),
            taken_up=sorted((*key, v) for key, v in ledger.taken_up.items()),
            strategy_of=sorted(ledger.strategy_of.items()),
            duplicates=ledger.duplicates,
            invalid=ledger.invalid,
        )
    )


def sealed(told: msgspec.Struct) -> bytes:
    """Return a snapshot's bytes: JSON, and a digest of it as the last line."""
    body = msgspec.json.encode(told)
    return b"%s\n%s" % (body, hashlib.sha256(body).hexdigest().encode())


def load(ledger: "Ledger", data: bytes) -> None:
    """Fill a new ledger; LedgerMismatch when the snapshot is damaged or of other instruments."""
    data, _, digest = data.rpartition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != digest:
        raise LedgerMismatch("the ledger's snapshot is damaged", remedy=REMEDY)
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if version != VERSION:
            raise LedgerMismatch(
                f"the ledger's snapshot is of version {version}, not {VERSION}", remedy=REMEDY
            )
        told = msgspec.json.decode(data, type=_Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerMismatch(
            f"the ledger's snapshot does not parse: {error}", remedy=REMEDY
        ) from error
    keys = [instrument.key for instrument in ledger.instruments]
    if told.instruments != keys[: len(told.instruments)]:
        raise LedgerMismatch("the ledger's snapshot is of other instruments", remedy=REMEDY)
    ledger.seq = told.seq
    ledger.entries.balances = {(a, book, c): v for a, book, c, v in told.balances}
    ledger.entries.sums = ledger.entries.recount()
    ledger.days.moved = {(day, a, c, column): v for day, a, c, column, v in told.days}
    with localcontext(EXACT):
        for _, account, currency, _, amount in told.days:
            wallet = (account, currency)
            ledger.days.closing[wallet] = ledger.days.closing.get(wallet, Decimal(0)) + amount
    ledger.days.earned = {(day, a, s, c, column): v for day, a, s, c, column, v in told.earned}
    ledger.days.fills = {(day, a, s, c): n for day, a, s, c, n in told.fills}
    ledger.accounts = {(a, i): position for a, i, position in told.accounts}
    ledger.strategies = {(a, s, i): position for a, s, i, position in told.strategies}
    ledger.strategy_fees = {(s, c): v for s, c, v in told.strategy_fees}
    ledger.uncounted = {(a, s, c): v for a, s, c, v in told.uncounted}
    ledger.transit = {(transfer, c): v for transfer, c, v in told.transit}
    ledger.seen, ledger.opened = set(told.seen), set(told.opened)
    ledger.taken_up = {(a, i): lots for a, i, lots in told.taken_up}
    ledger.held = dict(ledger.taken_up)
    for (account, strategy, i), position in ledger.strategies.items():
        ledger.held[account, i] = ledger.held.get((account, i), 0) + position.qty
        ledger.holders.setdefault((account, i), []).append(strategy)
    ledger.strategy_of = dict(told.strategy_of)
    ledger.duplicates, ledger.invalid = told.duplicates, told.invalid
    if not all(0 <= key[-1] < len(keys) for key in (*ledger.accounts, *ledger.strategies)):
        raise LedgerMismatch("the ledger's snapshot names unknown instruments", remedy=REMEDY)
    ledger.check()
