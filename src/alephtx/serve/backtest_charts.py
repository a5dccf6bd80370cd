"""The numbers behind the charts of a backtest's report: thinned, and few enough for a page."""

from typing import Any

import numpy as np

from alephtx.analysis.drawdown import drawdown
from alephtx.analysis.tables import Column
from alephtx.serve.backtest_read import Backtest, Columns, Curves, figure, quotes_from, rows_of
from alephtx.serve.backtest_thin import POINTS_MAX, extremes
from alephtx.serve.report.plots import plain, seconds

ALL_PRICES, ALL_SIGNALS, ALL_POSITIONS, ALL_CURVES = 16_000, 24_000, 12_000, 12_000
"""Points of all charts of a kind together: a page of many instruments stays small."""
MARKERS_MAX = 5_000
"""Fills that are marked, of all instruments together."""
POINTS_MIN = 64


def charts_of(backtest: Backtest, curves: Curves) -> dict[str, Any]:
    """Return what backtest.js draws. Names are text, times seconds, unknown values null."""
    prices, inventory = [], []
    instruments = list(backtest.instruments)
    shown = max(1, len(instruments))
    traded = max(1, len(np.unique(backtest.fills["instrument"])))
    for k, instrument in enumerate(instruments):
        market, fills = backtest.market(k), backtest.fills_in(k)
        if market is not None and len(market["ts_ns"]):
            chart = _prices(market, instrument.price_scale, ALL_PRICES // shown)
        elif len(fills["ts"]):
            chart = {"ts": [], "bid": [], "ask": []}
        else:
            continue
        prices.append(
            {
                "key": instrument.key,
                "decimals": instrument.price_scale,
                **chart,
                **_fills(backtest, k, fills, MARKERS_MAX // traded),
                "signals": _signals(
                    _on_the_venues_clock(backtest.signals(k), market), ALL_SIGNALS // shown
                ),
            }
        )
        if len(fills["ts"]):
            inventory.append(_inventory(backtest, k, fills, ALL_POSITIONS // traded))
    return {
        "prices": sorted(prices, key=lambda chart: -chart["total"]),
        "equity": [_equity(*item, ALL_CURVES // max(1, len(curves))) for item in curves.items()],
        "inventory": inventory,
        "markouts": markouts(backtest.sheets),
    }


def _room(points: int) -> int:
    return max(POINTS_MIN, min(POINTS_MAX, points))


def _prices(market: Columns, scale: int, points: int) -> dict[str, Any]:
    quotes = quotes_from(market)
    bid = np.where(quotes.known, quotes.bid * 10.0**-scale, np.nan)
    ask = np.where(quotes.known, quotes.ask * 10.0**-scale, np.nan)
    at = extremes(quotes.ts, (bid, ask), _room(points))
    return {"ts": seconds(quotes.ts[at]), "bid": plain(bid[at]), "ask": plain(ask[at])}


def _fills(backtest: Backtest, k: int, fills: Columns, most: int) -> dict[str, Any]:
    """Return the fills to mark, and how many there were: of each side the extremes stay."""
    instrument, names = backtest.instruments[k], backtest.strategies()
    every = np.arange(len(fills["ts"]))
    if len(every) > most:
        kept = []
        for side in (1, -1):
            mine = every[np.sign(fills["side"]) == side]
            price = fills["price"][mine]
            kept.append(mine[extremes(fills["ts"][mine], (price,), max(8, most // 2))])
        every = np.sort(np.concatenate(kept))
    rows = [
        [
            round(int(fills["ts"][i]) / 1e9, 6),
            float(instrument.price_decimal(int(fills["price"][i]))),
            int(fills["side"][i]),
            int(fills["liquidity"][i]),
            format(instrument.qty_decimal(int(fills["qty"][i])), "f"),
            int(fills["strategy"][i]),
        ]
        for i in every.tolist()
    ]
    return {"fills": rows, "total": len(fills["ts"]), "strategies": names}


def _on_the_venues_clock(signals: Columns | None, market: Columns | None) -> Columns | None:
    """Return signals as early as the touch they were made of: prices and fills stand there too."""
    if signals is None or market is None or not len(market["ts_ns"]):
        return signals
    last = np.searchsorted(market["ts_ns"], signals["ts_ns"], side="right") - 1
    late = np.where(last >= 0, (market["ts_ns"] - market["ts_venue_ns"])[last], 0)
    return {**signals, "ts_ns": np.maximum.accumulate(signals["ts_ns"] - late)}


def _signals(signals: Columns | None, points: int) -> list[dict[str, Any]]:
    """Return every signal that says something, each thinned for itself."""
    if signals is None or not len(signals["ts_ns"]):
        return []
    names = [
        name for name, column in signals.items()
        if name != "ts_ns" and not np.isnan(np.asarray(column, float)).all()
    ]  # fmt: skip
    made = []
    for name in names:
        column = np.where(np.isfinite(signals[name]), signals[name], np.nan)
        at = extremes(signals["ts_ns"], (column,), _room(points // len(names)))
        made.append({"name": name, "ts": seconds(signals["ts_ns"][at]), "v": plain(column[at])})
    return made


def _equity(currency: str, curve: tuple[Column, Column], points: int) -> dict[str, Any]:
    ts, equity = curve
    fall = drawdown(equity)
    at = extremes(ts, (equity, fall.depth), _room(points))
    return {
        "currency": currency,
        "ts": seconds(ts[at]),
        "net": plain(equity[at]),
        "drawdown": plain(fall.depth[at]),
    }


def _inventory(backtest: Backtest, k: int, fills: Columns, points: int) -> dict[str, Any]:
    instrument = backtest.instruments[k]
    held = np.cumsum(fills["side"] * fills["qty"])
    ts = np.concatenate([fills["ts"][:1], fills["ts"]])
    lots = np.concatenate([[0], held])
    at = extremes(ts, (lots,), _room(points))
    unit = 10.0**-instrument.qty_scale
    return {"key": instrument.key, "ts": seconds(ts[at]), "qty": plain(lots[at] * unit)}


def markouts(sheets: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the markout curve of every instrument that has one, with its band."""
    made = []
    for key, sheet in sheets.items():
        rows = rows_of(sheet, "curve")
        columns = {name: [figure(row, name) for row in rows] for name in ("markout", "low", "high")}
        if any(value is not None for value in columns["markout"]):
            horizons = [(figure(row, "horizon_ns") or 0.0) / 1e9 for row in rows]
            made.append({"key": str(key), "horizons": horizons, **columns})
    return made
