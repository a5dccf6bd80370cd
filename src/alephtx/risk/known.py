"""Rule: a cancel or an amend names a live order of its own strategy."""

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.view import View
from alephtx.core.words import DENY_UNKNOWN_ORDER, PASS
from alephtx.risk.state import GateState, Rows


@inline_kernel
def check_known(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse a target that is not among the strategy's live orders (over, or another's)."""
    target = intents[k]["target_order_id"]
    for j in range(view.open_count[0]):
        if view.orders[j]["order_id"] == target and target > 0:
            return PASS
    return DENY_UNKNOWN_ORDER
