"""The matrix file: made whole or not at all, owned by a lock, attached only when it is believed.

The owner prepares a new file under a private name, takes its lock, and links it to the public name,
so an attacher never sees a half-made one. A file left by a dead owner (same magic, owner and
layout, no lock) is replaced by a new one of a higher epoch; whoever still maps the old one finds
the halt word set there. Everything else under that name - foreign, truncated, of another layout,
locked, a symbolic link - is refused by name and left alone.
"""

import mmap
import os
import stat
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from alephtx.core.clock import measure_offset, pause_thread
from alephtx.core.errors import AlephError, MatrixError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.log import logger
from alephtx.matrix.layout import (
    HALT_AT,
    HEAD_BYTES,
    HEADER_BYTES,
    MAP_HEADS,
    TABLE_LENGTH_AT,
    Geometry,
    Header,
    file_bytes,
    make_map,
    offsets,
    pack_header,
    unpack_header,
)
from alephtx.matrix.locks import lock_byte, lock_file
from alephtx.matrix.place import make_file, open_file, place_for, remove_leftovers, same_file
from alephtx.matrix.ring import ring_head
from alephtx.matrix.writers import HALT_ORPHANED, flag_blank_tops, heal, venue_epoch

Rows = np.ndarray[Any, Any]

_TABLE = struct.Struct("<qq")  # length, crc32
_ATTEMPTS = 8
_TABLE_READS = 100


