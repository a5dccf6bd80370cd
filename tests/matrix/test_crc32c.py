"""CRC-32C against the vectors of RFC 3720 and against the definition, bit by bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.kernel import kernel
from alephtx.matrix.crc32c import START, crc32c, crc_word, crc_words, table_word

RFC_3720 = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
            "0200000000000000"
        ),
        0xD9963A56,
    ),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


def bitwise(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@kernel
def words_crc(address: int, count: int) -> int:
    return crc_words(START, address, count) ^ START


@pytest.mark.kernel
@pytest.mark.smoke
@pytest.mark.parametrize(("data", "expected"), RFC_3720)
def test_crc_of_published_vectors_is_as_published(data, expected):
    assert bitwise(data) == expected
    assert crc32c(data) == expected


@pytest.mark.kernel
@settings(max_examples=40)
@given(st.binary(max_size=96))
def test_crc_of_words_equals_the_definition(data):
    padded = np.frombuffer(data.ljust(-(-len(data) // 8) * 8, b"\0"), np.int64).copy()
    expected = bitwise(padded.tobytes())
    assert words_crc(padded.ctypes.data, len(padded)) == expected
    assert crc32c(padded.tobytes()) == expected
    assert crc32c(memoryview(data)) == bitwise(data)


@pytest.mark.kernel
@given(st.integers(0, 63), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, START))
def test_crc_of_a_word_notices_every_bit(bit, word, state):
    flipped = word ^ (-(1 << 63) if bit == 63 else 1 << bit)
    assert int(crc_word(state, word)) != int(crc_word(state, flipped))
    assert int(crc_word(state, word)) == int(table_word(state, word))


def test_plain_step_equals_the_table():
    """The un-jitted twin of the machine instruction; run where kernels are plain Python, too."""
    code = (
        "from alephtx.core.atomics import HARDWARE_CRC, crc32c_step\n"
        "from alephtx.matrix.crc32c import table_word\n"
        "assert not HARDWARE_CRC\n"
        "for word in (0, 1, -1, 77 << 40, -(1 << 63)):\n"
        "    assert crc32c_step(12345, word) == int(table_word(12345, word))\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
