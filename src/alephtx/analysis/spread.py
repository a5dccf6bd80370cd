"""What became of the spread: effective = realised + impact.

With aggressor a (+1 bought, -1 sold), price p, the mid m just before and m(h) a while after

effective = a (p - m) / p        what the taker paid over the mid
realised  = a (p - m(h)) / p     what the maker kept once the market had moved
impact    = a (m(h) - m) / p     what the market moved the taker's way: adverse selection

in bps of the price, as half spreads. Sources: R. Huang, H. Stoll, "Dealer versus auction markets"
(Journal of Financial Economics 41(3), 1996); H. Bessembinder, Journal of Financial Markets 6(3),
2003. For a maker's fill of ours effective is its edge and realised its markout.
"""

from typing import Any, NamedTuple

import numpy as np

Column = np.ndarray[Any, Any]


class Spread(NamedTuple):
    """Half spreads in bps of the price, float64 (trades,) each, NaN where a mid is not known."""

    effective: Column
    realised: Column
    impact: Column


def decompose_spread(aggressor: Column, price: Column, mid: Column, mid_later: Column) -> Spread:
    """Return the three parts of every trade. aggressor: +1 bought, -1 sold; for a maker -side.

    Prices and mids in one unit. Where mid_later is not known, effective still is.
    """
    effective = aggressor * (price - mid) / price * 1e4
    realised = aggressor * (price - mid_later) / price * 1e4
    impact = aggressor * (mid_later - mid) / price * 1e4
    return Spread(effective, realised, impact)


def aggressors(side: Column, liquidity: Column, maker: int) -> Column:
    """Return the aggressor of each of our fills: our side, the other one where we were maker."""
    return np.where(liquidity == maker, -side, side)
