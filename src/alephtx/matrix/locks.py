"""Locks that the kernel gives back when a process dies; a process id proves nothing.

The owner of a matrix holds `flock` on the file. Each venue's feeder holds an open-file-description
lock on one byte of it; both kinds live as long as the descriptor they were taken with.
"""

import errno
import fcntl
import struct

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux; l_pid must be 0
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)


def lock_file(descriptor: int) -> bool:
    """Take the owner's lock without waiting; False when another descriptor has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def lock_byte(descriptor: int, offset: int) -> bool:
    """Take the lock of one byte without waiting; False when another descriptor has it."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, 0, offset, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno != errno.EINVAL:
            raise
        # A kernel without such locks (gVisor): the older kind, which ends when the process closes
        # any descriptor of the file.
        return _lock_byte_by_process(descriptor, offset)
    return True


def unlock_byte(descriptor: int, offset: int) -> None:
    """Give the lock of one byte back before the descriptor is closed."""
    released = _FLOCK.pack(fcntl.F_UNLCK, 0, offset, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, released)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)


def _lock_byte_by_process(descriptor: int, offset: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True
