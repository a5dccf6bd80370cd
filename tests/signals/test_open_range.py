import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.signals import open_range
from alephtx.signals.open_range import range_update
from tests.signals.market import SECOND, START, empty_view, event, put_book

pytestmark = pytest.mark.kernel

SESSION, OFFSET, OPEN, LATE = 60 * SECOND, 7 * SECOND, 15 * SECOND, SECOND
BEGIN = (START - OFFSET) // SESSION * SESSION + OFFSET + SESSION


def feed(path):
    state = np.zeros(1, open_range.STATE)
    return [range_update(state, 0, ts, mid2, SESSION, OFFSET, OPEN, LATE) for ts, mid2 in path]


def slow_position(path):
    """Look through the whole path for this session's opening."""
    now, mid2 = path[-1]
    start = (now - OFFSET) // SESSION * SESSION + OFFSET
    ours = [(ts, m) for ts, m in path if ts >= start]
    if ours[0][0] - start > LATE or now - start < OPEN:
        return math.nan
    opening = [m / 2 for ts, m in ours if ts - start < OPEN]
    high, low = max(opening), min(opening)
    return (mid2 / 2 - (high + low) / 2) / max((high - low) / 2, 1)


def test_position_by_hand():
    # mids 100, 104, 98 while it opens: the middle is 101, half the range 3
    found = feed([
        (BEGIN, 200), (BEGIN + 5 * SECOND, 208), (BEGIN + OPEN - 1, 196),
        (BEGIN + OPEN, 202), (BEGIN + OPEN + 1, 208), (BEGIN + OPEN + 2, 214),
        (BEGIN + SESSION - 1, 190), (BEGIN + SESSION, 190),
    ])  # fmt: skip
    assert np.isnan(found[:3]).all()
    assert found[3:7] == [0.0, 1.0, 2.0, -2.0]
    assert math.isnan(found[7])  # the next session opens


def test_session_whose_start_was_missed_is_waited_out():
    found = feed([
        (BEGIN + LATE + 1, 200), (BEGIN + OPEN, 220), (BEGIN + SESSION + LATE, 100),
        (BEGIN + SESSION + OPEN, 104),
    ])  # fmt: skip
    assert np.isnan(found[:3]).all()
    assert found[3] == 2.0  # a range of nothing counts as one tick: half of it is the unit


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 1 << 50)), min_size=1,
                max_size=40))  # fmt: skip
def test_position_is_that_of_the_opening_in_the_whole_path(moves):
    now, path = BEGIN, []
    for passed, mid2 in moves:
        now += passed * 1_000_000
        path.append((now, mid2))
    for n, found in enumerate(feed(path), 1):
        assert found == pytest.approx(slow_position(path[:n]), rel=1e-12, nan_ok=True)


def test_on_event_passes_over_markets_that_are_not_there():
    view, state = empty_view(), np.zeros(1, open_range.STATE)
    params = np.zeros(1, open_range.PARAMS)
    for name, value in (("session_ns", SESSION), ("offset_ns", OFFSET), ("open_ns", OPEN),
                        ("late_ns", LATE)):  # fmt: skip
        params[name] = value
    said = []
    for passed, bids, asks in (
        (0, [(99, 1)], [(101, 1)]), (1, [(1, 1)], []), (2, [], [(900, 1)]),
        (3, [(103, 1)], [(105, 1)]), (16, [], []), (17, [(107, 1)], [(109, 1)]),
    ):  # fmt: skip
        view.now[0] = BEGIN + passed * SECOND
        put_book(view, 0, bids, asks)
        said.append(open_range.on_event(event(), view, params, state))
    assert np.isnan(said[:5]).all()
    assert said[5] == 3.0  # 108 against 100 to 104
