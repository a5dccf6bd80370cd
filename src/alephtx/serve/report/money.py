"""The report's parts about money and markets: P&L, edges, positions, quality of the fills."""

import math
from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.analysis.edge import Edges
from alephtx.analysis.markout import HORIZONS_NS, markouts, weighted_mean
from alephtx.analysis.trades import quote_value, traded
from alephtx.core import words
from alephtx.serve.report.html import Html, Part, table, tag
from alephtx.serve.report.numbers import amounts, bps, clock, exact, grouped, percent, signed
from alephtx.serve.report.plots import ESTIMATE
from alephtx.serve.report.read import Material

NOTHING = Decimal(0)


def pnl(material: Material, charts: dict[str, Any]) -> Part:
    """Return P&L by currency and by strategy."""
    last = material.equity.last()
    net = last.net()
    most = {chart["currency"]: chart["most"] for chart in charts["equity"]}
    rows: list[list[Part]] = [
        [
            currency,
            signed(last.realized.get(currency, NOTHING)),
            signed(last.unrealized.get(currency, NOTHING)),
            signed(-last.fees.get(currency, NOTHING)),
            signed(last.funding.get(currency, NOTHING)),
            signed(last.other.get(currency, NOTHING)),
            tag("b", signed(net[currency])),
            f"{most.get(currency, 0.0):.6g}",
        ]
        for currency in sorted(net)
        if any(
            part.get(currency)
            for part in (last.realized, last.unrealized, last.fees, last.funding, last.other)
        )
    ]
    if not math.isnan(last.dollars()) and rows:
        most_usd = f"{most.get(ESTIMATE, 0.0):,.2f}"
        rows.append([ESTIMATE, *["" for _ in range(5)], f"{last.dollars():+,.2f}", most_usd])
    headers = (
        "currency",
        "realized",
        "unrealized",
        "fees",
        "funding",
        "other",
        "net",
        "max drawdown",
    )
    return [
        table(headers, rows),
        tag(
            "p",
            "Exact, from the journal, at average cost; unrealized at the last sampled mids. "
            "Drawdown is that of the sampled curve. ≈ USD counts dollar coins as one and other "
            "currencies at their sampled mids: an estimate. Drag over a chart to zoom all of them, "
            "double-click to go back.",
            class_="hint",
        ),
        _by_strategy(material),
    ]


def _by_strategy(material: Material) -> Html:
    ledger = material.equity.ledger
    known = {strategy for _, strategy, _ in ledger.strategies}
    orders: dict[int, int] = {}
    for order in material.story.orders.values():
        orders[order.strategy] = orders.get(order.strategy, 0) + 1
    fills: dict[int, int] = {}
    for fill in material.story.fills:
        fills[fill.strategy] = fills.get(fill.strategy, 0) + 1
    rows = [
        [
            material.strategy(s),
            grouped(orders.get(s, 0)),
            grouped(fills.get(s, 0)),
            amounts(ledger.realized(strategy=s)),
            amounts(ledger.fees(strategy=s)),
        ]
        for s in sorted(known | set(orders))
    ]
    return table(("strategy", "orders", "fills", "realized", "fees paid"), rows)


def edges(material: Material, found: dict[str, Edges]) -> Part:
    """Return the best edges, and what the strategies' own detectors saw."""
    rows = []
    for name, edge in found.items():
        keys = [material.instruments[i].key for i in material.groups[name]]
        known = ~np.isnan(edge.net)
        best = int(np.nanargmax(edge.net))
        rows.append(
            [
                name,
                f"sell {keys[edge.sell[best]]}, buy {keys[edge.buy[best]]}",
                clock(int(material.samples.ts[best])),
                bps(float(np.nanmax(edge.gross))),
                bps(float(edge.net[best])),
                percent(float((edge.gross[known] > 0).mean())),
                percent(float((edge.net[known] > 0).mean())),
            ]
        )
    headers = (
        "strategy", "best pair after fees", "at", "best gross bps", "best net bps",
        "time gross > 0", "time net > 0",
    )  # fmt: skip
    return [table(headers, rows, left=2), _detectors(material)]


