"""A session that traded, read back from its run directory: what it heard, sent and was told.

    session = read_session(run)

The market comes from the run's raw recordings, through the codec and join rules that the feeder
used; orders, reports and money from its journal; when strategies began and ended from its input
log.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alephtx.analysis.story import Story
from alephtx.core import words
from alephtx.core.config import load_config
from alephtx.core.config_schema import Config
from alephtx.core.errors import AlephError, JournalError, SimulationError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows, Venue
from alephtx.core.records import EVENT, INTENT, UPDATE
from alephtx.engine.context import RING_COMMAND
from alephtx.engine.ingest import SNAPSHOT_MARK, VenueDecoder
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.swap_door import switched
from alephtx.engine.venues import load_venue
from alephtx.feed.record import SUFFIX, read_recording
from alephtx.matrix import journal
from alephtx.matrix.inputlog import RING_SHIFT, read_rows
from alephtx.store.arrange import Arranger
from alephtx.store.reading import Reading


class Session(NamedTuple):
    """See the module. Times of the engine are its own clock's, those of `ts_event` the venue's.

    tapes: EVENT rows of each instrument, none of those without a recording; of a simulated venue,
    which sends recorded messages and trades on what it has sent, dated when they were sent, as
    nearly as we know: when we heard them. intents: the INTENT
    rows that passed the gate. updates: UPDATE rows, in the order heard; taken: when the engine took
    each. blocked: from when to when
    the session could not trade as it wanted. notes: what a reader should know.
    """

    run: str
    mode: str
    config: Config
    instruments: Instruments
    tapes: list[Rows]
    intents: Rows
    updates: Rows
    taken: Rows
    story: Story
    started_ns: int
    ended_ns: int
    blocked: list[tuple[int, int]]
    notes: list[str]

    @property
    def traded(self) -> list[int]:
        """The instruments that strategies name."""
        named = {key for one in self.config.strategies.values() for key in one.instruments}
        return [i for i, one in enumerate(self.instruments) if one.key in named]


def read_session(run: RunDirectory) -> Session:
    """Read a run of one life whose venues were recorded; errors say what is missing."""
    if run.alive:
        raise SimulationError(f"run {run.id} still goes", remedy="end it first: Ctrl-C there")
    summary = run.read_as(run.summary, dict[str, Any]) or {}
    mode = str(summary.get("mode", ""))
    if mode not in ("paper", "live"):
        said = f"is a {mode} run" if mode else "did not end"
        raise SimulationError(
            f"run {run.id} {said}", remedy="sessions of `alephtx run` and `demo` can be compared"
        )
    config, notes = load_config(run.config), list[str]()
    instruments = Instruments.from_json(run.instruments.read_bytes())
    records = _Unswapped(run, notes)
    intents, updates, taken, story, lives, blocked = _read_journal(records, len(instruments))
    if not len(intents):
        raise SimulationError(f"run {run.id} sent no order", remedy="there is nothing to compare")
    if lives != 1:
        raise SimulationError(
            f"run {run.id} had {lives} lives", remedy="compare a run that was not taken up again"
        )
    started, ended = _life(run, intents, updates)
    ended = min(ended, records.cut_ns)
    session = Session(
        run.id, mode, config, instruments, [], intents, updates, taken, story, started, ended,
        blocked, notes,
    )  # fmt: skip
    traded = session.traded
    for i, instrument in enumerate(instruments):
        rows = np.zeros(0, EVENT)
        if i in traded:
            venue = load_venue(instrument.venue, config.node.plugins)
            rows = _tape(run, venue, instruments, i, ended, notes)
        if mode == "paper" or config.venues[instrument.venue].environment == "twin":
            rows = _as_heard(rows)
        session.tapes.append(rows)
    return session


class _Unswapped:
    """The records of a run's journal up to the first swap; cut_ns: when that was.

    What came after it, the file that the config names did not do.
    """

    def __init__(self, run: RunDirectory, notes: list[str]) -> None:
        self.run, self.notes, self.cut_ns = run, notes, 1 << 62

    def __iter__(self) -> Iterator[journal.Record]:
        for record in journal.read(self.run.journal):
            if record.kind == journal.COMMAND and (name := switched(record.payload)):
                self.cut_ns = record.ts
                when = datetime.fromtimestamp(record.ts // 10**9, UTC).strftime("%H:%M:%S")
                self.notes.append(
                    f"strategy {name} was swapped at {when} UTC: the session is compared up to then"
                )
                return
            yield record


def _read_journal(
    records: Iterable[journal.Record], count: int
) -> tuple[Rows, Rows, Rows, Story, int, list[tuple[int, int]]]:
    intents, updates, taken = [np.zeros(0, INTENT)], [np.zeros(0, UPDATE)], list[int]()
    story, lives, blocked = Story(count), 0, list[tuple[int, int]]()
    since: dict[int, int] = {}
    for record in records:
        story.apply(record.kind, record.payload, record.ts)
        if record.kind == journal.EPOCH:
            lives += 1
        elif record.kind == journal.COMMAND:
            blocked.append((record.ts, 1 << 62))  # a limit that was changed stays so
        elif record.kind == journal.INTENT:
            rows = np.frombuffer(record.payload, INTENT)
            intents.append(rows[rows["verdict"] == words.PASS])
        elif record.kind == journal.UPDATE:
            rows = np.frombuffer(record.payload, UPDATE).copy()
            rows["ts_recv"] = np.where(rows["ts_recv"] == 0, record.ts, rows["ts_recv"])
            updates.append(rows)
            taken += [record.ts] * len(rows)
            for row in rows[np.isin(rows["kind"], (words.RESYNC_BEGIN, words.RESYNC_END))]:
                account = int(row["account"])
                if row["kind"] == words.RESYNC_BEGIN:
                    since.setdefault(account, record.ts)
                elif account in since:
                    blocked.append((since.pop(account), record.ts))
    at = np.array(taken, np.int64)
    return np.concatenate(intents), np.concatenate(updates), at, story, lives, blocked


def _life(run: RunDirectory, intents: Rows, updates: Rows) -> tuple[int, int]:
    """Return when strategies began and ended, by the commands in the input log."""
    try:
        _, inputs = read_rows(run.inputs)
    except JournalError:  # live runs may keep none
        inputs = np.zeros(0, [("now", "<i8"), ("word", "<i8")])
    commands = inputs["now"][inputs["word"] >> RING_SHIFT & 0xFF == RING_COMMAND]
    first, last = int(intents["ts_intent"][0]), int(updates["ts_recv"].max())
    return (int(commands[0]) if len(commands) else first), (
        int(commands[-1]) if len(commands) > 1 else last
    )


# -- the market --------------------------------------------------------------------------------


def recordings_of(run: RunDirectory, venue: str, symbol: str) -> list[Path]:
    """Return the files of a symbol's channel, in the order of their making."""
    safe = "".join(c if c.isalnum() else "_" for c in symbol)
    return sorted(run.recordings.glob(f"{venue}-{safe}-*Z-*{SUFFIX}"))


