"""The hash index against a dict."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.execution.index import (
    ABSENT,
    index_delete,
    index_get,
    index_home,
    index_put,
    make_index,
)

KEYS = st.tuples(
    st.one_of(st.integers(0, 6), st.sampled_from([(1 << 62) + 3, (1 << 63) - 1, -1, -(1 << 63)])),
    st.integers(0, 2),
)
STEPS = st.lists(st.tuples(st.sampled_from(["put", "delete"]), KEYS, st.integers(-9, 9)))


@pytest.mark.kernel
@settings(max_examples=60)
@given(STEPS)
def test_index_any_history_equals_dict(steps):
    """A small table, so that probes collide, wrap and shift back all the time."""
    rows, naive = make_index(8), {}
    for what, key, value in steps:
        if what == "put" and (key in naive or len(naive) < 8):
            index_put(rows, *key, value)
            naive[key] = value
        elif what == "delete":
            assert index_delete(rows, *key) == (1 if naive.pop(key, None) is not None else 0)
        assert {k: index_get(rows, *k) for k in naive} == naive
        assert int(rows[:, 0].sum()) == len(naive)
        assert index_get(rows, *key) == naive.get(key, ABSENT)


@pytest.mark.kernel
def test_index_full_of_one_home_is_emptied_in_any_order():
    """All keys share a home, so that deletion must shift a whole run, around the table's end."""
    rows = make_index(8)
    home = rows.shape[0] - 2
    keys = [a for a in range(4000) if index_home(rows, a, 0) == home][:8]
    for order in (keys, keys[::-1], keys[3:] + keys[:3]):
        for key in keys:
            index_put(rows, key, 0, key)
        left = list(keys)
        for key in order:
            assert index_delete(rows, key, 0) == 1
            left.remove(key)
            assert [index_get(rows, k, 0) for k in left] == left
        assert rows[:, 0].sum() == 0


def test_index_of_many_dense_ids_probes_shortly():
    """Order ids are dense counters: the hash must spread them."""
    rows = make_index(20_000)
    for order_id in range(1 << 54, (1 << 54) + 20_000):
        index_put(rows, order_id, 0, order_id)
    mask = rows.shape[0] - 1
    used = rows[:, 0].nonzero()[0]
    away = [(int(at) - index_home(rows, rows[at, 1], rows[at, 2])) & mask for at in used]
    assert len(used) == 20_000
    assert max(away) < 100
    assert sum(away) / len(away) < 2
