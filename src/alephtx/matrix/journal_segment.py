"""One segment as its writer holds it: a preallocated, mapped file, named when it is used."""

import mmap
import os
from pathlib import Path

import numpy as np

from alephtx.matrix.ahead import fault_in
from alephtx.matrix.journal_format import SYNCED_AT, encode_synced


class Segment:
    """A file made under a temporary name, filled through its mapping, then cut and closed."""

    def __init__(self, path: Path, size: int) -> None:
        """Reserve and map `size` bytes at path, which is replaced; OSError without room."""
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(self.descriptor, 0, size)
            self._mapping = mmap.mmap(self.descriptor, size)
        except OSError:
            os.close(self.descriptor)
            path.unlink()
            raise
        view = np.frombuffer(self._mapping, np.uint8)
        self.address = int(view.ctypes.data)
        fault_in(self.address, size)  # not on the hot path

    def publish(self, path: Path, header: bytes, *, durable: bool) -> None:
        """Write the header and give the segment its name, in this order."""
        self._mapping[: len(header)] = header
        if durable:
            os.fsync(self.descriptor)
        self.path.rename(path)
        self.path = path
        if durable:
            sync_directory(path.parent)

    def sync(self) -> None:
        """Bring what was stored to the disk."""
        os.fdatasync(self.descriptor)

    def write(self, offset: int, data: bytes) -> None:
        """Write a field of the header."""
        os.pwrite(self.descriptor, data, offset)

    def finish(self, used: int, last_seq: int) -> None:
        """Unmap, cut the unused end off, sync, mark last_seq as on disk (0: no mark), close."""
        self._mapping.close()
        try:
            os.ftruncate(self.descriptor, used)
            os.fdatasync(self.descriptor)
            if last_seq:
                self.write(SYNCED_AT, encode_synced(last_seq))
                os.fdatasync(self.descriptor)
        finally:
            os.close(self.descriptor)

    def discard(self) -> None:
        """Throw a segment away that was never used."""
        self._mapping.close()
        os.close(self.descriptor)
        self.path.unlink()


def sync_directory(directory: Path) -> None:
    """Bring a directory's names to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_field(path: Path, offset: int, data: bytes) -> None:
    """Write a field of a finished segment's header."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)
