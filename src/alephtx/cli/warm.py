"""`alephtx warm`: compile every kernel ahead of the first run, with a line of progress."""

import argparse
import sys

from alephtx.core import kernel
from alephtx.core.clock import MachineClock
from alephtx.engine.warm import REPLAY, ensure_warm


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("--quiet", action="store_true", help="print the last line only")


def run(options: argparse.Namespace) -> int:
    """Compile what this version has not compiled on this machine yet."""
    if not kernel.JIT:
        print("nothing to compile: NUMBA_DISABLE_JIT is set")
        return 0
    clock = MachineClock()
    started = clock.monotonic()
    terminal = sys.stderr.isatty()

    def progress(line: str) -> None:
        if options.quiet:
            return
        if terminal:
            print(f"\r\x1b[K{line[:78]}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    count = ensure_warm(progress) + ensure_warm(progress, REPLAY)
    if terminal and not options.quiet:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    seconds = (clock.monotonic() - started) / 1e9
    print(f"{count} kernels compiled in {seconds:.1f} s; cache {kernel.cache_root()}")
    return 0
