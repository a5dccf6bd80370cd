"""One command, few verbs; a verb is listed only when it works.

Each verb is a file here with `arguments(parser)` and `run(options) -> exit code`, imported only
when it is called, so that `alephtx --help` is quick. A new verb is a file and a line in `VERBS`.
"""

import argparse
import importlib
import keyword
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from alephtx.core.errors import (
    AlephError,
    ConfigError,
    JournalError,
    LedgerMismatch,
    MatrixError,
    PluginError,
    SimulationError,
    UnitError,
    VenueError,
)
from alephtx.core.secrets import scrub

OK, INTERNAL, USAGE, CONFIG, VENUE, RISK, UNRECONCILED = 0, 1, 2, 3, 4, 5, 6
INTERRUPTED, OUTPUT_CLOSED = 130, 141

UNUSABLE = (ConfigError, PluginError, UnitError, MatrixError, JournalError, SimulationError)
"""Something that was given or found cannot be used: no bug, and no venue's word."""

VERBS = {
    "init": "write a config to start from",
    "demo": "replay real recordings over real sockets and trade on them",
    "try": "run a strategy over a recording and say what it did",
    "run": "trade what a config says",
    "feed": "watch and record market data, without trading",
    "status": "show a run that goes, or how one ended",
    "kill": "deny every new order and cancel all of ours",
    "ledger": "print a run's balances, positions, statements and tax lots",
    "limits": "show the limits of a run, and change them by signed commands",
    "strategy": "show the strategies of a run, and swap one while it trades",
    "backtest": "replay recorded markets and say what strategies come to",
    "diff": "replay a session that traded and say why the replay differs",
    "data": "list, check, import and export market data",
    "report": "write the report of a run anew, or compare runs",
    "lab": "sweep parameters over backtests, say what is luck; look for look-ahead",
    "twin": "simulate venues on this machine",
    "check": "say what is wrong with a config, line by line",
    "doctor": "say what this host costs in latency, and how to change it",
    "warm": "compile every kernel ahead of the first run",
    "version": "print versions of AlephTX and what it stands on",
}

EXIT_CODES = """\
exit codes:
  0    done
  1    internal error (a bug: please report it)
  2    wrong usage
  3    config, plugin, run directory, matrix or port that cannot be used; a strategy that failed
  4    a venue refused, or could not be reached
  5    stopped by the risk gate or the kill switch
  6    our books and the venue's differ
  130  interrupted
  141  whoever read the output closed it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; errors of ours are one line, bugs a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser(given).parse_args(given)
        code: int = _module(options.verb).run(options)
        sys.stdout.flush()
    except AlephError as error:
        complain(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Point stdout elsewhere, or the interpreter complains again when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED
    except Exception:  # noqa: BLE001 - the last door: whatever it is, it is a bug, shown whole
        print(scrub(traceback.format_exc()), end="", file=sys.stderr)
        print("alephtx: internal error; please report the lines above", file=sys.stderr)
        return INTERNAL
    return code


def parser(given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; only the verb that is given is imported for its arguments."""
    made = argparse.ArgumentParser(
        prog="alephtx",
        description="An open, Python-first quantitative trading platform.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    wanted = next((word for word in given if not word.startswith("-")), "")
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        if name == wanted:
            _module(name).arguments(verb)
    return made


def _module(verb: str) -> Any:
    """Import a verb's file; one that is a word of Python has an underscore after its name."""
    return importlib.import_module(f"alephtx.cli.{verb}{'_' if keyword.iskeyword(verb) else ''}")


def exit_code(error: AlephError) -> int:
    """Return the exit code that stands for an error."""
    if isinstance(error, UNUSABLE):
        return CONFIG
    if isinstance(error, VenueError):
        return VENUE
    return UNRECONCILED if isinstance(error, LedgerMismatch) else INTERNAL


def say(thing: Any, *, as_json: bool, lines: Callable[[Any], list[str]]) -> None:
    """Print something for a program as one JSON line, or for a person as lines of text."""
    if as_json:
        import msgspec

        print(msgspec.json.encode(thing).decode(), flush=True)
    else:
        for line in lines(thing):
            print(scrub(line))
        sys.stdout.flush()


def complain(error: Any) -> None:
    """Print an error, a line per mistake, without secrets."""
    for line in scrub(str(error)).splitlines() or [type(error).__name__]:
        print(f"alephtx: {line}", file=sys.stderr)
