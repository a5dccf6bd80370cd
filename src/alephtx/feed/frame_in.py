"""From a frame's bytes to the matrix in one call of a kernel: the venue's market stage, `take_in`.

A call from Python costs by its arguments, 40 ns an array, and what a feeder works on is nineteen of
them, in namedtuples that Numba takes apart at every call: a third of the whole way of a frame. So
they are packed once, and a frame is an address and a few integers.
"""

import ctypes
from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import FIELD_WORDS, field, pack_fields, rows_at
from alephtx.core.ports import MARKET_ROWS, MARKET_TS_RECV, MARKET_WORDS, Rows, Stage
from alephtx.core.records import EVENT
from alephtx.core.stages import call_stage, stage_address
from alephtx.feed.intake import Intake, take_in
from alephtx.matrix.book import Books
from alephtx.matrix.publish import PublishState

BYTES_AT = bytes.__basicsize__ - 1
"""Where in CPython's bytes object its bytes begin; a zero byte that ends them counts as one."""

# Words: what does not change from frame to frame, and how many rows the last one had.
W_VENUE, W_RULE, W_OFFSET, W_STAGE, W_COUNT = 0, 1, 2, 3, 4
FRAME_WORDS = 8

I1, I2, I3 = np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.zeros((1, 1, 1), np.int64)
EVENTS = np.zeros(1, EVENT)
NO_STAGE: Rows = np.zeros(1, np.int64)

# Fields of a packed outlet.
O_MAP, O_WORDS, _STAGE, _BOOKS, _STATE, _INTAKE = 0, 1, 2, 3, 5, 9


def frame_words(venue: int, rule: int, offset_ns: int, stage: Stage | None) -> tuple[Rows, object]:
    """Return the words of an outlet, and what keeps the stage's machine code, compiled here."""
    words = np.zeros(FRAME_WORDS, np.int64)
    words[[W_VENUE, W_RULE, W_OFFSET]] = venue, rule, offset_ns
    if stage is None:
        return words, None
    words[W_STAGE], owner = stage_address(stage.function)
    return words, owner


def event_rows_of(state: Rows) -> Rows:
    """Return the rows that a market stage writes; the same memory."""
    at = MARKET_ROWS * FIELD_WORDS
    size = int(state[at + 1]) * EVENT.itemsize
    memory: Any = (ctypes.c_char * size).from_address(int(state[at]))
    return np.frombuffer(memory, EVENT)


def pack_outlet(
    matrix: Rows, words: Rows, stage: Stage | None, books: Books, state: PublishState, own: Intake
) -> Rows:
    """Return the packed arrays of an outlet; anew when its books have grown."""
    scanner = NO_STAGE if stage is None else stage.state
    return pack_fields([matrix, words, scanner, *books, *state, *own])


@inline_kernel
def intake_of(x: Rows) -> Intake:
    """Return the intake of a packed outlet."""
    return Intake(
        field(x, _INTAKE, I2), field(x, _INTAKE + 1, I1), field(x, _INTAKE + 2, I1),
        field(x, _INTAKE + 3, I1), field(x, _INTAKE + 4, I1), field(x, _INTAKE + 5, I1),
        field(x, _INTAKE + 6, I1), field(x, _INTAKE + 7, I2), field(x, _INTAKE + 8, I1),
        field(x, _INTAKE + 9, I1),
    )  # fmt: skip


@kernel
def _take(x: Rows, link: Int, now_ns: Int, rows: Rows, n: Int) -> int:
    words = field(x, O_WORDS, I1)
    books = Books(field(x, _BOOKS, I1), field(x, _BOOKS + 1, I1))
    state = PublishState(
        field(x, _STATE, I1), field(x, _STATE + 1, I2), field(x, _STATE + 2, I3),
        field(x, _STATE + 3, I1),
    )  # fmt: skip
    return take_in(
        field(x, O_MAP, I1), words[W_VENUE], words[W_RULE], link, words[W_OFFSET], now_ns,
        books, state, intake_of(x), rows, n,
    )  # fmt: skip


@inline_kernel
def rows_of(x: Rows) -> int:
    """Return how many rows the last frame had."""
    return field(x, O_WORDS, I1)[W_COUNT]


@kernel
def take_frame(
    x: Rows, link: Int, now_ns: Int, frame: Int, size: Int, ts_recv: Int, rows: Int, n: Int
) -> int:
    """Take a frame in and return the verdicts left for Python, as `take_in`; -1: let Python decode.

    frame: address of its bytes, or 0: then n EVENT rows at the address `rows` are taken in. Words
    W_COUNT says how many rows there were.
    """
    words = field(x, O_WORDS, I1)
    if frame == 0:
        return _take(x, link, now_ns, rows_at(rows, n, EVENTS), n)
    scanner = field(x, _STAGE, I1)
    field(scanner, MARKET_WORDS, I1)[MARKET_TS_RECV] = ts_recv
    count = call_stage(words[W_STAGE], scanner, frame, size)
    words[W_COUNT] = count
    if count <= 0:
        return -1 if count < 0 else 0
    return _take(x, link, now_ns, field(scanner, MARKET_ROWS, EVENTS), count)
