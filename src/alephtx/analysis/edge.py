"""Edges: of every fill against the mid it met, and between instruments of one underlying."""

from typing import Any, NamedTuple

import numpy as np

Column = np.ndarray[Any, Any]


def fill_edges(side: Column, price: Column, mid: Column) -> Column:
    """Return what each fill was worth at once against the mid it met, in bps: float64 (fills,).

    edge = side x (mid - price) / price x 10^4

    side +1 bought, -1 sold; mid in force just before the fill (`mids.mid_at`, before=True), NaN
    where it is not known. Positive where we were paid to trade (a maker inside his half spread),
    negative where we paid (a taker): minus the effective half spread of H. Bessembinder, "Issues in
    assessing trade execution costs" (Journal of Financial Markets 6(3), 2003), for takers. A
    markout is the same at a later mid.
    """
    found: Column = side * (mid - price) / price * 1e4
    return found


class Edges(NamedTuple):
    """The best pair of every moment, in bps of the middle; NaN and -1 where no pair has prices.

    gross, net: float64 (n,), before and after both taker fees; each is the best of its own pair.
    sell, buy: int64 (n,), the columns of the best net pair.
    """

    gross: Column
    net: Column
    sell: Column
    buy: Column


def best_edges(bid: Column, ask: Column, taker_fees: Column) -> Edges:
    """Return the best executable edge at every moment.

    gross(i, j) = (bid_i - ask_j) / ((bid_i + ask_j) / 2) x 10^4
    net(i, j)   = gross(i, j) - (fee_i + fee_j) x 10^4

    over ordered pairs i != j: sell at i's bid, buy at j's ask. bid, ask: (n, instruments) of one
    underlying and quote, NaN = none; taker_fees: fractions (instruments,).
    """
    moments, instruments = bid.shape
    gross, net = (np.full(moments, -np.inf) for _ in range(2))
    sell, buy = (np.full(moments, -1, np.int64) for _ in range(2))
    for i in range(instruments):
        for j in range(instruments):
            if i == j:
                continue
            edge = (bid[:, i] - ask[:, j]) / ((bid[:, i] + ask[:, j]) / 2) * 1e4
            edge = np.where(np.isnan(edge), -np.inf, edge)
            gross = np.maximum(gross, edge)
            after = edge - (taker_fees[i] + taker_fees[j]) * 1e4
            better = after > net
            net = np.where(better, after, net)
            sell, buy = np.where(better, i, sell), np.where(better, j, buy)
    none = np.isinf(gross)
    gross[none], net[none] = np.nan, np.nan
    return Edges(gross, net, sell, buy)
