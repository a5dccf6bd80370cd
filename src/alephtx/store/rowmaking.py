"""Columns to EVENT rows: what importers of tables make their messages with.

Times are ns; recv 0 = there was no local clock. All arguments are int64 (N,).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alephtx.core.records import EVENT
from alephtx.core.words import (
    BAR,
    BUY,
    CLEAR,
    DELTA,
    EXCHANGE_CLOCK,
    FUNDING,
    GAP,
    LAST_IN_MESSAGE,
    SELL,
    SNAPSHOT,
    TOP,
    TRADE,
)

Rows = np.ndarray[Any, Any]


def _made(count: int, event: Rows, recv: Rows | int) -> Rows:
    rows = np.zeros(count, EVENT)
    rows["ts_event"], rows["ts_recv"] = event, recv
    rows["flags"] = np.where(rows["ts_event"] > 0, EXCHANGE_CLOCK, 0)
    return rows


def trades(event: Rows, recv: Rows | int, price: Rows, qty: Rows, side: Rows) -> Rows:
    """Return a message a trade; side: of the aggressor, 0 where it is not known."""
    rows = _made(len(event), event, recv)
    rows["kind"] = TRADE
    rows["price"], rows["qty"], rows["side"] = price, qty, side
    rows["flags"] |= LAST_IN_MESSAGE
    return rows


def tops(event: Rows, recv: Rows | int, bid: Rows, bid_qty: Rows, ask: Rows, ask_qty: Rows) -> Rows:
    """Return two rows a message, BUY then SELL; 0 lots say that the side is empty."""
    rows = _made(2 * len(event), np.repeat(event, 2), recv if isinstance(recv, int) else
                 np.repeat(recv, 2))  # fmt: skip
    rows["kind"] = TOP
    for at, side, price, qty in ((0, BUY, bid, bid_qty), (1, SELL, ask, ask_qty)):
        rows["side"][at::2] = side
        rows["price"][at::2] = np.where(qty > 0, price, 0)
        rows["qty"][at::2] = qty
    rows["flags"][1::2] |= LAST_IN_MESSAGE
    return rows


def deltas(
    event: Rows, recv: Rows | int, price: Rows, qty: Rows, side: Rows, starts: Rows
) -> Rows:  # fmt: skip
    """Return levels as messages that begin at the rows named by starts."""
    rows = _made(len(event), event, recv)
    rows["kind"] = DELTA
    rows["price"], rows["qty"], rows["side"] = price, qty, side
    rows["flags"][np.append(starts[1:], len(rows)) - 1] |= LAST_IN_MESSAGE
    return rows


def bars(event: Rows, recv: Rows | int, prices: Sequence[Rows], volume: Rows) -> Rows:
    """Return four rows a message: open, high, low, close; the last has the volume.

    event: when the bar ended, from then on it may be known.
    """
    rows = _made(4 * len(event), np.repeat(event, 4), recv if isinstance(recv, int) else
                 np.repeat(recv, 4))  # fmt: skip
    rows["kind"] = BAR
    for at, price in enumerate(prices):
        rows["price"][at::4] = price
    rows["qty"][3::4] = volume
    rows["flags"][3::4] |= LAST_IN_MESSAGE
    return rows


def fundings(event: Rows, recv: Rows | int, rate: Rows, paid: Rows) -> Rows:
    """Return a message a rate of 10^-12; paid: when it is paid, ns."""
    rows = _made(len(event), event, recv)
    rows["kind"], rows["price"], rows["qty"] = FUNDING, rate, paid
    rows["flags"] |= LAST_IN_MESSAGE
    return rows


def with_clears(rows: Rows, books: Rows, starts: Rows, gaps: Rows) -> Rows:
    """Return rows where a CLEAR row opens each message that is a whole book.

    starts: where messages begin; books: bool, which of them are whole books, and their rows are
    flagged so; gaps: bool, before which of them the sequence broke: a GAP message stands there.
    """
    lengths = np.diff(np.append(starts, len(rows)))
    rows["flags"] |= np.where(np.repeat(books, lengths), SNAPSHOT, 0).astype(np.uint16)
    before = np.sort(np.concatenate([starts[books], starts[gaps]]))
    made = np.insert(rows, before, rows[before])
    opened = np.append(np.diff(before) != 0, True)  # a GAP stands before its CLEAR
    clear_at = before + np.arange(len(before))
    is_book = np.isin(before, starts[books]) & opened
    for which, kind in ((is_book, CLEAR), (~is_book, GAP)):
        at = clear_at[which]
        made["kind"][at] = kind
        made["price"][at] = made["qty"][at] = made["side"][at] = 0
        made["flags"][at] &= ~np.uint16(LAST_IN_MESSAGE | SNAPSHOT)
        made["flags"][at] |= np.uint16(SNAPSHOT if kind == CLEAR else LAST_IN_MESSAGE)
    return made
