"""Rule: a token bucket of messages per account: places, amends and cancels.

Cancels pay and are never refused: they may take the bucket below zero, by one burst at most, and
the next orders wait until it has filled again.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import DENY_MESSAGES, PASS
from alephtx.risk.rate import refill
from alephtx.risk.state import Rows


@inline_kernel
def check_messages(intents: Rows, k: Int, now: Int, messages: Rows, hedge: Int) -> int:
    """Take a token of the account for an order or an amend, or refuse; burst 0 = no limit."""
    bucket = messages[np.int64(intents[k]["account"])]
    if bucket[3] == 0:
        return PASS
    refill(bucket, now)
    if bucket[0] - bucket[2] < (-bucket[3] if hedge else 0):
        return DENY_MESSAGES
    bucket[0] -= bucket[2]
    return PASS


@inline_kernel
def pay_for_cancel(intents: Rows, k: Int, now: Int, messages: Rows) -> None:
    """Take a token for a cancel, down to one burst of debt."""
    bucket = messages[np.int64(intents[k]["account"])]
    if bucket[3] != 0:
        refill(bucket, now)
        bucket[0] = max(bucket[0] - bucket[2], -bucket[3])
