"""Text into memory from kernels: exact decimals, whole numbers, order ids and hex digits.

Every function writes at an address and returns the address after what it wrote. Texts are copied in
blocks, so what is copied and what is written to have BLOCK bytes of slack behind their end. About
4 ns a copy of up to a block, 10 ns a number.
"""

import ctypes
from typing import Any

import numpy as np

from alephtx.core.atomics import highest_bit
from alephtx.core.identity import PREFIX
from alephtx.core.kernel import JIT, Int, Intrinsic, kernel
from alephtx.core.packed import rows_at

Rows = np.ndarray[Any, Any]

BLOCK = 32
"""Bytes copied at a time, and so the slack behind texts and buffers."""

HEX_BLOCK = 16
"""Bytes written as hex digits at a time."""

BYTES = np.zeros(1, np.uint8)
"""Sample of the memory that is written to."""

DIGITS_MAX = 19
ORDER_TEXT = len(PREFIX) + 13
"""Characters of an order id's text; see `identity.to_text`."""

_TEN = np.array([10**k for k in range(DIGITS_MAX)], np.int64)
_PAIRS = np.frombuffer("".join(f"{k:02}" for k in range(100)).encode(), np.uint8)
_THIRTY_SIX = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS_36 = np.frombuffer("".join(a + b for a in _THIRTY_SIX for b in _THIRTY_SIX).encode(), "u1")
_HEX = np.frombuffer("".join(f"{k:02x}" for k in range(256)).encode(), np.uint8)
_POINT, _ZERO = 46, 48
_FIRST, _SECOND = PREFIX.encode()


def copy_block(to: int, source: int) -> None:
    """Copy BLOCK bytes from one address to another."""
    ctypes.memmove(int(to), int(source), BLOCK)


def hex_block(to: int, source: int) -> None:
    """Write HEX_BLOCK bytes at an address as hex digits."""
    ctypes.memmove(int(to), ctypes.string_at(int(source), HEX_BLOCK).hex().encode(), 2 * HEX_BLOCK)


def hex_word(to: int, value: int) -> None:
    """Write a 64-bit word as 16 hex digits."""
    ctypes.memmove(int(to), f"{int(value) & (1 << 64) - 1:016x}".encode(), 16)


def _code() -> Any:
    from alephtx.core import text_code

    return text_code


if JIT:
    copy_block = Intrinsic(_code, "copy_block")  # type: ignore[assignment]
    hex_block = Intrinsic(_code, "hex_block")  # type: ignore[assignment]
    hex_word = Intrinsic(_code, "hex_word")  # type: ignore[assignment]


@kernel
def copy_text(to: Int, source: Int, n: Int) -> int:
    """Copy n bytes, and rubbish up to the end of the last block behind them."""
    k = 0
    while k < n:
        copy_block(to + k, source + k)
        k += BLOCK
    return to + n


def make_pieces(texts: list[bytes]) -> tuple[Rows, Rows]:
    """Return constant texts end to end, and where each is: two int64 words, offset and length."""
    starts = np.cumsum([0, *map(len, texts)])
    table = np.array([(starts[k], len(one)) for k, one in enumerate(texts)], np.int64)
    return np.frombuffer(b"".join(texts) + bytes(BLOCK), np.uint8), table.ravel()


@kernel
def put_piece(at: Int, text: Int, table: Rows, k: Int) -> int:
    """Write constant text k of `make_pieces`; text: the address of all of them."""
    return copy_text(at, text + table[2 * k], table[2 * k + 1])


@kernel
def copy_bytes(to: Int, source: Int, n: Int) -> int:
    """Copy n bytes and not one more: of what has no slack behind it."""
    out, seen = rows_at(to, n, BYTES), rows_at(source, n, BYTES)
    for k in range(n):
        out[k] = seen[k]
    return to + n


