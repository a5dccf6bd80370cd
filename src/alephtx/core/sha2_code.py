"""`core.sha2`'s compressions as LLVM's instructions; imported when something is compiled.

Written out round by round: the words of a state stay in registers, and nothing has to be inferred.
"""

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alephtx.core.sha2 import ROUNDS_256, ROUNDS_512, SHIFTS_256, SHIFTS_512

_WORD = ir.IntType(64)
_FOUR = ir.VectorType(ir.IntType(32), 4)


def _over_blocks(size: int, state_in, compress, state_out):  # type: ignore[no-untyped-def]
    """Make an intrinsic (state, data, blocks, tail, more): compress in a loop, keep the state."""

    def over(typingctx, state, data, blocks, tail, more):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            at, data, blocks, tail, more = arguments
            every = builder.add(blocks, more)
            # Where the tail would begin if it were counted from the first block.
            tail = builder.sub(tail, builder.mul(blocks, ir.Constant(_WORD, size)))
            words = state_in(builder, at)
            before = builder.block
            head = builder.append_basic_block("sha2.head")
            body = builder.append_basic_block("sha2.body")
            done = builder.append_basic_block("sha2.done")
            builder.branch(head)
            builder.position_at_end(head)
            turn = builder.phi(_WORD)
            turn.add_incoming(ir.Constant(_WORD, 0), before)
            carried = [builder.phi(word.type) for word in words]
            for one, word in zip(carried, words, strict=True):
                one.add_incoming(word, before)
            builder.cbranch(builder.icmp_signed("<", turn, every), body, done)
            builder.position_at_end(body)
            of = builder.select(builder.icmp_signed("<", turn, blocks), data, tail)
            place = builder.add(of, builder.mul(turn, ir.Constant(_WORD, size)))
            after = compress(builder, carried, place)
            turn.add_incoming(builder.add(turn, ir.Constant(_WORD, 1)), builder.block)
            for one, word in zip(carried, after, strict=True):
                one.add_incoming(word, builder.block)
            builder.branch(head)
            builder.position_at_end(done)
            state_out(builder, at, carried)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), codegen

    return over


def _pointer(builder, address, offset, kind):  # type: ignore[no-untyped-def]
    return builder.inttoptr(builder.add(address, ir.Constant(_WORD, offset)), kind.as_pointer())


# -- with integers -------------------------------------------------------------------------------


def _in_words(bits: int, constants, shifts):  # type: ignore[no-untyped-def]
    """Make an intrinsic of the rounds of FIPS 180-4 with words of 32 or 64 bits."""
    kind, size = ir.IntType(bits), bits // 8

    def state_in(builder, at):  # type: ignore[no-untyped-def]
        return [builder.load(_pointer(builder, at, k * size, kind), align=1) for k in range(8)]

    def state_out(builder, at, words):  # type: ignore[no-untyped-def]
        for k, word in enumerate(words):
            builder.store(word, _pointer(builder, at, k * size, kind), align=1)

    def compress(builder, state, place):  # type: ignore[no-untyped-def]
        triple = ir.FunctionType(kind, (kind, kind, kind))
        rotate = cgutils.get_or_insert_function(builder.module, triple, f"llvm.fshr.i{bits}")

        def turned(x, n):  # type: ignore[no-untyped-def]
            return builder.call(rotate, (x, x, ir.Constant(kind, n)))

        def sum_of(*parts):  # type: ignore[no-untyped-def]
            total = parts[0]
            for part in parts[1:]:
                total = builder.add(total, part)
            return total

        def big(x, by):  # type: ignore[no-untyped-def]
            return builder.xor(builder.xor(turned(x, by[0]), turned(x, by[1])), turned(x, by[2]))

        def small(x, by):  # type: ignore[no-untyped-def]
            shifted = builder.lshr(x, ir.Constant(kind, by[2]))
            return builder.xor(builder.xor(turned(x, by[0]), turned(x, by[1])), shifted)

        w = [
            builder.bswap(builder.load(_pointer(builder, place, k * size, kind), align=1))
            for k in range(16)
        ]
        a, b, c, d, e, f, g, last = state
        for t, constant in enumerate(constants):
            if t >= 16:
                parts = w[t - 16], small(w[t - 15], shifts[2]), w[t - 7]
                w.append(sum_of(*parts, small(w[t - 2], shifts[3])))
            choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
            one = sum_of(last, ir.Constant(kind, constant), w[t], choice, big(e, shifts[1]))
            most = builder.xor(b, builder.and_(builder.xor(a, b), builder.xor(c, b)))
            two = builder.add(big(a, shifts[0]), most)
            a, b, c, d, e, f, g, last = (
                builder.add(one, two), a, b, c, builder.add(d, one), e, f, g
            )  # fmt: skip
        after = (a, b, c, d, e, f, g, last)
        return [builder.add(x, y) for x, y in zip(state, after, strict=True)]

    return _over_blocks(16 * size, state_in, compress, state_out)


# -- with the instructions of x86 ----------------------------------------------------------------


def _lanes(*lanes: int):  # type: ignore[no-untyped-def]
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))


