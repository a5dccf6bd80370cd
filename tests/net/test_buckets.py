"""Rate limits: never above the capacity, cancels always find their share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.clock import ManualClock
from alephtx.core.errors import ConfigError
from alephtx.core.ports import Bucket
from alephtx.net.buckets import Buckets

SECOND = 1_000_000_000


def make(capacity=10, period_ns=SECOND, reserve_frac=0.2):
    clock = ManualClock()
    return Buckets([Bucket("w", capacity, period_ns)], clock, reserve_frac), clock


@pytest.mark.smoke
def test_share_of_the_cancels_is_kept():
    buckets, clock = make()
    assert [buckets.try_take([("w", 1)]) for _ in range(8)] == [0] * 8
    assert buckets.try_take([("w", 1)]) == SECOND // 10
    assert [buckets.try_take([("w", 1)], cancel=True) for _ in range(2)] == [0, 0]
    assert buckets.try_take([("w", 1)], cancel=True) == SECOND // 10
    clock.advance(SECOND // 10)
    assert buckets.try_take([("w", 1)], cancel=True) == 0


def test_all_weights_are_taken_or_none():
    clock = ManualClock()
    buckets = Buckets([Bucket("a", 5, SECOND), Bucket("b", 1, SECOND)], clock, 0)
    assert buckets.try_take([("a", 1), ("b", 1)]) == 0
    assert buckets.try_take([("a", 1), ("b", 1)]) == SECOND
    assert (buckets.left("a"), buckets.left("b")) == (4, 0)


@given(
    st.integers(1, 50),
    st.integers(1_000, 10**10),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 5), st.booleans()), max_size=60),
)
def test_any_window_stays_within_capacity_plus_refill(capacity, period_ns, steps):
    """Pair: in any span the tokens taken never exceed capacity + span * capacity / period."""
    buckets, clock = make(capacity, period_ns, 0)
    taken = []
    for advance, cost, cancel in steps:
        clock.advance(advance)
        if cost <= capacity and buckets.try_take([("w", cost)], cancel=cancel) == 0:
            taken.append((clock.monotonic(), cost))
    for start in range(len(taken)):
        total = 0
        for at, cost in taken[start:]:
            total += cost
            assert (total - capacity) * period_ns <= (at - taken[start][0]) * capacity


@given(st.integers(1, 50), st.integers(1, 10**10), st.integers(1, 50))
def test_promised_wait_is_exact(capacity, period_ns, cost):
    buckets, clock = make(capacity, period_ns, 0)
    cost = min(cost, capacity)
    assert buckets.try_take([("w", capacity)]) == 0
    wait = buckets.try_take([("w", cost)])
    clock.advance(wait - 1)
    assert buckets.try_take([("w", cost)]) == 1
    clock.advance(1)
    assert buckets.try_take([("w", cost)]) == 0


async def test_take_waits_in_the_clock_given():
    buckets, clock = make(reserve_frac=0)
    for _ in range(10):
        assert await buckets.take([("w", 1)]) == 0
    assert await buckets.take([("w", 5)]) == SECOND // 2
    assert clock.monotonic() == SECOND // 2


def test_count_of_the_venue_wins_when_it_is_worse():
    buckets, _ = make()
    buckets.learn({"w": 9, "unheard of": 3})
    assert buckets.left("w") == 1
    buckets.learn({"w": 0})
    assert buckets.left("w") == 1
    buckets.learn({"w": 99})
    assert buckets.left("w") == 0


def test_hold_stops_even_cancels():
    buckets, clock = make()
    buckets.hold(3 * SECOND)
    buckets.hold(SECOND)
    assert buckets.try_take([], cancel=True) == 3 * SECOND
    clock.advance(3 * SECOND)
    assert buckets.try_take([("w", 1)]) == 0


def test_impossible_charges_are_named():
    buckets, _ = make()
    with pytest.raises(ConfigError, match="known: w"):
        buckets.try_take([("x", 1)])
    for cost in (9, 11, -1):
        with pytest.raises(ConfigError, match="never fits"):
            buckets.try_take([("w", cost)])
    with pytest.raises(ConfigError, match="positive"):
        make(capacity=0)
    with pytest.raises(ConfigError, match="share"):
        make(reserve_frac=1)
