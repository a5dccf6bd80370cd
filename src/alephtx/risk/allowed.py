"""Rule: a strategy and an account trade only what their lists allow."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import DENY_NOT_ALLOWED, PASS
from alephtx.risk.state import Rows


@inline_kernel
def check_allowed(intents: Rows, k: Int, allowed: Rows, account_allowed: Rows) -> int:
    """Refuse an instrument that the strategy's or the account's list leaves out."""
    i = np.int64(intents[k]["instrument"])
    mine = allowed[np.int64(intents[k]["strategy"]), i]
    ours = account_allowed[np.int64(intents[k]["account"]), i]
    return PASS if mine != 0 and ours != 0 else DENY_NOT_ALLOWED
