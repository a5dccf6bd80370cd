"""`alephtx feed`: market data only - the matrix, a feeder a venue, a live table, recordings."""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from alephtx.cli import say
from alephtx.cli.run import seconds
from alephtx.core.config import Config, load_config


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Fill the matrix with market data and show it; nothing is traded, and accounts and "
        "strategies of the config are not looked at. Ctrl-C ends it."
    )
    parser.add_argument("config", nargs="?", default="config.toml", help="default: config.toml")
    parser.add_argument("--seconds", type=seconds, help="stop after that long")
    parser.add_argument("--record", action="store_true", help="keep every raw frame of all venues")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON line")


def run(options: argparse.Namespace) -> int:
    """Feed until the end; exit codes as in `alephtx --help`."""
    config = without_trading(load_config(options.config, mode="paper"), record=options.record)
    import uvloop

    return uvloop.run(_run(config, options))


def without_trading(config: Config, *, record: bool) -> Config:
    """Return the config's node, matrix and venues; nothing in it can trade."""
    venues = {
        name: msgspec.structs.replace(venue, record=venue.record or record)
        for name, venue in config.venues.items()
    }
    return msgspec.structs.replace(config, venues=venues, accounts={}, strategies={})


async def _run(config: Config, options: argparse.Namespace) -> int:
    from alephtx.core.clock import MachineClock
    from alephtx.core.kernel import prefer_stored
    from alephtx.engine.run import Run
    from alephtx.engine.rundir import RunDirectory
    from alephtx.engine.venues import fetch_instruments
    from alephtx.serve.drive import Viewer, log_to
    from alephtx.serve.warming import compile_kernels

    prefer_stored()
    compile_kernels()
    instruments = await fetch_instruments(config, MachineClock())
    directory = RunDirectory.create(
        Path(config.node.runs), f"{config.node.name}.feed", config.dump()
    )
    log_to(directory)
    begun = False
    try:
        directory.write_bytes(directory.instruments, instruments.to_json())
        title = f"AlephTX feed  {directory.id}"
        with Viewer(title, quiet=options.json, line=books_line) as viewer:
            driven = Run(config, directory, instruments, viewer.show, trading=False)
            outcome = await driven.drive(options.seconds)
            begun = True
    finally:
        if not begun:
            directory.discard()
    say({**outcome.summary, "path": str(directory.path)}, as_json=options.json, lines=lines)
    if outcome.failure:
        print(f"alephtx: {outcome.failure}", file=sys.stderr)
        return 3 if outcome.unfit else 1
    return 0


def books_line(status: dict[str, Any], books: list[dict[str, Any]]) -> str:
    """Return one line for logs and pipes."""
    return "   ".join(
        f"{book['key']} {book['bid']} / {book['ask']} {book['state']}" for book in books
    )


def lines(summary: dict[str, Any]) -> list[str]:
    """Return the last words of a feed."""
    told = [f"run        {summary['run']} (feed)"]
    told += [f"book       {key}: {state}" for key, state in summary["book_states"].items()]
    for venue, counters in summary["feeders"].items():
        said = ", ".join(
            f"{counters[name]:,} {name}"
            for name in ("frames", "events", "gaps", "resyncs", "reconnects", "not_understood")
        )
        told.append(f"feeder     {venue}: {said}")
    recordings = sorted((Path(summary["path"]) / "recordings").iterdir())
    told += [f"recording  {path} ({path.stat().st_size:,} bytes)" for path in recordings]
    return told
