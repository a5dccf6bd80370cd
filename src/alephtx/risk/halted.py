"""Rule: only cancels while the engine is halted, a strategy warms up or an account resyncs."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.view import View
from alephtx.core.words import DENY_HALTED, DENY_RESYNC, DENY_WARMUP, PASS
from alephtx.risk.state import GateState, Rows


@inline_kernel
def check_halted(halted: Int) -> int:
    """Refuse while the halt word is set; hedges too, because a halt is a person's word."""
    return DENY_HALTED if halted != 0 else PASS


@inline_kernel
def check_warmup(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse until the strategy has seen enough."""
    ready = gate.warm_until[np.int64(intents[k]["strategy"])]
    return DENY_WARMUP if view.now[3] < ready else PASS


@inline_kernel
def check_resync(intents: Rows, k: Int, view: View, gate: GateState) -> int:
    """Refuse on an account whose orders and fills are being asked for; not even hedges."""
    return DENY_RESYNC if gate.resync[np.int64(intents[k]["account"])] != 0 else PASS
