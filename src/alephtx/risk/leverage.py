"""Rule: an account's gross stays within a multiple of its equity."""

from alephtx.core.kernel import inline_kernel
from alephtx.core.units import FLOOR, OVERFLOW, mul_div_checked
from alephtx.core.words import DENY_LEVERAGE, DENY_OVERFLOW, PASS
from alephtx.risk.state import (
    ACCOUNT_GROSS,
    GROWS,
    LEVERAGE_MAX,
    NO_LIMIT,
    OPENING,
    PROFIT,
    Rows,
)


@inline_kernel
def check_leverage(row: Rows, found: Rows) -> int:
    """Refuse gross x 100 > leverage_max x equity; `exposure.survey` found it.

    row: the account's of GateState.accounts.

    Equity is what the account opened with, in the reference currency, and its profit since. An
    account whose equity is not above zero, or not known, opens nothing.
    """
    most = row[LEVERAGE_MAX]
    if most == 0 or found[GROWS] == 0:
        return PASS
    if row[PROFIT] == OVERFLOW or abs(row[OPENING]) >= NO_LIMIT:
        return DENY_OVERFLOW
    equity = row[OPENING] + row[PROFIT]
    if equity <= 0:
        return DENY_LEVERAGE
    allowed = mul_div_checked(equity, most, 100, FLOOR)
    return DENY_LEVERAGE if allowed != OVERFLOW and found[ACCOUNT_GROSS] > allowed else PASS
