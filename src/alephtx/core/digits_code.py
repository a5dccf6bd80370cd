"""The functions of `core.digits` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from alephtx.core.digits import BLOCK

_BIT, _BYTE, _WORD = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_CHARACTERS = ir.VectorType(_BYTE, BLOCK)


def _load(context, builder, signature, arguments, kind):  # type: ignore[no-untyped-def]
    """Load some characters at a position, wherever it is."""
    text = make_array(signature.args[0])(context, builder, arguments[0])
    place = builder.gep(text.data, [arguments[1]])
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=1)


def _word_in(typingctx, text, pos):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _load(context, builder, signature, arguments, _WORD)  # type: ignore[no-untyped-call]

    return types.int64(text, types.int64), codegen


def _marker(*tests: tuple[str, int]):  # type: ignore[no-untyped-def]
    """Return what marks the characters that pass one of the comparisons."""

    def marks(typingctx, text, pos):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            seen = _load(context, builder, signature, arguments, _CHARACTERS)  # type: ignore[no-untyped-call]
            found = None
            for sign, character in tests:
                same = ir.Constant(_CHARACTERS, [ir.Constant(_BYTE, character)] * BLOCK)
                one = builder.icmp_unsigned(sign, seen, same)
                found = one if found is None else builder.or_(found, one)
            bits = builder.bitcast(found, ir.IntType(BLOCK))
            return builder.zext(bits, _WORD)

        return types.int64(text, types.int64), codegen

    return marks


def _lowest_bit(typingctx, word):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(_BIT, 0))

    return types.int64(types.int64), codegen


word_in = intrinsic(_word_in)
quotes_in = intrinsic(_marker(("==", 34)))
points_in = intrinsic(_marker(("==", 46)))
stops_in = intrinsic(_marker(("<=", 32), (">=", 125), ("==", 34), ("==", 92)))
lowest_bit = intrinsic(_lowest_bit)
