"""What a stream is worth: gaps, crossings, clocks and silences, counted by one compiled pass.

Rows are looked at as we heard them: those flagged TICK_EXCHANGE are counted, not applied. A book is
judged after each message that touched it, unless a gap left it stale; the tops that a venue sends
are a second book beside the one that its levels make.
"""

from typing import Any

import msgspec
import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.words import (
    BUY,
    CLEAR,
    DELTA,
    EXCHANGE_CLOCK,
    GAP,
    LAST_IN_MESSAGE,
    ORDER_ADD,
    ORDER_FILL,
    SNAPSHOT,
    TICK_EXCHANGE,
    TICK_LOCAL,
    TOP,
    TRADE,
)
from alephtx.matrix.book import Books, book_apply, book_bad_rows, book_top, grow_books, make_books
from alephtx.store.queue_index import (
    UNKNOWN,
    grow_orders,
    make_orders,
    make_scratch,
    orders_apply,
)

Rows = np.ndarray[Any, Any]

SILENCE_NS = 1_000_000_000
"""A stretch without a message that is counted as silent."""
SAMPLES = 1 << 20
"""Offsets kept for the median: all of them up to this many messages, then evenly spaced ones."""

# Words of the state.
ROWS, MESSAGES, GAPS, CROSSED, LOCKED, DOUBLED, EVENT_BACK, RECV_BACK = 0, 1, 2, 3, 4, 5, 6, 7
FIRST_EVENT, LAST_EVENT, FIRST_RECV, LAST_RECV = 8, 9, 10, 11
SILENT, SILENT_MAX, SILENT_AT, STALE, TOUCHED = 12, 13, 14, 15, 16
TOP_BID, TOP_BID_QTY, TOP_ASK, TOP_ASK_QTY = 17, 18, 19, 20
SAMPLED, STRIDE, STAMPED, OFFSET_MIN, OFFSET_MAX = 21, 22, 23, 24, 25
STALE_MESSAGES, SNAPSHOTS, SIDELESS = 26, 27, 28
KINDS_AT, STATE_WORDS = 32, 64
_BOOK, _TOPS = 1, 2
GROW_BOOKS, GROW_ORDERS = -1, -2


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """The two clocks of a stream, ns. offset: ts_recv - ts_event of messages that the venue dated.

    event_back, recv_back: how often a stamp was earlier than the one before it. silent: stretches
    without a message of SILENCE_NS or more; the longest began at silent_at_ns.
    """

    dated: int
    offset_min_ns: int
    offset_median_ns: int
    offset_max_ns: int
    event_back: int
    recv_back: int
    silent: int
    silent_max_ns: int
    silent_at_ns: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a stream.

    crossed: messages after which a bid was above the ask; locked: equal to it. doubled: rows that
    stand there twice because they overtook others. unknown_orders: changes of orders that were
    never added. bad_rows: rows of a book that cannot be. sideless: trades that do not say who took.
    span_ns: first to last ts_recv.
    """

    rows: int
    messages: int
    gaps: int
    crossed: int
    locked: int
    span_ns: int
    first_ns: int
    last_ns: int
    snapshots: int
    stale_messages: int
    doubled: int
    unknown_orders: int
    bad_rows: int
    sideless: int
    kinds: dict[str, int]
    clocks: Clocks


KIND_NAMES = {
    1: "delta", 2: "trade", 3: "top", 4: "clear", 5: "gap", 7: "funding", 8: "mark", 9: "index",
    10: "status", 11: "bar", 12: "liquidation", 14: "timer", 15: "signal", 16: "order_add",
    17: "order_change", 18: "order_delete", 19: "order_fill",
}  # fmt: skip


def make_state() -> Rows:
    """Return a blank state: int64 (STATE_WORDS,)."""
    state = np.zeros(STATE_WORDS, np.int64)
    state[STRIDE] = 1
    state[OFFSET_MIN], state[OFFSET_MAX] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    return state


@kernel
def _sample(state: Rows, samples: Rows, offset: Int) -> None:
    """Keep every STRIDE-th offset; when the room is full, drop every second one."""
    state[OFFSET_MIN] = min(state[OFFSET_MIN], offset)
    state[OFFSET_MAX] = max(state[OFFSET_MAX], offset)
    if state[STAMPED] % state[STRIDE] == 0:
        if state[SAMPLED] == len(samples):
            for k in range(len(samples) // 2):
                samples[k] = samples[2 * k]
            state[SAMPLED] = len(samples) // 2
            state[STRIDE] *= 2
        if state[STAMPED] % state[STRIDE] == 0:
            samples[state[SAMPLED]] = offset
            state[SAMPLED] += 1
    state[STAMPED] += 1


@kernel
def _clocks(row: Any, state: Rows, samples: Rows) -> None:
    """Take a message's stamps, once a message."""
    event, recv, flags = np.int64(row["ts_event"]), np.int64(row["ts_recv"]), np.int64(row["flags"])
    if (flags & TICK_LOCAL) == 0:
        if state[FIRST_EVENT] == 0:
            state[FIRST_EVENT] = event
        elif event < state[LAST_EVENT]:
            state[EVENT_BACK] += 1
        state[LAST_EVENT] = max(state[LAST_EVENT], event)
    if (flags & TICK_EXCHANGE) == 0:
        if state[FIRST_RECV] == 0:
            state[FIRST_RECV] = recv
        else:
            quiet = recv - state[LAST_RECV]
            if quiet < 0:
                state[RECV_BACK] += 1
            if quiet >= SILENCE_NS:
                state[SILENT] += 1
            if quiet > state[SILENT_MAX]:
                state[SILENT_MAX], state[SILENT_AT] = quiet, state[LAST_RECV]
        state[LAST_RECV] = max(state[LAST_RECV], recv)
        if (flags & EXCHANGE_CLOCK) != 0 and (flags & SNAPSHOT) == 0:
            _sample(state, samples, recv - event)


