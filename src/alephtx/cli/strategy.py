"""`alephtx strategy`: the versions of strategies that a run trades with, and swapping one.

A swap is asked for at a door in the run's directory (`engine.swap_door`), which any program of the
same user may use; this prints the stages as the engine tells them.
"""

import argparse
import getpass
import os
from typing import TYPE_CHECKING

import msgspec

from alephtx.cli import CONFIG, OK, say
from alephtx.cli.run import seconds
from alephtx.core.errors import ConfigError

if TYPE_CHECKING:
    from alephtx.engine.rundir import RunDirectory
    from alephtx.engine.swap_door import Request, Told

POLL_NS = 20_000_000
TAKE_NS = 10_000_000_000
"""How long an engine may take to take a request up."""


class Line(msgspec.Struct):
    """A strategy of a run, as `list` shows it. swaps: how many took place in this run."""

    name: str
    use: str
    file: str
    digest: str
    layer: str
    since: str
    swaps: int


class Swapped(msgspec.Struct):
    """What came of a swap. outcome: swapped, refused, rolled_back or unsettled."""

    run: str
    name: str
    file: str
    digest: str
    outcome: str
    why: str
    stages: list[dict[str, str | int]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Show which version of each strategy a run trades with, or swap one while it trades. Exit "
        "code 3 where the new version was refused or taken back; the reason is printed."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="name, file, digest, layer, since when")
    swap = actions.add_parser(
        "swap", help="try another version beside the running one, then let it go on in its place"
    )
    swap.add_argument("name", help="the strategy, as in the config")
    swap.add_argument("file", help="its new version, a .py file")
    swap.add_argument(
        "--canary-seconds", type=_span, default=10.0,
        help="how long it hears live events without orders before the switch; default: 10",
    )  # fmt: skip
    swap.add_argument(
        "--watch-seconds", type=_span, default=30.0,
        help="how long the old version stands by after it; default: 30",
    )  # fmt: skip
    swap.add_argument(
        "--denied-max", type=_share, default=0.5, metavar="FRAC",
        help="the share of its intents that the gate may deny; default: 0.5",
    )  # fmt: skip
    for action in (listed, swap):
        action.add_argument("--run", help="a run's directory or name; default: the newest alive")
        action.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
        action.add_argument("--json", action="store_true", help="as one JSON object")


def _span(word: str) -> float:
    """Return seconds, 0 for none."""
    return 0.0 if word.strip() in ("0", "0.0") else seconds(word)


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no share from 0 to 1")
    return share


def run(options: argparse.Namespace) -> int:
    """Do one action."""
    from alephtx.engine.outside import find_run

    found = find_run(options.run, options.runs)
    if options.action == "list":
        say(_listed(found), as_json=options.json, lines=_lines)
        return OK
    swapped = _swap(found, options)
    say(swapped, as_json=options.json, lines=_result)
    return OK if swapped.outcome == "swapped" else CONFIG


def _listed(found: "RunDirectory") -> list[Line]:
    from datetime import UTC, datetime

    from alephtx.engine.swap_door import read_book

    book = read_book(found)
    if not book.strategies:
        raise ConfigError(f"run {found.id} has told no versions yet", remedy="is its engine up?")
    return [
        Line(
            held.name, held.use, held.running.file, held.running.digest, held.layer,
            datetime.fromtimestamp(held.running.since_ns // 10**9, UTC).isoformat(), held.swaps,
        )
        for held in book.strategies
    ]  # fmt: skip


def _lines(listed: list[Line]) -> list[str]:
    rows = [("strategy", "layer", "digest", "swaps", "since", "file")]
    rows += [(r.name, r.layer, r.digest, str(r.swaps), r.since, r.file) for r in listed]
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]])
        for row in rows
    ]


def _swap(found: "RunDirectory", options: argparse.Namespace) -> Swapped:
    """Ask, and tell the stages until there is an outcome."""
    from alephtx.core.clock import MachineClock, pause_thread
    from alephtx.engine import swap_door

    if not found.alive:
        raise ConfigError(f"run {found.id} does not go", remedy="name the file in the config")
    clock = MachineClock()
    request = swap_door.ask(
        found, options.name, options.file, clock, by=f"{getpass.getuser()} ({os.getpid()})",
        canary_s=options.canary_seconds, watch_s=options.watch_seconds,
        denied_max=options.denied_max,
    )  # fmt: skip
    deadline, shown = clock.monotonic() + TAKE_NS, 0
    while True:
        told = swap_door.told_of(found, request)
        if told is not None:
            shown = _show(told, shown, quiet=options.json)
            if told.outcome:
                return _outcome(found, request, told)
        elif clock.monotonic() > deadline and swap_door.withdraw(found, request):
            raise ConfigError(
                f"the engine of run {found.id} took nothing up within {TAKE_NS // 10**9} s",
                remedy="alephtx status shows whether it goes; the request was taken back",
            )
        if _is_over(found):
            swap_door.withdraw(found, request)
            raise ConfigError(
                f"run {found.id} ended meanwhile", remedy="alephtx strategy list shows what ran"
            )
        pause_thread(POLL_NS)


def _is_over(found: "RunDirectory") -> bool:
    return not found.alive


def _show(told: "Told", shown: int, *, quiet: bool) -> int:
    """Print the stages that are new; return how many there are."""
    if not quiet:
        lines = [f"{stage.stage:<12} {stage.said}" for stage in told.stages[shown:]]
        say(lines, as_json=False, lines=list)
    return len(told.stages)


def _outcome(found: "RunDirectory", request: "Request", told: "Told") -> Swapped:
    stages: list[dict[str, str | int]] = [
        {"ts": stage.ts, "stage": stage.stage, "said": stage.said} for stage in told.stages
    ]
    return Swapped(
        found.id, request.name, request.file, request.digest, told.outcome, told.why, stages
    )


def _result(swapped: Swapped) -> list[str]:
    if swapped.outcome == "swapped":
        return [f"{swapped.name}: swapped to {swapped.file} ({swapped.digest})"]
    return [f"{swapped.name}: {swapped.outcome.replace('_', ' ')}: {swapped.why}"]
