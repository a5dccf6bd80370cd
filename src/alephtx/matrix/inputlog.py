"""The input log: which input the engine took when, 16 bytes each; replay feeds exactly this order.

A file of one header page and rows of two int64 words: now (ns, never 0) and ring << 56 | k. The
row's number plus the header's base is its input_seq. `now` is stored last, so a row is there or
not; after `kill -9` at most half a row is cut off. Unlike the journal it is not the truth, only the
way to see the same run again.
"""

import fcntl
import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from alephtx.core.atomics import store_relaxed, store_release
from alephtx.core.errors import JournalError
from alephtx.core.kernel import Int, kernel
from alephtx.core.log import logger
from alephtx.core.memory import fetch_line
from alephtx.core.ports import Rows
from alephtx.matrix.ahead import AHEAD_BYTES
from alephtx.matrix.crc32c import crc32c

log = logger("inputlog")

MAGIC = b"AXINPUT1"
HEADER_BYTES = 4096
ROW_BYTES, LINE = 16, 64
FILE_NAME = "inputs.log"
CHUNK_ROWS = 1 << 18
_HEADER = struct.Struct("<8sqI")

INPUT_ROW = np.dtype([("now", "<i8"), ("word", "<i8")])
RING_SHIFT = 56
K_MASK = (1 << RING_SHIFT) - 1

# Words of the map. ADDRESS: of the next row, 0 = count only; END: of the mapped room; SEQ: last.
I_ADDRESS, I_END, I_SEQ = 0, 1, 2
INPUT_WORDS = 4


@kernel
def input_append(imap: Rows, ring: Int, k: Int, now: Int) -> int:
    """Append a row and return its input_seq; -1: full, nothing written, grow and call again.

    ring 0..255, k below 2^56, now in ns and not 0. About 10 ns.
    """
    address = imap[I_ADDRESS]
    if address != 0:
        if address + ROW_BYTES > imap[I_END]:
            return -1
        store_relaxed(address + 8, np.int64(ring) << RING_SHIFT | k & K_MASK)
        store_release(address, now)
        imap[I_ADDRESS] = address + ROW_BYTES
        fetch_line(address + LINE)  # before its turn, see `journal_append`
    imap[I_SEQ] += 1
    return imap[I_SEQ]


@kernel
def input_room(imap: Rows) -> int:
    """Return how many rows fit before the log must grow."""
    if imap[I_ADDRESS] == 0:
        return 1 << 62
    return (imap[I_END] - imap[I_ADDRESS]) // ROW_BYTES


def null_inputs(last_seq: int = 0) -> Rows:
    """Return a map that only numbers inputs; for backtests, and live engines that log none."""
    imap = np.zeros(INPUT_WORDS, np.int64)
    imap[I_SEQ] = last_seq
    return imap


class Input(NamedTuple):
    """One input as the engine took it."""

    input_seq: int
    ring: int
    k: int
    now: int


