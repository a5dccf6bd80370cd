"""The catalogue: streams as Parquet files, one folder per venue, instrument and day.

```
DATA/venue=binance_usdm/instrument=BTC-USDT-PERP/date=2024-08-08/<first ts_recv>-<source>.parquet
```

Columns are those of EVENT without `instrument`: ticks, lots and nanoseconds as integers. The rules
that turn them into prices are in each file's metadata, with the source and what was counted. A
source is named by a digest of its bytes: importing it again replaces its files. Any Parquet reader
can use the folder; `sql` asks DuckDB.
"""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alephtx.core.instruments import Instrument
from alephtx.core.records import EVENT
from alephtx.core.words import (
    CLEAR,
    GAP,
    LAST_IN_MESSAGE,
    ORDER_ADD,
    TICK_EXCHANGE,
    TICK_LOCAL,
)
from alephtx.store.damage import DataError
from alephtx.store.lanes import (
    Lane,
    Part,
    Piece,
    describe,
    factors,
    finest,
    kinds_in,
    lanes_of,
    rescaled,
)
from alephtx.store.weaving import woven

Rows = np.ndarray[Any, Any]

DAY_NS = 86_400_000_000_000
COLUMNS = ("ts_event", "ts_recv", "seq", "price", "qty", "kind", "side", "flags")
GROUP_ROWS = 1 << 18
VERSION = "1"
WHOLE = "whole"
"""What files are called that `store.compacting` made of several."""
_SCHEMA = pa.schema([(name, pa.from_numpy_dtype(EVENT[name])) for name in COLUMNS])
_STEADY = ("ts_event", "ts_recv", "seq")  # grow by little: stored as differences
INSTRUMENT_MARK, _PART = b"alephtx.instrument", b"alephtx.part"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument and day of the catalogue."""

    venue: str
    instrument: str
    date: str
    rows: int
    messages: int
    files: int
    bytes: int
    first_ns: int
    last_ns: int
    sources: list[str]


def source_id(path: Path) -> str:
    """Return the digest that names a source; about 1 GB/s."""
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def to_table(rows: Rows) -> pa.Table:
    """Return EVENT rows as an Arrow table of COLUMNS."""
    columns = [pa.array(np.ascontiguousarray(rows[name])) for name in COLUMNS]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def to_rows(batch: Any) -> Rows:
    """Return a table or record batch of COLUMNS as EVENT rows."""
    rows = np.zeros(batch.num_rows, EVENT)
    for name in COLUMNS:
        rows[name] = np.asarray(batch.column(name))
    return rows


class Draft:
    """One Parquet file under a temporary name."""

    def __init__(self, folder: Path, instrument: Instrument, first: Any, label: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / f".{label or os.getpid()}-{int(first['ts_recv'])}.part"
        schema = _SCHEMA.with_metadata({INSTRUMENT_MARK: msgspec.json.encode(instrument)})
        self._writer = pq.ParquetWriter(
            self.path, schema, compression="zstd", use_dictionary=["kind", "side", "flags"],
            column_encoding=dict.fromkeys(_STEADY, "DELTA_BINARY_PACKED"),
            write_page_checksum=True,
        )  # fmt: skip
        self.rows = self.messages = self.kinds = 0
        self.first = (int(first["ts_event"]), int(first["ts_recv"]))
        self.last = self.first

    def append(self, rows: Rows) -> None:
        """Write more rows; they begin and end with a message."""
        self._writer.write_table(to_table(rows), row_group_size=GROUP_ROWS)
        self.rows += len(rows)
        self.messages += int(np.count_nonzero(rows["flags"] & LAST_IN_MESSAGE))
        self.kinds |= kinds_in(np.unique(rows["kind"]).tolist())
        self.first = (min(self.first[0], int(rows["ts_event"].min())), self.first[1])
        self.last = (
            max(self.last[0], int(rows["ts_event"].max())),
            max(self.last[1], int(rows["ts_recv"].max())),
        )

    def close(self, **said: Any) -> Part:
        """Write what the file says of itself, and leave it under its temporary name."""
        part = Part(
            version=VERSION, rows=self.rows, messages=self.messages, first_event_ns=self.first[0],
            last_event_ns=self.last[0], first_recv_ns=self.first[1], last_recv_ns=self.last[1],
            kinds=self.kinds, **said,
        )  # fmt: skip
        self._writer.add_key_value_metadata({_PART: msgspec.json.encode(part)})
        self._writer.close()
        return part

    def finish(self, source: str, file: str, number: int) -> Path:
        """Write what the file says of itself, and give it its name."""
        self.close(source=source, file=file, number=number)
        path = self.folder / f"{self.first[1]:020d}-{source}.parquet"
        self.path.replace(path)
        return path

    def drop(self) -> None:
        """Leave nothing."""
        self._writer.close()
        self.path.unlink(missing_ok=True)


class StreamWriter:
    """Writes one stream of one source, a file a day; nothing is there before `finish`."""

    def __init__(self, root: Path, instrument: Instrument, source: str, file: str) -> None:
        self._home = root / f"venue={_quoted(instrument.venue)}" / (
            f"instrument={_quoted(_name(instrument))}"
        )  # fmt: skip
        for whole in self._home.glob(f"date=*/*.{WHOLE}.parquet"):
            if source in read_part(whole)[1].sources:
                raise DataError(
                    f"{file} is in the catalogue already, as a part of {whole}",
                    remedy="remove that file and import all of its sources to have them anew",
                )
        self._instrument, self._source, self._file = instrument, source, file
        self._drafts: list[Draft] = []
        self._day = -1
        self._latest = 0
        self.rows = 0

    def append(self, rows: Rows) -> None:
        """Write more rows of the stream; they begin and end with a message."""
        if not len(rows):
            return
        stamps = np.maximum.accumulate(np.maximum(rows["ts_event"], self._latest))
        self._latest = int(stamps[-1])
        days = stamps // DAY_NS
        # All rows of a message have one time, so a day begins with a message.
        cuts = (np.flatnonzero(np.diff(days)) + 1).tolist()
        for start, end in pairwise([0, *cuts, len(rows)]):
            self._append_day(int(days[start]), rows[start:end])
        self.rows += len(rows)

    def _append_day(self, day: int, rows: Rows) -> None:
        if day != self._day or not self._drafts:
            self._day = day
            name = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
            self._drafts.append(Draft(self._home / f"date={name}", self._instrument, rows[0]))
        self._drafts[-1].append(rows)

    def finish(self) -> list[Path]:
        """Give the files their names; files that this source had before are gone then."""
        written = [
            draft.finish(self._source, self._file, number)
            for number, draft in enumerate(self._drafts)
        ]
        for old in self._home.glob(f"date=*/*-{self._source}.parquet"):
            if old not in written:
                old.unlink()
        self._drafts = []
        return written

    def drop(self) -> None:
        """Leave nothing of what was written."""
        for draft in self._drafts:
            draft.drop()
        self._drafts = []


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _name(instrument: Instrument) -> str:
    """Return the part of a key behind its venue."""
    return instrument.key.removeprefix(f"{instrument.venue}:")


class Catalogue:
    """A data folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def writer(self, instrument: Instrument, source: str, file: str) -> StreamWriter:
        """Return a writer of one source's stream."""
        return StreamWriter(self.root, instrument, source, file)

    def files(self, key: str = "") -> list[Path]:
        """Return the files of an instrument, or all, by day and first time."""
        gone = set(self.replaced(key))
        return [path for path in self._lying(key) if path not in gone]

    def replaced(self, key: str = "") -> list[Path]:
        """Return files that still lie there, but that one made of several stands for."""
        wholes = [path for path in self._lying(key) if path.name.endswith(f".{WHOLE}.parquet")]
        named = [path.with_name(n) for path in wholes for n in read_part(path)[1].replaces]
        return [path for path in named if path.exists()]

    def _lying(self, key: str) -> list[Path]:
        folder = "venue=*/instrument=*"
        if key:
            venue, _, name = key.partition(":")
            folder = f"venue={_glob_safe(_quoted(venue))}/instrument={_glob_safe(_quoted(name))}"
        return sorted(self.root.glob(f"{folder}/date=*/*.parquet"))

    def entries(self) -> list[Entry]:
        """Return what is there, from the files' footers."""
        days: dict[Path, list[tuple[Path, Part]]] = {}
        for path in self.files():
            days.setdefault(path.parent, []).append((path, read_part(path)[1]))
        return [_entry(folder, parts) for folder, parts in sorted(days.items())]

    def listed(self) -> list[str]:
        """Return the instruments that are there."""
        found = {path.parts[-4:-2] for path in self.files()}
        return sorted(f"{_value(venue)}:{_value(name)}" for venue, name in found)

    def instrument(self, key: str) -> Instrument:
        """Return an instrument's rules: those of its newest file, on the finest scales of all."""
        return finest([piece.instrument for piece in self._pieces(key)])

    def _pieces(self, key: str) -> list[Piece]:
        """Return an instrument's files by their first times; DataError without one."""
        files = self.files(key)
        if not files:
            known = ", ".join(self.listed()[:12])
            raise DataError(
                f"no data of {key} in {self.root}", remedy=f"there is: {known or 'none'}"
            )
        return [Piece(path, *read_part(path)) for path in files]

    def scan(self, key: str, first: str = "", last: str = "") -> Iterator[Rows]:
        """Yield an instrument's stream, renumbered, from one date to another (both included).

        Sources that overlap are woven into one stream where they hold different kinds of rows, such
        as a book and its trades (`store.weaving`), and refused where both tell the same. Where one
        source of the book follows another, or the stream begins in the middle of one, a GAP row
        says that the book is not known until the next CLEAR.
        """
        lanes, finer = self.lanes(key, first, last)
        number = 0
        for rows in _together(lanes, finer):
            number = renumber(rows, number)
            yield rows

    def lanes(self, key: str, first: str = "", last: str = "") -> tuple[list[Lane], Instrument]:
        """Return an instrument's files in their lanes, and its rules on the finest scales."""
        pieces = self._pieces(key)
        finer, level = finest([piece.instrument for piece in pieces]), describe(pieces, _kinds_of)
        between = [
            piece for piece in pieces
            if (date := _value(piece.path.parent.name)) >= first and (not last or date <= last)
        ]  # fmt: skip
        return lanes_of(between, level), finer

    def table(self, key: str) -> pa.Table:
        """Return an instrument's rows as one Arrow table, for frames.

        `polars.from_arrow` takes it without a copy, `table.to_pandas` column by column. Files that
        follow one another are taken as they are, without new numbers of messages; those that
        overlap are woven together first.
        """
        lanes, finer = self.lanes(key)
        pieces = lanes[0].pieces
        if len(lanes) > 1 or any(factors(p.instrument, finer) != (1, 1) for p in pieces):
            return pa.concat_tables(to_table(rows) for rows in self.scan(key))
        return pa.concat_tables(
            pq.read_table(piece.path, columns=list(COLUMNS), partitioning=None) for piece in pieces
        )


