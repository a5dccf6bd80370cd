"""The order table under every disorder hypothesis can think of, against the naive pair."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.records import ORDER
from alephtx.execution import orders as o
from tests.execution.audit import audit_orders
from tests.execution.naive import OVER, NaiveOrder
from tests.execution.rows import fill, intent, update

QTY = 12
ORDERS = (1, 2, 3)
KINDS = [w.SENT, w.ACK, w.REJECT, w.CANCEL_ACK, w.EXPIRE, w.CANCEL_REJECT, w.AMBIGUOUS, w.NOT_FOUND]
SAID = [0, w.NEW, w.PARTIALLY_FILLED, w.FILLED, w.CANCELED, w.EXPIRED, w.REJECTED]

STEP = st.one_of(
    st.tuples(st.just("report"), st.sampled_from(ORDERS), st.sampled_from(KINDS),
              st.sampled_from([-1, -1, 0, 3, QTY])),
    st.tuples(st.just("state"), st.sampled_from(ORDERS), st.sampled_from(SAID),
              st.sampled_from([-1, 0, 2, 5, QTY])),
    st.tuples(st.just("fill"), st.sampled_from(ORDERS), st.integers(1, 9), st.integers(1, 6)),
    st.tuples(st.just("cancel"), st.sampled_from(ORDERS), st.just(0), st.just(0)),
)  # fmt: skip


def place_all(table):
    for order_id in ORDERS:
        side = w.BUY if order_id % 2 else w.SELL
        assert o.orders_place(table, intent(order_id, QTY, side), 1) == 0


def make_row(step):
    what, order_id, a, b = step
    if what == "report":
        return update(a, order_id, cum_qty=b)
    if what == "state":
        return update(w.ORDER_STATE, order_id, status=a, cum_qty=b)
    return fill(a, b, order_id)


def run_naive(naive, step):
    what, order_id, a, b = step
    if what == "report":
        naive[order_id].apply(a, cum=b)
    elif what == "state":
        naive[order_id].apply(w.ORDER_STATE, status=a, cum=b)
    elif what == "fill":
        naive[order_id].apply(w.FILL, trade=a, qty=b)
    else:
        naive[order_id].cancel()


def compare(table, naive):
    row = np.zeros(1, ORDER)
    for order_id, expected in naive.items():
        live = o.orders_read(table, order_id, row)
        got = (row[0]["status"], row[0]["filled_qty"], row[0]["leaves_qty"], live)
        over = expected.status in OVER
        assert got == (expected.status, expected.filled, expected.leaves, 0 if over else 1)
    assert audit_orders(table) == []


@pytest.mark.kernel
@settings(max_examples=150)
@given(st.lists(STEP, max_size=40))
def test_any_interleaving_equals_the_naive_pair(steps):
    table = o.make_order_table(1, 4, 8, instruments=1, accounts=1)
    out = np.zeros(1, o.OUTCOME)
    place_all(table)
    trades = set()
    naive = {order_id: NaiveOrder(QTY, trades) for order_id in ORDERS}
    for step in steps:
        before = sum(order.filled for order in naive.values())
        run_naive(naive, step)
        if step[0] == "cancel":
            o.orders_cancelling(table, step[1], 2)
            continue
        o.orders_apply(table, make_row(step), out)
        new = sum(order.filled for order in naive.values()) - before
        assert out[0]["fill_qty"] == new
        compare(table, naive)


@pytest.mark.kernel
@settings(max_examples=80)
@given(
    fills=st.lists(st.integers(1, 5), max_size=6),
    end=st.sampled_from([w.CANCEL_ACK, w.EXPIRE, None]),
    copies=st.lists(st.integers(0, 9), max_size=8),
    seed=st.integers(0, 1 << 30),
)
def test_filled_quantity_is_the_set_of_fills_in_whatever_order(fills, end, copies, seed):
    """An honest venue's reports, shuffled and doubled, always end in the same place."""
    total = sum(fills) + (4 if end else 0)
    if not fills and end is None:
        return
    reports = [("ack", 0, 0)] + [("fill", k + 1, q) for k, q in enumerate(fills)]
    if end is not None:
        reports.append(("end", 0, 0))
    reports += [reports[c % len(reports)] for c in copies]
    random.Random(seed).shuffle(reports)
    table = o.make_order_table(1, 4, 8, instruments=1, accounts=1)
    out = np.zeros(1, o.OUTCOME)
    o.orders_place(table, intent(1, total), 1)
    counted = 0
    for what, trade_id, qty in reports:
        if what == "fill":
            o.orders_apply(table, fill(trade_id, qty, 1), out)
        else:
            cum = sum(fills) if what == "end" else -1
            o.orders_apply(table, update(w.ACK if what == "ack" else end, cum_qty=cum), out)
        counted += int(out[0]["fill_qty"])
        assert audit_orders(table) == []
    row = np.zeros(1, ORDER)
    assert o.orders_read(table, 1, row) == 0
    assert counted == row[0]["filled_qty"] == sum(fills)
    ends = {w.CANCEL_ACK: w.CANCELED, w.EXPIRE: w.EXPIRED, None: w.FILLED}
    assert row[0]["status"] == ends[end]


@pytest.mark.kernel
@settings(max_examples=30)
@given(st.integers(0, 1 << 30))
def test_long_run_of_many_orders_stays_sound(seed):
    """Small rings and rows, so that every bound is hit; invariants recounted as it goes."""
    luck = random.Random(seed)
    table = o.make_order_table(2, 4, 6, instruments=2, accounts=2, trades=9)
    out = np.zeros(1, o.OUTCOME)
    bought = 0
    for turn in range(150):
        choice = luck.random()
        order_id = luck.randint(max(1, turn - 20), turn + 1)
        if choice < 0.35:
            where = {"instrument": luck.randrange(2), "account": 0, "strategy": luck.randrange(2)}
            o.orders_place(table, intent(turn + 1, 10, luck.choice([1, -1]), **where), turn)
            continue
        kind = luck.choice(
            [w.ACK, w.FILL, w.FILL, w.CANCEL_ACK, w.AMBIGUOUS, w.NOT_FOUND, w.REJECT]
        )
        row = update(kind, order_id, qty=luck.randint(1, 11), price=7, trade_id=turn + 1)
        row["instrument"] = luck.randrange(2)
        o.orders_apply(table, row, out)
        bought += int(out[0]["fill_qty"])
    assert audit_orders(table) == []
    assert bought >= table.orders["filled_qty"][0, : table.open_count[0, 0]].sum()
