"""Binance's depth message at a glance: fields where the venue puts them, levels in whole words.

`binance_scan` takes fields in any order, a character at a time. Nine in ten messages are depth
updates, all in one order; here each is compared with that order eight characters at a time, and
what is not exactly so - another event, another field, a number of another kind - is answered with
OTHER, and `binance_scan` reads the frame from its beginning. So this file accepts a part of what
that one does, with the same rows.

No read passes the end of the frame: words are read where `size` allows it, characters only behind
such as were compared with something else than the closing brace at the end.
"""

import numpy as np

from alephtx.core.digits import (
    BEFORE,
    BLOCK,
    decimal_in,
    decimal_shape,
    decimals_of,
    lowest_bit,
    points_in,
    quotes_in,
    shaped_in,
    stops_in,
    tens,
    whole_in,
    word_in,
)
from alephtx.core.kernel import kernel
from alephtx.core.ports import Rows
from alephtx.core.words import BUY, DELTA, EXCHANGE_CLOCK, LAST_IN_MESSAGE, SELL, SEQ
from alephtx.venues.binance_names import (
    INSTRUMENT,
    NAME_MAX,
    PRICE_SCALE,
    PRICE_SHAPE,
    QTY_SCALE,
    QTY_SHAPE,
    slot_of,
)

OTHER = -100
"""Not of the usual shape: for whoever reads character by character."""

TIME_MAX_MS = 9_000_000_000_000  # the year 2255; beyond it the stamps are not milliseconds

_QUOTE, _COMMA = 34, 44
_CLOSE, _OPEN_LIST, _CLOSE_LIST = 125, 91, 93
_SEVEN = (1 << 56) - 1  # the first seven characters of a word
_FIRST = np.array([(1 << (8 * k)) - 1 for k in range(8)], np.int64)
"""Masks of the first k characters of a word."""

HEAD_MIN = 96
"""A depth message without any level is about this long: the shortest frame that is looked at."""


def _word(text: bytes) -> int:
    return int.from_bytes(text, "little")


_STREAM = _word(b'{"stream')
_STREAM_END = _word(b'":"')
_DATA = _word(b'","data"')
_DATA_END = _word(b":{")
_EVENT = _word(b'"e":"dep')
_EVENT_MORE = _word(b"thUpdate")
_EVENT_END = _word(b'","E":')
_TIME = _word(b',"T":')
_SYMBOL = _word(b',"s":"')
_PAIR = _word(b',"ps":"')
_FIRST_ID = _word(b',"U":')
_LAST_ID = _word(b',"u":')
_PREVIOUS = _word(b',"pu":')
_BIDS = _word(b',"b":[')
_ASKS = _word(b',"a":[')
_BETWEEN, _NEXT, _END = _word(b'","'), _word(b'"],['), _word(b'"]]')
_FIVE, _SIX = (1 << 40) - 1, (1 << 48) - 1


@kernel
def _envelope(frame: bytes, size: int) -> tuple[int, int]:
    """Read `{"stream":"...","data":` or nothing; return (behind the brace, place of the last)."""
    if word_in(frame, 0) != _STREAM or word_in(frame, 8) & 0xFFFFFF != _STREAM_END:
        return 1, size - 1
    n = lowest_bit(stops_in(frame, 11))
    pos = 11 + n
    if n >= BLOCK or word_in(frame, pos) != _DATA or word_in(frame, pos + 8) & 0xFFFF != _DATA_END:
        return OTHER, 0
    return pos + 10, size - 2


@kernel
def _name(frame: bytes, pos: int) -> tuple[int, int]:
    """Return (characters of a plain name, place of the quote behind it); OTHER is no name."""
    end = pos + lowest_bit(stops_in(frame, pos))
    if end > pos + NAME_MAX or frame[end] != _QUOTE:
        return OTHER, pos
    return end - pos, end


