"""Where everything lies in the matrix file, and the `map` of addresses that kernels are handed.

    header page | heads | rings | tops | levels | signals | writers | counters | instrument table

Every record starts on a cache line; sections start on pages. The header's fixed part is covered by
a CRC; the words that change (halt, table length and CRC) lie on lines of their own.
The file is not versioned data: another layout is refused by name and made anew.
"""

import hashlib
import struct
import zlib

import msgspec
import numpy as np

from alephtx.core.errors import LayoutMismatch, MatrixError
from alephtx.core.records import SIGNAL_ROW, TOP_ROW

MAGIC = b"ALEPHMTX"
VERSION = 1
PAGE = 4096
LINE = 64

# Words of `map`: addresses first, then geometry.
MAP_HEADS, MAP_RINGS, MAP_TOPS, MAP_LEVELS, MAP_SIGNALS, MAP_WRITERS = 0, 1, 2, 3, 4, 5
MAP_COUNTERS, MAP_HALT = 6, 7
MAP_INSTRUMENTS, MAP_VENUES, MAP_DEPTH, MAP_RING_SLOTS = 8, 9, 10, 11
MAP_SIGNAL_COUNT, MAP_WRITER_COUNT, MAP_LEVEL_BYTES = 12, 13, 14
MAP_WORDS = 16

# A head, 128 bytes per venue: the ring's line is written with every slot, the other rarely.
HEAD_BYTES = 128
HEAD_LAST = 0  # last complete k
HEAD_EPOCH = 64  # raised by every new writer
HEAD_WRITER = 72  # row of the writers table, plus one; 0 = never claimed

TOP_BYTES = 64
SIGNAL_BYTES = 64
WRITER_BYTES = 128
COUNTER_BYTES = 128

# A levels record: word, seq, then int64 (2, depth, 2) on the next line.
LEVELS_SEQ = 8
LEVELS_DATA = 64

# The changing words of the header page.
HALT_AT = 1024
TABLE_LENGTH_AT = 1152
TABLE_CRC_AT = 1160

_HEADER = struct.Struct("<8s13q")  # magic .. owner uid, see `pack_header`
_CRC = struct.Struct("<I")


