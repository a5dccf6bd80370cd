"""The feeder's hand on the matrix: its books, its flags, its beat and its counters."""

from typing import Any

import numpy as np

from alephtx.core.clock import Clock
from alephtx.core.ports import Rows, VenueSpec
from alephtx.core.records import EVENT, TOP_ROW
from alephtx.core.words import GAP, LAST_IN_MESSAGE, RESYNCING, STALE
from alephtx.feed import intake as columns
from alephtx.feed.intake import look_after, make_intake, take_in
from alephtx.feed.join import join_reset, join_snapshot
from alephtx.matrix.book import make_books
from alephtx.matrix.publish import make_publish_state, publish
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_flag


class Outlet:
    """One venue's way into the matrix. Everything here runs on the feeder's loop.

    venue: index of the venue in the matrix. The constructor raises the venue's epoch, so that
    readers tell this feeder's rows from its predecessor's, and flags every instrument.
    """

    def __init__(self, matrix: Matrix, spec: VenueSpec, venue: int, clock: Clock) -> None:
        self.matrix = matrix
        self.map = matrix.map
        self.venue = venue
        self.rule = int(spec.join)
        self.instruments = matrix.instruments.of_venue(spec.name)
        self._clock = clock
        self._offset_ns = clock.now() - clock.monotonic()
        count = len(matrix.instruments)
        self.books = make_books(count)
        self.state = make_publish_state(count)
        self.intake = make_intake(count)
        self._indices = np.array(self.instruments, np.int64)
        self._out = np.zeros(max(1, len(self.instruments)), np.int64)
        self._top = np.zeros(1, TOP_ROW)
        self._row = np.zeros(1, EVENT)

    def take_in(self, link: int, rows: Rows, n: int) -> int:
        """Judge and publish a frame's rows; return how many rows of `verdicts` are to be read."""
        return int(
            take_in(
                self.map,
                self.venue,
                self.rule,
                link,
                self._offset_ns,
                self.books,
                self.state,
                self.intake,
                rows,
                n,
            )
        )

    def verdicts(self, count: int) -> list[list[int]]:
        """Return (from, to, verdict, instrument) of the messages left by the last `take_in`."""
        found: list[list[int]] = self.intake.verdicts[:count].tolist()
        return found

    def publish(self, rows: Rows) -> None:
        """Publish one message's rows past the join."""
        publish(self.map, self.venue, self.books, rows, len(rows), self.state)

    def gap(self, i: int, *, stale: bool) -> None:
        """Tell readers that an instrument's book is lost until its next snapshot."""
        row = self._row[0]
        row["instrument"], row["kind"], row["flags"] = i, GAP, LAST_IN_MESSAGE
        row["ts_recv"] = self._clock.now()
        self.publish(self._row)
        join_reset(self.intake.states, i)
        self.intake.link_of[i] = -1
        if stale:
            self.intake.stale[i] = 1
        top_flag(self.map, i, RESYNCING | STALE if stale else RESYNCING, 0)

    def seeded(self, i: int, last_update_id: int) -> None:
        """Start the sequence of an instrument whose snapshot was published; its book is fresh."""
        join_snapshot(self.intake.states, i, last_update_id)
        self.intake.seen_ns[i] = self._clock.monotonic()
        self.intake.stale[i] = 0
        top_flag(self.map, i, 0, STALE)

    def look_after(self, writer: int, stale_ns: int, crossed_max_ns: int) -> list[int]:
        """Beat and flag the silent; return the instruments whose book stays crossed."""
        count = look_after(
            self.map,
            writer,
            self.intake,
            self._indices,
            stale_ns,
            crossed_max_ns,
            self._top,
            self._out,
        )
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
        }
        return {name: self.counter(word) for name, word in names.items()}
