"""NASDAQ TotalView-ITCH 5.0: binary messages with two bytes of length before each, one day a file.

https://www.nasdaqtrader.com/content/technicalsupport/specifications/dataproducts/NQTVITCHSpecification.pdf
A file holds all stocks; which to take is said by --symbol. Times are ns after midnight in New York,
prices dollars x 10,000. Where a length or type cannot be, the reader looks for the next place where
three messages in a row can, and tells how many bytes it passed over.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.kernel import Int, kernel
from alephtx.core.words import LAST_IN_MESSAGE
from alephtx.store import order_flow as flow
from alephtx.store.damage import DataError
from alephtx.store.lines import head_of, pieces_of
from alephtx.store.order_flow import (
    ADD,
    EVENT_NS,
    EXECUTE,
    FILL,
    FLAGS_AT,
    OP,
    ORDER,
    OTHER,
    PRICE_AT,
    PRINT,
    QTY_AT,
    REDUCE,
    REMOVE,
    REPLACE,
    SAY,
    SIDE_AT,
)
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.sessions import midnight_ns

LENGTHS = np.zeros(128, np.int64)
for _type, _length in {
    "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21,
    "A": 36, "F": 40, "E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19,
    "I": 50, "N": 20, "O": 48,
}.items():  # fmt: skip
    LENGTHS[ord(_type)] = _length
OPS_ROOM = 1 << 16
# Words of a scan's state.
POSITION, OPERATIONS, LOCATE, LOST, MESSAGES, STATE_WORDS = 0, 1, 2, 3, 4, 5
_A, _B, _C, _D, _E, _F, _H, _N, _P, _Q, _R, _T, _U, _X = (ord(c) for c in "ABCDEFHNPQRTUX")
DAY_AND_A_BIT_NS = 25 * 3600 * 1_000_000_000
AHEAD = 192
"""Bytes that three messages may take: a block is scanned up to so many before its end."""


@kernel
def _be(data: Rows, at: Int, count: Int) -> int:
    """Return a big-endian integer; eight bytes with the top bit set become negative."""
    value: Int = np.int64(0)
    for k in range(count):
        value = (value << 8) | np.int64(data[at + k])
    return int(value)


@kernel
def plausible(data: Rows, at: Int, size: Int) -> bool:
    """Say whether a message may begin here: its length is that of its type, its time of a day."""
    if at + 3 > size:
        return False
    kind = np.int64(data[at + 2])
    if kind >= 128 or LENGTHS[kind] == 0 or _be(data, at, 2) != LENGTHS[kind]:
        return False
    return at + 13 > size or _be(data, at + 7, 6) < DAY_AND_A_BIT_NS


@kernel
def _same(data: Rows, at: Int, symbol: Rows) -> bool:
    same = True
    for k in range(8):
        same = same and bool(data[at + k] == symbol[k])
    return same


@kernel
def _operation(data: Rows, at: Int, kind: Int, op: Rows) -> bool:
    """Write what a message says into op; False when it says nothing that we keep."""
    of_order = kind == _E or kind == _C or kind == _X or kind == _D or kind == _U
    if of_order or kind == _A or kind == _F:
        op[ORDER] = _be(data, at + 11, 8)
    if kind == _A or kind == _F:
        op[OP] = ADD
        op[SIDE_AT] = 1 if data[at + 19] == _B else -1
        op[QTY_AT], op[PRICE_AT] = _be(data, at + 20, 4), _be(data, at + 32, 4)
    elif kind == _E:
        op[OP], op[QTY_AT] = EXECUTE, _be(data, at + 19, 4)
    elif kind == _C:
        op[OP] = EXECUTE if data[at + 31] != _N else FILL
        op[QTY_AT], op[PRICE_AT] = _be(data, at + 19, 4), _be(data, at + 32, 4)
    elif kind == _X:
        op[OP], op[QTY_AT] = REDUCE, _be(data, at + 19, 4)
    elif kind == _D:
        op[OP] = REMOVE
    elif kind == _U:
        op[OP], op[OTHER] = REPLACE, _be(data, at + 19, 8)
        op[QTY_AT], op[PRICE_AT] = _be(data, at + 27, 4), _be(data, at + 31, 4)
    elif kind == _P:
        op[OP], op[QTY_AT], op[PRICE_AT] = PRINT, _be(data, at + 20, 4), _be(data, at + 32, 4)
    elif kind == _Q:
        op[OP], op[QTY_AT], op[PRICE_AT] = PRINT, _be(data, at + 11, 8), _be(data, at + 27, 4)
        return op[QTY_AT] > 0
    elif kind == _H:
        op[OP] = SAY
        op[PRICE_AT] = words.TRADING if data[at + 19] == _T else words.HALTED
    else:
        return False
    return True


@kernel
def scan_itch(
    data: Rows, size: Int, last: Int, symbol: Rows, midnight: Int, state: Rows, ops: Rows
) -> int:  # fmt: skip
    """Write the operations of one stock's messages in data[:size]; returns 1 when it needs more.

    symbol: (8,) bytes; its number, state[LOCATE], is -1 until a directory or order message names
    it. last: 1 when no bytes come after these. 0: ops are full. state[LOST]: bytes passed over.
    """
    pos = state[POSITION]
    ends = size if last == 1 else size - AHEAD
    while pos < ends:
        if state[OPERATIONS] == len(ops):
            state[POSITION] = pos
            return 0
        if not plausible(data, pos, size) or pos + 2 + _be(data, pos, 2) > size:
            pos += 1
            state[LOST] += 1
            while pos < ends:
                second = pos + 2 + _be(data, pos, 2) if plausible(data, pos, size) else size + 1
                if second == size and last == 1:
                    break
                if second < size and plausible(data, second, size):
                    third = second + 2 + _be(data, second, 2)
                    if (third == size and last == 1) or plausible(data, third, size):
                        break
                pos += 1
                state[LOST] += 1
            continue
        at = pos + 2
        kind = np.int64(data[at])
        locate = _be(data, at + 1, 2)
        state[MESSAGES] += 1
        if state[LOCATE] < 0 and (
            (kind == _R and _same(data, at + 11, symbol))
            or ((kind == _A or kind == _F) and _same(data, at + 24, symbol))
        ):
            state[LOCATE] = locate
        if locate == state[LOCATE]:
            op = ops[state[OPERATIONS]]
            for word in range(len(op)):
                op[word] = 0
            if _operation(data, at, kind, op):
                op[EVENT_NS] = midnight + _be(data, at + 5, 6)
                op[FLAGS_AT] = LAST_IN_MESSAGE
                state[OPERATIONS] += 1
        pos += 2 + _be(data, pos, 2)
    state[POSITION] = pos
    return 1


class Itch:
    """Reads one stock of one day's file, packed or not."""

    name = "itch"

    def sniff(self, path: Path) -> bool:
        """Say whether the file begins with three messages that can be."""
        data: Any = np.frombuffer(head_of(path, 4096), np.uint8)
        pos = 0
        for _ in range(3):
            if not plausible(data, pos, len(data)):
                return False
            pos += 2 + int(LENGTHS[data[pos + 2]])
        return True

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield one stock's messages."""
        symbol = reading.options.symbol or (reading.options.only or ("",))[0]
        if not symbol:
            raise DataError(f"{path} holds all stocks of a day", remedy="give --symbol")
        instrument = plain_instrument(
            reading.options, venue="nasdaq", symbol=symbol, price_scale=4, qty_scale=0, quote="USD",
            tick=100,
        )  # fmt: skip
        midnight = midnight_ns(path, reading.options, "America/New_York")
        orders = flow.OrderFlow()
        for ops in _operations(path, reading, symbol, midnight):
            yield instrument, orders.rows(ops)
        yield instrument, orders.finish(reading)


