"""`alephtx report`: write the HTML report of a run anew, or print its summary."""

import argparse
from typing import Any

import msgspec

from alephtx.core.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = "Write the HTML report of a run that ended and print its path."
    parser.add_argument("run", nargs="?", help="a run's directory or name; default: the newest")
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument("--json", action="store_true", help="print summary.json, write nothing")


def run(options: argparse.Namespace) -> int:
    """Write the report; exit code 3 for a run that did not end or cannot be read."""
    from alephtx.engine.outside import find_run
    from alephtx.serve.report import write_report

    found = find_run(options.run, options.runs)
    summary = found.read_as(found.summary, dict[str, Any])
    if summary is None:
        state = "still goes" if found.alive else "did not end: `alephtx run` takes it up"
        raise ConfigError(f"run {found.id} {state}", remedy="alephtx status shows it")
    if options.json:
        print(msgspec.json.encode(summary).decode())
    else:
        print(write_report(found))
    return 0
