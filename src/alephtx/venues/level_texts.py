"""Book messages that a typed decoder left as texts, made into rows by one call of a kernel.

For venues without a scanner of their own: msgspec finds the texts, and what remains - head rows,
two exact numbers and a row a level - is most of the work in Python and next to nothing here. To
take the texts out of their objects one by one costs more than to read them; msgspec writes them
all into one, in the one way it writes JSON, and the kernel walks along it. Only plain decimals are
taken; where one is not, nothing is said, and the caller goes through them one by one to say which.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import msgspec
import numpy as np

from alephtx.core.kernel import Int, entry, kernel
from alephtx.core.ports import Batch, Rows
from alephtx.core.records import EVENT
from alephtx.core.words import BUY, CLEAR, DELTA, LAST_IN_MESSAGE, SELL, SEQ

DIGITS_MAX = 18
NO_ROW = -1
_QUOTE, _COMMA, _POINT, _ZERO, _COLON, _BACKSLASH = 34, 44, 46, 48, 58, 92
_LIST, _LIST_END, _OBJECT, _OBJECT_END = 91, 93, 123, 125
_TENS = np.array([10**k for k in range(DIGITS_MAX + 1)], np.int64)


class Terms(NamedTuple):
    """What the rows of an instrument's messages share. price_scale, qty_scale: decimals.

    cut: 1 where digits of a quantity behind its scale are dropped, 0 where any but zeros is
    refused. clear_flags: of the CLEAR row of a whole book, NO_ROW where levels are changes. flags:
    of levels. seq_flags: of the SEQ row, NO_ROW where there is none.
    """

    i: int
    price_scale: int
    qty_scale: int
    cut: int
    seq_flags: int
    clear_flags: int
    flags: int


@kernel
def _number(text: bytes, pos: Int, scale: Int, cut: Int) -> tuple[int, int]:
    """Read a decimal up to its quote as an integer of 10^-scale; return (value or -1, its quote).

    Digits are counted behind the loops: what wrapped around has too many.
    """
    start, value, left = pos, 0, scale
    digit = np.int64(text[pos]) - _ZERO
    while 0 <= digit <= 9:
        value = value * 10 + int(digit)
        pos += 1
        digit = np.int64(text[pos]) - _ZERO
    digits = pos - start
    if digits > 0 and digit == _POINT - _ZERO:
        pos += 1
        digit = np.int64(text[pos]) - _ZERO
        while left > 0 and 0 <= digit <= 9:
            value = value * 10 + int(digit)
            left -= 1
            pos += 1
            digit = np.int64(text[pos]) - _ZERO
        digits += scale - left
        while digit == 0 or (cut != 0 and 0 <= digit <= 9):
            pos += 1
            digit = np.int64(text[pos]) - _ZERO
    if digits == 0 or digits + left > DIGITS_MAX or digit != _QUOTE - _ZERO:
        return -1, pos
    return value * int(_TENS[left]), pos


@kernel
def _value(text: bytes, size: Int, pos: Int, named: Int) -> int:
    """Return where a text's first character is, behind a name where it is named; -1: it is none."""
    if named != 0:
        while pos < size and text[pos] != _COLON:
            pos += 1
        pos += 1
    return pos + 1 if pos + 1 < size and text[pos] == _QUOTE else -1


@kernel
def _behind(text: bytes, size: Int, pos: Int, end: Int) -> int:
    """Return the position behind a level, from behind its texts on; -1: it holds lists or odd."""
    inside = 0
    while pos < size:
        c = text[pos]
        if c == _QUOTE:
            inside = 1 - inside
        elif c == _BACKSLASH:
            return -1
        elif inside == 0:
            if c == end:
                return pos + 1
            if c == _LIST or c == _OBJECT:
                return -1
        pos += 1
    return -1


@kernel
def _put(
    rows: Rows, k: Int, ts_event: Int, ts_recv: Int, seq: Int, price: Int, qty: Int, i: Int,
    kind: Int, side: Int, flags: Int,
) -> int:  # fmt: skip
    row = rows[k]
    row["ts_event"] = ts_event
    row["ts_recv"] = ts_recv
    row["seq"] = seq
    row["price"] = price
    row["qty"] = qty
    row["instrument"] = i
    row["kind"] = kind
    row["side"] = side
    row["flags"] = flags
    return k + 1


