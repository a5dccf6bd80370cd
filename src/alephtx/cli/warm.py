"""`alephtx warm`: compile every kernel ahead of the first run, with a line of progress."""

import argparse

from alephtx.core import kernel
from alephtx.core.clock import MachineClock
from alephtx.engine.warm import DIRECT, ORDERS, REPLAY, SHARES, ensure_warm
from alephtx.serve.warming import Line


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
    line = Line()
    show = (lambda text: None) if options.quiet else line.show
    count = sum(ensure_warm(show, shares) for shares in (SHARES, REPLAY, ORDERS, DIRECT))
    if not options.quiet:
        line.end()
    seconds = (clock.monotonic() - started) / 1e9
    print(f"{count} kernels compiled in {seconds:.1f} s; cache {kernel.cache_root()}")
    return 0
