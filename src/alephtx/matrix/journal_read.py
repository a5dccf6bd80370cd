"""Read a journal: all of it, or as it grows, from any process. Never blocks or writes.

Segments are read with pread, never mapped: a writer may cut the unused end of a finished segment,
and a mapped reader would die of it.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from alephtx.core.errors import JournalError
from alephtx.matrix.journal_format import (
    BAD_SEQ,
    BAD_SHORT,
    GRAIN,
    RECORD_HEADER,
    SegmentHeader,
    boot_id,
    decode_header,
    last_word,
    record_after,
    record_check,
    records_scan,
)

SUFFIX = ".seg"
CHUNK = 1 << 18
_HEAD = struct.Struct(
    "<IHH8xqqq"
)  # payload bytes, kind, version, crc and zeros, seq, input_seq, ts


class Record(NamedTuple):
    """One record; payload is a read-only view, `np.frombuffer(payload, UPDATE)` reads rows."""

    seq: int
    kind: int
    version: int
    input_seq: int
    ts: int
    payload: memoryview


class Walk(NamedTuple):
    """Where the good records of one segment end."""

    end: int  # offset in the file
    next_seq: int
    torn_bytes: int
    lost_records: int  # good records behind a hole that a crash of the host left


def segment_path(directory: Path, number: int) -> Path:
    """Return where a segment lives."""
    return directory / f"{number:08d}{SUFFIX}"


def list_segments(directory: Path) -> list[Path]:
    """Return a journal's segments in order; JournalError when one is missing."""
    try:
        names = sorted(path.name for path in directory.iterdir() if path.suffix == SUFFIX)
    except OSError as error:
        raise JournalError(
            f"journal {directory} cannot be read: {error.strerror}",
            remedy="check the path and its permissions",
        ) from error
    for number, name in enumerate(names, 1):
        if name != segment_path(directory, number).name:
            raise JournalError(
                f"journal {directory}: segment {number:08d}{SUFFIX} is missing (found {name})",
                remedy="restore the missing segment from a copy",
            )
    return [directory / name for name in names]


def read_header(path: Path) -> SegmentHeader:
    """Read one segment's header, and check that it sits in the right file."""
    try:
        with path.open("rb") as file:
            data = file.read(4096)
            if len(data) >= 16:
                size = min(int.from_bytes(data[12:16], "little"), 1 << 28)
                data += file.read(max(0, size - len(data)))
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error
    header = decode_header(data, str(path))
    if segment_path(path.parent, header.number) != path:
        raise JournalError(
            f"{path}: the file holds segment {header.number}",
            remedy="segments were renamed or swapped; give them their own names back",
        )
    return header


