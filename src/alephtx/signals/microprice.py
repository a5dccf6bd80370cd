"""Microprice: the touch weighted by the other side's size, in ticks.

microprice = bid + (ask - bid) x bid_qty / (bid_qty + ask_qty)

The price leans to the side that has less: it will be gone first. This is the weighted mid price,
the first term of S. Stoikov, "The micro-price: a high-frequency estimator of future prices"
(Quantitative Finance 18(12), 2018), whose further terms must be estimated market by market; also J.
Gatheral and R. Oomen, "Zero-intelligence realized variance estimation" (Finance and Stochastics 14,
2010). It is what `strategies.market_maker` calls fair, in floats. Ready at once.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals.settings import NO_STATE, Settings

Rows = np.ndarray[Any, Any]

PARAMS = np.dtype([("instrument", "i8")])
STATE = NO_STATE
NEEDS = Needs()


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Read instrument."""
    read = Settings(section, "microprice", instruments)
    row = np.zeros(1, PARAMS)
    row["instrument"] = read.instrument()
    read.close()
    return row


def warmup_ns(params: Rows) -> int:
    """Return 0: a touch is enough."""
    return 0


@inline_kernel
def microprice(top: Rows, i: Int) -> float:
    """Return the microprice in ticks, NaN where a side is empty. top: TOP_ROW (instruments,)."""
    bid_qty, ask_qty = top[i]["bid_qty"], top[i]["ask_qty"]
    if bid_qty <= 0 or ask_qty <= 0:
        return np.nan
    bid, ask = top[i]["bid"], top[i]["ask"]
    weight = float(bid_qty) / (float(bid_qty) + float(ask_qty))
    return float(bid) + float(ask - bid) * weight


@inline_kernel
def mid(top: Rows, i: Int) -> float:
    """Return the middle in ticks, NaN where a side is empty."""
    if top[i]["bid_qty"] <= 0 or top[i]["ask_qty"] <= 0:
        return np.nan
    return 0.5 * (float(top[i]["bid"]) + float(top[i]["ask"]))


@kernel
def on_event(event: Rows, view: View, params: Rows, state: Rows) -> float:
    """Return the microprice after an event, in ticks."""
    i = params[0]["instrument"]
    if np.int64(view.top[i]["aux"]) & UNTRADEABLE_MASK:
        return np.nan
    return microprice(view.top, i)
