"""From a foreign file to streams: find its format, read it, arrange it, hand it to a sink.

A damage costs the rows it is in and nothing else: what was read before it, and after it where the
format lets a reader find its place again, is handed on.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from alephtx.core.instruments import Instrument
from alephtx.store.arrange import Arranger
from alephtx.store.catalogue import Catalogue, StreamWriter, source_id
from alephtx.store.damage import Damage, DataError
from alephtx.store.importers.own import RULES, Own
from alephtx.store.reading import Importer, Options, Reading, Rows
from alephtx.store.review import Report, Review
from alephtx.store.unknown import why_unknown

OPEN_MAX = 64
"""Streams of one file that are written at once; a file with more is told in turns."""


class Stream(msgspec.Struct, kw_only=True):
    """One instrument of a file. mended: what `store.arrange` had to put right."""

    instrument: str
    report: Report
    mended: dict[str, int]
    files: list[str] = []


class Imported(msgspec.Struct, kw_only=True):
    """What came of a file. damaged: places that were passed over; damages: the first of them."""

    file: str
    format: str
    rows: int
    messages: int
    streams: list[Stream]
    damaged: int
    damages: list[Damage]
    notes: list[str]


class Sink(Protocol):
    """Where streams go; what an unfinished one wrote is dropped."""

    def append(self, rows: Rows) -> None:
        """Take more rows of the stream."""
        ...

    def finish(self) -> Sequence[Path]:
        """Keep what was taken and return the files it is in."""
        ...

    def drop(self) -> None:
        """Forget what was taken."""
        ...


class Nowhere:
    """A sink for those who only want to know."""

    def append(self, rows: Rows) -> None:
        """Take rows."""

    def finish(self) -> Sequence[Path]:
        """Return no file."""
        return []

    def drop(self) -> None:
        """Forget nothing."""


class _AsIs:
    """Hands on a stream that was arranged before, as `Arranger` hands on what it arranged."""

    counts = dict.fromkeys(("recv_back", "late", "estimated", "unfit"), 0)

    def push(self, rows: Rows) -> list[Rows]:
        return [rows]

    def finish(self) -> list[Rows]:
        return []


class _Way:
    """One stream on its way from the importer to its sink."""

    def __init__(self, instrument: Instrument, sink: Sink, *, arranged: bool) -> None:
        self.instrument, self.sink = instrument, sink
        self.arranger = _AsIs() if arranged else Arranger()
        self.review = Review()

    def push(self, rows: Rows) -> None:
        for chunk in self.arranger.push(rows):
            self._take(chunk)

    def _take(self, rows: Rows) -> None:
        self.review.take(rows)
        self.sink.append(rows)

    def finish(self, reading: Reading) -> Stream:
        for chunk in self.arranger.finish():
            self._take(chunk)
        if unfit := self.arranger.counts["unfit"]:
            reading.damaged(
                0, "", f"{unfit:,} messages of {self.instrument.key} were left out: an impossible "
                "number, or a time an hour or more away from those around it",
            )  # fmt: skip
        files = [str(path) for path in self.sink.finish()]
        return Stream(
            instrument=self.instrument.key, report=self.review.report(),
            mended=self.arranger.counts, files=files,
        )  # fmt: skip


def files_in(folder: Path) -> list[Path]:
    """Return the files below a folder that may be data: not the rules that stand beside a CSV."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(RULES)
    )


def choose(path: Path, importers: Sequence[Importer], name: str = "") -> Importer:
    """Return the importer of a name, or the first that knows the file's looks."""
    if name:
        for importer in importers:
            if importer.name == name:
                return importer
        known = ", ".join(importer.name for importer in importers)
        raise DataError(f"no format {name!r}", remedy=f"known: {known}")
    if not path.is_file():
        raise DataError(f"{path} is no file", remedy="name a file, or a folder of files")
    for importer in importers:
        if importer.sniff(path):
            return importer
    raise why_unknown(path).error(path)


def import_file(
    path: Path,
    importer: Importer,
    options: Options,
    sink: Callable[[Instrument], Sink],
    advance: Callable[[int, int], None] = lambda done, whole: None,
) -> Imported:
    """Read a file whole and hand its streams to sinks.

    DataError when nothing of it could be read; else damages are counted and told.
    """
    reading = Reading(path, options, advance)
    ways: dict[str, _Way] = {}
    done: list[Stream] = []
    try:
        for instrument, rows in importer.read(path, reading):
            if not len(rows) or (options.only and instrument.symbol not in options.only):
                continue
            way = ways.get(instrument.key)
            if way is None:
                if len(ways) >= OPEN_MAX:
                    done.append(ways.pop(next(iter(ways))).finish(reading))
                way = ways[instrument.key] = _Way(
                    instrument, sink(instrument), arranged=isinstance(importer, Own)
                )
            way.push(rows)
        while ways:
            done.append(ways.pop(next(iter(ways))).finish(reading))
    finally:
        for way in ways.values():
            way.sink.drop()
    if not done:
        said = str(reading.damages.kept[0]) if reading.damages.kept else "it has no rows"
        raise DataError(
            f"nothing could be imported from {path} as {importer.name}: {said}",
            remedy="is the format right? --format names one",
        )
    return Imported(
        file=str(path), format=importer.name, rows=sum(s.report.rows for s in done),
        messages=sum(s.report.messages for s in done), streams=done,
        damaged=reading.damages.count, damages=reading.damages.kept, notes=reading.damages.notes,
    )  # fmt: skip


def into_catalogue(
    catalogue: Catalogue, path: Path, portion: str = ""
) -> Callable[[Instrument], StreamWriter]:
    """Return what makes sinks that write a source's streams into a catalogue.

    portion: which part of the file it is, where that may be imported beside others, see
    `ColumnsMap.portion`.
    """
    source = source_id(path)
    if portion:
        source = hashlib.blake2b(f"{source} {portion}".encode(), digest_size=8).hexdigest()
    return lambda instrument: catalogue.writer(instrument, source, path.name)
