"""Transaction-cost analysis: what orders cost against the mid at arrival and against the VWAP.

For an order of side s and Q lots, arrival mid M0 (in force just before the intent), fills (p, q)
of mean price P and sum F, and the mid M1 when it was over, in bps of M0 Q:

trading      s (P - M0) F        what was paid over the price that was there when it was wanted
opportunity  s (M1 - M0) (Q - F) what the market ran away with that was not filled
fees
shortfall    = trading + opportunity + fees

Source: A. Perold, "The implementation shortfall: paper versus reality" (Journal of Portfolio
Management 14(3), 1988); R. Kissell, "The expanded implementation shortfall" (Journal of Trading
1(3), 2006). Positive is a cost. vwap_bps: s (P - VWAP) / VWAP over the public trades between intent
and end (S. Berkowitz, D. Logue, E. Noser, "The total cost of transactions on the NYSE", Journal of
Finance 43(1), 1988).
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from alephtx.analysis.markout import weighted_mean
from alephtx.analysis.mids import mid_at
from alephtx.analysis.tables import Column, Fills, Orders, Quotes


class MarketTrades(NamedTuple):
    """Public trades in time order: ts in ns, price in ticks, qty in lots; int64 (n,) each."""

    ts: Column
    price: Column
    qty: Column


class OrderCosts(NamedTuple):
    """One row an order, float64 (orders,), bps; NaN where a mid, a fill or a trade is missing."""

    arrival: Column
    average: Column
    trading: Column
    opportunity: Column
    fees: Column
    shortfall: Column
    vwap: Column
    vwap_bps: Column


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Means over orders weighted by lots ordered (vwap_bps: filled), bps; count: orders known."""

    trading: float
    opportunity: float
    fees: float
    shortfall: float
    vwap_bps: float
    count: int
    vwap_count: int


def order_costs(
    orders: Orders,
    fills: Fills,
    quotes: Quotes,
    *,
    end_ns: int,
    lot_value: float,
    trades: Iterable[MarketTrades] = (),
) -> OrderCosts:
    """Return what every order cost. end_ns: the data's end, where orders still open are judged.

    trades: the public ones in parts, each of which is looked at once, so that years of them fit.
    lot_value: money of one lot at one tick, to turn fees of 10^-8 into bps: contract value x
    10^-(price scale + qty scale); NaN for inverse contracts, whose fees are then not known.
    """
    place = {order_id: k for k, order_id in enumerate(orders.order_id.tolist())}
    at = np.array([place.get(order_id, -1) for order_id in fills.order_id.tolist()], np.int64)
    ours = at >= 0
    count = len(orders.order_id)

    def summed(values: Column) -> Column:
        return np.bincount(at[ours], values[ours].astype(float), count)

    filled, paid = summed(fills.qty), summed(fills.fee)
    average = np.divide(summed(fills.qty * fills.price.astype(float)), filled,
                        out=np.full(count, math.nan), where=filled > 0)  # fmt: skip
    stop = np.where(orders.ts_end > 0, orders.ts_end, end_ns)
    arrival = mid_at(orders.ts_intent, quotes.ts, quotes.mid, before=True).mid
    last = quotes.ts[-1] if len(quotes.ts) else 0
    final = mid_at(np.minimum(stop, last), quotes.ts, quotes.mid).mid
    scale = 1e4 / (arrival * orders.qty)
    left = orders.qty - filled
    trading = np.where(filled > 0, orders.side * (average - arrival) * filled, 0.0) * scale
    opportunity = np.where(left > 0, orders.side * (final - arrival) * left, 0.0) * scale
    fees = np.where(paid == 0, 0.0, paid / 1e8 / lot_value) * scale
    vwap = _vwap(trades, orders.ts_intent, stop)
    return OrderCosts(
        arrival, average, trading, opportunity, fees, trading + opportunity + fees, vwap,
        orders.side * (average - vwap) / vwap * 1e4,
    )  # fmt: skip


def _vwap(trades: Iterable[MarketTrades], begin: Column, end: Column) -> Column:
    """Return the VWAP of the trades of [begin, end], NaN where there are none."""
    volume, worth = np.zeros(len(begin)), np.zeros(len(begin))
    base: int | None = None  # sums of differences keep their digits
    for part in trades:
        if not len(part.ts):
            continue
        base = int(part.price[0]) if base is None else base
        qty = part.qty.astype(float)
        lots = np.concatenate([[0.0], np.cumsum(qty)])
        paid = np.concatenate([[0.0], np.cumsum(qty * (part.price - base))])
        first = np.searchsorted(part.ts, begin, side="left")
        last = np.maximum(np.searchsorted(part.ts, end, side="right"), first)
        volume += lots[last] - lots[first]
        worth += paid[last] - paid[first]
    away = np.divide(worth, volume, out=np.full(len(begin), math.nan), where=volume > 0)
    return (base or 0) + away


def sum_costs(costs: OrderCosts, orders: Orders) -> Costs:
    """Return the means over all orders whose shortfall is known."""
    weights = np.where(np.isnan(costs.shortfall), 0.0, orders.qty.astype(float))
    means = [
        weighted_mean(column, weights)[0]
        for column in (costs.trading, costs.opportunity, costs.fees, costs.shortfall)
    ]
    vwap, vwap_count = weighted_mean(costs.vwap_bps, orders.filled.astype(float))
    return Costs(
        trading=means[0], opportunity=means[1], fees=means[2], shortfall=means[3],
        vwap_bps=vwap, count=int((weights > 0).sum()), vwap_count=vwap_count,
    )  # fmt: skip