class Matrix:
    """One process's mapping of the matrix; `create` owns it, `attach` joins it.

    map: what kernels are handed. The arrays and addresses in it are valid until `close`. A forked
    child shares the parent's locks; start children by exec.
    """

    def __init__(self, path: Path, descriptor: int, header: Header, *, is_owner: bool) -> None:
        """Map an open file; use `create` or `attach`."""
        self.path = path
        self.geometry = header.geometry
        self.clock_offset_ns = header.clock_offset_ns
        self.epoch = header.epoch
        self.is_owner = is_owner
        self._descriptor = descriptor
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        self._memory = mmap.mmap(descriptor, file_bytes(self.geometry), flags)
        base = int(np.frombuffer(self._memory, np.uint8).ctypes.data)
        self.map: Rows = make_map(base, self.geometry)
        found, _ = offsets(self.geometry)
        self._table_at = found[-1]
        self._heads_at = found[MAP_HEADS]
        self.instruments = Instruments()

    @classmethod
    def create(
        cls,
        path: Path | str,
        instruments: Instruments,
        geometry: Geometry | None = None,
        *,
        clock_offset_ns: int | None = None,
    ) -> "Matrix":
        """Make the matrix and own it; MatrixError when somebody does, or when it cannot be made.

        clock_offset_ns: wall - monotonic, measured here when not given. `.path` may differ from
        path where /dev/shm cannot hold the file at all.
        """
        geometry = geometry or Geometry()
        geometry.check()
        table = _check_table(instruments, geometry)
        place = place_for(Path(path), file_bytes(geometry))
        remove_leftovers(place)
        offset = measure_offset() if clock_offset_ns is None else clock_offset_ns
        for _ in range(_ATTEMPTS):
            previous, epoch = _claim_previous(place)
            header = Header(geometry, epoch + 1, offset, os.geteuid())
            try:
                made = cls._install(place, header, table, previous)
            finally:
                if previous >= 0:
                    os.close(previous)
            if made is not None:
                made.instruments = instruments
                return made
        raise MatrixError(f"{place} keeps changing hands", remedy="start one owner at a time")

    @classmethod
    def _install(cls, place: Path, header: Header, table: bytes, previous: int) -> "Matrix | None":
        """Prepare a file and link it to its name; None when another creator was faster."""
        hidden, descriptor = make_file(place, file_bytes(header.geometry))
        made = None
        try:
            made = cls(place, descriptor, header, is_owner=True)
            made._memory[:HEADER_BYTES] = pack_header(header)
            made._write_table(table)
            flag_blank_tops(made.map)
            if previous >= 0:
                os.pwrite(previous, HALT_ORPHANED.to_bytes(8, "little"), HALT_AT)
                place.unlink(missing_ok=True)
                logger("matrix").warning("matrix_reclaimed", path=str(place), epoch=header.epoch)
            os.link(hidden, place)
        except FileExistsError:
            assert made is not None
            made.close()
            return None
        except BaseException:
            if made is not None:
                made.close()
            else:
                os.close(descriptor)
            raise
        finally:
            hidden.unlink()
        return made

    @classmethod
    def attach(cls, path: Path | str) -> "Matrix":
        """Join an existing matrix; MatrixError says what is wrong with the file."""
        place = Path(path)
        descriptor = open_file(place)
        if descriptor < 0:
            raise MatrixError(f"there is no matrix at {place}", remedy="start its owner first")
        try:
            made = cls(place, descriptor, _read_header(descriptor, place), is_owner=False)
        except BaseException:
            os.close(descriptor)
            raise
        try:
            made.refresh_instruments()
        except BaseException:
            made.close()
            raise
        return made

    def refresh_instruments(self) -> Instruments:
        """Read the instrument table anew; it only ever grows. MatrixError when it is damaged."""
        for _ in range(_TABLE_READS):
            length, crc = _TABLE.unpack_from(self._memory, TABLE_LENGTH_AT)
            if 0 <= length <= self.geometry.table_bytes:
                data = self._memory[self._table_at : self._table_at + length]
                if zlib.crc32(data) == crc:
                    self.instruments = Instruments.from_json(data)
                    return self.instruments
            pause_thread(1_000_000)  # the owner is appending just now
        raise MatrixError(
            f"the instrument table in {self.path} does not match its CRC",
            remedy="restart the owner of the matrix",
        )

    def append_instruments(self, added: Iterable[Instrument]) -> list[int]:
        """Append to the instrument table and return the new indices. Owner only; all or none."""
        self._owned()
        grown = Instruments.from_json(self.instruments.to_json())
        indices = [grown.add(instrument) for instrument in added]
        self._write_table(_check_table(grown, self.geometry))
        for index in indices:
            self.instruments.add(grown[index])
        return indices

    def take_venue(self, venue: int, writer: int = -1) -> int:
        """Become a venue's only writer for life: lock, heal, raise the epoch; returns the epoch.

        MatrixError while another living process is. Its records are empty and STALE afterwards.
        writer: our row of the writers table, for readers that watch the beat.
        """
        if not 0 <= venue < len(self.instruments.venues):
            raise MatrixError(f"the matrix has no venue {venue}")
        name = self.instruments.venues[venue]
        if not lock_byte(self._descriptor, self._heads_at + venue * HEAD_BYTES):
            raise MatrixError(
                f"{name} already has a living feeder on {self.path}", remedy="stop that one first"
            )
        indices = np.array(self.instruments.of_venue(name), np.int64)
        torn = int(heal(self.map, venue, indices, writer))
        epoch = int(venue_epoch(self.map, venue))
        if torn:
            logger("matrix").warning("records_healed", venue=name, torn=torn, epoch=epoch)
        return epoch

    def ring_head(self, venue: int) -> int:
        """Return the last complete slot of a venue's ring, 0 when none."""
        return int(ring_head(self.map, venue))

    def close(self) -> None:
        """Unmap, and give every lock back; the map must not be used any more."""
        if self._descriptor >= 0:
            self.map = np.zeros_like(self.map)
            self._memory.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def unlink(self) -> None:
        """Remove the file; mappings stay valid. Owner only."""
        self._owned()
        if same_file(self._descriptor, self.path):
            self.path.unlink()

    def _owned(self) -> None:
        if not self.is_owner or self._descriptor < 0:
            raise MatrixError(f"{self.path} is not ours to change", remedy="ask its owner")

    def _write_table(self, table: bytes) -> None:
        self._memory[self._table_at : self._table_at + len(table)] = table
        _TABLE.pack_into(self._memory, TABLE_LENGTH_AT, len(table), zlib.crc32(table))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_table(instruments: Instruments, geometry: Geometry) -> bytes:
    """Return the table's JSON; MatrixError when it does not fit the geometry."""
    table = instruments.to_json()
    for count, most, name in (
        (len(instruments), geometry.instruments_max, "instruments_max"),
        (len(instruments.venues), geometry.venues_max, "venues_max"),
        (len(table), geometry.table_bytes, "table_bytes"),
    ):
        if count > most:
            raise MatrixError(
                f"the instrument table needs {name} {count}, the matrix has {most}",
                remedy=f"raise matrix.{name}",
            )
    return table


def _read_header(descriptor: int, place: Path) -> Header:
    """Read the header of an open file and hold it against the file itself."""
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        raise MatrixError(
            f"{place} belongs to user {found.st_uid}, not to {os.geteuid()}, or is no plain file",
            remedy="choose another matrix.path",
        )
    return unpack_header(os.pread(descriptor, HEADER_BYTES, 0), found.st_size, str(place))


def _claim_previous(place: Path) -> tuple[int, int]:
    """Lock what a dead owner left: (descriptor, its epoch), or (-1, 0) when there is nothing."""
    for _ in range(_ATTEMPTS):
        descriptor = open_file(place)
        if descriptor < 0:
            return -1, 0
        try:
            header = _read_header(descriptor, place)
            if not lock_file(descriptor):
                raise MatrixError(
                    f"{place} is in use by a living owner",
                    remedy="stop it, or choose another matrix.path",
                )
        except (AlephError, OSError):
            os.close(descriptor)
            raise
        if same_file(descriptor, place):
            return descriptor, header.epoch
        os.close(descriptor)  # replaced between open and lock
    raise MatrixError(f"{place} keeps changing hands", remedy="start one owner at a time")
