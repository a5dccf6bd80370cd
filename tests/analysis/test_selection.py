import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.selection import benjamini_hochberg, holm, overfitting, rank_trials

# On grids that never meet: where p x m = alpha to the last bit, either answer is right.
p_values = st.lists(st.integers(0, 1024).map(lambda k: k / 1024), max_size=12)
levels = st.integers(1, 500).map(lambda k: (k + 0.37) / 1013)


def test_holm_by_hand():
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    # in order 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, never falling
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_by_hand():
    found = benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005]))
    # in order 0.005 x 4, 0.01 x 2, 0.03 x 4/3, 0.04 x 1, never rising from the end
    assert found == pytest.approx([0.02, 0.04, 0.04, 0.02])


@given(p_values, levels)
def test_holm_rejects_what_the_procedure_does(p, alpha):
    order = sorted(range(len(p)), key=lambda k: p[k])
    rejected = set()
    for place, k in enumerate(order):  # step down until the first that does not pass
        if p[k] * (len(p) - place) > alpha:
            break
        rejected.add(k)
    assert set(np.flatnonzero(holm(np.array(p)) <= alpha)) == rejected


@given(p_values, levels)
def test_benjamini_hochberg_rejects_what_the_procedure_does(p, q):
    order = sorted(p)
    passing = [k for k, value in enumerate(order, 1) if value * len(p) / k <= q]
    most = order[max(passing) - 1] if passing else -1.0
    found = set(np.flatnonzero(benjamini_hochberg(np.array(p)) <= q))
    assert found == {k for k, value in enumerate(p) if value <= most}


def test_unknown_p_values_prove_nothing():
    assert holm(np.array([math.nan, 0.01])).tolist() == [1.0, 0.02]
    assert benjamini_hochberg(np.array([math.nan, 0.01])).tolist() == [1.0, 0.02]


def slow_overfitting(values, blocks):
    """Straight from the paper: split, pick the best, rank it on the rest."""
    parts = np.array_split(values[len(values) % blocks :], blocks)
    logits, lost = [], []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        seen = np.concatenate([parts[k] for k in chosen])
        unseen = np.concatenate([parts[k] for k in range(blocks) if k not in chosen])
        inside = [column.mean() / column.std(ddof=1) for column in seen.T]
        outside = [column.mean() / column.std(ddof=1) for column in unseen.T]
        winner = int(np.argmax(inside))
        share = sorted(outside).index(outside[winner]) + 1
        share /= len(outside) + 1
        logits.append(math.log(share / (1 - share)))
        lost.append(unseen[:, winner].sum() < 0)
    return np.mean(np.array(logits) <= 1e-12), np.mean(lost)


@given(st.integers(0, 10_000), st.integers(2, 9), st.sampled_from([2, 4, 6]))
def test_overfitting_is_that_of_the_paper(seed, trials, blocks):
    values = np.random.default_rng(seed).normal(0.05, 1, (60 + seed % 7, trials))
    found = overfitting(values, blocks=blocks)
    probability, loss = slow_overfitting(values, blocks)
    assert found.probability == pytest.approx(probability)
    assert found.loss == pytest.approx(loss)
    assert found.splits == math.comb(blocks, blocks // 2)


def test_overfitting_of_noise_is_high_and_of_skill_low():
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 1, (500, 20))
    skill = noise.copy()
    skill[:, 3] += 0.5
    assert overfitting(skill).probability < 0.02
    assert overfitting(skill).loss < 0.02
    found = [overfitting(rng.normal(0, 1, (200, 20)), blocks=6) for _ in range(40)]
    assert 0.4 < np.mean([one.probability for one in found]) < 0.7
    assert 0.4 < np.mean([one.loss for one in found]) < 0.7
    assert np.mean([one.slope for one in found]) < 0  # what won here has less left for there


@pytest.mark.parametrize(
    ("values", "blocks"),
    [
        (np.ones((100, 1)), 10),
        (np.ones((19, 2)), 10),
        (np.full((100, 2), math.nan), 10),
        (np.ones((100, 2)), 3),
        (np.ones((100, 2)), 0),
        (np.ones((100, 2)), 18),
    ],
)
def test_overfitting_of_too_little_is_refused(values, blocks):
    with pytest.raises(ValueError, match="give"):
        overfitting(values, blocks=blocks)


def test_trials_that_never_vary_win_nothing():
    values = np.zeros((100, 3))
    values[:, 1] = np.random.default_rng(1).normal(1, 1, 100)
    found = overfitting(values, blocks=4)
    assert found.probability == 0
    assert rank_trials(values).rows[0].trial == 1
    assert math.isnan(rank_trials(values).rows[1].sharpe)


def test_ranking_finds_skill_and_deflates_luck():
    rng = np.random.default_rng(12)
    values = rng.normal(0, 1, (1_000, 40))
    lucky = rank_trials(values)
    assert lucky.rows[0].p < 0.05 < lucky.rows[0].p_holm  # alone it would pass
    assert lucky.rows[0].deflated < 0.95
    assert lucky.rows[0].sharpe == pytest.approx(lucky.expected_maximum, rel=0.4)
    values[:, 17] += 0.3
    found = rank_trials(values)
    assert found.rows[0].trial == 17
    assert found.rows[0].p_holm < 0.01
    assert found.rows[0].p_false_discovery < 0.01
    assert [row.sharpe for row in found.rows] == sorted(
        (row.sharpe for row in found.rows), reverse=True
    )
    fewer = rank_trials(values, trials=2)
    assert fewer.rows[0].deflated >= found.rows[0].deflated
    assert fewer.trials == 2
