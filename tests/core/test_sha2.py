"""SHA-2 against Python's own (OpenSSL), with the processor's instructions and with integers."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alephtx.core import sha2
from alephtx.core.kernel import JIT, kernel
from alephtx.core.sha2 import (
    BLOCK_256,
    START_256,
    START_512,
    compress_512,
    finish_256,
    take_blocks_256,
)

SIZES = (0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 4096)
pytestmark = pytest.mark.kernel


@kernel
def hash_256(state, data, size, before, scratch):
    return finish_256(state, data, size, before, scratch)


@kernel
def blocks_512(state, data, n):
    compress_512(state, data, 1, data + 128, n - 1)
    return 0


def digest_256(message, state=START_256, before=0):
    words = np.array(state, np.uint32)
    data, scratch = np.frombuffer(message + b"\xff", np.uint8), np.full(128, 0xEE, np.uint8)
    hash_256(words.ctypes.data, data.ctypes.data, len(message), before, scratch.ctypes.data)
    return words.astype(">u4").tobytes()


def padded_512(message):
    zeros = -(len(message) + 17) % 128
    return message + b"\x80" + bytes(zeros) + (8 * len(message)).to_bytes(16, "big")


def digest_512(message):
    words = np.array(START_512, np.uint64)
    data = np.frombuffer(padded_512(message), np.uint8)
    blocks_512(words.ctypes.data, data.ctypes.data, len(data) // 128)
    return words.astype(">u8").tobytes()


@pytest.mark.parametrize("size", SIZES)
def test_digest_at_every_edge_of_the_padding_equals_openssls(size):
    message = bytes(k * 7 % 251 for k in range(size))
    assert digest_256(message) == hashlib.sha256(message).digest()
    assert digest_512(message) == hashlib.sha512(message).digest()


@settings(max_examples=60)
@given(st.binary(max_size=700))
@example(bytes(64))
def test_digest_of_anything_equals_openssls(message):
    assert digest_256(message) == hashlib.sha256(message).digest()
    assert digest_512(message) == hashlib.sha512(message).digest()


def test_digest_from_a_midstate_equals_the_whole():
    head, tail = bytes(range(128)), b"and the rest"
    raw = take_blocks_256(START_256, head)
    state = tuple(np.frombuffer(raw, np.uint32).tolist())
    assert digest_256(tail, state, len(head)) == hashlib.sha256(head + tail).digest()
    assert len(head) % BLOCK_256 == 0


SCRIPT = """
import hashlib, json
import numpy as np
from alephtx.core import sha2
from alephtx.core.kernel import kernel
from alephtx.core.sha2 import START_256, finish_256

@kernel
def run(state, data, size, scratch):
    return finish_256(state, data, size, 0, scratch)

told = []
for size in (0, 1, 55, 56, 63, 64, 65, 4096):
    message = bytes(range(256)) * 16
    data, scratch = np.frombuffer(message, np.uint8), np.zeros(128, np.uint8)
    state = np.array(START_256, np.uint32)
    run(state.ctypes.data, data.ctypes.data, size, scratch.ctypes.data)
    told.append(state.astype(">u4").tobytes() == hashlib.sha256(message[:size]).digest())
print(json.dumps([sha2.HARDWARE_SHA256, told]))
"""


@pytest.mark.skipif(not JIT, reason="needs the compiler")
def test_processor_without_sha_instructions_gets_integers_and_the_same_digests():
    """An instruction that the target lacks ends the process while it is compiled."""
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    hardware, told = json.loads(done.stdout)
    assert not hardware
    assert all(told)


def test_constants_are_those_of_the_standard():
    """FIPS 180-4, 4.2.2 and 5.3.3: the first and the last of each table."""
    assert (sha2.ROUNDS_256[0], sha2.ROUNDS_256[-1]) == (0x428A2F98, 0xC67178F2)
    assert (sha2.ROUNDS_512[0], sha2.ROUNDS_512[-1]) == (0x428A2F98D728AE22, 0x6C44198C4A475817)
    assert (START_256[0], START_512[-1]) == (0x6A09E667, 0x5BE0CD19137E2179)
