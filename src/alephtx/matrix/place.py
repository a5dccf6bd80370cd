"""Where the matrix file goes, and the handling of names and descriptors that security asks for."""

import errno
import os
import secrets
import stat
import tempfile
from pathlib import Path

from alephtx.core.clock import Clock, MachineClock
from alephtx.core.errors import MatrixError
from alephtx.core.log import logger
from alephtx.matrix.locks import lock_file

SHARED = Path("/dev/shm")  # noqa: S108 - files there are made 0600 under unguessable names
NAME = "aleph-matrix"
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_LEFTOVER_SECONDS = 60


def default_path() -> Path:
    """Return where the matrix is unless the config says otherwise."""
    return SHARED / NAME


def place_for(path: Path, size: int) -> Path:
    """Return path, or one in the fallback directory when /dev/shm can never hold size bytes.

    One that is large enough but full is an error when the file is made, no reason to move.
    """
    if path.parent != SHARED:
        return path
    if not SHARED.is_dir():
        reason = f"there is no {SHARED}"
    elif not os.access(SHARED, os.W_OK | os.X_OK):
        reason = f"{SHARED} is not writable"
    else:
        volume = os.statvfs(SHARED)
        room = volume.f_blocks * volume.f_frsize
        if room >= size:
            return path
        reason = f"{SHARED} holds {room} bytes at most, the matrix needs {size}"
    moved = fallback_directory() / path.name
    logger("matrix").warning("matrix_moved", wanted=str(path), used=str(moved), reason=reason)
    return moved


def fallback_directory() -> Path:
    """Return a directory of our own: XDG_RUNTIME_DIR, else a private one among temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and _is_private(Path(runtime)):
        return Path(runtime)
    made = Path(tempfile.gettempdir()) / f"alephtx-{os.geteuid()}"
    made.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(made):
        raise MatrixError(
            f"{made} is not a directory that only user {os.geteuid()} can enter",
            remedy="remove it, or set matrix.path",
        )
    return made


def _is_private(directory: Path) -> bool:
    try:
        found = directory.lstat()
    except OSError:
        return False
    private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return private and stat.S_ISDIR(found.st_mode)


def open_file(place: Path) -> int:
    """Open an existing file without following a link; -1 when there is none."""
    try:
        return os.open(place, os.O_RDWR | _SAFE)
    except FileNotFoundError:
        return -1
    except OSError as error:
        if error.errno == errno.ELOOP:
            why = "is a symbolic link"
        else:
            why = f"cannot be opened ({error.strerror})"
        raise MatrixError(f"{place} {why}", remedy="choose another matrix.path") from error


def make_file(place: Path, size: int) -> tuple[Path, int]:
    """Make a locked file of size bytes under a hidden name beside place; all its pages are ours.

    Nothing is left behind when it fails, in particular when there is no room.
    """
    hidden = place.with_name(f".{place.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
    except OSError as error:
        raise MatrixError(
            f"cannot make a file in {place.parent} ({error.strerror})",
            remedy="choose another matrix.path",
        ) from error
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        locked = lock_file(descriptor)
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        hidden.unlink()
        os.close(descriptor)
        raise MatrixError(
            f"no room for {size} bytes in {place.parent} ({error.strerror})",
            remedy="free some, choose another matrix.path, or a smaller geometry",
        ) from error
    if not locked:  # nobody else knows the name, so this is somebody's mischief
        hidden.unlink()
        os.close(descriptor)
        raise MatrixError(f"somebody else locked {hidden}", remedy="start again")
    return hidden, descriptor


def same_file(descriptor: int, place: Path) -> bool:
    """Tell whether the name still means the open file."""
    try:
        named = place.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def remove_leftovers(place: Path, clock: Clock | None = None) -> int:
    """Remove hidden files of creators that died before they were done; returns how many."""
    clock = clock or MachineClock()
    removed = 0
    for hidden in place.parent.glob(f".{place.name}.*.new"):
        try:
            descriptor = os.open(hidden, os.O_RDWR | _SAFE)
        except OSError:  # gone already, a link, or not ours: none of our business
            continue
        try:
            found = os.fstat(descriptor)
            age = clock.now() / 1e9 - found.st_mtime
            ours = found.st_uid == os.geteuid() and age > _LEFTOVER_SECONDS
            if ours and same_file(descriptor, hidden) and lock_file(descriptor):
                hidden.unlink()
                removed += 1
        finally:
            os.close(descriptor)
    return removed
