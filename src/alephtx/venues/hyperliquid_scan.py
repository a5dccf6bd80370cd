"""The hot half of the Hyperliquid dialect: l2Book, bbo and trades frames to EVENT rows, compiled.

One pass over the bytes: every byte stepped over is compared, digits become integers as they come,
no float and no object. Accepted is the compact JSON the venue sends, with a level's fields in any
order (live frames say px, sz, n; recorded ones n, px, sz), a book's time before or after its
levels, and a trade's fields in any order after its coin. Everything else (escapes, blanks,
exponents, signs, fields not known here, a coin not bound, too many digits) gets a negative code,
and `hyperliquid_rows` decides; it is also the oracle of the tests.

No read passes the end: the last byte is a closing brace, a byte is stepped over only when it was
compared with something else, and where a closing brace is stepped over the end is checked.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import JIT, kernel
from alephtx.core.ports import Rows
from alephtx.core.words import (
    BUY,
    CLEAR,
    DELTA,
    EXCHANGE_CLOCK,
    LAST_IN_MESSAGE,
    SELL,
    SEQ,
    SNAPSHOT,
    TOP,
    TRADE,
)

SHAPE, NUMBER, SYMBOL, FULL = -1, -2, -3, -4
"""Why a frame was declined: structure, number, a coin that is not bound, no room for its rows."""

NAME_MAX = 14  # two words of seven characters
SLOT_WORDS = 5  # two name words, instrument, price scale, quantity scale
DIGITS_MAX = 18  # stays below 2^62
_TENS = np.array([10**k for k in range(DIGITS_MAX + 1)], np.int64)
_number: Any = np.int64 if JIT else int  # which, un-jitted, does not overflow on a long number
TIME_MAX_MS = 9_000_000_000_000  # the year 2255; x 1e6 still fits 63 bits

_QUOTE, _COMMA, _POINT, _BACKSLASH, _ZERO, _NINE = 34, 44, 46, 92, 48, 57
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = 123, 125, 91, 93
_A, _B, _LOW_B, _D, _H, _I, _L = 65, 66, 98, 100, 104, 105, 108
_M, _N, _P, _S, _T, _U, _Z = 109, 110, 112, 115, 116, 117, 122
_PX_SEEN, _SZ_SEEN, _N_SEEN, _LEVEL_DONE = 1, 2, 4, 7
_SIDE_SEEN, _TIME_SEEN, _TID_SEEN, _HASH_SEEN, _USERS_SEEN, _TRADE_DONE = 4, 8, 16, 32, 64, 31

_HEAD = np.frombuffer(b'{"channel":"', np.uint8)
_BOOK_HEAD = np.frombuffer(b'l2Book","data":{"coin":"', np.uint8)
_BBO_HEAD = np.frombuffer(b'bbo","data":{"coin":"', np.uint8)
_TRADES_HEAD = np.frombuffer(b'trades","data":[', np.uint8)
_TRADE_HEAD = np.frombuffer(b'{"coin":"', np.uint8)
_LEVELS_KEY = np.frombuffer(b'"levels":[', np.uint8)
_BBO_KEY = np.frombuffer(b'"bbo":[', np.uint8)
_TIME_KEY = np.frombuffer(b'"time":', np.uint8)
_TID_KEY = np.frombuffer(b'"tid":', np.uint8)
_SIDE_KEY = np.frombuffer(b'"side":"', np.uint8)
_PX_KEY = np.frombuffer(b'"px":"', np.uint8)
_SZ_KEY = np.frombuffer(b'"sz":"', np.uint8)
_N_KEY = np.frombuffer(b'"n":', np.uint8)
_HASH_KEY = np.frombuffer(b'"hash":"', np.uint8)
_USERS_KEY = np.frombuffer(b'"users":["', np.uint8)
_NULL = np.frombuffer(b"null", np.uint8)


def make_scan_state(instruments: Instruments, venue: str) -> Rows:
    """Return the scanner's hash table from coin to instrument: an int64 array, mask first.

    Coins longer than NAME_MAX are left to the slow path.
    """
    wanted = [i for i in instruments.of_venue(venue) if len(instruments[i].symbol) <= NAME_MAX]
    slots = 16
    while slots < 2 * len(wanted):
        slots *= 2
    state = np.zeros(1 + slots * SLOT_WORDS, np.int64)
    state[0] = slots - 1
    for index in wanted:
        instrument = instruments[index]
        name = instrument.symbol.encode()
        first, second = int.from_bytes(name[:7], "big"), int.from_bytes(name[7:14], "big")
        slot = _hash(first, second) & (slots - 1)
        while state[1 + slot * SLOT_WORDS]:
            slot = (slot + 1) & (slots - 1)
        at = 1 + slot * SLOT_WORDS
        state[at : at + 5] = [first, second, index, instrument.price_scale, instrument.qty_scale]
    return state


@kernel
def _hash(first: int, second: int) -> int:
    """Mix two name words of at most 56 bits; stays below 2^62."""
    mixed = first * 31 + second * 17
    return mixed ^ (mixed >> 11) ^ (mixed >> 29)


@kernel
def _skip(frame: bytes, pos: int, literal: Rows) -> int:
    """Step over a literal that holds no closing brace; -1 when it is not there."""
    for k in range(len(literal)):
        if frame[pos + k] != literal[k]:
            return -1
    return pos + len(literal)


@kernel
def _skip_text(frame: bytes, pos: int) -> int:
    """Step over a plain ASCII string and its closing quote; -1 at an escape, blank or brace."""
    while True:
        c = frame[pos]
        if c == _QUOTE:
            return pos + 1
        if c <= 32 or c >= _OPEN or c == _BACKSLASH:
            return -1
        pos += 1


@kernel
def _coin(frame: bytes, pos: int, state: Rows) -> tuple[int, int]:
    """Read a coin up to its closing quote; return its place in state, or -1, and the next byte."""
    first, second, length = 0, 0, 0
    while True:
        c = frame[pos]
        if c == _QUOTE:
            break
        if c <= 32 or c >= _OPEN or c == _BACKSLASH or length >= NAME_MAX:
            return -1, pos
        if length < 7:
            first = first * 256 + c
        else:
            second = second * 256 + c
        length += 1
        pos += 1
    slot = _hash(first, second) & state[0]
    while True:
        at = 1 + slot * SLOT_WORDS
        if state[at] == 0:
            return -1, pos
        if state[at] == first and state[at + 1] == second:
            return at, pos + 1
        slot = (slot + 1) & state[0]


@kernel
def _integer(frame: bytes, pos: int) -> tuple[int, int]:
    """Read a JSON integer of at most DIGITS_MAX digits; value -1 when it is not one."""
    start = pos
    value = 0
    c = frame[pos]
    while _ZERO <= c <= _NINE:
        value = value * 10 + (c - _ZERO)
        pos += 1
        if pos - start > DIGITS_MAX:
            return -1, pos
        c = frame[pos]
    if pos == start or (pos - start > 1 and frame[start] == _ZERO):
        return -1, pos
    return value, pos


@kernel
def _decimal(frame: bytes, pos: int, scale: int) -> tuple[int, int]:
    """Read a decimal and its closing quote as an integer of 10^-scale; value -1 when unfit.

    Zeros beyond the scale are dropped; any other digit there is a number we must not round.
    """
    start = pos
    value = 0
    # Unsigned, and of the loop's own: a digit is one comparison (measured: a sixth of the scan).
    digit = np.uint64(np.int64(frame[pos]) - _ZERO)
    while digit < 10:
        value = value * 10 + _number(digit)
        pos += 1
        digit = np.uint64(np.int64(frame[pos]) - _ZERO)
    if pos == start or pos - start + scale > DIGITS_MAX:
        return -1, pos
    missing = scale
    if frame[pos] == _POINT:
        pos += 1
        digit = np.uint64(np.int64(frame[pos]) - _ZERO)
        while missing > 0 and digit < 10:
            value = value * 10 + _number(digit)
            missing -= 1
            pos += 1
            digit = np.uint64(np.int64(frame[pos]) - _ZERO)
        while frame[pos] == _ZERO:
            pos += 1
    if frame[pos] != _QUOTE:
        return -1, pos
    return value * _TENS[missing], pos + 1


@kernel
def _level(frame: bytes, pos: int, price_scale: int, qty_scale: int) -> tuple[int, int, int]:
    """Read {px, sz, n} in any order; return price, qty and the byte after its brace, or -1."""
    if frame[pos] != _OPEN:
        return 0, 0, -1
    pos += 1
    price, qty, seen = 0, 0, 0
    while True:
        if frame[pos] != _QUOTE:
            return 0, 0, -1
        key = frame[pos + 1]
        if key == _P and not seen & _PX_SEEN:
            seen |= _PX_SEEN
            pos = _skip(frame, pos, _PX_KEY)
            if pos >= 0:
                price, pos = _decimal(frame, pos, price_scale)
        elif key == _S and not seen & _SZ_SEEN:
            seen |= _SZ_SEEN
            pos = _skip(frame, pos, _SZ_KEY)
            if pos >= 0:
                qty, pos = _decimal(frame, pos, qty_scale)
        elif key == _N and not seen & _N_SEEN:
            seen |= _N_SEEN
            pos = _skip(frame, pos, _N_KEY)
            if pos >= 0:
                count, pos = _integer(frame, pos)
                if count < 0:
                    return 0, 0, -1
        else:
            return 0, 0, -1
        if pos < 0 or price < 0 or qty < 0:
            return 0, 0, -1
        c = frame[pos]
        if c == _CLOSE:
            done = seen == _LEVEL_DONE and pos + 1 < len(frame)
            return (price, qty, pos + 1) if done else (0, 0, -1)
        if c != _COMMA:
            return 0, 0, -1
        pos += 1


@kernel
def _write(
    rows: Rows, k: int, instrument: int, kind: int, side: int, price: int, qty: int, flags: int
) -> None:
    """Fill a row but for its times and sequence, which may come later in the frame."""
    row = rows[k]
    row["price"] = price
    row["qty"] = qty
    row["instrument"] = instrument
    row["kind"] = kind
    row["side"] = side
    row["flags"] = flags


@kernel
def _stamp(rows: Rows, first: int, end: int, time_ms: int, ts_recv: int) -> int:
    """Give rows the message's times and sequence, flag the last; return their number."""
    for k in range(first, end):
        row = rows[k]
        row["ts_event"] = time_ms * 1_000_000
        row["ts_recv"] = ts_recv
        row["seq"] = time_ms
    rows[end - 1]["flags"] |= LAST_IN_MESSAGE
    return end - first


