"""The feeder's hand on the matrix: its books, its flags, its beat and its counters."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from alephtx.core.clock import Clock
from alephtx.core.kernel import entry
from alephtx.core.ports import Rows, Stage, VenueSpec
from alephtx.core.records import EVENT, TOP_ROW
from alephtx.core.words import GAP, LAST_IN_MESSAGE, RESYNCING, STALE
from alephtx.feed import intake as columns
from alephtx.feed.frame_in import (
    BYTES_AT,
    W_COUNT,
    event_rows_of,
    frame_words,
    pack_outlet,
    take_frame,
)
from alephtx.feed.intake import GROW, look_after, make_intake
from alephtx.feed.join import join, join_reset, join_snapshot
from alephtx.matrix.baton import Baton
from alephtx.matrix.book import Books, grow_books, make_books
from alephtx.matrix.publish import make_publish_state, publish, publish_flags, set_late
from alephtx.matrix.shm import Matrix

STALE_NS = 1_500_000_000


class Outlet:
    """One venue's way into the matrix. Everything here runs on the feeder's asyncio thread.

    venue: index of the venue in the matrix; writer: our row of the writers table. links: how many
    there are, for `take_in`. stale_ns: how old a book may be before it is flagged. baton: who has
    the books, where a compiled loop takes frames in by itself (`feed.lane`). stage: the venue's
    scanner, for `frame_in`. packed: our arrays, for `take_frame`. The constructor takes the venue
    over: MatrixError while another living feeder has it; else its epoch is raised, so that readers
    tell our rows from our predecessor's, and every instrument is flagged.
    """

    def __init__(
        self,
        matrix: Matrix,
        spec: VenueSpec,
        venue: int,
        writer: int,
        clock: Clock,
        latency: Rows | None = None,
        *,
        links: int = 1,
        stale_ns: int = STALE_NS,
        baton: Baton | None = None,
        stage: Stage | None = None,
    ) -> None:
        self.matrix = matrix
        self.map = matrix.map
        self.venue = venue
        self.rule = int(spec.join)
        self.instruments = matrix.instruments.of_venue(spec.name)
        self._alone = baton is None
        self.baton: AbstractContextManager[Any] = baton or nullcontext()
        self.writer = -1  # no beat before the records are healed
        self._clock = clock
        self.offset_ns = clock.now() - clock.monotonic()
        count = len(matrix.instruments)
        self._books = make_books(count)
        self.state = make_publish_state(count, depth=matrix.geometry.depth)
        self.intake = make_intake(count, latency, links=links, stale_ns=stale_ns)
        self._indices = np.zeros(0, np.int64)
        self._out = np.zeros(max(1, len(self.instruments)), np.int64)
        self._top = np.zeros(1, TOP_ROW)
        self._row = np.zeros(1, EVENT)
        # Kernels are compiled or loaded now, not when the first frame waits.
        self._words, self._stage_code = frame_words(venue, self.rule, self.offset_ns, stage)
        self._stage = stage
        self.packed: Rows = self._pack()
        self._take = entry(take_frame, self.packed, 0, 0, 0, 0, 0, 0, 0)
        self._rows, self._rows_at = self._row, int(self._row.ctypes.data)
        self.frame_rows = self._row[:0] if stage is None else event_rows_of(stage.state)
        self.take_in(-1, self._row, 0)
        self.publish(self._row[:0])
        self.look_after(0)
        join_snapshot(self.intake.states, 0, 0)
        join(self.rule, self.intake.states, 0, 0, 0, 0, 0)
        join_reset(self.intake.states, 0)
        set_late(self.state, 0, 0)
        self.epoch = matrix.take_venue(venue, writer)
        self.writer = writer
        self._indices = np.array(self.instruments, np.int64)

    @property
    def books(self) -> Books:
        """The venue's books; others may be put in their place, as when they have grown."""
        return self._books

    @books.setter
    def books(self, books: Books) -> None:
        with self.baton:
            self._books = books
            self.packed[:] = self._pack()  # in its place: a lane has its address

    def _pack(self) -> Rows:
        """Describe our arrays to the kernel."""
        return pack_outlet(self.map, self._words, self._stage, self._books, self.state, self.intake)

    @property
    def near(self) -> tuple[Any, ...]:
        """Return what a frame touches of ours, for a loop that keeps it in its cache."""
        stage = () if self._stage is None else (self._stage,)
        return (*stage, self._words, self.packed, self._books, self.state, self.intake)

    def frame_in(self, link: int, frame: bytes, ts_recv: int) -> int:
        """Scan a frame and take it in: one call; -1 where it is for the codec's `decode`.

        Returns how many verdicts `left_over` has to give, of `frame_rows`; `frame_count` rows there
        are the frame's. About 0.7 us besides what bytes and levels cost.
        """
        now = self._clock.monotonic()
        place, size = id(frame) + BYTES_AT, len(frame)
        if self._alone:
            return int(self._take(self.packed, link, now, place, size, ts_recv, 0, 0))
        with self.baton:
            return int(self._take(self.packed, link, now, place, size, ts_recv, 0, 0))

    @property
    def frame_count(self) -> int:
        """How many rows the last frame had."""
        return int(self._words[W_COUNT])

    def take_in(self, link: int, rows: Rows, n: int) -> list[list[int]]:
        """Judge and publish a frame's rows; return [from, to, verdict, instrument] of what is left.

        Almost always there is nothing left, and this is one call of a kernel. rows: EVENT,
        contiguous. About 0.7 us and 10 ns a level.
        """
        if rows is not self._rows:
            self._rows, self._rows_at = rows, int(rows.ctypes.data)
        now, at = self._clock.monotonic(), self._rows_at
        with self.baton:
            count = self._take(self.packed, link, now, 0, 0, 0, at, n)
            return self.left_over(count, link, rows, n) if count else []

    def left_over(self, count: int, link: int, rows: Rows, n: int) -> list[list[int]]:
        """Return what `take_in` left of n rows, count verdicts; books that are full grow."""
        left: list[list[int]] = self.intake.verdicts[:count].tolist()
        if left[-1][columns.VERDICT] != GROW:
            return left
        start, end, _, i = left.pop()
        self.publish(rows[start:end])
        # The join let the message pass, so its book was whole; running short had flagged it.
        publish_flags(self.map, self.venue, i, 0, RESYNCING, int(rows[start]["ts_recv"]))
        rest = self.take_in(link, rows[end:], n - end)
        return left + [[a + end, b + end, verdict, i] for a, b, verdict, i in rest]

    def publish(self, rows: Rows) -> None:
        """Publish one message's rows past the join; the books grow until it fits."""
        n = len(rows)
        with self.baton:
            while publish(self.map, self.venue, self.books, rows, n, self.state) < n:
                self.books = grow_books(self.books)

    def gap(self, i: int, *, stale: bool) -> None:
        """Tell readers that an instrument's book is lost until its next snapshot."""
        row = self._row[0]
        row["instrument"], row["kind"], row["flags"] = i, GAP, LAST_IN_MESSAGE
        row["ts_recv"] = self._clock.now()
        with self.baton:
            self.publish(self._row)
            join_reset(self.intake.states, i)
            self.intake.link_of[i] = -1
            self.intake.stale[i] = self.intake.stale[i] or int(stale)
            if stale:
                publish_flags(self.map, self.venue, i, STALE, 0, self._clock.now())

    def forget_link(self, link: int) -> None:
        """Forget how old a link's last message was: what stood in its queue is gone."""
        with self.baton:
            self.intake.made_ns[link] = 0

    def seed(self, i: int, rows: Rows, last_update_id: int, age_ns: int = 0) -> None:
        """Publish an instrument's snapshot and start its sequence.

        age_ns: since it was asked for; its book is fresh unless that was long ago.
        """
        late = int(age_ns > self.intake.terms[columns.STALE_AFTER])
        raised, cleared = (STALE, 0) if late else (0, STALE)
        with self.baton:
            set_late(self.state, i, late)
            self.publish(rows)
            join_snapshot(self.intake.states, i, last_update_id)
            self.intake.seen_ns[i] = self._clock.monotonic() - age_ns
            self.intake.stale[i] = late
            publish_flags(self.map, self.venue, i, raised, cleared, self._clock.now())

    def measured(self, ahead_ns: int, error_ns: int) -> None:
        """Take in by how much the venue's clock is ahead of ours, and how wrong that may be."""
        with self.baton:
            self.intake.terms[columns.VENUE_AHEAD] = ahead_ns
            self.intake.terms[columns.AHEAD_ERROR] = error_ns

    def look_after(self, crossed_max_ns: int) -> list[int]:
        """Beat and flag the silent; return the instruments whose book stays crossed."""
        with self.baton:
            count = look_after(
                self.map, self.venue, self.writer, self.offset_ns, self._clock.monotonic(),
                self.intake, self._indices, crossed_max_ns, self._top, self._out,
            )  # fmt: skip
        crossed: list[int] = self._out[:count].tolist()
        return crossed

    def counter(self, word: int) -> int:
        """Return one of the intake's counters."""
        return int(self.intake.counters[word])

    def counters(self) -> dict[str, int]:
        """Return the intake's counters by name."""
        names: dict[str, Any] = {
            "messages": columns.MESSAGES,
            "applied": columns.APPLIED,
            "skipped": columns.SKIPPED,
            "foreign": columns.FOREIGN,
            "stale_turns": columns.STALE_TURNS,
            "crossed_turns": columns.CROSSED_TURNS,
            "late": columns.LATE,
            "early": columns.EARLY,
        }
        return {name: self.counter(word) for name, word in names.items()}
