"""Keep the pages in front of an appender writable, so that a record never waits for the disk.

A page of a mapped file that the system has written back is write-protected: the next store into it
is a fault, and the file system may make that wait for its own journal. It happens to pages made
ready long before they are used, too: after half a minute each page's first record took 3 us, one in
ten 22 us, and some milliseconds (docs/decisions/0041). A side thread faults the next pages in again
and again; the appender finds them writable.
"""

import ctypes
import mmap
import threading
from collections.abc import Callable

POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE, Linux 5.14; the module mmap has no name for it."""

EVERY_S = 0.02
AHEAD_BYTES = 1 << 20
"""What an appender may fill between two looks: 50 MB a second."""

Front = Callable[[], tuple[int, int]]
"""Address of the next byte to be written, and how many bytes from there on are to be writable."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def fault_in(address: int, size: int) -> bool:
    """Make `size` bytes from an address on writable now, the first's page included.

    Changes no byte. False where the system cannot: an older kernel, or an address that is not
    mapped any more. Other threads run meanwhile. About 10 us a MiB that is writable already.
    """
    if size <= 0:
        return True
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    return _libc.madvise(start, address + size - start, POPULATE_WRITE) == 0


class PagesAhead:
    """A thread that looks after some fronts until `stop`. A front that moves on is no matter."""

    def __init__(self, *fronts: Front) -> None:
        self._fronts = fronts
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pages", daemon=True)

    def start(self) -> None:
        """Begin; a system that cannot do it is left alone."""
        if all(fault_in(*front()) for front in self._fronts):
            self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            for front in self._fronts:
                fault_in(*front())

    def stop(self) -> None:
        """End, before what the fronts lie in is unmapped."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
