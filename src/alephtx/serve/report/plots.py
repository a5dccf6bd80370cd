"""The numbers behind the charts, small enough for a page: seconds, and floats of ten digits."""

import math
from typing import Any

import numpy as np

from alephtx.analysis.drawdown import drawdown
from alephtx.analysis.edge import Edges, best_edges
from alephtx.analysis.samples import thin
from alephtx.analysis.story import Fill
from alephtx.core.instruments import Instruments
from alephtx.serve.report.equity import Point
from alephtx.serve.report.read import Material

MARKERS_MAX = 5_000
"""Fills that are marked on one instrument's chart; of more, evenly chosen ones."""

ESTIMATE = "≈ USD"

Column = np.ndarray[Any, Any]


def plots(material: Material, edges: dict[str, Edges]) -> dict[str, Any]:
    """Return what report.js draws. edges: see `edges_of`."""
    return {
        "ts": seconds(material.samples.ts),
        "prices": _prices(material),
        "edges": [
            {"name": name, "gross": plain(found.gross), "net": plain(found.net)}
            for name, found in edges.items()
        ],
        "equity": _equity(material.equity.points),
        "inventory": _inventory(material.equity.points, material.instruments),
    }


def seconds(ts: Column) -> list[float]:
    """Return ns as seconds, to the microsecond."""
    return [round(value / 1e9, 6) for value in ts.tolist()]


def plain(values: Column) -> list[float | None]:
    """Return floats with ten significant digits, None for NaN."""
    return [None if math.isnan(value) else float(f"{value:.10g}") for value in values.tolist()]


def edges_of(material: Material) -> dict[str, Edges]:
    """Return the best executable edges of every group, by the strategy that trades it."""
    samples = material.samples
    found = {}
    for name, indices in material.groups.items():
        fees = np.array([float(material.instruments[i].taker_fee) for i in indices])
        edges = best_edges(samples.bid[:, indices], samples.ask[:, indices], fees)
        if not np.isnan(edges.gross).all():
            found[name] = edges
    return found


def _prices(material: Material) -> list[dict[str, Any]]:
    """Return a chart for every instrument that has a price or a fill, the most traded first."""
    by_instrument: dict[int, list[Fill]] = {}
    for fill in material.story.fills:
        by_instrument.setdefault(fill.instrument, []).append(fill)
    made = []
    for i, instrument in enumerate(material.instruments):
        fills = by_instrument.get(i, [])
        mid = material.samples.mid[:, i]
        if not fills and np.isnan(mid).all():
            continue
        chosen = [fills[k] for k in thin(len(fills), MARKERS_MAX)]
        made.append(
            {
                "key": instrument.key,
                "decimals": instrument.price_scale,
                "mid": plain(mid),
                "total": len(fills),
                "fills": [
                    [
                        round(fill.ts / 1e9, 6),
                        float(instrument.price_decimal(fill.price)),
                        fill.side,
                        fill.liquidity,
                        str(instrument.qty_decimal(fill.qty)),
                        material.strategy(fill.strategy) if fill.strategy >= 0 else "not ours",
                    ]
                    for fill in chosen
                ],
            }
        )
    return sorted(made, key=lambda chart: -chart["total"])


def _equity(points: list[Point]) -> list[dict[str, Any]]:
    """Return P&L and drawdown: the dollar estimate first, then every currency that moved."""
    if not points:
        return []
    nets = [point.net() for point in points]
    moved = sorted({c for net in nets for c, amount in net.items() if amount})
    made = []
    total = np.array([point.dollars() for point in points])
    if moved and not np.isnan(total).all():
        made.append({"currency": ESTIMATE, **_curve(total)})
    for currency in moved:
        net = np.array([float(net.get(currency, 0)) for net in nets])
        fees = np.array([float(point.fees.get(currency, 0)) for point in points])
        parts = {
            name: plain(np.array([float(getattr(p, name).get(currency, 0)) for p in points]))
            for name in ("realized", "unrealized", "funding")
        }
        made.append({"currency": currency, **_curve(net), "fees": plain(-fees), **parts})
    return made


def _curve(net: Column) -> dict[str, Any]:
    found = drawdown(net)
    return {"net": plain(net), "drawdown": plain(found.depth), "most": found.most}


def _inventory(points: list[Point], instruments: Instruments) -> list[dict[str, Any]]:
    held = sorted({i for point in points for i, lots in point.lots.items() if lots})
    return [
        {
            "key": instruments[i].key,
            "qty": [float(instruments[i].qty_decimal(point.lots.get(i, 0))) for point in points],
        }
        for i in held
    ]
