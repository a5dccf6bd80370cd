"""Acquire/release access to shared words by address, and the few other things LLVM does for us.

Plain NumPy access to memory that another process writes tears, even on x86 (measured: LLVM merges
and reorders it), so shared words are touched only through these. Addresses are int64. Every
function has a Python twin, used when the JIT is off: a CPython load or store of an aligned 8-byte
word is a single machine access, which is enough for tests on one machine.
"""

import ctypes
import os
import time
from typing import Any

from llvmlite import binding

from alephtx.core.kernel import JIT, Intrinsic

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def load_acquire(address: int) -> int:
    """Load a word; nothing after it moves before it."""
    return ctypes.c_int64.from_address(int(address)).value


def store_release(address: int, value: int) -> None:
    """Store a word; nothing before it moves after it."""
    ctypes.c_int64.from_address(int(address)).value = int(value)


def load_relaxed(address: int) -> int:
    """Load a word whole, in no particular order."""
    return ctypes.c_int64.from_address(int(address)).value


def store_relaxed(address: int, value: int) -> None:
    """Store a word whole, in no particular order."""
    ctypes.c_int64.from_address(int(address)).value = int(value)


def compare_exchange(address: int, expected: int, wanted: int) -> int:
    """Store wanted if the word is expected; return what it was. The Python twin is not atomic."""
    word = ctypes.c_int64.from_address(int(address))
    before = word.value
    if before == expected:
        word.value = int(wanted)
    return before


def highest_bit(word: int) -> int:
    """Return the number of the highest set bit of a word in 1 .. 2^63 - 1."""
    return int(word).bit_length() - 1


def crc32c_step(crc: int, word: int) -> int:
    """Return the CRC-32C state after the eight bytes of a little-endian word."""
    for shift in range(0, 64, 8):
        crc ^= (int(word) >> shift) & 0xFF
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def fence_acquire() -> None:
    """Order earlier loads before everything that follows."""


def fence_release() -> None:
    """Order everything before ahead of later stores."""


def pause() -> None:
    """Tell the core that this is a spin loop."""


def stay_apart() -> None:
    """Keep the kernel that says this a function of its own: its loop needs the registers."""


def monotonic_ns() -> int:
    """Read CLOCK_MONOTONIC; 22 ns."""
    return time.monotonic_ns()


def cycles() -> int:
    """Read the core's steady counter when all before it is done; some 15 ns.

    Its unit is the machine's: compare with `monotonic_ns` over a longer time. The same on all cores
    where the kernel's clock is made of it.
    """
    return time.perf_counter_ns()


def multiply_wide(a: int, b: int) -> tuple[int, int]:
    """Return the signed 128-bit product as (high, low) words."""
    product = int(a) * int(b)
    return _signed(product >> 64), _signed(product)


HARDWARE_CRC = False
"""True where `crc32c_step` is one machine instruction; elsewhere kernels use their own table."""


def _code() -> Any:
    from alephtx.core import atomics_code

    return atomics_code


def _has_crc() -> bool:
    if os.environ.get("NUMBA_CPU_NAME"):  # compiling for another processor than this one
        return False
    triple, features = binding.get_default_triple(), binding.get_host_cpu_features()
    if triple.startswith("x86_64"):
        return bool(features.get("sse4.2"))
    return triple.startswith(("aarch64", "arm64")) and bool(features.get("crc"))


if JIT:
    HARDWARE_CRC = _has_crc()
    crc32c_step = Intrinsic(_code, "crc32c_step")  # type: ignore[assignment]
    load_acquire = Intrinsic(_code, "load_acquire")  # type: ignore[assignment]
    load_relaxed = Intrinsic(_code, "load_relaxed")  # type: ignore[assignment]
    store_release = Intrinsic(_code, "store_release")  # type: ignore[assignment]
    store_relaxed = Intrinsic(_code, "store_relaxed")  # type: ignore[assignment]
    compare_exchange = Intrinsic(_code, "compare_exchange")  # type: ignore[assignment]
    highest_bit = Intrinsic(_code, "highest_bit")  # type: ignore[assignment]
    fence_acquire = Intrinsic(_code, "fence_acquire")  # type: ignore[assignment]
    fence_release = Intrinsic(_code, "fence_release")  # type: ignore[assignment]
    pause = Intrinsic(_code, "pause")  # type: ignore[assignment]
    stay_apart = Intrinsic(_code, "stay_apart")  # type: ignore[assignment]
    monotonic_ns = Intrinsic(_code, "monotonic_ns")  # type: ignore[assignment]
    cycles = Intrinsic(_code, "cycles")  # type: ignore[assignment]
    multiply_wide = Intrinsic(_code, "multiply_wide")  # type: ignore[assignment]
