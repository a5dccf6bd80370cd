"""The live terminal view: books, spreads, positions, P&L, latencies and what the gate denied.

With a terminal the picture is redrawn four times a second; without one, one plain line a second.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

Status = Mapping[str, Any]


def render(
    status: Status, books: list[dict[str, Any]], processes: list[dict[str, Any]], title: str
) -> Group:
    """Draw one picture; every part says "-" for what is not known yet."""
    return Group(
        _header(status, processes, title),
        _books(books),
        _strategies(status),
        _money(status),
        _latencies(status),
    )


def _header(status: Status, processes: list[dict[str, Any]], title: str) -> Panel:
    text = Text(title, style="bold")
    state = "halted" if status.get("halted") else "trading" if status else "starting"
    text.append(f"   {state}", style="red" if state == "halted" else "green")
    for process in processes:
        alive = bool(process.get("pid"))
        restarts = process.get("restarts", 0)
        mark = f"   {process['name']}" + (f" (restarted {restarts}x)" if restarts else "")
        text.append(mark, style="" if alive else "red")
    return Panel(text, padding=(0, 1))


def _books(books: list[dict[str, Any]]) -> Table:
    table = Table(expand=True, box=None, pad_edge=False)
    for name in ("instrument", "bid", "ask", "spread bps", "bid qty", "ask qty", "age ms", "state"):
        table.add_column(name, justify="left" if name in ("instrument", "state") else "right")
    for book in books:
        table.add_row(
            book["key"], book["bid"], book["ask"], book["spread_bps"], book["bid_qty"],
            book["ask_qty"], book["age_ms"],
            Text(book["state"], style="green" if book["state"] == "ok" else "yellow"),
        )  # fmt: skip
    return table


def _strategies(status: Status) -> Table:
    table = Table(expand=True, box=None, pad_edge=False)
    for name in ("strategy", "events", "intents", "denied", "open orders", "positions"):
        table.add_column(name, justify="right" if name not in ("strategy", "positions") else "left")
    for row in status.get("strategies", []):
        held = "  ".join(f"{key} {qty}" for key, qty in row["positions"].items()) or "flat"
        table.add_row(
            row["name"], f"{row['events']:,}", f"{row['intents']:,}", f"{row['denied']:,}",
            str(row["open_orders"]), held,
        )  # fmt: skip
    return table


def _money(status: Status) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", width=12)
    table.add_column()
    for name in ("realized", "unrealized", "fees", "funding"):
        amounts = status.get(name) or {}
        shown = "   ".join(f"{_short(value)} {currency}" for currency, value in amounts.items())
        table.add_row(name, shown or "0")
    denied = "  ".join(f"{rule} {count}" for rule, count in status.get("denied", {}).items())
    table.add_row("denied by", denied or "nothing")
    accounts = "  ".join(
        f"{row['name']}: {'ready' if row['ready'] else 'resyncing'}, {row['fills']} fills"
        for row in status.get("accounts", [])
    )
    table.add_row("accounts", accounts or "-")
    return table


def _latencies(status: Status) -> Table:
    table = Table(expand=True, box=None, pad_edge=False)
    for name in ("latency", "p50", "p99", "max", "count"):
        table.add_column(name, justify="left" if name == "latency" else "right")
    for name, row in status.get("latency_ns", {}).items():
        table.add_row(
            name, micros(row["p50"]), micros(row["p99"]), micros(row["most"]), f"{row['count']:,}"
        )
    return table


def micros(ns: int) -> str:
    """Return a duration in the unit a reader wants."""
    if ns < 1_000:
        return f"{ns} ns"
    if ns < 1_000_000:
        return f"{ns / 1_000:.1f} us"
    return f"{ns / 1_000_000:.2f} ms"


def _short(value: str) -> str:
    return format(Decimal(value).quantize(Decimal("0.000001")).normalize(), "f")


def plain_line(status: Status) -> str:
    """Return one line for logs and pipes."""
    counters = status.get("counters", {})
    amounts = status.get("realized") or {}
    realized = " ".join(f"{_short(v)} {k}" for k, v in amounts.items()) or "0"
    return (
        f"events {counters.get('events', 0):,}  intents {counters.get('intents', 0):,}  "
        f"denied {counters.get('denied', 0):,}  orders {counters.get('orders', 0):,}  "
        f"fills {counters.get('fills', 0):,}  realized {realized}"
    )


def console() -> Console:
    """Return the console on stderr, so that stdout stays for results."""
    return Console(stderr=True)
