"""Kernels of the replay file: are rows a proper stream, and do they fit 32 bytes exactly.

A stream is one instrument's messages in order: rows of one message adjacent, the last of them
flagged; `seq` the message's number from 0 (order by order: the order's id); neither clock falling,
except that rows flagged TICK_EXCHANGE do not count for ts_recv, nor TICK_LOCAL for ts_event.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.words import (
    LAST_IN_MESSAGE,
    ORDER_ADD,
    ORDER_FILL,
    SEQ,
    TICK_EXCHANGE,
    TICK_LOCAL,
)

Rows = np.ndarray[Any, Any]

# Words of a survey's state.
COUNT, MESSAGES, OPEN, EVENT_NS, RECV_NS, FIRST_EVENT, FIRST_RECV, BY_ORDER = 0, 1, 2, 3, 4, 5, 6, 7
PRICE_MIN, PRICE_MAX, PRICE_GCD, QTY_MIN, QTY_MAX, QTY_GCD, FLAGS, WRONG = (
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
)
SURVEY_WORDS = 16

I4_MAX = (1 << 31) - 1
I4_MIN = -(1 << 31)
U4_MAX = (1 << 32) - 1

LIMIT = 1 << 62

WRONG_KIND, WRONG_NUMBER, WRONG_EVENT_TIME, WRONG_RECV_TIME = 1, 2, 3, 4
WRONG_INSTRUMENT, WRONG_SIDE, WRONG_SIZE = 5, 6, 7
WRONGS = {
    WRONG_KIND: "its kind has no place in a stream",
    WRONG_NUMBER: "its seq is not the number of its message",
    WRONG_EVENT_TIME: "its ts_event is earlier than that of the row before",
    WRONG_RECV_TIME: "its ts_recv is earlier than that of the row before",
    WRONG_INSTRUMENT: "its instrument is not 0: a stream is of one instrument",
    WRONG_SIDE: "its side is none of +1, 0, -1",
    WRONG_SIZE: "its price or quantity does not fit 62 bits",
}


def make_survey() -> Rows:
    """Return a blank survey: int64 (SURVEY_WORDS,)."""
    state = np.zeros(SURVEY_WORDS, np.int64)
    state[PRICE_MIN] = state[QTY_MIN] = np.iinfo(np.int64).max
    state[PRICE_MAX] = state[QTY_MAX] = np.iinfo(np.int64).min
    state[EVENT_NS] = state[RECV_NS] = np.iinfo(np.int64).min
    return state


@kernel
def common_divisor(a: Int, b: Int) -> int:
    """Return the greatest common divisor of two numbers, never negative; 0 with 0 is 0."""
    a, b = abs(a), abs(b)
    while b != 0:
        a, b = b, a % b
    return a


@kernel
def _wrong(row: Any, state: Rows) -> int:
    """Return what is wrong with a row after those of the state, 0 for nothing."""
    kind, flags = np.int64(row["kind"]), np.int64(row["flags"])
    if kind < 1 or kind > ORDER_FILL or kind == SEQ:
        return WRONG_KIND
    if row["instrument"] != 0:
        return WRONG_INSTRUMENT
    side = np.int64(row["side"])
    if side * side > 1:
        return WRONG_SIDE
    if abs(np.int64(row["price"])) >= LIMIT or abs(np.int64(row["qty"])) >= LIMIT:
        return WRONG_SIZE
    if kind < ORDER_ADD and np.int64(row["seq"]) != state[MESSAGES]:
        return WRONG_NUMBER
    if (flags & TICK_LOCAL) == 0 and np.int64(row["ts_event"]) < state[EVENT_NS]:
        return WRONG_EVENT_TIME
    if (flags & TICK_EXCHANGE) == 0 and np.int64(row["ts_recv"]) < state[RECV_NS]:
        return WRONG_RECV_TIME
    return 0


@kernel
def survey(rows: Rows, n: Int, state: Rows) -> int:
    """Look at n more EVENT rows of a stream; return -1, or the index of the first wrong one.

    state[WRONG] then says what is wrong. About 4 ns a row.
    """
    for k in range(n):
        row = rows[k]
        wrong = _wrong(row, state)
        if wrong != 0:
            state[WRONG] = wrong
            return k
        flags = np.int64(row["flags"])
        price, qty = np.int64(row["price"]), np.int64(row["qty"])
        if (flags & TICK_LOCAL) == 0:
            state[EVENT_NS] = row["ts_event"]
        if (flags & TICK_EXCHANGE) == 0:
            state[RECV_NS] = row["ts_recv"]
        if state[COUNT] == 0:
            state[FIRST_EVENT], state[FIRST_RECV] = row["ts_event"], row["ts_recv"]
        state[COUNT] += 1
        if np.int64(row["kind"]) >= ORDER_ADD:
            state[BY_ORDER] += 1
        state[FLAGS] |= flags
        state[PRICE_MIN] = min(state[PRICE_MIN], price)
        state[PRICE_MAX] = max(state[PRICE_MAX], price)
        state[QTY_MIN] = min(state[QTY_MIN], qty)
        state[QTY_MAX] = max(state[QTY_MAX], qty)
        if state[PRICE_GCD] != 1 and price != 0 and (
            state[PRICE_GCD] == 0 or price % state[PRICE_GCD] != 0
        ):  # fmt: skip
            state[PRICE_GCD] = common_divisor(price, state[PRICE_GCD])
        if state[QTY_GCD] != 1 and qty != 0 and (
            state[QTY_GCD] == 0 or qty % state[QTY_GCD] != 0
        ):  # fmt: skip
            state[QTY_GCD] = common_divisor(qty, state[QTY_GCD])
        last = flags & LAST_IN_MESSAGE
        state[MESSAGES] += 1 if last else 0
        state[OPEN] = 0 if last else 1
    return -1


def units_of(state: Rows) -> tuple[int, int, int] | None:
    """Return (price_base, price_unit, qty_unit) of rows that fit TICK exactly, else None."""
    price_unit, qty_unit = max(1, int(state[PRICE_GCD])), max(1, int(state[QTY_GCD]))
    if state[COUNT] == 0:
        return 0, 1, 1
    low, high = int(state[PRICE_MIN]) // price_unit, int(state[PRICE_MAX]) // price_unit
    middle = 0 if low >= I4_MIN and high <= I4_MAX else (low + high + 1) // 2
    fits = (
        low - middle >= I4_MIN
        and high - middle <= I4_MAX
        and int(state[QTY_MIN]) // qty_unit >= I4_MIN
        and int(state[QTY_MAX]) // qty_unit <= I4_MAX
        and int(state[MESSAGES]) <= U4_MAX
        and int(state[FLAGS]) <= 255
        and int(state[BY_ORDER]) == 0
    )
    return (middle * price_unit, price_unit, qty_unit) if fits else None


@kernel
def pack(rows: Rows, n: Int, price_base: Int, price_unit: Int, qty_unit: Int, out: Rows) -> None:
    """Write n EVENT rows as TICK rows; the units must be those of `units_of`."""
    for k in range(n):
        row, tick = rows[k], out[k]
        tick["ts_event"] = row["ts_event"]
        tick["ts_recv"] = row["ts_recv"]
        tick["price"] = (np.int64(row["price"]) - price_base) // price_unit
        tick["qty"] = np.int64(row["qty"]) // qty_unit
        tick["message"] = row["seq"]
        tick["kind"] = row["kind"]
        tick["side"] = row["side"]
        tick["flags"] = row["flags"]
        tick["instrument"] = 0


@kernel
def unpack(ticks: Rows, n: Int, price_base: Int, price_unit: Int, qty_unit: Int, out: Rows) -> None:
    """Write n TICK rows as EVENT rows: the inverse of `pack`."""
    for k in range(n):
        tick, row = ticks[k], out[k]
        row["ts_event"] = tick["ts_event"]
        row["ts_recv"] = tick["ts_recv"]
        row["seq"] = tick["message"]
        row["price"] = price_base + np.int64(tick["price"]) * price_unit
        row["qty"] = np.int64(tick["qty"]) * qty_unit
        row["instrument"] = 0
        row["kind"] = tick["kind"]
        row["side"] = tick["side"]
        row["flags"] = tick["flags"]
