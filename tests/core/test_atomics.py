"""The words of shared memory, from compiled code and from Python: the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import atomics
from alephtx.core.atomics import (
    compare_exchange,
    cycles,
    fence_acquire,
    fence_release,
    highest_bit,
    load_acquire,
    load_relaxed,
    monotonic_ns,
    multiply_wide,
    pause,
    store_relaxed,
    store_release,
)
from alephtx.core.clock import MachineClock
from alephtx.core.kernel import kernel

WORDS = st.integers(-(1 << 63), (1 << 63) - 1)
pytestmark = pytest.mark.kernel


@kernel
def swap_through_all(address, other, value):
    """Store one word with release, copy it relaxed to another, and return that acquired."""
    store_release(address, value)
    fence_release()
    store_relaxed(other, load_relaxed(address))
    fence_acquire()
    pause()
    return load_acquire(other)


@kernel
def exchange(address, expected, wanted):
    return compare_exchange(address, expected, wanted)


@kernel
def product(a, b):
    return multiply_wide(a, b)


@kernel
def top_bit(word):
    return highest_bit(word)


@kernel
def steady():
    return cycles()


@kernel
def now():
    return monotonic_ns()


@given(WORDS)
def test_word_stored_is_the_word_loaded(value):
    words = np.zeros(2, np.int64)
    address = words.ctypes.data
    assert swap_through_all(address, address + 8, value) == value
    assert words.tolist() == [value, value]


@given(WORDS, WORDS, WORDS)
def test_compare_exchange_stores_only_where_it_expected_what_was_there(held, expected, wanted):
    words = np.array([held], np.int64)
    assert exchange(words.ctypes.data, expected, wanted) == held
    assert words[0] == (wanted if held == expected else held)
    now_held = int(words[0])
    assert exchange(words.ctypes.data, now_held, 7) == now_held
    assert words[0] == 7


@given(WORDS, WORDS)
def test_wide_product_is_exact(a, b):
    high, low = product(a, b)
    assert (int(high) << 64) + (int(low) % (1 << 64)) == a * b


@given(st.integers(1, (1 << 63) - 1))
def test_highest_bit_is_that_of_the_integer(word):
    assert top_bit(word) == word.bit_length() - 1


def test_monotonic_clock_is_the_one_of_python():
    clock = MachineClock()
    times = [clock.monotonic(), now(), clock.monotonic(), now()]
    assert times == sorted(times)


def test_signed_wraps_as_the_machine_does():
    for value in (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -1):
        assert atomics._signed(value) == int(
            np.array([value % (1 << 64)], np.uint64).astype("i8")[0]
        )


@kernel
def clock_often(times):
    """Read the clock in one long loop; returns the time between the first and last reading."""
    first = monotonic_ns()
    last = first
    for _ in range(times):
        last = monotonic_ns()
    return last - first


def test_clock_read_in_a_long_loop_takes_no_stack():
    """Half a million readings in one call once overflowed the stack and killed the process."""
    assert clock_often(1_500_000) > 0


def test_the_steady_counter_grows_with_the_clock():
    """A bench turns its difference into ns by this very comparison."""
    first, began = steady(), now()
    while now() - began < 2_000_000:
        pass
    counted, passed = steady() - first, now() - began
    assert steady() > first
    assert 0.005 < counted / passed < 20, "between a 24 MHz timer and a 5 GHz core"
