"""The functions of `core.atomics` as LLVM's instructions; imported when something is compiled."""

import time

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_CLOCK_MONOTONIC = time.CLOCK_MONOTONIC
_WORD = ir.IntType(64)


def _pointer(builder, address):  # type: ignore[no-untyped-def]
    return builder.inttoptr(address, _WORD.as_pointer())


def _loader(ordering: str):  # type: ignore[no-untyped-def]
    def load(typingctx, address):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.load_atomic(_pointer(builder, arguments[0]), ordering, 8)

        return types.int64(types.int64), codegen

    return load


def _storer(ordering: str):  # type: ignore[no-untyped-def]
    def store(typingctx, address, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            builder.store_atomic(arguments[1], _pointer(builder, arguments[0]), ordering, 8)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


def _fencer(ordering: str):  # type: ignore[no-untyped-def]
    def fence(typingctx):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), codegen

    return fence


def _pause(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        machine = binding.get_default_triple()
        if machine.startswith("x86_64"):
            kind = ir.FunctionType(ir.VoidType(), ())
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), ())
        elif machine.startswith(("aarch64", "arm64")):
            kind = ir.FunctionType(ir.VoidType(), (ir.IntType(32),))
            hint = builder.module.declare_intrinsic("llvm.aarch64.hint", (), kind)
            builder.call(hint, (ir.Constant(ir.IntType(32), 1),))
        return context.get_dummy_value()

    return types.void(), codegen


def _stay_apart(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def _cycles(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        machine, module = binding.get_default_triple(), builder.module
        count = ir.FunctionType(_WORD, ())
        if machine.startswith("x86_64"):
            wait = ir.FunctionType(ir.VoidType(), ())
            builder.call(module.declare_intrinsic("llvm.x86.sse2.lfence", (), wait), ())
            return builder.call(module.declare_intrinsic("llvm.readcyclecounter", (), count), ())
        if machine.startswith(("aarch64", "arm64")):
            wait = ir.FunctionType(ir.VoidType(), (ir.IntType(32),))
            isb = module.declare_intrinsic("llvm.aarch64.isb", (), wait)
            builder.call(isb, (ir.Constant(ir.IntType(32), 15),))
            return builder.call(module.declare_intrinsic("llvm.readsteadycounter", (), count), ())
        return _clock(builder)

    return types.int64(), codegen


def _clock(builder):  # type: ignore[no-untyped-def]
    """Read CLOCK_MONOTONIC in ns."""
    # In the entry block: an alloca where we stand would take stack anew in every turn of a
    # loop around us, until it overflows.
    timespec = cgutils.alloca_once(builder, ir.LiteralStructType((_WORD, _WORD)))
    kind = ir.FunctionType(ir.IntType(32), (ir.IntType(32), timespec.type))
    function = _declared(builder.module, kind, "clock_gettime")
    builder.call(function, (ir.Constant(ir.IntType(32), _CLOCK_MONOTONIC), timespec))
    zero, one = ir.Constant(ir.IntType(32), 0), ir.Constant(ir.IntType(32), 1)
    seconds = builder.load(builder.gep(timespec, (zero, zero), inbounds=True))
    rest = builder.load(builder.gep(timespec, (zero, one), inbounds=True))
    return builder.add(builder.mul(seconds, ir.Constant(_WORD, 1_000_000_000)), rest)


def _monotonic_ns(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _clock(builder)

    return types.int64(), codegen


def _declared(module, kind, name):  # type: ignore[no-untyped-def]
    return cgutils.get_or_insert_function(module, kind, name)


def _compare_exchange(typingctx, address, expected, wanted):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        where, before, after = arguments
        pair = builder.cmpxchg(_pointer(builder, where), before, after, "acq_rel", "acquire")
        return builder.extract_value(pair, 0)

    return types.int64(types.int64, types.int64, types.int64), codegen


def _highest_bit(typingctx, word):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(_WORD, 63), zeros)

    return types.int64(types.int64), codegen


def _multiply_wide(typingctx, a, b):  # type: ignore[no-untyped-def]
    result = types.UniTuple(types.int64, 2)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        wide = ir.IntType(128)
        product = builder.mul(builder.sext(arguments[0], wide), builder.sext(arguments[1], wide))
        high = builder.trunc(builder.ashr(product, ir.Constant(wide, 64)), _WORD)
        low = builder.trunc(product, _WORD)
        return context.make_tuple(builder, result, (high, low))

    return result(types.int64, types.int64), codegen


def _crc32c_step(typingctx, crc, word):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        state, data = arguments
        half = ir.IntType(32)
        if binding.get_default_triple().startswith("x86_64"):
            kind = ir.FunctionType(_WORD, (_WORD, _WORD))
            step = _declared(builder.module, kind, "llvm.x86.sse42.crc32.64.64")
            return builder.call(step, (state, data))
        kind = ir.FunctionType(half, (half, _WORD))
        step = _declared(builder.module, kind, "llvm.aarch64.crc32cx")
        return builder.zext(builder.call(step, (builder.trunc(state, half), data)), _WORD)

    return types.int64(types.int64, types.int64), codegen


crc32c_step = intrinsic(_crc32c_step)
load_acquire = intrinsic(_loader("acquire"))
load_relaxed = intrinsic(_loader("monotonic"))
store_release = intrinsic(_storer("release"))
store_relaxed = intrinsic(_storer("monotonic"))
compare_exchange = intrinsic(_compare_exchange)
highest_bit = intrinsic(_highest_bit)
fence_acquire = intrinsic(_fencer("acquire"))
fence_release = intrinsic(_fencer("release"))
pause = intrinsic(_pause)
stay_apart = intrinsic(_stay_apart)
monotonic_ns = intrinsic(_monotonic_ns)
multiply_wide = intrinsic(_multiply_wide)
cycles = intrinsic(_cycles)
