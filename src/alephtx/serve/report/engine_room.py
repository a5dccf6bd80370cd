"""The report's parts about the machinery: latency, gate, venues' refusals, accounts, orders."""

from collections import Counter
from typing import Any

import numpy as np

from alephtx.analysis.story import OrderLine, latencies
from alephtx.core import words
from alephtx.serve.report.html import Html, Part, table, tag
from alephtx.serve.report.numbers import clock, duration, exact, grouped, joined
from alephtx.serve.report.read import Material

ORDERS_SHOWN = 200
BARS = 32

SIDES = {words.BUY: "buy", words.SELL: "sell"}
TYPES = {words.LIMIT: "limit", words.MARKET: "market", words.STOP: "stop"}
TIFS = {words.GTC: "GTC", words.IOC: "IOC", words.FOK: "FOK", words.GTD: "GTD"}
FLAGS = ((words.POST_ONLY, "post"), (words.REDUCE_ONLY, "reduce"), (words.HEDGE, "hedge"))


def latency(material: Material) -> Part:
    """Return the engine's own histograms by their quantiles, and the journal's with their shape."""
    rows: list[list[Part]] = []
    stated = material.summary.get("latency_ns")
    for name, row in stated.items() if isinstance(stated, dict) else ():
        if isinstance(row, dict) and row.get("count"):
            most = row.get("max", row.get("most"))
            cells = [duration(row.get("p50")), duration(row.get("p99")), duration(most)]
            rows.append([name.replace("_", " "), grouped(row.get("count")), *cells, "engine", None])
    for name, found in latencies(material.story.orders).items():
        if len(found):
            cells = [duration(float(np.quantile(found, q))) for q in (0.5, 0.99, 1.0)]
            shape = histogram(found)
            rows.append([name.replace("_", " "), grouped(len(found)), *cells, "journal", shape])
    headers = ("from, to", "count", "p50", "p99", "max", "source", "shape, log scale")
    return table(headers, rows)


def layers(material: Material) -> Part:
    """Return how long orders took from the receive stamp to the wire, by layer and strategy."""
    stated = material.summary.get("layers")
    stated = stated if isinstance(stated, dict) else {}
    rows: list[list[Part]] = [
        [f"all of {row.get('layer')}", "", *_quantiles(row.get("order")), "", "", ""]
        for row in _dicts(stated.get("layers"))
    ]
    for row in _dicts(stated.get("strategies")):
        over, breaches = row.get("over"), row.get("breaches")
        rows.append(
            [
                str(row.get("name")),
                str(row.get("layer")),
                *_quantiles(row.get("order")),
                duration(row.get("budget_ns")),
                tag("span", grouped(over), class_="down" if over else ""),
                tag("span", grouped(breaches), class_="down" if breaches else ""),
            ]
        )
    headers = (
        "event to wire", "layer", "orders", "p50", "p90", "p99", "p99.9", "max", "budget",
        "over it", "breaches",
    )  # fmt: skip
    return table(headers, rows, left=2) if rows else None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _quantiles(order: object) -> list[Part]:
    told = order if isinstance(order, dict) else {}
    return [
        grouped(told.get("count")),
        *(duration(told.get(key)) for key in ("p50", "p90", "p99", "p999", "most")),
    ]


