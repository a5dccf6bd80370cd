"""Engle-Granger and Dickey-Fuller: known answers, their size and power over many draws."""

import math

import numpy as np
import pytest

from alephtx.analysis.cointegration import (
    ONE,
    TWO,
    critical_values,
    dickey_fuller,
    engle_granger,
    half_life,
)
from alephtx.core.errors import AlephError


def pair(seed, n=400, rho=0.8, hedge=1.5):
    luck = np.random.default_rng(seed)
    x = luck.normal(size=n).cumsum()
    noise = np.zeros(n)
    for k in range(1, n):
        noise[k] = rho * noise[k - 1] + luck.normal()
    return 3.0 + hedge * x + noise, x


def test_critical_values_are_the_published_surface():
    """At infinity the table; at T = 100 by hand, -2.86154 - 0.028903 - 0.0004234 - 0.00004004."""
    assert critical_values(TWO, 10**9)[0.05] == pytest.approx(-3.33613, abs=1e-5)
    assert critical_values(ONE, 100)[0.05] == pytest.approx(-2.89091, abs=1e-5)
    assert critical_values(ONE, 100)[0.01] == pytest.approx(-3.49750, abs=1e-5)


def test_no_lag_is_the_plain_regression():
    """t of rho - 1 by the textbook formula, without a constant."""
    series = np.random.default_rng(5).normal(size=200).cumsum()
    level, change = series[:-1], np.diff(series)
    slope = (level @ change) / (level @ level)
    left = change - slope * level
    error = math.sqrt(left @ left / (len(level) - 1) / (level @ level))
    found = dickey_fuller(series, constant=False, lags=0)
    assert found.statistic == pytest.approx(slope / error, rel=1e-9)
    assert (found.lags, found.rows) == (0, 199)


def test_a_cointegrated_pair_is_found_with_its_hedge_and_half_life():
    y, x = pair(1, n=2_000)
    found = engle_granger(y, x)
    assert found.together
    assert found.hedge == pytest.approx(1.5, abs=0.02)
    assert found.half_life == pytest.approx(math.log(0.5) / math.log(0.8), rel=0.25)
    assert found.spread.mean() == pytest.approx(0, abs=1e-9)


def test_of_pairs_that_wander_apart_about_one_in_twenty_is_taken_and_of_true_ones_most():
    luck = np.random.default_rng(9)
    false = sum(
        engle_granger(luck.normal(size=200).cumsum(), luck.normal(size=200).cumsum()).together
        for _ in range(200)
    )
    assert 2 <= false <= 24  # 10 expected
    assert sum(engle_granger(*pair(seed, 200)).together for seed in range(40)) >= 30


def test_a_random_walk_has_a_unit_root_and_noise_has_none():
    luck = np.random.default_rng(2)
    walk, noise = (
        dickey_fuller(luck.normal(size=500).cumsum()),
        dickey_fuller(luck.normal(size=500)),
    )
    assert walk.statistic > walk.critical[0.05]
    assert noise.statistic < noise.critical[0.01]


def test_half_life_of_what_does_not_come_back_is_infinite():
    assert half_life(np.array([-3.0, -1.0, 1.0, 9.0, -9.0])) == 0.0
    assert half_life(2.0 ** np.arange(40)) == math.inf


@pytest.mark.parametrize(
    ("y", "x", "match"),
    [
        (np.arange(29.0), np.arange(29.0), "has 29 samples"),
        (np.arange(40.0), np.arange(41.0), "y has 40 samples, x 41"),
        (np.arange(40.0), np.ones(40), "x never moves"),
        (np.full(40, np.nan), np.arange(40.0), "no numbers"),
        (np.arange(40.0), 2 * np.arange(40.0), "multiple of x"),
    ],
)
def test_what_cannot_be_tested_is_named(y, x, match):
    with pytest.raises(AlephError, match=match):
        engle_granger(y, x)
