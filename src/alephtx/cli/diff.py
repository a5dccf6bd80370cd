"""`alephtx diff`: replay a session that traded, and say why the replay differs from it."""

import argparse
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, get_args

from alephtx.core.backtest_schema import QueueModel, moment_ns
from alephtx.core.errors import ConfigError

if TYPE_CHECKING:
    from alephtx.engine.parity.compare import Parity
    from alephtx.engine.parity.session import Session

QUEUES = [name for name in get_args(QueueModel) if name != "fifo"]
"""Those that levels can tell: no feed of ours brings single orders."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Replay a paper or live run, whose venues were recorded (record = true), with its own "
        "stamps, and give every difference between the run and its replay a cause and a sum."
    )
    parser.add_argument("run", nargs="?", help="a run's directory or its name; default: the newest")
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument(
        "--queue", choices=QUEUES, default=QUEUES[0],
        help="how the replay's venue thinks of queues; default: risk_averse",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="list every difference")
    parser.add_argument(
        "--ways", action="store_true",
        help="print how long orders, cancels and reports took, as tables for a [backtest]",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="start", default="", metavar="MOMENT",
        help="with --ways: the time of the first point; default: when it was measured",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON line with all of it")


def run(options: argparse.Namespace) -> int:
    """Compare and print; exit code 3 where there is nothing to compare."""
    from alephtx.cli import say
    from alephtx.engine.outside import find_run
    from alephtx.engine.parity.session import read_session
    from alephtx.engine.warm import REPLAY
    from alephtx.serve.warming import compile_kernels

    try:
        session = read_session(find_run(options.run, options.runs))
        if options.ways:
            return _ways(session, options.start)
        compile_kernels(REPLAY)
        from alephtx.engine.parity.compare import compare

        found = compare(session, options.queue)
    except KeyboardInterrupt:
        print("alephtx: interrupted; the replays were discarded", file=sys.stderr)
        raise
    say(found, as_json=options.json, lines=lambda it: lines(it, whole=options.all))
    sys.stdout.flush()
    return 0


def _ways(session: "Session", start: str) -> int:
    from alephtx.engine.parity.stamps import read_stamps
    from alephtx.engine.parity.ways import ways_lines

    try:
        moment = moment_ns(start) if start else None
    except ValueError as error:
        raise ConfigError(f"--from: {error}", remedy="e.g. --from 2026-01-31T08:00:00Z") from None
    print("\n".join(ways_lines(read_stamps(session), moment)).rstrip())
    return 0


def lines(found: "Parity", *, whole: bool) -> list[str]:
    """Return the comparison as text."""
    one, other = found.session, found.replay
    said = [
        f"{found.run} ({found.mode}), {found.span_ns / 1e9:,.1f} s, {found.rows:,} recorded rows",
        f"{'':24}{'session':>16}{'replay':>16}{'difference':>16}",
        _row("orders", one.orders, other.orders),
        _row("fills", one.fills, other.fills),
    ]
    for name in dict.fromkeys((*one.pnl, *other.pnl)):
        said.append(_row(f"P&L in {name}", one.pnl.get(name, 0), other.pnl.get(name, 0)))
        said.append(_row("  of it fees", -one.fees.get(name, 0), -other.fees.get(name, 0)))
    said.append("the difference, by cause")
    for name, cause in found.causes.items():
        sums = ", ".join(f"{_number(amount)} {unit}" for unit, amount in cause.amount.items())
        if cause.differences or name == "unexplained":
            said.append(f"  {name:<22}{cause.differences:>16,} {sums}".rstrip())
    said.append(
        f"explained: {found.explained_fills:.2%} of fills, {found.explained_pnl:.2%} of P&L"
    )
    said += [f"note: {note}" for note in found.notes]
    if whole:
        begun = found.differences[0].ts if found.differences else 0
        for one_of in found.differences:
            amount = f"{_number(one_of.amount)} {one_of.currency}"
            said.append(
                f"{(one_of.ts - begun) / 1e9:+12.6f} {one_of.cause}: {one_of.what}; "
                f"{one_of.proof} ({amount})"
            )
    return said


def _row(name: str, ours: Decimal | int, theirs: Decimal | int) -> str:
    cells = "".join(f"{_number(value):>16}" for value in (ours, theirs, ours - theirs))
    return f"{name:<24}{cells}"


def _number(value: Decimal | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value.quantize(Decimal('1E-8')).normalize():,f}"
