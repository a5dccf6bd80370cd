"""The venue's clock offset is found within half the tightest round trips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.net.clocksync import AGREED, STEP_NS, Offset, Sample, VenueClock, venue_offset

TRIPS = st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)), min_size=1, max_size=40)


@given(st.integers(-(10**13), 10**13), TRIPS)
def test_offset_is_right_within_its_stated_error(truth, trips):
    samples = []
    now = 1_700_000_000_000_000_000
    for there, back in trips:
        samples.append(Sample(now, now + there + back, now + there + truth))
        now += there + back + 1000
    offset = venue_offset(samples)
    assert abs(offset.offset_ns - truth) <= offset.error_ns + 1
    clock = VenueClock()
    for sample in samples[-32:]:
        clock.add(sample)
    assert clock.offset == venue_offset(samples[-32:])


def test_one_stale_answer_among_tight_ones_does_not_move_the_median():
    good = [Sample(k * 1000, k * 1000 + 100, k * 1000 + 50 + 7_000) for k in range(4)]
    assert venue_offset([*good, Sample(9_000, 9_050, 0)]).offset_ns == 7_000


def test_no_usable_sample_is_an_error_and_backward_ones_are_ignored():
    with pytest.raises(ValueError, match="no usable"):
        venue_offset([Sample(5, 4, 0)])
    clock = VenueClock()
    assert clock.add(Sample(5, 4, 0)).error_ns == 1 << 62


SECOND = 1_000_000_000


def sample(k, offset, trip=2_000_000):
    return Sample(k * SECOND, k * SECOND + trip, k * SECOND + trip // 2 + offset)


@given(st.integers(-10 * SECOND, 10 * SECOND), st.integers(0, 40), st.integers(2 * 10**6, 10**8))
def test_clock_that_was_set_is_believed_after_a_few_samples(step, before, trip):
    clock = VenueClock()
    for k in range(before):
        clock.add(sample(k, 0))
    for k in range(before, before + AGREED):
        clock.add(sample(k, step, trip))
    contradicts = before > 0 and abs(step) > STEP_NS + trip // 2 + 10**6
    assert clock.steps == contradicts
    if contradicts or not before:
        assert abs(clock.offset.offset_ns - step) <= clock.offset.error_ns + 1
    else:
        assert abs(clock.offset.offset_ns) <= max(trip // 2, abs(step))


def test_fewer_stale_answers_than_that_change_nothing():
    clock = VenueClock()
    for k in range(0, 40, 4):
        clock.add(sample(k, 7))
        for j in range(1, AGREED):
            assert clock.add(sample(k + j, -3 * SECOND)).offset_ns == 7
    assert clock.steps == 0


def test_contradicting_samples_that_contradict_each_other_change_nothing():
    clock = VenueClock()
    clock.add(sample(0, 0))
    for k in range(1, 9):
        assert clock.add(sample(k, k * 5 * SECOND)).offset_ns == 0
    assert clock.steps == 0
    for k in range(9, 9 + AGREED - 1):  # the last of them was of the new clock already
        clock.add(sample(k, 40 * SECOND))
    assert (clock.offset.offset_ns, clock.steps) == (40 * SECOND, 1)


def test_one_tight_sample_is_worth_more_than_many_slow_ones():
    slow = [sample(k, 0, trip=8 * SECOND) for k in range(4)]
    tight = sample(9, 5_000_000, trip=2_000_000)
    assert venue_offset([*slow, tight]) == (5_000_000, 1_000_000)
    assert (
        venue_offset([*slow, tight, sample(10, 5_000_000, trip=14_000_000)]).error_ns == 7_000_000
    )


@pytest.mark.parametrize(
    ("offset", "error", "shift"),
    [
        (0, 0, 0), (7, 7, 0), (7, 8, 0), (-7, 7, 0), (7, 5, 2), (-7, 5, -2), (7, 1 << 62, 0),
        (10 * SECOND, 0, 10 * SECOND), (10 * SECOND + 1, 0, 0), (-10 * SECOND - 1, 0, 0),
        (11 * SECOND, SECOND, 10 * SECOND),
    ],
)  # fmt: skip
def test_our_clock_is_moved_by_the_least_that_fits(offset, error, shift):
    assert Offset(offset, error).shift_ns == shift
