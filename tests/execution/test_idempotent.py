"""What a venue tells of its orders, doubled and shuffled, comes to what it comes to in order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.records import ORDER
from alephtx.execution import orders as o
from tests.execution.audit import audit_orders
from tests.execution.rows import fill, intent, update

ENDS = {w.CANCEL_ACK: w.CANCELED, w.EXPIRE: w.EXPIRED}


@st.composite
def stories(draw, order_id):
    """One order's life at an honest venue, as the rows that tell of it.

    (side, quantity, reports): the ack, every fill, the end, and the answers to questions asked in
    between. Our own words on the wire (SENT, AMBIGUOUS) come among them.
    """
    side = draw(st.sampled_from([w.BUY, w.SELL]))
    lots = draw(st.lists(st.integers(1, 5), max_size=5))
    end = draw(st.sampled_from([None, w.CANCEL_ACK, w.EXPIRE]))
    rest = 0 if end is None and lots and draw(st.booleans()) else draw(st.integers(1, 5))
    qty, cum, venue = sum(lots) + rest, 0, {"venue_order_id": 70 + order_id}
    reports = [update(w.SENT, order_id), update(w.ACK, order_id, status=w.NEW, cum_qty=0, **venue)]
    if draw(st.booleans()):
        reports.insert(1, update(w.AMBIGUOUS, order_id))

    def asked(status):
        if draw(st.booleans()):
            said = {"status": status, "cum_qty": cum, **venue}
            reports.append(update(w.ORDER_STATE, order_id, **said))

    asked(w.NEW)
    for k, lot in enumerate(lots):
        cum += lot
        status = w.FILLED if cum == qty else w.PARTIALLY_FILLED
        told = {"status": status, "cum_qty": draw(st.sampled_from([cum, -1])), "side": side}
        reports.append(fill(100 * order_id + k, lot, order_id, **told, **venue))
        asked(status)
    if end is not None:
        reports.append(update(end, order_id, status=ENDS[end], cum_qty=cum, **venue))
        asked(ENDS[end])
    return side, qty, reports


def outcome(orders, reports):
    """Return where the table ends: (status, filled, leaves) by order, and the position."""
    table = o.make_order_table(1, 4, 8, instruments=1, accounts=1)
    out, row = np.zeros(1, o.OUTCOME), np.zeros(1, ORDER)
    position = 0
    for order_id, (side, qty) in orders.items():
        assert o.orders_place(table, intent(order_id, qty, side), 1) == 0
    for report in reports:
        o.orders_apply(table, report.copy(), out)
        position += int(out[0]["side"]) * int(out[0]["fill_qty"])
        assert out[0]["code"] in (o.NOTHING, o.MISSING_FILLS, o.LATE_FILL), "nothing to alarm for"
    assert audit_orders(table) == []
    ends = {}
    for order_id in orders:
        assert o.orders_read(table, order_id, row) >= 0
        ends[order_id] = tuple(int(row[0][name]) for name in ("status", "filled_qty", "leaves_qty"))
    return ends, position


@pytest.mark.kernel
@settings(max_examples=200)
@given(told=st.tuples(stories(1), stories(2)), data=st.data())
def test_any_disorder_of_an_honest_story_ends_as_the_story_does(told, data):
    orders = {n + 1: (side, qty) for n, (side, qty, _) in enumerate(told)}
    clean = [report for _, _, reports in told for report in reports]
    again = data.draw(st.lists(st.sampled_from(range(len(clean))), max_size=6))
    mixed = data.draw(st.permutations([*range(len(clean)), *again]))
    expected, position = outcome(orders, clean)
    assert outcome(orders, [clean[k] for k in mixed]) == (expected, position)
    filled = sum(report[0]["side"] * report[0]["qty"] for report in clean if report[0]["trade_id"])
    assert position == filled
