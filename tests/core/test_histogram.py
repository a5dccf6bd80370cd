"""Histograms against sorted lists of the same durations."""

import math
import subprocess
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import histogram as h
from alephtx.core.errors import AlephError

NS = st.one_of(
    st.integers(0, 200),
    st.integers(0, 10**7),
    st.integers(0, (1 << 63) - 1),
    st.sampled_from([31, 32, 33, 63, 64, 65, (1 << 62), (1 << 63) - 1]),
)


@pytest.mark.kernel
@given(NS)
def test_bucket_of_any_duration_holds_it(ns):
    bucket = h.hist_bucket(ns)
    assert 0 <= bucket < h.BUCKETS
    assert h.bucket_floor(bucket) <= ns < h.bucket_floor(bucket + 1)


def test_buckets_are_contiguous_and_narrow():
    floors = [h.bucket_floor(b) for b in range(h.BUCKETS)]
    assert floors == sorted(set(floors))
    assert all((b - a) <= max(1, a / 32) for a, b in pairwise(floors))


@pytest.mark.kernel
@settings(max_examples=60)
@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=80), st.floats(0, 1))
def test_quantile_is_within_a_bucket_of_the_sorted_list(values, q):
    histogram = h.make_histogram()
    for value in values:
        h.hist_add(histogram, value)
    exact = sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
    got = h.quantile(histogram, q)
    assert exact <= got <= exact + exact // 32 + 1
    assert h.summary(histogram)["count"] == len(values)
    assert h.summary(histogram)["mean"] == sum(values) // len(values)
    assert (h.summary(histogram)["least"], h.summary(histogram)["most"]) == (
        min(values),
        max(values),
    )


def test_sum_of_durations_beyond_a_word_spoils_no_quantile():
    """The sum wraps after 292 years; the buckets and the maximum must not care."""
    histogram = h.make_histogram()
    for _ in range(3):
        h.hist_add(histogram, (1 << 63) - 1)
    assert (h.summary(histogram)["p50"], h.summary(histogram)["most"]) == ((1 << 63) - 1,) * 2


def test_reader_beside_a_writer_sees_sane_quantiles():
    """A view draws while the loop counts: no quantile may leave the range of what was counted."""
    histogram, stop = h.make_histogram(), threading.Event()

    def fill():
        k = 0
        while not stop.is_set():
            h.hist_add(histogram, 1_000 + k % 1_000)
            k += 1

    writer = threading.Thread(target=fill)
    writer.start()
    try:
        for _ in range(300):
            told = h.summary(histogram)
            if told["count"]:
                assert 0 <= told["p50"] <= told["p99"] <= told["p999"] <= 2_000
    finally:
        stop.set()
        writer.join()
    assert h.summary(histogram)["count"] == int(histogram[: h.BUCKETS].sum())


@pytest.mark.kernel
def test_negative_duration_counts_as_zero():
    histogram = h.make_histogram()
    h.hist_add(histogram, -5)
    assert (histogram[0], histogram[h.SUM], h.quantile(histogram, 0.5)) == (1, 0, 0)


def test_empty_histogram_has_zero_quantiles():
    assert set(h.summary(h.make_histogram()).values()) == {0}


def test_histogram_in_a_file_is_read_while_it_is_filled(tmp_path):
    path = tmp_path / "sub" / "x.hist"
    histogram = h.map_histogram(path)
    h.hist_add(histogram, 700)
    assert h.summary(h.read_histogram(path))["count"] == 1
    h.map_histogram(path)
    assert np.array_equal(h.read_histogram(path), h.make_histogram())


TWICE = """
import sys
from pathlib import Path
from alephtx.core import histogram as h
first = h.map_histogram(Path(sys.argv[1]))
h.map_histogram(Path(sys.argv[1]))
h.hist_add(first, 700)
print(h.summary(first)["count"])
"""


def test_who_still_fills_a_histogram_lives_on_when_its_file_is_made_anew(tmp_path):
    """In a process of its own: a mapping whose file was cut short ends it, SIGBUS."""
    child = subprocess.run(
        [sys.executable, "-c", TWICE, tmp_path / "x.hist"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stdout) == (0, "1\n"), child.stderr


def test_file_that_is_no_histogram_is_named(tmp_path):
    (tmp_path / "short").write_bytes(b"x" * 10)
    with pytest.raises(AlephError, match="no histogram"):
        h.read_histogram(tmp_path / "short")
    (tmp_path / "other").write_bytes(bytes(h.WORDS * 8))
    with pytest.raises(AlephError, match="of format 0; this version reads 2"):
        h.read_histogram(tmp_path / "other")
    with pytest.raises(AlephError, match="cannot be read"):
        h.read_histogram(tmp_path / "none")
    with pytest.raises(AlephError, match="cannot be made"):
        h.map_histogram(tmp_path / "short" / "x")


@given(st.lists(st.integers(0, 10**11), max_size=60))
def test_coarse_counts_are_those_of_the_durations_themselves(values):
    """Their bounds are edges of buckets, so nothing is rounded."""
    histogram = h.make_histogram()
    for value in values:
        h.hist_add(histogram, value)
    bounds = [-1, *(edge - 1 for edge in h.EDGES), 1 << 63]
    expected = [sum(a < value <= b for value in values) for a, b in pairwise(bounds)]
    assert h.coarse(histogram) == expected


@pytest.mark.kernel
def test_merge_equals_adding_to_one():
    one, two, both = h.make_histogram(), h.make_histogram(), h.make_histogram()
    for value in (5, 900, 70_000):
        h.hist_add(one, value)
        h.hist_add(both, value)
    for value in (3, 1_000_000):
        h.hist_add(two, value)
        h.hist_add(both, value)
    h.merge(one, two)
    h.merge(one, h.make_histogram())
    assert np.array_equal(one, both)
    fresh = h.make_histogram()
    h.merge(fresh, both)
    assert np.array_equal(fresh, both)
