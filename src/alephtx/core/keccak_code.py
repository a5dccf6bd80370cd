"""`core.keccak.permute` as LLVM's instructions; imported when something is compiled."""

import os

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alephtx.core.keccak import CONSTANTS, MOVES

_WORD = ir.IntType(64)
_PAIR = ir.VectorType(_WORD, 2)


def _kind():  # type: ignore[no-untyped-def]
    """Return the type of a lane: a word, or the lower half of a vector where that is quicker.

    With AVX-512 there are 32 registers, rotations and three-way logic of vectors: all 25 lanes stay
    in registers, and a sixth of the time is saved (measured). Any target can do either.
    """
    if os.environ.get("NUMBA_CPU_NAME"):  # compiling for another processor than this one
        return _WORD
    return _PAIR if binding.get_host_cpu_features().get("avx512vl") else _WORD


def _permute(typingctx, state):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = _kind()
        triple = ir.FunctionType(kind, (kind, kind, kind))
        name = "llvm.fshl.v2i64" if kind is _PAIR else "llvm.fshl.i64"
        rotate = cgutils.get_or_insert_function(builder.module, triple, name)
        start = builder.inttoptr(arguments[0], _WORD.as_pointer())
        first = ir.Constant(_WORD, 0)

        def constant_of(value):  # type: ignore[no-untyped-def]
            return ir.Constant(kind, [value, value] if kind is _PAIR else value)

        def turned(word, by):  # type: ignore[no-untyped-def]
            return builder.call(rotate, (word, word, constant_of(by)))

        def load(place):  # type: ignore[no-untyped-def]
            word = builder.load(place, align=1)
            if kind is _WORD:
                return word
            return builder.insert_element(constant_of(0), word, first)

        places = [builder.gep(start, [ir.Constant(_WORD, k)]) for k in range(25)]
        lanes = [load(place) for place in places]
        for constant in CONSTANTS:
            lanes = _round(builder, lanes, constant_of(constant), turned)
        for lane, place in zip(lanes, places, strict=True):
            word = lane if kind is _WORD else builder.extract_element(lane, first)
            builder.store(word, place, align=1)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _round(builder, lanes, constant, turned):  # type: ignore[no-untyped-def]
    """Return the lanes after one round."""
    sums = []
    for x in range(5):
        total = lanes[x]
        for y in range(5, 25, 5):
            total = builder.xor(total, lanes[x + y])
        sums.append(total)
    after = [turned(sums[(x + 1) % 5], 1) for x in range(5)]
    # Three terms in a row, which a target with three-way logic takes at once.
    lanes = [
        builder.xor(builder.xor(lane, sums[k % 5 - 1]), after[k % 5])
        for k, lane in enumerate(lanes)
    ]
    moved = lanes[:]
    for source, target, by in MOVES:
        moved[target] = turned(lanes[source], by)
    made = []
    for k in range(25):
        row = k - k % 5
        other = builder.and_(builder.not_(moved[row + (k + 1) % 5]), moved[row + (k + 2) % 5])
        made.append(builder.xor(moved[k], other))
    made[0] = builder.xor(made[0], constant)
    return made


permute = intrinsic(_permute)
