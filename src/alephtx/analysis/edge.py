"""The edge between instruments of one underlying: what a taker of both legs would have kept."""

from typing import Any, NamedTuple

import numpy as np

Column = np.ndarray[Any, Any]


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