@kernel
def _side(
    text: bytes, size: Int, pos: Int, rows: Rows, k: Int, side: Int, ts_event: Int, ts_recv: Int,
    seq: Int, i: Int, price_scale: Int, qty_scale: Int, cut: Int, flags: Int,
) -> tuple[int, int]:  # fmt: skip
    """Write the levels of one list; return (row behind them or -1, position behind the list)."""
    if text[pos] != _LIST:
        return -1, pos
    pos += 1
    if text[pos] == _LIST_END:
        return k, pos + 1
    room = len(rows)
    while k < room:
        named = 1 if text[pos] == _OBJECT else 0
        if named == 0 and text[pos] != _LIST:
            return -1, pos
        pos = _value(text, size, pos + 1, named)
        if pos < 0:
            return -1, pos
        price, pos = _number(text, pos, price_scale, 0)
        if price < 0 or text[pos + 1] != _COMMA:
            return -1, pos
        pos = _value(text, size, pos + 2, named)
        if pos < 0:
            return -1, pos
        qty, pos = _number(text, pos, qty_scale, cut)
        if qty < 0:
            return -1, pos
        pos = _behind(text, size, pos + 1, _OBJECT_END if named != 0 else _LIST_END)
        if pos < 0:
            return -1, pos
        k = _put(rows, k, ts_event, ts_recv, seq, price, qty, i, DELTA, side, flags)
        if text[pos] == _LIST_END:
            return k, pos + 1
        pos += 1  # a comma
    return -1, pos


@kernel
def _fill(
    text: bytes, rows: Rows, first: Int, ts_event: Int, ts_recv: Int, seq: Int, price: Int,
    qty: Int, i: Int, price_scale: Int, qty_scale: Int, cut: Int, seq_flags: Int,
    clear_flags: Int, flags: Int,
) -> int:  # fmt: skip
    """Write a message's rows from `first` on; return the row behind them, -1 where it cannot be."""
    k, size = first, len(text)
    if k + 2 > len(rows) or size < 2 or text[0] != _LIST:
        return -1
    if seq_flags >= 0:
        k = _put(rows, k, ts_event, ts_recv, seq, price, qty, i, SEQ, 0, seq_flags)
    if clear_flags >= 0:
        k = _put(rows, k, ts_event, ts_recv, seq, 0, 0, i, CLEAR, 0, clear_flags)
    k, pos = _side(
        text, size, 1, rows, k, BUY, ts_event, ts_recv, seq, i, price_scale, qty_scale, cut, flags
    )
    if k < 0 or text[pos] != _COMMA:
        return -1
    k, pos = _side(
        text, size, pos + 1, rows, k, SELL, ts_event, ts_recv, seq, i, price_scale, qty_scale, cut,
        flags,
    )  # fmt: skip
    if k <= first or pos + 1 != size:
        return -1
    last = rows[k - 1]
    last["flags"] = np.int64(last["flags"]) | LAST_IN_MESSAGE
    return int(k)


_text_of = msgspec.json.Encoder().encode


@cache
def _filler() -> Callable[..., int]:
    return entry(_fill, b"", np.zeros(1, EVENT), *([0] * 13))


def prepare() -> None:
    """Compile the kernel, or load it, before a frame waits for it."""
    _filler()


def put_book(
    out: Batch, terms: Terms, sides: tuple[list[Any], list[Any]], ts_event: int, ts_recv: int,
    seq: int, price: int = 0, qty: int = 0,
) -> bool:  # fmt: skip
    """Append a book message: its SEQ and CLEAR rows, then a DELTA row for each bid and each ask.

    sides: Structs or tuples whose first two fields are price and quantity, texts; no lists in the
    others. price, qty: of the SEQ row. False, and nothing appended, where there is no row or no
    room, or where one text is not a plain decimal within the scales. For 2 x 20 levels 3 us.
    """
    first = out.event_count
    end = _filler()(
        _text_of(sides), out.events, first, ts_event, ts_recv, seq, price, qty, *terms
    )  # fmt: skip
    if end < 0:
        return False
    out.event_count = end
    return True
