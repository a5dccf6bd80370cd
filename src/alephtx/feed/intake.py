"""The compiled way of one decoded frame: judge each message, publish it, stamp the time it took.

A frame holds one message or a few, each ending with a row flagged LAST_IN_MESSAGE. A message that
starts with a SEQ row changes a book and is judged by `join`; every other one (tops, trades, marks)
is published as it comes. What needs thought - a gap, a delta before its snapshot - is left for
Python as a verdict row; that is rare, so the usual frame costs one call.

A book is as old as what it shows, not as the bytes that told it: a message that comes late (a slow
link, a feeder that was stopped) leaves its instrument flagged until one comes that is young enough.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.atomics import monotonic_ns
from alephtx.core.histogram import hist_add, make_histogram
from alephtx.core.kernel import Int, kernel
from alephtx.core.words import CROSSED, LAST_IN_MESSAGE, SEQ, STALE, TOP, UNTRADEABLE_MASK
from alephtx.feed.join import APPLY, GAP, SKIP, join, make_states
from alephtx.matrix.book import Books
from alephtx.matrix.publish import PublishState, publish, publish_flags, set_late
from alephtx.matrix.tops import top_read
from alephtx.matrix.writers import beat

Rows = np.ndarray[Any, Any]

VERDICTS_MAX = 1024
GROW = 5
"""A verdict besides those of `join`: the books have no room for the message; the rest waits."""

# Words of `counters`.
MESSAGES, APPLIED, SKIPPED, FOREIGN, STALE_TURNS, CROSSED_TURNS = 0, 1, 2, 3, 4, 5
LATE, EARLY = 6, 7  # books and tops older than allowed; stamped later than now
COUNTER_WORDS = 8

# Words of `terms`.
STALE_AFTER, VENUE_AHEAD, AHEAD_ERROR = 0, 1, 2
TERMS_WORDS = 4
UNMEASURED = 1 << 62
"""AHEAD_ERROR while nobody has asked the venue for its time."""
EARLY_NS = 250_000_000
"""A venue that stamps by more than this later than its clock can be has set that clock."""

# Columns of `verdicts`.
FROM, TO, VERDICT, INSTRUMENT = 0, 1, 2, 3


class Intake(NamedTuple):
    """A feeder's private arrays; I = instruments of the whole matrix, not only of this venue.

    states: join states (I, join.WORDS). link_of: the link that last brought a book message (I,),
    -1 none. seen_ns: monotonic time of the last book or top (I,), 0 never. stale: 1 = we flagged it
    (I,). crossed_ns: since when its book is crossed (I,), 0 = it is not. made_ns: when the last
    message with a stamp was made by our clock, by link (L,), 0 none. terms: how old a book may be,
    by how much the venue's clock is ahead of ours and how wrong that may be, ns (TERMS_WORDS,).
    verdicts: messages left for Python (VERDICTS_MAX, 4). counters: (COUNTER_WORDS,). latency:
    histogram of wire to matrix.
    """

    states: Rows
    link_of: Rows
    seen_ns: Rows
    stale: Rows
    crossed_ns: Rows
    made_ns: Rows
    terms: Rows
    verdicts: Rows
    counters: Rows
    latency: Rows


def make_intake(
    instruments: int, latency: Rows | None = None, *, links: int = 1, stale_ns: int = UNMEASURED
) -> Intake:
    """Return blank arrays for so many instruments. latency: a histogram to fill, else a new one."""
    terms = np.zeros(TERMS_WORDS, np.int64)
    terms[STALE_AFTER], terms[AHEAD_ERROR] = stale_ns, UNMEASURED
    return Intake(
        make_states(instruments),
        np.full(instruments, -1, np.int64),
        np.zeros(instruments, np.int64),
        np.zeros(instruments, np.int64),
        np.zeros(instruments, np.int64),
        np.zeros(links, np.int64),
        terms,
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
def _age(intake: Intake, link: Int, row: Any, wall_ns: Int) -> int:
    """Return how old a message is at least, in ns.

    By the venue's clock, where its stamp and that clock are known. A message without a stamp may be
    as old as the last one of its link that has one, behind which it stood: after a silence the
    first of a late queue would look fresh otherwise. Never less than since its bytes came.
    """
    age: Any = np.int64(0)
    stamp = np.int64(row["ts_event"])
    terms = intake.terms
    if link >= 0 and intake.made_ns[link] != 0:
        age = wall_ns - intake.made_ns[link]
    if stamp > 0 and terms[AHEAD_ERROR] != UNMEASURED:
        apparent = wall_ns + terms[VENUE_AHEAD] - stamp
        if apparent + terms[AHEAD_ERROR] < -EARLY_NS:
            intake.counters[EARLY] += 1
        age = max(np.int64(0), apparent - terms[AHEAD_ERROR])
        if link >= 0:
            intake.made_ns[link] = wall_ns - age
    arrived = np.int64(row["ts_recv"])
    if arrived > 0:
        age = max(age, wall_ns - arrived)
    return int(age)


@kernel
def _date(intake: Intake, link: Int, row: Any, offset_ns: Int, now_ns: Int) -> int:
    """Note of when a book message is; return 1 if that is too long ago, else 0."""
    age = _age(intake, link, row, now_ns + offset_ns)
    intake.seen_ns[np.int64(row["instrument"])] = now_ns - age
    late = 1 if age > intake.terms[STALE_AFTER] else 0
    intake.counters[LATE] += late
    return late


@kernel
def _flag(matrix: Rows, venue: Int, intake: Intake, row: Any, late: Int) -> None:
    """Flag an instrument, or unflag it, where publishing the message did not."""
    i = np.int64(row["instrument"])
    intake.stale[i] = late
    intake.counters[STALE_TURNS] += late
    if late:
        publish_flags(matrix, venue, i, STALE, 0, row["ts_recv"])
    else:
        publish_flags(matrix, venue, i, 0, STALE, row["ts_recv"])


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
    latency). offset_ns: wall - monotonic, so that stamps can be compared with the machine's clock.
    now_ns: monotonic, by the feeder's clock.
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
        late = -1  # unknown: of no book
        if kind == SEQ or kind == TOP:
            late = _date(intake, link, rows[start], offset_ns, now_ns)
            set_late(state, i, late)
        if kind == SEQ:
            verdict = join(
                rule,
                intake.states,
                i,
                rows[start]["price"],
                rows[start]["qty"],
                rows[start]["seq"],
                rows[start]["ts_recv"],
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
        if late >= 0 and late != intake.stale[i]:
            _flag(matrix, venue, intake, rows[start], late)
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
        if intake.stale[i] == 0 and now_ns - intake.seen_ns[i] > intake.terms[STALE_AFTER]:
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
