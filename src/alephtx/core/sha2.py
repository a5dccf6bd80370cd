"""SHA-256 and SHA-512 over memory at an address: the compression of whole blocks, and a finish.

A state is the eight words of the standard, of 32 or 64 bits, as the processor stores them. Where
the target has SHA instructions, SHA-256 uses them: 0.05 us a block (measured), else 0.25.
Source: FIPS 180-4.
"""

import ctypes
import os
from typing import Any

from llvmlite import binding

from alephtx.core.atomics import stay_apart
from alephtx.core.kernel import JIT, Int, Intrinsic, kernel
from alephtx.core.memory import copy_bytes, load_word, store_big_word, store_byte, wipe

BLOCK_256, BLOCK_512 = 64, 128


def _primes(n: int) -> list[int]:
    found: list[int] = []
    one = 2
    while len(found) < n:
        if all(one % prime for prime in found):
            found.append(one)
        one += 1
    return found


def _root(value: int, power: int) -> int:
    """Return the integer root of a value, by Newton's steps from above."""
    root = 1 << -(-value.bit_length() // power)
    while (lower := ((power - 1) * root + value // root ** (power - 1)) // power) < root:
        root = lower
    return root


def _fractions(n: int, power: int, bits: int) -> tuple[int, ...]:
    """Return the first bits of the fractions of the roots of the first n primes."""
    mask = (1 << bits) - 1
    return tuple(_root(prime << power * bits, power) & mask for prime in _primes(n))


START_256, START_512 = _fractions(8, 2, 32), _fractions(8, 2, 64)
ROUNDS_256, ROUNDS_512 = _fractions(64, 3, 32), _fractions(80, 3, 64)
SHIFTS_256 = ((2, 13, 22), (6, 11, 25), (7, 18, 3), (17, 19, 10))
SHIFTS_512 = ((28, 34, 39), (14, 18, 41), (1, 8, 7), (19, 61, 6))
"""Rotations of the two big sums; two rotations and a shift of each small one."""


def _compress(bits: int, state: int, data: int, blocks: int) -> None:
    size = bits // 8
    mask = (1 << bits) - 1
    constants, shifts = (ROUNDS_256, SHIFTS_256) if bits == 32 else (ROUNDS_512, SHIFTS_512)

    def turned(x: int, n: int) -> int:
        return (x >> n | x << bits - n) & mask

    def big(x: int, by: tuple[int, ...]) -> int:
        return turned(x, by[0]) ^ turned(x, by[1]) ^ turned(x, by[2])

    def small(x: int, by: tuple[int, ...]) -> int:
        return turned(x, by[0]) ^ turned(x, by[1]) ^ x >> by[2]

    raw = ctypes.string_at(state, 8 * size)
    h = [int.from_bytes(raw[k : k + size], "little") for k in range(0, 8 * size, size)]
    for block in range(blocks):
        raw = ctypes.string_at(data + block * 16 * size, 16 * size)
        w = [int.from_bytes(raw[k : k + size], "big") for k in range(0, 16 * size, size)]
        for t in range(16, len(constants)):
            w.append(w[t - 16] + small(w[t - 15], shifts[2]) + w[t - 7]
                     + small(w[t - 2], shifts[3]) & mask)  # fmt: skip
        a, b, c, d, e, f, g, last = h
        for word, constant in zip(w, constants, strict=True):
            one = last + big(e, shifts[1]) + (e & f ^ ~e & g) + constant + word
            two = big(a, shifts[0]) + (a & b ^ a & c ^ b & c)
            a, b, c, d, e, f, g, last = (one + two) & mask, a, b, c, (d + one) & mask, e, f, g
        h = [(x + y) & mask for x, y in zip(h, (a, b, c, d, e, f, g, last), strict=True)]
    ctypes.memmove(state, b"".join(x.to_bytes(size, "little") for x in h), 8 * size)


def take_blocks_256(state: tuple[int, ...], data: bytes) -> bytes:
    """Return the state after whole blocks as memory has it; in Python, for what is done once."""
    memory = ctypes.create_string_buffer(b"".join(x.to_bytes(4, "little") for x in state), 32)
    given = ctypes.create_string_buffer(data, len(data))
    _compress(32, ctypes.addressof(memory), ctypes.addressof(given), len(data) // BLOCK_256)
    ctypes.memset(given, 0, len(data))
    return memory.raw


def compress_256(state: int, data: int, blocks: int, tail: int, more: int) -> None:
    """Take blocks of 64 bytes, then more of them at tail, into the state of SHA-256."""
    _compress(32, int(state), int(data), int(blocks))
    _compress(32, int(state), int(tail), int(more))


def compress_512(state: int, data: int, blocks: int, tail: int, more: int) -> None:
    """Take blocks of 128 bytes, then more of them at tail, into the state of SHA-512."""
    _compress(64, int(state), int(data), int(blocks))
    _compress(64, int(state), int(tail), int(more))


def _digest_256(state: int) -> bytes:
    raw = ctypes.string_at(int(state), 32)
    return b"".join(raw[k : k + 4][::-1] for k in range(0, 32, 4))


def digest_256(state: int, out: int) -> None:
    """Write the 32 bytes that a finished state stands for."""
    ctypes.memmove(int(out), _digest_256(state), 32)


def digest_hex_256(state: int, out: int) -> None:
    """Write the same as 64 lower-case hex digits."""
    ctypes.memmove(int(out), _digest_256(state).hex().encode(), 64)


HARDWARE_SHA256 = False
"""True where `compress_256` is the processor's own instructions."""


def _code() -> Any:
    from alephtx.core import sha2_code

    return sha2_code


def _has_sha() -> bool:
    if os.environ.get("NUMBA_CPU_NAME") or os.environ.get("NUMBA_CPU_FEATURES"):
        return False  # compiling for another processor than this one, which may lack them
    features = binding.get_host_cpu_features()
    wanted = ("sha", "ssse3", "sse4.1")
    on_x86 = binding.get_default_triple().startswith("x86_64")
    return on_x86 and all(features.get(name) for name in wanted)


if JIT:
    HARDWARE_SHA256 = _has_sha()
    compress_256 = Intrinsic(_code, "compress_256_sha" if HARDWARE_SHA256 else "compress_256")  # type: ignore[assignment]
    compress_512 = Intrinsic(_code, "compress_512")  # type: ignore[assignment]
    digest_256 = Intrinsic(_code, "digest_256")  # type: ignore[assignment]
    digest_hex_256 = Intrinsic(_code, "digest_hex_256")  # type: ignore[assignment]


@kernel
def hash_blocks_256(state: Int, data: Int, blocks: Int, tail: Int, more: Int) -> int:
    """Take blocks into a state of SHA-256, in a function of its own: its code stands once."""
    stay_apart()
    compress_256(state, data, blocks, tail, more)
    return 0


@kernel
def hash_blocks_512(state: Int, data: Int, blocks: Int, tail: Int, more: Int) -> int:
    """Take blocks into a state of SHA-512; expanded five times it compiled for seconds."""
    stay_apart()
    compress_512(state, data, blocks, tail, more)
    return 0


@kernel
def finish_256(state: Int, data: Int, size: Int, before: Int, scratch: Int) -> int:
    """Take the last bytes of a message into a state of SHA-256, padding and length included.

    before: bytes that the state has seen, whole blocks of them. scratch: 128 bytes to work in.
    The end is written out first: read as vectors right after, its bytes would not be in the cache
    yet, and a load that spans several stores waits for them.
    """
    whole, rest = size >> 6, size & 63
    wipe(scratch, 128)
    copy_bytes(scratch, data + (whole << 6), rest)
    store_byte(scratch + rest, 0x80)
    blocks = 1 if rest < 56 else 2
    store_big_word(scratch + (blocks << 6) - 8, (before + size) << 3)
    hash_blocks_256(state, data, whole, scratch, blocks)
    return 0


@kernel
def finish_512(state: Int, data: Int, size: Int, before: Int, scratch: Int) -> int:
    """Take the last bytes of a message into a state of SHA-512; see `finish_256`.

    scratch: 256 bytes to work in.
    """
    whole, rest = size >> 7, size & 127
    wipe(scratch, 256)
    copy_bytes(scratch, data + (whole << 7), rest)
    store_byte(scratch + rest, 0x80)
    blocks = 1 if rest < 112 else 2
    store_big_word(scratch + (blocks << 7) - 8, (before + size) << 3)
    hash_blocks_512(state, data, whole, scratch, blocks)
    return 0


@kernel
def digest_512(state: Int, out: Int) -> int:
    """Write the 64 bytes that a finished state stands for."""
    for k in range(0, 64, 8):
        store_big_word(out + k, load_word(state + k))
    return 0
