"""CRC-32C (Castagnoli), the checksum of journal records; RFC 3720, appendix B.4 has its vectors.

One machine instruction a word where there is one (about 8 GB/s), else slicing by eight, a word and
eight table look-ups at a time (about 1.5 GB/s). The kernels work on the inner state; `START` and a
final xor with `START` make it the standard checksum.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import HARDWARE_CRC, crc32c_step, load_relaxed
from alephtx.core.kernel import kernel

POLYNOMIAL = 0x82F63B78
START = 0xFFFFFFFF


def _tables() -> np.ndarray[Any, Any]:
    table = np.zeros((8, 256), np.int64)
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        table[0, value] = crc
    for row in range(1, 8):
        table[row] = table[row - 1] >> 8 ^ table[0][table[row - 1] & 0xFF]
    return table


TABLE = _tables()


@kernel
def table_word(crc: int, word: int) -> int:
    """Return the state after the eight bytes of a little-endian word, by table."""
    low = crc ^ (word & 0xFFFFFFFF)
    high = (word >> 32) & 0xFFFFFFFF
    return (
        TABLE[7, low & 0xFF]
        ^ TABLE[6, low >> 8 & 0xFF]
        ^ TABLE[5, low >> 16 & 0xFF]
        ^ TABLE[4, low >> 24]
        ^ TABLE[3, high & 0xFF]
        ^ TABLE[2, high >> 8 & 0xFF]
        ^ TABLE[1, high >> 16 & 0xFF]
        ^ TABLE[0, high >> 24]
    )


@kernel
def crc_word(crc: int, word: int) -> int:
    """Return the state after the eight bytes of a little-endian word, the quickest way."""
    # A constant when compiled: only one of the two is left in the machine code.
    return crc32c_step(crc, word) if HARDWARE_CRC else table_word(crc, word)


@kernel
def crc_words(crc: int, address: int, count: int) -> int:
    """Return the state after count words of memory; the address is aligned to 8."""
    for k in range(count):
        crc = crc_word(crc, load_relaxed(address + 8 * k))
    return crc


@kernel
def _crc_bytes(crc: int, data: np.ndarray[Any, Any]) -> int:
    for k in range(len(data)):
        crc = crc >> 8 ^ TABLE[0, (crc ^ np.int64(data[k])) & 0xFF]
    return crc


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """Return the standard checksum of any bytes; about 0.3 GB/s, for headers."""
    return int(_crc_bytes(START, np.frombuffer(data, np.uint8))) ^ START
