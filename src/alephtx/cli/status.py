"""`alephtx status`: processes, books, orders, money and halts of a run, alive or ended."""

import argparse
from typing import TYPE_CHECKING, Any

from alephtx.cli import say

if TYPE_CHECKING:
    from alephtx.engine.outside import BudgetState, EngineStatus
    from alephtx.engine.rundir import RunDirectory
    from alephtx.serve.overview import Overview

WATCH_NS = 1_000_000_000
QUANTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "most": "max"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Show a run that goes, or how one ended. Exit code 0 whatever state the run is in; 3 when "
        "there is none, or when it cannot be read."
    )
    parser.add_argument("--run", help="a run's directory or name; default: the newest alive one")
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument("--json", action="store_true", help="as one JSON object (a line a look)")
    parser.add_argument("--watch", action="store_true", help="every second, until the run ends")


def run(options: argparse.Namespace) -> int:
    """Print one picture of a run, or one a second."""
    from alephtx.core.clock import pause_thread
    from alephtx.core.kernel import prefer_stored
    from alephtx.engine.outside import find_run
    from alephtx.serve.overview import look

    prefer_stored()
    found = find_run(options.run, options.runs)
    if options.watch and not options.json:
        return _watch(found)
    while True:
        seen = look(found)
        say(seen, as_json=options.json, lines=lines)
        if not options.watch or not seen.pid:
            return 0
        pause_thread(WATCH_NS)


def _watch(found: "RunDirectory") -> int:
    """Redraw the view of a run until it ends; plain lines where there is no terminal."""
    from alephtx.core.clock import pause_thread
    from alephtx.engine.watch import processes_of
    from alephtx.serve.drive import Viewer
    from alephtx.serve.overview import look

    with Viewer(f"AlephTX  {found.id}", every=1) as viewer:
        while (seen := look(found)).pid:
            viewer.show(found.read_json(found.status) or {}, seen.books, processes_of(found))
            pause_thread(WATCH_NS)
    say(seen, as_json=False, lines=lines)
    return 0


def lines(seen: "Overview") -> list[str]:
    """Return a run as lines of plain text."""
    who = f", process {seen.pid}" if seen.pid else ""
    told = [f"run        {seen.run} ({seen.mode or '-'}): {seen.state}{who}"]
    if seen.trouble:
        told.append(f"matrix     {seen.trouble}")
    told += [f"process    {_process(process)}" for process in seen.processes]
    told += [
        f"book       {book['key']}: {book['state']}, bid {book['bid']}, ask {book['ask']}, "
        f"age {book['age_ms']} ms"
        for book in seen.books
    ]
    if seen.status is not None:
        told += _engine(seen.status)
    if seen.halts:
        last = seen.halts[-1]
        told.append(f"halt       {'stands' if last.action == 'halt' else 'lifted'}: {last.reason}")
    if seen.summary is not None:
        told += _summary(seen.summary)
    elif not seen.pid:
        told.append("end        it did not end: `alephtx run` takes it up, cancels, reconciles")
    return told


def _process(process: Any) -> str:
    state = f"runs as {process.pid}" if process.pid else f"ended with {process.exit_code}"
    pinned = f", on cpu {process.cores}" if process.pid and process.cores else ""
    return f"{process.name}: {state}, {process.restarts} restarts{pinned}"


def _engine(status: "EngineStatus") -> list[str]:
    told = [
        f"strategy   {s.name}: {'on' if s.enabled else 'off'}, {s.events:,} events, "
        f"{s.intents:,} intents, {s.denied:,} denied, {s.open_orders} open orders, "
        f"{_pairs(s.positions) or 'flat'}"
        for s in status.strategies
    ]
    told += [_layer(s) for s in status.layers.strategies if s.orders]
    told += [
        f"account    {a.name}: {'ready' if a.ready else 'resyncing'}, {a.live_orders} live orders, "
        f"{a.fills} fills, {a.foreign} foreign"
        for a in status.accounts
    ]
    if status.machine:
        told.append("machine    " + "; ".join(f"{k}: {v}" for k, v in status.machine.items()))
    told.append(f"denied     {_pairs(status.denied) or 'nothing'}")
    told += [
        f"{name:<10} {_pairs(amounts) or '0'}"
        for name, amounts in (
            ("realized", status.realized),
            ("unrealized", status.unrealized),
            ("fees", status.fees),
        )
    ]
    told += [f"alarm      {alarm}" for alarm in status.alarms]
    return told


def _layer(budget: "BudgetState") -> str:
    from alephtx.serve.terminal import micros

    told = ", ".join(
        f"{name} {micros(budget.order.get(key, 0))}" for key, name in QUANTILES.items()
    )
    return (
        f"layer      {budget.name} ({budget.layer}): {told}; budget {micros(budget.budget_ns)}, "
        f"{budget.over:,} of {budget.orders:,} orders over, {budget.breaches} breaches"
    )


def _summary(summary: dict[str, Any]) -> list[str]:
    told = ["end        reconciled" if summary.get("reconciled") else "end        NOT reconciled"]
    left = summary.get("left_open") or []
    if left:
        told.append(f"left open  {left}")
    return told


def _pairs(amounts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in amounts.items())
