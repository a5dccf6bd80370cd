"""Call a function of a C library from a kernel, by its address.

The address is a word of the caller's state, so that machine code names no library and can be kept
for other processes. Whoever puts it there keeps the library loaded. The Python twin lets the GIL
go, as a kernel does.
"""

import ctypes
from typing import Any

from alephtx.core.kernel import JIT, Intrinsic

_C_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int64] * 6)


def call_foreign(function: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """Call int function(six words or pointers); one that takes fewer does not look at the rest."""
    return int(_C_FUNCTION(int(function))(int(a), int(b), int(c), int(d), int(e), int(f)))


def _code() -> Any:
    from alephtx.core import foreign_code

    return foreign_code


if JIT:
    call_foreign = Intrinsic(_code, "call_foreign")  # type: ignore[assignment]
