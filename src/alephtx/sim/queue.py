"""How far we stand from the front of a queue that shows only its length.

L2 data tell a level's lots, not whose they are. When lots go without a print, somebody left: ahead
of us or behind? That is a guess, and the guess decides how many fills a maker is granted.

RISK_AVERSE    Everybody who leaves stood behind us; we move only by prints, and by the level
               becoming shorter than what we thought was ahead. The cautious default.
POWER, POWER_2, POWER_3, LOG, LOG_2
               The one who left stood behind us with probability P(ahead, behind), from the f below;
               the more lots on one side, the likelier. n = `power`, 1 or more.
                 POWER    f(x) = x^n       P = f(behind) / (f(behind) + f(ahead))
                 POWER_2  f(x) = x^n       P = f(behind) / f(ahead + behind)
                 POWER_3  f(x) = x^n       P = 1 - f(ahead / (ahead + behind))
                 LOG      f(x) = ln(1 + x) P as POWER
                 LOG_2    f(x) = ln(1 + x) P as POWER_2
TRADES_ONLY    Changes of the level say nothing; only prints at our price move us.
FIFO           Of tapes order by order, which tell who left: no model, see `sim.fifo`.

What prints accounted for is taken out of a decrease before it is shared. The families are those of
hftbacktest (its documentation, "Probability Queue Models"; after Rigtorp, "Estimating order queue
position", 2013), so that results can be compared order by order.

All of this is an estimate, so it is a float; the lots of orders and fills never are.
"""

import math
from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel

Rows = np.ndarray[Any, Any]

RISK_AVERSE, POWER, POWER_2, POWER_3, LOG, LOG_2, TRADES_ONLY, FIFO = 0, 1, 2, 3, 4, 5, 6, 7
NAMES = {
    "risk_averse": RISK_AVERSE, "power": POWER, "power_2": POWER_2, "power_3": POWER_3,
    "log": LOG, "log_2": LOG_2, "trades_only": TRADES_ONLY, "fifo": FIFO,
}  # fmt: skip

PARTIAL, WHOLE = 0, 1
"""Fill models. PARTIAL: a fill is as large as what it met, and what a taker took stays gone until
the venue states the level again. WHOLE: an order that is met is filled whole, whatever was there;
hftbacktest's `no_partial_fill_exchange`."""

# Columns of a row of models.
Q_QUEUE, Q_FILL, Q_POWER_E6 = 0, 1, 2
Q_ARRIVALS = 3  # of FIFO: recorded orders that have come to the back of a queue so far
MODEL_WORDS = 4


@kernel
def _odds(kind: int, power: float, ahead: float, behind: float) -> float:
    """Return the probability that one who left stood behind us; 1 where nobody stood anywhere."""
    if ahead + behind <= 0.0:
        return 1.0
    if kind == POWER_3:
        share = ahead / (ahead + behind)
        return 1.0 - math.pow(share, power)
    if kind in (LOG, LOG_2):
        f_ahead, f_behind = math.log(1.0 + ahead), math.log(1.0 + behind)
        f_both = math.log(1.0 + ahead + behind)
    else:
        f_ahead, f_behind = math.pow(ahead, power), math.pow(behind, power)
        f_both = math.pow(ahead + behind, power)
    if kind in (POWER, LOG):
        f_both = f_ahead + f_behind
    return f_behind / f_both if f_both > 0.0 else 1.0


@inline_kernel
def queue_changed(model: Rows, ahead: float, traded: float, before: Int, qty: Int) -> float:
    """Return the lots ahead of us after a level went from `before` to `qty` displayed lots.

    traded: what was printed at our price since the last change.
    """
    kind = model[Q_QUEUE]
    if kind == RISK_AVERSE:
        return min(ahead, float(qty))
    if kind == TRADES_ONLY or kind == FIFO:
        return ahead
    return _shared(kind, float(model[Q_POWER_E6]) / 1e6, ahead, traded, float(before), float(qty))


@kernel
def _shared(
    kind: int, power: float, ahead: float, traded: float, before: float, qty: float
) -> float:
    """Share a decrease between those ahead of us and those behind."""
    gone = before - qty - traded
    if gone < 0.0:
        return min(ahead, qty)
    behind = max(before - ahead, 0.0)
    odds = _odds(kind, power, ahead, behind)
    rest = behind - odds * gone  # more than all of those behind cannot have left
    moved = ahead - (1.0 - odds) * gone + min(rest, 0.0)
    return min(moved, qty)
