"""The hot ring: every slot once, lapping always noticed, a dead writer's slot written again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.kernel import kernel
from alephtx.core.records import TOP_ROW
from alephtx.matrix.layout import HEAD_BYTES, MAP_HEADS, MAP_RING_SLOTS, MAP_RINGS
from alephtx.matrix.ring import (
    ring_head,
    ring_heal,
    ring_news,
    ring_publish,
    ring_read,
    slot_aux,
)
from tests.matrix.words_of import word_store

pytestmark = pytest.mark.kernel
SLOTS = 16


def publish(matrix, value, venue=0):
    aux = slot_aux(value % 7, words.TOP, 0, words.BUY)
    return ring_publish(matrix.map, venue, value, -value, value, 1, value + 1, 2, aux)


def test_read_before_publish_says_nothing_yet(matrix):
    out = np.zeros(1, TOP_ROW)
    assert ring_read(matrix.map, 0, 1, out) == 0
    assert ring_head(matrix.map, 0) == 0


@pytest.mark.smoke
def test_published_slot_is_read_whole(matrix):
    out = np.zeros(1, TOP_ROW)
    aux = slot_aux(3, words.TRADE, words.LAST_IN_MESSAGE | words.EXCHANGE_CLOCK, words.SELL)
    assert ring_publish(matrix.map, 2, 11, 12, 13, 14, 15, 16, aux) == 1
    assert ring_read(matrix.map, 2, 1, out) == 1
    assert out[0].tolist() == (2, 11, 12, 13, 14, 15, 16, aux)
    assert aux & 0xFFFFFFFF == 3
    assert (aux >> 32) & 0xFF == words.TRADE
    assert (aux >> 40) & 0xFFFF == 5
    assert ((aux >> 56) & 0xFF) - 1 == words.SELL
    assert ring_head(matrix.map, 2) == 1
    assert ring_head(matrix.map, 1) == 0, "rings of other venues are untouched"


def test_slow_reader_is_lapped_and_told(matrix):
    out = np.zeros(1, TOP_ROW)
    for value in range(1, SLOTS + 2):
        assert publish(matrix, value) == value
    before = out.copy()
    assert ring_read(matrix.map, 0, 1, out) == -1
    assert out == before, "a lapped read leaves out alone"
    assert ring_read(matrix.map, 0, 2, out) == 1
    assert out[0]["bid"] == 2


@pytest.mark.parametrize(("venue", "k"), [(-1, 1), (4, 1), (1 << 40, 1), (0, 0), (0, -5)])
def test_read_out_of_range_is_refused(matrix, venue, k):
    assert ring_read(matrix.map, venue, k, np.zeros(1, TOP_ROW)) == -1


@pytest.mark.parametrize("venue", [-1, 4])
def test_publish_to_unknown_venue_is_refused(matrix, venue):
    assert ring_publish(matrix.map, venue, 0, 0, 0, 0, 0, 0, 0) == -1
    assert ring_head(matrix.map, venue) == -1


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.integers(0, 2 * SLOTS), max_size=12))
def test_reader_sees_each_slot_once_or_counts_it_lost(shared_matrix, steps):
    """Against the obvious model: a list of everything ever published."""
    matrix, out = shared_matrix, np.zeros(1, TOP_ROW)
    k = ring_head(matrix.map, 1) + 1
    for burst in steps:
        first = ring_head(matrix.map, 1) + 1
        for value in range(first, first + burst):
            assert publish(matrix, value, venue=1) == value
        while (got := ring_read(matrix.map, 1, k, out)) != 0:
            head = ring_head(matrix.map, 1)
            if got < 0:
                assert k <= head - SLOTS
                k = head - 1
                continue
            assert out[0]["ts_event"] == k
            k += 1
        assert k == ring_head(matrix.map, 1) + 1


def half_write(matrix, venue, k, *, complete):
    """Leave slot k as a writer killed at the worst moment would."""
    slots = int(matrix.map[MAP_RING_SLOTS])
    slot = int(matrix.map[MAP_RINGS]) + (venue * slots + k % slots) * 64
    word_store(slot, 2 * k if complete else 2 * k - 1)
    word_store(slot + 24, 777)


def test_heal_keeps_complete_slot_whose_head_was_not_moved(matrix):
    publish(matrix, 1)
    half_write(matrix, 0, 2, complete=True)
    assert ring_heal(matrix.map, 0) == 2
    assert publish(matrix, 3) == 3, "slot 2 may have been read, so its number is spent"


def test_heal_rewrites_torn_slot_under_same_number(matrix):
    out = np.zeros(1, TOP_ROW)
    publish(matrix, 1)
    half_write(matrix, 0, 2, complete=False)
    assert ring_read(matrix.map, 0, 2, out) == 0, "half-written is nothing yet"
    assert ring_heal(matrix.map, 0) == 1
    assert publish(matrix, 22) == 2
    assert ring_read(matrix.map, 0, 2, out) == 1
    assert out[0]["bid"] == 22


def test_head_lines_are_apart():
    assert HEAD_BYTES % 128 == 0
    assert MAP_HEADS == 0


@kernel
def spin(matrix, venue, k, out, times):
    got = 0
    for _ in range(times):
        got += ring_read(matrix, venue, k, out)
    return got


def test_ring_read_called_from_kernel_is_the_same(matrix):
    publish(matrix, 5)
    out = np.zeros(1, TOP_ROW)
    assert spin(matrix.map, 0, 1, out, 3) == 3


def test_news_is_the_next_venue_with_something_to_take_or_a_lap(matrix):
    """An engine asks this of every venue at once, so it must never pass one over."""
    waiting = np.ones(4, np.int64)
    assert ring_news(matrix.map, waiting, 0) == 4
    publish(matrix, 1, venue=1)
    publish(matrix, 1, venue=3)
    assert ring_news(matrix.map, waiting, 0) == 1
    assert ring_news(matrix.map, waiting, 2) == 3
    assert ring_news(matrix.map, waiting, 4) == 4
    waiting[1], waiting[3] = 2, 2
    assert ring_news(matrix.map, waiting, 0) == 4
    for value in range(SLOTS + 1):
        publish(matrix, value + 2, venue=2)
    assert ring_news(matrix.map, waiting, 0) == 2, "a lap is news"


def test_news_is_not_a_slot_that_is_being_written(matrix):
    waiting = np.ones(2, np.int64)
    address = matrix.map[MAP_RINGS] + (1 & (matrix.map[MAP_RING_SLOTS] - 1)) * 64
    word_store(address, 1)
    assert ring_news(matrix.map, waiting, 0) == 2
    word_store(address, 2)
    assert ring_news(matrix.map, waiting, 0) == 0


def test_news_of_more_venues_than_there_are_ends(matrix):
    assert ring_news(matrix.map, np.ones(70, np.int64), 0) == 70
