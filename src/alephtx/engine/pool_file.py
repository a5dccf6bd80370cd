"""A pool of shares on one host: a file in shared memory under a lock; see `risk.shares`.

A file that is not there, or is damaged, is a pool that has forgotten: it grants nothing more until
every engine has said what it holds. /dev/shm forgets with the host.
"""

import fcntl
import os
from pathlib import Path

import msgspec

from alephtx.core.errors import PoolError
from alephtx.risk.shares import Ask, settle

BYTES_MAX = 1 << 16
OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Kept(msgspec.Struct):
    """What the file holds."""

    total: int
    charter: tuple[int, ...]
    held: dict[int, int]


class FilePool:
    """The pool at a path."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def ask(
        self, engine: int, held: int, want: int, total: int, charter: tuple[int, ...]
    ) -> tuple[int, int, tuple[int, ...]]:
        """Return (cents granted, cents granted to all, engines missing); PoolError for no answer.

        Holds the lock for microseconds; whoever holds it longer is waited for at the next try.
        """
        ask = Ask(engine, held, want, total, tuple(sorted(charter)))
        try:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            raise PoolError(f"the pool {self._path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._settle(descriptor, ask)
        except BlockingIOError:
            raise PoolError(f"the pool {self._path} is locked by another process") from None
        except OSError as error:
            raise PoolError(f"the pool {self._path} failed: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def _settle(self, descriptor: int, ask: Ask) -> tuple[int, int, tuple[int, ...]]:
        kept = Kept(ask.total, ask.charter, {})
        data = os.pread(descriptor, BYTES_MAX, 0)
        if data:
            try:
                kept = msgspec.json.decode(data, type=Kept)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                kept = Kept(ask.total, ask.charter, {})  # its writer died: it has forgotten
        if (kept.total, kept.charter) != (ask.total, ask.charter):
            raise PoolError(
                f"the pool shares {kept.total} cents among engines {list(kept.charter)}, not "
                f"{ask.total} among {list(ask.charter)}",
                remedy="give every engine the same [shared] table",
            )
        kept.held, grant = settle(kept.held, ask)
        data = msgspec.json.encode(kept)
        os.ftruncate(descriptor, 0)  # killed between here and the end it has forgotten, no more
        os.pwrite(descriptor, data, 0)
        return grant.cents, grant.granted, grant.missing

    async def close(self) -> None:
        """Do nothing: nothing is kept open."""
