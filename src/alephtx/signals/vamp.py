"""VAMP: the volume-adjusted mid price of the best levels, in ticks.

VAMP_N = sum over i < N of (bid_i x ask_qty_i + ask_i x bid_qty_i) / sum of (bid_qty_i + ask_qty_i)

Price and quantity are multiplied across the sides: where more is bid than offered the price leans
to the ask. With N = 1 it is the microprice. A level counts where both sides have one.

Source: R. Martin, W. Line Jr., L. Feng, "Mind the Gaps: Short-Term Crypto Price Prediction" (SSRN
4351947, 2023); the same formula in hftbacktest's tutorial "Market Making with Alpha - Order Book
Imbalance". Ready at once: NaN only without a market.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals.settings import NO_STATE, Settings

Rows = np.ndarray[Any, Any]

PARAMS = np.dtype([("instrument", "i8"), ("depth", "i8")])
STATE = NO_STATE
NEEDS = Needs(depth=5)


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Read instrument and depth (levels a side, 5; at most what the engine keeps, 32)."""
    read = Settings(section, "vamp", instruments)
    row = np.zeros(1, PARAMS)
    row["instrument"] = read.instrument()
    row["depth"] = read.count("depth", NEEDS.depth, 1, 32)
    read.close()
    return row


def warmup_ns(params: Rows) -> int:
    """Return 0: a book is enough."""
    return 0


@inline_kernel
def vamp(levels: Rows, i: Int, depth: Int) -> float:
    """Return the VAMP of at most `depth` levels a side in ticks, NaN where a side is empty.

    levels: int64 (instruments, 2, depth, 2) as in View. Sums are of distances from the best bid, so
    that they keep their digits. O(depth), about 4 ns a level.
    """
    base = levels[i, 0, 0, 0]
    total, lots = 0.0, 0.0
    for k in range(min(depth, levels.shape[2])):
        bid_qty, ask_qty = levels[i, 0, k, 1], levels[i, 1, k, 1]
        if bid_qty <= 0 or ask_qty <= 0:
            break
        bid_lots, ask_lots = float(bid_qty), float(ask_qty)
        bid_away, ask_away = levels[i, 0, k, 0] - base, levels[i, 1, k, 0] - base
        total += float(bid_away) * ask_lots + float(ask_away) * bid_lots
        lots += bid_lots + ask_lots
    if lots <= 0.0:
        return np.nan
    return float(base) + total / lots


@kernel
def on_event(event: Rows, view: View, params: Rows, state: Rows) -> float:
    """Return the VAMP after an event, in ticks."""
    i = params[0]["instrument"]
    if np.int64(view.top[i]["aux"]) & UNTRADEABLE_MASK:
        return np.nan
    return vamp(view.levels, i, params[0]["depth"])
