import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.mids import mid_at

TS = np.array([10, 20, 20, 30])
MID = np.array([1.0, 2.0, 3.0, math.nan])


def test_mid_in_force_is_the_last_one_known_then():
    found = mid_at(np.array([9, 10, 15, 20, 29, 30, 31]), TS, MID)
    assert found.mid == pytest.approx([math.nan, 1, 1, 3, 3, math.nan, math.nan], nan_ok=True)
    assert found.beyond.tolist() == [False] * 6 + [True]


def test_mid_before_a_fill_is_not_of_its_own_nanosecond():
    found = mid_at(np.array([10, 11, 20, 21]), TS, MID, before=True)
    assert found.mid == pytest.approx([math.nan, 1, 1, 3], nan_ok=True)


def test_mid_that_is_too_old_is_not_known():
    assert np.isnan(mid_at(np.array([15]), TS, MID, age_max_ns=4).mid[0])
    assert mid_at(np.array([15]), TS, MID, age_max_ns=5).mid[0] == 1


def test_mid_without_data_is_beyond():
    found = mid_at(np.array([1]), TS[:0], MID[:0])
    assert np.isnan(found.mid).all()
    assert found.beyond.all()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20), st.integers(-2, 25), st.booleans())
def test_mid_in_force_is_found_by_looking_at_all(stamps, wanted, before):
    ts = np.sort(np.array(stamps))
    mid = np.arange(len(ts), dtype=float)
    found = mid_at(np.array([wanted]), ts, mid, before=before)
    seen = [m for t, m in zip(ts, mid, strict=True) if (t < wanted if before else t <= wanted)]
    right = seen[-1] if seen and wanted <= ts[-1] else math.nan
    assert found.mid[0] == pytest.approx(right, nan_ok=True)
