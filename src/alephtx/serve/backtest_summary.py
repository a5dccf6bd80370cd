"""A backtest in a terminal: what ran, what was earned and why, what came after the fills."""

import io
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from alephtx.core.secrets import scrub
from alephtx.engine.rundir import RunDirectory
from alephtx.serve.backtest_read import figure, part, remarks, rows_of
from alephtx.serve.backtest_sheet import CAUSES, aligned_what, alignments, band, cause, traded
from alephtx.serve.report.numbers import duration, exact, grouped
from alephtx.serve.terminal import BAD, DIM, GOOD, WARN, clean

WIDTH = 110


def lines(
    summary: dict[str, Any], sheets: dict[str, Any], *, width: int = WIDTH, color: bool = False
) -> list[str]:
    """Return lines of text. sheets: as sheets.json has them; color: with a terminal's codes."""
    return drawn(tables(summary, sheets), width=width, color=color)


def show(run: RunDirectory) -> None:
    """Print a backtest's summary: coloured and fitted on a terminal, plain lines elsewhere."""
    summary = run.read_as(run.summary, dict[str, Any]) or {}
    sheets = run.read_as(run.path / "sheets.json", dict[str, Any]) or {}
    console = Console(highlight=False)
    told = lines(
        summary, sheets, width=console.width if console.is_terminal else WIDTH,
        color=console.is_terminal,
    )  # fmt: skip
    console.file.write("".join(f"{scrub(line)}\n" for line in [*told, str(run.path)]))


def drawn(parts: list[RenderableType], *, width: int = WIDTH, color: bool = False) -> list[str]:
    """Draw what rich draws as lines of text."""
    sink = io.StringIO()
    console = Console(
        file=sink, width=width, force_terminal=color, no_color=not color, highlight=False,
        legacy_windows=False,
    )  # fmt: skip
    for one in parts:
        console.print(one)
    return [line.rstrip() for line in sink.getvalue().splitlines()]


def tables(summary: dict[str, Any], sheets: dict[str, Any]) -> list[RenderableType]:
    """Return alarms, the summary's line, a table for what was traded, denials and notes."""
    made: list[RenderableType] = [
        Text(f"! {clean(alarm)}", style=f"bold {BAD}") for alarm in remarks(summary, "alarms")
    ]
    made.append(_head(summary))
    fills = traded(sheets)
    made += [_instrument(str(key), sheet) for key, sheet in fills.items()]
    if not fills:
        made.append(Text("nothing was traded", style=DIM))
    denied = summary.get("denied_by")
    counts = denied.items() if isinstance(denied, dict) else ()
    rules = ", ".join(f"{clean(name)} {n:,}" for name, n in counts if isinstance(n, int) and n)
    if rules:
        made.append(Text(f"denied: {rules}"))
    return made + [Text(f"note: {clean(note)}", style=WARN) for note in remarks(summary, "notes")]


def _head(summary: dict[str, Any]) -> Text:
    rate = summary.get("rows_per_s")
    took = summary.get("took_s")
    words = [
        f"{grouped(summary.get('rows'))} rows",
        f"{duration(summary.get('span_ns'))} of market",
        f"took {took:.3g} s" if isinstance(took, int | float) else "",
        f"{rate:,.0f} rows/s" if isinstance(rate, int | float) else "",
        f"digest {clean(summary['digest'])[:16]}" if summary.get("digest") else "",
    ]
    return Text("  ".join(word for word in words if word), style="bold")


def _tone(value: Any) -> str:
    return GOOD if value > 0 else BAD if value < 0 else ""


def _instrument(key: str, sheet: Any) -> RenderableType:
    table = Table(
        box=None, pad_edge=False, show_header=False, title=clean(key), title_justify="left",
        title_style=DIM,
    )  # fmt: skip
    table.add_column(style=DIM)
    table.add_column(overflow="fold")
    for name, words in (
        ("P&L", _money(sheet)),
        ("markout", _markouts(sheet)),
        ("aligned", _alignment(sheet)),
        ("costs", _costs(sheet)),
        ("orders", _conduct(sheet)),
        ("risk", _risk(sheet)),
    ):
        table.add_row(name, words)
    return table


def _money(sheet: Any) -> Text:
    """Return the total and the causes that add up to it, to the last digit."""
    amounts = {name: cause(sheet, name) for name in CAUSES}
    total = amounts.pop("total")
    if total is None:
        return Text("-")
    said = Text(f"{exact(total)} {clean(part(sheet, 'currency') or '')}", style=_tone(total))
    for name, amount in amounts.items():
        if amount:
            said.append(f"  {name} ", style=DIM).append(exact(amount), style=_tone(amount))
    return said


def _markouts(sheet: Any) -> Text:
    edge = figure(sheet, "edge.all")
    said = Text("edge ", style=DIM).append("-" if edge is None else f"{edge:+.2f}", style="default")
    for row in rows_of(sheet, "horizons"):
        seconds = (figure(row, "horizon_ns") or 0) / 1e9
        said.append(f"  {seconds:g} s ", style=DIM).append(band(row), style="default")
    return said.append(" bps", style=DIM)


def _alignment(sheet: Any) -> Text:
    """Return whether the fair price at our fills pointed to where the market then went."""
    said = Text(aligned_what(sheet).removesuffix(" levels"), style=DIM)
    for after, r, _ in alignments(sheet):
        said.append(f"  {after} s ", style=DIM).append(r, style="default")
    return said


def _costs(sheet: Any) -> Text:
    names = {"arrival": "trading", "not filled": "opportunity", "fees": "fees"}
    names |= {"shortfall": "shortfall", "against VWAP": "vwap_bps"}
    found = [(name, _shown(sheet, f"costs.{path}", "+.2f")) for name, path in names.items()]
    return _joined(found).append(" bps", style=DIM)


def _joined(pairs: list[tuple[str, str]]) -> Text:
    said = Text()
    for name, value in pairs:
        said.append(f"{'  ' if said else ''}{name} ", style=DIM).append(value)
    return said


def _shown(sheet: Any, path: str, form: str, times: float = 1.0, unit: str = "") -> str:
    value = figure(sheet, path)
    return "-" if value is None else f"{value * times:{form}}{unit}"


def _conduct(sheet: Any) -> Text:
    counts = ("orders", "fills", "cancelled", "rejected")
    return _joined([
        *((name, _shown(sheet, f"activity.{name}", ",.0f")) for name in counts),
        ("maker", _shown(sheet, "activity.maker_share", ".0f", 100, " %")),
        ("queue p50", duration(figure(sheet, "queue.median"))),
        ("held for", duration(figure(sheet, "inventory.holding_ns"))),
    ])  # fmt: skip


def _risk(sheet: Any) -> Text:
    return _joined([
        ("Sharpe a period", _shown(sheet, "returns.sharpe", ".3f")),
        ("a year", _shown(sheet, "returns.sharpe_yearly", ",.1f")),
        ("probably > 0", _shown(sheet, "returns.probabilistic", ".0f", 100, " %")),
        ("drawdown", _shown(sheet, "returns.drawdown", ",.4g")),
    ])  # fmt: skip
