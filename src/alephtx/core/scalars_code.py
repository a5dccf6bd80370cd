"""The functions of `core.scalars` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alephtx.core.scalars import ED25519_ORDER, SECP256K1_ORDER

_WORD, _NARROW, _WIDE = ir.IntType(64), ir.IntType(256), ir.IntType(512)


def _wide(value: int):  # type: ignore[no-untyped-def]
    return ir.Constant(_WIDE, value)


def _load(builder, address, kind=_NARROW, big=False):  # type: ignore[no-untyped-def]
    value = builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)
    value = builder.bswap(value) if big else value
    return value if kind is _WIDE else builder.zext(value, _WIDE)


def _store(builder, address, value, big=False):  # type: ignore[no-untyped-def]
    narrow = builder.trunc(value, _NARROW)
    narrow = builder.bswap(narrow) if big else narrow
    builder.store(narrow, builder.inttoptr(address, _NARROW.as_pointer()), align=1)


def _less(builder, value, bound: int):  # type: ignore[no-untyped-def]
    """Return value - bound where that is not negative, else value."""
    over = builder.icmp_unsigned(">=", value, _wide(bound))
    return builder.select(over, builder.sub(value, _wide(bound)), value)


def _ecdsa_s(typingctx, inverse, product, digest, out):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        n = SECP256K1_ORDER
        low, beyond = _wide((1 << 256) - 1), _wide((1 << 256) - n)
        inverse, product = _load(builder, arguments[0]), _load(builder, arguments[1])
        z = _load(builder, arguments[2], big=True)
        value = builder.add(builder.mul(inverse, z), product)
        # 2^256 = 2^256 - n (mod n), 129 bits: 512 -> 386 -> 260 -> 257 bits, below 2 n.
        for _ in range(3):
            above = builder.lshr(value, _wide(256))
            value = builder.add(builder.and_(value, low), builder.mul(above, beyond))
        s = _less(builder, value, n)
        high = builder.icmp_unsigned(">", s, _wide(n // 2))
        _store(builder, arguments[3], builder.select(high, builder.sub(_wide(n), s), s), big=True)
        none = builder.icmp_unsigned("==", s, _wide(0))
        return builder.select(none, ir.Constant(_WORD, -1), builder.zext(high, _WORD))

    return types.int64(types.int64, types.int64, types.int64, types.int64), codegen


def _modulo_ed25519(builder, value):  # type: ignore[no-untyped-def]
    """Return a value of up to 512 bits modulo L.

    2^252 = -(L - 2^252) (mod L), 125 bits: what stands above goes over as a difference, to which a
    multiple of L is added first, so that nothing becomes negative: 512 -> 387 -> 263 -> 253 bits.
    """
    beyond, low = _wide(ED25519_ORDER - (1 << 252)), _wide((1 << 252) - 1)
    for shift in (134, 10, 0):
        above = builder.lshr(value, _wide(252))
        lifted = builder.add(builder.and_(value, low), _wide(ED25519_ORDER << shift))
        value = builder.sub(lifted, builder.mul(above, beyond))
    return _less(builder, _less(builder, value, ED25519_ORDER), ED25519_ORDER)


def _eddsa_s(typingctx, nonce, key, digest, out):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        h = _modulo_ed25519(builder, _load(builder, arguments[2], _WIDE))
        product = builder.mul(h, _load(builder, arguments[1]))
        total = builder.add(product, _load(builder, arguments[0]))
        _store(builder, arguments[3], _modulo_ed25519(builder, total))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


ecdsa_s = intrinsic(_ecdsa_s)
eddsa_s = intrinsic(_eddsa_s)
