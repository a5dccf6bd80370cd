"""What the ledger reads of a journal: rows of a record, and what an account is stated to hold."""

from decimal import Decimal
from typing import Any, Protocol

import msgspec
import numpy as np

from alephtx.core.errors import LedgerMismatch
from alephtx.core.ports import Balance, Holding


class JournalRecord(Protocol):
    """What the ledger reads of a journal's record."""

    @property
    def seq(self) -> int: ...  # noqa: D102
    @property
    def kind(self) -> int: ...  # noqa: D102
    @property
    def ts(self) -> int: ...  # noqa: D102
    @property
    def payload(self) -> memoryview: ...  # noqa: D102


class _Total(msgspec.Struct):
    currency: str
    total: Decimal


class _Held(msgspec.Struct):
    instrument: int
    qty: int
    entry_price: Decimal


class _Balances(msgspec.Struct):
    account: int
    balances: list[_Total]
    holdings: list[_Held] = []


def rows_of(record: JournalRecord, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return a record's rows; LedgerMismatch when its bytes are no whole number of them."""
    if len(record.payload) % dtype.itemsize:
        raise LedgerMismatch(
            f"a record of kind {record.kind} has {len(record.payload)} bytes, which are no whole "
            f"rows of {dtype.itemsize}",
            remedy="read the journal with the version that wrote it",
        )
    return np.frombuffer(record.payload, dtype)


def stated_of(record: JournalRecord) -> tuple[int, list[Balance], list[Holding]]:
    """Return (account, balances, holdings) of a BALANCES record; LedgerMismatch when it is none."""
    try:
        stated = msgspec.json.decode(record.payload, type=_Balances)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerMismatch(f"a BALANCES record does not parse: {error}") from error
    return (
        stated.account,
        [Balance(row.currency, row.total, row.total) for row in stated.balances],
        [Holding(row.instrument, row.qty, row.entry_price) for row in stated.holdings],
    )
