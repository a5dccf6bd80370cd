"""Bytes and words of memory by address, for kernels that write frames, digests and signatures.

For memory that one thread owns; shared words go through `core.atomics`. Addresses need no
alignment, words are little-endian as the processor has them, `big` ones as the wire has them.
Nothing checks an address. Every function has a Python twin, used when the JIT is off.
"""

import ctypes
from typing import Any

from alephtx.core.kernel import JIT, Intrinsic

_MASK = (1 << 64) - 1


def load_byte(address: int) -> int:
    """Return the byte at an address, 0 .. 255."""
    return ctypes.c_uint8.from_address(int(address)).value


def store_byte(address: int, value: int) -> None:
    """Store the low eight bits of a value."""
    ctypes.c_uint8.from_address(int(address)).value = int(value) & 0xFF


def load_word(address: int) -> int:
    """Return the eight bytes at an address as a word."""
    return int.from_bytes(ctypes.string_at(int(address), 8), "little", signed=True)


def store_word(address: int, value: int) -> None:
    """Store a word."""
    ctypes.memmove(int(address), (int(value) & _MASK).to_bytes(8, "little"), 8)


def load_big_word(address: int) -> int:
    """Return the eight bytes at an address, the first as the highest."""
    return int.from_bytes(ctypes.string_at(int(address), 8), "big", signed=True)


def store_big_word(address: int, value: int) -> None:
    """Store a word, its highest byte first."""
    ctypes.memmove(int(address), (int(value) & _MASK).to_bytes(8, "big"), 8)


def load_big_half(address: int) -> int:
    """Return the four bytes at an address, the first as the highest, 0 .. 2^32 - 1."""
    return int.from_bytes(ctypes.string_at(int(address), 4), "big")


def copy_bytes(target: int, source: int, size: int) -> None:
    """Copy bytes from one place to another that it does not overlap."""
    ctypes.memmove(int(target), int(source), int(size))


def move_bytes(target: int, source: int, size: int) -> None:
    """Copy bytes between places that may overlap."""
    ctypes.memmove(int(target), int(source), int(size))


def fetch_line(address: int) -> None:
    """Ask for the cache line at an address, which will soon be written; any address will do."""


def fetch_far(address: int) -> None:
    """Ask for the cache line at an address, to be read some time, into all but the nearest cache.

    Any address will do.
    """


def wipe(address: int, size: int) -> None:
    """Overwrite bytes with zeros; the compiler may not leave it out, whoever reads them after."""
    ctypes.memset(int(address), 0, int(size))


def _code() -> Any:
    from alephtx.core import memory_code

    return memory_code


if JIT:
    load_byte = Intrinsic(_code, "load_byte")  # type: ignore[assignment]
    store_byte = Intrinsic(_code, "store_byte")  # type: ignore[assignment]
    load_word = Intrinsic(_code, "load_word")  # type: ignore[assignment]
    store_word = Intrinsic(_code, "store_word")  # type: ignore[assignment]
    load_big_word = Intrinsic(_code, "load_big_word")  # type: ignore[assignment]
    store_big_word = Intrinsic(_code, "store_big_word")  # type: ignore[assignment]
    load_big_half = Intrinsic(_code, "load_big_half")  # type: ignore[assignment]
    copy_bytes = Intrinsic(_code, "copy_bytes")  # type: ignore[assignment]
    move_bytes = Intrinsic(_code, "move_bytes")  # type: ignore[assignment]
    fetch_line = Intrinsic(_code, "fetch_line")  # type: ignore[assignment]
    fetch_far = Intrinsic(_code, "fetch_far")  # type: ignore[assignment]
    wipe = Intrinsic(_code, "wipe")  # type: ignore[assignment]