@kernel
def _find(frame: bytes, pos: int, state: Rows) -> tuple[int, int]:
    """Look up a symbol up to its quote; return (its slot or OTHER, place of the quote)."""
    n, end = _name(frame, pos)
    if n <= 0:
        return OTHER, pos
    first = word_in(frame, pos) & int(_FIRST[min(n, 7)])
    second, third = 0, 0
    if n > 7:
        second = word_in(frame, pos + 7) & int(_FIRST[min(n - 7, 7)])
    if n > 14:
        third = word_in(frame, pos + 14) & int(_FIRST[n - 14])
    at = slot_of(state, first, second, third)
    return (at if at >= 0 else OTHER), end


@kernel
def _number(
    frame: bytes, size: int, end: int, length: int, scale: int, state: Rows, shape: int
) -> int:
    """Read a number that has not the shape of those before it, and remember its; -1 if unfit."""
    start = end - length
    base = min(start, size - BLOCK)
    if length > BLOCK or start < BEFORE:
        return -1
    value = decimal_in(frame, start, length, points_in(frame, base) >> (start - base), scale)
    if value >= 0:
        state[shape] = decimals_of(frame, end, length)
    return value


@kernel
def _levels(
    frame: bytes, size: int, pos: int, side: int, state: Rows, at: int, rows: Rows, k: int,
    ts_event: int, ts_recv: int, seq: int,
) -> tuple[int, int]:  # fmt: skip
    """Read levels from the character behind the list's bracket on, as DELTA rows from k on.

    at: slot of their instrument. Returns (k after, position behind the closing bracket), OTHER for
    k.
    """
    if frame[pos] == _CLOSE_LIST:
        return k, pos + 1
    if frame[pos] != _OPEN_LIST:
        return OTHER, pos
    price_scale, qty_scale = state[at + PRICE_SCALE], state[at + QTY_SCALE]
    p_point, p_cut, p_gap, p_behind, p_zeros = decimal_shape(state[at + PRICE_SHAPE], price_scale)
    q_point, q_cut, q_gap, q_behind, q_zeros = decimal_shape(state[at + QTY_SHAPE], qty_scale)
    if p_point < 0 or q_point < 0:
        return OTHER, pos
    price_unit = tens(price_scale - min(max(p_point - 1, 0), price_scale))
    qty_unit = tens(qty_scale - min(max(q_point - 1, 0), qty_scale))
    instrument, room = state[at + INSTRUMENT], len(rows)
    while k < room:
        base = min(pos, size - BLOCK)  # the last look of a frame ends with it
        quotes = quotes_in(frame, base) >> (pos - base)
        first = quotes >> 2
        third = first & (first - 1)
        third &= third - 1
        price_end, end = pos + 2 + lowest_bit(first), pos + 2 + lowest_bit(third)
        # `["` and, behind the price, `","`: the look holds the level's last quote, or it is none.
        if third == 0 or quotes & 3 != 2 or end + 4 > size:
            return OTHER, pos
        if word_in(frame, price_end - 2) >> 16 & 0xFFFFFF != _BETWEEN:
            return OTHER, pos
        n = price_end - pos - 2
        price = shaped_in(frame, price_end, n, p_point, p_cut, p_gap, p_behind, p_zeros)
        price *= price_unit
        if price < 0:
            price = _number(frame, size, price_end, n, price_scale, state, at + PRICE_SHAPE)
        n = end - price_end - 3
        qty = shaped_in(frame, end, n, q_point, q_cut, q_gap, q_behind, q_zeros) * qty_unit
        if qty < 0:
            qty = _number(frame, size, end, n, qty_scale, state, at + QTY_SHAPE)
        if price < 0 or qty < 0:
            return OTHER, pos
        row = rows[k]
        row["ts_event"] = ts_event
        row["ts_recv"] = ts_recv
        row["seq"] = seq
        row["price"] = price
        row["qty"] = qty
        row["instrument"] = instrument
        row["kind"] = DELTA
        row["side"] = side
        row["flags"] = EXCHANGE_CLOCK
        k += 1
        behind = word_in(frame, end - 4) >> 32 & 0xFFFFFFFF
        if behind != _NEXT:
            return (k if behind & 0xFFFFFF == _END else OTHER), end + 3
        pos = end + 3
    return OTHER, pos