def _detectors(material: Material) -> Part:
    rows = []
    for strategy in _dicts(material.summary.get("strategies")):
        state = strategy.get("state")
        if not isinstance(state, dict) or "seen_blind" not in state:
            continue
        rows.append(
            [
                str(strategy.get("name", "")),
                grouped(state.get("seen_blind")),
                _e8_bps(state.get("best_blind_e8")),
                grouped(state.get("seen_aware")),
                _e8_bps(state.get("best_aware_e8")),
                grouped(state.get("trades")),
                grouped(state.get("hedges")),
            ]
        )
    if not rows:
        return None
    headers = (
        "detector, every event", "chances before fees", "best bps", "chances after fees",
        "best bps", "traded", "hedges",
    )  # fmt: skip
    return [
        table(headers, rows),
        tag(
            "p",
            "A fee-blind detector calls every cross of two touches a chance; after the taker fees "
            "of both legs these are left. The samples above see twice a second, detectors every "
            "event.",
            class_="hint",
        ),
    ]


def _e8_bps(value: Any) -> str:
    usable = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**8
    return bps(value / 1e4) if usable else "-"


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def positions(material: Material) -> Part:
    """Return what is held at the end, by account."""
    rows = [
        [
            material.account(account),
            material.instruments[i].key,
            exact(material.instruments[i].qty_decimal(position.qty)),
            exact(material.instruments[i].qty_decimal(position.bought)),
            exact(material.instruments[i].qty_decimal(position.sold)),
            grouped(position.fills),
        ]
        for (account, i), position in sorted(material.equity.ledger.accounts.items())
    ]
    return table(("account", "instrument", "position", "bought", "sold", "fills"), rows, left=2)


def execution(material: Material) -> Part:
    """Return turnover, shares and markouts by instrument."""
    rows = traded(material.instruments, material.story.fills, material.story.orders.values())
    made = []
    for i, row in sorted(rows.items()):
        instrument = material.instruments[i]
        made.append(
            [
                instrument.key,
                grouped(row.orders),
                percent(row.hit_ratio),
                percent(row.fill_ratio),
                grouped(row.fills),
                [exact(row.turnover), " ", tag("small", instrument.quote)],
                percent(row.maker_share),
            ]
        )
    headers = (
        "instrument",
        "orders",
        "orders hit",
        "lots filled",
        "fills",
        "turnover",
        "maker share",
    )
    return [table(headers, made), _markouts(material)]


def _markouts(material: Material) -> Part:
    fills = [fill for fill in material.story.fills if fill.instrument < len(material.instruments)]
    if not fills:
        return None
    table_of = material.instruments
    columns = (
        np.array([fill.ts for fill in fills], np.int64),
        np.array([fill.instrument for fill in fills], np.int64),
        np.array([fill.side for fill in fills], np.int64),
        np.array([float(table_of[f.instrument].price_decimal(f.price)) for f in fills]),
    )
    found = markouts(columns, material.samples.ts, material.samples.mid)
    worth = np.array([float(quote_value(table_of[f.instrument], f.price, f.qty)) for f in fills])
    liquidity = np.array([fill.liquidity for fill in fills])
    rows = []
    for i in sorted({fill.instrument for fill in fills}):
        for kind, name in ((words.MAKER, "maker"), (words.TAKER, "taker")):
            mine = (columns[1] == i) & (liquidity == kind)
            if mine.any():
                cells = [weighted_mean(found[mine, h], worth[mine]) for h in range(found.shape[1])]
                rows.append(
                    [
                        table_of[i].key,
                        name,
                        *([bps(mean), " ", tag("small", f"n {n}")] for mean, n in cells),
                    ]
                )
    names = [f"{horizon // 1_000_000_000} s, bps" for horizon in HORIZONS_NS]
    return [
        table(("markout", "as", *names), rows, left=2),
        tag(
            "p",
            "How far the mid had moved our way after a fill, weighted by value, before fees; n is "
            "how many fills had a sample then.",
            class_="hint",
        ),
    ]