@kernel
def _side(
    frame: bytes, pos: int, state: Rows, at: int, side: int, rows: Rows, k: int
) -> tuple[int, int]:
    """Read one list of levels as DELTA rows from k on; return the next row, or a code, and byte."""
    if frame[pos] != _OPEN_LIST:
        return SHAPE, pos
    pos += 1
    if frame[pos] == _CLOSE_LIST:
        return k, pos + 1
    while True:
        price, qty, pos = _level(frame, pos, state[at + 3], state[at + 4])
        if pos < 0:
            return NUMBER, pos
        if k >= len(rows):
            return FULL, pos
        _write(rows, k, state[at + 2], DELTA, side, price, qty, SNAPSHOT | EXCHANGE_CLOCK)
        k += 1
        c = frame[pos]
        if c == _CLOSE_LIST:
            return k, pos + 1
        if c != _COMMA:
            return SHAPE, pos
        pos += 1


@kernel
def _both_sides(
    frame: bytes, pos: int, state: Rows, at: int, rows: Rows, k: int
) -> tuple[int, int]:
    """Read the two lists of a book and the bracket around them."""
    k, pos = _side(frame, pos, state, at, BUY, rows, k)
    if k < 0 or frame[pos] != _COMMA:
        return min(k, SHAPE), pos
    k, pos = _side(frame, pos + 1, state, at, SELL, rows, k)
    if k < 0 or frame[pos] != _CLOSE_LIST:
        return min(k, SHAPE), pos
    return k, pos + 1


