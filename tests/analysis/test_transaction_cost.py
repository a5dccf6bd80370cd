import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.transaction_cost import MarketTrades, order_costs, sum_costs
from tests.analysis.market import fills, orders, quotes

LOT = 0.0001


def trades(*rows):
    return MarketTrades(*(np.array(column) for column in zip(*rows, strict=True)))


MARKET = quotes((0, 999, 1001), (50, 1003, 1005), (90, 1009, 1011))


def test_shortfall_by_hand():
    # wanted 100 at a mid of 1000; got 60 at 1001 and 20 at 1004; 20 missed, the mid then 1010
    table = orders({"order_id": 7, "side": 1, "qty": 100, "filled": 80, "ts_intent": 10,
                    "ts_end": 90})  # fmt: skip
    deals = fills((20, 1, 1001, 60, 300_000, 2, 7), (60, 1, 1004, 20, 100_000, 2, 7))
    found = order_costs(table, deals, MARKET, end_ns=90, lot_value=LOT)
    assert found.arrival[0] == 1000
    assert found.average[0] == 1001.75
    assert found.trading[0] == pytest.approx(1.75 * 80 / 100_000 * 1e4)  # 14 bps
    assert found.opportunity[0] == pytest.approx(10 * 20 / 100_000 * 1e4)  # 20 bps
    assert found.fees[0] == pytest.approx(0.004 / 10 * 1e4)  # 10 of value: 4 bps
    assert found.shortfall[0] == pytest.approx(38)
    assert math.isnan(found.vwap_bps[0])


def test_seller_pays_the_other_way_round():
    table = orders({"order_id": 7, "side": -1, "qty": 100, "filled": 100, "ts_intent": 10,
                    "ts_end": 20})  # fmt: skip
    found = order_costs(table, fills((15, -1, 1001, 100, 0, 1, 7)), MARKET, end_ns=90,
                        lot_value=LOT)  # fmt: skip
    assert found.shortfall[0] == pytest.approx(-10)  # sold a tick above the mid


def test_vwap_is_of_the_trades_while_the_order_lived():
    table = orders({"order_id": 7, "side": 1, "qty": 10, "filled": 10, "ts_intent": 10,
                    "ts_end": 60})  # fmt: skip
    public = trades((9, 5000, 99), (10, 1000, 3), (60, 1004, 1), (61, 5000, 99))
    found = order_costs(table, fills((20, 1, 1002, 10, 0, 1, 7)), MARKET, end_ns=90,
                        lot_value=LOT, trades=[public])  # fmt: skip
    assert found.vwap[0] == 1001
    assert found.vwap_bps[0] == pytest.approx(1 / 1001 * 1e4)


def test_order_that_is_open_is_judged_at_the_end_and_one_before_the_data_not_at_all():
    table = orders(
        {"order_id": 1, "side": 1, "qty": 10, "ts_intent": 10},
        {"order_id": 2, "side": 1, "qty": 30, "ts_intent": 0, "ts_end": 5},
    )
    found = order_costs(table, fills(), MARKET, end_ns=90, lot_value=LOT)
    assert found.opportunity[0] == pytest.approx(100)
    assert math.isnan(found.shortfall[1])  # no mid before it
    total = sum_costs(found, table)
    assert total.shortfall == pytest.approx(100)
    assert (total.count, total.vwap_count) == (1, 0)
    assert math.isnan(total.vwap_bps)


def test_means_are_weighted_by_what_was_wanted():
    table = orders(
        {"order_id": 1, "side": 1, "qty": 10, "filled": 10, "ts_intent": 10, "ts_end": 20},
        {"order_id": 2, "side": 1, "qty": 30, "filled": 30, "ts_intent": 10, "ts_end": 20},
    )
    deals = fills((15, 1, 1001, 10, 0, 1, 1), (15, 1, 1003, 30, 0, 1, 2))
    found = sum_costs(order_costs(table, deals, MARKET, end_ns=90, lot_value=LOT), table)
    assert found.trading == pytest.approx((10 * 10 + 30 * 30) / 40)
    assert found.count == 2


def test_inverse_fees_are_not_known_and_say_so():
    table = orders({"order_id": 7, "side": 1, "qty": 10, "filled": 10, "ts_intent": 10,
                    "ts_end": 20})  # fmt: skip
    deals = fills((15, 1, 1001, 10, 5, 1, 7))
    found = order_costs(table, deals, MARKET, end_ns=90, lot_value=math.nan)
    assert found.trading[0] == pytest.approx(10)
    assert math.isnan(found.fees[0])
    assert math.isnan(found.shortfall[0])


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10**6), st.integers(1, 10**6)),
             min_size=1, max_size=20),
    st.integers(1, 30), st.integers(0, 30), st.integers(0, 20),
)  # fmt: skip
def test_vwap_is_the_sum_over_the_trades_in_however_many_parts(rows, begin, length, cut):
    rows = sorted(rows)
    table = orders(
        {"order_id": 1, "side": 1, "qty": 1, "ts_intent": begin, "ts_end": begin + length}
    )
    parts = [trades(*part) for part in (rows[:cut], rows[cut:]) if part]
    found = order_costs(table, fills(), MARKET, end_ns=90, lot_value=LOT, trades=iter(parts))
    seen = [(p, q) for ts, p, q in rows if begin <= ts <= begin + length]
    right = sum(p * q for p, q in seen) / sum(q for _, q in seen) if seen else math.nan
    assert found.vwap[0] == pytest.approx(right, rel=1e-9, nan_ok=True)