def _glob_safe(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _value(folder: str) -> str:
    return unquote(folder.partition("=")[2])


def _entry(folder: Path, parts: list[tuple[Path, Part]]) -> Entry:
    return Entry(
        venue=_value(folder.parts[-3]), instrument=_value(folder.parts[-2]),
        date=_value(folder.name), rows=sum(part.rows for _, part in parts),
        messages=sum(part.messages for _, part in parts), files=len(parts),
        bytes=sum(path.stat().st_size for path, _ in parts),
        first_ns=min(part.first_recv_ns for _, part in parts),
        last_ns=max(part.last_recv_ns for _, part in parts),
        sources=sorted({part.file for _, part in parts}),
    )  # fmt: skip


def renumber(rows: Rows, number: int) -> int:
    """Give messages numbers from `number` on and return the next; orders keep their ids."""
    ends = (rows["flags"] & LAST_IN_MESSAGE) != 0
    before = np.cumsum(ends) - ends
    by_message = rows["kind"] < ORDER_ADD
    rows["seq"] = np.where(by_message, before + number, rows["seq"])
    return number + int(np.count_nonzero(ends))


def _together(lanes: list[Lane], finer: Instrument) -> Iterator[Rows]:
    """Yield the rows of lanes as one stream that is not numbered yet."""
    if len(lanes) < 2:
        return (rows for lane in lanes for rows in rows_in_turn(lane.pieces, finer))
    return woven([lambda lane=lane: rows_in_turn(lane.pieces, finer) for lane in lanes])  # type: ignore[misc]


def rows_in_turn(pieces: list[Piece], finer: Instrument) -> Iterator[Rows]:
    """Yield the rows of files one behind the other, not numbered yet, on finer scales."""
    for piece in pieces:
        by, begun = factors(piece.instrument, finer), False
        for whole in read_rows(piece.path):
            rows = _without_gaps(whole) if piece.deaf else whole
            if piece.gap and not begun and len(rows) and int(rows[0]["kind"]) != CLEAR:
                yield _gap_before(rows)
            begun = begun or len(rows) > 0
            yield rescaled(rows, by, piece.path) if by != (1, 1) else rows


def _without_gaps(rows: Rows) -> Rows:
    """Return rows without the GAP rows that are messages of their own."""
    ends = (rows["flags"] & LAST_IN_MESSAGE) != 0
    alone = ends & np.append(True, ends[:-1]) & (rows["kind"] == GAP)
    return rows[~alone] if alone.any() else rows


def _gap_before(rows: Rows) -> Rows:
    """Return a GAP row that is no later than the first of these on either clock."""
    made = np.zeros(1, EVENT)
    for name, other in (("ts_event", TICK_LOCAL), ("ts_recv", TICK_EXCHANGE)):
        stamps = rows[name][(rows["flags"] & other) == 0]
        made[name] = stamps[0] if len(stamps) else rows[0][name]
    made["kind"], made["flags"] = GAP, LAST_IN_MESSAGE
    return made


def _kinds_of(path: Path) -> int:
    """Read a file for the kinds of its rows, where it was written without saying them."""
    try:
        column = pq.read_table(path, columns=["kind"], partitioning=None).column("kind")
        return kinds_in(column.unique().to_pylist())
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}", remedy="import its source anew") from None


