"""What is left of a signature once its nonce is prepared: arithmetic modulo a curve's order.

Of secp256k1 (ECDSA) and Ed25519. LLVM has integers of any width, and both orders lie so close to a
power of two that folding replaces division: some 0.05 us, in a time that depends on no value.
Source: SEC 1 section 4.1.3, RFC 8032 section 5.1.6.
"""

import ctypes
from typing import Any

from alephtx.core.kernel import JIT, Intrinsic

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ED25519_ORDER = (1 << 252) + 27742317777372353535851937790883648493


def _integer(address: int, size: int, order: Any = "little") -> int:
    return int.from_bytes(ctypes.string_at(int(address), size), order)


def _store(address: int, value: int, order: Any) -> None:
    ctypes.memmove(int(address), value.to_bytes(32, order), 32)


def ecdsa_s(inverse: int, product: int, digest: int, out: int) -> int:
    """Write the s of an ECDSA signature, the low one of the two, 32 bytes big-endian.

    At addresses: inverse, 1/k, and product, r d / k, both mod n and little-endian; digest, 32 bytes
    big-endian. Returns 1 where s was turned, and with it the parity of R's y, else 0; -1 for s = 0,
    which is no signature.
    """
    n = SECP256K1_ORDER
    s = (_integer(inverse, 32) * _integer(digest, 32, "big") + _integer(product, 32)) % n
    high = s > n // 2
    _store(out, n - s if high else s, "big")
    return -1 if s == 0 else int(high)


def eddsa_s(nonce: int, key: int, digest: int, out: int) -> None:
    """Write the S of an Ed25519 signature, r + h a mod L, 32 bytes little-endian.

    At addresses, little-endian: nonce r and key a, 32 bytes below L; digest h, the 64 bytes of
    SHA-512(R | A | M).
    """
    s = _integer(nonce, 32) + _integer(digest, 64) * _integer(key, 32)
    _store(out, s % ED25519_ORDER, "little")


def _code() -> Any:
    from alephtx.core import scalars_code

    return scalars_code


if JIT:
    ecdsa_s = Intrinsic(_code, "ecdsa_s")  # type: ignore[assignment]
    eddsa_s = Intrinsic(_code, "eddsa_s")  # type: ignore[assignment]
