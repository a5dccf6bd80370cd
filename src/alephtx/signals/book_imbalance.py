"""Book imbalance: how much more is bid than offered, from -1 (only asks) to +1 (only bids).

touch = (bid_qty - ask_qty) / (bid_qty + ask_qty)
depth = sum of w^k (bid_qty_k - ask_qty_k) / sum of w^k (bid_qty_k + ask_qty_k), k = 0 .. N - 1

w = 1 weighs every level alike, less than 1 the near ones more. Sources: M. Gould and J. Bonart,
"Queue imbalance as a one-tick-ahead price predictor in a limit order book" (Market Microstructure
and Liquidity 2(2), 2016) for the touch; A. Cartea, R. Donnelly, S. Jaimungal, "Enhancing trading
strategies with order book signals" (Applied Mathematical Finance 25(1), 2018) for several levels
with weights that fall. Ready at once.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals.settings import NO_STATE, Settings

Rows = np.ndarray[Any, Any]

PARAMS = np.dtype([("instrument", "i8"), ("depth", "i8"), ("weight", "f8")])
STATE = NO_STATE
NEEDS = Needs(depth=5)


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Read instrument, depth (levels a side, 5; 0 = the touch) and weight ("0.7", 0 to 1)."""
    read = Settings(section, "book_imbalance", instruments)
    row = np.zeros(1, PARAMS)
    row["instrument"] = read.instrument()
    row["depth"] = read.count("depth", NEEDS.depth, 0, 32)
    row["weight"] = read.fraction("weight", "0.7", "0.01", "1")
    read.close()
    return row


def warmup_ns(params: Rows) -> int:
    """Return 0: a book is enough."""
    return 0


@inline_kernel
def touch_imbalance(top: Rows, i: Int) -> float:
    """Return the imbalance of the touch, NaN where a side is empty."""
    if top[i]["bid_qty"] <= 0 or top[i]["ask_qty"] <= 0:
        return np.nan
    bid, ask = float(top[i]["bid_qty"]), float(top[i]["ask_qty"])
    return (bid - ask) / (bid + ask)


@inline_kernel
def depth_imbalance(levels: Rows, i: Int, depth: Int, weight: Any) -> float:
    """Return the weighted imbalance of the best levels, NaN where a side is empty.

    levels: int64 (instruments, 2, depth, 2) as in View. A level that only one side has counts for
    that side. O(depth), about 1 ns a level.
    """
    if levels[i, 0, 0, 1] <= 0 or levels[i, 1, 0, 1] <= 0:
        return np.nan
    difference, total, share = 0.0, 0.0, 1.0
    for k in range(min(depth, levels.shape[2])):
        bid, ask = float(levels[i, 0, k, 1]), float(levels[i, 1, k, 1])
        difference += share * (bid - ask)
        total += share * (bid + ask)
        share *= weight
    return difference / total if total > 0.0 else np.nan


@kernel
def on_event(event: Rows, view: View, params: Rows, state: Rows) -> float:
    """Return the imbalance after an event: of the touch where depth is 0."""
    i = params[0]["instrument"]
    if np.int64(view.top[i]["aux"]) & UNTRADEABLE_MASK:
        return np.nan
    if params[0]["depth"] == 0:
        return touch_imbalance(view.top, i)
    return depth_imbalance(view.levels, i, params[0]["depth"], params[0]["weight"])
