"""Rule: a token bucket of new orders per account.

Tokens are kept in ns: one order costs INTERVAL ns, and every ns that passes earns one, up to BURST.
No division, no drift. A hedge that reduces may go one burst into debt, because an order too many
is cheaper than an open leg.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import DENY_RATE, PASS
from alephtx.risk.state import Rows


@inline_kernel
def refill(bucket: Rows, now: Int) -> None:
    """Earn what the time since the last look is worth; a clock that steps back earns nothing."""
    gone = now - bucket[1]
    if gone > 0:
        # Twice the burst fills it from the deepest debt; more would only overflow.
        bucket[0] = min(bucket[3], bucket[0] + min(gone, 2 * bucket[3]))
        bucket[1] = now


@inline_kernel
def check_rate(intents: Rows, k: Int, now: Int, buckets: Rows, hedge: Int) -> int:
    """Take a token, or refuse; the last rule, so that only what passes pays."""
    bucket = buckets[np.int64(intents[k]["account"])]
    refill(bucket, now)
    floor = -bucket[3] if hedge else 0
    if bucket[0] - bucket[2] < floor:
        return DENY_RATE
    bucket[0] -= bucket[2]
    return PASS


@inline_kernel
def give_back(intents: Rows, k: Int, buckets: Rows) -> None:
    """Return the token of an intent that passed here and was denied after all."""
    account = np.int64(intents[k]["account"])
    buckets[account, 0] += buckets[account, 2]
