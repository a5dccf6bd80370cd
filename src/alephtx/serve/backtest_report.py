"""The report of a backtest: one HTML file that needs nothing else, its charts included.

backtest_report.write(run)        # runs/<id>/report.html, and returns its path
"""

from pathlib import Path
from typing import Any

import numpy as np

from alephtx.analysis.tables import Column
from alephtx.core.secrets import scrub
from alephtx.engine.rundir import RunDirectory
from alephtx.serve.backtest_charts import charts_of
from alephtx.serve.backtest_read import (
    Backtest,
    denied_by,
    equity_of,
    figure,
    read_backtest,
    remarks,
    rows_of,
    span_of,
)
from alephtx.serve.backtest_sheet import (
    CAUSES,
    HORIZONS_S,
    aligned_what,
    alignments,
    band,
    cause,
    metric_rows,
    traded,
)
from alephtx.serve.report.engine_room import histogram
from alephtx.serve.report.html import Html, Part, table, tag
from alephtx.serve.report.numbers import duration, grouped, moment, signed, span
from alephtx.serve.report.page import chart, document

BAR = 200


def write(run: RunDirectory) -> Path:
    """Write report.html into a backtest's directory and return its path.

    The old one stays until the new is whole. About 4 s for ten million changes of the touch.
    """
    page = render(read_backtest(run))
    temporary = run.report.with_suffix(".html.tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(run.report)
    return run.report


def render(backtest: Backtest) -> str:
    """Return the whole page."""
    curves = equity_of(backtest)
    charts = charts_of(backtest, curves)
    parts = _parts(backtest, charts)
    body = [
        _header(backtest, parts),
        tag("main", _notes(backtest), _tiles(backtest, curves), [
            tag("section", tag("h2", title), inside, id=name)
            for name, title, inside in parts
        ]),
    ]  # fmt: skip
    return document(backtest.identity, body, charts, script="backtest.js")


def _parts(backtest: Backtest, charts: dict[str, Any]) -> list[tuple[str, str, Part]]:
    hint = tag(
        "p",
        "Triangles are fills: up bought, down sold; filled as taker, hollow as maker. Drag to zoom "
        "all charts, double-click to see everything, click a name below a chart to hide it.",
        class_="hint",
    )
    marked = sum(len(one["fills"]) for one in charts["prices"])
    total = len(backtest.fills["ts"])
    few = tag("p", f"{marked:,} of {total:,} fills are marked.", class_="hint")
    return [
        ("equity", "Equity and drawdown", chart("equity", charts["equity"], "no market data")),
        ("prices", "Prices, fills, signals", [
            chart("prices", charts["prices"], "no market data"), hint,
            few if marked < total else None,
        ]),
        ("inventory", "Inventory", chart("inventory", charts["inventory"], "nothing was traded")),
        ("pnl", "P&L by cause", _causes(backtest)),
        ("markouts", "Markouts", [
            chart("markouts", charts["markouts"], "no fill has a markout"), _horizons(backtest),
            _alignments(backtest),
        ]),
        ("latency", "Latency", _latency(backtest)),
        ("sheet", "Tear sheet", _sheet(backtest)),
        ("gate", "Gate", _denials(backtest)),
        ("config", "Config", tag(
            "details", tag("summary", "config.toml"), tag("pre", scrub(backtest.config) or "-")
        )),
    ]  # fmt: skip


def _header(backtest: Backtest, parts: list[tuple[str, str, Part]]) -> Html:
    begin, end = span_of(backtest)
    when = f"{moment(begin)} to {moment(end)} UTC" if end else "no market data"
    links = [tag("a", title, href=f"#{name}") for name, title, _ in parts]
    badge = tag("span", "backtest", class_="badge")
    title = tag("h1", "AlephTX ", tag("span", backtest.identity))
    return tag("header", tag("div", title, tag("p", when), badge), tag(
        "nav", links, tag("button", "all of it", id="reset", type="button")))  # fmt: skip


def _notes(backtest: Backtest) -> Part:
    """Return what the reader must know before anything else: alarms first."""
    alarms = remarks(backtest.summary, "alarms")
    others = list(dict.fromkeys([*remarks(backtest.summary, "notes"), *backtest.notes]))
    if not len(backtest.fills["ts"]):
        others.append("there are no fills: nothing was traded in this backtest")
    listed = [tag("li", tag("b", one, class_="down")) for one in alarms]
    listed += [tag("li", one) for one in others]
    return tag("section", tag("ul", listed), class_="notes") if listed else None


def _tiles(backtest: Backtest, curves: dict[str, tuple[Column, Column]]) -> Html:
    summary = backtest.summary
    begin, end = span_of(backtest)
    rate = summary.get("rows_per_s")
    digest = summary.get("digest")
    tiles: list[tuple[str, str, str]] = [
        ("of market time", span(end - begin), ""),
        ("rows", grouped(summary.get("rows")), ""),
        ("rows a second", f"{rate:,.0f}" if isinstance(rate, int | float) else "-", ""),
        ("orders", grouped(len(backtest.orders["order_id"])), ""),
        ("fills", grouped(len(backtest.fills["ts"])), ""),
        ("digest", str(digest)[:8] if digest else "-", ""),
    ]
    for currency, (_, equity) in curves.items():
        known = equity[~np.isnan(equity)]
        net = float(known[-1]) if len(known) else 0.0
        tone = "" if not net else "up" if net > 0 else "down"
        tiles.append((f"net P&L, {currency}", f"{net:+,.6g}" if len(known) else "-", tone))
    return tag(
        "section",
        [
            tag("div", tag("b", value, class_=tone or None), tag("span", name), class_="tile")
            for name, value, tone in tiles
        ],
        class_="tiles",
    )


def _causes(backtest: Backtest) -> Part:
    """Return the attribution of every instrument, exact, with bars in proportion."""
    made: list[Part] = []
    for key, sheet in traded(backtest.sheets).items():
        amounts = {name: cause(sheet, name) for name in CAUSES}
        known = [abs(amount) for amount in amounts.values() if amount is not None]
        widest = max(known, default=0)
        rows = [
            [name, "-" if amount is None else signed(amount), _bar(float(amount), float(widest))]
            for name, amount in amounts.items()
            if amount is not None and (amount or name == "total")
        ]
        currency = str(sheet.get("currency") or "") if isinstance(sheet, dict) else ""
        made.append(table(("cause", currency, ""), rows, caption=str(key)))
    if not made:
        return tag("p", "no tear sheet of what was traded", class_="none")
    meaning = (
        "spread: price to mid at the fill; adverse: what the market took back within the horizon; "
        "inventory: from there to the end. The parts add up to the total exactly."
    )
    return [*made, tag("p", meaning, class_="hint")]


def _bar(amount: float, widest: float) -> Html:
    width = round(BAR / 2 * abs(amount) / widest) if widest else 0
    at = BAR // 2 if amount >= 0 else BAR // 2 - width
    inside = [
        tag("rect", x=str(at), y="2", width=str(max(width, 1)), height="10", fill="currentColor"),
        tag("rect", x=str(BAR // 2), y="0", width="1", height="14", fill="currentColor"),
    ]
    tone = "up" if amount > 0 else "down"
    return tag("svg", inside, viewBox=f"0 0 {BAR} 14", class_=f"wide {tone}", role="img")


def _horizons(backtest: Backtest) -> Part:
    rows: list[list[Part]] = []
    for key, sheet in traded(backtest.sheets).items():
        for row in rows_of(sheet, "horizons"):
            seconds = (figure(row, "horizon_ns") or 0) / 1e9
            cells = (figure(row, name) for name in ("adverse", "known", "beyond", "unknown"))
            adverse, *counts = cells
            back = "-" if adverse is None else f"{adverse:+.2f}"
            shown = ("-" if count is None else f"{count:,.0f}" for count in counts)
            rows.append([str(key), f"{seconds:g} s", band(row), back, *shown])
    headers = ("instrument", "after", "markout, bps (band)", "taken back, bps", "fills",
               "after the end", "no mid")  # fmt: skip
    after = ", ".join(str(one) for one in HORIZONS_S)
    return table(headers, rows, caption=f"after {after} s, weighted by value; bands are 95 %")


def _alignments(backtest: Backtest) -> Part:
    rows: list[list[Part]] = []
    for key, sheet in traded(backtest.sheets).items():
        for after, r, row in alignments(sheet):
            counts = (figure(row, name) for name in ("count", "yes"))
            cells = ("-" if count is None else f"{count:,.0f}" for count in counts)
            rows.append([str(key), aligned_what(sheet), f"{after} s", r, *cells])
    if not rows:
        return None
    headers = ("instrument", "price", "after", "r (95 %)", "fills", "moved our way")
    caption = "whether a price at our fills, beside the mid, pointed to where the mid then went"
    return table(headers, rows, caption=f"alignment: {caption} (point-biserial r)")


def _latency(backtest: Backtest) -> Part:
    rows: list[list[Part]] = []
    for name, found in latencies_of(backtest).items():
        if not len(found):
            rows.append([name, "0", *["-"] * 5, None])
            continue
        quantiles = np.quantile(found, (0.0, 0.5, 0.9, 0.99, 1.0))
        cells = [duration(float(value)) for value in quantiles]
        rows.append([name, grouped(len(found)), *cells, histogram(found)])
    headers = ("from, to", "count", "least", "p50", "p90", "p99", "most", "shape, log scale")
    return table(headers, rows, caption="as the backtest's venue and latency models have it")


def latencies_of(backtest: Backtest) -> dict[str, Column]:
    """Return sorted durations in ns of every order that has both ends."""
    orders, fills = backtest.orders, backtest.fills
    ids, first = np.unique(fills["order_id"], return_index=True)  # fills are in time order
    filled = np.zeros(len(orders["order_id"]), np.int64)
    if len(ids):
        at = np.minimum(np.searchsorted(ids, orders["order_id"]), len(ids) - 1)
        hit = ids[at] == orders["order_id"]
        filled = np.where(hit, fills["ts"][first[at]], 0)
    ends = {
        "intent to sent": (orders["ts_intent"], orders["ts_sent"]),
        "intent to ack": (orders["ts_intent"], orders["ts_ack"]),
        "intent to first fill": (orders["ts_intent"], filled),
        "wish to cancel to end": (orders["ts_cancel"], orders["ts_end"]),
    }
    found = {}
    for name, (start, end) in ends.items():
        both = (start > 0) & (end >= start)
        found[name] = np.sort((end - start)[both])
    return found


def _sheet(backtest: Backtest) -> Part:
    if not backtest.sheets:
        return tag("p", "no tear sheets", class_="none")
    warning = (
        "Ratios of periods of seconds have memory, and a yearly ratio of minutes of data proves "
        "nothing."
    )
    return [
        table(("", *(str(key) for key in backtest.sheets)), metric_rows(backtest.sheets)),
        tag("p", warning, class_="hint"),
    ]


def _denials(backtest: Backtest) -> Part:
    found = sorted(denied_by(backtest).items(), key=lambda item: -item[1])
    return table(("denied by rule", "intents"), [[name, grouped(n)] for name, n in found])
