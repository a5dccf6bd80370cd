"""`core.keccak.permute` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alephtx.core.keccak import CONSTANTS, MOVES

_WORD = ir.IntType(64)


def _permute(typingctx, state):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(_WORD, (_WORD, _WORD, _WORD))
        rotate = cgutils.get_or_insert_function(builder.module, kind, "llvm.fshl.i64")
        start = builder.inttoptr(arguments[0], _WORD.as_pointer())

        def turned(word, by):  # type: ignore[no-untyped-def]
            return builder.call(rotate, (word, word, ir.Constant(_WORD, by)))

        places = [builder.gep(start, [ir.Constant(_WORD, k)]) for k in range(25)]
        lanes = [builder.load(place, align=1) for place in places]
        for constant in CONSTANTS:
            sums = []
            for x in range(5):
                total = lanes[x]
                for y in range(5, 25, 5):
                    total = builder.xor(total, lanes[x + y])
                sums.append(total)
            mixed = [builder.xor(sums[x - 1], turned(sums[(x + 1) % 5], 1)) for x in range(5)]
            lanes = [builder.xor(lane, mixed[k % 5]) for k, lane in enumerate(lanes)]
            moved = lanes[:]
            for source, target, by in MOVES:
                moved[target] = turned(lanes[source], by)
            for k in range(25):
                row = k - k % 5
                other = builder.and_(
                    builder.not_(moved[row + (k + 1) % 5]), moved[row + (k + 2) % 5]
                )
                lanes[k] = builder.xor(moved[k], other)
            lanes[0] = builder.xor(lanes[0], ir.Constant(_WORD, constant))
        for lane, place in zip(lanes, places, strict=True):
            builder.store(lane, place, align=1)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


permute = intrinsic(_permute)
