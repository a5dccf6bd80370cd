"""`core.keccak.permute` as LLVM's instructions; imported when something is compiled."""

import os

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alephtx.core.keccak import CONSTANTS, MOVES, ROUNDS

_WORD = ir.IntType(64)


def _by_rows():  # type: ignore[no-untyped-def]
    """Tell whether the state is five vectors, a row of five lanes each.

    With AVX-512 that is half the instructions of 25 lanes on their own. A loop of them is as quick
    as rounds laid out and takes 400 bytes instead of 14 KB, half the processor's cache of code.
    """
    if os.environ.get("NUMBA_CPU_NAME"):  # compiling for another processor than this one
        return False
    return bool(binding.get_host_cpu_features().get("avx512f"))


def _permute(typingctx, state):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        start = builder.inttoptr(arguments[0], _WORD.as_pointer())
        (_permute_rows if _by_rows() else _permute_words)(builder, start)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _permute_words(builder, start):  # type: ignore[no-untyped-def]
    """Apply the rounds, laid out one after another, to 25 words."""
    kind = ir.FunctionType(_WORD, (_WORD, _WORD, _WORD))
    rotate = cgutils.get_or_insert_function(builder.module, kind, "llvm.fshl.i64")

    def turned(word, by):  # type: ignore[no-untyped-def]
        return builder.call(rotate, (word, word, ir.Constant(_WORD, by)))

    places = [builder.gep(start, [ir.Constant(_WORD, k)]) for k in range(25)]
    lanes = [builder.load(place, align=1) for place in places]
    for constant in CONSTANTS:
        lanes = _round(builder, lanes, ir.Constant(_WORD, constant), turned)
    for lane, place in zip(lanes, places, strict=True):
        builder.store(lane, place, align=1)


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


# -- by rows -------------------------------------------------------------------------------------

_ROW = ir.VectorType(_WORD, 8)  # five lanes, and three that nobody reads
_ANY = ir.Constant(_ROW, ir.Undefined)


def _row(values):  # type: ignore[no-untyped-def]
    return ir.Constant(_ROW, [ir.Constant(_WORD, value) for value in (*values, 0, 0, 0)])


def _picked(builder, one, other, places):  # type: ignore[no-untyped-def]
    """Return lanes of one (0 .. 7) and of the other (8 .. 15); what lies behind them is free."""
    kind = ir.VectorType(ir.IntType(32), 8)
    return builder.shuffle_vector(one, other, ir.Constant(kind, [*places, *range(len(places), 8)]))


def _turns():  # type: ignore[no-untyped-def]
    """Return how far each row's lanes are turned in the step rho."""
    turns = [[0] * 5 for _ in range(5)]
    for source, _, by in MOVES:
        turns[source // 5][source % 5] = by
    return [_row(row) for row in turns]


def _constants_at(builder):  # type: ignore[no-untyped-def]
    """Return where the rounds' constants stand, a row each; the round changes its first lane."""
    table = ir.ArrayType(_ROW, ROUNDS)
    held = cgutils.global_constant(
        builder.module, "keccak.constants",
        ir.Constant(table, [_row((value, 0, 0, 0, 0)) for value in CONSTANTS]),
    )  # fmt: skip
    held.align = 64
    return held


def _permute_rows(builder, start):  # type: ignore[no-untyped-def]
    """Apply the rounds, a loop, to five rows."""
    held = _constants_at(builder)
    # The last row is loaded with the three words before it: none behind the state may be touched.
    places = [
        builder.bitcast(builder.gep(start, [ir.Constant(_WORD, k)]), _ROW.as_pointer())
        for k in (0, 5, 10, 15, 17)
    ]
    rows = [builder.load(place, align=1) for place in places]
    rows[4] = _picked(builder, rows[4], _ANY, (3, 4, 5, 6, 7))
    before = builder.block
    loop, after = builder.append_basic_block("round"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(_WORD)
    number.add_incoming(ir.Constant(_WORD, 0), before)
    kept = [builder.phi(_ROW) for _ in rows]
    place = builder.gep(held, [ir.Constant(_WORD, 0), number])
    made = _round_rows(builder, kept, builder.load(place))
    following = builder.add(number, ir.Constant(_WORD, 1))
    number.add_incoming(following, loop)
    for phi, first, again in zip(kept, rows, made, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(again, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, ir.Constant(_WORD, ROUNDS)), loop, after)
    builder.position_at_end(after)
    for row, place in zip(made[:4], places[:4], strict=True):
        builder.store(row, place, align=1)  # the next one's store mends what is behind its five
    for x in range(5):
        lane = builder.extract_element(made[4], ir.Constant(_WORD, x))
        builder.store(lane, builder.gep(start, [ir.Constant(_WORD, 20 + x)]), align=1)


def _round_rows(builder, rows, constant):  # type: ignore[no-untyped-def]
    """Return the rows after one round."""
    kind = ir.FunctionType(_ROW, (_ROW, _ROW, _ROW))
    rotate = cgutils.get_or_insert_function(builder.module, kind, "llvm.fshl.v8i64")

    def turned(row, by):  # type: ignore[no-untyped-def]
        return builder.call(rotate, (row, row, by))

    total = rows[0]
    for row in rows[1:]:
        total = builder.xor(total, row)
    before = _picked(builder, total, _ANY, (4, 0, 1, 2, 3))
    after = _picked(builder, turned(total, _row((1, 1, 1, 1, 1))), _ANY, (1, 2, 3, 4, 0))
    rows = [builder.xor(builder.xor(row, before), after) for row in rows]
    rows = [turned(row, by) for row, by in zip(rows, _turns(), strict=True)]
    # The lanes of an old row are the column of the same number: chi is between whole vectors.
    columns = [
        _picked(builder, row, _ANY, [(x + 3 * y) % 5 for y in range(5)])
        for x, row in enumerate(rows)
    ]
    mixed = []
    for x in range(5):
        other = builder.and_(builder.not_(columns[(x + 1) % 5]), columns[(x + 2) % 5])
        mixed.append(builder.xor(columns[x], other))
    mixed[0] = builder.xor(mixed[0], constant)
    return _turned_to_rows(builder, mixed)


def _turned_to_rows(builder, columns):  # type: ignore[no-untyped-def]
    """Return the rows of five columns: first pairs of two, of every other row."""
    pairs = [
        [_picked(builder, columns[x], columns[x + 1], [odd, 8 + odd, 2 + odd, 10 + odd, 4 + odd,
                                                       12 + odd]) for x in (0, 2)]
        for odd in (0, 1)
    ]  # fmt: skip
    made = []
    for y in range(5):
        at = y // 2 * 2
        one, other = pairs[y % 2]
        four = _picked(builder, one, other, (at, at + 1, at + 8, at + 9))
        last = _picked(builder, columns[4], _ANY, (0, 1, 2, 3, y))
        made.append(_picked(builder, four, last, (0, 1, 2, 3, 12)))
    return made


permute = intrinsic(_permute)
