"""`alephtx warm`: compile every kernel ahead of the first run, with a line of progress."""

import argparse
import importlib
import pkgutil
import sys

import alephtx
from alephtx.core import kernel
from alephtx.core.clock import MachineClock

SKIPPED = ("alephtx.cli", "alephtx.testing")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("--quiet", action="store_true", help="print the last line only")


def run(options: argparse.Namespace) -> int:
    """Import every module and run the `warm()` of those that have one."""
    if not kernel.JIT:
        print("nothing to compile: NUMBA_DISABLE_JIT is set")
        return 0
    clock = MachineClock()
    started = clock.monotonic()
    terminal = sys.stderr.isatty() and not options.quiet
    if not options.quiet:
        kernel.listeners.append(lambda name: _progress(name, terminal))
    warmed = 0
    try:
        for name in modules():
            warm = getattr(importlib.import_module(name), "warm", None)
            if warm is not None:
                warm()
                warmed += 1
    finally:
        kernel.listeners.clear()
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    seconds = (clock.monotonic() - started) / 1e9
    print(
        f"{len(kernel.compiled)} kernels compiled, {warmed} modules warm, {seconds:.1f} s; "
        f"cache {kernel.cache_root()}"
    )
    return 0


def modules() -> list[str]:
    """Return the names of all modules but those of the command line and of the test kits."""
    found = pkgutil.walk_packages(alephtx.__path__, "alephtx.")
    return [module.name for module in found if not module.name.startswith(SKIPPED)]


def _progress(name: str, terminal: bool) -> None:
    if terminal:
        print(f"\r\x1b[Kcompiling {name}", end="", file=sys.stderr, flush=True)
    else:
        print(f"compiling {name}", file=sys.stderr, flush=True)