def _x86(builder, name, *vectors):  # type: ignore[no-untyped-def]
    kind = ir.FunctionType(_FOUR, [_FOUR] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sha256{name}")
    return builder.call(function, vectors)


def _clear_upper_halves(builder):  # type: ignore[no-untyped-def]
    """Say that no wide register is in use: with one, each SHA instruction took 0.3 us (measured).

    They are of the old encoding, which keeps the upper half of its target; a copy of 32 bytes with
    AVX before them, expanded into the same function, was enough for 20 us a block.
    """
    if binding.get_host_cpu_features().get("avx"):
        kind = ir.FunctionType(ir.VoidType(), ())
        name = "llvm.x86.avx.vzeroupper"
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), ())


def _sha_state_in(builder, at):  # type: ignore[no-untyped-def]
    """Return the state as the instructions want it: f e b a and h g d c, low lane first."""
    _clear_upper_halves(builder)
    low = builder.load(_pointer(builder, at, 0, _FOUR), align=1)
    high = builder.load(_pointer(builder, at, 16, _FOUR), align=1)
    return [
        builder.shuffle_vector(low, high, _lanes(5, 4, 1, 0)),
        builder.shuffle_vector(low, high, _lanes(7, 6, 3, 2)),
    ]


def _sha_state_out(builder, at, vectors):  # type: ignore[no-untyped-def]
    feba, hgdc = vectors
    low = builder.shuffle_vector(feba, hgdc, _lanes(3, 2, 7, 6))
    high = builder.shuffle_vector(feba, hgdc, _lanes(1, 0, 5, 4))
    builder.store(low, _pointer(builder, at, 0, _FOUR), align=1)
    builder.store(high, _pointer(builder, at, 16, _FOUR), align=1)


def _sha_compress(builder, state, place):  # type: ignore[no-untyped-def]
    swapped = ir.FunctionType(_FOUR, [_FOUR])
    bswap = cgutils.get_or_insert_function(builder.module, swapped, "llvm.bswap.v4i32")
    message = [
        builder.call(bswap, [builder.load(_pointer(builder, place, k * 16, _FOUR), align=1)])
        for k in range(4)
    ]
    feba, hgdc = state
    for group in range(16):
        if group >= 4:
            # w[t] = w[t-16] + small(w[t-15]) + w[t-7] + small(w[t-2]), four at a time.
            begun = _x86(builder, "msg1", message[group - 4], message[group - 3])
            middle = builder.shuffle_vector(
                message[group - 2], message[group - 1], _lanes(1, 2, 3, 4)
            )
            message.append(_x86(builder, "msg2", builder.add(begun, middle), message[group - 1]))
        constants = _lanes(*ROUNDS_256[4 * group : 4 * group + 4])
        added = builder.add(message[group], constants)
        # Two rounds each; they leave the new half and what was `feba` becomes `hgdc`.
        feba, hgdc = _x86(builder, "rnds2", hgdc, feba, added), feba
        upper = builder.shuffle_vector(added, added, _lanes(2, 3, 0, 0))
        feba, hgdc = _x86(builder, "rnds2", hgdc, feba, upper), feba
    return [builder.add(feba, state[0]), builder.add(hgdc, state[1])]


# -- what a state says ---------------------------------------------------------------------------

_BYTES = ir.VectorType(ir.IntType(8), 16)


def _bytes_of(builder, state):  # type: ignore[no-untyped-def]
    """Load both halves of a state of SHA-256 as the bytes of its digest."""
    swapped = ir.FunctionType(_FOUR, [_FOUR])
    bswap = cgutils.get_or_insert_function(builder.module, swapped, "llvm.bswap.v4i32")
    for offset in (0, 16):
        words = builder.load(_pointer(builder, state, offset, _FOUR), align=1)
        yield offset, builder.call(bswap, [words])


def _digest_256(typingctx, state, out):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        state, out = arguments
        for offset, words in list(_bytes_of(builder, state)):
            builder.store(words, _pointer(builder, out, offset, _FOUR), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _sixteen(value: int):  # type: ignore[no-untyped-def]
    return ir.Constant(_BYTES, [value] * 16)


def _digest_hex_256(typingctx, state, out):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        state, out = arguments
        for offset, words in list(_bytes_of(builder, state)):
            told = builder.bitcast(words, _BYTES)
            high = builder.lshr(told, _sixteen(4))
            low = builder.and_(told, _sixteen(15))
            for half in (0, 1):
                lanes = [lane for k in range(8) for lane in (8 * half + k, 16 + 8 * half + k)]
                nibbles = builder.shuffle_vector(high, low, _lanes(*lanes))
                letter = builder.icmp_unsigned(">", nibbles, _sixteen(9))
                more = builder.select(letter, _sixteen(ord("a") - 10), _sixteen(ord("0")))
                place = _pointer(builder, out, 2 * offset + 16 * half, _BYTES)
                builder.store(builder.add(nibbles, more), place, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


digest_256 = intrinsic(_digest_256)
digest_hex_256 = intrinsic(_digest_hex_256)
compress_256 = intrinsic(_in_words(32, ROUNDS_256, SHIFTS_256))
compress_512 = intrinsic(_in_words(64, ROUNDS_512, SHIFTS_512))
compress_256_sha = intrinsic(_over_blocks(64, _sha_state_in, _sha_compress, _sha_state_out))
