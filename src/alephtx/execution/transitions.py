"""What each report makes of an order, as a table: TRANSITIONS[status, update kind].

An entry above zero is the new status. The others:
SAME       the report says what is known already (a duplicate, or one that came late but agrees)
STALE      the report is older than what is known and changes nothing
BY_FILLS   the order is on the book: NEW or PARTIALLY_FILLED, or PENDING_NEW while nothing proved it
CLASH      the report contradicts what is proven; nothing moves, the engine alarms and asks

Terminal statuses never move back, with one exception: an order held REJECTED only because a query
did not find it comes back when the venue proves it exists (orders.RESURRECTED).
"""

import numpy as np

from alephtx.core.words import (
    ACK,
    AMBIGUOUS,
    CANCEL_ACK,
    CANCEL_REJECT,
    CANCELED,
    DENIED,
    EXPIRE,
    EXPIRED,
    FILL,
    FILLED,
    NEW,
    NOT_FOUND,
    ORDER_STATE,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_NEW,
    PENDING_REPLACE,
    REJECT,
    REJECTED,
    REPLACE_ACK,
    SENT,
    UNKNOWN,
)

SAME, STALE, BY_FILLS, CLASH = 0, -1, -2, -3

LIVE = (PENDING_NEW, NEW, PARTIALLY_FILLED, PENDING_CANCEL, PENDING_REPLACE, UNKNOWN)
OVER = (FILLED, CANCELED, REJECTED, EXPIRED, DENIED)

_ROWS = {
    # An order of which nothing is proven yet.
    PENDING_NEW: {
        ACK: NEW,
        REJECT: REJECTED,
        CANCEL_ACK: CANCELED,
        EXPIRE: EXPIRED,
        FILL: PARTIALLY_FILLED,
        REPLACE_ACK: BY_FILLS,
        CANCEL_REJECT: SAME,
        AMBIGUOUS: UNKNOWN,
        NOT_FOUND: REJECTED,
    },
    NEW: {
        ACK: SAME,
        REJECT: CLASH,
        CANCEL_ACK: CANCELED,
        EXPIRE: EXPIRED,
        FILL: PARTIALLY_FILLED,
        REPLACE_ACK: BY_FILLS,
        CANCEL_REJECT: SAME,
        AMBIGUOUS: STALE,  # the outcome is proven already
        NOT_FOUND: CLASH,
    },
    PARTIALLY_FILLED: {
        ACK: STALE,
        REJECT: CLASH,
        CANCEL_ACK: CANCELED,
        EXPIRE: EXPIRED,
        FILL: PARTIALLY_FILLED,
        REPLACE_ACK: BY_FILLS,
        CANCEL_REJECT: SAME,
        AMBIGUOUS: STALE,
        NOT_FOUND: CLASH,
    },
    PENDING_CANCEL: {
        ACK: SAME,
        REJECT: REJECTED,
        CANCEL_ACK: CANCELED,
        EXPIRE: EXPIRED,
        FILL: PENDING_CANCEL,
        REPLACE_ACK: PENDING_CANCEL,
        CANCEL_REJECT: BY_FILLS,
        AMBIGUOUS: UNKNOWN,
        NOT_FOUND: REJECTED,
    },
    PENDING_REPLACE: {
        ACK: SAME,
        REJECT: CLASH,
        CANCEL_ACK: CANCELED,
        EXPIRE: EXPIRED,
        FILL: PENDING_REPLACE,
        REPLACE_ACK: BY_FILLS,
        CANCEL_REJECT: BY_FILLS,
        AMBIGUOUS: UNKNOWN,
        NOT_FOUND: CLASH,
    },
    UNKNOWN: {
        ACK: BY_FILLS,
        REJECT: REJECTED,
        CANCEL_ACK: CANCELED,
        EXPIRE: EXPIRED,
        FILL: PARTIALLY_FILLED,
        REPLACE_ACK: BY_FILLS,
        CANCEL_REJECT: SAME,  # proves nothing about a lost order; the query decides
        AMBIGUOUS: SAME,
        NOT_FOUND: REJECTED,
    },
    FILLED: {ACK: STALE, CANCEL_ACK: STALE, EXPIRE: STALE, REJECT: CLASH, FILL: FILLED},
    CANCELED: {ACK: STALE, CANCEL_ACK: SAME, EXPIRE: SAME, REJECT: STALE, FILL: CANCELED},
    EXPIRED: {ACK: STALE, CANCEL_ACK: SAME, EXPIRE: SAME, REJECT: STALE, FILL: EXPIRED},
    # ACK, FILL and live states of a REJECTED order are `orders._revive`'s.
    REJECTED: {ACK: CLASH, CANCEL_ACK: CLASH, EXPIRE: CLASH, REJECT: SAME, FILL: UNKNOWN},
    DENIED: {ACK: CLASH, CANCEL_ACK: CLASH, EXPIRE: CLASH, REJECT: SAME, FILL: DENIED},
}

_AS_KIND = {CANCELED: CANCEL_ACK, EXPIRED: EXPIRE, REJECTED: REJECT}


def _transitions() -> np.ndarray:
    table = np.full((12, 16), STALE, np.int64)
    table[:, SENT] = SAME
    for status, row in _ROWS.items():
        for kind, target in row.items():
            table[status, kind] = target
    return table


def _states() -> np.ndarray:
    """Derive STATES[status, the venue's status] for answers to a query (ORDER_STATE)."""
    table = np.full((12, 12), STALE, np.int64)
    table[:, 0] = SAME
    for status in LIVE:
        for said in LIVE:
            table[status, said] = SAME if status == PENDING_CANCEL else BY_FILLS
        table[status, FILLED] = FILLED
    for said, kind in _AS_KIND.items():
        table[:, said] = TRANSITIONS[:, kind]
    for said in (*LIVE, FILLED):
        table[REJECTED, said] = table[DENIED, said] = CLASH
    for status in OVER:
        table[status, status] = SAME
    return table


TRANSITIONS = _transitions()
STATES = _states()
TRANSITIONS[:, ORDER_STATE] = SAME  # decided by STATES
TRANSITIONS.flags.writeable = STATES.flags.writeable = False