def _tape(
    run: RunDirectory,
    venue: Venue,
    instruments: Instruments,
    i: int,
    ended: int,
    notes: list[str],
) -> Rows:
    """Return the EVENT rows that a feeder heard of an instrument until the strategies' end."""
    instrument = instruments[i]
    files = recordings_of(run, instrument.venue, instrument.symbol)
    if not files:
        raise SimulationError(
            f"run {run.id} has no recording of {instrument.key}",
            remedy=f"set record = true in [venues.{instrument.venue}] and run again",
        )
    # Read twice, rather than held: a day's frames are larger than memory.
    snapshots = sum(frame.startswith(SNAPSHOT_MARK) for _, frame in _frames(files, ended, notes))
    damaged: dict[str, int] = defaultdict(int)
    reading = Reading(files[0])
    codec = venue.bind(Instruments([instrument]), None, 0)
    decoder, arranger, parts = VenueDecoder(codec, reading, snapshots), Arranger(), list[Rows]()

    def drain(stream: Any) -> None:
        for found, rows in stream:
            if found.key == instrument.key:
                parts.extend(chunk.copy() for chunk in arranger.push(rows))

    for stamp, frame in _frames(files, ended, []):
        if problem := decoder.take(stamp, frame):
            damaged[problem] += 1
        if decoder.waiting > 1 << 17:
            drain(decoder.flush())
    drain(decoder.finish())
    parts.extend(chunk.copy() for chunk in arranger.finish())
    notes += [f"{instrument.key}: {count} frames: {said}" for said, count in damaged.items()]
    rows = np.concatenate([np.zeros(0, EVENT), *parts])
    if not len(rows):
        raise SimulationError(
            f"the recording of {instrument.key} holds no market", remedy="see its frames with zstd"
        )
    return rows


def _as_heard(rows: Rows) -> Rows:
    """Return a stream as if it had been sent when we heard it: in our order, each message once."""
    rows = rows[rows["flags"] & words.TICK_EXCHANGE == 0].copy()
    rows["flags"] &= ~words.TICK_LOCAL & 0xFF
    rows["ts_event"] = rows["ts_recv"]
    return rows


def _frames(files: list[Path], ended: int, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield the frames heard before the end; a damaged file ends where it is damaged."""
    for path in files:
        try:
            yield from takewhile(lambda frame: frame[0] <= ended, read_recording(path))
        except AlephError as error:
            notes.append(str(error))
