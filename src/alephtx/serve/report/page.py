"""The report's page: parts in order, with everything it needs inside the one file."""

import base64
import hashlib
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from alephtx.analysis.trades import traded, turnover
from alephtx.core import words
from alephtx.core.secrets import scrub
from alephtx.engine.rundir import RunDirectory
from alephtx.serve.report import engine_room, money
from alephtx.serve.report.html import Html, Part, data_block, table, tag
from alephtx.serve.report.numbers import exact, grouped, moment, span
from alephtx.serve.report.plots import ESTIMATE, edges_of, plots
from alephtx.serve.report.read import Material, read_run

ASSETS = files("alephtx.serve") / "assets"

Chart = tuple[str, str]


def write_report(run: RunDirectory) -> Path:
    """Write runs/<id>/report.html and return its path; the old one stays until the new is whole.

    Whatever is missing of the run is named on the page. About 2 s for 30,000 journal records.
    """
    page = render(read_run(run))
    temporary = run.report.with_suffix(".html.tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(run.report)
    return run.report


def render(material: Material) -> str:
    """Return the whole page."""
    found = edges_of(material)
    charts = plots(material, found)
    body = [
        _header(material),
        tag("main", _notes(material), _tiles(material, charts), _sections(material, charts, found)),
    ]
    return document(material.identity, body, charts, script="report.js")


def document(title: str, body: Part, charts: Any, *, script: str) -> str:
    """Return a page that needs nothing else. charts: data that an asset, the script, draws."""
    licence = f"/*\n{_asset('uPlot.LICENSE')}\n*/\n"  # goes where the code goes
    style = _asset("uPlot.min.css") + _asset("report.css")
    library, drawing = licence + _asset("uPlot.iife.min.js"), _asset(script)
    head = [
        tag("meta", charset="utf-8"),
        tag(
            "meta",
            **{"http-equiv": "Content-Security-Policy"},
            content=_policy(style, library, drawing),
        ),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"AlephTX {title}"),
        tag("style", Html(style)),
    ]
    foot = [
        tag(
            "footer",
            "Made by AlephTX from the run's own files. Charts: uPlot, MIT licence, © 2022 Leon "
            "Sorokin.",
        ),
        data_block("data", msgspec.json.encode(charts)),
        tag("script", Html(library)),
        tag("script", Html(drawing)),
    ]
    page = tag("html", tag("head", head), tag("body", body, foot), lang="en")
    return f"<!doctype html>\n{page}\n"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _policy(style: str, *scripts: str) -> str:
    """Allow our own style and scripts by their hashes, and nothing else: no network either."""

    def source(inline: str) -> str:
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        return f"'sha256-{digest}'"

    allowed = " ".join(source(script) for script in scripts)
    return f"default-src 'none'; style-src {source(style)}; script-src {allowed}"


def _header(material: Material) -> Html:
    summary, story = material.summary, material.story
    reconciled = summary.get("reconciled")
    badges = [
        tag("span", str(summary.get("mode") or "mode unknown"), class_="badge"),
        tag("span", "reconciled to the last unit", class_="badge good")
        if reconciled is True
        else tag("span", "not reconciled", class_="badge bad"),
        None if material.ended else tag("span", "did not end cleanly", class_="badge bad"),
        tag("span", "halted", class_="badge bad") if summary.get("halted") is True else None,
    ]
    start, end = _bounds(material)
    when = f"{moment(start)} to {moment(end)[11:]} UTC" if story.first_ts else "nothing journaled"
    links = [tag("a", title, href=f"#{name}") for name, title in TITLES]
    return tag(
        "header",
        tag("div", tag("h1", "AlephTX ", tag("span", material.identity)), tag("p", when), badges),
        tag("nav", links),
    )


def _bounds(material: Material) -> tuple[int, int]:
    """Return the first and the last thing that is known of the run, ns."""
    ts = material.samples.ts
    known = [
        material.story.first_ts,
        material.story.last_ts,
        *(ts[[0, -1]].tolist() if len(ts) else []),
    ]
    known = [one for one in known if one > 0]
    return (min(known), max(known)) if known else (0, 0)


