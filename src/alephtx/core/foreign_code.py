"""`core.foreign.call_foreign` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WORD, _INT = ir.IntType(64), ir.IntType(32)


def _call_foreign(typingctx, function, a, b, c, d, e, f):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(_INT, [_WORD] * 6)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.sext(builder.call(function, arguments[1:]), _WORD)

    return types.int64(*[types.int64] * 7), codegen


call_foreign = intrinsic(_call_foreign)
