"""What our own taking does to the price we pay: a model, off unless a venue is given one.

Lots that a lane took push the price by `ticks per lot`, in its direction, and the push fades by e
each `impact_decay_ns`. A fill is charged the push that stood before it and half of its own. It only
ever makes a fill worse, and never worse than the order's limit; it moves no recorded order, and
makers pay nothing. Trades between orders of our own push nothing.
"""

import math

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.words import MARKET
from alephtx.sim.bottle import (
    F3,
    FILLS,
    I1,
    I2,
    K_NOW,
    M_IMPACT,
    M_IMPACT_NS,
    ONE_ORDER,
    Z_CLOCK,
    Z_FILLS,
    Z_ORDER,
    Z_PUSHED,
    Z_TERMS,
    Rows,
)

E8 = 1e8


@kernel
def push(z: Rows, j: Int, k: Int) -> None:
    """Worsen the price of a taker's fill, row k of the fills, and let it push what comes after."""
    fills, order = field(z, Z_FILLS, FILLS), field(z, Z_ORDER, ONE_ORDER)
    if k > 0 and fills[k - 1]["match"] == fills[k]["match"]:
        return
    i, side, price = fills[k]["instrument"], fills[k]["side"], fills[k]["price"]
    terms, state = field(z, Z_TERMS, I2)[i], field(z, Z_PUSHED, F3)[j, i]
    now = float(field(z, Z_CLOCK, I1)[K_NOW])
    before = state[0] * math.exp(-max(now - state[1], 0.0) / float(terms[M_IMPACT_NS]))
    after = before + float(side * fills[k]["qty"])
    pushed = 0.5 * (before + after) * float(side) * float(terms[M_IMPACT]) / E8
    state[0], state[1] = after, now
    ticks: Int = np.int64(math.floor(max(pushed, 0.0) + 0.5))
    worse = max(price + side * ticks, 1)
    if order[0]["type"] != MARKET and side * (worse - order[0]["price"]) > 0:
        worse = order[0]["price"]
    fills[k]["price"] = worse
