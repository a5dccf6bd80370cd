import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.signals import trade_flow
from alephtx.signals.trade_flow import QUIET_LOTS, flow_imbalance, flow_net, flow_update
from tests.signals.market import MS, SECOND, START, empty_view, event

pytestmark = pytest.mark.kernel

TAU = 10 * SECOND
trades = st.lists(
    st.tuples(st.integers(0, 30_000), st.sampled_from([-1, 1]), st.integers(0, 10**9)), max_size=30
)


def slow_flow(seen, now):
    """Sum over all trades ever: (buys, sells), each decayed since it happened."""
    return tuple(
        sum(qty * math.exp(-(now - ts) / TAU) for ts, s, qty in seen if s == side)
        for side in (1, -1)
    )


def test_flow_of_two_trades_by_hand():
    state = np.zeros(1, trade_flow.STATE)
    flow_update(state, 0, START, 1, 100, TAU)
    assert math.isnan(flow_imbalance(state, 0, START, TAU))
    flow_update(state, 0, START + TAU, -1, 50, TAU)
    buys = 100 / math.e
    right = (buys - 50) / (buys + 50)
    assert flow_imbalance(state, 0, START + TAU, TAU) == pytest.approx(right, rel=1e-14)
    assert flow_net(state, 0, START + 2 * TAU, TAU) == pytest.approx((buys - 50) / math.e)


@given(trades, st.integers(0, 60_000))
def test_flow_is_the_decayed_sum_over_all_trades(steps, wait):
    state, now, seen = np.zeros(1, trade_flow.STATE), START, []
    for passed, side, qty in steps:
        now += passed * MS
        flow_update(state, 0, now, side, qty, TAU)
        seen.append((now, side, qty))
    last, now = now, now + wait * MS
    found, net = flow_imbalance(state, 0, now, TAU), flow_net(state, 0, now, TAU)
    if not seen or now - seen[0][0] < TAU:
        assert math.isnan(found)
        assert math.isnan(net)
        return
    buys, sells = slow_flow(seen, now)
    assert net == pytest.approx(buys - sells, rel=1e-9, abs=1e-9 * (buys + sells) + 1e-300)
    if buys + sells < QUIET_LOTS * 0.999:
        assert math.isnan(found)
    elif buys + sells > QUIET_LOTS * 1.001:
        buys, sells = slow_flow(seen, last)
        assert found == pytest.approx((buys - sells) / (buys + sells), abs=1e-9)
        assert -1 <= found <= 1


def test_flow_that_is_long_past_is_no_imbalance():
    state = np.zeros(1, trade_flow.STATE)
    flow_update(state, 0, START, 1, 1, TAU)
    assert flow_imbalance(state, 0, START + 6 * TAU, TAU) == 1.0
    assert math.isnan(flow_imbalance(state, 0, START + 7 * TAU, TAU))  # e^-7 < 0.001 lots
    assert flow_net(state, 0, START + 10_000 * TAU, TAU) == 0.0


def test_clock_that_goes_back_stands_still():
    state = np.zeros(1, trade_flow.STATE)
    flow_update(state, 0, START + SECOND, 1, 10, TAU)
    flow_update(state, 0, START, -1, 10, TAU)
    assert flow_imbalance(state, 0, START + SECOND + TAU, TAU) == 0.0


def test_slots_are_apart():
    state = np.zeros(1, np.dtype(trade_flow.fields(2)))
    flow_update(state, 0, START, 1, 10, TAU)
    flow_update(state, 1, START, -1, 10, TAU)
    assert flow_imbalance(state, 0, START + TAU, TAU) == 1.0
    assert flow_imbalance(state, 1, START + TAU, TAU) == -1.0


def test_only_trades_of_the_instrument_count():
    view, state, params = (
        empty_view(), np.zeros(1, trade_flow.STATE), np.zeros(1, trade_flow.PARAMS),
    )  # fmt: skip
    params["instrument"], params["tau_ns"] = 1, TAU
    now = START
    for row in (
        event(w.TRADE, 1, 1, 100, 30), event(w.TRADE, 0, -1, 100, 999),
        event(w.DELTA, 1, -1, 100, 999), event(w.TRADE, 1, -1, 100, 10),
    ):  # fmt: skip
        view.now[0] = now
        trade_flow.on_event(row, view, params, state)
    view.now[0] = START + TAU
    assert trade_flow.on_event(event(w.TOP, 1), view, params, state) == 0.5
    params["net"] = 1
    found = trade_flow.on_event(event(w.TOP, 1), view, params, state)
    assert found == pytest.approx(20 / math.e)
