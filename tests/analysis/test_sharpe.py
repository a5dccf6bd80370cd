"""Ratios by hand, and the published examples of the papers they are from."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis import sharpe as s

FOUR = np.array([0.02, -0.01, 0.03, 0.0])


def test_sharpe_by_hand():
    # mean 0.01; deviations 0.01, -0.02, 0.02, -0.01: s^2 = 0.001 / 3
    right = 0.01 / math.sqrt(0.001 / 3)
    assert s.sharpe(FOUR) == pytest.approx(right)
    assert s.sharpe(FOUR, periods_per_year=252) == pytest.approx(right * math.sqrt(252))
    assert s.sharpe(FOUR, free=0.01) == pytest.approx(0, abs=1e-15)
    assert s.sharpe(np.append(FOUR, math.nan)) == pytest.approx(right)


def test_sortino_by_hand():
    # one bad value of four: sqrt(0.0001 / 4) = 0.005
    assert s.sortino(FOUR) == pytest.approx(2.0)
    # target 1 %: -0.02, -0.01 below it: sqrt(0.0005 / 4); the mean is on target
    assert s.sortino(FOUR, target=0.01) == pytest.approx(0, abs=1e-15)
    assert s.sortino(FOUR, target=-0.005) == pytest.approx(0.015 / math.sqrt(0.000025 / 4))


def test_calmar_by_hand():
    assert s.calmar(30.0, 1.5, -10.0) == 2.0
    assert math.isnan(s.calmar(30.0, 1.5, 0.0))
    assert math.isnan(s.calmar(30.0, 0.0, -1.0))


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [math.nan, math.nan]])
def test_ratio_of_what_does_not_vary_is_not_known(values):
    assert math.isnan(s.sharpe(np.array(values)))
    assert all(math.isnan(part) for part in s.moments(np.array(values)))


def test_sortino_without_a_loss_is_not_known():
    assert math.isnan(s.sortino(np.array([0.1, 0.2])))
    assert math.isnan(s.sortino(np.array([])))


def test_moments_by_hand():
    # -1, -1, 2: m2 = 2, m3 = (-1 - 1 + 8) / 3 = 2, m4 = (1 + 1 + 16) / 3 = 6
    skew, kurtosis = s.moments(np.array([-1.0, -1.0, 2.0]))
    assert skew == pytest.approx(2 / 2**1.5)
    assert kurtosis == pytest.approx(6 / 4)


def test_probabilistic_sharpe_of_the_published_example():
    """Bailey and Lopez de Prado 2012: 24 months, SR 0.458, skewness -2.448, kurtosis 10.164."""
    assert s.probabilistic_sharpe(0.458, 24, 0, 3) == pytest.approx(0.982, abs=5e-4)
    assert s.probabilistic_sharpe(0.458, 24, -2.448, 10.164) == pytest.approx(0.913, abs=5e-4)


def test_deflated_sharpe_of_the_published_example():
    """Bailey and Lopez de Prado 2014: SR 2.5 a year over 1250 days, 100 trials of variance 1/2."""
    ratio, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert s.expected_maximum_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    found = s.deflated_sharpe(ratio, 1250, -3, 10, trials=100, variance=variance)
    assert found == pytest.approx(0.9004, abs=5e-5)
    fewer = s.deflated_sharpe(ratio, 1250, -3, 10, trials=46, variance=variance)
    assert fewer == pytest.approx(0.9505, abs=5e-5)


def test_expected_maximum_is_about_that_of_simulated_luck():
    rng = np.random.default_rng(1)
    for trials in (5, 50, 500):
        best = rng.normal(0, 0.1, (4_000, trials)).max(axis=1).mean()
        assert s.expected_maximum_sharpe(trials, 0.01) == pytest.approx(best, rel=0.04)
    assert s.expected_maximum_sharpe(1, 0.01) == 0
    assert math.isnan(s.expected_maximum_sharpe(0, 0.01))


@given(st.floats(0.02, 0.5), st.floats(-1, 1), st.floats(3, 12), st.floats(0.6, 0.99))
def test_track_record_is_where_the_probability_is_reached(ratio, skew, kurtosis, confidence):
    n = s.minimum_track_record(ratio, skew, kurtosis, confidence=confidence)
    assert s.probabilistic_sharpe(ratio, math.ceil(n) + 1, skew, kurtosis) >= confidence - 1e-9
    if n > 3:
        assert s.probabilistic_sharpe(ratio, math.floor(n) - 1, skew, kurtosis) < confidence


def test_track_record_by_hand():
    # 1 + (1 + 0.5 x 0.01) x (1.645 / 0.1)^2
    assert s.minimum_track_record(0.1, 0, 3) == pytest.approx(1 + 1.005 * 270.5543454)
    assert s.minimum_track_record(0.1, 0, 3, benchmark=0.1) == math.inf
    assert math.isnan(s.minimum_track_record(math.nan, 0, 3))


def test_probability_without_a_variance_is_not_known():
    assert math.isnan(s.probabilistic_sharpe(0.1, 1, 0, 3))
    assert math.isnan(s.probabilistic_sharpe(2.0, 50, 3.0, 3))  # 1 - 6 + 2: no such sample
    assert math.isnan(s.probabilistic_sharpe(math.nan, 50, 0, 3))