def _notes(material: Material) -> Part:
    alarms = material.summary.get("alarms")
    said = [*material.notes, *(str(a) for a in (alarms if isinstance(alarms, list) else []))]
    left = material.summary.get("left_open")
    if isinstance(left, list) and left:
        said.append(f"orders left open: {', '.join(str(one) for one in left)}")
    if not said:
        return None
    return tag("section", tag("ul", [tag("li", one) for one in said]), class_="notes")


def _tiles(material: Material, charts: dict[str, Any]) -> Html:
    story = material.story
    start, end = _bounds(material)
    estimate = next((c for c in charts["equity"] if c["currency"] == ESTIMATE), None)
    net = next((v for v in reversed(estimate["net"]) if v is not None), None) if estimate else None
    rows = traded(material.instruments, story.fills, story.orders.values())
    volumes = turnover(material.instruments, rows)
    tiles: list[tuple[str, Part, str]] = [
        ("duration", span(end - start), ""),
        ("market events", grouped(material.summary.get("events")), ""),
        ("orders", grouped(story.intents[words.PLACE] - _denied(material)), ""),
        ("fills", grouped(len(story.fills)), ""),
        ("denied by the gate", grouped(sum(story.denied.values())), ""),
        ("turnover", _volumes(volumes), ""),
        ("feed resyncs", grouped(material.summary.get("resyncs")), ""),
        (
            "net P&L, ≈ USD",
            "-" if net is None else f"{net:+,.2f}",
            "" if not net else "up" if net > 0 else "down",
        ),
    ]  # fmt: skip
    return tag(
        "section",
        [
            tag("div", tag("b", value, class_=tone or None), tag("span", name), class_="tile")
            for name, value, tone in tiles
        ],
        class_="tiles",
    )


def _denied(material: Material) -> int:
    """Return how many PLACE intents did not become orders."""
    return material.story.intents[words.PLACE] - len(material.story.orders)


def _volumes(volumes: dict[str, Decimal]) -> Part:
    return [tag("div", _short(v), " ", tag("small", c)) for c, v in volumes.items()] or "0"


def _short(value: Decimal) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else exact(value)


TITLES = (
    ("pnl", "P&L"),
    ("prices", "Prices and fills"),
    ("edges", "Edges"),
    ("inventory", "Inventory"),
    ("execution", "Execution"),
    ("latency", "Latency"),
    ("gate", "Gate"),
    ("accounts", "Accounts"),
    ("orders", "Orders"),
    ("config", "Config"),
)


def _sections(material: Material, charts: dict[str, Any], found: dict[str, Any]) -> list[Html]:
    parts: dict[str, Part] = {
        "pnl": [
            chart("equity", charts["equity"], "nothing was traded"),
            money.pnl(material, charts),
        ],
        "prices": chart("prices", charts["prices"], "no prices were sampled"),
        "edges": [
            chart("edges", charts["edges"], "no strategy pairs instruments, or no touch was seen"),
            money.edges(material, found),
        ],
        "inventory": [
            chart("inventory", charts["inventory"], "nothing was held"), money.positions(material)
        ],
        "execution": money.execution(material),
        "latency": [engine_room.layers(material), engine_room.latency(material)],
        "gate": engine_room.gate(material),
        "accounts": engine_room.accounts(material),
        "orders": engine_room.orders(material),
        "config": _config(material),
    }  # fmt: skip
    return [tag("section", tag("h2", title), parts[name], id=name) for name, title in TITLES]


def chart(name: str, data: list[Any], nothing: str) -> Html:
    """Return a place for report.js to draw in, or words where there is nothing to draw."""
    if not data:
        return tag("p", nothing, class_="none")
    inside = tag("noscript", "Charts need JavaScript; the tables do not.")
    return tag("div", inside, class_="chart", data_chart=name)


def _config(material: Material) -> Part:
    rows = [
        [
            instrument.key,
            str(instrument.tick_size),
            str(instrument.lot_size),
            exact(instrument.maker_fee * 10_000),
            exact(instrument.taker_fee * 10_000),
        ]
        for instrument in material.instruments
    ]
    return [
        table(("instrument", "tick", "lot", "maker fee bps", "taker fee bps"), rows),
        tag("details", tag("summary", "config.toml"), tag("pre", scrub(material.config) or "-")),
    ]
