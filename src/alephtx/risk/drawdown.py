"""Rule: a strategy, an account or the firm that lost its limit is latched until it is re-armed."""

import numpy as np

from alephtx.core.exposure import middle, power_of_ten
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import FLOOR, OVERFLOW, mul_div_checked, notional
from alephtx.core.view import View
from alephtx.core.words import DENY_HALTED, DENY_OVERFLOW, INVERSE, PASS
from alephtx.risk.exposure import RATE_ONE, mark
from alephtx.risk.state import (
    CELL_COUNT,
    DRAWDOWN_MAX,
    FIRM_DRAWDOWN_MAX,
    FIRM_LATCHED,
    FIRM_PROFIT,
    LATCHED,
    NO_LIMIT,
    PROFIT,
    PROFIT_AT,
    RULE_ACCOUNT_DRAWDOWN,
    RULE_FIRM_DRAWDOWN,
    GateState,
    Rows,
)

PROFIT_EVERY_NS = 1_000_000
"""Accounts and firm are valued so often at most: it costs a look at every position."""


@inline_kernel
def latch_drawdown(view: View, gate: GateState, s: Int) -> int:
    """Latch the strategy if realized + unrealized - fees is at or below -drawdown_max.

    Returns 1 when latched, 2 when the profit cannot be known now (no price yet, overflow): that
    refuses too, but only a loss latches. The engine may call it on a timer too.
    """
    if gate.latched[s] != 0:
        return 1
    profit = strategy_profit(view, gate)
    if profit == OVERFLOW:
        return 2
    if profit <= -gate.drawdown_max[s]:
        gate.latched[s] = 1
        return 1
    return 0


@inline_kernel
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
        mark = middle(view.top, i)
        worth = instrument_profit(view.positions, view.instruments, i, mark, gate.rate_e8[i])
        if worth == OVERFLOW or abs(total) >= NO_LIMIT:
            return OVERFLOW
        total += worth
    return total


@inline_kernel
def value_accounts(
    now: Int,
    top: Rows,
    instruments: Rows,
    firm: Rows,
    accounts: Rows,
    cells: Rows,
    market: Rows,
    rate_e8: Rows,
    account_positions: Rows,
) -> None:
    """Bring the accounts' and the firm's profit up to date, and latch whoever lost its limit.

    Once in PROFIT_EVERY_NS at most; marked to the last known middle. A profit that cannot be known
    is OVERFLOW: it refuses where there is a limit, and latches nothing.
    """
    at = firm[PROFIT_AT]
    if at != 0 and 0 <= now - at < PROFIT_EVERY_NS:
        return
    firm[PROFIT_AT] = now
    for a in range(accounts.shape[0]):
        accounts[a, PROFIT] = 0
    total, unknown = 0, 0
    for n in range(firm[CELL_COUNT]):
        a, i = cells[n, 0] >> 32, cells[n, 0] & 0xFFFFFFFF
        rows, price = account_positions[a], mark(top, market, i)
        worth = instrument_profit(rows, instruments, i, price, rate_e8[i])
        if worth == OVERFLOW or abs(total) >= NO_LIMIT:
            unknown = 1
            accounts[a, PROFIT] = OVERFLOW
            continue
        total += worth
        if accounts[a, PROFIT] != OVERFLOW:
            accounts[a, PROFIT] += worth
    firm[FIRM_PROFIT] = OVERFLOW if unknown != 0 else total
    if unknown == 0 and total <= -firm[FIRM_DRAWDOWN_MAX]:
        firm[FIRM_LATCHED] = 1
    for a in range(accounts.shape[0]):
        row = accounts[a]
        if row[PROFIT] != OVERFLOW and row[PROFIT] <= -row[DRAWDOWN_MAX]:
            row[LATCHED] = 1


@inline_kernel
def check_breakers(firm: Rows, row: Rows) -> tuple[int, int]:
    """Refuse for a firm or an account (its row) that lost its limit or whose profit is unknown."""
    if firm[FIRM_LATCHED] != 0:
        return DENY_HALTED, RULE_FIRM_DRAWDOWN
    if row[LATCHED] != 0:
        return DENY_HALTED, RULE_ACCOUNT_DRAWDOWN
    if firm[FIRM_DRAWDOWN_MAX] < NO_LIMIT and firm[FIRM_PROFIT] == OVERFLOW:
        return DENY_OVERFLOW, RULE_FIRM_DRAWDOWN
    if row[DRAWDOWN_MAX] < NO_LIMIT and row[PROFIT] == OVERFLOW:
        return DENY_OVERFLOW, RULE_ACCOUNT_DRAWDOWN
    return PASS, 0


@inline_kernel
def instrument_profit(
    positions: Rows, instruments: Rows, i: Int, mark_ticks: Int, rate_e8: Int
) -> int:
    """Return realized - fees + unrealized of one instrument in 10^-8 of the reference, or OVERFLOW.

    positions: POSITION (I,). OVERFLOW also where it needs a price and there is none, and from
    NO_LIMIT on.
    """
    held, row = positions[i], instruments[i]
    profit = held["realized"] - held["fees"]
    inverse = row["contract"] == INVERSE
    if held["qty"] == 0 and profit == 0:
        return 0
    if mark_ticks <= 0 and (inverse or held["qty"] != 0):
        return OVERFLOW
    if held["qty"] != 0:
        now = notional(instruments[i : i + 1], mark_ticks, held["qty"], FLOOR)
        cost: Int = np.int64(held["cost"])
        if not inverse:
            cost = notional(instruments[i : i + 1], 1, cost, FLOOR)
        if OVERFLOW in (now, cost):
            return OVERFLOW
        profit += cost - now if inverse else now - cost
    if inverse:
        profit = mul_div_checked(
            profit, mark_ticks, power_of_ten(np.int64(row["price_scale"])), FLOOR
        )
    if profit != OVERFLOW and rate_e8 != RATE_ONE:
        profit = mul_div_checked(profit, rate_e8, RATE_ONE, FLOOR)
    return profit if abs(profit) < NO_LIMIT else OVERFLOW
