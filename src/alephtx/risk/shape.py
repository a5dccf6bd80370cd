"""Rule: an intent must be a whole one before anything else may index by it."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import View
from alephtx.core.words import (
    AMEND,
    BUY,
    CANCEL,
    CANCEL_ALL,
    DENY_ORDER_TYPE,
    DENY_TICK,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    PASS,
    PLACE,
    POST_ONLY,
    SELL,
    STOP,
)
from alephtx.risk.state import STOPS, GateState, Rows


@kernel
def _check_stop(intents: Rows, k: Int, market: Rows) -> int:
    """Refuse a stop where none can be sent, one without a trigger, and an amendment of one.

    Price 0 makes it a market order when it triggers; that one cannot be post-only.
    """
    if market[np.int64(intents[k]["instrument"]), STOPS] == 0:
        return DENY_ORDER_TYPE
    if np.int64(intents[k]["op"]) != PLACE:
        return DENY_ORDER_TYPE
    if intents[k]["trigger"] <= 0 or intents[k]["price"] < 0:
        return DENY_TICK
    if intents[k]["price"] == 0 and np.int64(intents[k]["flags"]) & POST_ONLY:
        return DENY_TICK
    return PASS


@inline_kernel
def check_shape(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse words that mean nothing and places that do not exist; cancels need only the latter."""
    op = np.int64(intents[k]["op"])
    if op not in (PLACE, AMEND, CANCEL, CANCEL_ALL):
        return DENY_TICK
    if np.int64(intents[k]["instrument"]) >= view.instruments.shape[0]:
        return DENY_TICK
    if np.int64(intents[k]["account"]) >= gate.resync.shape[0]:
        return DENY_TICK
    if np.int64(intents[k]["strategy"]) >= gate.latched.shape[0]:
        return DENY_TICK
    if op in (CANCEL, CANCEL_ALL):
        return PASS
    kind, tif = np.int64(intents[k]["type"]), np.int64(intents[k]["tif"])
    if kind == STOP:
        verdict = _check_stop(intents, k, gate.market)
        if verdict != PASS:
            return verdict
    elif kind not in (LIMIT, MARKET):
        return DENY_TICK
    if tif not in (GTC, IOC, FOK, GTD):
        return DENY_TICK
    if np.int64(intents[k]["side"]) not in (BUY, SELL):
        return DENY_TICK
    if np.int64(intents[k]["flags"]) & POST_ONLY and (kind == MARKET or tif in (IOC, FOK)):
        return DENY_TICK
    return PASS
