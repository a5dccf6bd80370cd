"""Folds do not overlap, and the verdict knows luck from skill."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.lab.plan import Walk
from alephtx.lab.ranking import judge, score
from alephtx.lab.trial import Outcome
from alephtx.lab.walk import SECOND_NS, folds


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 20), st.integers(0, 20),
       st.booleans(), st.integers(0, 400))  # fmt: skip
def test_no_fold_sees_what_it_is_tried_on(train, test, purge, embargo, anchored, spare):
    walk = Walk(train_s=train, test_s=test, purge_s=purge, embargo_s=embargo, anchored=anchored)
    first = 7
    last = first + (train + test + purge + embargo + spare) * SECOND_NS
    found = folds(walk, first, last)
    assert len(found) == 1 + spare // test
    for k, fold in enumerate(found):
        assert fold.test.start_ns - fold.train.end_ns == (purge + embargo) * SECOND_NS
        assert fold.test.end_ns - fold.test.start_ns == test * SECOND_NS
        assert fold.test.end_ns <= last
        assert fold.train.start_ns == (first if anchored else first + k * test * SECOND_NS)
        if k:
            assert fold.test.start_ns == found[k - 1].test.end_ns


def test_data_too_short_for_a_fold_is_refused():
    with pytest.raises(ConfigError, match="one fold takes 30 s, and the data spans 29 s"):
        folds(Walk(train_s=20, test_s=10), 0, 29 * SECOND_NS)


def outcomes(values):
    return [
        Outcome(id=str(k), params={"strategies.m.a": k}, start_ns=0, end_ns=1,
                net=float(column.sum()), values=column.tolist())
        for k, column in enumerate(values.T)
    ]  # fmt: skip


def test_luck_is_not_called_skill():
    """Holm lets any false one through in 5 of 100 sweeps of noise; twenty sweeps here."""
    through = 0
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 1, (200, 30))
        lucky = judge(outcomes(noise), "net")
        assert lucky.rows[0].net == max(row.net for row in lucky.rows) > 0
        assert lucky.rows[0].deflated < 0.98
        through += any(row.holm for row in lucky.rows)
    assert through <= 4
    noise[:, 17] += 0.6
    skilled = judge(outcomes(noise), "deflated_sharpe")
    assert skilled.trials == 30
    assert skilled.rows[0].params == {"strategies.m.a": 17}
    assert skilled.rows[0].deflated > 0.99
    assert skilled.rows[0].holm
    assert skilled.overfitting == 0
    assert lucky.overfitting > 0.2


def test_what_failed_is_told_and_not_ranked():
    good = outcomes(np.ones((3, 1)))
    bad = Outcome(id="x", params={}, start_ns=0, end_ns=1, error="no")
    told = judge([bad, *good], "sharpe")
    assert (told.trials, told.failed, told.overfitting) == (1, [({}, "no")], None)
    assert told.rows[0].sharpe is None
    assert score(bad, "net") == score(good[0], "sharpe") == -np.inf
    assert score(good[0], "net") == 3.0
    assert judge([bad], "net").rows == []
    assert judge(outcomes(np.zeros((0, 2))), "net").rows[0].sharpe is None
