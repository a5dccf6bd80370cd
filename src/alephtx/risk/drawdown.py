"""Rule: a strategy that lost more than its limit is latched until a person re-arms it."""

import numpy as np

from alephtx.core.exposure import middle, power_of_ten
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import FLOOR, OVERFLOW, mul_div_checked, notional
from alephtx.core.view import View
from alephtx.core.words import INVERSE
from alephtx.risk.limits import NO_LIMIT, GateState


@kernel
def latch_drawdown(view: View, gate: GateState, s: Int) -> int:
    """Latch the strategy if realized + unrealized - fees is at or below -drawdown_max.

    Returns 1 when latched or when the profit cannot be known now (no price yet, overflow): that
    refuses, but only a loss latches. The engine may call it on a timer too.
    """
    if gate.latched[s] != 0:
        return 1
    profit = strategy_profit(view, gate)
    if profit == OVERFLOW:
        return 1
    if profit <= -gate.drawdown_max[s]:
        gate.latched[s] = 1
        return 1
    return 0


@kernel
def strategy_profit(view: View, gate: GateState) -> int:
    """Return a strategy's profit in 10^-8 of the reference currency, or OVERFLOW.

    Every instrument is marked to its last known middle, settled money is brought to the quote
    currency at that middle (inverse contracts) and then to the reference; rounded down throughout.
    """
    total = 0
    for i in range(view.positions.shape[0]):
        held = view.positions[i]
        if held["qty"] == 0 and held["realized"] == 0 and held["fees"] == 0:
            continue
        profit = _instrument_profit(view, i, middle(view.top, i))
        if profit == OVERFLOW:
            return OVERFLOW
        worth = mul_div_checked(profit, gate.rate_e8[i], 100_000_000, FLOOR)
        if worth == OVERFLOW or abs(worth) >= NO_LIMIT or abs(total) >= NO_LIMIT:
            return OVERFLOW
        total += worth
    return total


@inline_kernel
def _instrument_profit(view: View, i: Int, mark: Int) -> int:
    """Return realized - fees + unrealized of one instrument in 10^-8 of its quote currency."""
    held, row = view.positions[i], view.instruments[i]
    profit = held["realized"] - held["fees"]
    inverse = row["contract"] == INVERSE
    if mark <= 0 and (inverse or held["qty"] != 0):
        return OVERFLOW
    if held["qty"] != 0:
        now = notional(view.instruments[i : i + 1], mark, held["qty"], FLOOR)
        cost: Int = np.int64(held["cost"])
        if not inverse:
            cost = notional(view.instruments[i : i + 1], 1, cost, FLOOR)
        if OVERFLOW in (now, cost):
            return OVERFLOW
        profit += cost - now if inverse else now - cost
    if inverse:
        scale = power_of_ten(np.int64(row["price_scale"]))
        return mul_div_checked(profit, mark, scale, FLOOR)
    return profit
