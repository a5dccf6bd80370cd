"""Enter a compiled function by its address, from another one.

Numba links everything a kernel calls into it and optimises the whole again at every level, so a
call tree compiles in time depth x size. Stages cut it: 2 ns a call, half the cold start; and what a
plugin brings can be called without its caller being compiled anew.

Without the JIT an address is an index into `stages`, and the call is a plain call.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from alephtx.core.kernel import JIT, Intrinsic, address_of

Rows = np.ndarray[Any, Any]

stages: dict[int, Callable[..., int]] = {}
"""Un-jitted: address -> stage."""


def call_stage(address: int, packed: Rows, a: int, b: int) -> int:
    """Call a compiled function of (packed fields, int, int) -> int."""
    return int(stages[int(address)](packed, a, b))


def stage_address(function: Callable[..., int]) -> tuple[int, Any]:
    """Compile a stage and return its address and its owner, which must be kept alive."""
    if not JIT:
        address = len(stages) + 1
        stages[address] = function
        return address, function
    return address_of(function, np.zeros(1, np.int64), 0, 0)


def _code() -> Any:
    from alephtx.core import stages_code

    return stages_code


if JIT:
    call_stage = Intrinsic(_code, "call_stage")  # type: ignore[assignment]
