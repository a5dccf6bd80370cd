import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.signals import realised_vol
from alephtx.signals.realised_vol import vol_read, vol_update
from tests.signals.market import MS, SECOND, START, empty_view, event, put_book

pytestmark = pytest.mark.kernel

SAMPLE = 100 * MS
TAUS = np.array([SECOND, 3 * SECOND, 10 * SECOND])
steps = st.lists(
    st.tuples(st.sampled_from([0, 1, 30, 99, 100, 101, 250, 1500]),
              st.one_of(st.just(math.nan), st.floats(50.0, 200.0))),
    max_size=60,
)  # fmt: skip


def slow_vol(path, now, scale):
    """From the whole path: sample it on the grid, square, weigh, sum."""
    known = [(ts, mid) for ts, mid in path if not math.isnan(mid)]
    if not known:
        return math.nan
    begun = known[0][0]
    points = (now - begun) // SAMPLE
    grid = [begun + SAMPLE * k for k in range(points + 1)]
    mids = [known[0][1]]
    mids += [[mid for ts, mid in known if ts < point][-1] for point in grid[1:]]  # before it
    if points * SAMPLE < TAUS[scale]:
        return math.nan
    weights = [math.exp(-SAMPLE * (points - k) / TAUS[scale]) for k in range(1, points + 1)]
    returns = [math.log(b / a) for a, b in pairwise(mids)]
    rates = [r * r / (SAMPLE / 1e9) for r in returns]
    return math.sqrt(sum(w * r for w, r in zip(weights, rates, strict=True)) / sum(weights))


def feed(path):
    state = np.zeros(1, realised_vol.STATE)
    for ts, mid in path:
        vol_update(state, 0, ts, mid, SAMPLE, TAUS)
    return state


def test_vol_of_steady_steps_is_their_size_per_root_second():
    # 1 % up and down every 100 ms: ln(1.01)^2 x 10 a second, whatever the weights.
    path = [(START + k * SAMPLE - (k > 0), 100.0 * 1.01 ** (k % 2)) for k in range(101)]
    state = feed([*path, (START + 100 * SAMPLE, 100.0)])
    for scale in range(3):
        found = vol_read(state, 0, scale, SAMPLE, TAUS)
        assert found == pytest.approx(math.log(1.01) * math.sqrt(10), rel=1e-12)


def test_vol_of_one_step_by_hand():
    # One return at the first of ten points; lambda = e^-0.1.
    state = feed([(START, 100.0), (START + 1, 101.0), (START + SECOND, 101.0)])
    kept = math.exp(-0.1)
    weight = kept**9 * (1 - kept) / (1 - kept**10)
    right = math.log(1.01) * math.sqrt(10 * weight)
    assert vol_read(state, 0, 0, SAMPLE, TAUS) == pytest.approx(right, rel=1e-12)
    assert math.isnan(vol_read(state, 0, 1, SAMPLE, TAUS))  # 3 s have not passed


@given(steps)
def test_vol_is_that_of_the_whole_path_sampled(moves):
    now, path = START, []
    for passed, mid in moves:
        now += passed * MS
        path.append((now, mid))
    state = feed(path)
    for scale in range(3):
        found = vol_read(state, 0, scale, SAMPLE, TAUS)
        right = slow_vol(path, now, scale)
        assert found == pytest.approx(right, rel=1e-9, abs=1e-12, nan_ok=True)


def test_vol_falls_while_nothing_moves_and_the_fast_one_first():
    path = [(START + k * SAMPLE - (k > 0), 100.0 + k % 2) for k in range(201)]
    state = feed(path)
    before = [vol_read(state, 0, k, SAMPLE, TAUS) for k in range(3)]
    vol_update(state, 0, START + 30 * SECOND, 100.0, SAMPLE, TAUS)
    after = [vol_read(state, 0, k, SAMPLE, TAUS) for k in range(3)]
    fell = [a / b for a, b in zip(after, before, strict=True)]
    assert 0 <= fell[0] < fell[1] < fell[2] < 1


def test_on_event_reads_the_mid_of_a_market_that_is_there():
    view, state = empty_view(), np.zeros(1, realised_vol.STATE)
    params = np.zeros(1, realised_vol.PARAMS)
    params["instrument"], params["sample_ns"], params[0]["tau_ns"][:] = 1, SAMPLE, TAUS
    for k in range(12):
        view.now[0] = START + k * SAMPLE
        put_book(view, 1, [(99, 1)], [(101, 1)])
        if k == 5:  # nonsense, but flagged as such
            put_book(view, 1, [(1, 1)], [(2, 1)])
            view.top[1]["aux"] = w.RESYNCING
        found = realised_vol.on_event(event(), view, params, state)
        assert math.isnan(found) if k < 10 else found == 0.0
