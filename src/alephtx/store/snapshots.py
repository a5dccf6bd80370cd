"""Whole books, one after the other, as changes: a CLEAR and a book first, then what differs.

A recorder that writes the best N levels every 100 ms tells little new each time: as changes such a
file is a tenth of the rows, and a simulator keeps what it knows of the queue. A level that has left
the N best is removed; when it comes back it is told again.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.records import EVENT
from alephtx.core.words import CLEAR, DELTA, EXCHANGE_CLOCK, LAST_IN_MESSAGE, SNAPSHOT
from alephtx.store.reading import Reading

Rows = np.ndarray[Any, Any]

UNORDERED = -1
PROBLEMS = {UNORDERED: "the levels are not in order"}


@kernel
def count_levels(book: Rows, counts: Rows) -> int:
    """Count the levels of both sides of one book, (2, depth, 2) of price and lots, best first.

    counts: (2,). Levels without lots end a side. Returns 0, or UNORDERED.
    """
    for s in range(2):
        n = 0
        while n < book.shape[1] and book[s, n, 1] > 0:
            if n > 0:
                step = book[s, n, 0] - book[s, n - 1, 0]
                if (s == 0 and step >= 0) or (s == 1 and step <= 0):
                    return UNORDERED
            n += 1
        counts[s] = n
        for rest in range(n, book.shape[1]):
            if book[s, rest, 1] != 0:
                return UNORDERED
    return 0


@kernel
def difference(old: Rows, new: Rows, old_counts: Rows, new_counts: Rows, rows: Rows) -> int:
    """Write DELTA rows that turn one book into another; returns how many."""
    k = 0
    for s in range(2):
        side = 1 - 2 * s
        a, b = 0, 0
        while a < old_counts[s] or b < new_counts[s]:
            gone = b >= new_counts[s] or (
                a < old_counts[s] and side * old[s, a, 0] > side * new[s, b, 0]
            )
            if gone:
                price, qty = old[s, a, 0], np.int64(0)
                a += 1
            else:
                price, qty = new[s, b, 0], new[s, b, 1]
                same = a < old_counts[s] and old[s, a, 0] == price
                before = old[s, a, 1] if same else np.int64(0)
                a += 1 if same else 0
                b += 1
                if before == qty:
                    continue
            row = rows[k]
            row["kind"] = DELTA
            row["side"] = side
            row["price"] = price
            row["qty"] = qty
            k += 1
    return k


@kernel
def _stamp(rows: Rows, first: Int, end: Int, event: Int, recv: Int, flags: Int) -> None:
    for k in range(first, end):
        row = rows[k]
        row["ts_event"] = event
        row["ts_recv"] = recv
        row["flags"] = flags | (EXCHANGE_CLOCK if event > 0 else 0)
    rows[end - 1]["flags"] = np.int64(rows[end - 1]["flags"]) | LAST_IN_MESSAGE


@kernel
def differences(
    events: Rows, recvs: Rows, books: Rows, first: Int, last_book: Rows, counts: Rows,
    codes: Rows, rows: Rows, done: Rows,
) -> int:  # fmt: skip
    """Turn books[first:] into messages; returns the rows, with the next book in done[0].

    last_book: the book before, (2, depth, 2); counts: (3, 2), its levels, scratch, and [2, 0] = 1
    when there is one. codes: (N,), 0 or why a book was passed over.
    """
    k, n = 0, first
    most = 1 + 4 * books.shape[2]
    while n < len(books) and k + most <= len(rows):
        codes[n] = count_levels(books[n], counts[1])
        if codes[n] == 0:
            begun = k
            flags = 0
            if counts[2, 0] == 0:
                rows[k]["kind"] = CLEAR
                k += 1
                flags = SNAPSHOT
                counts[0, 0], counts[0, 1], counts[2, 0] = 0, 0, 1
            k += difference(last_book, books[n], counts[0], counts[1], rows[k:])
            if k > begun:
                _stamp(rows, begun, k, events[n], recvs[n], flags)
            counts[0, 0], counts[0, 1] = counts[1, 0], counts[1, 1]
            for s in range(2):
                for level in range(counts[1, s]):
                    last_book[s, level, 0] = books[n, s, level, 0]
                    last_book[s, level, 1] = books[n, s, level, 1]
        n += 1
    done[0] = n
    return k


class Differ:
    """Turns one instrument's whole books into messages; `rows` chunk by chunk, in order."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._last = np.zeros((2, depth, 2), np.int64)
        self._counts = np.zeros((3, 2), np.int64)

    def deeper(self, depth: int) -> "Differ":
        """Return the same with room for deeper books."""
        made = Differ(depth)
        made._last[:, : self.depth] = self._last
        made._counts[:] = self._counts
        return made

    def rows(self, event: Rows, recv: Rows, books: Rows, lines: Rows, reading: Reading) -> Rows:
        """Return the messages of books: (N, 2, depth, 2), bids then asks, price and lots.

        The best level comes first, 0 lots end a side. A book that is none is told to the reading
        with its line, and passed over.
        """
        codes, done = np.zeros(len(books), np.int64), np.zeros(1, np.int64)
        made: list[Rows] = []
        while done[0] < len(books):
            room = np.zeros(max(1 << 16, 2 + 4 * books.shape[2]), EVENT)
            count = differences(
                event, recv, books, int(done[0]), self._last, self._counts, codes, room, done
            )
            made.append(room[:count])
        for n in np.flatnonzero(codes).tolist():
            reading.damaged(int(lines[n]), "", PROBLEMS[int(codes[n])])
        return np.concatenate(made) if made else np.zeros(0, EVENT)
