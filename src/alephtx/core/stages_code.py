"""`core.stages.call_stage` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WORD = ir.IntType(64)


def _call_stage(typingctx, address, packed, a, b):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        values = list(arguments[1:])
        kind = ir.FunctionType(_WORD, [value.type for value in values])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), values)

    return types.int64(types.int64, packed, types.int64, types.int64), codegen


call_stage = intrinsic(_call_stage)
