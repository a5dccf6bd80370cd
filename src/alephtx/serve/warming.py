"""The line of progress while kernels are compiled; apart, for verbs that are to start quickly."""

import sys
from collections.abc import Callable

from alephtx.engine.warm import SHARES, Shares, ensure_warm


def compile_kernels(shares: Shares = SHARES, meanwhile: Callable[[], None] | None = None) -> None:
    """Compile what is not compiled yet, with one line of progress; see `ensure_warm`."""
    terminal = sys.stderr.isatty()

    def progress(line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line[:78]}" if terminal else f"{line}\n")
        sys.stderr.flush()

    if ensure_warm(progress, shares, meanwhile) and terminal:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
