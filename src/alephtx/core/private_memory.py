"""Memory for what is as secret as a key: not shared, dumped or inherited, and wiped at the end.

Pages of their own, apart from Python's heap: left out of core dumps, zero in a forked child, kept
out of swap where the host's limit allows it. Whoever reads the process's memory reads them still.
"""

import ctypes
import mmap
import os
import weakref
from typing import Any, NoReturn

import numpy as np

_WIPE_ON_FORK = 18  # MADV_WIPEONFORK, Linux 4.14; the module mmap has no name for it
_living: "weakref.WeakSet[PrivateMemory]" = weakref.WeakSet()


class PrivateMemory:
    """Some int64 words, zero at first, and zero again after `close` or when nobody holds them.

    Kernels that live on the words take zeros for "closed", so a child or a late caller is refused.
    """

    __slots__ = ("__weakref__", "_end", "address", "locked", "words")

    def __init__(self, n: int) -> None:
        """Take n words. locked: whether they are kept out of swap."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        size = -(-n * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = mmap.mmap(-1, size, flags=flags)
        pages.madvise(mmap.MADV_DONTDUMP)
        try:
            pages.madvise(_WIPE_ON_FORK)
        except OSError:  # an older kernel: Python's own forks at least
            _living.add(self)
        self.words: np.ndarray[Any, Any] = np.frombuffer(pages, np.int64, n)
        self.address = int(self.words.ctypes.data)
        self.locked = _lock(self.address, size)
        self._end = weakref.finalize(self, _clear, self.words)

    def close(self) -> None:
        """Wipe the words."""
        self.words[:] = 0

    def __repr__(self) -> str:
        return f"PrivateMemory({len(self.words)} words)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("private memory never leaves its process")


def _clear(words: np.ndarray[Any, Any]) -> None:
    words[:] = 0


def _lock(address: int, size: int) -> bool:
    """Keep pages in memory; False where the host does not let us."""
    function = ctypes.CDLL(None).mlock
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return bool(function(address, size) == 0)


def _forked() -> None:
    for memory in list(_living):
        memory.close()


os.register_at_fork(after_in_child=_forked)
