import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.serve.backtest_thin import extremes


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3_000), st.integers(8, 200), st.integers(0, 1 << 30), st.floats(0, 1),
    st.integers(1, 2),
)  # fmt: skip
def test_thinned_points_keep_every_extreme_of_every_column(count, most, seed, missing, width):
    random = np.random.default_rng(seed)
    ts = np.sort(random.integers(0, 10_000, count)) + 1_700_000_000_000_000_000
    columns = tuple(
        np.where(random.random(count) < missing, np.nan, random.normal(0, 9, count))
        for _ in range(width)
    )
    at = extremes(ts, columns, most)
    assert len(at) <= most
    assert (np.diff(at) > 0).all()
    assert at[0] == 0
    assert at[-1] == count - 1
    for column in columns:
        if not np.isnan(column).all():
            assert np.nanmax(column[at]) == np.nanmax(column)
            assert np.nanmin(column[at]) == np.nanmin(column)


def test_single_spike_of_a_long_quiet_series_stays_where_it_was():
    values = np.zeros(1_000_000)
    values[654_321] = -5.0
    at = extremes(np.arange(1_000_000), (values,))
    assert len(at) <= 4_000
    assert 654_321 in at


def test_bucket_without_values_keeps_a_point_so_that_the_gap_is_seen():
    values = np.ones(10_000)
    values[3_000:7_000] = np.nan
    at = extremes(np.arange(10_000), (values,), 100)
    assert 18 <= np.isnan(values[at]).sum() <= 21  # of 49 buckets, two fifths


def test_all_points_at_one_time_are_still_few():
    at = extremes(np.full(5_000, 7), (np.arange(5_000.0),), 10)
    assert at.tolist() == [0, 4_999]
