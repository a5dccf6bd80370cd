"""`alephtx run`: trade what a config says, under a supervisor, until it is told to stop."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alephtx.core.config import Config, load_config
from alephtx.core.errors import ConfigError

if TYPE_CHECKING:
    from alephtx.engine.rundir import RunDirectory


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Trade what a config says. A run that did not end is taken up where its journal stops. "
        "The first Ctrl-C denies new orders, cancels ours and reconciles; a second one ends at "
        "once and says what may be open."
    )
    parser.add_argument("config", nargs="?", default="config.toml", help="default: config.toml")
    parser.add_argument("--mode", choices=("paper", "shadow", "live"), help="instead of node.mode")
    parser.add_argument("--seconds", type=seconds, help="stop after that long")
    parser.add_argument("--fresh", action="store_true", help="take no unfinished run up")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON line")


def seconds(text: str) -> float:
    """Return a duration above zero, for argparse."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a duration in seconds")
    return value


def run(options: argparse.Namespace) -> int:
    """Run until the end; exit codes as in `alephtx --help`."""
    config = load_config(options.config, mode=options.mode or "")
    if not config.strategies:
        raise ConfigError(
            f"{options.config} has no strategy", remedy="add [strategies.NAME], or: alephtx feed"
        )
    import uvloop

    return uvloop.run(_run(config, options))


async def _run(config: Config, options: argparse.Namespace) -> int:
    from alephtx.core.clock import MachineClock
    from alephtx.core.kernel import prefer_stored
    from alephtx.engine.assemble import check_strategies
    from alephtx.engine.resume import grown, unfinished_run
    from alephtx.engine.run import Run
    from alephtx.engine.rundir import RunDirectory
    from alephtx.engine.venues import fetch_instruments
    from alephtx.engine.warm import shares_of
    from alephtx.serve.drive import Viewer, conclude, log_to
    from alephtx.serve.warming import compile_kernels

    prefer_stored()
    taken = None if options.fresh else unfinished_run(config)
    compile_kernels(shares_of(config))
    instruments = await fetch_instruments(config, MachineClock())
    check_strategies(config, instruments)
    if taken is None:
        directory = RunDirectory.create(Path(config.node.runs), config.node.name, config.dump())
    else:
        directory, instruments = taken, grown(taken, instruments)
    log_to(directory)
    begun = False
    try:
        directory.write_bytes(directory.instruments, instruments.to_json())
        _say_what_begins(config, directory, taken=taken is not None)
        with Viewer(f"AlephTX {config.node.mode}  {directory.id}", quiet=options.json) as viewer:
            driven = Run(config, directory, instruments, viewer.show)
            outcome = await driven.drive(options.seconds)
            begun = True
    finally:
        if not begun and taken is None and not any(directory.journal.iterdir()):
            directory.discard()
    code = conclude(directory, outcome, as_json=options.json)
    if not outcome.finished:
        print(
            f"alephtx: run {directory.id} is unfinished; the next `alephtx run` takes it up and "
            "cancels what is open",
            file=sys.stderr,
        )
    return code


def _say_what_begins(config: Config, run: "RunDirectory", *, taken: bool) -> None:
    from alephtx.engine.outside import halts_of

    if taken:
        print(f"alephtx: taking up run {run.id}, which did not end", file=sys.stderr)
    if taken and (notes := halts_of(run)) and notes[-1].action == "halt":
        print(
            f"alephtx: it was killed ({notes[-1].reason}) and begins halted; "
            "`alephtx kill --resume` lifts that",
            file=sys.stderr,
        )
    mainnet = [name for name, venue in config.venues.items() if venue.environment == "mainnet"]
    if config.node.mode == "live" and mainnet:
        print(f"alephtx: trading real money at {', '.join(mainnet)}", file=sys.stderr)
