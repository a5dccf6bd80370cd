"""The functions of `core.memory` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BIT, _BYTE, _WORD = ir.IntType(1), ir.IntType(8), ir.IntType(64)


def _loader(bits: int, big: bool):  # type: ignore[no-untyped-def]
    kind = ir.IntType(bits)

    def load(typingctx, address):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            value = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
            if big:
                value = builder.bswap(value)
            return value if bits == 64 else builder.zext(value, _WORD)

        return types.int64(types.int64), codegen

    return load


def _storer(bits: int, big: bool):  # type: ignore[no-untyped-def]
    kind = ir.IntType(bits)

    def store(typingctx, address, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], kind)
            if big:
                value = builder.bswap(value)
            builder.store(value, builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


def _copier(name: str):  # type: ignore[no-untyped-def]
    def copier(typingctx, target, source, size):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            pointer = _BYTE.as_pointer()
            kind = ir.FunctionType(ir.VoidType(), (pointer, pointer, _WORD, _BIT))
            copy = cgutils.get_or_insert_function(builder.module, kind, name)
            places = [builder.inttoptr(one, pointer) for one in arguments[:2]]
            builder.call(copy, (*places, arguments[2], ir.Constant(_BIT, 0)))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return copier


def _fetcher(write: int, locality: int):  # type: ignore[no-untyped-def]
    def fetch(typingctx, address):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            pointer, word = _BYTE.as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), (pointer, word, word, word))
            call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            place = builder.inttoptr(arguments[0], pointer)
            data = 1
            told = [ir.Constant(word, value) for value in (write, locality, data)]
            builder.call(call, (place, *told))
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    return fetch


def _wipe(typingctx, address, size):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _BYTE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), (pointer, _BYTE, _WORD, _BIT))
        fill = cgutils.get_or_insert_function(builder.module, kind, "llvm.memset.p0.i64")
        place = builder.inttoptr(arguments[0], pointer)
        volatile = ir.Constant(_BIT, 1)
        builder.call(fill, (place, ir.Constant(_BYTE, 0), arguments[1], volatile))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


load_byte = intrinsic(_loader(8, big=False))
load_word = intrinsic(_loader(64, big=False))
load_big_word = intrinsic(_loader(64, big=True))
load_big_half = intrinsic(_loader(32, big=True))
store_byte = intrinsic(_storer(8, big=False))
store_word = intrinsic(_storer(64, big=False))
store_big_word = intrinsic(_storer(64, big=True))
copy_bytes = intrinsic(_copier("llvm.memcpy.p0.p0.i64"))
move_bytes = intrinsic(_copier("llvm.memmove.p0.p0.i64"))
fetch_line = intrinsic(_fetcher(write=1, locality=3))
fetch_far = intrinsic(_fetcher(write=0, locality=2))
wipe = intrinsic(_wipe)
