"""What `run` and `demo` share: where lines go, the live view, and the last words of a run."""

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Self

import msgspec
from rich.live import Live

from alephtx.core import log as logs
from alephtx.engine.run import Outcome
from alephtx.engine.rundir import RunDirectory
from alephtx.serve.terminal import LAYER_QUANTILES, console, micros, plain_line, render

PLAIN_EVERY = 4
"""Without a terminal every fourth refresh prints a line: one a second."""


def log_to(directory: RunDirectory) -> None:
    """Send this process's log lines to the run's directory; the screen belongs to the view."""
    logs.configure(stderr=False, path=directory.logs / "supervisor.log")


class Viewer:
    """The live terminal view, or plain lines where there is no terminal."""

    def __init__(
        self,
        title: str,
        *,
        quiet: bool = False,
        every: int = PLAIN_EVERY,
        line: Callable[..., str] = lambda status, _books: plain_line(status),
    ) -> None:
        """Prepare a view; every and line: how often and what without a terminal."""
        self.title = title
        self.quiet = quiet
        self.every = every
        self.line = line
        self._console = console()
        self._live: Live | None = None
        self._count = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self.quiet:
            self._live = Live(console=self._console, refresh_per_second=4, screen=False)
            self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:  # noqa: PYI036 - handed on as they come
        if self._live is not None:
            self._live.__exit__(*details)

    def show(
        self, status: dict[str, Any], books: list[dict[str, Any]], processes: list[dict[str, Any]]
    ) -> None:
        """Draw what a run looks like now."""
        if self._live is not None:
            self._live.update(render(status, books, processes, self.title))
            return
        self._count += 1
        if self._count % self.every == 0 and not self.quiet:
            print(self.line(status, books), file=sys.stderr, flush=True)


def conclude(directory: RunDirectory, outcome: Outcome, *, as_json: bool) -> int:
    """Write the report, print the last words and return the exit code."""
    from alephtx.serve.report import write_report

    report = str(write_report(directory)) if outcome.finished else "none: the run did not end"
    if as_json:
        print(msgspec.json.encode(outcome.summary).decode(), flush=True)
    else:
        _print_summary(outcome, report)
    if outcome.interrupted > 1:
        print(f"alephtx: forced; may still be open: {_left_open(directory)}", file=sys.stderr)
        return 130
    if outcome.failure:
        print(f"alephtx: {outcome.failure}", file=sys.stderr)
    if outcome.unfit:
        return 3
    if not outcome.reconciled:
        return 6
    if outcome.failure:
        return 1
    return 5 if outcome.killed else 0


def _left_open(directory: RunDirectory) -> str:
    """Return what the engine last said of its live orders, by account."""
    accounts = (directory.read_json(directory.status) or {}).get("accounts", [])
    told = [f"{row['live_orders']} orders of {row['name']}" for row in accounts]
    return ", ".join(told) or "unknown: the engine had not come up"


def _print_summary(outcome: Outcome, report: str) -> None:
    summary = outcome.summary
    print(f"\nrun {summary['run']} ({summary['mode']})")
    print(
        f"  events {summary['events']:,}   intents {summary['intents']:,}   "
        f"orders {summary['orders']:,}   fills {summary['fills']:,}   resyncs {summary['resyncs']}"
    )
    denied = ", ".join(f"{rule} {count:,}" for rule, count in summary["denied_by"].items())
    print(f"  denied by the gate: {denied or 'nothing'}")
    for name in ("realized", "unrealized"):
        print(f"  {name}: {_amounts(summary['pnl'][name])}")
    print(f"  fees: {_amounts(summary['fees'])}")
    held = ", ".join(f"{key} {qty}" for key, qty in summary["positions"].items())
    print(f"  positions: {held or 'flat'}")
    for strategy in summary["strategies"]:
        state = strategy["state"]
        if "seen_blind" in state:
            print(
                f"  {strategy['name']}: a fee-blind detector saw {state['seen_blind']:,} chances, "
                f"a fee-aware one {state['seen_aware']:,}; traded {state['trades']:,}, "
                f"best edge after fees {Decimal(state['best_aware_e8']) / 10_000:.2f} bps"
            )
    for name, row in summary["latency_ns"].items():
        print(
            f"  {name}: p50 {micros(row['p50'])}  p99 {micros(row['p99'])}  "
            f"max {micros(row['max'])}"
        )
    for row in summary.get("layers", {}).get("strategies", []):
        if row["orders"]:
            told = "  ".join(
                f"{name} {micros(row['order'][key])}" for key, name in LAYER_QUANTILES.items()
            )
            print(
                f"  {row['name']} ({row['layer']}), event to wire: {told}; {row['over']:,} of "
                f"{row['orders']:,} over {micros(row['budget_ns'])}"
            )
    verdict = "yes, to the last unit" if summary["reconciled"] else "NO"
    print(f"  reconciled with every venue: {verdict}")
    for account, differences in summary["differences"].items():
        for difference in differences:
            print(f"    {account}: {difference}")
    print(f"  report: {report}")


def _amounts(amounts: dict[str, str]) -> str:
    return "   ".join(f"{value} {currency}" for currency, value in amounts.items()) or "0"
