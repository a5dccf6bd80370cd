"""The live terminal view: books, strategies, P&L, latencies and what the gate denied.

With a terminal the picture is redrawn four times a second, fitted to its size: 80 x 24 shows the
essentials, 110 columns everything. Without one, one plain line a second. Names come from venues and
files, so whatever could steer a terminal is taken out of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

Status = Mapping[str, Any]
Rows = list[dict[str, Any]]

WIDE, TALL = 110, 30
"""Columns and lines from which on parts stand in frames, side by side."""

GOOD, BAD, WARN, DIM = "green", "red", "yellow", "bright_black"
STATE_STYLES = {"ok": GOOD, "no data": DIM, "stale": BAD, "crossed": BAD}
LATENCIES = {
    "wire_to_matrix": ("wire → matrix", "feed"),
    "matrix_to_intent": ("matrix → intent", "decide"),
    "intent_to_wire": ("intent → wire", "send"),
    "intent_to_ack": ("intent → ack", "ack"),
}
"""What a latency is called where there is room, and where there is none."""


LAYER_QUANTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "most": "max"}


class Picture:
    """One moment of a run; draws itself to the size of the console it meets."""

    def __init__(self, status: Status, books: Rows, processes: Rows, title: str) -> None:
        self.status = status
        self.books = books
        self.processes = processes
        self.title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw frames where there is room for them, else lines."""
        height = options.size.height
        needed = len(self.books) + len(self.status.get("strategies") or ()) + 20
        needed += len(layer_rows(self.status)) + 5
        if options.max_width >= WIDE and height >= max(TALL, needed):
            yield self._frames()
        else:
            yield self._lines(options.max_width, height - 1)

    def _frames(self) -> RenderableType:
        below = Table.grid(expand=True, padding=(0, 1, 0, 0))
        below.add_column(ratio=1)
        below.add_column(ratio=1)
        left = Group(
            frame("money", money_table(self.status)),
            frame("gate and accounts", conduct_table(self.status)),
        )
        below.add_row(left, frame("latency", latency_table(self.status)))
        return Group(
            *self._head(),
            frame("books", books_table(self.books, WIDE)),
            frame("strategies", strategies_table(self.status, wide=True)),
            *([frame("layers", layers_table(self.status))] if layer_rows(self.status) else []),
            below,
        )

    def _head(self) -> list[Text]:
        last = alarm(self.status)
        head = [header(self.status, self.processes, self.title)]
        return head if last is None else [*head, last]

    def _lines(self, width: int, height: int) -> RenderableType:
        """Draw the essentials; where lines are few, books and strategies are cut, and say so."""
        narrow = width < WIDE
        head = self._head()
        foot: list[RenderableType] = [
            money_line(self.status),
            latency_line(self.status),
            conduct_line(self.status),
        ]
        strategies = list(self.status.get("strategies") or ())
        room = max(4, height - len(head) - len(foot) - 2)  # two lines of column names
        layers = layer_rows(self.status)
        if layers and room >= len(self.books) + len(strategies) + len(layers) + 1:
            foot.insert(0, layers_table(self.status))
            room -= len(layers) + 1
        elif layers and room > 8:
            foot.insert(0, layers_line(self.status))
            room -= 1
        for_books = min(len(self.books), max(room - len(strategies), 2 * room // 3))
        books, more_books = fit(self.books, for_books, "instruments")
        strategies, more = fit(strategies, room - for_books, "strategies")
        table = strategies_table({**self.status, "strategies": strategies}, wide=not narrow)
        books_part: list[RenderableType] = [books_table(books, width), *more_books]
        lines: list[RenderableType] = [*head, *books_part, table, *more, *foot]
        for line in lines:
            if isinstance(line, Text):
                line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)


def render(status: Status, books: Rows, processes: Rows, title: str) -> Picture:
    """Return one picture for rich; every part says "-" for what is not known yet."""
    return Picture(status, books, processes, title)


def fit(rows: Rows, room: int, what: str) -> tuple[Rows, list[Text]]:
    """Return the rows that fit into so many lines, and a line that says how many did not."""
    if len(rows) <= room:
        return rows, []
    kept = rows[: max(0, room - 1)]
    return kept, [Text(f"… {len(rows) - len(kept)} more {what}", style=DIM)]


def clean(value: Any) -> str:
    """Return a text on one line without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def frame(title: str, inside: RenderableType) -> Panel:
    """Put a part in a titled frame."""
    return Panel(
        inside, title=title, title_align="left", border_style=DIM, padding=(0, 1), expand=True
    )


def plain_table(*names: str, words: int = 1) -> Table:
    """Return a table without lines; the first columns are words, the others numbers."""
    table = Table(box=None, pad_edge=False, expand=True, header_style=DIM)
    for k, name in enumerate(names):
        justify: Any = "left" if k < words else "right"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def header(status: Status, processes: Rows, title: str) -> Text:
    """Return the title, the run's state, its processes."""
    started = bool(status.get("counters"))
    state = "HALTED" if status.get("halted") else "trading" if started else "starting"
    line = Text(clean(title), style="bold")
    line.append(f"  ● {state}", style=BAD if state == "HALTED" else GOOD if started else WARN)
    if status.get("mode"):
        line.append(f" {clean(status['mode'])}", style=DIM)
    alive = sum(bool(process.get("pid")) for process in processes)
    if processes:
        style = DIM if alive == len(processes) else BAD
        line.append(f"  {alive}/{len(processes)} processes", style=style)
    for process in processes:
        restarts = process.get("restarts", 0)
        if restarts or not process.get("pid"):
            line.append(f"  {clean(process.get('name', '?'))}", style=WARN if restarts else BAD)
            line.append(f" restarted {restarts}x" if restarts else " down", style=WARN)
    return line


def alarm(status: Status) -> Text | None:
    """Return the last alarm, if there is one."""
    alarms = status.get("alarms") or ()
    return Text(f"! {clean(alarms[-1])}", style=f"bold {BAD}") if alarms else None


def books_table(books: Rows, width: int) -> Table:
    """Return the touches; sizes are shown from 100 columns on."""
    full = width >= 100
    names = ["instrument", "bid", "ask", "bps", *(("bid qty", "ask qty") if full else ())]
    fields = ["bid", "ask", "spread_bps", *(("bid_qty", "ask_qty") if full else ())]
    table = plain_table(*names, "age ms", "state")
    for book in books:
        state = clean(book.get("state", "-"))
        table.add_row(
            Text(clean(book.get("key", "-"))),
            *(Text(clean(book.get(field, "-"))) for field in fields),
            Text(clean(book.get("age_ms", "-")), style=DIM),
            Text(state, style=STATE_STYLES.get(state, WARN)),
        )
    return table


def strategies_table(status: Status, *, wide: bool) -> Table:
    """Return a line per strategy; wide: what its detector saw, and the venues of what it holds."""
    names = ["strategy", "events", "intents", "denied", "live"]
    table = plain_table(*names, *(("best bps",) if wide else ()), "holds", words=1)
    table.columns[-1].justify = "left"
    table.columns[-1].ratio = 1
    for row in status.get("strategies") or ():
        cells = [grouped(row.get(name)) for name in ("events", "intents", "denied", "open_orders")]
        if wide:
            cells.append(best_edge(row.get("state") or {}))
        name = Text(clean(row.get("name", "-")), style="" if row.get("enabled", True) else DIM)
        held = row.get("positions") or {}
        inside = "  ".join(
            f"{short(qty)} {clean(key) if wide else clean(key).partition(':')[2]}"
            for key, qty in held.items()
        )
        table.add_row(name, *cells, Text(inside or "flat", style="" if inside else DIM))
    return table


def best_edge(state: Mapping[str, Any]) -> str:
    """Return the best edge after fees that a strategy's detector saw, with its sign."""
    value = state.get("best_aware_e8")
    if not isinstance(value, int) or not state.get("seen_blind"):
        return "-"
    return f"{value / 10_000:+.2f}"


def money_cells(status: Status) -> Iterable[tuple[str, Text]]:
    """Return what was earned and paid, by kind."""
    for name in ("realized", "unrealized", "fees", "funding"):
        cell = Text()
        for currency, value in (status.get(name) or {}).items():
            paid = short(value)
            cell.append("   " if cell else "")
            cell.append(paid, style=tone(paid) if name != "fees" else "")
            cell.append(f" {clean(currency)}", style=DIM)
        yield name, cell or Text("0", style=DIM)


def money_table(status: Status) -> Table:
    """Return money, a line per kind."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, cell in money_cells(status):
        table.add_row(Text(name, style=DIM), cell)
    return table


def money_line(status: Status) -> Text:
    """Return money in one line: what is zero is left out but for the realized."""
    line = Text()
    for name, cell in money_cells(status):
        if name == "realized" or cell.plain != "0":
            line.append(f"{'  ' if line else ''}{name} ", style=DIM)
            line.append_text(cell)
    return line


def latencies(status: Status) -> Iterable[tuple[tuple[str, str], Mapping[str, Any]]]:
    """Return the latencies that were measured and their two names, in the order of the way."""
    known = status.get("latency_ns") or {}
    for name in [*LATENCIES, *(name for name in known if name not in LATENCIES)]:
        if known.get(name, {}).get("count"):
            yield LATENCIES.get(name, (clean(name), clean(name))), known[name]


def latency_table(status: Status) -> Table:
    """Return latencies, a line per stretch."""
    table = plain_table("", "p50", "p99", "max", "count")
    for (name, _), row in latencies(status):
        cells = [micros(row.get(key, 0)) for key in ("p50", "p99", "most")]
        table.add_row(Text(name), *cells, grouped(row.get("count")))
    return table


def latency_line(status: Status) -> Text:
    """Return the medians and the 99th percentiles in one line."""
    line = Text("p50/p99", style=DIM)
    for (_, name), row in latencies(status):
        both = "/".join(micros(row.get(key, 0)).replace(" ", "") for key in ("p50", "p99"))
        line.append(f"  {name} ").append(both, style="default")
    return line


class LayerRow(NamedTuple):
    """A line of the layers' table: a layer, or a strategy with its layer and budget."""

    name: str
    layer: str
    order: Mapping[str, int]
    budget_ns: int
    broken: bool


def layer_rows(status: Status) -> list[LayerRow]:
    """Return the layers, then the strategies, that have sent orders."""
    told = status.get("layers")
    rows = []
    for key in ("layers", "strategies"):
        for row in rows_in(told, key):
            stated = row.get("order")
            stated = stated if isinstance(stated, Mapping) else {}
            order = {k: v for k, v in stated.items() if isinstance(v, int)}
            if not order.get("count"):
                continue
            layer = clean(row.get("layer", "?"))
            if key == "layers":
                rows.append(LayerRow(f"all of {layer}", "", order, 0, broken=False))
                continue
            budget = row.get("budget_ns")
            budget_ns = budget if isinstance(budget, int) else 0
            name = clean(row.get("name", "?"))
            rows.append(LayerRow(name, layer, order, budget_ns, broken=bool(row.get("broken"))))
    return rows


def rows_in(told: Any, key: str) -> Iterator[Mapping[str, Any]]:
    """Return what is a table in a list of another process's words."""
    listed = told.get(key) if isinstance(told, Mapping) else None
    for row in listed if isinstance(listed, list) else ():
        if isinstance(row, Mapping):
            yield row


def layers_table(status: Status) -> Table:
    """Return how long orders took from the receive stamp to the wire; red is over its budget."""
    table = plain_table("event → wire", "", *LAYER_QUANTILES.values(), "budget", "orders", words=2)
    for row in layer_rows(status):
        cells = [Text(row.name, style=BAD if row.broken else ""), Text(row.layer, style=DIM)]
        for key in LAYER_QUANTILES:
            ns = row.order.get(key, 0)
            cells.append(Text(micros(ns), style=BAD if 0 < row.budget_ns < ns else ""))
        cells.append(Text(micros(row.budget_ns) if row.budget_ns else "", style=DIM))
        table.add_row(*cells, grouped(row.order.get("count")))
    return table


def layers_line(status: Status) -> Text:
    """Return each layer's median and 99th percentile, and the strategies over their budgets."""
    line = Text("event → wire", style=DIM)
    for row in layer_rows(status):
        if not row.layer or row.broken:
            two = [micros(row.order.get(key, 0)).replace(" ", "") for key in ("p50", "p99")]
            line.append(f"  {row.name} ")
            line.append("/".join(two), style=BAD if row.broken else "default")
    return line


def denials(status: Status) -> Text:
    """Return what the gate denied, the most first."""
    counts = sorted((status.get("denied") or {}).items(), key=lambda item: -item[1])
    words = "  ".join(f"{clean(rule)} {count:,}" for rule, count in counts)
    return Text(words or "nothing", style=WARN if words else DIM)


def accounts(status: Status) -> Text:
    """Return which accounts are in step with their venue, and their live orders."""
    cell = Text()
    for row in status.get("accounts") or ():
        ready = bool(row.get("ready"))
        cell.append("   " if cell else "")
        cell.append("● " if ready else "○ ", style=GOOD if ready else WARN)
        cell.append(f"{clean(row.get('name', '?'))} {row.get('live_orders', 0)}")
        if row.get("ambiguous"):
            cell.append(f" ?{row['ambiguous']}", style=WARN)
    return cell or Text("-", style=DIM)


def conduct_table(status: Status) -> Table:
    """Return counts, denials and accounts."""
    table = Table.grid(padding=(0, 2, 0, 0))
    counters = status.get("counters") or {}
    counts = "  ".join(f"{name} {grouped(counters.get(name, 0))}" for name in ("orders", "fills"))
    table.add_row(Text("sent", style=DIM), Text(counts))
    table.add_row(Text("denied", style=DIM), denials(status))
    table.add_row(Text("accounts", style=DIM), accounts(status))
    return table


def conduct_line(status: Status) -> Text:
    """Return counts, denials and accounts in one line."""
    counters = status.get("counters") or {}
    line = Text(f"fills {grouped(counters.get('fills', 0))}")
    line.append("  denied ", style=DIM).append_text(denials(status))
    return line.append("  ").append_text(accounts(status))


def grouped(value: Any) -> str:
    """Return a count; - for what is none."""
    return f"{value:,}" if isinstance(value, int) else "-"


def tone(amount: str) -> str:
    """Return the colour of an amount."""
    return BAD if amount.startswith("-") else GOOD if amount.strip("0.") else ""


def micros(ns: int) -> str:
    """Return a duration in the unit a reader wants."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if ns >= size:
            value = ns / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    return f"{ns} ns"


def short(value: str) -> str:
    """Return an amount with at most six decimals; the report has all of them."""
    try:
        rounded = Decimal(str(value)).quantize(Decimal("0.000001"))
    except InvalidOperation:
        return clean(value)
    return format(rounded.normalize(), "f") if rounded else "0"


def plain_line(status: Status) -> str:
    """Return one line for logs and pipes."""
    counters = status.get("counters") or {}
    amounts = status.get("realized") or {}
    realized = " ".join(f"{short(v)} {clean(k)}" for k, v in amounts.items()) or "0"
    names = ("events", "intents", "denied", "orders", "fills")
    counts = "  ".join(f"{name} {grouped(counters.get(name, 0))}" for name in names)
    return f"{counts}  realized {realized}{'  HALTED' if status.get('halted') else ''}"


def console() -> Console:
    """Return the console on stderr, so that stdout stays for results."""
    return Console(stderr=True)
