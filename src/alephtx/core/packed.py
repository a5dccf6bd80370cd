"""Many arrays behind one argument: words that say where each of them is.

A kernel that takes sixty arrays compiles for seconds, and so does every kernel between (measured:
80 s for the engine's step, 20 s this way), and at every call their descriptions are pushed and read
back. One array of words costs nothing; a kernel takes from it what it needs, typed by a sample.
"""

import ctypes
from typing import Any

import numpy as np

from alephtx.core.kernel import JIT

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


if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic
    from numba.np.arrayobj import make_array, populate_array

    _WORD = ir.IntType(64)

    def _field(typingctx, packed, k, sample):  # type: ignore[no-untyped-def]
        result = types.Array(sample.dtype, sample.ndim, "C")

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            table = make_array(signature.args[0])(context, builder, arguments[0])
            at = builder.mul(arguments[1], ir.Constant(_WORD, FIELD_WORDS))

            def word(n):  # type: ignore[no-untyped-def]
                place = builder.add(at, ir.Constant(_WORD, n))
                return builder.load(builder.gep(table.data, [place], inbounds=True))

            shape = [word(n + 1) for n in range(result.ndim)]
            item = context.get_constant(
                types.intp, context.get_abi_sizeof(context.get_data_type(result.dtype))
            )
            strides = [item]
            for extent in reversed(shape[1:]):
                strides.insert(0, builder.mul(strides[0], extent))
            array = make_array(result)(context, builder)
            populate_array(
                array,
                data=builder.inttoptr(word(0), array.data.type),
                shape=cgutils.pack_array(builder, shape),
                strides=cgutils.pack_array(builder, strides),
                itemsize=item,
                meminfo=None,
            )
            return array._getvalue()  # noqa: SLF001 - Numba's own way to read a struct proxy

        return result(packed, types.int64, sample), codegen

    field = intrinsic(_field)