@kernel
def scan_depth(frame: bytes, size: int, state: Rows, ts_recv: int, rows: Rows, first: int) -> int:
    """Write the rows of a depth update; return their number, or OTHER. As `scan_market`."""
    if size < HEAD_MIN:
        return OTHER
    pos, close = _envelope(frame, size)
    room = size - 64  # up to here, every read of the head is inside the frame
    if pos < 0 or pos > room or word_in(frame, pos) != _EVENT:
        return OTHER
    if word_in(frame, pos + 8) != _EVENT_MORE or word_in(frame, pos + 16) & _SIX != _EVENT_END:
        return OTHER
    time_ms, pos = whole_in(frame, pos + 22)
    if time_ms >= 0 and word_in(frame, pos) & _FIVE == _TIME:
        if time_ms > TIME_MAX_MS:
            return OTHER
        time_ms, pos = whole_in(frame, pos + 5)
    if time_ms < 0 or time_ms > TIME_MAX_MS or pos > room:
        return OTHER
    if word_in(frame, pos) & _SIX != _SYMBOL:
        return OTHER
    at, pos = _find(frame, pos + 6, state)
    if at < 0 or pos > room:
        return OTHER
    pos += 1
    if word_in(frame, pos) & _SEVEN == _PAIR:
        n, pos = _name(frame, pos + 7)
        if n < 0 or pos > room:
            return OTHER
        pos += 1
    if word_in(frame, pos) & _FIVE != _FIRST_ID:
        return OTHER
    opening, pos = whole_in(frame, pos + 5)
    if opening < 0 or pos > room or word_in(frame, pos) & _FIVE != _LAST_ID:
        return OTHER
    seq, pos = whole_in(frame, pos + 5)
    if seq < 0 or pos > size - BLOCK:
        return OTHER
    previous = -1
    if word_in(frame, pos) & _SIX == _PREVIOUS:
        previous, pos = whole_in(frame, pos + 6)
        if previous < 0 or pos > size - 8:
            return OTHER
    if word_in(frame, pos) & _SIX != _BIDS or first >= len(rows):
        return OTHER
    return _body(
        frame, size, pos + 6, close, state, at, ts_recv, rows, first, time_ms * 1_000_000,
        opening, seq, previous,
    )  # fmt: skip


@kernel
def _body(
    frame: bytes, size: int, pos: int, close: int, state: Rows, at: int, ts_recv: int, rows: Rows,
    first: int, ts_event: int, opening: int, seq: int, previous: int,
) -> int:  # fmt: skip
    """Read both lists and what closes the frame; write the SEQ row in front of them."""
    k, pos = _levels(
        frame, size, pos, BUY, state, at, rows, first + 1, ts_event, ts_recv, seq
    )  # fmt: skip
    if k < 0 or pos > size - 8 or word_in(frame, pos) & _SIX != _ASKS:
        return OTHER
    k, pos = _levels(frame, size, pos + 6, SELL, state, at, rows, k, ts_event, ts_recv, seq)
    if k < 0 or pos != close or frame[pos] != _CLOSE:
        return OTHER
    row = rows[first]
    row["ts_event"] = ts_event
    row["ts_recv"] = ts_recv
    row["seq"] = seq
    row["price"] = opening
    row["qty"] = previous
    row["instrument"] = state[at + INSTRUMENT]
    row["kind"] = SEQ
    row["side"] = 0
    row["flags"] = EXCHANGE_CLOCK
    last = rows[k - 1]
    last["flags"] = EXCHANGE_CLOCK | LAST_IN_MESSAGE
    return k - first