@kernel
def _judge(books: Books, state: Rows, out: Rows) -> None:
    """Count a crossed or locked book or top after a message that touched it."""
    crossed, locked = 0, 0
    if (state[TOUCHED] & _BOOK) != 0 and state[STALE] == 0 and book_top(books, 0, out) == 3:
        crossed |= 1 if out[0] > out[2] else 0
        locked |= 1 if out[0] == out[2] else 0
    if (state[TOUCHED] & _TOPS) != 0 and state[TOP_BID_QTY] > 0 and state[TOP_ASK_QTY] > 0:
        crossed |= 1 if state[TOP_BID] > state[TOP_ASK] else 0
        locked |= 1 if state[TOP_BID] == state[TOP_ASK] else 0
    state[CROSSED] += crossed
    state[LOCKED] += 1 if locked == 1 and crossed == 0 else 0


@kernel
def _apply(books: Books, orders: Rows, rows: Rows, k: Int, state: Rows, scratch: Rows) -> int:
    """Apply one row as heard; returns 0, or the code of what must grow first."""
    row = rows[k]
    kind = np.int64(row["kind"])
    if kind == DELTA:
        if book_apply(books, rows, k, k + 1) == 0:
            return GROW_BOOKS
        state[TOUCHED] |= _BOOK
    elif kind == CLEAR or (ORDER_ADD <= kind <= ORDER_FILL):
        full = 2 * orders[0] > orders[2]
        if orders_apply(books, orders, rows, k, scratch) == 0:
            return GROW_ORDERS if full else GROW_BOOKS
        state[TOUCHED] |= _BOOK
        if kind == CLEAR:
            state[STALE] = 0
            state[SNAPSHOTS] += 1
            state[TOP_BID_QTY], state[TOP_ASK_QTY] = 0, 0
    elif kind == TOP:
        at = TOP_BID if np.int64(row["side"]) == BUY else TOP_ASK
        state[at], state[at + 1] = row["price"], row["qty"]
        state[TOUCHED] |= _TOPS
    elif kind == GAP:
        state[GAPS] += 1
        state[STALE] = 1
    return 0


