"""The lossless ring: order kept, nothing lost, nothing invented, full is said."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import MatrixError
from alephtx.core.kernel import kernel
from alephtx.core.records import UPDATE
from alephtx.matrix.spsc import (
    Spsc,
    spsc_bytes,
    spsc_pop,
    spsc_push,
    spsc_size,
    spsc_take,
    spsc_waits,
)

pytestmark = pytest.mark.kernel


def row_of(value):
    row = np.zeros(1, UPDATE)
    row["order_id"], row["group_id"], row["leaves_qty"] = value, -value, value * 3
    return row


@pytest.mark.smoke
def test_rows_come_out_as_they_went_in():
    ring, out = Spsc(UPDATE.itemsize, 4), np.zeros(1, UPDATE)
    assert not ring.pop(out)
    assert all(ring.push(row_of(value)) for value in range(4))
    assert not ring.push(row_of(9)), "full"
    assert len(ring) == 4
    for value in range(4):
        assert ring.pop(out)
        assert out == row_of(value)
    assert not ring.pop(out)
    assert ring.push(row_of(5)[0]), "a record is as good as a row"
    assert len(ring) == 1


def test_many_are_taken_in_one_call_in_their_order_and_no_more_than_asked_for():
    ring, out = Spsc(UPDATE.itemsize, 4), np.zeros(4, UPDATE)
    for turn in range(0, 9, 3):  # across the ring's end
        assert all(ring.push(row_of(turn + k)) for k in range(3))
        assert spsc_take(ring.address, out.ctypes.data, 2) == 2
        assert out["order_id"].tolist()[:2] == [turn, turn + 1]
        assert spsc_take(ring.address, out.ctypes.data, 4) == 1
        assert out["leaves_qty"][0] == (turn + 2) * 3
    assert spsc_take(ring.address, out.ctypes.data, 4) == 0


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=40),
    capacity=st.sampled_from([2, 4, 8]),
    words=st.integers(1, 5),
)
def test_ring_equals_a_bounded_deque(steps, capacity, words):
    ring, model, value = Spsc(words * 8, capacity), deque(), 0
    row, out = np.zeros(words, np.int64), np.zeros(words, np.int64)
    for pushing, times in steps:
        for _ in range(times):
            if pushing:
                row[:] = value
                assert spsc_push(ring.address, row.ctypes.data) == (len(model) < capacity)
                if len(model) < capacity:
                    model.append(value)
                value += 1
            else:
                got = spsc_pop(ring.address, out.ctypes.data)
                assert got == bool(model)
                if got:
                    assert out.tolist() == [model.popleft()] * words
            assert spsc_size(ring.address) == len(model)


@pytest.mark.parametrize("record_bytes", [0, -8, 7, 12, 1 << 20])
def test_record_size_that_cannot_be_is_refused(record_bytes):
    with pytest.raises(MatrixError, match="multiple of 8"):
        Spsc(record_bytes, 8)


@pytest.mark.parametrize("capacity", [0, 1, 3, -4, 1 << 40])
def test_capacity_that_cannot_be_is_refused(capacity):
    with pytest.raises(MatrixError, match="power of two"):
        Spsc(8, capacity)


def test_row_of_other_size_is_refused():
    ring = Spsc(UPDATE.itemsize, 4)
    with pytest.raises(MatrixError, match="a row of 8 bytes"):
        ring.push(np.zeros(1, np.int64))
    with pytest.raises(MatrixError, match="a row of 8 bytes"):
        ring.pop(np.zeros(1, np.int64))


def test_ring_over_borrowed_memory_is_joined_by_the_other_side():
    memory = np.zeros(spsc_bytes(16, 8) // 8 + 8, np.int64)
    address = (memory.ctypes.data + 63) // 64 * 64
    producer = Spsc(16, 8, address=address)
    consumer, out = Spsc.over(address), np.zeros(2, np.int64)
    assert (consumer.record_bytes, consumer.capacity) == (16, 8)
    producer.push(np.array([3, 4]))
    assert consumer.pop(out)
    assert out.tolist() == [3, 4]


def test_memory_without_a_ring_is_refused():
    memory = np.zeros(64, np.int64)
    with pytest.raises(MatrixError, match="no ring at address"):
        Spsc.over(memory.ctypes.data)
    with pytest.raises(MatrixError, match="not aligned"):
        Spsc(8, 8, address=memory.ctypes.data + 4)


def test_a_poll_sees_what_waits_and_takes_nothing():
    ring, out = Spsc(UPDATE.itemsize, 4), np.zeros(1, UPDATE)
    assert not waits(ring.address)
    for value in range(9):
        assert ring.push(row_of(value))
        assert waits(ring.address)
        assert waits(ring.address)
        assert ring.pop(out)
        assert not waits(ring.address)


@kernel
def waits(address):
    return 1 if spsc_waits(address) else 0