@kernel
def digits_of(value: Int) -> int:
    """Return how many decimal digits a number of 0 .. 2^63 - 1 has."""
    odd = value | 1  # has as many, and is not 0
    n = ((highest_bit(odd) + 1) * 1233) >> 12  # log10(2) = 1233 / 4096, a little less
    return n + (1 if odd >= _TEN[n] else 0)


@kernel
def _put_digits(at: Int, value: Int, n: Int) -> Int:
    """Write the last n digits of a number, zeros in front included; return the rest of it."""
    out = rows_at(at, n, BYTES)
    # Unsigned, because Python's way with negative numbers is six instructions more a digit.
    rest = np.uint64(value)
    k = n
    while k >= 2:
        shorter = rest // np.uint64(100)
        pair = np.int64(rest - shorter * np.uint64(100)) * 2
        out[k - 2] = _PAIRS[pair]
        out[k - 1] = _PAIRS[pair + 1]
        rest = shorter
        k -= 2
    if k == 1:
        shorter = rest // np.uint64(10)
        out[0] = _ZERO + np.int64(rest - shorter * np.uint64(10))
        rest = shorter
    return np.int64(rest)


@kernel
def put_integer(at: Int, value: Int) -> int:
    """Write a number of 0 .. 2^63 - 1 in decimal digits."""
    n = digits_of(value)
    _put_digits(at, value, n)
    return at + n


@kernel
def put_decimal(at: Int, value: Int, scale: Int) -> int:
    """Write an integer of 10^-scale as `units.format_scaled(value, scale, trim=True)`.

    value: 0 .. 2^63 - 1; scale: 0 .. 18. At most 20 characters.
    """
    rest = np.uint64(value)
    decimals = scale
    while decimals > 0:
        shorter = rest // np.uint64(10)
        if shorter * np.uint64(10) != rest:
            break
        rest = shorter
        decimals -= 1
    value = np.int64(rest)
    if decimals == 0:
        return put_integer(at, value)
    whole = max(digits_of(value) - decimals, 1)
    value = _put_digits(at + whole + 1, value, decimals)
    _put_digits(at, value, whole)
    rows_at(at, whole + 1, BYTES)[whole] = _POINT
    return at + whole + 1 + decimals


@kernel
def put_order_text(at: Int, order_id: Int) -> int:
    """Write an order id of 1 .. 2^63 - 1 as `identity.to_text`: ORDER_TEXT characters."""
    out = rows_at(at, ORDER_TEXT, BYTES)
    out[0] = _FIRST
    out[1] = _SECOND
    rest = np.uint64(order_id)
    k = ORDER_TEXT
    while k > 3:
        shorter = rest // np.uint64(1296)
        pair = np.int64(rest - shorter * np.uint64(1296)) * 2
        out[k - 2] = _PAIRS_36[pair]
        out[k - 1] = _PAIRS_36[pair + 1]
        rest = shorter
        k -= 2
    out[2] = _PAIRS_36[np.int64(rest) * 2 + 1]
    return at + ORDER_TEXT


@kernel
def put_hex(at: Int, source: Int, n: Int) -> int:
    """Write n bytes at an address as 2n lower-case hex digits."""
    out, seen = rows_at(at, 2 * n, BYTES), rows_at(source, n, BYTES)
    blocks = n // HEX_BLOCK
    for k in range(blocks):
        hex_block(at + 2 * HEX_BLOCK * k, source + HEX_BLOCK * k)
    for k in range(blocks * HEX_BLOCK, n):
        pair = np.int64(seen[k]) * 2
        out[2 * k] = _HEX[pair]
        out[2 * k + 1] = _HEX[pair + 1]
    return at + 2 * n


@kernel
def put_hex_word(at: Int, value: Int) -> int:
    """Write a 64-bit word as 16 lower-case hex digits."""
    hex_word(at, value)
    return at + 16


@kernel
def put_word(at: Int, value: Int) -> int:
    """Write a 64-bit word as eight bytes, the highest first."""
    out = rows_at(at, 8, BYTES)
    for k in range(8):
        out[k] = (value >> (56 - 8 * k)) & 255
    return at + 8
