"""`alephtx lab`: experiments on backtests."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alephtx.cli import OK, say

if TYPE_CHECKING:
    from alephtx.lab.ranking import Judged, Verdict
    from alephtx.lab.sweep import Advance, Found, Tried

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


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def run(options: argparse.Namespace) -> int:
    """Do the one action there is; what ran before Ctrl-C is kept."""
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
    return OK


@contextmanager
def _progress() -> "Iterator[Advance]":
    """Show sets done and the time left on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, known: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress("sets", BarColumn(), MofNCompleteColumn(), "left", TimeRemainingColumn(),
                   console=Console(stderr=True), transient=True)  # fmt: skip
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, known: bar.update(task, completed=done, total=known)


def _lines(found: "Found") -> list[str]:
    lines = [f"{found.name}: {found.ran} sets run, {found.kept} kept from before, {found.folder}"]
    if found.damaged:
        lines.append(f"{found.damaged} damaged lines of results were not believed and ran again")
    if found.whole is not None:
        lines += _verdict(found.whole, found.objective)
    if found.folds:
        lines += ["", *_folds(found.folds)]
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
    lines.append(
        f"{verdict.trials} trials of {verdict.periods} periods; by luck alone the best would have "
        f"a Sharpe ratio of {_number(verdict.luck)} a period"
    )
    if verdict.overfitting is None:
        lines.append("probability of overfitting: unknown (too few periods or sets)")
    else:
        lines.append(f"probability of overfitting: {verdict.overfitting:.0%}; the best of one half "
                     f"loses money in the other in {verdict.loss:.0%} of splits")  # fmt: skip
    lines += [f"failed: {_params(params)}: {error}" for params, error in verdict.failed[:SHOWN]]
    if len(verdict.failed) > SHOWN:
        lines.append(f"... and {len(verdict.failed) - SHOWN} more failed (--json)")
    return lines


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
