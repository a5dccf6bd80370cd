"""Rule: the same order is not sent twice within a moment; what a loop that ran wild does."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import DENY_DUPLICATE, PASS, PLACE
from alephtx.risk.state import (
    RECENT,
    RECENT_AT,
    RECENT_PRICE,
    RECENT_QTY,
    RECENT_WHAT,
    Rows,
)


@inline_kernel
def _what(intents: Rows, k: Int) -> Int:
    """Return instrument, side, type and time in force of an intent as one word."""
    kind, tif = np.int64(intents[k]["type"]), np.int64(intents[k]["tif"])
    buys = 1 if intents[k]["side"] > 0 else 0
    return np.int64(intents[k]["instrument"]) << 16 | kind << 8 | tif << 1 | buys


@inline_kernel
def check_duplicate(intents: Rows, k: Int, now: Int, duplicate_ns: Rows, recent: Rows) -> int:
    """Refuse a PLACE that equals one of the last duplicate_ns, or of this batch.

    Equal: strategy, instrument, side, price, quantity, type and time in force. Newest first, and
    only as far as the window reaches. A strategy with RECENT orders inside the window is refused
    further ones, because the oldest would have to be forgotten.
    """
    s = np.int64(intents[k]["strategy"])
    window = duplicate_ns[s]
    if window == 0 or intents[k]["op"] != PLACE:
        return PASS
    what, price, qty = _what(intents, k), intents[k]["price"], intents[k]["qty"]
    count: Int = recent[s, RECENT, 0]
    for n in range(min(count, RECENT)):
        row = recent[s, (count - 1 - n) % RECENT]
        if now - row[RECENT_AT] >= window:
            break
        same = row[RECENT_WHAT] == what and row[RECENT_PRICE] == price
        if (same and row[RECENT_QTY] == qty) or n == RECENT - 1:
            return DENY_DUPLICATE
    for j in range(k):
        if intents[j]["verdict"] != PASS or intents[j]["op"] != PLACE:
            continue
        same = _what(intents, j) == what and intents[j]["price"] == price
        if same and intents[j]["qty"] == qty:
            return DENY_DUPLICATE
    return PASS


@inline_kernel
def remember_order(intents: Rows, k: Int, now: Int, recent: Rows) -> None:
    """Note a PLACE that passed."""
    s = np.int64(intents[k]["strategy"])
    count: Int = recent[s, RECENT, 0]
    row = recent[s, count % RECENT]
    row[RECENT_AT], row[RECENT_WHAT] = now, _what(intents, k)
    row[RECENT_PRICE], row[RECENT_QTY] = intents[k]["price"], intents[k]["qty"]
    recent[s, RECENT, 0] = count + 1
