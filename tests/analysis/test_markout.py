import math

import numpy as np
import pytest

from alephtx.analysis.markout import markouts, weighted_mean
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
    ts, mid = market(40)
    found = markouts(fills((2, 0, BUY, 101.0), (2, 0, SELL, 103.0)), ts, mid)
    # mid(3) = 103, mid(7) = 107, mid(32) = 132
    assert found[0] == pytest.approx([2 / 101 * 1e4, 6 / 101 * 1e4, 31 / 101 * 1e4])
    assert found[1] == pytest.approx([0, -4 / 103 * 1e4, -29 / 103 * 1e4])


def test_markouts_between_samples_take_the_last_one_before():
    ts, mid = market(40)
    assert markouts(fills((2.9, 0, BUY, 100.0)), ts, mid)[0, 0] == pytest.approx(300)  # mid(3)


def test_markouts_past_the_end_of_the_run_are_not_known():
    ts, mid = market(10)
    found = markouts(fills((6, 1, BUY, 50.0)), ts, mid)
    assert found[0, 0] == 0
    assert np.isnan(found[0, 1:]).all()


def test_markouts_over_a_hole_in_the_samples_are_not_known():
    ts, mid = market(40)
    kept = (ts < 5 * SECOND) | (ts > 20 * SECOND)
    found = markouts(fills((4, 0, BUY, 104.0)), ts[kept], mid[kept])
    assert not np.isnan(found[0, 0])
    assert np.isnan(found[0, 1])  # wanted at 9 s, last seen at 4 s


def test_markouts_without_a_mid_or_samples_are_not_known():
    ts, mid = market(10)
    mid[:, 1] = math.nan
    assert np.isnan(markouts(fills((1, 1, BUY, 50.0)), ts, mid)).all()
    assert np.isnan(markouts(fills((1, 1, BUY, 50.0)), ts[:0], mid[:0])).all()


def test_markouts_before_the_first_sample_are_not_known():
    ts, mid = market(10)
    assert np.isnan(markouts(fills((-5, 0, BUY, 100.0)), ts, mid)[0, 0])


def test_weighted_mean_passes_over_what_is_not_known():
    mean, count = weighted_mean(np.array([1.0, math.nan, 4.0]), np.array([1.0, 5.0, 2.0]))
    assert (mean, count) == (3.0, 2)
    assert weighted_mean(np.array([math.nan]), np.array([1.0]))[1] == 0