def walk_segment(path: Path, header: SegmentHeader, *, repair: bool) -> Walk:
    """Check every record of one segment, and find where they end.

    A torn end is what a killed writer leaves: junk with no good record behind it. A good record
    behind a bad one is corruption, save with `repair` when the machine has been restarted since:
    then pages beyond the last sync may be lost in any order, and what is behind the hole is counted
    in lost_records. About 1 s a GB.
    """
    data = np.fromfile(path, np.uint8)
    base = int(data.ctypes.data)
    start, end = base + header.header_bytes, base + len(data) // 8 * 8
    out = np.zeros(2, np.int64)
    code = records_scan(start, end, header.first_seq, out)
    good, seq = int(out[0]), int(out[1])
    offset = header.header_bytes + good
    torn = int(last_word(start + good, end)) if end > start + good else 0
    if data[len(data) // 8 * 8 :].any():  # cut within a word
        torn = len(data) - offset
    lost = 0
    if torn:
        after = 0 if code == BAD_SEQ else record_after(start + good + GRAIN, end, seq)
        if after >= 0:
            if code == BAD_SEQ or not repair or header.boot == boot_id():
                raise _corruption(path, offset, seq)
            lost = _count_good(start + good, end, seq)
    if header.synced_seq >= seq:
        raise JournalError(
            f"{path}: records {seq} to {header.synced_seq} were on disk and are gone",
            remedy="the file was cut; restore it from a copy",
        )
    return Walk(offset, seq, torn, lost)


def _count_good(start: int, end: int, seq: int) -> int:
    count, at = 0, start + GRAIN
    while (step := int(record_after(at, end, seq))) >= 0:
        count, at = count + 1, at + step + GRAIN
    return count


def _corruption(path: Path, offset: int, seq: int) -> JournalError:
    return JournalError(
        f"{path}: the record at offset {offset}, number {seq}, is damaged or out of place, and "
        "more follows",
        remedy="restore the segment from a copy; do not trade on this journal",
    )


class Tail:
    """Follows a journal. `poll` returns complete records only and never waits."""

    def __init__(self, directory: str | Path, after_seq: int = 0) -> None:
        self.directory = Path(directory)
        self.seq = after_seq
        self._descriptor = -1
        self._number = 0
        self._following = ""  # where the next segment will be
        self._offset = 0
        self._next = 0  # seq of the record at _offset

    def poll(self, most: int = 1024) -> list[Record]:
        """Return up to so many records that are new; JournalError when the journal is damaged.

        What is good before the damage comes first; the poll after it raises.
        """
        found: list[Record] = []
        if self._descriptor < 0 and not self._open_first():
            return found
        while len(found) < most:
            before = self._next
            if self._more():
                self._take(found, most)
            try:
                if self._next == before and not self._advance(found, most):
                    break
            except JournalError:
                if not found:
                    raise
                break
        return found

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_first(self) -> bool:
        paths = list_segments(self.directory)
        chosen = None
        for path in paths:
            header = read_header(path)
            if chosen is None or header.first_seq <= self.seq + 1:
                chosen = path
        if chosen is None:
            return False
        self._open(chosen)
        return True

    def _open(self, path: Path) -> None:
        header = read_header(path)
        self.close()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._following = str(segment_path(self.directory, header.number + 1))
        self._number, self._offset, self._next = (
            header.number,
            header.header_bytes,
            header.first_seq,
        )

    def _load(self) -> tuple[bytes, int]:
        """Read from the current offset; returns the bytes and how many of them are good records."""
        size = CHUNK
        out = np.zeros(2, np.int64)
        while True:
            data = os.pread(self._descriptor, size, self._offset)
            address = int(np.frombuffer(data, np.uint8).ctypes.data)
            code = records_scan(address, address + len(data) // GRAIN * GRAIN, self._next, out)
            if out[0] or code != BAD_SHORT or len(data) < size:
                return data, int(out[0])
            size = os.fstat(self._descriptor).st_size  # a record longer than a chunk

    def _take(self, found: list[Record], most: int) -> None:
        data, good = self._load()
        at = 0
        while at < good and len(found) < most:
            payload, kind, version, seq, input_seq, ts = _HEAD.unpack_from(data, at)
            if seq > self.seq:
                start = at + RECORD_HEADER
                view = memoryview(data)[start : start + payload]
                found.append(Record(seq, kind, version, input_seq, ts, view))
                self.seq = seq
            at += (RECORD_HEADER + payload + GRAIN - 1) // GRAIN * GRAIN
            self._next = seq + 1
        self._offset += at

    def _more(self) -> bool:
        """Tell whether anything follows the last record: a read of eight bytes."""
        return any(os.pread(self._descriptor, 8, self._offset))

    def _advance(self, found: list[Record], most: int) -> bool:
        """Go on after the last record that was there; False at the journal's end."""
        finished = os.path.exists(self._following)  # noqa: PTH110 - a thousand times a second
        if not finished and not self._more():
            return False
        before = self._next
        self._take(found, most)  # what was written before the next segment appeared
        if self._next != before or self.judge(finished=finished):
            return True
        if not finished:
            return False
        following = Path(self._following)
        header = read_header(following)
        if header.first_seq != self._next:
            raise JournalError(
                f"segment {self._number} of {self.directory} ends at record {self._next - 1}, but "
                f"{following.name} starts at {header.first_seq}",
                remedy="records are missing between the two; restore the segments from a copy",
            )
        self._open(following)
        return True

    def judge(self, *, finished: bool) -> bool:
        """Look at all that follows the last record: True when a new one is there, False when none.

        JournalError when a good record follows a bad one, or, in a finished segment, anything does.
        """
        for _ in range(2):  # bytes copied while they are written may show a later record first
            data = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, self._offset)
            address = int(np.frombuffer(data, np.uint8).ctypes.data)
            size = len(data) // GRAIN * GRAIN
            code = int(record_check(address, size, self._next))
            if code > 0:
                return True
            bad = code == BAD_SEQ or record_after(address, address + size, self._next) >= 0
            if not bad and not (finished and any(data)):
                return False
        path = segment_path(self.directory, self._number)
        raise _corruption(path, self._offset, self._next)


def tail(directory: str | Path, after_seq: int = 0) -> Tail:
    """Follow a journal from the record after after_seq on; see `Tail.poll`."""
    return Tail(directory, after_seq)


def read(directory: str | Path, after_seq: int = 0) -> Iterator[Record]:
    """Yield every complete record in order; a torn end just ends, damage is a JournalError."""
    paths = list_segments(Path(directory))
    with Tail(directory, after_seq) as reader:
        while found := reader.poll():
            yield from found
        if paths:
            reader.judge(finished=False)
        synced = read_header(paths[-1]).synced_seq if paths else 0
        if synced > reader.seq:
            raise JournalError(
                f"{paths[-1]}: records {reader.seq + 1} to {synced} were on disk and are gone",
                remedy="the file was cut; restore it from a copy",
            )


def file_hash(path: Path) -> bytes:
    """Return the SHA-256 of a file; about 1 s a GB."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def verify_chain(directory: str | Path) -> int:
    """Check every segment's hash of the one before it; returns how many links were checked."""
    paths = list_segments(Path(directory))
    links = 0
    for old, new in pairwise(paths):
        stated = read_header(new).previous
        if stated is None:  # the writer has not come to it yet; the next open will
            continue
        if stated != file_hash(old):
            raise JournalError(
                f"{old}: its SHA-256 is not the one that {new.name} states",
                remedy="the segment was changed after it was finished; restore it from a copy",
            )
        links += 1
    return links
