"""`alephtx report`: write the HTML report of a run anew, print its summary, or compare runs."""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.errors import ConfigError
from alephtx.engine.rundir import RunDirectory


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Write the HTML report of a run that ended and print its path; of two runs or more, print "
        "what differs."
    )
    parser.add_argument(
        "run", nargs="*", help="a run's directory or name, or several; default: the newest"
    )
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument(
        "--json", action="store_true", help="print summary.json or the comparison, write nothing"
    )
    parser.add_argument("--html", metavar="FILE", help="write the comparison as a page, too")


def run(options: argparse.Namespace) -> int:
    """Write the report; exit code 3 for a run that did not end or cannot be read."""
    from alephtx.engine.outside import find_run

    found = [find_run(one, options.runs) for one in options.run or [None]]
    summaries = [_summary(one) for one in found]
    if len(found) > 1:
        return _compare(found, options)
    if options.html:
        raise ConfigError(
            "--html is for a comparison; one run's page goes to its own directory",
            remedy="name two runs, or leave --html out",
        )
    if options.json:
        print(msgspec.json.encode(summaries[0]).decode())
    else:
        print(_write(found[0]))
    return 0


def _summary(run: RunDirectory) -> dict[str, Any]:
    summary: dict[str, Any] | None = run.read_as(run.summary, dict[str, Any])
    if summary is None:
        state = "still goes" if run.alive else "did not end: `alephtx run` takes it up"
        raise ConfigError(f"run {run.id} {state}", remedy="alephtx status shows it")
    return summary


def _write(run: RunDirectory) -> Path:
    from alephtx.serve import backtest_report
    from alephtx.serve.backtest_read import is_backtest
    from alephtx.serve.report import write_report

    return backtest_report.write(run) if is_backtest(run) else write_report(run)


def _compare(runs: list[RunDirectory], options: argparse.Namespace) -> int:
    import shutil

    from alephtx.cli import say
    from alephtx.serve import backtest_compare, backtest_compared
    from alephtx.serve.backtest_summary import WIDTH

    found, sides = backtest_compare.compare(runs)
    if options.html:
        try:
            Path(options.html).write_text(backtest_compared.page(found, sides), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{options.html} cannot be written: {error.strerror}") from error
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else WIDTH
    say(
        found,
        as_json=options.json,
        lines=lambda it: backtest_compared.lines(it, width=width, color=terminal),
    )
    return 0
