"""Rule: a token bucket of new orders per account.

Tokens are kept in ns: one order costs INTERVAL ns, and every ns that passes earns one, up to BURST.
No division, no drift. A hedge that reduces may go one burst into debt, because an order too many
is cheaper than an open leg.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.view import View
from alephtx.core.words import DENY_RATE, PASS
from alephtx.risk.limits import GateState, Rows


@inline_kernel
def check_rate(intents: Rows, k: Int, view: View, gate: GateState, hedge: Int) -> int:
    """Take a token, or refuse; the last rule, so that only what passes pays."""
    account, now = np.int64(intents[k]["account"]), view.now[3]
    bucket = gate.buckets[account]
    gone = now - bucket[1]
    if gone > 0:  # a clock that stands or steps back earns nothing
        bucket[0] = bucket[3] if gone >= bucket[3] else min(bucket[3], bucket[0] + gone)
        bucket[1] = now
    floor = -bucket[3] if hedge else 0
    if bucket[0] - bucket[2] < floor:
        return DENY_RATE
    bucket[0] -= bucket[2]
    return PASS


@inline_kernel
def give_back(intents: Rows, k: Int, gate: GateState) -> None:
    """Return the token of an intent that passed and was denied with its group."""
    gate.buckets[np.int64(intents[k]["account"])][0] += gate.buckets[
        np.int64(intents[k]["account"])
    ][2]
