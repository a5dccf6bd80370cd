"""`alephtx backtest`: replay recorded markets and say what the strategies would have come to."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from alephtx.cli import CONFIG, OK
from alephtx.core.config import Config, load_config
from alephtx.core.errors import ConfigError
from alephtx.core.kernel import prefer_stored

if TYPE_CHECKING:
    from alephtx.engine.rundir import RunDirectory


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Replay the markets that a config's [backtest] names, with the strategies, limits and fees "
        "of the config, and write a run directory with orders, fills, tear sheets and a report."
    )
    parser.add_argument("config", nargs="?", default="config.toml", help="default: config.toml")
    parser.add_argument("--no-report", action="store_true", help="write no HTML")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON line")


def run(options: argparse.Namespace) -> int:
    """Replay; exit codes as in `alephtx --help`."""
    config = load_config(options.config, mode="paper")
    if config.backtest is None:
        raise ConfigError(
            f"{options.config} has no [backtest]", remedy="add one: docs/backtest.md shows how"
        )
    prefer_stored()
    from alephtx.engine.rundir import RunDirectory
    from alephtx.engine.warm import REPLAY, compile_hooks
    from alephtx.serve.warming import compile_kernels

    directory: RunDirectory | None = None
    try:
        compile_kernels(REPLAY, meanwhile=lambda: compile_hooks(config))
        # Not the node's own name: no engine may take up what a killed backtest leaves.
        name = f"{config.node.name}.backtest"
        directory = RunDirectory.create(Path(config.node.runs), name, config.dump())
        return _conclude(directory, _run(config, directory, options), options)
    except BrokenPipeError:
        raise  # whoever read the output closed it
    except KeyboardInterrupt:
        print(f"alephtx: interrupted; {_fate(directory)}", file=sys.stderr)
        raise
    except OSError as error:
        raise ConfigError(
            f"the run below {config.node.runs} cannot be written: {error.strerror or error}; "
            f"{_fate(directory)}",
            remedy="make room, or set node.runs to a folder of yours",
        ) from error


def _fate(directory: "RunDirectory | None") -> str:
    """Say what became of a run that was not told to its end."""
    if directory is None:
        return "nothing was run"
    if directory.ended:
        return f"{directory.path} is kept, though not all of it was written"
    return "the run was discarded"


def _run(config: Config, directory: "RunDirectory", options: argparse.Namespace) -> dict[str, Any]:
    """Run into a fresh directory, which goes again unless there is a run to keep."""
    from alephtx.engine.bottled import run_backtest

    directory.claim()
    ours = False
    try:
        with _Bar(quiet=options.json) as bar:
            summary: dict[str, Any] = run_backtest(config, directory, bar.show, bar.say)
    except (KeyboardInterrupt, OSError):
        raise
    except BaseException:
        ours = bar.said  # a mistake of ours after the run: the journal tells what it was
        raise
    finally:
        if ours or directory.ended:
            directory.release()
        else:
            directory.discard()
        if ours:
            print(f"alephtx: {directory.path} is kept, with its journal", file=sys.stderr)
    return summary


def _conclude(
    directory: "RunDirectory", summary: dict[str, Any], options: argparse.Namespace
) -> int:
    """Write and print what the run came to; exit code 3 where a strategy went wrong in it."""
    import msgspec

    from alephtx.serve import backtest_report, backtest_summary

    if not options.no_report:
        backtest_report.write(directory)
    if options.json:
        print(msgspec.json.encode(summary).decode())
    else:
        backtest_summary.show(directory)
    return CONFIG if summary["counters"]["strategy_errors"] else OK


class _Bar:
    """Rows done, rate and time left, on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self.silent, self.said = quiet, False
        self.quiet = quiet or not sys.stderr.isatty()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if not self.quiet:
            from rich.console import Console
            from rich.progress import Progress, TextColumn, TimeRemainingColumn

            text = TextColumn(
                "{task.completed:,.0f} of {task.total:,.0f} rows, {task.fields[rate]}"
            )
            self._progress = Progress(text, TimeRemainingColumn(), console=Console(stderr=True))
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, line: str) -> None:
        """Print what the run came to, as soon as it has run."""
        self.said = True
        if self._progress is not None:
            self._progress.stop()
        if not self.silent:
            print(line, flush=True)

    def show(self, rows: int, total: int) -> None:
        """Take how far it is."""
        if self._progress is None:
            return
        if self._task is None:  # before, nobody knows how many rows there are
            self._task = self._progress.add_task("", total=total, rate="")
        speed = self._progress.tasks[0].speed or 0.0
        self._progress.update(self._task, completed=rows, rate=f"{speed / 1e6:.1f} M rows/s")