def read_part(path: Path) -> tuple[Instrument, Part]:
    """Return what a file of the catalogue says of itself; DataError when it is none."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return (
            msgspec.json.decode(metadata[INSTRUMENT_MARK], type=Instrument),
            msgspec.json.decode(metadata[_PART], type=Part),
        )
    except (pa.ArrowException, OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy="import it anew") from None
    except KeyError:
        raise DataError(
            f"{path} is no file of a catalogue", remedy="alephtx data import makes them"
        ) from None


def is_part(path: Path) -> bool:
    """Say whether a file is one of a catalogue."""
    try:
        read_part(path)
    except DataError:
        return False
    return True


def read_rows(path: Path) -> Iterator[Rows]:
    """Yield a file's rows, whole messages in each chunk; DataError at a damage."""
    rest, count = np.zeros(0, EVENT), 0
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for batch in file.iter_batches(GROUP_ROWS, columns=list(COLUMNS)):
            rows = np.concatenate([rest, to_rows(batch)])
            count += batch.num_rows
            ends = np.flatnonzero(rows["flags"] & LAST_IN_MESSAGE)
            cut = int(ends[-1]) + 1 if len(ends) else 0
            rest = rows[cut:]
            if cut:
                yield rows[:cut]
        if count != file.metadata.num_rows:  # a page that says it is empty is no error to Arrow
            raise ValueError(f"{count} rows of {file.metadata.num_rows}")
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}", remedy="import its source anew") from None
    if len(rest):
        raise DataError(f"{path} ends within a message", remedy="import its source anew")