@kernel
def _one_top(frame: bytes, pos: int, state: Rows, at: int, side: int, rows: Rows, k: int) -> int:
    """Read a level or null as a TOP row; return the next byte or -1."""
    price, qty = 0, 0
    if frame[pos] == _N:
        pos = _skip(frame, pos, _NULL)
    else:
        price, qty, pos = _level(frame, pos, state[at + 3], state[at + 4])
    _write(rows, k, state[at + 2], TOP, side, price, qty, EXCHANGE_CLOCK)
    return pos


@kernel
def _both_tops(frame: bytes, pos: int, state: Rows, at: int, rows: Rows, k: int) -> tuple[int, int]:
    """Read the pair of a bbo and its closing bracket."""
    pos = _one_top(frame, pos, state, at, BUY, rows, k)
    if pos < 0 or frame[pos] != _COMMA:
        return SHAPE, pos
    pos = _one_top(frame, pos + 1, state, at, SELL, rows, k + 1)
    if pos < 0 or frame[pos] != _CLOSE_LIST:
        return SHAPE, pos
    return k + 2, pos + 1


@kernel
def _scan_quotes(
    frame: bytes, pos: int, book: bool, state: Rows, rows: Rows, first: int, ts_recv: int
) -> int:
    """Read an l2Book or bbo from its coin on: time and levels in either order."""
    at, pos = _coin(frame, pos, state)
    if at < 0:
        return SYMBOL
    if first + 2 > len(rows):
        return FULL
    time_ms, end = -1, 0
    while frame[pos] == _COMMA:
        pos += 1
        if frame[pos] != _QUOTE:
            return SHAPE
        if frame[pos + 1] == _T and time_ms < 0:
            pos = _skip(frame, pos, _TIME_KEY)
            if pos < 0:
                return SHAPE
            time_ms, pos = _integer(frame, pos)
            if time_ms < 0 or time_ms > TIME_MAX_MS:
                return NUMBER
        elif end == 0:
            pos = _skip(frame, pos, _LEVELS_KEY) if book else _skip(frame, pos, _BBO_KEY)
            if pos < 0:
                return SHAPE
            if book:
                end, pos = _both_sides(frame, pos, state, at, rows, first + 2)
            else:
                end, pos = _both_tops(frame, pos, state, at, rows, first)
            if end < 0:
                return end
        else:
            return SHAPE
    if end == 0 or time_ms < 0 or frame[pos] != _CLOSE or pos + 2 != len(frame):
        return SHAPE
    if book:
        _write(rows, first, state[at + 2], SEQ, 0, time_ms, -1, EXCHANGE_CLOCK)
        _write(rows, first + 1, state[at + 2], CLEAR, 0, 0, 0, EXCHANGE_CLOCK)
    return _stamp(rows, first, end, time_ms, ts_recv)