def _operations(path: Path, reading: Reading, symbol: str, midnight: int) -> Iterator[Rows]:
    wanted = np.frombuffer(symbol.encode()[:8].ljust(8), np.uint8)
    state, ops = np.zeros(STATE_WORDS, np.int64), np.zeros((OPS_ROOM, flow.OP_WORDS), np.int64)
    state[LOCATE] = -1
    rest = b""

    def scan(data: bytes, last: int) -> Iterator[Rows]:
        view: Any = np.frombuffer(data, np.uint8)
        state[POSITION], done = 0, 0
        while not done:
            state[OPERATIONS] = 0
            lost = int(state[LOST])
            done = scan_itch(view, len(view), last, wanted, midnight, state, ops)
            if state[LOST] > lost:
                reading.damaged(int(state[MESSAGES]), "",
                                f"{int(state[LOST]) - lost} bytes that are no message")  # fmt: skip
            if state[OPERATIONS]:
                yield ops[: state[OPERATIONS]]

    gathered, size = [rest], 0
    for piece in pieces_of(path, reading):
        gathered.append(piece)
        size += len(piece)
        if size >= 1 << 20:
            data = b"".join(gathered)
            yield from scan(data, 0)
            gathered, size = [data[int(state[POSITION]) :]], 0
    yield from scan(b"".join(gathered), 1)
    if state[LOCATE] < 0:
        raise DataError(f"{path} names no stock {symbol}", remedy="look at --symbol")