def histogram(values: np.ndarray[Any, Any]) -> Html:
    """Return bars of sorted durations, log-spaced from the least to the most."""
    low, high = max(1.0, float(values[0])), max(2.0, float(values[-1]))
    edges = np.geomspace(low, max(high, low * 1.01), BARS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    tallest = max(1, int(counts.max()))
    bars = [
        tag("rect", x=str(4 * k), y=str(24 - height), width="3", height=str(height))
        for k, count in enumerate(counts.tolist())
        if (height := max(1, round(24 * count / tallest)) if count else 0)
    ]
    label = f"{duration(float(values[0]))} to {duration(float(values[-1]))}"
    inside = [tag("title", label), *bars]
    return tag("svg", inside, viewBox=f"0 0 {4 * BARS} 24", class_="bars", role="img")


def gate(material: Material) -> Part:
    """Return what was denied by us and what was refused by venues."""
    by_rule: dict[int, Counter[int]] = {}
    for (strategy, verdict), count in material.story.denied.items():
        by_rule.setdefault(verdict, Counter())[strategy] += count
    rows = [
        [
            words.VERDICT_NAMES.get(verdict, str(verdict)),
            joined(f"{material.strategy(s)} {n:,}" for s, n in counts.most_common()),
            grouped(counts.total()),
        ]
        for verdict, counts in sorted(by_rule.items(), key=lambda item: -item[1].total())
    ]
    refused: Counter[tuple[str, int]] = Counter()
    for order in material.story.orders.values():
        if order.status == words.REJECTED:
            reason = words.REASON_NAMES.get(order.reason, str(order.reason))
            refused[reason, order.code] += 1
    said = [
        [reason or "-", str(code), grouped(count)]
        for (reason, code), count in refused.most_common()
    ]
    return [
        table(("denied by rule", "strategy", "intents"), rows, left=2),
        table(("refused by a venue", "its code", "orders"), said),
    ]


def accounts(material: Material) -> Part:
    """Return what the end was like at every account, and the feeds' health."""
    differences = material.summary.get("differences")
    differences = differences if isinstance(differences, dict) else {}
    fills = Counter(fill.account for fill in material.story.fills)
    names = list(dict.fromkeys([*material.accounts, *(str(name) for name in differences)]))
    rows = []
    for index, name in enumerate(names):
        found = differences.get(name)
        if not isinstance(found, list):
            verdict: Part = tag("span", "not compared", class_="warn")
        elif found:
            verdict = [tag("div", str(one), class_="down") for one in found]
        else:
            verdict = tag("span", "equal to the last unit", class_="up")
        rows.append([name, verdict, grouped(fills[index]), grouped(material.story.resyncs[index])])
    headers = ("account", "our books and the venue's", "fills", "resyncs")
    return [table(headers, rows, left=2), _feeds(material)]


def _feeds(material: Material) -> Part:
    feeders = material.summary.get("feeders")
    if not isinstance(feeders, dict) or not feeders:
        return None
    rows = []
    for name, row in feeders.items():
        if isinstance(row, dict):
            count, most = row.get("wire_to_matrix_count"), row.get("wire_to_matrix_most")
            rows.append(
                [
                    str(name),
                    *(grouped(row.get(k)) for k in ("events", "resyncs", "reconnects")),
                    grouped(count),
                    *(duration(row.get(f"wire_to_matrix_{q}")) for q in ("p50", "p99")),
                    duration(most),
                ]
            )
    headers = ("feed", "events", "resyncs", "reconnects", "timed", "p50", "p99", "max")
    return table(headers, rows)


def orders(material: Material) -> Part:
    """Return the last orders, newest first."""
    every = list(material.story.orders.values())
    shown = every[: -ORDERS_SHOWN - 1 : -1]
    headers = (
        "time UTC", "strategy", "instrument", "side", "kind", "state", "price", "qty", "filled",
        "at", "to ack",
    )  # fmt: skip
    count = f"the last {len(shown)} of {len(every):,}, newest first"
    return table(headers, (_order(material, o) for o in shown), left=6, caption=count)


def _order(material: Material, order: OrderLine) -> list[Part]:
    instrument = material.instruments[order.instrument]
    flags = [name for bit, name in FLAGS if order.flags & bit]
    kind = " ".join([TYPES.get(order.type, "?"), TIFS.get(order.tif, "?"), *flags])
    state = words.STATUS_NAMES.get(order.status, str(order.status)).lower().replace("_", " ")
    reason = words.REASON_NAMES.get(order.reason, "")
    average = order.value / order.filled if order.filled else 0.0
    decimals = instrument.price_scale
    to_ack = order.ts_ack - order.ts_sent if order.ts_ack and order.ts_sent else -1
    return [
        clock(order.ts_intent),
        material.strategy(order.strategy),
        instrument.key,
        tag("span", SIDES.get(order.side, "?"), class_="up" if order.side > 0 else "down"),
        kind,
        [state, tag("small", f" {reason}") if reason else None],
        str(instrument.price_decimal(order.price)) if order.price else "market",
        exact(instrument.qty_decimal(order.qty)),
        exact(instrument.qty_decimal(order.filled)),
        f"{average / 10**decimals:.{max(decimals, 0) + 2}f}" if order.filled else "-",
        duration(to_ack),
    ]
