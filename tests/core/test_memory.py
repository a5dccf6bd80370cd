"""Bytes and words by address: compiled and as Python, the same bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import memory
from alephtx.core.kernel import kernel
from alephtx.core.memory import (
    copy_bytes,
    fetch_far,
    fetch_line,
    load_big_half,
    load_big_word,
    load_byte,
    load_word,
    move_bytes,
    store_big_word,
    store_byte,
    store_word,
    wipe,
)

WORDS = st.integers(-(1 << 63), (1 << 63) - 1)
pytestmark = pytest.mark.kernel


@kernel
def write(address, value):
    store_word(address, value)
    store_big_word(address + 8, value)
    store_byte(address + 16, value)
    return 0


@kernel
def read(address, out):
    out[0], out[1] = load_word(address), load_big_word(address)
    out[2], out[3] = load_big_half(address), load_byte(address)
    return 0


@kernel
def shift(address, size, by):
    move_bytes(address + by, address, size)
    return 0


@kernel
def move(target, source, n):
    copy_bytes(target, source, n)
    wipe(source, n)
    return 0


@kernel
def ask(address):
    fetch_line(address)
    fetch_far(address)
    return load_byte(address) if address != 0 else -1


def test_line_asked_for_is_as_it_was_and_no_address_is_wrong():
    """Journals ask for lines beyond the end of their room."""
    raw = np.full(64, 0xAA, np.uint8)
    assert ask(raw.ctypes.data) == 0xAA
    assert raw.tobytes() == b"\xaa" * 64
    assert ask(0) == -1


@given(WORDS, st.integers(0, 7))
def test_word_written_anywhere_has_the_bytes_of_its_order(value, offset):
    raw = np.full(32, 0xAA, np.uint8)
    write(raw.ctypes.data + offset, value)
    written = raw[offset:].tobytes()
    assert written[:8] == value.to_bytes(8, "little", signed=True)
    assert written[8:16] == value.to_bytes(8, "big", signed=True)
    assert written[16] == value & 0xFF
    assert set(written[17:]) == {0xAA}, "nothing beyond is touched"


@given(st.binary(min_size=8, max_size=8), st.integers(0, 7))
def test_word_read_from_anywhere_is_what_stands_there(data, offset):
    raw = np.frombuffer(bytes(offset) + data, np.uint8)
    out = np.zeros(4, np.int64)
    read(raw.ctypes.data + offset, out)
    assert out.tolist() == [
        int.from_bytes(data, "little", signed=True), int.from_bytes(data, "big", signed=True),
        int.from_bytes(data[:4], "big"), data[0],
    ]  # fmt: skip


@given(st.binary(max_size=200))
def test_bytes_copied_are_the_bytes_and_bytes_wiped_are_zero(data):
    source = np.frombuffer(bytearray(data + b"tail"), np.uint8)
    target = np.full(len(data) + 4, 7, np.uint8)
    move(target.ctypes.data, source.ctypes.data, len(data))
    assert target.tobytes() == data + b"\7\7\7\7"
    assert source.tobytes() == bytes(len(data)) + b"tail"


@given(st.binary(min_size=1, max_size=200), st.integers(0, 50))
def test_bytes_move_over_themselves(data, by):
    place = np.frombuffer(bytearray(data + bytes(50)), np.uint8)
    shift(place.ctypes.data, len(data), by)
    assert place[by : by + len(data)].tobytes() == data


def test_twins_exist_for_every_function():
    """A module without a Python twin could not be imported with the JIT off."""
    names = [name for name in vars(memory) if name.startswith(("load_", "store_", "copy_"))]
    assert len(names) == 8