@kernel
def review(
    books: Books, orders: Rows, rows: Rows, first: Int, n: Int,
    state: Rows, samples: Rows, scratch: Rows, out: Rows,
) -> int:  # fmt: skip
    """Review rows[first:n]; return n, or the index where it stopped because something must grow.

    state[STATE_WORDS - 1] then says what: GROW_BOOKS or GROW_ORDERS. About 30 ns a row.
    """
    for k in range(first, n):
        row = rows[k]
        flags, kind = np.int64(row["flags"]), np.int64(row["kind"])
        heard = (flags & TICK_EXCHANGE) == 0
        if heard:
            code = _apply(books, orders, rows, k, state, scratch)
            if code < 0:
                state[STATE_WORDS - 1] = code
                return k
            if kind == TRADE and np.int64(row["side"]) == 0:
                state[SIDELESS] += 1
        elif kind == GAP:
            state[GAPS] += 1
        state[ROWS] += 1
        state[DOUBLED] += 0 if heard else 1
        state[KINDS_AT + min(kind, np.int64(30))] += 1
        if (flags & LAST_IN_MESSAGE) != 0:
            _clocks(row, state, samples)
            state[MESSAGES] += 1
            state[STALE_MESSAGES] += 1 if heard and state[STALE] == 1 else 0
            if state[TOUCHED] != 0:
                _judge(books, state, out)
                state[TOUCHED] = 0
    return n


class Review:
    """A review under way: `take` chunks of one stream in order, then `report`."""

    def __init__(self) -> None:
        self._books, self._orders = make_books(1), make_orders()
        self._state, self._samples = make_state(), np.zeros(SAMPLES, np.int64)
        self._scratch, self._out = make_scratch(), np.zeros(4, np.int64)

    @property
    def gaps(self) -> int:
        """How many gaps there were so far."""
        return int(self._state[GAPS])

    @property
    def crossed(self) -> int:
        """How many messages left the book crossed so far."""
        return int(self._state[CROSSED])

    def take(self, rows: Rows) -> None:
        """Review more EVENT rows."""
        at = 0
        while at < len(rows):
            at = review(
                self._books, self._orders, rows, at, len(rows), self._state, self._samples,
                self._scratch, self._out,
            )  # fmt: skip
            if at < len(rows):
                if self._state[STATE_WORDS - 1] == GROW_BOOKS:
                    self._books = grow_books(self._books)
                else:
                    self._orders = grow_orders(self._orders)

    def report(self) -> Report:
        """Sum up."""
        state = self._state
        kept = self._samples[: state[SAMPLED]]
        dated = int(state[STAMPED])
        kinds = {
            name: int(state[KINDS_AT + kind])
            for kind, name in KIND_NAMES.items()
            if state[KINDS_AT + kind]
        }
        clocks = Clocks(
            dated=dated,
            offset_min_ns=int(state[OFFSET_MIN]) if dated else 0,
            offset_median_ns=int(np.sort(kept)[(len(kept) - 1) // 2]) if dated else 0,
            offset_max_ns=int(state[OFFSET_MAX]) if dated else 0,
            event_back=int(state[EVENT_BACK]),
            recv_back=int(state[RECV_BACK]),
            silent=int(state[SILENT]),
            silent_max_ns=int(state[SILENT_MAX]),
            silent_at_ns=int(state[SILENT_AT]),
        )
        return Report(
            rows=int(state[ROWS]), messages=int(state[MESSAGES]), gaps=int(state[GAPS]),
            crossed=int(state[CROSSED]), locked=int(state[LOCKED]),
            span_ns=int(state[LAST_RECV] - state[FIRST_RECV]),
            first_ns=int(state[FIRST_RECV]), last_ns=int(state[LAST_RECV]),
            snapshots=int(state[SNAPSHOTS]), stale_messages=int(state[STALE_MESSAGES]),
            doubled=int(state[DOUBLED]), unknown_orders=int(self._orders[UNKNOWN]),
            bad_rows=int(book_bad_rows(self._books)), sideless=int(state[SIDELESS]), kinds=kinds,
            clocks=clocks,
        )  # fmt: skip
