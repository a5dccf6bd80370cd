import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.activity import activity, inventory, queue_time
from alephtx.core import words as w
from tests.analysis.market import fills, orders

ORDERS = orders(
    {"order_id": 1, "qty": 10, "filled": 10, "ts_ack": 5, "ts_fill": 25, "ts_end": 30,
     "status": w.FILLED},
    {"order_id": 2, "qty": 10, "filled": 4, "ts_ack": 5, "ts_fill": 15, "ts_end": 40,
     "status": w.CANCELED},
    {"order_id": 3, "qty": 10, "ts_ack": 10, "ts_end": 22, "status": w.CANCELED},
    {"order_id": 4, "qty": 10, "ts_ack": 50, "status": w.NEW},
    {"order_id": 5, "qty": 10, "ts_ack": 0, "ts_end": 9, "status": w.REJECTED},
    {"order_id": 6, "qty": 10, "filled": 10, "ts_ack": 60, "ts_fill": 60, "ts_end": 60,
     "status": w.FILLED},
)  # fmt: skip
FILLS = fills(
    (15, 1, 100, 4, 0, w.MAKER, 2), (25, 1, 100, 3, 0, w.MAKER, 1), (30, 1, 100, 7, 0, w.MAKER, 1),
    (60, -1, 100, 10, 0, w.TAKER, 6),
)  # fmt: skip


def test_activity_by_hand():
    found = activity(ORDERS, FILLS, amends=2)
    assert (found.orders, found.fills, found.filled_orders) == (6, 4, 3)
    assert (found.cancelled, found.rejected) == (2, 1)
    assert found.fill_ratio == 24 / 60
    assert found.hit_ratio == 3 / 6
    assert found.order_to_trade == 8 / 4
    assert found.maker_share == 14 / 24


def test_activity_of_nothing_divides_by_nothing():
    found = activity(orders(), fills())
    assert found.orders == 0
    assert math.isnan(found.fill_ratio)
    assert math.isnan(found.order_to_trade)
    assert math.isnan(found.maker_share)


def test_queue_time_by_hand():
    # waited 20 and 10; taken off after 12, still there after 50 (at 100). The taker is not counted.
    found = queue_time(ORDERS, FILLS, 100)
    # four at risk: one filled at 10 (3/4 left), two at risk at 20: one filled (3/8 left)
    assert (found.quarter, found.median) == (10, 20)
    assert math.isnan(found.three_quarters)
    assert (found.filled, found.censored) == (2, 2)
    assert found.mean_filled == 15


def slow_survivors(events, censored):
    """Kaplan-Meier, product by product: (time, share left) at every event."""
    left, found = 1.0, []
    for t in sorted(set(events)):
        risk = sum(e >= t for e in events) + sum(c >= t for c in censored)
        left *= 1 - events.count(t) / risk
        found.append((t, left))
    return found


waits = st.lists(st.integers(0, 30), max_size=15)


@given(waits, waits)
def test_queue_time_is_that_of_kaplan_and_meier(events, censored):
    rows = [{"ts_ack": 7, "ts_fill": 7 + t} for t in events]
    rows += [{"ts_ack": 7, "ts_end": 7 + t} for t in censored]
    table = orders(*({**row, "order_id": k + 1} for k, row in enumerate(rows)))
    found = queue_time(table, fills(), 1_000)
    survivors = slow_survivors(events, censored)
    for share, said in zip(
        (0.25, 0.5, 0.75), (found.quarter, found.median, found.three_quarters), strict=True
    ):
        right = next((t for t, left in survivors if left <= 1 - share + 1e-9), math.nan)
        assert said == pytest.approx(right, nan_ok=True)
    assert (found.filled, found.censored) == (len(events), len(censored))


def test_inventory_by_hand():
    # flat 0-10, 4 long 10-30, 2 long 30-40, 1 short 40-60
    deals = fills((10, 1, 1, 4), (30, -1, 1, 2), (40, -1, 1, 3))
    found = inventory(deals, 0, 60)
    assert found.mean == (4 * 20 + 2 * 10 - 1 * 20) / 60
    assert found.mean_absolute == 120 / 60
    square = (16 * 20 + 4 * 10 + 1 * 20) / 60
    assert found.deviation == pytest.approx(math.sqrt(square - found.mean**2))
    assert (found.longest, found.shortest, found.last) == (4, -1, -1)
    assert found.flat_share == 10 / 60
    assert found.closed == 4  # 2 at 30, 2 of the 3 at 40
    assert found.holding_ns == 120 / 4


def test_inventory_of_nothing_is_flat():
    found = inventory(fills(), 0, 10)
    assert (found.mean, found.flat_share, found.closed) == (0, 1, 0)
    assert math.isnan(found.holding_ns)
    assert math.isnan(inventory(fills(), 5, 5).mean)


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([-1, 1]), st.integers(1, 9)),
                max_size=15))  # fmt: skip
def test_inventory_is_that_of_every_nanosecond(rows):
    deals = fills(*((ts, side, 1, qty) for ts, side, qty in sorted(rows)))
    held = np.array([
        sum(s * q for t, s, q in rows if t <= now) for now in range(50)
    ])  # fmt: skip
    found = inventory(deals, 0, 50)
    assert found.mean == pytest.approx(held.mean())
    assert found.mean_absolute == pytest.approx(np.abs(held).mean())
    assert found.deviation == pytest.approx(held.std(), abs=1e-6)
    assert (found.longest, found.shortest) == (held.max(), held.min())
    assert found.flat_share == pytest.approx((held == 0).mean())
