"""Many arrays behind one argument: words that say where each of them is.

A kernel that takes sixty arrays compiles for seconds, and so does every kernel between (measured:
80 s for the engine's step, 20 s this way), and at every call their descriptions are pushed and read
back. One array of words costs nothing; a kernel takes from it what it needs, typed by a sample.
"""

import ctypes
from typing import Any

import numpy as np

from alephtx.core.kernel import JIT, Intrinsic

Rows = np.ndarray[Any, Any]

FIELD_WORDS = 6
"""Words of a packed field: address, then up to five extents."""

_fields: dict[tuple[int, tuple[int, ...], Any], Rows] = {}


def pack_fields(arrays: list[Rows]) -> Rows:
    """Return int64 words that describe C-ordered arrays; the arrays must outlive every use."""
    packed = np.zeros(len(arrays) * FIELD_WORDS, np.int64)
    for k, array in enumerate(arrays):
        assert array.flags.c_contiguous
        at = k * FIELD_WORDS
        packed[at] = array.ctypes.data
        packed[at + 1 : at + 1 + array.ndim] = array.shape
    return packed


def field(packed: Rows, k: int, sample: Rows) -> Rows:
    """Return array k of packed fields, typed as the sample (any array of its dtype and dimensions).

    Loads a handful of words: take a field once, before a loop. An empty array may not be asked for
    un-jitted.
    """
    at = k * FIELD_WORDS
    shape = tuple(int(n) for n in packed[at + 1 : at + 1 + sample.ndim])
    key = (int(packed[at]), shape, sample.dtype)
    if key not in _fields:
        size = int(np.prod(shape)) * sample.itemsize
        memory: Any = (ctypes.c_char * size).from_address(key[0])
        _fields[key] = np.frombuffer(memory, sample.dtype).reshape(shape)
    return _fields[key]


def bytes_at(address: int, size: int) -> bytes:
    """Return the bytes at an address, in a kernel as a view of them, from Python as a copy."""
    return ctypes.string_at(int(address), int(size))


def rows_at(address: int, n: int, sample: Rows) -> Rows:
    """Return the n rows at an address as an array of the sample's dtype; the same memory."""
    memory: Any = (ctypes.c_char * (int(n) * sample.itemsize)).from_address(int(address))
    return np.frombuffer(memory, sample.dtype)


def _code() -> Any:
    from alephtx.core import packed_code

    return packed_code


if JIT:
    field = Intrinsic(_code, "field")  # type: ignore[assignment]
    bytes_at = Intrinsic(_code, "bytes_at")  # type: ignore[assignment]
    rows_at = Intrinsic(_code, "rows_at")  # type: ignore[assignment]
