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


field = intrinsic(_field)
