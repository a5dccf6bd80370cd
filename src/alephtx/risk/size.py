"""Rule: no order larger than the strategy's limit in lots."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.view import View
from alephtx.core.words import DENY_SIZE, PASS
from alephtx.risk.state import GateState, Rows


@inline_kernel
def check_size(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse qty > qty_max of (strategy, instrument); what follows may rely on qty < 2^60."""
    most = gate.qty_max[np.int64(intents[k]["strategy"]), np.int64(intents[k]["instrument"])]
    return DENY_SIZE if intents[k]["qty"] > most else PASS
