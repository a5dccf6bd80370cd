"""`alephtx kill`: the kill switch - no new order, and every order of ours cancelled.

The halt word in the matrix stops new orders at once; it needs nobody's help. The engine then
cancels what is open. One that does not stir is killed: its supervisor starts it again, and an
engine that starts cancels what its journal left open.
"""

import argparse
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from alephtx.cli import OK, RISK, say
from alephtx.cli.run import seconds
from alephtx.core.errors import AlephError, ConfigError

if TYPE_CHECKING:
    from alephtx.engine.outside import EngineStatus
    from alephtx.engine.rundir import RunDirectory

POLL_NS = 50_000_000
STIR_NS = 3_000_000_000
"""A status.json this old, of an engine that writes four a second, means that it does not stir."""


class Killed(msgspec.Struct):
    """What came of it, by run. live_orders: -1 where nobody can say."""

    run: str
    halted: bool
    live_orders: int
    said: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Deny every new order and cancel all of ours, in every run that goes, and wait until none "
        "is open. Exit code 5 where orders may remain open, 3 where no run goes."
    )
    parser.add_argument("--run", help="a run's directory or name; default: all that go")
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument("--reason", default="no reason given", help="kept with the run")
    parser.add_argument("--wait", type=seconds, default=30.0, help="seconds; default: 30")
    parser.add_argument("--resume", action="store_true", help="lift the halt, trade on")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Set or lift the halt of one run or all; see `arguments` for the exit codes."""
    found = _wanted(options)
    if options.resume:
        results = [_resume(run, options.reason) for run in found]
    else:
        # Every halt word first: waiting for one run must not keep another one trading.
        results = _halt_all(found, options)
    say(results, as_json=options.json, lines=lambda rows: [f"{r.run}: {r.said}" for r in rows])
    return OK if options.resume or all(r.live_orders == 0 for r in results) else RISK


def _wanted(options: argparse.Namespace) -> "list[RunDirectory]":
    from alephtx.engine.outside import below, find_run

    if options.run:
        found = [find_run(options.run, options.runs)]
    else:
        found = [run for run in below(options.runs) if run.alive]
    if not found:
        raise ConfigError(
            f"no run below {options.runs} goes", remedy="--runs says where to look; see the status"
        )
    return found


def _halt_all(found: "list[RunDirectory]", options: argparse.Namespace) -> list[Killed]:
    from alephtx.core.clock import MachineClock

    begun = MachineClock().now()
    troubles: dict[str, str] = {}
    for run in found:
        try:
            _set_halt(run, "halt", options.reason)
        except AlephError as error:  # the others are halted all the same
            troubles[run.id] = str(error)
    deadline = MachineClock().monotonic() + int(options.wait * 1e9)
    return [
        _unhalted(run, troubles[run.id]) if run.id in troubles else _wait(run, begun, deadline)
        for run in found
    ]


def _unhalted(run: "RunDirectory", trouble: str) -> Killed:
    """Tell of a run whose halt word could not be set, and what its last status knew."""
    from alephtx.engine.outside import status_of

    status = None if run.alive else status_of(run)
    if run.ended:
        left = (run.read_as(run.summary, dict[str, Any]) or {}).get("left_open") or []
        said = "has ended; " + (f"left open: {left}" if left else "nothing of it is open")
        return Killed(run.id, halted=False, live_orders=len(left), said=said)
    if status is not None:
        said = f"nobody runs it, and {status.live_orders} orders may be open"
        said += ": `alephtx run` takes it up and cancels them" if status.live_orders else ""
        return Killed(run.id, halted=False, live_orders=status.live_orders, said=said)
    return Killed(run.id, halted=False, live_orders=-1, said=trouble)


def _set_halt(run: "RunDirectory", action: str, reason: str) -> None:
    """Set or lift the halt word of a run that lives, and keep who did it and why."""
    from alephtx.core.clock import MachineClock
    from alephtx.engine.outside import HaltNote, attach_to, halts_of
    from alephtx.engine.supervisor import HALT_KILLED
    from alephtx.matrix.writers import halt_set

    if not run.alive:
        raise ConfigError(f"run {run.id} does not go")
    with attach_to(run) as matrix:
        halt_set(matrix.map, HALT_KILLED if action == "halt" else 0)
    notes = [*halts_of(run), HaltNote(MachineClock().now(), action, reason)]
    run.write_json(run.path / "halts.json", notes)


def _resume(run: "RunDirectory", reason: str) -> Killed:
    from alephtx.engine.outside import status_of

    _set_halt(run, "resume", reason)
    status = status_of(run)
    orders = status.live_orders if status else 0
    return Killed(run.id, halted=False, live_orders=orders, said="the halt is lifted")


def _wait(run: "RunDirectory", begun: int, deadline: int) -> Killed:
    """Wait until a status from after the halt shows no live order; restart an engine that hangs."""
    from alephtx.core.clock import MachineClock, pause_thread
    from alephtx.engine.outside import owner_of, status_of

    owner = owner_of(run)
    if owner is not None and owner.mode == "feed":
        return Killed(run.id, halted=True, live_orders=0, said="market data only, nothing to stop")
    clock, status, restarted = MachineClock(), None, False
    while clock.monotonic() < deadline and run.alive:
        status = status_of(run)
        if status is not None and _is_over(status, begun):
            return Killed(run.id, halted=True, live_orders=0, said="halted, no order is open")
        if status is not None and not restarted and clock.now() - max(begun, status.ts) > STIR_NS:
            restarted = _restart_engine(run, status.ts)
        pause_thread(POLL_NS)
    if run.ended:
        return _unhalted(run, "")
    left = status.live_orders if status is not None else 0
    told = str(left) if left else "an unknown number of"
    said = f"halted, but {told} orders may be open after {(clock.now() - begun) / 1e9:.0f} s"
    return Killed(run.id, halted=True, live_orders=left or -1, said=said)


def _is_over(status: "EngineStatus", begun: int) -> bool:
    ready = all(account.ready for account in status.accounts)
    return status.ts > begun and status.halted and ready and status.live_orders == 0


def _restart_engine(run: "RunDirectory", said_ns: int) -> bool:
    """Kill the engine that last spoke at said_ns and hangs since; True when it was there to kill.

    One that was started after that is on its way, and cancels what is open when it is there.
    """
    from alephtx.engine.supervisor import ProcessState

    processes: Iterable[ProcessState] = (
        run.read_as(run.path / "processes.json", list[ProcessState]) or []
    )
    for process in processes:
        spoke = process.name == "engine" and process.pid > 0 and process.started < said_ns
        if spoke and _is_engine_of(process.pid, run.path):
            os.kill(process.pid, signal.SIGKILL)
            return True
    return False


def _is_engine_of(pid: int, path: Path) -> bool:
    """Tell whether a process is this run's engine; a process id alone may be another's by now."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"alephtx.engine.main" in words and os.fsencode(path) in words
