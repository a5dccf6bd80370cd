"""Rule: no order worth more than the strategy's limit."""

import numpy as np

from alephtx.core.exposure import quote_value
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import CEIL, OVERFLOW
from alephtx.core.view import View
from alephtx.core.words import DENY_NOTIONAL, DENY_OVERFLOW, PASS
from alephtx.risk.grid import order_price
from alephtx.risk.state import GateState, Rows


@inline_kernel
def check_notional(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse an order whose value in quote currency, rounded up, is above notional_max."""
    i = np.int64(intents[k]["instrument"])
    value = quote_value(view.instruments, i, order_price(intents, k, view), intents[k]["qty"], CEIL)
    if value == OVERFLOW:
        return DENY_OVERFLOW
    most = gate.notional_max[np.int64(intents[k]["strategy"]), i]
    return DENY_NOTIONAL if value > most else PASS
