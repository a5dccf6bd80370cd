"""`core.packed.field` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from alephtx.core.packed import FIELD_WORDS

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


def _flat(context, builder, kind, address, size, item):  # type: ignore[no-untyped-def]
    """Build a one-dimensional array of `size` items of `item` bytes at an address."""
    array = make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=cgutils.pack_array(builder, [size]),
        strides=cgutils.pack_array(builder, [item]),
        itemsize=item,
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001 - Numba's own way to read a struct proxy


def _bytes_at(typingctx, address, size):  # type: ignore[no-untyped-def]
    result = types.Bytes(types.uint8, 1, "C", readonly=True)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        address, size = arguments
        return _flat(context, builder, result, address, size, ir.Constant(_WORD, 1))

    return result(types.int64, types.int64), codegen


def _rows_at(typingctx, address, n, sample):  # type: ignore[no-untyped-def]
    result = types.Array(sample.dtype, 1, "C")

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        item = context.get_abi_sizeof(context.get_data_type(result.dtype))
        size = context.get_constant(types.intp, item)
        return _flat(context, builder, result, arguments[0], arguments[1], size)

    return result(types.int64, types.int64, sample), codegen


field = intrinsic(_field)
bytes_at = intrinsic(_bytes_at)
rows_at = intrinsic(_rows_at)
