"""INTENT rows as plain integers: reading ten fields of a NumPy row takes longer than an order."""

from collections.abc import Iterable

import numpy as np

from alephtx.core.ports import Rows
from alephtx.core.records import INTENT, unpacker

Values = tuple[int, ...]
"""A row; what is where, say the indices here."""

_names = list(INTENT.names or ())
OP, ORDER_ID, TARGET, INSTRUMENT, TS_SENT, ACCOUNT, STRATEGY, TS_INPUT, TS_INTENT = map(
    _names.index,
    ("op", "order_id", "target_order_id", "instrument", "ts_sent", "account", "strategy",
     "ts_input", "ts_intent"),
)  # fmt: skip
_VALUES = unpacker(INTENT)


def values_of(raw: bytes) -> list[Values]:
    """Return rows, given as bytes, as integers."""
    return list(_VALUES.iter_unpack(raw))


def picked(raw: bytes, which: Iterable[int]) -> Rows:
    """Return some of many rows, given as bytes, as rows of their own."""
    size = INTENT.itemsize
    return np.frombuffer(bytearray(b"".join(raw[k * size : (k + 1) * size] for k in which)), INTENT)


class Count:
    """Numbers of one account that grow and are never used twice; by default from the clock."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, least: int, n: int) -> int:
        """Return the first of n numbers, at least `least`."""
        first = max(self._last + 1, least)
        self._last = first + n - 1
        return first
