"""Two simple moving averages on bars: long from an upward cross, flat from a downward one.

A strategy of `lab.bars`, not of a live run. The averages are compared exactly, as integer running
sums times each other's length; where they are equal nothing has crossed yet. The first bar that has
both averages only says on which side the fast one is.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int
from alephtx.core.units import MAX_VALUE, OVERFLOW
from alephtx.strategies.sections import reading

Rows = np.ndarray[Any, Any]

COMPILED = True

WINDOW_MAX = 100_000

PARAMS = np.dtype([
    ("fast", "i8"),  # bars
    ("slow", "i8"),
    ("qty", "i8"),  # lots
    ("close_max", "i8"),  # ticks up to which the sums fit
])  # fmt: skip

STATE = np.dtype([
    ("fast_sum", "i8"),
    ("slow_sum", "i8"),
    ("side", "i8"),  # of the fast average when last they differed; 0: never yet
])  # fmt: skip


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a section into params; ConfigError names the key, the value and the remedy.

    fast, slow: bars; qty_lots: lots held while long.
    """
    with reading(section, "sma_cross") as read:
        row = np.zeros(1, PARAMS)
        row["fast"] = read.count("fast", 20, 1, WINDOW_MAX)
        row["slow"] = read.count("slow", 100, 2, WINDOW_MAX)
        row["qty"] = read.count("qty_lots", 1, 1, 10**15)
        if not row[0]["fast"] < row[0]["slow"]:
            raise read.fail("fast", "is not below slow")
        row["close_max"] = (MAX_VALUE - 1) // (row[0]["fast"] * row[0]["slow"])
    return row


def on_bar(bars: Rows, k: Int, position: Int, params: Rows, state: Rows) -> int:
    """Return the lots to hold after bar k, OVERFLOW when its price is beyond the sums."""
    fast, slow, close = params[0]["fast"], params[0]["slow"], bars[k]["close"]
    if close > params[0]["close_max"]:
        return OVERFLOW
    gone_fast = bars[k - fast]["close"] if k >= fast else 0
    gone_slow = bars[k - slow]["close"] if k >= slow else 0
    fast_sum = state[0]["fast_sum"] + (close - gone_fast)
    slow_sum = state[0]["slow_sum"] + (close - gone_slow)
    state[0]["fast_sum"], state[0]["slow_sum"] = fast_sum, slow_sum
    apart = fast_sum * slow - slow_sum * fast
    if k < slow - 1 or apart == 0:
        return position
    was, side = state[0]["side"], 1 if apart > 0 else -1
    if side == was:
        return position
    state[0]["side"] = side
    if was == 0:
        return position
    return params[0]["qty"] if side > 0 else 0
