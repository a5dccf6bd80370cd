"""Who may touch what two threads of a process share: the compiled loop, unless Python asks.

The loop never waits. At the start of each turn it looks at one word, the ticket; while that is odd,
Python asks, so the loop leaves the thing alone and says which ticket it has seen. Python waits for
this - a turn, or the nap of a loop that naps - does its work, and raises the ticket to even. The
loop may also hand the thing over with work that only Python can do; then it leaves it alone, too,
until that was attended to. An answer names its ticket, so that a late one cannot be taken for the
next.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from alephtx.core.atomics import load_acquire, load_relaxed, pause, store_release
from alephtx.core.errors import MatrixError
from alephtx.core.kernel import Int, kernel

_TICKET, _ANSWER, _HANDED = 0, 64, 128  # each on a line of its own
BATON_BYTES = 192
TRIES = 50_000
"""Looks, of some 20 ns, before Python checks whether the loop still lives."""


@kernel
def baton_mine(baton: Int) -> int:
    """Tell the loop, once a turn, whether the thing is its own for this turn; 1 ns."""
    ticket = load_acquire(baton + _TICKET)
    if ticket & 1:
        store_release(baton + _ANSWER, ticket)
        return 0
    return 1 - load_acquire(baton + _HANDED)


@kernel
def baton_hand_over(baton: Int) -> None:
    """Leave the thing to Python, with work. Loop only, and the last thing it does in a turn."""
    store_release(baton + _HANDED, 1)


@kernel
def _answered(baton: Int, tries: Int) -> int:
    """Look so often whether the loop has seen the ticket; 1 = it has."""
    ticket = load_relaxed(baton + _TICKET)
    while load_acquire(baton + _ANSWER) != ticket:
        tries -= 1
        if tries <= 0:
            return 0
        pause()
    return 1


@kernel
def _raise(baton: Int) -> None:
    store_release(baton + _TICKET, load_relaxed(baton + _TICKET) + 1)


@kernel
def _set_handed(baton: Int, value: Int) -> None:
    store_release(baton + _HANDED, value)


@kernel
def _handed(baton: Int) -> int:
    return load_acquire(baton + _HANDED)


class Baton:
    """Python's end; `with baton:` has the thing, however deep such blocks stand in each other.

    It is Python's until `run`, and again from `halt` on. alive(): whether the loop still makes
    turns; where it does not, Python takes the thing without an answer. address: for the kernels.
    """

    def __init__(self, alive: Callable[[], bool]) -> None:
        self._memory: Any = np.zeros(BATON_BYTES // 8 + 8, np.int64)
        self.address = (int(self._memory.ctypes.data) + 63) // 64 * 64
        self._alive = alive
        self._depth = 1
        _raise(self.address)

    def run(self) -> None:
        """Give the thing to the loop."""
        self.__exit__(None, None, None)

    def halt(self) -> None:
        """Keep the thing from now on: the loop is about to end, or has ended."""
        self.__enter__()

    @property
    def handed_over(self) -> bool:
        """Tell whether the loop left something to do."""
        return bool(_handed(self.address))

    def attended(self) -> None:
        """Say, inside a block, that what the loop left has been done."""
        assert self._depth
        _set_handed(self.address, 0)

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            _raise(self.address)
            while not _answered(self.address, TRIES):
                if not self._alive():
                    break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._depth:
            raise MatrixError("a baton was given back that nobody had")
        self._depth -= 1
        if not self._depth:
            _raise(self.address)
