"""Enter a signer's stage from a test as the engine does."""

import ctypes
from functools import cache

import numpy as np

from alephtx.core.kernel import kernel


@cache
def _compiled(function):
    return kernel(function)


def enter(stage, payload, size=None):
    """Return what the stage says of a payload: its signature, or the code of a refusal."""
    data = np.frombuffer(payload + b"\xee", np.uint8)
    n = _compiled(stage.function)(
        stage.state, data.ctypes.data, len(payload) if size is None else size
    )
    if n < 0:
        return n
    words = ctypes.c_int64.from_address(int(stage.state[0]))
    return ctypes.string_at(words.value, n)
