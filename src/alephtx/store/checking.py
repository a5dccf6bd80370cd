"""`check`: what any file or folder of data is worth, in one object."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from alephtx.store.catalogue import Catalogue, is_part, read_part, read_rows
from alephtx.store.damage import Damage, DataError
from alephtx.store.importing import Nowhere, Stream, choose, files_in, import_file
from alephtx.store.reading import Importer, Options, Rows
from alephtx.store.review import Review
from alephtx.store.ticks import is_ticks, open_ticks
from alephtx.store.unknown import why_unknown


class Checked(msgspec.Struct, kw_only=True):
    """What was found. The first figures are of all streams together.

    sideless: trades that do not say who took; damaged: places that cannot be read; span_ns: from
    the first to the last ts_recv of all.
    """

    path: str
    rows: int
    messages: int
    gaps: int
    crossed: int
    locked: int
    span_ns: int
    silent: int
    back: int
    sideless: int
    damaged: int
    streams: list[Stream]
    damages: list[Damage]
    notes: list[str]

    @property
    def sound(self) -> bool:
        """True when nothing is wrong with it."""
        return not (self.gaps or self.crossed or self.back or self.damaged)


class Check:
    """A check under way."""

    def __init__(
        self,
        importers: Sequence[Importer],
        options: Options,
        name: str = "",
        advance: Callable[[int, int], None] = lambda done, whole: None,
    ) -> None:
        self._importers, self._options, self._name = importers, options, name
        self._advance = advance
        self._streams: list[Stream] = []
        self._damages: list[Damage] = []
        self._damaged = 0
        self._notes: list[str] = []

    def run(self, path: Path) -> Checked:
        """Check a replay file, a catalogue or part of one, a foreign file, or a folder of those."""
        if not path.exists():
            raise DataError(f"{path} is not there", remedy="alephtx data ls shows what is")
        if path.is_dir():
            self._folder(path)
        else:
            self._file(path)
        reports = [stream.report for stream in self._streams if stream.report.rows]
        back = sum(r.clocks.event_back + r.clocks.recv_back for r in reports)
        back += sum(s.mended.get(n, 0) for s in self._streams for n in ("recv_back", "late"))
        return Checked(
            path=str(path),
            rows=sum(r.rows for r in reports),
            messages=sum(r.messages for r in reports),
            gaps=sum(r.gaps for r in reports),
            crossed=sum(r.crossed for r in reports),
            locked=sum(r.locked for r in reports),
            span_ns=max((r.last_ns for r in reports), default=0)
            - min((r.first_ns for r in reports), default=0),
            silent=sum(r.clocks.silent for r in reports),
            back=back,
            sideless=sum(r.sideless for r in reports),
            damaged=self._damaged,
            streams=self._streams,
            damages=self._damages,
            notes=self._notes,
        )

    def _folder(self, path: Path) -> None:
        catalogue = Catalogue(path)
        keys = catalogue.listed()
        for key in keys:
            self._guard(path, lambda key=key: self._review(key, catalogue.scan(key)))  # type: ignore[misc]
        files = [] if keys else files_in(path)
        for file in files:
            if self._known(file):
                self._guard(file, lambda file=file: self._file(file))  # type: ignore[misc]
            else:
                self._unknown(file)
        if not keys and not files:
            raise DataError(f"{path} is empty", remedy="alephtx data import fills it")

    def _known(self, path: Path) -> bool:
        ours = is_ticks(path) or (path.suffix == ".parquet" and is_part(path))
        return ours or bool(self._name) or any(one.sniff(path) for one in self._importers)

    def _unknown(self, path: Path) -> None:
        """Tell of a file that is of no format; one that is broken is damage."""
        found = why_unknown(path)
        if found.broken:
            self._damaged += 1
            self._damages.append(Damage(path.name, 0, "", found.problem))
        else:
            self._notes.append(f"{path.name} {found.problem}")

    def _guard(self, path: Path, look: Callable[[], None]) -> None:
        """Go on with the next where one of many cannot be read."""
        try:
            look()
        except DataError as error:
            self._damaged += 1
            self._damages.append(Damage(path.name, 0, "", str(error)))

    def _file(self, path: Path) -> None:
        if is_ticks(path):
            ticks = open_ticks(path)
            ticks.verify()
            self._review(ticks.instrument.key, ticks.events())
            self._advance(1, 1)
        elif path.suffix == ".parquet" and is_part(path):
            self._review(read_part(path)[0].key, read_rows(path))
        else:
            importer = choose(path, self._importers, self._name)
            found = import_file(path, importer, self._options, lambda _: Nowhere(), self._advance)
            self._streams += found.streams
            self._damaged += found.damaged
            self._damages += found.damages
            self._notes += found.notes

    def _review(self, key: str, chunks: Iterator[Rows]) -> None:
        review = Review()
        for rows in chunks:
            review.take(rows)
        self._streams.append(Stream(instrument=key, report=review.report(), mended={}))
