import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.edge import fill_edges
from alephtx.analysis.spread import aggressors, decompose_spread
from alephtx.core.words import MAKER, TAKER

prices = st.floats(1, 1e6)


def test_spread_by_hand():
    # bought at 101 with the mid at 100, which went to 100.4
    found = decompose_spread(*(np.array([v]) for v in (1, 101.0, 100.0, 100.4)))
    assert found.effective[0] == pytest.approx(1 / 101 * 1e4)
    assert found.realised[0] == pytest.approx(0.6 / 101 * 1e4)
    assert found.impact[0] == pytest.approx(0.4 / 101 * 1e4)


@given(st.sampled_from([-1, 1]), prices, prices, prices)
def test_effective_is_realised_plus_impact(side, price, mid, later):
    found = decompose_spread(*(np.array([v]) for v in (side, price, mid, later)))
    scale = 1e4 * (abs(price) + mid + later) / price
    assert abs(found.effective - found.realised - found.impact)[0] <= 1e-12 * scale


@given(st.sampled_from([-1, 1]), prices, prices)
def test_maker_earns_what_the_taker_pays(side, price, mid):
    side, price, mid = (np.array([v]) for v in (side, price, mid))
    aggressor = aggressors(side, np.array([MAKER]), MAKER)
    assert decompose_spread(aggressor, price, mid, mid).effective == fill_edges(side, price, mid)


def test_aggressor_of_a_maker_is_the_other_side():
    found = aggressors(np.array([1, 1, -1, -1]), np.array([MAKER, TAKER, MAKER, 0]), MAKER)
    assert found.tolist() == [-1, 1, 1, -1]
