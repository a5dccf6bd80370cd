import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.samples import PRICE_MAX, PRICE_MIN, price_of, read_samples, take, thin

KEYS = ["a", "b"]


def test_read_samples_out_of_order_sorts_them_into_columns():
    data = [
        {"ts": 20, "mids": {"a": 2.0}, "tops": {"a": ["1.9", "2.1"]}},
        {"ts": 10, "mids": {"a": 1.0, "b": 5, "other": 9}},
    ]
    found = read_samples(data, KEYS)
    assert found.ts.tolist() == [10, 20]
    assert found.mid[0].tolist() == [1, 5]
    assert found.mid[1, 0] == 2
    assert np.isnan(found.mid[1, 1])
    assert (found.bid[1, 0], found.ask[1, 0]) == (1.9, 2.1)
    assert np.isnan(found.bid[0]).all()
    assert found.skipped == 0


@pytest.mark.parametrize(
    "entry", [None, 3, [], {}, {"ts": "10"}, {"ts": True}, {"ts": -1}, {"ts": 1 << 63}, {"ts": 1.5}]
)
def test_read_samples_of_senseless_rows_counts_them(entry):
    found = read_samples([entry, {"ts": 1}], KEYS)
    assert found.ts.tolist() == [1]
    assert found.skipped == 1


def test_read_samples_of_doubled_times_keeps_the_first():
    found = read_samples([{"ts": 1, "mids": {"a": 1}}, {"ts": 1, "mids": {"a": 2}}], KEYS)
    assert found.mid[:, 0].tolist() == [1]
    assert found.skipped == 1


@pytest.mark.parametrize("data", [None, {}, "x", 3])
def test_read_samples_of_no_list_is_empty(data):
    assert len(read_samples(data, KEYS).ts) == 0


@pytest.mark.parametrize(
    "value", [None, True, "", "x", "nan", "inf", -1, 0, 1e300, "1e-300", math.inf, [], 10**400]
)
def test_price_of_what_is_no_price_is_nan(value):
    assert math.isnan(price_of(value))


@pytest.mark.parametrize(("value", "price"), [(2, 2.0), ("61800.5", 61800.5), (1e-9, 1e-9)])
def test_price_of_a_number_is_that_number(value, price):
    assert price_of(value) == price


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ts", "mids", "tops", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON | st.lists(JSON, max_size=6))
def test_read_samples_of_any_json_gives_ordered_prices(data):
    found = read_samples(data, KEYS)
    assert (np.diff(found.ts) > 0).all()
    assert found.mid.shape == found.bid.shape == found.ask.shape == (len(found.ts), 2)
    for column in (found.mid, found.bid, found.ask):
        known = column[~np.isnan(column)]
        assert ((known >= PRICE_MIN) & (known <= PRICE_MAX)).all()


@given(st.integers(0, 3000), st.integers(2, 500))
def test_thin_keeps_the_ends_and_no_more_than_asked(count, most):
    places = thin(count, most).tolist()
    assert len(places) == min(count, most)
    assert places == sorted(set(places))
    if count:
        assert (places[0], places[-1]) == (0, count - 1)


def test_take_takes_every_column():
    found = take(read_samples([{"ts": k, "mids": {"a": k}} for k in (1, 2, 3)], KEYS), [0, 2])
    assert found.ts.tolist() == [1, 3]
    assert found.mid[:, 0].tolist() == [1, 3]
