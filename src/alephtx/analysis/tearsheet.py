"""The tear sheet: everything that is to be said about a run in one instrument, as one Struct.

    sheet = tear_sheet(Run(instrument, fills, orders, quotes))
    msgspec.json.encode(sheet)                      # NaN becomes null, Decimals text

Pure: the same columns and options give the same sheet, bootstrap included.
"""

import math
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import NamedTuple

import msgspec
import numpy as np

from alephtx.analysis.activity import (
    Activity,
    Inventory,
    QueueTime,
    activity,
    inventory,
    queue_time,
)
from alephtx.analysis.alignment import Alignment, align, moved_our_way, toward
from alephtx.analysis.attribution import Attribution, attribute
from alephtx.analysis.drawdown import drawdown, under_water
from alephtx.analysis.edge import fill_edges
from alephtx.analysis.equity_curve import Curve, equity_curve
from alephtx.analysis.markout import (
    CURVE_NS,
    HORIZONS_NS,
    MarkoutCurve,
    markout_curve,
    weighted_mean,
)
from alephtx.analysis.mids import mid_at
from alephtx.analysis.sharpe import (
    calmar,
    deflated_sharpe,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
    sharpe,
    sortino,
)
from alephtx.analysis.spread import aggressors, decompose_spread
from alephtx.analysis.tables import Column, Fills, Orders, Quotes
from alephtx.analysis.trades import EXACT, quote_value
from alephtx.analysis.transaction_cost import Costs, MarketTrades, order_costs, sum_costs
from alephtx.core.instruments import Instrument
from alephtx.core.words import MAKER, TAKER

YEAR_NS = 31_557_600 * 10**9
"""Of 365.25 days: markets that never close."""


class Run(NamedTuple):
    """What happened in one instrument; all stamps of one clock.

    funding: (ts, money of 10^-8 received). vamp: VAMP in ticks just before every fill, or any price
    to be held against where the market went; vamp_levels: of how many levels a side at most, 1 is
    the microprice. trades: public ones in parts, for the VWAP. amends: how many.
    """

    instrument: Instrument
    fills: Fills
    orders: Orders
    quotes: Quotes
    funding: tuple[Column, Column] | None = None
    vamp: Column | None = None
    vamp_levels: int = 0
    trades: Iterable[MarketTrades] = ()
    amends: int = 0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to count. step_ns: the period of returns; trials, trials_variance: for `deflated_sharpe`.

    horizon_ns parts adverse selection from inventory. age_max_ns: a mid that is older says nothing
    (None: quotes are of every change).
    """

    confidence: float = 0.95
    draws: int = 1_000
    seed: int = 1
    step_ns: int = 1_000_000_000
    horizon_ns: int = 30_000_000_000
    age_max_ns: int | None = None
    trials: float = 1.0
    trials_variance: float = 0.0


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """Mean edge at the fill by value, bps; count: fills that met a known mid."""

    all: float
    bought: float
    sold: float
    maker: float
    taker: float
    count: int


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """What was left of the fills after a while, bps by value. beyond, unknown: fills left out.

    effective = realised + impact, as half spreads of the fills whose mid was known then.
    """

    horizon_ns: int
    markout: float
    low: float
    high: float
    adverse: float
    effective: float
    realised: float
    impact: float
    known: int
    beyond: int
    unknown: int


class Returns(msgspec.Struct, frozen=True, kw_only=True):
    """Gain a period and its risk; ratios per period, with `yearly` per year of 365.25 days.

    drawdown and gain in the settle currency. track_record: periods needed to believe in a ratio
    above 0. Periods of seconds have memory, and a yearly ratio of minutes of data proves nothing.
    """

    periods: int
    step_ns: int
    gain: float
    sharpe: float
    sharpe_yearly: float
    sortino: float
    sortino_yearly: float
    calmar: float
    skew: float
    kurtosis: float
    probabilistic: float
    deflated: float
    track_record: float
    drawdown: float
    drawdown_ns: int
    recovered: bool


class TearSheet(msgspec.Struct, frozen=True, kw_only=True):
    """A run in one instrument. horizons: at exactly 5, 30 and 60 s; curve: the full one.

    turnover: in the quote currency. alignment: of `vamp` at our fills with the move after, one a
    horizon; empty without it. vamp_levels: of how many levels a side that was at most.
    """

    instrument: str
    currency: str
    begin_ns: int
    end_ns: int
    turnover: Decimal
    edge: Edge
    horizons: list[Horizon]
    curve: list[Horizon]
    alignment: list[Alignment]
    vamp_levels: int
    activity: Activity
    queue: QueueTime
    inventory: Inventory
    attribution: Attribution
    costs: Costs
    returns: Returns


def tear_sheet(run: Run, options: Options | None = None) -> TearSheet:
    """Return the tear sheet of a run that began flat.

    About 4 s for 20,000 fills and a million quotes, most of it the bootstrap's 1,000 draws.
    """
    options = options or Options()
    instrument, fills, quotes = run.instrument, run.fills, run.quotes
    begin, end = (int(quotes.ts[0]), int(quotes.ts[-1])) if len(quotes.ts) else (0, 0)
    mid_met = mid_at(
        fills.ts, quotes.ts, quotes.mid, before=True, age_max_ns=options.age_max_ns
    ).mid
    weights = weights_of(instrument, fills)
    edges = fill_edges(fills.side, fills.price, mid_met)
    unit = float(instrument.contract_value) * 10.0 ** -(
        instrument.price_scale + instrument.qty_scale
    )
    costs = order_costs(
        run.orders, fills, quotes, end_ns=end, trades=run.trades,
        lot_value=math.nan if instrument.inverse else unit,
    )  # fmt: skip
    amounts = None if run.funding is None else run.funding[1]
    equity = equity_curve(instrument, fills, quotes, step_ns=options.step_ns, funding=run.funding)
    curve = _curve(run, options, mid_met, edges, weights)
    rows = zip(fills.price.tolist(), fills.qty.tolist(), strict=True)
    with localcontext(EXACT):
        turnover = sum((quote_value(instrument, *row) for row in rows), Decimal(0))
    return TearSheet(
        instrument=instrument.key, currency=instrument.settle, begin_ns=begin, end_ns=end,
        turnover=turnover, edge=_edge(fills, edges, weights),
        horizons=[row for row in curve if row.horizon_ns in HORIZONS_NS], curve=curve,
        alignment=_alignment(run, options, mid_met), vamp_levels=run.vamp_levels,
        activity=activity(run.orders, fills, amends=run.amends),
        queue=queue_time(run.orders, fills, end), inventory=inventory(fills, begin, end),
        attribution=attribute(
            instrument, fills, quotes, horizon_ns=options.horizon_ns, funding=amounts
        ),
        costs=sum_costs(costs, run.orders), returns=returns_of(equity, options),
    )  # fmt: skip


def weights_of(instrument: Instrument, fills: Fills) -> Column:
    """Return the fills' values in the quote currency, up to a factor: what averages weigh by."""
    lots = fills.qty.astype(float)
    return lots if instrument.inverse else lots * fills.price


