"""How the loop thread wakes the main thread: an eventfd, written once however much there is.

Two words: whether a wake is under way, and the eventfd. The loop exchanges the first 0 -> 1 after
it has put something down, and writes only when it was 0; the main thread exchanges it back before
it looks at what there is. Both exchanges are full barriers, so either the loop sees the 0 and
writes, or the main thread sees what was put down.
"""

import contextlib
import os
from typing import Any

import numpy as np

from alephtx.core.atomics import compare_exchange, load_relaxed
from alephtx.core.kernel import Int, kernel
from alephtx.core.syscalls import write_word

Rows = np.ndarray[Any, Any]


@kernel
def wake_main(wake: Int) -> int:
    """Wake whoever waits on the eventfd, unless it is awake already; 0 is nobody. Any thread."""
    if wake and compare_exchange(wake, 0, 1) == 0:
        return write_word(load_relaxed(wake + 8), 1)
    return 0


@kernel
def _awake(wake: Int) -> int:
    return compare_exchange(wake, 1, 0)


class Wake:
    """An eventfd with its two words; one per engine. Only its maker closes it."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._words: Rows = np.zeros(32, np.int64)
        own: int = self._words.ctypes.data
        self.address = (own + 127) // 128 * 128
        at = (self.address - own) // 8
        self._words[at + 1] = self.fd

    def taken(self) -> None:
        """Say that the main thread is awake and will look at everything now; call it first."""
        with contextlib.suppress(BlockingIOError):  # somebody looked without having been woken
            os.eventfd_read(self.fd)
        _awake(self.address)

    def close(self) -> None:
        """Close the eventfd, when no loop runs any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
