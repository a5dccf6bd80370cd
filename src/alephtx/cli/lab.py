"""`alephtx lab`: experiments on backtests."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alephtx.cli import CONFIG, OK, say
from alephtx.core.clock import MachineClock
from alephtx.core.errors import SimulationError

if TYPE_CHECKING:
    from alephtx.lab.peek import Looked
    from alephtx.lab.ranking import Judged, Verdict
    from alephtx.lab.sweep import Advance, Found, Tried

    Failed = list[tuple[dict[str, bool | int | str], str]]

SHOWN = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = "Experiments on backtests."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    sweep = actions.add_parser("sweep", help="try many sets of parameters and say what is luck")
    sweep.add_argument("file", type=Path, metavar="SWEEP.toml", help="see docs/sweeps.md")
    sweep.add_argument("--resume", action="store_true", help="go on with the results there are")
    sweep.add_argument("--workers", type=_count, default=0, metavar="N",
                       help="processes; default: as many as cores")  # fmt: skip
    sweep.add_argument("--cluster", default="local", metavar="WHERE",
                       help="local (default), ray (here), auto, or an address")  # fmt: skip
    sweep.add_argument("--out", type=Path, metavar="FOLDER",
                       help="results; default: sweeps/NAME among the runs")  # fmt: skip
    sweep.add_argument("--json", action="store_true", help="as one JSON value")
    peek = actions.add_parser("peek", help="look for decisions that know what comes later")
    peek.add_argument("config", nargs="?", default="config.toml", help="one with [backtest]")
    peek.add_argument("--cuts", type=_count, default=6, metavar="N",
                      help="moments from which on the market is changed; default: 6")  # fmt: skip
    peek.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments; default: 1")
    peek.add_argument("--json", action="store_true", help="as one JSON value")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def run(options: argparse.Namespace) -> int:
    """Do one of the actions."""
    return _peek(options) if options.action == "peek" else _sweep(options)


def _peek(options: argparse.Namespace) -> int:
    """Look for look-ahead; exit code 3 where something knew what comes later."""
    from alephtx.core.config import load_config
    from alephtx.engine.warm import REPLAY, compile_hooks
    from alephtx.lab.peek import look
    from alephtx.serve.warming import compile_kernels

    config = load_config(options.config, mode="paper")
    compile_kernels(REPLAY, meanwhile=lambda: compile_hooks(config))
    looked = look(config, cuts=options.cuts, seed=options.seed)
    say(looked, as_json=options.json, lines=_looked)
    return OK if looked.found is None else CONFIG


def _looked(looked: "Looked") -> list[str]:
    """Return what a check of look-ahead says."""
    head = (
        f"{looked.decisions:,} decisions and {looked.reports:,} reports on the recorded market; "
        f"{len(looked.cuts)} cuts (seed {looked.seed})"
    )
    found = looked.found
    if found is None:
        return [head, "no look-ahead found: nothing before a cut changed with what came after it"]
    if not looked.repeats:
        known = f"strategy {found.strategy} does not repeat itself: the same market again, and"
    elif found.kind == "file":
        known = f"strategy {found.strategy} reads a recording of the market that it trades:"
    elif found.kind == "report":
        known = f"the simulated venue knew what came later (strategy {found.strategy}'s order):"
    else:
        known = f"strategy {found.strategy} knew what came later:"
    return [
        head,
        f"CAUGHT: {known}",
        f"  at {found.at_ns} ns, market changed from {found.cut_ns} ns on ({found.future})",
        f"  as recorded: {found.recorded}",
        f"  otherwise:   {found.otherwise}",
    ]


def _sweep(options: argparse.Namespace) -> int:
    """Run a sweep; what ran before Ctrl-C is kept."""
    import os

    from alephtx.lab.plan import load_sweep
    from alephtx.lab.sweep import run_sweep

    sweep = load_sweep(options.file)
    folder = options.out or Path(sweep.config.node.runs) / "sweeps" / sweep.name
    workers = options.workers or os.cpu_count() or 1
    try:
        with _progress() as advance:
            found = run_sweep(
                sweep, folder, resume=options.resume, workers=workers,
                cluster=options.cluster, advance=advance,
            )  # fmt: skip
    except KeyboardInterrupt:
        print(f"alephtx: stopped; {folder} keeps what ended, --resume goes on", file=sys.stderr)
        raise
    say(found, as_json=options.json, lines=_lines)
    if found.failed and found.failed == found.sets:
        raise SimulationError(f"all {found.sets} sets failed; the first: {found.first_error}")
    return OK


@contextmanager
def _progress() -> "Iterator[Advance]":
    """Show sets done, their rate and the time left on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, known: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress

    bar = Progress("sets", BarColumn(), MofNCompleteColumn(), "{task.fields[pace]}",
                   console=Console(stderr=True), transient=True)  # fmt: skip
    clock = MachineClock()
    begun: list[tuple[int, int]] = []
    with bar:
        task = bar.add_task("", total=None, pace="")

        def advance(done: int, known: int) -> None:
            begun[:] = begun or [(done, clock.monotonic())]  # sets kept from before took no time
            pace = _pace(done - begun[0][0], known - done, clock.monotonic() - begun[0][1])
            bar.update(task, completed=done, total=known, pace=pace)

        yield advance


