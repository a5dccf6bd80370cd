import math

import numpy as np
import pytest

from alephtx.analysis.alignment import align, moved_our_way, toward


def test_alignment_by_hand():
    # means 3 and 1.5, s = sqrt(1.25), r = 1.5 / s x sqrt(2 x 2 / 16)
    found = align(np.array([1.0, 2.0, 4.0, 2.0]), np.array([0, 0, 1, 1]))
    s = math.sqrt(np.var([1, 2, 4, 2]))
    assert found.r == pytest.approx(1.5 / s * 0.5)
    half = 1.959963984540054 / math.sqrt(4 - 3)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.r) - half))
    assert found.high == pytest.approx(math.tanh(math.atanh(found.r) + half))
    assert (found.count, found.yes) == (4, 2)


def test_alignment_is_the_formula_of_means():
    rng = np.random.default_rng(3)
    y = rng.random(200) < 0.3
    x = rng.normal(size=200) + y
    found = align(x, y.astype(float))
    n, yes = 200, y.sum()
    right = (x[y].mean() - x[~y].mean()) / x.std() * math.sqrt(yes * (n - yes)) / n
    assert found.r == pytest.approx(right)
    assert found.low < found.r < found.high
    assert found.p < 0.01


def test_alignment_of_noise_holds_nought():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(100):
        found = align(rng.normal(size=60), (rng.random(60) < 0.5).astype(float))
        held += found.low <= 0 <= found.high
    assert held >= 88


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1.0, 2, 3], [0, 1, 0]),
        ([1.0, 2, 3, 4], [1, 1, 1, 1]),
        ([1.0, 1, 1, 1], [0, 1, 0, 1]),
        ([1.0, 2, math.nan, math.inf], [0, 1, 1, 0]),
        ([1.0, 2, 3, 4], [0, 1, math.nan, 1]),
    ],
)
def test_alignment_that_cannot_be_said_is_not(x, y):
    found = align(np.array(x), np.array(y, float))
    assert math.isnan(found.r)
    assert math.isnan(found.low)


def test_alignment_passes_over_what_is_not_known():
    x, y = [1.0, 2.0, math.nan, 4.0, 2.0, 9.0], [0, 0, 1, 1, 1, math.nan]
    assert align(np.array(x), np.array(y)) == align(
        np.array([1.0, 2, 4, 2]), np.array([0, 0, 1, 1])
    )


def test_toward_and_moved_are_signed_our_way():
    side, mid = np.array([1, -1, 1, 1]), np.array([100.0, 100.0, 100.0, 100.0])
    assert toward(side, np.full(4, 100.1), mid) == pytest.approx([10, -10, 10, 10])
    moved = moved_our_way(side, mid, np.array([101.0, 101.0, 100.0, math.nan]))
    assert moved[:2].tolist() == [1, 0]
    assert np.isnan(moved[2:]).all()
