"""A comparison of runs to look at: lines for a terminal, a page for a browser."""

from typing import Any

from rich.console import RenderableType
from rich.text import Text

from alephtx.serve.backtest_charts import ALL_CURVES
from alephtx.serve.backtest_compare import Comparison, Ratio, Side
from alephtx.serve.backtest_sheet import band
from alephtx.serve.backtest_summary import WIDTH, drawn
from alephtx.serve.backtest_thin import POINTS_MAX, extremes
from alephtx.serve.report.html import Part, table, tag
from alephtx.serve.report.numbers import duration, moment
from alephtx.serve.report.page import chart, document
from alephtx.serve.report.plots import plain, seconds
from alephtx.serve.terminal import DIM, WARN, clean, plain_table

Section = tuple[str, list[str], list[list[str]]]
"""A title, the names of the columns, rows of text."""


def letters(found: Comparison) -> list[str]:
    """Return short names of the runs: A, B, ..., numbers beyond Z."""
    return [chr(ord("A") + k) if k < 26 else f"#{k + 1}" for k in range(len(found.runs))]


def sections(found: Comparison) -> list[Section]:
    """Return everything that is compared, as rows of text."""
    short = letters(found)
    runs = [
        [name, run, mode, moment(span[0]), duration(span[1] - span[0]) if span[1] else "-"]
        for name, run, mode, span in zip(short, found.runs, found.modes, found.spans, strict=True)
    ]
    made: list[Section] = [("runs", ["", "run", "mode", "from, UTC", "span"], runs)]
    made.append(("config that differs", ["key", *short], _texts(found.config)))
    made.append(("counts", ["", *short], [
        [name, *("-" if n is None else f"{n:,}" for n in values)]
        for name, values in found.counts.items()
    ]))  # fmt: skip
    for name, causes in found.pnl.items():
        made.append((f"P&L of {name}", ["cause", *short], _texts(causes)))
    for name, horizons in found.markouts.items():
        rows = [
            [after, *("-" if row is None else band(row) for row in values)]
            for after, values in horizons.items()
        ]
        made.append((f"markouts of {name}, bps (95 %)", ["after", *short], rows))
    falls = [
        [currency, *("-" if value is None else f"{value:,.6g}" for value in values)]
        for currency, values in found.drawdown.items()
    ]
    made.append(("deepest drawdown", ["currency", *short], falls))
    rows = [
        [f"{short[k + 1]} against {short[0]}", *_ratio(one)]
        for k, several in enumerate(found.ratios)
        for one in several
    ]
    names = ["Sharpe a period, shared time", "currency", "first", "this", "P(this > first)"]
    made.append(("ratios", [*names, "periods", "of"], rows))
    return made


def _texts(rows: dict[str, list[str | None]]) -> list[list[str]]:
    return [
        [name, *("-" if v is None else v for v in values)] for name, values in rows.items()
    ]  # fmt: skip


def _ratio(one: Ratio) -> list[str]:
    said = one.reason if one.better is None else _likely(one.better)
    values = ("-" if v is None else f"{v:.4f}" for v in (one.first, one.this))
    step = duration(one.step_ns) if one.step_ns else "-"
    return [one.currency, *values, said, f"{one.periods:,}", step]


def _likely(share: float) -> str:
    if share > 0.999:
        return "> 99.9 %"
    return f"{share * 100:.1f} %" if share >= 0.001 else "< 0.1 %"


def lines(found: Comparison, *, width: int = WIDTH, color: bool = False) -> list[str]:
    """Return the comparison as lines of text; color: with a terminal's codes."""
    parts: list[RenderableType] = []
    for title, names, rows in sections(found):
        if not rows:
            parts.append(Text(f"{clean(title)}: nothing", style=DIM))
            continue
        shown = plain_table(*(clean(name) for name in names))
        for column in shown.columns:
            column.no_wrap, column.overflow = False, "fold"
        for row in rows:
            shown.add_row(*(Text(clean(cell)) for cell in row))
        parts += [Text(clean(title), style="bold"), shown]
    parts += [Text(f"! {clean(note)}", style=WARN) for note in found.notes]
    return drawn(parts, width=width, color=color)


def page(found: Comparison, sides: list[Side]) -> str:
    """Return one HTML file that needs nothing else: the sections, and equity curves laid over."""
    short = letters(found)
    charts = {"equity": [], "prices": [], "inventory": [], "overlay": _overlay(short, sides)}
    parts: list[Part] = [
        tag("section", tag("h2", "Equity"), chart("overlay", charts["overlay"], "no equity"))
    ]
    for title, names, rows in sections(found):
        parts.append(tag("section", tag("h2", title), table(names, rows)))
    notes = tag("ul", [tag("li", note) for note in found.notes])
    reset = tag("button", "all of it", id="reset", type="button")
    head = tag("div", tag("h1", "AlephTX ", tag("span", "comparison of runs")), reset)
    body = [
        tag("header", head),
        tag("main", tag("section", notes, class_="notes") if found.notes else None, parts),
    ]
    return document("comparison", body, charts, script="backtest.js")


def _overlay(short: list[str], sides: list[Side]) -> list[dict[str, Any]]:
    """Return the equity curves of all runs, by currency, each thinned for itself."""
    currencies = dict.fromkeys(c for side in sides for c in side.curves)
    made = []
    for currency in currencies:
        points = min(POINTS_MAX, max(64, ALL_CURVES // (len(sides) * len(currencies))))
        runs = []
        for name, side in zip(short, sides, strict=True):
            curve = side.curves.get(currency)
            if curve is None or not len(curve[0]):
                continue
            ts, equity = curve
            at = extremes(ts, (equity,), points)
            runs.append({"name": name, "ts": seconds(ts[at]), "net": plain(equity[at])})
        if runs:
            made.append({"currency": currency, "runs": runs})
    return made
