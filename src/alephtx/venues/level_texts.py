"""Levels that a typed decoder left as texts, made into DELTA rows by one call of a kernel.

For venues without a scanner of their own: msgspec finds the texts, and what remains - two exact
numbers and a row a level - is most of the work in Python and next to nothing here. Only plain
decimals are taken; where one is not, nothing is said, and the caller goes through them one by one
to say which.
"""

from operator import attrgetter
from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.ports import Rows
from alephtx.core.words import BUY, DELTA, SELL

DIGITS_MAX = 18
_px, _sz = attrgetter("px"), attrgetter("sz")
_COMMA, _POINT, _ZERO = 44, 46, 48
_TENS = np.array([10**k for k in range(DIGITS_MAX + 1)], np.int64)


@kernel
def _number(text: bytes, pos: Int, scale: Int) -> tuple[int, int]:
    """Read a decimal up to its comma as an integer of 10^-scale; return (value or -1, behind)."""
    value, digits, missing = 0, 0, -1  # missing: decimals to come; -1 in front of the point
    while text[pos] != _COMMA:
        digit = np.int64(text[pos]) - _ZERO
        if digit == _POINT - _ZERO and missing < 0 and digits > 0:
            missing = scale
        elif digit < 0 or digit > 9 or (missing == 0 and digit != 0):
            return -1, pos
        elif missing != 0:
            digits += 1
            if digits > DIGITS_MAX:
                return -1, pos
            value = value * 10 + int(digit)
            missing -= 1 if missing > 0 else 0
        pos += 1
    left = scale if missing < 0 else missing
    if digits == 0 or digits + left > DIGITS_MAX:
        return -1, pos
    return value * int(_TENS[left]), pos + 1


@kernel
def _fill(
    prices: bytes, lots: bytes, bids: Int, n: Int, price_scale: Int, qty_scale: Int,
    rows: Rows, first: Int, ts_event: Int, ts_recv: Int, seq: Int, i: Int, flags: Int,
) -> int:  # fmt: skip
    at, lot = 0, 0
    for k in range(n):
        if at >= len(prices) or lot >= len(lots):
            return 0
        price, at = _number(prices, at, price_scale)
        qty, lot = _number(lots, lot, qty_scale)
        if price < 0 or qty < 0:
            return 0
        row = rows[first + k]
        row["ts_event"] = ts_event
        row["ts_recv"] = ts_recv
        row["seq"] = seq
        row["price"] = price
        row["qty"] = qty
        row["instrument"] = i
        row["kind"] = DELTA
        row["side"] = BUY if k < bids else SELL
        row["flags"] = flags
    return 1 if at == len(prices) and lot == len(lots) else 0


def put_levels(
    sides: tuple[list[Any], list[Any]], scales: tuple[int, int], rows: Rows, first: int,
    shared: tuple[int, int, int, int, int],
) -> int:  # fmt: skip
    """Write a DELTA row for each bid, then for each ask, at rows[first:]; return how many.

    sides: objects with px and sz, texts. shared: ts_event, ts_recv, seq, instrument and flags of
    all rows. 0 where there is none, no room for them, or one that is not a plain decimal within
    the scales; the rows there are rubbish then.
    """
    bids, asks = sides
    n = len(bids) + len(asks)
    if n == 0 or first + n > len(rows):
        return 0
    levels = [*bids, *asks]
    prices = f"{','.join(map(_px, levels))},".encode()
    lots = f"{','.join(map(_sz, levels))},".encode()
    return n if _fill(prices, lots, len(bids), n, *scales, rows, first, *shared) else 0
