"""Seqlock records of tops, levels and signals: whole or refused, never a hang."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.kernel import kernel
from alephtx.core.records import SIGNAL_ROW, TOP_ROW
from alephtx.matrix.layout import MAP_LEVEL_BYTES, MAP_LEVELS, MAP_SIGNALS, MAP_TOPS
from alephtx.matrix.levels import levels_is_torn, levels_publish, levels_read
from alephtx.matrix.signals import signal_publish, signal_read
from alephtx.matrix.tops import (
    NO_TOUCH,
    top_flag,
    top_is_torn,
    top_publish,
    top_read,
    touch_read,
)
from tests.matrix.words_of import word_load, word_store

pytestmark = pytest.mark.kernel


@kernel
def touch(matrix, i):
    return touch_read(matrix, i)


INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def test_top_never_written_is_stale_and_empty(matrix):
    out = np.zeros(1, TOP_ROW)
    assert top_read(matrix.map, 0, out) == 0
    assert out[0]["aux"] & words.UNTRADEABLE_MASK == words.STALE | words.EMPTY_SIDE


@pytest.mark.smoke
@settings(max_examples=30, deadline=None)
@given(values=st.lists(INT64, min_size=7, max_size=7), i=st.integers(0, 7))
def test_top_reads_back_as_published(shared_matrix, values, i):
    out = np.zeros(1, TOP_ROW)
    assert top_publish(shared_matrix.map, i, *values) == 0
    assert top_read(shared_matrix.map, i, out) == 0
    assert list(out[0].tolist()[1:]) == values
    assert touch(shared_matrix.map, i) == (values[2], values[4])
    assert out[0]["word"] % 2 == 0


@pytest.mark.parametrize("i", [-1, 8, 1 << 40])
def test_index_out_of_range_is_refused(matrix, i):
    out, levels = np.zeros(1, TOP_ROW), np.ones((2, 3, 2), np.int64)
    assert top_publish(matrix.map, i, 0, 0, 0, 0, 0, 0, 0) == -2
    assert top_flag(matrix.map, i, 1, 0) == -2
    assert top_read(matrix.map, i, out) == -1
    assert out[0]["aux"] & words.STALE
    assert touch(matrix.map, i) == NO_TOUCH
    assert levels_publish(matrix.map, i, levels, 1) == -2
    assert levels_read(matrix.map, i, levels) == -1
    assert not levels.any()
    assert signal_publish(matrix.map, i, 0.5, 0, 0, 0, 0, 0) == -2
    assert signal_read(matrix.map, i, np.zeros(1, SIGNAL_ROW)) == -1


def test_top_flag_changes_only_flags(matrix):
    out = np.zeros(1, TOP_ROW)
    top_publish(matrix.map, 1, 1, 2, 3, 4, 5, 6, words.CROSSED | 9 << words.EPOCH_SHIFT)
    aux = top_flag(matrix.map, 1, words.STALE | words.RESYNCING, words.CROSSED)
    assert aux == words.STALE | words.RESYNCING | 9 << words.EPOCH_SHIFT
    assert top_read(matrix.map, 1, out) == 0
    assert out[0].tolist()[1:] == (1, 2, 3, 4, 5, 6, aux)


def test_torn_top_is_refused_flagged_and_mended_by_next_write(matrix):
    out = np.zeros(1, TOP_ROW)
    top_publish(matrix.map, 2, 1, 1, 10, 1, 11, 1, 0)
    assert top_read(matrix.map, 2, out) == 0
    record = int(matrix.map[MAP_TOPS]) + 2 * 64
    word_store(record, word_load(record) + 1)
    word_store(record + 24, 999)
    assert top_is_torn(matrix.map, 2) == 1
    assert top_read(matrix.map, 2, out) == -1
    assert (out[0]["bid"], out[0]["aux"]) == (10, words.STALE)
    assert touch(matrix.map, 2) == NO_TOUCH
    top_publish(matrix.map, 2, 2, 2, 20, 1, 21, 1, 0)
    assert top_is_torn(matrix.map, 2) == 0
    assert top_read(matrix.map, 2, out) == 0
    assert (out[0]["bid"], out[0]["aux"]) == (20, 0)


@pytest.mark.parametrize("have", [0, 3, 8, 20])
@pytest.mark.parametrize("wanted", [1, 8, 11])
def test_levels_of_any_depth_are_cut_or_padded(matrix, have, wanted):
    levels = np.arange(1, 2 * have * 2 + 1, dtype=np.int64).reshape(2, have, 2)
    out = np.full((2, wanted, 2), -1, np.int64)
    assert levels_publish(matrix.map, 3, np.ones((2, 8, 2), np.int64), 1) == 0
    assert levels_publish(matrix.map, 3, levels, 77) == 0
    assert levels_read(matrix.map, 3, out) == 77
    expected = np.zeros((2, wanted, 2), np.int64)
    shown = min(have, wanted, 8)
    expected[:, :shown] = levels[:, :shown]
    assert out.tolist() == expected.tolist()


def test_levels_of_neighbours_are_untouched(matrix):
    out = np.zeros((2, 8, 2), np.int64)
    for i in range(8):
        levels_publish(matrix.map, i, np.full((2, 8, 2), i + 1, np.int64), i + 1)
    for i in range(8):
        assert levels_read(matrix.map, i, out) == i + 1
        assert (out == i + 1).all()


def test_torn_levels_are_refused_and_emptied(matrix):
    levels_publish(matrix.map, 0, np.ones((2, 8, 2), np.int64), 5)
    record = int(matrix.map[MAP_LEVELS])
    word_store(record, word_load(record) | 1)
    assert levels_is_torn(matrix.map, 0) == 1
    out = np.ones((2, 8, 2), np.int64)
    assert levels_read(matrix.map, 0, out) == -1
    assert not out.any()
    assert matrix.map[MAP_LEVEL_BYTES] % 64 == 0


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, float("inf"), 5e-324, -1e308])
def test_signal_reads_back_as_published(matrix, value):
    out = np.zeros(1, SIGNAL_ROW)
    assert signal_publish(matrix.map, 3, value, 10, 20, 30, 40, 50) == 0
    assert signal_read(matrix.map, 3, out) == 0
    assert np.signbit(out[0]["value"]) == np.signbit(value)
    assert out[0].tolist()[1:8] == (value, 10, 20, 30, 40, 50, 0)


def test_signal_nan_stays_nan(matrix):
    out = np.zeros(1, SIGNAL_ROW)
    signal_publish(matrix.map, 0, float("nan"), 0, 0, 1, 2, 3)
    assert signal_read(matrix.map, 0, out) == 0
    assert np.isnan(out[0]["value"])


def test_torn_signal_is_refused(matrix):
    signal_publish(matrix.map, 1, 2.5, 0, 0, 1, 2, 3)
    record = int(matrix.map[MAP_SIGNALS]) + 64
    word_store(record, word_load(record) | 1)
    out = np.zeros(1, SIGNAL_ROW)
    assert signal_read(matrix.map, 1, out) == -1
    assert not out[0]["value"]