def _pace(ran: int, left: int, took_ns: int) -> str:
    """Say how quickly sets run and how long those that are known of will take."""
    if not ran or not took_ns:
        return ""
    minutes, seconds = divmod(round(left * took_ns / ran / 1e9), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{ran * 1e9 / took_ns:.3g} sets/s, {hours}:{minutes:02}:{seconds:02} left"


def _lines(found: "Found") -> list[str]:
    failed = f"{found.failed} failed, " if found.failed else ""
    lines = [
        f"{found.name}: {found.ran} sets run, {found.kept} kept from before, {failed}{found.folder}"
    ]
    if found.damaged:
        lines.append(f"{found.damaged} damaged lines of results were not believed and ran again")
    if found.whole is not None:
        lines += _verdict(found.whole, found.objective)
    if found.folds:
        lines += ["", *_folds(found.folds), *_failed_folds(found.folds)]
        lines.append(
            f"sum of nets: in sample {found.in_net:,.2f}, out of sample {found.out_net:,.2f}"
        )
    return lines


def _verdict(verdict: "Verdict", objective: str) -> list[str]:
    head = f"{'net':>14} {'Sharpe':>9} {'deflated':>9} {'p':>8}  Holm BH  {'fills':>7}  parameters"
    lines = ["", f"in sample, best first by {objective}:", head]
    lines += [_row(row) for row in verdict.rows[:SHOWN]]
    if len(verdict.rows) > SHOWN:
        lines.append(f"... and {len(verdict.rows) - SHOWN} more (--json)")
    lines += _failures(verdict.failed)
    lines.append(
        f"{verdict.trials} trials of {verdict.periods} periods; by luck alone the best would have "
        f"a Sharpe ratio of {_number(verdict.luck)} a period"
    )
    if verdict.overfitting is None:
        lines.append("probability of overfitting: unknown (too few periods or sets)")
    else:
        lines.append(f"probability of overfitting: {verdict.overfitting:.0%}; the best of one half "
                     f"loses money in the other in {verdict.loss:.0%} of splits")  # fmt: skip
    return lines


def _failures(failed: "Failed") -> list[str]:
    """Return the rows of sets that could not run."""
    blank = f"{'failed':>14} {'-':>9} {'-':>9} {'-':>8}{'-':>5}{'-':>4} {'-':>8}"
    lines = [f"{blank}  {_params(params)}: {error}" for params, error in failed[:SHOWN]]
    if len(failed) > SHOWN:
        lines.append(f"... and {len(failed) - SHOWN} more failed (--json)")
    return lines


def _failed_folds(tried: "list[Tried]") -> list[str]:
    """Return what could not run in the trainings, each set once."""
    found = {_params(params): error for one in tried for params, error in one.in_sample.failed}
    lines = [f"failed in sample: {params}: {error}" for params, error in found.items()]
    more = [f"... and {len(lines) - SHOWN} more failed (--json)"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more


def _row(row: "Judged") -> str:
    marks = f"{'yes' if row.holm else '-':>5}{'yes' if row.discovery else '-':>4}"
    return (
        f"{row.net:>14,.2f} {_number(row.sharpe):>9} {_number(row.deflated):>9} "
        f"{_number(row.p):>8}{marks} {row.fills:>8}  {_params(row.params)}"
    )


def _folds(tried: "list[Tried]") -> list[str]:
    lines = [f"{'fold':>4} {'net in':>14} {'Sharpe':>9} {'deflated':>9} {'PBO':>5} | "
             f"{'net out':>14} {'Sharpe':>9}  chosen"]  # fmt: skip
    for number, one in enumerate(tried, 1):
        best, out, pbo = one.chosen, one.out_of_sample, one.in_sample.overfitting
        if best is None or out is None:
            lines.append(f"{number:>4} every set failed: {one.in_sample.failed[0][1]}")
            continue
        after = f"failed: {out.error}" if out.error else f"{out.net:>14,.2f}"
        lines.append(
            f"{number:>4} {best.net:>14,.2f} {_number(best.sharpe):>9} "
            f"{_number(best.deflated):>9} {'-' if pbo is None else f'{pbo:.0%}':>5} | "
            f"{after} {_number(one.out_sharpe):>9}  {_params(best.params)}"
        )
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _params(params: dict[str, bool | int | str]) -> str:
    return (
        " ".join(f"{path.split('.', 1)[1]}={value}" for path, value in params.items()) or "(none)"
    )
