"""What `core.text` does in blocks as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alephtx.core.text import BLOCK, HEX_BLOCK

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_BLOCK = ir.VectorType(ir.IntType(8), BLOCK)


def _copy_block(typingctx, to, source):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        to, source = (builder.inttoptr(one, _BLOCK.as_pointer()) for one in arguments)
        # Any address will do: a vector may be where the processor has words only, as several.
        builder.store(builder.load(source, align=1), to, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _put_digits(builder, to, told, n):  # type: ignore[no-untyped-def]
    """Store a vector of n bytes as 2n hex digits."""
    kind = ir.VectorType(_BYTE, 2 * n)

    def all_of(value, count):  # type: ignore[no-untyped-def]
        return ir.Constant(ir.VectorType(_BYTE, count), [value] * count)

    high, low = builder.lshr(told, all_of(4, n)), builder.and_(told, all_of(15, n))
    lanes = [lane for k in range(n) for lane in (k, n + k)]
    places = ir.Constant(ir.VectorType(ir.IntType(32), 2 * n), lanes)
    nibbles = builder.shuffle_vector(high, low, places)
    letter = builder.icmp_unsigned(">", nibbles, all_of(9, 2 * n))
    more = builder.select(letter, all_of(ord("a") - 10, 2 * n), all_of(ord("0"), 2 * n))
    place = builder.inttoptr(to, kind.as_pointer())
    builder.store(builder.add(nibbles, more), place, align=1)


def _hex_block(typingctx, to, source):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        to, source = arguments
        kind = ir.VectorType(_BYTE, HEX_BLOCK)
        told = builder.load(builder.inttoptr(source, kind.as_pointer()), align=1)
        _put_digits(builder, to, told, HEX_BLOCK)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _hex_word(typingctx, to, value):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        to, value = arguments
        told = builder.bitcast(builder.bswap(value), ir.VectorType(_BYTE, 8))
        _put_digits(builder, to, told, 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


copy_block = intrinsic(_copy_block)
hex_block = intrinsic(_hex_block)
hex_word = intrinsic(_hex_word)