@kernel
def _users(frame: bytes, pos: int) -> int:
    """Step over a list of texts, from behind its first quote; -1 when it is not one."""
    while True:
        pos = _skip_text(frame, pos)
        if pos < 0:
            return -1
        if frame[pos] == _CLOSE_LIST:
            return pos + 1
        if frame[pos] != _COMMA or frame[pos + 1] != _QUOTE:
            return -1
        pos += 2


@kernel
def _trade(frame: bytes, pos: int, state: Rows, rows: Rows, k: int, ts_recv: int) -> int:
    """Read one trade object into row k; return the byte after its brace, or a code."""
    pos = _skip(frame, pos, _TRADE_HEAD)
    if pos < 0:
        return SHAPE
    at, pos = _coin(frame, pos, state)
    if at < 0:
        return SYMBOL
    price, qty, side, time_ms, tid, seen = 0, 0, 0, 0, 0, 0
    while frame[pos] == _COMMA:
        pos += 1
        if frame[pos] != _QUOTE:
            return SHAPE
        key = frame[pos + 1]
        bit = 0
        if key == _P:
            bit, pos = _PX_SEEN, _skip(frame, pos, _PX_KEY)
            if pos >= 0:
                price, pos = _decimal(frame, pos, state[at + 3])
        elif key == _S and frame[pos + 2] == _Z:
            bit, pos = _SZ_SEEN, _skip(frame, pos, _SZ_KEY)
            if pos >= 0:
                qty, pos = _decimal(frame, pos, state[at + 4])
        elif key == _S:
            bit, pos = _SIDE_SEEN, _skip(frame, pos, _SIDE_KEY)
            if pos >= 0:
                side = BUY if frame[pos] == _B else (SELL if frame[pos] == _A else 0)
                if side == 0 or frame[pos + 1] != _QUOTE:
                    return SHAPE
                pos += 2
        elif key == _T and frame[pos + 2] == _I and frame[pos + 3] == _D:
            bit, pos = _TID_SEEN, _skip(frame, pos, _TID_KEY)
            if pos >= 0:
                tid, pos = _integer(frame, pos)
        elif key == _T:
            bit, pos = _TIME_SEEN, _skip(frame, pos, _TIME_KEY)
            if pos >= 0:
                time_ms, pos = _integer(frame, pos)
        elif key == _H:
            bit, pos = _HASH_SEEN, _skip(frame, pos, _HASH_KEY)
            if pos >= 0:
                pos = _skip_text(frame, pos)
        elif key == _U:
            bit, pos = _USERS_SEEN, _skip(frame, pos, _USERS_KEY)
            if pos >= 0:
                pos = _users(frame, pos)
        if bit == 0 or seen & bit or pos < 0:
            return SHAPE
        seen |= bit
        if price < 0 or qty < 0 or tid < 0 or time_ms < 0 or time_ms > TIME_MAX_MS:
            return NUMBER
    done = seen & _TRADE_DONE == _TRADE_DONE
    if not done or frame[pos] != _CLOSE or pos + 1 >= len(frame):
        return SHAPE
    _write(rows, k, state[at + 2], TRADE, side, price, qty, EXCHANGE_CLOCK)
    row = rows[k]
    row["ts_event"] = time_ms * 1_000_000
    row["ts_recv"] = ts_recv
    row["seq"] = tid
    return pos + 1