class Geometry(msgspec.Struct, frozen=True):
    """How much of everything; the defaults take about 6 MiB."""

    instruments_max: int = 256
    venues_max: int = 16
    depth: int = 32
    ring_slots: int = 4096
    signals_max: int = 256
    writers_max: int = 32
    table_bytes: int = 1 << 20

    def check(self) -> None:
        """Raise MatrixError for a shape that kernels could not address."""
        limits = {
            "instruments_max": (1, 1 << 16),
            "venues_max": (1, 64),
            "depth": (1, 1024),
            "ring_slots": (8, 1 << 22),
            "signals_max": (1, 1 << 16),
            "writers_max": (1, 256),
            "table_bytes": (PAGE, 1 << 26),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise MatrixError(
                    f"matrix geometry: {name} is {value}", remedy=f"use {low} to {high}"
                )
        if self.ring_slots & (self.ring_slots - 1):
            raise MatrixError(
                f"matrix geometry: ring_slots is {self.ring_slots}", remedy="use a power of two"
            )


class Header(msgspec.Struct, frozen=True):
    """The fixed part of the header."""

    geometry: Geometry
    epoch: int
    clock_offset_ns: int
    owner_uid: int


def level_bytes(geometry: Geometry) -> int:
    """Return the size of one levels record."""
    return LEVELS_DATA + (2 * geometry.depth * 2 * 8 + LINE - 1) // LINE * LINE


def _sections(geometry: Geometry) -> list[tuple[int, int]]:
    """Return (map word, bytes) of each section in file order; the table's word is -1."""
    return [
        (MAP_HEADS, geometry.venues_max * HEAD_BYTES),
        (MAP_RINGS, geometry.venues_max * geometry.ring_slots * TOP_BYTES),
        (MAP_TOPS, geometry.instruments_max * TOP_BYTES),
        (MAP_LEVELS, geometry.instruments_max * level_bytes(geometry)),
        (MAP_SIGNALS, geometry.signals_max * SIGNAL_BYTES),
        (MAP_WRITERS, geometry.writers_max * WRITER_BYTES),
        (MAP_COUNTERS, geometry.writers_max * COUNTER_BYTES),
        (-1, geometry.table_bytes),
    ]


def offsets(geometry: Geometry) -> tuple[dict[int, int], int]:
    """Return each section's offset by its map word, and the size of the file."""
    at, found = PAGE, {}
    for word, size in _sections(geometry):
        found[word] = at
        at += (size + PAGE - 1) // PAGE * PAGE
    return found, at


def file_bytes(geometry: Geometry) -> int:
    """Return the size of the file."""
    return offsets(geometry)[1]


def make_map(base: int, geometry: Geometry) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the kernels' map of a file that is mapped at address base."""
    found, _ = offsets(geometry)
    made = np.zeros(MAP_WORDS, np.int64)
    for word, offset in found.items():
        if word >= 0:
            made[word] = base + offset
    made[MAP_HALT] = base + HALT_AT
    made[MAP_INSTRUMENTS], made[MAP_VENUES] = geometry.instruments_max, geometry.venues_max
    made[MAP_DEPTH], made[MAP_RING_SLOTS] = geometry.depth, geometry.ring_slots
    made[MAP_SIGNAL_COUNT], made[MAP_WRITER_COUNT] = geometry.signals_max, geometry.writers_max
    made[MAP_LEVEL_BYTES] = level_bytes(geometry)
    return made


def layout_hash() -> int:
    """Return 63 bits that change whenever two builds would read the same bytes differently."""
    facts = (
        VERSION,
        str(TOP_ROW.descr),
        str(SIGNAL_ROW.descr),
        (HEAD_BYTES, HEAD_LAST, HEAD_EPOCH, HEAD_WRITER, WRITER_BYTES, COUNTER_BYTES),
        (LEVELS_SEQ, LEVELS_DATA, HALT_AT, TABLE_LENGTH_AT, TABLE_CRC_AT),
        [word for word, _ in _sections(Geometry())],
        _HEADER.format,
    )
    return int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:8], "little") >> 1


def pack_header(header: Header) -> bytes:
    """Return the fixed part of the header, CRC last."""
    g = header.geometry
    body = _HEADER.pack(
        MAGIC,
        VERSION,
        layout_hash(),
        g.instruments_max,
        g.venues_max,
        g.depth,
        g.ring_slots,
        g.signals_max,
        g.writers_max,
        g.table_bytes,
        file_bytes(g),
        header.epoch,
        header.clock_offset_ns,
        header.owner_uid,
    )
    return body + _CRC.pack(zlib.crc32(body))


HEADER_BYTES = _HEADER.size + _CRC.size


def unpack_header(data: bytes, size: int, name: str) -> Header:
    """Read and verify a header of a file of this size; the error says which file and why."""
    wrong = f"{name} is not a matrix of this build"
    remedy = "stop what uses it, delete the file, and start again"
    if len(data) < HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
        raise MatrixError(f"{wrong}: no magic", remedy="choose another matrix.path")
    body = data[: _HEADER.size]
    _, version, layout, *numbers = _HEADER.unpack(body)
    if version != VERSION or layout != layout_hash():
        raise LayoutMismatch(
            f"{wrong}: layout {version}/{layout:x}, ours is {VERSION}/{layout_hash():x}",
            remedy=remedy,
        )
    if _CRC.unpack(data[_HEADER.size : HEADER_BYTES])[0] != zlib.crc32(body):
        raise MatrixError(f"{wrong}: the header's CRC does not match", remedy=remedy)
    geometry = Geometry(*numbers[:7])
    geometry.check()
    if not size == numbers[7] == file_bytes(geometry):
        raise MatrixError(
            f"{wrong}: it has {size} bytes where {file_bytes(geometry)} belong", remedy=remedy
        )
    return Header(geometry, *numbers[8:])
