"""`core.text.copy_block` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alephtx.core.text import BLOCK

_BLOCK = ir.VectorType(ir.IntType(8), BLOCK)


def _copy_block(typingctx, to, source):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        to, source = (builder.inttoptr(one, _BLOCK.as_pointer()) for one in arguments)
        # Any address will do: a vector may be where the processor has words only, as several.
        builder.store(builder.load(source, align=1), to, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


copy_block = intrinsic(_copy_block)
