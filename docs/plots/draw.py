"""Draw the charts of docs/signals.md and docs/analysis.md from the shipped recording.

PYTHONPATH=src python docs/plots/draw.py [SECONDS]
"""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
from svg import Line, Panel, chart
from watch import DEPTH, kept

from alephtx.analysis.alignment import align, moved_our_way, toward
from alephtx.analysis.edge import fill_edges
from alephtx.analysis.markout import HORIZONS_NS, markout_curve
from alephtx.analysis.mids import mid_at
from alephtx.analysis.tables import quotes_of
from alephtx.core import words
from alephtx.core.records import INSTRUMENT, ORDER, POSITION, SIGNAL_ROW, TOP_ROW
from alephtx.core.view import View
from alephtx.signals import running

HERE = Path(__file__).parent
KEY = "binance_usdm:BTC-USDT-PERP"
RANGE = {"session_ms": 60_000, "open_ms": 15_000, "offset_ms": 20_000}


def view():
    """Return an empty view of one instrument."""
    return View(
        now=np.zeros(4, np.int64), top=np.zeros(1, TOP_ROW),
        levels=np.zeros((1, 2, DEPTH, 2), np.int64), signals=np.zeros(1, SIGNAL_ROW),
        positions=np.zeros(1, POSITION), orders=np.zeros(1, ORDER),
        open_count=np.zeros(1, np.int64), instruments=np.zeros(1, INSTRUMENT),
    )  # fmt: skip


def signals(market):
    """Return a function that gives a signal's values over the market."""

    def values(name, **section):
        module = import_module(f"alephtx.signals.{name}")
        signal = running.Running(module, {"instrument": 0, **section}, market.instruments)
        return running.run_over(signal, view(), market.events, market.tops, market.levels)

    return values


def draw_signals(market):
    """Draw one chart a signal, beside the mid."""
    of, rows = signals(market), market.events
    second = (rows["ts_recv"] - rows["ts_recv"][0]) / 1e9
    scale = 10.0 ** -market.instruments[0].price_scale
    known = (market.tops["bid_qty"] > 0) & (market.tops["ask_qty"] > 0)
    mid = np.where(known, (market.tops["bid"] + market.tops["ask"]) / 2 * scale, np.nan)
    price = Panel("BTCUSDT perpetual, mid, USDT", (Line("mid", mid),))
    micro, vamp = of("microprice") * scale, of("vamp", depth=DEPTH) * scale
    flow = {f"tau {tau // 1000} s": of("trade_flow", tau_ms=tau) for tau in (2_000, 10_000)}
    names = (("fast", 10_000), ("mid", 30_000), ("slow", 60_000))
    taus = {f"{name}_ms": tau for name, tau in names}
    vols = [of("realised_vol", scale=name, **taus) * 1e4 for name, _ in names]
    panels = {
        "vamp": [
            Panel(f"VAMP of {DEPTH} levels less the mid, USDT", (Line("", vamp - mid),), (0,))
        ],
        "microprice": [Panel("microprice less the mid, USDT", (Line("", micro - mid),), (0,))],
        "book_imbalance": [
            Panel("imbalance of the touch", (Line("", of("book_imbalance", depth=0)),), (0,)),
            Panel(f"imbalance of {DEPTH} levels, weight 0.7",
                  (Line("", of("book_imbalance", depth=DEPTH)),), (0,)),
        ],
        "trade_flow": [Panel("trade-flow imbalance",
                             tuple(Line(n, y) for n, y in flow.items()), (-1, 0, 1))],
        "realised_vol": [
            Panel("realised volatility, bps per root second",
                  tuple(Line(f"{n} ({tau // 1000} s)", y)
                        for (n, tau), y in zip(names, vols, strict=True)))
        ],
        "spread_zscore": [
            Panel("bid-ask spread, ticks",
                  (Line("", np.where(known, market.tops["ask"] - market.tops["bid"], np.nan)),)),
            Panel("its z-score, tau 20 s", (Line("", of("spread_zscore", tau_ms=20_000)),), (0,)),
        ],
        "open_range": [Panel("position against the range of the first 15 s of each minute",
                             (Line("", of("open_range", **RANGE)),), (-1, 1))],
    }  # fmt: skip
    for name, below in panels.items():
        chart(HERE / f"{name}.svg", second, [price, *below], "seconds")


def draw_markouts(market):
    """Draw the markout curve of every public trade, as its maker saw it; return its figures."""
    quotes = quotes_of(market.tops, heard=True)
    trades = market.events[market.events["kind"] == words.TRADE]
    side, price = -trades["side"].astype(int), trades["price"].astype(float)
    fills = (trades["ts_recv"], np.zeros(len(trades), int), side, price)
    met = mid_at(trades["ts_recv"], quotes.ts, quotes.mid, before=True).mid
    edges = fill_edges(side, price, met)
    worth = price * trades["qty"]
    horizons = tuple(round(s * 1e9) for s in (0, 0.05, 0.2, 0.5, *range(1, 91)))
    found = markout_curve(fills, worth, edges, quotes.ts, quotes.mid[:, None],
                          horizons_ns=horizons)  # fmt: skip
    band = found.markout
    line = Line("", band.mean, band.low, band.high, steps=False)
    panel = Panel("markout of the makers of every public trade, bps by value", (line,), (0,))
    chart(HERE / "markout.svg", np.array(horizons) / 1e9, [panel], "seconds after the trade")
    places = [horizons.index(h) for h in HORIZONS_NS]
    said = [f"edge {np.average(edges[~np.isnan(edges)], weights=worth[~np.isnan(edges)]):.2f}"]
    said += [
        f"{horizons[k] / 1e9:.0f} s: {band.mean[k]:.2f} ({band.low[k]:.2f} to {band.high[k]:.2f}), "
        f"{band.known[k]} fills, {found.beyond[k]} beyond"
        for k in places
    ]
    return said


def measure_vamp(market):
    """Return how VAMP, sampled every second, was aligned with the move of the next five."""
    quotes, vamp = quotes_of(market.tops, heard=True), signals(market)("vamp", depth=DEPTH)
    at = np.arange(quotes.ts[0], quotes.ts[-1], 1_000_000_000)
    mid, later, away = (
        mid_at(at + shift, quotes.ts, column).mid
        for shift, column in ((0, quotes.mid), (HORIZONS_NS[0], quotes.mid), (0, vamp))
    )
    up = np.ones(len(at))
    return align(toward(up, away, mid), moved_our_way(up, mid, later))


if __name__ == "__main__":
    market = kept(KEY, float(sys.argv[1]) if len(sys.argv) > 1 else 300.0)
    trades = int((market.events["kind"] == words.TRADE).sum())
    sys.stdout.write(f"{len(market.events)} events, {trades} of them trades\n")
    draw_signals(market)
    sys.stdout.write("\n".join([*draw_markouts(market), f"VAMP: {measure_vamp(market)}"]) + "\n")
