"""Streams of one instrument woven into one: a book from one file, its trades from another.

Every stream is in two orders at once (`store.arrange`): as the venue sent its messages and as we
heard them. So are several together: heard by (ts_recv, stream), sent by (ts_event, ts_recv,
stream). A message that stands at the same place of both orders is written once; one that overtook
another, of its own stream or of another one, twice. Two cursors go through each stream, one for
each order, so that memory is a batch for each cursor, however far its clocks are apart.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.records import EVENT
from alephtx.core.words import LAST_IN_MESSAGE, TICK_EXCHANGE, TICK_LOCAL

Rows = np.ndarray[Any, Any]

BATCH_ROWS = 1 << 16

# Words of a cursor: next row, rows in its buffer, the buffer's place in the stream, nothing more.
AT, COUNT, PLACE, ENDED = 0, 1, 2, 3
WORDS = 4
HEARD, SENT = 0, 1


@kernel
def _head(buffers: Rows, cursors: Rows, order: Int) -> int:
    """Return the stream whose next message is first in an order.

    -1: all are at their ends; -2: a buffer must be filled first.
    """
    other = TICK_EXCHANGE if order == HEARD else TICK_LOCAL
    best, first, second = -1, np.int64(0), np.int64(0)
    for s in range(buffers.shape[1]):
        k, n = cursors[order, s, AT], cursors[order, s, COUNT]
        while k < n and np.int64(buffers[order, s, k]["flags"]) & other != 0:
            k += 1
        cursors[order, s, AT] = k
        if k >= n:
            if cursors[order, s, ENDED] == 0:
                return -2
            continue
        row = buffers[order, s, k]
        recv, event = np.int64(row["ts_recv"]), np.int64(row["ts_event"])
        a, b = (recv, np.int64(0)) if order == HEARD else (event, recv)
        if best < 0 or a < first or (a == first and b < second):
            best, first, second = s, a, b
    return best


@kernel
def _put(
    buffers: Rows, cursors: Rows, order: Int, s: Int, flag: Int, out: Rows, written: Int
) -> int:
    """Write a cursor's message and go on behind it; returns the rows then, -1 without room."""
    k = cursors[order, s, AT]
    while np.int64(buffers[order, s, k]["flags"]) & LAST_IN_MESSAGE == 0:
        k += 1
    start, end = cursors[order, s, AT], k + 1
    if written + end - start > len(out):
        return -1
    for n in range(start, end):
        out[written] = buffers[order, s, n]
        flags = np.int64(out[written]["flags"])
        out[written]["flags"] = (flags & ~(TICK_EXCHANGE | TICK_LOCAL)) | flag
        written += 1
    cursors[order, s, AT] = end
    return int(written)


@kernel
def weave(buffers: Rows, cursors: Rows, out: Rows) -> int:
    """Write messages to out until it is full, or a buffer is empty; returns the rows.

    buffers: EVENT (2, streams, rows), whole messages, by HEARD and SENT; cursors: int64 (2,
    streams, WORDS).
    """
    written = 0
    while True:
        heard, sent = _head(buffers, cursors, HEARD), _head(buffers, cursors, SENT)
        if heard == -2 or sent == -2 or (heard == -1 and sent == -1):
            return int(written)
        flag, from_sent = TICK_LOCAL, False
        if sent >= 0:
            at = cursors[SENT, sent, AT]
            place = cursors[SENT, sent, PLACE] + at
            ours = cursors[HEARD, sent, PLACE] + cursors[HEARD, sent, AT]
            doubled = np.int64(buffers[SENT, sent, at]["flags"]) & TICK_EXCHANGE != 0
            if doubled or place < ours or heard == -1:  # it was heard long since
                flag, from_sent = TICK_EXCHANGE, True
            elif heard == sent and place == ours:  # both orders have come to the same message
                flag = 0
        source = sent if from_sent else heard
        more = _put(buffers, cursors, SENT if from_sent else HEARD, source, flag, out, written)
        if more < 0:
            return int(written)
        if flag == 0:  # the other cursor goes over it too
            cursors[SENT, sent, AT] += more - written
        written = more


def woven(
    streams: Sequence[Callable[[], Iterator[Rows]]], batch_rows: int = BATCH_ROWS
) -> Iterator[Rows]:
    """Yield one stream of several, not numbered yet; each is opened twice.

    streams: each returns chunks of whole messages. Where two messages have the same times, that of
    the stream that was named first is first.
    """
    lanes = len(streams)
    chunks = [[opened() for opened in streams] for _ in (HEARD, SENT)]
    buffers = np.zeros((2, lanes, 1), EVENT)
    cursors = np.zeros((2, lanes, WORDS), np.int64)
    out = np.zeros(batch_rows, EVENT)
    while True:
        buffers = _filled(chunks, buffers, cursors)
        size = int(weave(buffers, cursors, out))
        if size:
            yield out[:size].copy()
        elif not _wants(cursors):
            if (cursors[:, :, AT] >= cursors[:, :, COUNT]).all():
                return
            out = np.zeros(2 * len(out), EVENT)  # one message is longer than it


def _wants(cursors: Rows) -> bool:
    """Say whether a cursor is through its buffer and has more to come."""
    return bool(((cursors[:, :, AT] >= cursors[:, :, COUNT]) & (cursors[:, :, ENDED] == 0)).any())


def _filled(chunks: list[list[Iterator[Rows]]], buffers: Rows, cursors: Rows) -> Rows:
    """Return the buffers, none of them empty before its stream ends."""
    for order, s in np.ndindex(cursors.shape[:2]):
        cursor = cursors[order, s]
        if cursor[AT] < cursor[COUNT] or cursor[ENDED]:
            continue
        rows = next((rows for rows in chunks[order][s] if len(rows)), None)
        cursor[PLACE] += cursor[COUNT]
        cursor[AT], cursor[COUNT] = 0, 0 if rows is None else len(rows)
        cursor[ENDED] = int(rows is None)
        if rows is None:
            continue
        if len(rows) > buffers.shape[2]:
            wider = np.zeros((*buffers.shape[:2], len(rows)), EVENT)
            wider[:, :, : buffers.shape[2]] = buffers
            buffers = wider
        buffers[order, s, : len(rows)] = rows
    return buffers
