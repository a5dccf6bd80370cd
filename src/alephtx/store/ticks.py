"""Replay files: one instrument's stream, rows of fixed size, read by mapping them into memory.

```
0      magic, version, size of the header, row kind and size, count, base and units, counts, digest
       of the rows, instrument as JSON; then the digest of the header itself, which ends it
4096n  rows, TICK (32 bytes) where all of them fit exactly, else EVENT (48 bytes)
```

A file is written under another name and renamed when it is whole, so that a reader meets all of it
or nothing. The header is checked at every opening, with the file's length; the rows by `verify`,
which costs a reading (about 1 GB/s).
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core.instruments import Instrument
from alephtx.core.records import EVENT, TICK
from alephtx.store import pack as p
from alephtx.store.damage import DataError
from alephtx.store.review import Review

Rows = np.ndarray[Any, Any]

MAGIC = b"ALEPHTIX"
VERSION = 1
PAGE = 4096
HEADER_BYTES_MAX = 1 << 20
SUFFIX = ".ticks"
CHUNK_ROWS = 1 << 18

_FIXED = struct.Struct("<8sIIIIIIqqqqqqqqqqq32s")
_DIGEST_BYTES = 32
_KINDS = {1: TICK, 2: EVENT}
_CODES = {TICK: 1, EVENT: 2}


class TickHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay file says of itself. row_kind: "tick" or "event"; times in ns; digest: hex."""

    version: int
    row_kind: str
    count: int
    messages: int
    price_base: int
    price_unit: int
    qty_unit: int
    gaps: int
    crossed: int
    first_event_ns: int
    last_event_ns: int
    first_recv_ns: int
    last_recv_ns: int
    digest: str
    instrument: Instrument


class Ticks:
    """An open replay file; rows are a read-only map, TICK or EVENT. Close it by dropping it."""

    def __init__(self, path: Path, header: TickHeader, rows: Rows) -> None:
        self.path, self.header, self.rows = path, header, rows
        self.instrument = header.instrument
        self.price_base, self.price_unit = header.price_base, header.price_unit
        self.qty_unit = header.qty_unit
        self.gaps, self.crossed = header.gaps, header.crossed
        self.first_event_ns, self.last_event_ns = header.first_event_ns, header.last_event_ns
        self.first_recv_ns, self.last_recv_ns = header.first_recv_ns, header.last_recv_ns

    def __len__(self) -> int:
        return len(self.rows)

    def events(self, chunk_rows: int = CHUNK_ROWS) -> Iterator[Rows]:
        """Yield the rows as EVENT arrays, each of a few messages; the caller may keep them."""
        for start in range(0, len(self.rows), chunk_rows):
            part = self.rows[start : start + chunk_rows]
            if self.rows.dtype == EVENT:
                yield np.array(part)
            else:
                out = np.zeros(len(part), EVENT)
                p.unpack(part, len(part), self.price_base, self.price_unit, self.qty_unit, out)
                yield out

    def verify(self) -> None:
        """Read all rows; DataError when they are not those that were written."""
        digest = _new_digest()
        for start in range(0, len(self.rows), CHUNK_ROWS):
            digest.update(_bytes_of(self.rows[start : start + CHUNK_ROWS]))
        if digest.hexdigest() != self.header.digest:
            raise DataError(
                f"{self.path}: its rows are not those that were written (digest "
                f"{digest.hexdigest()[:16]}, header {self.header.digest[:16]})",
                remedy="a disk or a copy damaged it: import or export it anew",
            )


def _new_digest() -> Any:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def _bytes_of(rows: Rows) -> memoryview:
    data: Any = np.ascontiguousarray(rows).view(np.uint8)
    return memoryview(data)


