"""P&L over time of fills that began flat, marked at the mid in force: for ratios and drawdowns.

Floats, for shape and ratios; the sum to the last digit is `attribution`'s.
"""

from typing import NamedTuple

import numpy as np

from alephtx.analysis.mids import mid_at
from alephtx.analysis.tables import Column, Fills, Quotes
from alephtx.core.instruments import Instrument
from alephtx.core.units import MONEY_SCALE

SECOND_NS = 1_000_000_000
PERIODS_MAX = 100_000
"""Of a run's returns: a day has 86,400 seconds, and years of them would fill the memory."""


class Curve(NamedTuple):
    """ts: int64 ns (n,); equity: float64 (n,), settle currency, NaN before the first known mid."""

    ts: Column
    equity: Column


def period_ns(begin: int, end: int) -> int:
    """Return the period of returns between two times: a second, or more where that is long."""
    return max(1, -(-(end - begin) // (PERIODS_MAX * SECOND_NS))) * SECOND_NS


def value_of(instrument: Instrument, ticks: Column, lots: Column) -> Column:
    """Return what lots are worth at prices in ticks, in floats: inverse ones -lots / price."""
    price = ticks * 10.0**-instrument.price_scale
    qty = lots * float(instrument.contract_value) * 10.0**-instrument.qty_scale
    found: Column = -qty / price if instrument.inverse else qty * price
    return found


def equity_curve(
    instrument: Instrument,
    fills: Fills,
    quotes: Quotes,
    *,
    step_ns: int,
    funding: tuple[Column, Column] | None = None,
) -> Curve:
    """Return the equity every step_ns from the first quote on, and at the last.

    What happened at or before a moment is in it. funding: (ts, money of 10^-8 received). A mid that
    is not known leaves the last one standing.
    """
    if len(quotes.ts) == 0:
        return Curve(np.zeros(0, np.int64), np.zeros(0))
    ts = np.append(np.arange(quotes.ts[0], quotes.ts[-1], step_ns), quotes.ts[-1])
    known = quotes.known
    mid = mid_at(ts, quotes.ts[known], quotes.mid[known]).mid
    if known.any():  # after the last known mid it stands
        mid = np.where(ts > quotes.ts[known][-1], quotes.mid[known][-1], mid)
    done = np.searchsorted(fills.ts, ts, side="right")
    spent = fills.side * value_of(instrument, fills.price, fills.qty)
    cash = -np.concatenate([[0.0], np.cumsum(spent + fills.fee * 10.0**-MONEY_SCALE)])[done]
    held = np.concatenate([[0], np.cumsum(fills.side * fills.qty)])[done]
    equity = cash + np.where(held == 0, 0.0, value_of(instrument, mid, held))
    if funding is not None:
        when, amount = funding
        so_far = np.concatenate([[0.0], np.cumsum(amount * 10.0**-MONEY_SCALE)])
        equity = equity + so_far[np.searchsorted(when, ts, side="right")]
    return Curve(ts, equity)
