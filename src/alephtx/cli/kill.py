"""`alephtx kill`: the kill switch - no new order, every order of ours cancelled, and proof of it.

All it does is knock at the kill door (`engine.kill_door`), which the kill file, SIGUSR1 and other
programs use too, and print what came of it.
"""

import argparse
from typing import TYPE_CHECKING, Any

import msgspec

from alephtx.cli import OK, RISK, say
from alephtx.cli.run import seconds
from alephtx.core.errors import ConfigError

if TYPE_CHECKING:
    from alephtx.engine.kill_words import KillReport
    from alephtx.engine.rundir import RunDirectory


class Killed(msgspec.Struct):
    """What came of it, by run. live_orders: -1 where nobody can say."""

    run: str
    halted: bool
    live_orders: int
    said: str
    report: Any = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Deny every new order and cancel all of ours, in every run that goes, and wait until no "
        "venue shows one. Works with the engine hung or gone. Exit code 5 where orders may remain "
        "open, 3 where no run goes."
    )
    parser.add_argument("--run", help="a run's directory or name; default: all that go")
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument("--reason", default="no reason given", help="kept with the run")
    parser.add_argument("--flatten", action="store_true", help="close positions too")
    parser.add_argument("--wait", type=seconds, default=30.0, help="seconds; default: 30")
    parser.add_argument("--resume", action="store_true", help="lift the halt, trade on")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Kill or resume one run or all; see `arguments` for the exit codes."""
    from alephtx.core.kernel import prefer_stored
    from alephtx.engine import kill_door

    prefer_stored()  # of all verbs this one must not wait for a compiler
    found = _wanted(options)
    if options.resume:
        results = [_resume(run, options.reason) for run in found]
    else:
        over = [_over(run) for run in found if kill_door.ended(run)]
        going = [run for run in found if not kill_door.ended(run)]
        reports = kill_door.kill_all(
            going, options.reason, "cli", flatten=options.flatten, wait_s=options.wait
        )
        results = [*over, *(_told(report) for report in reports)]
    say(
        results, as_json=options.json, lines=lambda rows: [line for r in rows for line in _lines(r)]
    )
    return OK if options.resume or all(r.live_orders == 0 for r in results) else RISK


def _wanted(options: argparse.Namespace) -> "list[RunDirectory]":
    from alephtx.engine.kill_engine import engine_pid
    from alephtx.engine.outside import below, find_run

    if options.run:
        found = [find_run(options.run, options.runs)]
    else:  # an engine may have outlived its supervisor
        found = [run for run in below(options.runs) if run.alive or engine_pid(run)]
    if not found:
        raise ConfigError(
            f"no run below {options.runs} goes", remedy="--runs says where to look; see the status"
        )
    return found


def _over(run: "RunDirectory") -> Killed:
    return Killed(run.id, halted=False, live_orders=0, said="has ended; nothing of it is open")


def _resume(run: "RunDirectory", reason: str) -> Killed:
    from alephtx.engine.kill_door import resume
    from alephtx.engine.outside import status_of

    resume(run, reason)
    status = status_of(run)
    orders = status.live_orders if status else 0
    return Killed(run.id, halted=False, live_orders=orders, said="the halt is lifted")


def _told(report: "KillReport") -> Killed:
    flat = report.flat is not False
    live = 0 if report.confirmed and flat else report.live_orders or -1
    return Killed(report.run, report.halted, live, report.said, report)


def _lines(killed: Killed) -> list[str]:
    """Return one line for the run and one for each account."""
    lines = [f"{killed.run}: {killed.said}"]
    for account in killed.report.accounts if killed.report else ():
        told = f"{account.cancels} cancelled in {account.requests} requests"
        if account.sent_ns:
            told += f", the last sent after {account.sent_ns / 1e6:.0f} ms"
        told += f"; {'nothing open' if account.confirmed else 'not confirmed'}"
        told += f" after {account.confirmed_ns / 1e6:.0f} ms" if account.confirmed_ns else ""
        if account.open:
            told += f": {', '.join(account.open[:5])}"
        if account.positions:
            told += "; left: " + ", ".join(f"{lots} {k}" for k, lots in account.positions.items())
        if account.error:
            told += f"; {account.error}"
        lines.append(f"  {account.account} ({account.venue}): {told}")
    return lines
