import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.signals import spread_zscore
from alephtx.signals.spread_zscore import spread_of, zscore_update
from tests.signals.market import MS, SECOND, START, empty_view, event, put_book

pytestmark = pytest.mark.kernel

TAU, FLOOR = 10 * SECOND, 0.5
path_of = st.lists(
    st.tuples(st.sampled_from([0, 1, 50, 1000, 7000, 20_000]),
              st.one_of(st.sampled_from([math.nan, math.inf]), st.floats(-1e4, 1e4))),
    max_size=30,
)  # fmt: skip


def slow_zscore(path):
    """Integrate the path of what was in force, weighted by e^(-(now - s) / tau)."""
    known = [(ts, x) for ts, x in path if math.isfinite(x)]
    now, x = path[-1]
    if not known or not math.isfinite(x) or now - known[0][0] < TAU:
        return math.nan
    ends = [ts for ts, _ in known[1:]] + [now]
    weights = [
        math.exp(-(now - end) / TAU) - math.exp(-(now - ts) / TAU)
        for (ts, _), end in zip(known, ends, strict=True)
    ]
    total = sum(weights)
    mean = sum(weight * v for weight, (_, v) in zip(weights, known, strict=True)) / total
    variance = sum(wt * (v - mean) ** 2 for wt, (_, v) in zip(weights, known, strict=True)) / total
    return (x - mean) / max(math.sqrt(variance), FLOOR)


def feed(path):
    state = np.zeros(1, spread_zscore.STATE)
    return [zscore_update(state, 0, ts, x, TAU, FLOOR) for ts, x in path]


def test_zscore_by_hand():
    # 2 ticks for tau, then 4 for tau ln 2: weights (1 - 1/e) / 2 and 1/2.
    wide = START + TAU + round(TAU * math.log(2))
    found = feed([(START, 2.0), (START + TAU, 4.0), (wide, 10.0)])
    assert math.isnan(found[0])
    assert found[1] == (4.0 - 2.0) / FLOOR  # the spread never moved before: the floor
    low, high = (1 - 1 / math.e) / 2, 1 / 2
    mean = (2 * low + 4 * high) / (low + high)
    variance = (low * (2 - mean) ** 2 + high * (4 - mean) ** 2) / (low + high)
    assert found[2] == pytest.approx((10 - mean) / math.sqrt(variance), rel=1e-9)


@given(path_of)
def test_zscore_is_that_of_the_whole_weighted_path(moves):
    now, path = START, []
    for passed, x in moves:
        now += passed * MS
        path.append((now, x))
    for n, found in enumerate(feed(path), 1):
        right = slow_zscore(path[:n])
        assert found == pytest.approx(right, rel=1e-6, abs=1e-6, nan_ok=True)


def test_zscore_of_what_never_moves_is_nought():
    assert feed([(START + k * SECOND, 3.0) for k in range(12)])[-1] == 0.0


def test_spread_of_one_and_of_two_instruments():
    view = empty_view()
    put_book(view, 0, [(999_950, 1)], [(1_000_050, 1)])
    put_book(view, 1, [(99, 1)], [(102, 1)])
    assert spread_of(view.top, 1, -1) == 3.0
    found = spread_of(view.top, 1, 0)
    assert found == pytest.approx(1e4 * math.log(100.5 / 1_000_000), rel=1e-14)
    view.top[0]["aux"] = w.STALE
    assert math.isnan(spread_of(view.top, 1, 0))
    assert spread_of(view.top, 1, -1) == 3.0
    view.top[1]["bid_qty"] = 0
    assert math.isnan(spread_of(view.top, 1, -1))


def test_on_event_is_silent_without_a_market_and_goes_on_after():
    view, state = empty_view(), np.zeros(1, spread_zscore.STATE)
    params = np.zeros(1, spread_zscore.PARAMS)
    params["other"], params["tau_ns"], params["floor"] = -1, TAU, FLOOR
    said = []
    for k, width in enumerate([2, 2, 4, 0, 4]):
        view.now[0] = START + k * 5 * SECOND
        put_book(view, 0, [(100, 1)], [(100 + width, 1)] if width else [])
        said.append(spread_zscore.on_event(event(), view, params, state))
    assert np.isnan(said[:2]).all()
    assert said[2] == 4.0  # two ticks above, the floor half a tick
    assert math.isnan(said[3])
    right = slow_zscore([(START + k * 5 * SECOND, x) for k, x in enumerate([2, 2, 4, 4, 4])])
    assert said[4] == pytest.approx(right, rel=1e-9)
