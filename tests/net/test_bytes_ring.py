"""The ring of records: nothing lost, nothing torn, nothing overwritten, whatever their lengths."""

import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import MatrixError
from alephtx.net.bytes_ring import HEAD_BYTES, BytesRing

pytestmark = pytest.mark.kernel
WORDS = st.integers(-(1 << 63), (1 << 63) - 1)


def stored(size):
    return HEAD_BYTES + (size + 7) // 8 * 8


@given(
    st.lists(st.one_of(st.none(), st.tuples(st.binary(max_size=480), WORDS, WORDS)), max_size=80)
)
def test_ring_is_a_queue_with_a_bound(steps):
    """None pops, a record pushes; the oracle is a deque, and the ring may refuse only when full."""
    ring, naive = BytesRing(1024), deque()
    for step in steps:
        if step is None:
            assert ring.pop() == (naive.popleft() if naive else None)
            continue
        payload, a, b = step
        if ring.push(payload, len(payload), a, b):
            naive.append((len(payload), a, b, payload))
        else:
            taken = sum(stored(len(one[3])) for one in naive)
            assert taken + 2 * stored(len(payload)) > 1024, "refused though there was room"
    while naive:
        assert ring.pop() == naive.popleft()
    assert ring.pop() is None
    assert len(ring) == 0


def test_shapes_that_cannot_be_are_refused():
    for capacity in (0, 1000, 512, 1 << 31):
        with pytest.raises(MatrixError, match="power of two"):
            BytesRing(capacity)
    ring = BytesRing(1024)
    assert ring.push(b"x" * ring.payload_max)
    with pytest.raises(MatrixError, match="at most 480 bytes"):
        ring.push(b"x" * (ring.payload_max + 1))


def test_two_threads_lose_and_tear_nothing():
    ring, count = BytesRing(4096), 4000
    got = []

    def consume():
        while len(got) < count:
            found = ring.pop()
            if found is not None:
                got.append(found)

    reader = threading.Thread(target=consume)
    reader.start()
    for n in range(count):
        while not ring.push(bytes([n & 0xFF]) * (n * 37 % 700), n, -n):
            pass
    reader.join(60)
    assert not reader.is_alive()
    assert got == [(n, -n, 0, bytes([n & 0xFF]) * (n * 37 % 700)) for n in range(count)]