class _Draft:
    """A file under a temporary name; `finish` writes its header and gives it its own."""

    def __init__(self, path: Path, instrument: Instrument, kind: np.dtype[Any]) -> None:
        self.path, self.kind = path, kind
        self.draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._json = msgspec.json.encode(instrument)
        whole = _FIXED.size + len(self._json) + _DIGEST_BYTES
        self.header_bytes = -(-whole // PAGE) * PAGE
        self.digest = _new_digest()
        try:
            self._file = self.draft.open("wb")
            self._file.write(bytes(self.header_bytes))
        except OSError as error:
            raise DataError(
                f"cannot write {self.draft}: {error.strerror}", remedy="is its folder there?"
            ) from error

    def append(self, rows: Rows) -> None:
        data = _bytes_of(rows)
        self.digest.update(data)
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def finish(self, numbers: tuple[int, ...]) -> None:
        """Write the header, make all durable, and rename. numbers: the header's eleven words."""
        digest = self.digest.digest()
        fixed = _FIXED.pack(
            MAGIC, VERSION, self.header_bytes, _CODES[self.kind], self.kind.itemsize,
            len(self._json), 0, *numbers, digest,
        )  # fmt: skip
        body = (fixed + self._json).ljust(self.header_bytes - _DIGEST_BYTES, b"\0")
        self._file.seek(0)
        self._file.write(body + hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.draft.replace(self.path)

    def drop(self) -> None:
        self._file.close()
        self.draft.unlink(missing_ok=True)


def write_ticks(path: Path, instrument: Instrument, rows: Rows | Iterable[Rows]) -> TickHeader:
    """Write a stream to a replay file and return its header.

    rows: EVENT, whole or chunk by chunk (then in bounded memory: EVENT rows are written first and
    packed in a second pass). DataError names a row that has no place in a stream; an existing file
    stays as it is until the new one is whole.
    """
    path = Path(path)
    if isinstance(rows, np.ndarray):
        return _write_whole(path, instrument, rows)
    sink = TickSink(path, instrument)
    try:
        for chunk in rows:
            sink.append(chunk)
        sink.finish()
    finally:
        sink.drop()
    return read_header(path)


def _write_whole(path: Path, instrument: Instrument, rows: Rows) -> TickHeader:
    state, review = p.make_survey(), Review()
    for start in range(0, len(rows), CHUNK_ROWS):
        _take(path, rows[start : start + CHUNK_ROWS], state, review)
    _check_end(path, state)
    units = p.units_of(state)
    draft = _Draft(path, instrument, EVENT if units is None else TICK)
    try:
        if units is None:
            draft.append(rows)
        else:
            _pack_into(draft, rows, units)
        draft.finish(_numbers(state, review, units or (0, 1, 1)))
    finally:
        draft.drop()
    return read_header(path)


def _take(path: Path, rows: Rows, state: Rows, review: Review) -> None:
    if rows.dtype != EVENT:
        raise DataError(f"{path}: rows of {rows.dtype} cannot be written", remedy="give EVENT rows")
    before = int(state[p.COUNT])
    at = p.survey(rows, len(rows), state)
    if at >= 0:
        raise DataError(
            f"row {before + at} cannot be written to {path}: {p.WRONGS[int(state[p.WRONG])]}",
            remedy="arrange the rows first (store.arrange)",
        )
    review.take(rows)


def _check_end(path: Path, state: Rows) -> None:
    if state[p.OPEN]:
        raise DataError(
            f"the last row for {path} does not end its message", remedy="flag it LAST_IN_MESSAGE"
        )


def _pack_into(draft: _Draft, rows: Rows, units: tuple[int, int, int]) -> None:
    out = np.zeros(min(CHUNK_ROWS, max(1, len(rows))), TICK)
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        p.pack(part, len(part), *units, out)
        draft.append(out[: len(part)])


def _numbers(state: Rows, review: Review, units: tuple[int, int, int]) -> tuple[int, ...]:
    known = bool(state[p.COUNT])
    times = [state[p.FIRST_EVENT], state[p.EVENT_NS], state[p.FIRST_RECV], state[p.RECV_NS]]
    return (
        int(state[p.COUNT]), int(state[p.MESSAGES]), *units, review.gaps, review.crossed,
        *(int(time) if known else 0 for time in times),
    )  # fmt: skip


class TickSink:
    """Takes a stream chunk by chunk into a replay file: `append` .. `finish`, or `drop`.

    As `write_ticks` of an iterator, for those who are handed the chunks.
    """

    def __init__(self, path: Path, instrument: Instrument) -> None:
        self.path, self._instrument = path, instrument
        self._state, self._review = p.make_survey(), Review()
        self._draft = _Draft(path, instrument, EVENT)

    def append(self, rows: Rows) -> None:
        """Write more rows."""
        _take(self.path, rows, self._state, self._review)
        self._draft.append(rows)

    def finish(self) -> list[Path]:
        """Pack what fits, write the header and give the file its name."""
        try:
            _check_end(self.path, self._state)
            units = p.units_of(self._state)
            if units is None or not self._state[p.COUNT]:
                self._draft.finish(_numbers(self._state, self._review, (0, 1, 1)))
            else:
                self._narrow(units)
        finally:
            self.drop()
        return [self.path]

    def _narrow(self, units: tuple[int, int, int]) -> None:
        self._draft.flush()
        shape = (int(self._state[p.COUNT]),)
        wide = np.memmap(self._draft.draft, EVENT, "r", self._draft.header_bytes, shape)
        narrow = _Draft(self.path.with_name(f"{self.path.name}.narrow"), self._instrument, TICK)
        narrow.path = self.path
        try:
            _pack_into(narrow, wide, units)
            narrow.finish(_numbers(self._state, self._review, units))
        finally:
            narrow.drop()

    def drop(self) -> None:
        """Leave nothing under the temporary name."""
        self._draft.drop()


def read_header(path: Path) -> TickHeader:
    """Return the header of a replay file, checked against its digest and the file's length."""
    return _open(Path(path))[0]


def open_ticks(path: Path) -> Ticks:
    """Map a replay file; DataError when it is foreign, damaged in its header, or cut short."""
    path = Path(path)
    header, offset = _open(path)
    kind = TICK if header.row_kind == "tick" else EVENT
    if header.count == 0:
        return Ticks(path, header, np.zeros(0, kind))
    return Ticks(path, header, np.memmap(path, kind, "r", offset, (header.count,)))


def is_ticks(path: Path) -> bool:
    """Say whether a file begins as a replay file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _open(path: Path) -> tuple[TickHeader, int]:
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            head = file.read(_FIXED.size)
            if len(head) < _FIXED.size or head[: len(MAGIC)] != MAGIC:
                raise DataError(f"{path} is no replay file", remedy="alephtx data import makes one")
            version, size = struct.unpack_from("<II", head, len(MAGIC))
            if version != VERSION:
                raise DataError(
                    f"{path} is a replay file of version {version}; this AlephTX reads {VERSION}",
                    remedy="write it anew from its source",
                )
            if not PAGE <= size <= HEADER_BYTES_MAX or size % PAGE:
                raise _damaged(path)
            head += file.read(size - len(head))
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}", remedy="alephtx data ls shows what is there"
        ) from error
    if len(head) < size:
        raise _cut(path, length, size)
    return _decode(path, head, length), size


def _decode(path: Path, head: bytes, length: int) -> TickHeader:
    body, digest = head[:-_DIGEST_BYTES], head[-_DIGEST_BYTES:]
    if hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        raise _damaged(path)
    _, version, size, code, row_bytes, json_bytes, _, *numbers, rows = _FIXED.unpack_from(head)
    kind = _KINDS.get(code)
    if kind is None or row_bytes != kind.itemsize:
        raise _damaged(path)
    wanted = size + numbers[0] * row_bytes
    if length != wanted:
        raise _cut(path, length, wanted)
    try:
        instrument = msgspec.json.decode(
            body[_FIXED.size : _FIXED.size + json_bytes], type=Instrument
        )
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{path}: its instrument cannot be read: {error}", remedy="write it anew"
        ) from None
    count, messages, base, unit, qty_unit, gaps, crossed, *times = numbers
    return TickHeader(
        version=version, row_kind="tick" if kind == TICK else "event", count=count,
        messages=messages, price_base=base, price_unit=unit, qty_unit=qty_unit, gaps=gaps,
        crossed=crossed, first_event_ns=times[0], last_event_ns=times[1],
        first_recv_ns=times[2], last_recv_ns=times[3], digest=rows.hex(), instrument=instrument,
    )  # fmt: skip


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: the header is damaged", remedy="import or export it anew")


def _cut(path: Path, length: int, wanted: int) -> DataError:
    return DataError(
        f"{path} has {length} bytes where its header wants {wanted}",
        remedy="it was cut or added to: copy, import or export it anew",
    )
