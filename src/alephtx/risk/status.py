"""Rule: no order while the venue says that the instrument does not trade; and what it last said."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.words import DENY_NOT_TRADING, MARK, PASS, STATUS, TRADE, TRADING
from alephtx.risk.state import (
    LAST,
    LAST_AT,
    MARK_AT,
    MARK_PRICE,
    VENUE_STATUS,
    Rows,
)


@inline_kernel
def check_status(intents: Rows, k: Int, market: Rows) -> int:
    """Refuse while the last STATUS event says anything but TRADING; none yet is no objection."""
    said = market[np.int64(intents[k]["instrument"]), VENUE_STATUS]
    return PASS if said in (0, TRADING) else DENY_NOT_TRADING


@kernel
def note_market(market: Rows, i: Int, kind: Int, price: Int, now: Int) -> None:
    """Keep the last trade, the mark and the status of an instrument, as the gate's rules need them.

    market: GateState.market. Called for every event that does not change the book; now: monotonic.
    """
    row = market[i]
    if kind == TRADE:
        row[LAST], row[LAST_AT] = price, now
    elif kind == MARK:
        row[MARK_PRICE], row[MARK_AT] = price, now
    elif kind == STATUS:
        row[VENUE_STATUS] = price


@kernel
def forget_status(market: Rows, i: Int) -> None:
    """Forget what a venue said: events were lost, and the book's own flags are read again."""
    market[i, VENUE_STATUS] = 0
