"""Rule: a limit price stays within band_bps of the middle of a fresh touch, or of its trigger."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import CEIL, OVERFLOW, mul_div_checked
from alephtx.core.view import View
from alephtx.core.words import DENY_BAND, DENY_OVERFLOW, MARKET, PASS, STOP
from alephtx.risk.state import NO_LIMIT, GateState, Rows


@inline_kernel
def check_band(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse |price - middle| x 10^4 > band_bps x middle; exact, with twice the middle.

    A stop's limit is held against its trigger, which may be far from the market.
    """
    if intents[k]["type"] == MARKET:
        return PASS
    i = np.int64(intents[k]["instrument"])
    price, bid, ask = intents[k]["price"], view.top[i]["bid"], view.top[i]["ask"]
    if price >= NO_LIMIT or bid >= NO_LIMIT or ask >= NO_LIMIT:
        return DENY_OVERFLOW
    twice = bid + ask
    if intents[k]["type"] == STOP:
        if price == 0:
            return PASS
        twice = 2 * intents[k]["trigger"]  # on the grid, so below MAX_VALUE
    away = mul_div_checked(abs(2 * price - twice), 10_000, twice, CEIL)
    if away == OVERFLOW:
        return DENY_OVERFLOW
    return DENY_BAND if away > gate.band_bps[i] else PASS
