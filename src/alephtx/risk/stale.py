"""Rule: no order on a price that is old, flagged or missing, or while there is no trading."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.view import View
from alephtx.core.words import DENY_STALE, PASS, TRADING, UNTRADEABLE_MASK
from alephtx.risk.state import GateState, Rows


@inline_kernel
def check_stale(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse unless both sides are there, unflagged, and no older than stale_ns by ts_recv."""
    i = np.int64(intents[k]["instrument"])
    top = view.top[i]
    if view.instruments[i]["status"] != TRADING or top["aux"] & UNTRADEABLE_MASK != 0:
        return DENY_STALE
    if top["bid"] <= 0 or top["ask"] <= 0 or top["bid_qty"] <= 0 or top["ask_qty"] <= 0:
        return DENY_STALE
    if top["ts_recv"] <= 0 or view.now[0] - top["ts_recv"] > gate.stale_ns[i]:
        return DENY_STALE
    return PASS
