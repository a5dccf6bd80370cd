"""Rule: no order pays much more, or asks much less, than the last trade and the mark say.

One-sided, and for market orders too, which `band` cannot judge: the book itself may be wrong or
empty, and then its middle is no measure.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import CEIL, OVERFLOW, mul_div_checked
from alephtx.core.view import View
from alephtx.core.words import DENY_COLLAR, DENY_OVERFLOW, PASS, STOP
from alephtx.risk.grid import order_price
from alephtx.risk.state import LAST, LAST_AT, MARK_AT, MARK_PRICE, NO_LIMIT, Rows

FRESH_NS = 60_000_000_000
"""A trade or mark older than this is no measure any more."""


@inline_kernel
def _beyond(side: Int, price: Int, reference: Int, most_bps: Int) -> int:
    """Compare a price with one reference: PASS, or why not."""
    if reference <= 0:
        return PASS
    if reference >= NO_LIMIT:
        return DENY_OVERFLOW
    away = mul_div_checked((price - reference) * side, 10_000, reference, CEIL)
    if away == OVERFLOW:
        return DENY_OVERFLOW
    return DENY_COLLAR if away > most_bps else PASS


@inline_kernel
def check_collar(intents: Rows, k: Int, view: View, collar_bps: Rows, market: Rows) -> int:
    """Refuse a buy more than collar_bps above, a sell as far below, the last trade or the mark."""
    i, side = np.int64(intents[k]["instrument"]), np.int64(intents[k]["side"])
    most = collar_bps[i]
    if most == 0 or intents[k]["type"] == STOP:  # waits for the last trade or mark to come to it
        return PASS
    price, row, now = order_price(intents, k, view), market[i], view.now[3]
    if now - row[LAST_AT] <= FRESH_NS:
        verdict = _beyond(side, price, row[LAST], most)
        if verdict != PASS:
            return verdict
    if now - row[MARK_AT] <= FRESH_NS:
        return _beyond(side, price, row[MARK_PRICE], most)
    return PASS