class InputLog:
    """The writer of one input log; one thread appends and grows."""

    def __init__(self, path: Path, chunk_rows: int) -> None:
        """Use `open`."""
        self.path = path
        self.chunk_rows = chunk_rows
        self.map = null_inputs()
        self.dropped_rows = 0
        self._descriptor = -1
        self._mapping: mmap.mmap | None = None
        self._mapped_from = 0

    @classmethod
    def open(
        cls, path: str | Path, *, first_seq: int = 1, chunk_rows: int = CHUNK_ROWS
    ) -> "InputLog":
        """Open or make a log; a directory means the file `inputs.log` in it.

        first_seq: the number of the first input of a new log; an old one goes on where it ended.
        Raises JournalError when another process writes it, it is none, or there is no room.
        """
        if chunk_rows * ROW_BYTES % mmap.ALLOCATIONGRANULARITY:
            raise JournalError(f"chunks of {chunk_rows} rows are no whole pages")
        log_file = cls(_file(Path(path)), chunk_rows)
        try:
            log_file._begin(first_seq)
        except OSError as error:
            log_file.close()
            raise JournalError(
                f"input log {log_file.path} cannot be opened: {error.strerror}",
                remedy="check space, permissions and the path (node.runs)",
            ) from error
        except JournalError:
            log_file.close()
            raise
        return log_file

    def _begin(self, first_seq: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"input log {self.path} is being written by another process",
                remedy="stop that engine, or give this one its own directory",
            ) from None
        head = os.pread(self._descriptor, HEADER_BYTES, 0)
        if not head.strip(b"\0"):  # new, or killed before the header was written
            header = _HEADER.pack(MAGIC, first_seq, crc32c(_HEADER.pack(MAGIC, first_seq, 0)[:16]))
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, header.ljust(HEADER_BYTES, b"\0"), 0)
            base, rows = first_seq, 0
        else:
            base = _base(head, self.path)
            rows = self._cut_end()
        self.map[I_SEQ] = base + rows - 1
        self._map(HEADER_BYTES + rows * ROW_BYTES)

    def _cut_end(self) -> int:
        """Cut everything behind the last complete row off; returns how many rows are left."""
        data = _rows(self.path)
        rows = _complete(data)
        self.dropped_rows = int(np.count_nonzero(data["now"][rows:]))
        if self.dropped_rows:
            log.warning("input_rows_dropped", path=self.path, rows=self.dropped_rows)
        os.ftruncate(self._descriptor, HEADER_BYTES + rows * ROW_BYTES)
        return rows

    def _map(self, at: int) -> None:
        """Reserve and map a chunk's room from a file offset on."""
        start = at // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        size = self.chunk_rows * ROW_BYTES + at - start
        size = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        os.posix_fallocate(self._descriptor, start, size)
        mapping = mmap.mmap(self._descriptor, size, offset=start)
        address = int(np.frombuffer(mapping, np.uint8).ctypes.data)
        self.map[I_ADDRESS], self.map[I_END] = address + at - start, address + size
        if self._mapping is not None:
            self._mapping.close()
        self._mapping, self._mapped_from = mapping, start - address

    def grow(self) -> None:
        """Make room for another chunk of rows; about 0.3 ms. JournalError when there is none."""
        try:
            self._map(self.map[I_ADDRESS] + self._mapped_from)
        except OSError as error:
            raise JournalError(
                f"input log {self.path} cannot grow: {error.strerror}",
                remedy="make room on the disk, or switch the input log off",
            ) from error

    def front(self) -> tuple[int, int]:
        """Return where the next row goes, and how many bytes to keep writable there."""
        address, end = int(self.map[I_ADDRESS]), int(self.map[I_END])
        return address, min(AHEAD_BYTES, end - address)

    @property
    def last_seq(self) -> int:
        """The newest input_seq."""
        return int(self.map[I_SEQ])

    def append(self, ring: int, k: int, now: int) -> int:
        """Append from Python, growing when needed; for the writer's thread."""
        if input_room(self.map) == 0:
            self.grow()
        return int(input_append(self.map, ring, k, now))

    def close(self) -> None:
        """Cut the unused room off and let go of the file."""
        if self._mapping is not None:
            end = int(self.map[I_ADDRESS]) + self._mapped_from
            self.map[I_ADDRESS] = self.map[I_END] = 8  # full: nothing is written after the close
            self._mapping.close()
            self._mapping = None
            os.ftruncate(self._descriptor, end)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _file(path: Path) -> Path:
    return path / FILE_NAME if path.is_dir() else path


def _base(head: bytes, path: Path) -> int:
    if len(head) < HEADER_BYTES or head[:8] != MAGIC:
        raise JournalError(
            f"{path}: not an input log (it starts with {head[:8]!r})",
            remedy="move the file away; a new one is made at the next start",
        )
    _, base, crc = _HEADER.unpack_from(head)
    if crc32c(head[:16]) != crc:
        raise JournalError(
            f"{path}: the header of the input log is damaged",
            remedy="move the file away; a new one is made at the next start",
        )
    return int(base)


def _rows(path: Path) -> Rows:
    size = max(0, path.stat().st_size - HEADER_BYTES) // ROW_BYTES
    return np.fromfile(path, INPUT_ROW, count=size, offset=HEADER_BYTES)


def _complete(data: Rows) -> int:
    blank = np.flatnonzero(data["now"] == 0)
    return int(blank[0]) if len(blank) else len(data)


def read_rows(path: str | Path) -> tuple[int, Rows]:
    """Return (input_seq of the first row, INPUT_ROW array of all complete rows)."""
    file = _file(Path(path))
    try:
        with file.open("rb") as opened:
            base = _base(opened.read(HEADER_BYTES), file)
        data = _rows(file)
    except OSError as error:
        raise JournalError(f"input log {file} cannot be read: {error.strerror}") from error
    return base, data[: _complete(data)]


def read_inputs(path: str | Path) -> list[Input]:
    """Return every complete row of a log, also while it is being written."""
    base, rows = read_rows(path)
    rings = (rows["word"] >> RING_SHIFT & 0xFF).tolist()
    ks = (rows["word"] & K_MASK).tolist()
    return [
        Input(base + row, ring, k, now)
        for row, (ring, k, now) in enumerate(zip(rings, ks, rows["now"].tolist(), strict=True))
    ]
