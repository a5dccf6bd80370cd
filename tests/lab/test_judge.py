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
    embargo = min(embargo, test - 1, train - 1)
    walk = Walk(train_s=train, test_s=test, purge_s=purge, embargo_s=embargo, anchored=anchored)
    first = 7
    last = first + (train + test + purge + spare) * SECOND_NS
    found = folds(walk, first, last)
    assert len(found) == 1 + spare // test
    for k, fold in enumerate(found):
        begin = first if anchored else first + k * test * SECOND_NS
        end = first + (k * test + train) * SECOND_NS
        assert fold.test == (end + purge * SECOND_NS, end + (purge + test) * SECOND_NS)
        assert fold.test.end_ns <= last
        learnt = {
            second
            for part in fold.train
            for second in range((part.start_ns - first) // 10**9, (part.end_ns - first) // 10**9)
        }
        wanted = set(range((begin - first) // 10**9, (end - first) // 10**9))
        for earlier in found[:k]:
            tested = (earlier.test.end_ns - first) // 10**9
            wanted -= set(range(tested, tested + embargo))
        assert learnt == wanted
        if k:
            assert fold.test.start_ns == found[k - 1].test.end_ns


def test_purge_lies_before_a_test_and_embargo_behind_the_tests_before():
    """By hand: trainings of 20 s, tests of 10 s; 3 s purged, 2 s embargoed behind each test."""
    walk = Walk(train_s=20, test_s=10, purge_s=3, embargo_s=2)
    seconds = [
        ([(w.start_ns // SECOND_NS, w.end_ns // SECOND_NS) for w in fold.train],
         (fold.test.start_ns // SECOND_NS, fold.test.end_ns // SECOND_NS))
        for fold in folds(walk, 0, 63 * SECOND_NS)
    ]  # fmt: skip
    assert seconds == [
        ([(0, 20)], (23, 33)),
        ([(10, 30)], (33, 43)),  # ends in the first test, before its end
        ([(20, 33), (35, 40)], (43, 53)),  # 33 to 35 follows the first test
        ([(30, 33), (35, 43), (45, 50)], (53, 63)),
    ]


def test_an_embargo_that_leaves_nothing_to_learn_from_is_refused():
    with pytest.raises(ConfigError, match="embargo_s = 10 is not below test_s = 10"):
        folds(Walk(train_s=20, test_s=10, embargo_s=10), 0, 99 * SECOND_NS)
    with pytest.raises(ConfigError, match="embargo_s = 5 takes all of a training of 3 s"):
        folds(Walk(train_s=3, test_s=10, purge_s=7, embargo_s=5), 0, 99 * SECOND_NS)


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
