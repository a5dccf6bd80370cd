"""One stretch of memory for the arrays of many lanes: fewer pages to look up, fewer lines to fetch.

A lane's forty small arrays lie all over the heap; a hundred lanes of them are more pages than a
processor keeps the addresses of (measured: 7 % of a sweep of a hundred sets).
"""

import mmap
from typing import Any

import numpy as np

from alephtx.core.ports import Rows

ALIGN = 64
BLOCK = 2 << 20
KEPT_APART = 64 << 10
"""Arrays that are larger stay where they are: of those only some lines are used."""


class Arena:
    """Memory in blocks of huge pages where the kernel gives them; freed with the last array."""

    def __init__(self) -> None:
        self._block: Any = None
        self._at = BLOCK

    def place(self, array: Rows) -> Rows:
        """Return a copy of an array in here; it starts a cache line."""
        size = array.nbytes
        if self._at + size > BLOCK:
            # Huge pages begin at their own multiples, so one more is reserved than is used.
            memory = mmap.mmap(-1, 2 * BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(mmap.MADV_HUGEPAGE)
            whole = np.frombuffer(memory, np.uint8)
            self._block = whole[-whole.ctypes.data % BLOCK :]
            self._at = 0
        part = self._block[self._at : self._at + size]
        self._at += -(-size // ALIGN) * ALIGN
        copy: Rows = part.view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    def gather(self, arrays: Any, moved: dict[int, int], leave: tuple[str, ...] = ()) -> Any:
        """Return a named tuple of arrays, and of named tuples of them, with the small ones in here.

        moved: from an array's old address to its new one, for words that hold addresses. leave: the
        names of arrays that hold their own.
        """
        names = [name for name in arrays._fields if name not in leave]
        small = sorted(
            (name for name in names if _is_small(getattr(arrays, name))),
            key=lambda name: getattr(arrays, name).nbytes,
        )
        fresh = {}
        for name in small:
            old = getattr(arrays, name)
            fresh[name] = self.place(old)
            moved[old.ctypes.data] = fresh[name].ctypes.data
        for name in names:
            if isinstance(getattr(arrays, name), tuple):
                fresh[name] = self.gather(getattr(arrays, name), moved)
        return arrays._replace(**fresh)


def _is_small(array: Any) -> bool:
    return isinstance(array, np.ndarray) and 0 < array.nbytes <= KEPT_APART
