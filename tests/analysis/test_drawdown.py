import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.drawdown import drawdown, under_water


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


def slow_longest(ts, depth):
    """Every pair of moments: the best last held at a, first held again at b or never."""
    longest = 0
    known = [k for k in range(len(ts)) if not math.isnan(depth[k])]
    for x, a in enumerate(known):
        if x > 0 and depth[a] < 0:
            continue
        for b in known[x + 1 :]:
            between = [depth[k] for k in known if a < k < b]
            if all(d < 0 for d in between) and (between or depth[b] < 0):
                if depth[b] >= 0 or b == known[-1]:
                    longest = max(longest, ts[b] - ts[a])
            else:
                break
    return longest


def test_under_water_by_hand():
    ts = np.array([0, 10, 20, 40, 50, 90])
    depth = drawdown(np.array([1.0, 3.0, 2.0, 3.5, 1.0, 2.0])).depth
    assert under_water(ts, depth) == (50, 3, 5, False)  # the best of 40 was never seen again
    assert under_water(ts[:4], depth[:4]) == (30, 1, 3, True)
    assert under_water(ts[:2], depth[:2]) == (0, 0, 0, True)
    assert under_water(ts[:0], depth[:0]).duration_ns == 0
    assert under_water(ts[:2], np.array([-1.0, -2.0])) == (10, 0, 1, False)


@given(st.lists(st.tuples(st.integers(1, 9), st.one_of(st.just(math.nan), st.integers(-3, 3))),
                max_size=12))  # fmt: skip
def test_under_water_is_the_longest_of_all_stretches(steps):
    ts = np.cumsum([step for step, _ in steps]) if steps else np.zeros(0, int)
    depth = drawdown(np.array([float(x) for _, x in steps])).depth
    assert under_water(ts, depth).duration_ns == slow_longest(ts, depth)
