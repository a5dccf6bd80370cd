"""The compiled way of one decoded frame: judge each message, publish it, stamp the time it took.

A frame holds one message or a few, each ending with a row flagged LAST_IN_MESSAGE. A message that
starts with a SEQ row changes a book and is judged by `join`; every other one (tops, trades, marks)
is published as it comes. What needs thought - a gap, a delta before its snapshot - is left for
Python as a verdict row; that is rare, so the usual frame costs one call.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.atomics import monotonic_ns
from alephtx.core.histogram import hist_add, make_histogram
from alephtx.core.kernel import Int, kernel
from alephtx.core.words import CROSSED, LAST_IN_MESSAGE, SEQ, STALE, TOP, UNTRADEABLE_MASK
from alephtx.feed.join import APPLY, GAP, SKIP, join, make_states
from alephtx.matrix.book import Books
from alephtx.matrix.publish import PublishState, publish, publish_flags
from alephtx.matrix.tops import top_read
from alephtx.matrix.writers import beat

Rows = np.ndarray[Any, Any]

VERDICTS_MAX = 1024
GROW = 5
"""A verdict besides those of `join`: the books have no room for the message; the rest waits."""

# Words of `counters`.
MESSAGES, APPLIED, SKIPPED, FOREIGN, STALE_TURNS, CROSSED_TURNS = 0, 1, 2, 3, 4, 5
COUNTER_WORDS = 8

# Columns of `verdicts`.
FROM, TO, VERDICT, INSTRUMENT = 0, 1, 2, 3


class Intake(NamedTuple):
    """A feeder's private arrays; I = instruments of the whole matrix, not only of this venue.

    states: join states (I, join.WORDS). link_of: the link that last brought a book message (I,),
    -1 none. seen_ns: monotonic time of the last book or top (I,), 0 never. stale: 1 = we flagged it
    (I,). crossed_ns: since when its book is crossed (I,), 0 = it is not. verdicts: messages left
    for Python (VERDICTS_MAX, 4). counters: (COUNTER_WORDS,). latency: histogram of wire to matrix.
    """

    states: Rows
    link_of: Rows
    seen_ns: Rows
    stale: Rows
    crossed_ns: Rows
    verdicts: Rows
    counters: Rows
    latency: Rows


def make_intake(instruments: int, latency: Rows | None = None) -> Intake:
    """Return blank arrays for so many instruments. latency: a histogram to fill, else a new one."""
    return Intake(
        make_states(instruments),
        np.full(instruments, -1, np.int64),
        np.zeros(instruments, np.int64),
        np.zeros(instruments, np.int64),
        np.zeros(instruments, np.int64),
        np.zeros((VERDICTS_MAX, 4), np.int64),
        np.zeros(COUNTER_WORDS, np.int64),
        make_histogram() if latency is None else latency,
    )


@kernel
def message_end(rows: Rows, start: Int, n: Int) -> int:
    """Return the index after the last row of the message that starts at `start`."""
    end = start
    while end < n - 1 and (np.int64(rows[end]["flags"]) & LAST_IN_MESSAGE) == 0:
        end += 1
    return end + 1


@kernel
def take_in(
    matrix: Rows,
    venue: Int,
    rule: Int,
    link: Int,
    offset_ns: Int,
    now_ns: Int,
    books: Books,
    state: PublishState,
    intake: Intake,
    rows: Rows,
    n: Int,
) -> int:
    """Judge and publish the n rows of one frame; return how many verdicts are left for Python.

    A GROW verdict is the last one: rows after its message have not been looked at.

    link: number of the link it came from, -1 for messages that had waited (they tell nothing about
    latency). offset_ns: wall - monotonic, so that ts_recv can be compared with the machine's clock,
    for the latency only. now_ns: monotonic, by the feeder's clock.
    """
    found = 0
    start = 0
    while start < n:
        end = message_end(rows, start, n)
        i = np.int64(rows[start]["instrument"])
        kind = np.int64(rows[start]["kind"])
        intake.counters[MESSAGES] += 1
        if i < 0 or i >= len(intake.states):
            intake.counters[FOREIGN] += 1
            start = end
            continue
        verdict = APPLY
        if kind == SEQ:
            verdict = join(
                rule,
                intake.states,
                i,
                rows[start]["price"],
                rows[start]["qty"],
                rows[start]["seq"],
            )
            if link >= 0:
                intake.link_of[i] = link
        if verdict == APPLY:
            if publish(matrix, venue, books, rows[start:end], end - start, state) < end - start:
                verdict = GROW
            else:
                intake.counters[APPLIED] += 1
        elif verdict == SKIP:
            intake.counters[SKIPPED] += 1
        if verdict >= GAP and found < VERDICTS_MAX:
            intake.verdicts[found, FROM] = start
            intake.verdicts[found, TO] = end
            intake.verdicts[found, VERDICT] = verdict
            intake.verdicts[found, INSTRUMENT] = i
            found += 1
        if kind == SEQ or kind == TOP:
            intake.seen_ns[i] = now_ns
            if intake.stale[i] != 0:
                intake.stale[i] = 0
                publish_flags(matrix, venue, i, 0, STALE, rows[start]["ts_recv"])
        start = end
        if verdict == GROW:
            break
    if n > 0 and link >= 0:
        hist_add(intake.latency, monotonic_ns() + offset_ns - rows[0]["ts_recv"])
    return found


@kernel
def look_after(
    matrix: Rows,
    venue: Int,
    writer: Int,
    offset_ns: Int,
    now_ns: Int,
    intake: Intake,
    instruments: Rows,
    stale_ns: Int,
    crossed_max_ns: Int,
    top: Rows,
    out: Rows,
) -> int:
    """Beat, flag the silent and find the books that stay crossed; called every few ms.

    instruments: indices of this venue (N,). top: TOP_ROW (1,) scratch. out: (N,) receives the
    instruments whose book was crossed for crossed_max_ns: a removal was lost. Returns how many.
    """
    beat(matrix, writer, now_ns)
    found = 0
    for k in range(len(instruments)):
        i = instruments[k]
        if intake.stale[i] == 0 and now_ns - intake.seen_ns[i] > stale_ns:
            intake.stale[i] = 1
            intake.counters[STALE_TURNS] += 1
            publish_flags(matrix, venue, i, STALE, 0, now_ns + offset_ns)
        crossed = 0
        if top_read(matrix, i, top) == 0:
            crossed = top[0]["aux"] & UNTRADEABLE_MASK & CROSSED
        if crossed == 0:
            intake.crossed_ns[i] = 0
        elif intake.crossed_ns[i] == 0:
            intake.crossed_ns[i] = now_ns
        elif now_ns - intake.crossed_ns[i] > crossed_max_ns:
            intake.crossed_ns[i] = 0
            intake.counters[CROSSED_TURNS] += 1
            out[found] = i
            found += 1
    return found
