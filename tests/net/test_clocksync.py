"""The venue's clock offset is found within half the tightest round trips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.net.clocksync import Sample, VenueClock, venue_offset

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
