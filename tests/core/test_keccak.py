"""Keccak-256 against PyCryptodome's."""

import os
import subprocess
import sys

import numpy as np
import pytest
from Crypto.Hash import keccak as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.keccak import (
    CONSTANTS,
    RATE,
    STATE_BYTES,
    keccak_256,
    keccak_padded,
    padded,
    permute,
)
from alephtx.core.kernel import JIT, kernel

pytestmark = pytest.mark.kernel


@kernel
def run(state, data, size, out):
    return keccak_256(state, data, size, out)


def digest(message):
    state, out = np.full(336, 0xEE, np.uint8), np.zeros(40, np.uint8)
    data = np.frombuffer(message + b"\xff", np.uint8)
    run(state.ctypes.data, data.ctypes.data, len(message), out.ctypes.data)
    assert not out[32:].any(), "32 bytes and no more"
    return out[:32].tobytes()


def expected(message):
    return theirs.new(digest_bits=256, data=message).digest()


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, RATE - 1, RATE, RATE + 1, 272, 4096])
def test_digest_at_every_edge_of_the_padding_equals_the_librarys(size):
    message = bytes(k * 13 % 251 for k in range(size))
    assert digest(message) == expected(message)


@settings(max_examples=60)
@given(st.binary(max_size=600))
def test_digest_of_anything_equals_the_librarys(message):
    assert digest(message) == expected(message)


@kernel
def run_padded(state, last, out):
    return keccak_padded(state, 0, 0, last, out)


@pytest.mark.parametrize("head", [0, 34, 64, RATE - 33])
def test_message_that_lies_padded_already_has_the_librarys_digest(head):
    """The rest is written behind its head, as a kernel does: here of a digest's 32 bytes."""
    message = bytes(k * 7 % 253 for k in range(head + 32))
    block = np.frombuffer(padded(message[:head], 32), np.uint8).copy()
    assert not block[head : head + 32].any()
    block[head : head + 32] = np.frombuffer(message[head:], np.uint8)
    state, out = np.full(STATE_BYTES, 0xEE, np.uint8), np.zeros(32, np.uint8)
    run_padded(state.ctypes.data, block.ctypes.data, out.ctypes.data)
    assert out.tobytes() == expected(message)


@kernel
def run_permute(state):
    permute(state)
    return 0


def test_permutation_touches_the_state_and_nothing_behind_it():
    """Rows of five words are kept in vectors of eight."""
    memory = np.zeros(STATE_BYTES + 128, np.uint8)
    memory[STATE_BYTES:] = 0xEE
    run_permute(memory.ctypes.data)
    assert int(memory[:8].view(np.uint64)[0]) == 0xF1258F7940E1DDE7  # of the reference's zero state
    assert int(memory[192:200].view(np.uint64)[0]) == 0xEAF1FF7B5CECA249
    assert (memory[STATE_BYTES:] == 0xEE).all()


SCRIPT = """
import numpy as np
from alephtx.core.keccak import keccak_256
from alephtx.core.kernel import kernel

@kernel
def run(state, data, size, out):
    return keccak_256(state, data, size, out)

message = bytes(range(256)) + bytes(range(44))
data, state, out = np.frombuffer(message, np.uint8), np.zeros(336, np.uint8), np.zeros(32, np.uint8)
run(state.ctypes.data, data.ctypes.data, len(message), out.ctypes.data)
print(out.tobytes().hex())
"""


@pytest.mark.skipif(not JIT, reason="needs the compiler")
def test_processor_without_wide_registers_gets_words_and_the_same_digest():
    """Rows are vectors where that is quicker; what the other machines get runs nowhere else."""
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected(bytes(range(256)) + bytes(range(44))).hex()


def test_constants_are_those_of_the_reference():
    assert CONSTANTS[:3] == (1, 0x8082, 0x800000000000808A)
    assert CONSTANTS[-1] == 0x8000000080008008
