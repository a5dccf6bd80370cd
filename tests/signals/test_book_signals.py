"""VAMP, microprice and book imbalance: what is read off one book."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.signals import book_imbalance, microprice, vamp
from tests.signals.market import DEPTH, empty_view, event, put_book

pytestmark = pytest.mark.kernel

lots = st.integers(1, 1 << 50)
prices = st.integers(1, 1 << 40)
sides = st.lists(lots, min_size=0, max_size=DEPTH)


@st.composite
def books(draw):
    """Bids and asks, best first, never crossed."""
    best, gap = draw(prices), draw(st.integers(1, 1000))
    steps = st.lists(st.integers(1, 50), min_size=DEPTH, max_size=DEPTH)
    made = []
    for side, start in ((-1, best), (1, best + gap)):
        at, levels = start, []
        for qty, step in zip(draw(sides), draw(steps), strict=False):
            levels.append((at, qty))
            at += side * step
        made.append(levels)
    return made


def view_of(bids, asks, i=1):
    view = empty_view()
    put_book(view, i, bids, asks)
    return view


def slow_vamp(bids, asks, depth):
    pairs = list(zip(bids, asks, strict=False))[:depth]
    if not pairs:
        return math.nan
    total = sum(Fraction(b) * aq + Fraction(a) * bq for (b, bq), (a, aq) in pairs)
    return float(total / sum(bq + aq for (_, bq), (_, aq) in pairs))


def slow_imbalance(bids, asks, depth, weight):
    if not bids or not asks:
        return math.nan
    weights = [Fraction(weight) ** k for k in range(depth)]
    bid = sum(share * qty for share, (_, qty) in zip(weights, bids, strict=False))
    ask = sum(share * qty for share, (_, qty) in zip(weights, asks, strict=False))
    return float((bid - ask) / (bid + ask))


def same(found, right, rel=1e-12):
    assert found == pytest.approx(right, rel=rel, abs=1e-12, nan_ok=True)


def test_vamp_of_a_book_by_hand():
    # (99 x 1 + 101 x 3 + 98 x 2 + 103 x 4) / (3 + 1 + 4 + 2) = 1010 / 10
    view = view_of([(99, 3), (98, 4)], [(101, 1), (103, 2)])
    assert vamp.vamp(view.levels, 1, 2) == 101.0
    assert vamp.vamp(view.levels, 1, 1) == 100.5  # the microprice: (99 x 1 + 101 x 3) / 4
    assert vamp.vamp(view.levels, 1, 99) == 101.0  # no more levels than there are


@given(books(), st.integers(1, DEPTH + 2))
def test_vamp_is_the_sum_over_pairs_of_levels(book, depth):
    bids, asks = book
    found = vamp.vamp(view_of(bids, asks).levels, 1, depth)
    same(found, slow_vamp(bids, asks, depth))


@given(books())
def test_vamp_lies_within_the_levels_that_it_is_made_of(book):
    bids, asks = book
    n = min(len(bids), len(asks))
    found = vamp.vamp(view_of(bids, asks).levels, 1, DEPTH)
    if n:
        assert bids[n - 1][0] - 1e-3 <= found <= asks[n - 1][0] + 1e-3


def test_microprice_by_hand_leans_to_the_side_that_has_less():
    view = view_of([(99, 3)], [(101, 1)])
    assert microprice.microprice(view.top, 1) == 100.5
    assert microprice.mid(view.top, 1) == 100.0


@given(books())
def test_microprice_is_the_touch_weighted_by_the_other_side(book):
    bids, asks = book
    view = view_of(bids, asks)
    found = microprice.microprice(view.top, 1)
    same(found, slow_vamp(bids, asks, 1))
    if bids and asks:
        assert bids[0][0] <= found <= asks[0][0]
        same(microprice.mid(view.top, 1), (bids[0][0] + asks[0][0]) / 2)
    else:
        assert math.isnan(microprice.mid(view.top, 1))


def test_imbalance_by_hand():
    view = view_of([(99, 3), (98, 4)], [(101, 1), (103, 2)])
    assert book_imbalance.touch_imbalance(view.top, 1) == 0.5
    # weight 1/2: ((3 - 1) + (4 - 2) / 2) / ((3 + 1) + (4 + 2) / 2) = 3 / 7
    assert book_imbalance.depth_imbalance(view.levels, 1, 2, 0.5) == 3 / 7
    assert book_imbalance.depth_imbalance(view.levels, 1, 1, 0.5) == 0.5


@given(books(), st.integers(1, DEPTH + 2), st.sampled_from([0.25, 0.5, 0.7, 1.0]))
def test_imbalance_is_the_weighted_sum_over_levels(book, depth, weight):
    bids, asks = book
    view = view_of(bids, asks)
    found = book_imbalance.depth_imbalance(view.levels, 1, depth, weight)
    same(found, slow_imbalance(bids, asks, depth, weight))
    same(book_imbalance.touch_imbalance(view.top, 1), slow_imbalance(bids, asks, 1, 1))
    assert math.isnan(found) or -1 <= found <= 1


@pytest.mark.parametrize("module", [vamp, microprice, book_imbalance])
@pytest.mark.parametrize(("bids", "asks"), [([], []), ([(99, 1)], []), ([], [(101, 1)])])
def test_no_market_is_no_number(module, bids, asks):
    view, params = view_of(bids, asks), np.zeros(1, module.PARAMS)
    params["instrument"] = 1
    if "depth" in params.dtype.names:
        params["depth"] = 5
    for flags in (w.EMPTY_SIDE, 0):  # also where nobody flagged it
        view.top[1]["aux"] = flags
        assert math.isnan(module.on_event(event(), view, params, np.zeros(1, module.STATE)))


@pytest.mark.parametrize("module", [vamp, microprice, book_imbalance])
def test_flagged_book_is_no_market(module):
    view, params = view_of([(99, 3)], [(101, 1)]), np.zeros(1, module.PARAMS)
    params["instrument"] = 1
    if "depth" in params.dtype.names:
        params["depth"] = 1
    state = np.zeros(1, module.STATE)
    assert not math.isnan(module.on_event(event(), view, params, state))
    view.top[1]["aux"] = w.STALE | 5 << w.EPOCH_SHIFT
    assert math.isnan(module.on_event(event(), view, params, state))
    view.top[1]["aux"] = 5 << w.EPOCH_SHIFT  # an epoch is no flag
    assert not math.isnan(module.on_event(event(), view, params, state))


def test_imbalance_of_depth_nought_is_the_touch():
    view, params = view_of([(99, 3), (98, 9)], [(101, 1)]), np.zeros(1, book_imbalance.PARAMS)
    params["instrument"] = 1
    assert book_imbalance.on_event(event(), view, params, np.zeros(1, book_imbalance.STATE)) == 0.5