def _edge(fills: Fills, edges: Column, weights: Column) -> Edge:
    def mean(mask: Column) -> float:
        return weighted_mean(edges[mask], weights[mask])[0]

    return Edge(
        all=weighted_mean(edges, weights)[0], bought=mean(fills.side > 0),
        sold=mean(fills.side < 0), maker=mean(fills.liquidity == MAKER),
        taker=mean(fills.liquidity == TAKER), count=int((~np.isnan(edges)).sum()),
    )  # fmt: skip


def _curve(
    run: Run, options: Options, mid_met: Column, edges: Column, weights: Column
) -> list[Horizon]:
    """Measure the fills at every horizon of the curve, those of HORIZONS_NS among them."""
    fills, quotes, mid = run.fills, run.quotes, run.quotes.mid
    found: MarkoutCurve = markout_curve(
        (fills.ts, np.zeros(len(fills.ts), np.int64), fills.side, fills.price), weights, edges,
        quotes.ts, mid[:, None], horizons_ns=CURVE_NS, age_max_ns=options.age_max_ns,
        confidence=options.confidence, draws=options.draws, seed=options.seed,
    )  # fmt: skip
    aggressor = aggressors(fills.side, fills.liquidity, MAKER)
    rows = []
    for k, horizon in enumerate(CURVE_NS):
        later = mid_at(fills.ts + horizon, quotes.ts, mid, age_max_ns=options.age_max_ns)
        parts = decompose_spread(aggressor, fills.price, mid_met, later.mid)
        known = weights * ~np.isnan(parts.impact)
        effective, realised, impact = (weighted_mean(part, known)[0] for part in parts)
        rows.append(
            Horizon(
                horizon_ns=horizon, markout=float(found.markout.mean[k]),
                low=float(found.markout.low[k]), high=float(found.markout.high[k]),
                adverse=float(found.adverse[k]), effective=effective, realised=realised,
                impact=impact, known=int(found.markout.known[k]),
                beyond=int(found.beyond[k]), unknown=int(found.unknown[k]),
            )
        )  # fmt: skip
    return rows


def _alignment(run: Run, options: Options, mid_met: Column) -> list[Alignment]:
    if run.vamp is None:
        return []
    fills, quotes = run.fills, run.quotes
    x = toward(fills.side, run.vamp, mid_met)
    found = []
    for horizon in HORIZONS_NS:
        later = mid_at(fills.ts + horizon, quotes.ts, quotes.mid, age_max_ns=options.age_max_ns)
        moved = moved_our_way(fills.side, mid_met, later.mid)
        found.append(align(x, moved, confidence=options.confidence))
    return found


def returns_of(curve: Curve, options: Options) -> Returns:
    """Return the ratios of an equity curve; a last period shorter than the others is left out."""
    equity = curve.equity[~np.isnan(curve.equity)]
    ts = curve.ts[~np.isnan(curve.equity)]
    whole = len(ts) - 1 if len(ts) > 1 and ts[-1] - ts[-2] < options.step_ns else len(ts)
    gains = np.diff(equity[:whole])
    fall = drawdown(equity)
    wet = under_water(ts, fall.depth)
    ratio = sharpe(gains)
    skew, kurtosis = moments(gains)
    yearly = math.sqrt(YEAR_NS / options.step_ns)
    gain = float(equity[-1]) if len(equity) else math.nan
    years = float(ts[-1] - ts[0]) / YEAR_NS if len(ts) else 0.0
    below = sortino(gains)
    return Returns(
        periods=len(gains), step_ns=options.step_ns, gain=gain, sharpe=ratio,
        sharpe_yearly=ratio * yearly, sortino=below, sortino_yearly=below * yearly,
        calmar=calmar(gain, years, fall.most), skew=skew, kurtosis=kurtosis,
        probabilistic=probabilistic_sharpe(ratio, len(gains), skew, kurtosis),
        deflated=deflated_sharpe(
            ratio, len(gains), skew, kurtosis, trials=options.trials,
            variance=options.trials_variance,
        ),
        track_record=minimum_track_record(ratio, skew, kurtosis),
        drawdown=fall.most, drawdown_ns=wet.duration_ns, recovered=wet.recovered,
    )  # fmt: skip
