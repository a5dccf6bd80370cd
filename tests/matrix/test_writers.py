"""Claims, beats, counters, the halt word, and healing after a writer's death."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.records import TOP_ROW
from alephtx.matrix import writers
from alephtx.matrix.layout import MAP_LEVELS, MAP_TOPS
from alephtx.matrix.levels import levels_publish, levels_read
from alephtx.matrix.ring import ring_head, ring_publish
from alephtx.matrix.tops import top_publish, top_read
from tests.matrix.words_of import word_load, word_store

pytestmark = pytest.mark.kernel


def test_claim_gives_each_name_its_row_and_full_table_is_said(matrix):
    rows = [writers.claim(matrix.map, writers.name_hash(f"w{n}"), 100 + n) for n in range(5)]
    assert rows == [0, 1, 2, 3, -1]
    assert writers.find_writer(matrix.map, "w2") == 2
    assert writers.find_writer(matrix.map, "w4") == -1
    assert writers.writer_pid(matrix.map, 2) == 102


def test_claim_again_takes_the_row_over_and_forgets_the_beat(matrix):
    name = writers.name_hash("feeder:alpha")
    writer = writers.claim(matrix.map, name, 1)
    writers.beat(matrix.map, writer, 123)
    assert writers.last_beat(matrix.map, writer) == 123
    writers.counter_add(matrix.map, writer, writers.FRAMES, 7)
    assert writers.claim(matrix.map, name, 2) == writer
    assert writers.last_beat(matrix.map, writer) == 0
    assert writers.writer_pid(matrix.map, writer) == 2
    assert writers.writer_starts(matrix.map, writer) == 2
    assert writers.counters(matrix.map, writer)[writers.FRAMES] == 7


def test_counters_view_writes_through(matrix):
    view = writers.counters(matrix.map, 1)
    assert view.shape == (writers.COUNTER_WORDS,)
    view[writers.GAPS] = 41
    assert writers.counter_add(matrix.map, 1, writers.GAPS, 1) == 42
    assert writers.counters(matrix.map, 0)[writers.GAPS] == 0
    assert set(writers.COUNTER_NAMES) <= set(range(writers.COUNTER_WORDS))


@pytest.mark.parametrize("writer", [-1, 4])
def test_unknown_writer_is_refused(matrix, writer):
    assert writers.beat(matrix.map, writer, 1) == -1
    assert writers.last_beat(matrix.map, writer) == -1
    assert writers.writer_pid(matrix.map, writer) == -1
    assert writers.writer_starts(matrix.map, writer) == -1
    assert writers.counter_add(matrix.map, writer, 0, 1) == -1
    with pytest.raises(IndexError, match="no writer"):
        writers.counters(matrix.map, writer)


def test_counter_out_of_range_is_refused(matrix):
    assert writers.counter_add(matrix.map, 0, 16, 1) == -1
    assert writers.counter_add(matrix.map, 0, -1, 1) == -1


@pytest.mark.smoke
def test_halt_word_is_kept(matrix):
    assert writers.halt_read(matrix.map) == 0
    writers.halt_set(matrix.map, 3)
    assert writers.halt_read(matrix.map) == 3
    writers.halt_set(matrix.map, 0)
    assert writers.halt_read(matrix.map) == 0


def test_name_hash_is_positive_and_stable():
    assert writers.name_hash("feeder:alpha") == writers.name_hash("feeder:alpha")
    assert all(0 < writers.name_hash(str(n)) < 1 << 63 for n in range(100))


def test_heal_mends_torn_records_and_raises_epoch(matrix):
    top, levels = np.zeros(1, TOP_ROW), np.ones((2, 8, 2), np.int64)
    for i in range(4):
        top_publish(matrix.map, i, 1, 1, 10, 1, 11, 1, 0)
        levels_publish(matrix.map, i, levels, 5)
    ring_publish(matrix.map, 0, 1, 1, 10, 1, 11, 1, 0)
    for section, size in ((MAP_TOPS, 64), (MAP_LEVELS, 64 + 256)):
        word_store(int(matrix.map[section]) + size, word_load(int(matrix.map[section]) + size) | 1)
    indices = np.array([0, 1, 99, -1], np.int64)
    assert writers.heal(matrix.map, 0, indices, 2) == 2
    assert writers.venue_epoch(matrix.map, 0) == 1
    assert writers.venue_writer(matrix.map, 0) == 2
    assert ring_head(matrix.map, 0) == 1
    for i in (0, 1):
        assert top_read(matrix.map, i, top) == 0
        assert top[0]["bid"] == 0
        assert top[0]["aux"] == words.STALE | words.EMPTY_SIDE | 1 << words.EPOCH_SHIFT
        assert levels_read(matrix.map, i, levels) == 0
        assert not levels.any()
    assert top_read(matrix.map, 2, top) == 0
    assert top[0]["bid"] == 10, "another venue's record is left alone"
    assert writers.heal(matrix.map, 0, indices, -1) == 0
    assert writers.venue_epoch(matrix.map, 0) == 2
    assert writers.venue_writer(matrix.map, 0) == 2


@pytest.mark.parametrize("venue", [-1, 4])
def test_unknown_venue_is_refused(matrix, venue):
    assert writers.heal(matrix.map, venue, np.zeros(0, np.int64), 0) == -1
    assert writers.venue_epoch(matrix.map, venue) == -1
    assert writers.venue_writer(matrix.map, venue) == -1
