import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.edge import best_edges, fill_edges

NAN = np.nan


def test_best_edges_of_crossed_touches_match_the_formula_by_hand():
    bid, ask = np.array([[100.0, 101.0]]), np.array([[100.5, 101.5]])
    found = best_edges(bid, ask, np.array([0.0001, 0.0002]))
    assert found.gross[0] == pytest.approx(0.5 / 100.75 * 1e4)  # sell at 101, buy at 100.5
    assert found.net[0] == pytest.approx(0.5 / 100.75 * 1e4 - 3.0)
    assert (found.sell[0], found.buy[0]) == (1, 0)


def test_best_edges_where_fees_decide_take_the_pair_that_is_best_after_them():
    bid, ask = np.array([[99.0, 101.0, 100.9]]), np.array([[100.0, 102.0, 102.0]])
    found = best_edges(bid, ask, np.array([0.0, 0.01, 0.0]))
    assert found.gross[0] == pytest.approx(1 / 100.5 * 1e4)  # the dear pair
    assert (found.sell[0], found.buy[0]) == (2, 0)  # the cheap one
    assert found.net[0] == pytest.approx(0.9 / 100.45 * 1e4)


def test_best_edges_without_two_prices_are_nan():
    found = best_edges(np.array([[100.0, NAN]]), np.array([[101.0, NAN]]), np.zeros(2))
    assert np.isnan(found.gross[0])
    assert np.isnan(found.net[0])
    assert (found.sell[0], found.buy[0]) == (-1, -1)


def test_best_edges_of_one_instrument_or_no_sample_are_empty_of_pairs():
    assert np.isnan(best_edges(np.ones((3, 1)), np.ones((3, 1)), np.zeros(1)).gross).all()
    assert len(best_edges(np.ones((0, 2)), np.ones((0, 2)), np.zeros(2)).gross) == 0


@given(
    st.lists(
        st.tuples(*[st.one_of(st.just(NAN), st.floats(1, 1e6)) for _ in range(4)]), max_size=8
    ),
    st.floats(0, 0.01),
)
def test_best_edges_are_never_better_after_fees(rows, fee):
    prices = np.array(rows).reshape(len(rows), 4)
    found = best_edges(prices[:, :2], prices[:, 2:], np.array([fee, fee]))
    known = ~np.isnan(found.gross)
    assert (known == ~np.isnan(found.net)).all()
    assert found.net[known] == pytest.approx(found.gross[known] - 2 * fee * 1e4)


def test_fill_edges_are_signed_by_our_side():
    side, price = np.array([1, -1, 1, -1]), np.array([99.0, 101.0, 101.0, 100.0])
    found = fill_edges(side, price, np.array([100.0, 100.0, 100.0, NAN]))
    # bought a tick below and sold a tick above the mid: paid; bought above: paid for
    assert found[:3] == pytest.approx([1 / 99 * 1e4, 1 / 101 * 1e4, -1 / 101 * 1e4])
    assert np.isnan(found[3])
