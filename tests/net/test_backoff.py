"""Waits between tries."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.net.backoff import Backoff


@given(st.integers(), st.integers(1, 10**9), st.integers(0, 10**9))
def test_waits_stay_in_bounds_and_replay_from_the_seed(seed, base, more):
    one = Backoff(random.Random(seed), base, base + more)
    two = Backoff(random.Random(seed), base, base + more)
    waits = [one.next() for _ in range(20)]
    assert waits == [two.next() for _ in range(20)]
    assert all(base <= wait <= base + more for wait in waits)
    assert all(b <= 3 * a for a, b in zip([base, *waits], waits, strict=False))


def test_reset_starts_small_again():
    backoff = Backoff(random.Random(3), 100, 10**6)
    for _ in range(20):
        backoff.next()
    assert backoff.tries == 20
    backoff.reset()
    assert backoff.next() <= 300
    assert backoff.tries == 1


def test_bounds_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="base <= cap"):
        Backoff(random.Random(1), 10, 5)
