import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.bootstrap import block_length, mean_bands, stationary_indices


def slow_indices(seed, n, block, draws):
    """The definition of Politis and Romano, place by place, from the same random numbers."""
    rng = np.random.default_rng(seed)
    begins, starts = rng.random((draws, n)) < 1 / block, rng.integers(0, n, (draws, n))
    rows = []
    for new, start in zip(begins, starts, strict=True):
        row = [int(start[0])]
        for k in range(1, n):
            row.append(int(start[k]) if new[k] else (row[-1] + 1) % n)
        rows.append(row)
    return rows


@given(st.integers(0, 99), st.integers(1, 40), st.floats(1, 20), st.integers(1, 5))
def test_indices_go_on_unless_a_block_begins(seed, n, block, draws):
    found = stationary_indices(np.random.default_rng(seed), n, block, draws)
    assert found.tolist() == slow_indices(seed, n, block, draws)


def test_blocks_have_the_mean_length_asked_for():
    found = stationary_indices(np.random.default_rng(2), 5_000, 20.0, 10)
    breaks = (np.diff(found, axis=1) % 5_000 != 1).mean()
    assert 1 / breaks == pytest.approx(20.0, rel=0.1)


def test_mean_is_weighted_and_passes_over_what_is_not_known():
    values = np.array([[1.0, math.nan], [4.0, 2.0], [math.nan, math.nan]])
    found = mean_bands(values, np.array([1.0, 2.0, 5.0]), block=1, draws=50)
    assert found.mean.tolist() == [3.0, 2.0]
    assert found.known.tolist() == [2, 1]
    assert found.low[0] >= 1.0
    assert found.high[0] <= 4.0
    assert math.isnan(found.low[1])  # one value has no spread to show


def test_bands_are_the_quantiles_of_resampled_means():
    values = np.random.default_rng(1).normal(size=(30, 2))
    weights = np.random.default_rng(2).random(30)
    found = mean_bands(values, weights, block=3.0, draws=200, seed=9, confidence=0.8)
    rows = stationary_indices(np.random.default_rng(9), 30, 3.0, 200)
    means = np.array([np.average(values[row], axis=0, weights=weights[row]) for row in rows])
    assert found.low == pytest.approx(np.quantile(means, 0.1, axis=0))
    assert found.high == pytest.approx(np.quantile(means, 0.9, axis=0))
    again = mean_bands(values, weights, block=3.0, draws=200, seed=9, confidence=0.8)
    assert found.low.tobytes() == again.low.tobytes()


def covered(block):
    """How often the band of a dependent series (AR(1), 0.8) holds its true mean 0."""
    held = 0
    for trial in range(100):
        noise = np.random.default_rng(trial).normal(size=400)
        series = np.zeros(400)
        for k in range(1, 400):
            series[k] = 0.8 * series[k - 1] + noise[k]
        found = mean_bands(series[:, None], np.ones(400), block=block, draws=200, seed=trial)
        held += found.low[0] <= 0 <= found.high[0]
    return held


def test_blocks_see_dependence_that_single_draws_miss():
    assert covered(25.0) >= 82  # of 100, where 95 are promised for long series
    assert covered(1.0) <= 65


def test_block_length_grows_with_overlap_and_stays_within_the_series():
    assert block_length(1000) == pytest.approx(10)
    assert block_length(1000, 40) == 40
    assert block_length(10, 40) == 5
    assert block_length(1) == 1
