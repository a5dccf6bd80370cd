import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.markout import (
    CURVE_NS,
    HORIZONS_NS,
    markout_curve,
    markouts,
    weighted_mean,
)
from alephtx.core.words import BUY, SELL

SECOND = 1_000_000_000


def fills(*rows):
    """Columns of (seconds, instrument, side, price)."""
    ts, instrument, side, price = zip(*rows, strict=True)
    return (
        np.array([round(t * SECOND) for t in ts]),
        np.array(instrument),
        np.array(side),
        np.array(price),
    )


def market(seconds):
    """A sample a second: instrument 0 rises by 1 from 100, instrument 1 stays at 50."""
    ts = np.arange(seconds) * SECOND
    return ts, np.stack([100.0 + np.arange(seconds), np.full(seconds, 50.0)], axis=1)


def test_markouts_of_a_rising_market_pay_the_buyer_and_cost_the_seller():
    ts, mid = market(70)
    found = markouts(fills((2, 0, BUY, 101.0), (2, 0, SELL, 103.0)), ts, mid)
    # mid(7) = 107, mid(32) = 132, mid(62) = 162
    assert found[0] == pytest.approx([6 / 101 * 1e4, 31 / 101 * 1e4, 61 / 101 * 1e4])
    assert found[1] == pytest.approx([-4 / 103 * 1e4, -29 / 103 * 1e4, -59 / 103 * 1e4])


def test_markouts_are_at_five_thirty_and_sixty_seconds():
    assert HORIZONS_NS == (5 * SECOND, 30 * SECOND, 60 * SECOND)
    assert set(HORIZONS_NS) <= set(CURVE_NS)


def test_markouts_between_samples_take_the_last_one_before():
    ts, mid = market(40)
    assert markouts(fills((2.9, 0, BUY, 100.0)), ts, mid)[0, 0] == pytest.approx(700)  # mid(7)


def test_markouts_past_the_end_of_the_run_are_not_known():
    ts, mid = market(10)
    found = markouts(fills((4, 1, BUY, 50.0)), ts, mid)
    assert found[0, 0] == 0
    assert np.isnan(found[0, 1:]).all()


def test_markouts_over_a_hole_in_the_samples_are_not_known():
    ts, mid = market(40)
    kept = (ts < 7 * SECOND) | (ts > 20 * SECOND)
    found = markouts(fills((3, 0, BUY, 104.0), (2, 0, BUY, 104.0)), ts[kept], mid[kept])
    assert not np.isnan(found[:, 0]).any()  # wanted at 8 and 7 s, last seen at 6 s
    found = markouts(fills((4, 0, BUY, 104.0)), ts[kept], mid[kept])
    assert np.isnan(found[0, 0])  # wanted at 9 s: too old
    found = markouts(fills((4, 0, BUY, 104.0)), ts[kept], mid[kept], age_max_ns=None)
    assert found[0, 0] == pytest.approx(2 / 104 * 1e4)  # mids of every change: 106 still stood


def test_markouts_without_a_mid_or_samples_are_not_known():
    ts, mid = market(10)
    mid[:, 1] = math.nan
    assert np.isnan(markouts(fills((1, 1, BUY, 50.0)), ts, mid)).all()
    assert np.isnan(markouts(fills((1, 1, BUY, 50.0)), ts[:0], mid[:0])).all()


def test_markouts_before_the_first_sample_are_not_known():
    ts, mid = market(10)
    assert np.isnan(markouts(fills((-6, 0, BUY, 100.0)), ts, mid)[0, 0])


def test_weighted_mean_passes_over_what_is_not_known():
    mean, count = weighted_mean(np.array([1.0, math.nan, 4.0]), np.array([1.0, 5.0, 2.0]))
    assert (mean, count) == (3.0, 2)
    assert weighted_mean(np.array([math.nan]), np.array([1.0]))[1] == 0


walks = st.lists(st.floats(50, 150), min_size=1, max_size=40)


@given(walks, walks, st.integers(0, 39), st.integers(0, 39))
def test_markouts_never_look_past_their_horizon(mids, others, at, horizon):
    """Whatever comes after t + h, the markout at h is the same."""
    ts = np.arange(40) * SECOND
    known, other = np.resize(mids, 40), np.resize(others, 40)
    changed = np.where(ts <= (at + horizon) * SECOND, known, other)
    deal = fills((at, 0, BUY, 100.0))
    found, again = (
        markouts(deal, ts, column[:, None], horizons_ns=(horizon * SECOND,), age_max_ns=None)
        for column in (known, changed)
    )
    assert found == pytest.approx(again, nan_ok=True, abs=0)
    if at + horizon < 40:
        assert found[0, 0] == (known[at + horizon] - 100) / 100 * 1e4


def test_curve_counts_what_it_leaves_out():
    ts, mid = market(70)
    mid[20, 0] = math.nan
    deals = fills((5, 0, BUY, 105.0), (15, 0, BUY, 115.0), (66, 0, BUY, 166.0))
    worth = np.array([1.0, 3.0, 2.0])
    edges = np.zeros(3)
    found = markout_curve(deals, worth, edges, ts, mid, horizons_ns=(5 * SECOND, 60 * SECOND))
    assert found.beyond.tolist() == [1, 2]  # 66 + 5 > 69; 15 + 60 and 66 + 60
    assert found.unknown.tolist() == [1, 0]  # 15 + 5 = 20 says nothing
    assert found.markout.known.tolist() == [1, 1]
    assert found.markout.mean == pytest.approx([5 / 105 * 1e4, 60 / 105 * 1e4])
    assert found.adverse == pytest.approx(-found.markout.mean)
    assert np.isnan(found.markout.low).all()  # one fill has no interval


def test_curve_holds_the_truth_within_its_band():
    """A market that falls 1 bps in the 5 s after each of our buys, plus noise."""
    rng = np.random.default_rng(5)
    n = 400
    at = np.arange(n) * 100 * SECOND
    ts = np.sort(np.concatenate([at, at + 5 * SECOND]))
    mid = np.full(2 * n, 100.0)
    mid[1::2] = 99.99 + rng.normal(0, 0.01, n)
    deals = (at, np.zeros(n, int), np.ones(n), np.full(n, 99.995))
    edges = np.full(n, 0.005 / 99.995 * 1e4)
    found = markout_curve(deals, np.ones(n), edges, ts, mid[:, None], horizons_ns=(5 * SECOND,))
    assert found.markout.low[0] < -0.5 < found.markout.high[0]
    assert found.markout.high[0] - found.markout.low[0] == pytest.approx(2 * 1.96 / 20, rel=0.2)
    assert found.adverse[0] == pytest.approx(0.5 - found.markout.mean[0], abs=1e-3)


def test_curve_of_nothing_is_not_known():
    none = (np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0))
    ts, mid = market(5)
    for samples in (ts, ts[:0]):
        found = markout_curve(none, np.zeros(0), np.zeros(0), samples, mid[: len(samples)])
        assert np.isnan(found.markout.mean).all()
        assert found.beyond.sum() == found.unknown.sum() == 0