@kernel
def _scan_trades(frame: bytes, pos: int, state: Rows, rows: Rows, first: int, ts_recv: int) -> int:
    """Read the list of a trades message."""
    k = first
    while True:
        if k >= len(rows):
            return FULL
        pos = _trade(frame, pos, state, rows, k, ts_recv)
        if pos < 0:
            return pos
        k += 1
        c = frame[pos]
        if c == _CLOSE_LIST:
            break
        if c != _COMMA:
            return SHAPE
        pos += 1
    if pos + 2 != len(frame):
        return SHAPE
    rows[k - 1]["flags"] |= LAST_IN_MESSAGE
    return k - first


@kernel
def scan_market(frame: bytes, state: Rows, rows: Rows, first: int, ts_recv: int) -> int:
    """Write the EVENT rows of a market frame from rows[first] on; return their number or a code.

    After a negative code the rows from first on hold rubbish and count for nothing. state: from
    make_scan_state. A book of 2 x 20 levels costs about 2.5 us.
    """
    n = len(frame)
    if n < 24 or frame[n - 1] != _CLOSE:
        return SHAPE
    pos = _skip(frame, 0, _HEAD)
    if pos < 0:
        return SHAPE
    c = frame[pos]
    if c == _L:
        pos = _skip(frame, pos, _BOOK_HEAD)
        return SHAPE if pos < 0 else _scan_quotes(frame, pos, True, state, rows, first, ts_recv)
    if c == _LOW_B:
        pos = _skip(frame, pos, _BBO_HEAD)
        return SHAPE if pos < 0 else _scan_quotes(frame, pos, False, state, rows, first, ts_recv)
    pos = _skip(frame, pos, _TRADES_HEAD)
    return SHAPE if pos < 0 else _scan_trades(frame, pos, state, rows, first, ts_recv)
