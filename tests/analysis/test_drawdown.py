import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.drawdown import drawdown


def test_drawdown_of_a_fall_from_the_best_is_measured_from_there():
    found = drawdown(np.array([0.0, 2.0, 1.0, 3.0, -1.0, 2.0]))
    assert found.depth.tolist() == [0, 0, -1, 0, -4, -1]
    assert (found.most, found.peak, found.trough) == (-4, 3, 4)


def test_drawdown_of_a_loss_from_the_start_counts_from_zero():
    assert drawdown(np.array([-1.0, -3.0])).most == -3


def test_drawdown_of_a_rise_is_zero():
    found = drawdown(np.array([1.0, 2.0, 3.0]))
    assert found.most == 0
    assert not found.depth.any()


def test_drawdown_with_unknown_moments_passes_over_them():
    found = drawdown(np.array([math.nan, 2.0, math.nan, 1.0]))
    assert found.most == -1
    assert np.isnan(found.depth[[0, 2]]).all()
    assert drawdown(np.array([math.nan])).most == 0
    assert drawdown(np.array([])).most == 0


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_drawdown_is_the_worst_of_all_pairs(equity):
    curve = [0.0, *equity]
    worst = min(curve[b] - curve[a] for b in range(len(curve)) for a in range(b + 1))
    assert drawdown(np.array(equity)).most == worst
