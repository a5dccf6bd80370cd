"""The line of progress while kernels are compiled; apart, for verbs that are to start quickly."""

import sys
from collections.abc import Callable

from alephtx.core.clock import MachineClock
from alephtx.engine.warm import SHARES, Shares, ensure_warm

EVERY_NS = 5_000_000_000
"""How often a file or a pipe is told: it need not know each of hundreds of kernels."""


class Line:
    """One line on a terminal, written over and over; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._terminal, self._next = sys.stderr.isatty(), 0
        self._clock = MachineClock()

    def show(self, text: str) -> None:
        """Say how far it is."""
        now = self._clock.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text[:78]}")
        elif now >= self._next:
            self._next = now + EVERY_NS
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Take the line off."""
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def compile_kernels(shares: Shares = SHARES, meanwhile: Callable[[], None] | None = None) -> None:
    """Compile what is not compiled yet, with one line of progress; see `ensure_warm`."""
    line = Line()
    if ensure_warm(line.show, shares, meanwhile):
        line.end()
