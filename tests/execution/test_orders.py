"""Order states, step by step, with the numbers written out."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.records import ORDER, UPDATE
from alephtx.execution import orders as o
from tests.execution.audit import audit_orders
from tests.execution.rows import Desk, fill, intent, update

pytestmark = pytest.mark.kernel


@pytest.fixture
def desk():
    made = Desk()
    assert made.place() == 0
    yield made
    assert audit_orders(made.table) == []


@pytest.mark.smoke
def test_order_acked_and_filled_in_two_parts_is_filled(desk):
    assert desk.open() == (10, 0)
    assert desk.apply(update(w.SENT)) == (o.APPLIED, 0)
    assert desk.apply(update(w.ACK, venue_order_id=77)) == (o.APPLIED, 0)
    assert (desk.out[0]["old_status"], desk.out[0]["new_status"]) == (w.PENDING_NEW, w.NEW)
    assert desk.apply(fill(1, 4)) == (o.APPLIED, 0)
    assert (desk.out[0]["fill_qty"], desk.out[0]["fill_price"], desk.out[0]["slot"]) == (4, 100, 0)
    assert desk.open() == (6, 0)
    assert desk.apply(fill(2, 6)) == (o.APPLIED, 0)
    assert (desk.out[0]["new_status"], desk.out[0]["slot"]) == (w.FILLED, -1)
    assert desk.open() == (0, 0)
    row = desk.order()
    assert (row["filled_qty"], row["filled_value"], row["fills"]) == (10, 1000, 2)
    assert (row["ts_sent"], row["ts_ack"], row["venue_order_id"]) == (1000, 1000, 77)


def test_update_is_told_what_it_came_to(desk):
    desk.place(order_id=2, tag=42, group_id=7, strategy=1, account=1, side=w.SELL)
    row = fill(1, 3, order_id=2, account=1)
    desk.apply(row)
    told = row[0]
    assert (told["tag"], told["group_id"], told["strategy"]) == (42, 7, 1)
    assert (told["filled_qty"], told["leaves_qty"]) == (3, 7)
    assert told["order_status"] == w.PARTIALLY_FILLED
    assert (desk.out[0]["tag"], desk.out[0]["group_id"], desk.out[0]["side"]) == (42, 7, w.SELL)
    desk.apply(end := update(w.CANCEL_ACK, order_id=2))
    assert (end[0]["order_status"], end[0]["leaves_qty"]) == (w.CANCELED, 0)


def test_fill_seen_twice_counts_once(desk):
    desk.apply(fill(1, 4))
    assert desk.apply(fill(1, 4)) == (o.DUPLICATE, 0)
    assert desk.out[0]["fill_qty"] == 0
    assert desk.order()["filled_qty"] == 4


def test_same_trade_id_on_other_instrument_or_account_is_another_fill(desk):
    desk.place(order_id=2, instrument=1)
    desk.place(order_id=3, account=1)
    assert desk.apply(fill(1, 4))[0] == o.APPLIED
    assert desk.apply(fill(1, 4, order_id=2, instrument=1))[0] == o.APPLIED
    assert desk.apply(fill(1, 4, order_id=3, account=1))[0] == o.APPLIED


def test_fill_after_cancel_is_counted_late(desk):
    desk.apply(update(w.ACK))
    desk.apply(update(w.CANCEL_ACK))
    assert desk.open() == (0, 0)
    assert desk.apply(fill(1, 4)) == (o.APPLIED, o.LATE_FILL)
    assert desk.out[0]["fill_qty"] == 4
    assert desk.status() == w.CANCELED
    assert desk.apply(fill(2, 6)) == (o.APPLIED, o.LATE_FILL)
    assert desk.status() == w.FILLED


def test_ack_after_fill_does_not_move_back(desk):
    desk.apply(fill(1, 4))
    desk.apply(update(w.ACK))
    assert desk.status() == w.PARTIALLY_FILLED
    desk.apply(fill(2, 6))
    assert desk.apply(update(w.ACK)) == (o.STALE_REPORT, 0)
    assert desk.status() == w.FILLED


def test_overfill_is_counted_and_alarmed(desk):
    assert desk.apply(fill(1, 13)) == (o.OVERFILL, o.OVERFILLED)
    assert (desk.out[0]["fill_qty"], desk.order()["filled_qty"]) == (13, 13)
    assert desk.open() == (0, 0)
    assert desk.apply(fill(2, 1)) == (o.OVERFILL, o.OVERFILLED)
    assert desk.order()["filled_qty"] == 14


def test_cancel_with_unseen_fills_stays_open_until_they_came(desk):
    desk.apply(update(w.ACK))
    assert desk.apply(update(w.CANCEL_ACK, cum_qty=5, reason=3, code=-9)) == (
        o.APPLIED,
        o.MISSING_FILLS,
    )
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (5, 0))
    assert desk.apply(update(w.ACK)) == (o.STALE_REPORT, 0)
    assert desk.apply(update(w.ORDER_STATE, status=w.CANCELED, cum_qty=5)) == (
        o.DUPLICATE,
        o.MISSING_FILLS,
    )
    assert desk.apply(update(w.CANCEL_ACK)) == (o.DUPLICATE, 0)
    assert desk.apply(update(w.ORDER_STATE, status=w.CANCELED, cum_qty=6)) == (
        o.APPLIED,
        o.MISSING_FILLS,
    )
    desk.apply(fill(1, 2))
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (4, 0))
    desk.apply(fill(2, 4))
    assert (desk.status(), desk.open(), desk.order()["filled_qty"]) == (w.CANCELED, (0, 0), 6)


def test_order_state_filled_without_fills_asks_for_them(desk):
    assert desk.apply(update(w.ORDER_STATE, status=w.FILLED)) == (o.APPLIED, o.MISSING_FILLS)
    assert desk.open() == (10, 0)
    desk.apply(fill(1, 10))
    assert desk.status() == w.FILLED


def test_order_state_live_with_more_filled_asks_for_fills(desk):
    got = desk.apply(update(w.ORDER_STATE, status=w.PARTIALLY_FILLED, cum_qty=3))
    assert got == (o.APPLIED, o.MISSING_FILLS)
    assert (desk.status(), desk.open()) == (w.NEW, (10, 0))


def test_fill_that_skips_one_asks_for_it(desk):
    assert desk.apply(fill(2, 4, cum_qty=7)) == (o.APPLIED, o.MISSING_FILLS)
    assert desk.apply(fill(1, 3, cum_qty=3)) == (o.APPLIED, 0)
    assert desk.order()["filled_qty"] == 7


def test_ambiguous_keeps_exposure_until_proven(desk):
    assert desk.apply(update(w.AMBIGUOUS)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (10, 0))
    assert desk.apply(update(w.AMBIGUOUS)) == (o.DUPLICATE, 0)
    assert desk.apply(update(w.CANCEL_REJECT)) == (o.DUPLICATE, 0)
    assert desk.apply(update(w.ORDER_STATE, status=w.NEW, cum_qty=0)) == (o.APPLIED, 0)
    assert desk.status() == w.NEW


@pytest.mark.parametrize(
    ("kind", "status", "open_bid"),
    [
        (w.ACK, w.NEW, 10),
        (w.REJECT, w.REJECTED, 0),
        (w.CANCEL_ACK, w.CANCELED, 0),
        (w.EXPIRE, w.EXPIRED, 0),
        (w.NOT_FOUND, w.REJECTED, 0),
    ],
)
def test_unknown_is_resolved_by_any_proof(desk, kind, status, open_bid):
    desk.apply(update(w.AMBIGUOUS))
    assert desk.apply(update(kind)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open()) == (status, (open_bid, 0))


def test_unknown_with_a_fill_is_on_the_book(desk):
    desk.apply(update(w.AMBIGUOUS))
    desk.apply(fill(1, 1))
    assert (desk.status(), desk.open()) == (w.PARTIALLY_FILLED, (9, 0))


def test_not_found_of_a_confirmed_order_alarms(desk):
    desk.apply(update(w.ACK))
    assert desk.apply(update(w.NOT_FOUND)) == (o.STALE_REPORT, o.NOT_FOUND_KNOWN)
    o.orders_cancelling(desk.table, 1, 5)
    desk.apply(update(w.AMBIGUOUS))
    assert desk.apply(update(w.NOT_FOUND)) == (o.STALE_REPORT, o.NOT_FOUND_KNOWN)
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (10, 0))


def test_reject_of_a_confirmed_order_is_a_contradiction(desk):
    desk.apply(fill(1, 1))
    assert desk.apply(update(w.REJECT)) == (o.STALE_REPORT, o.CONTRADICTION)
    assert desk.open() == (9, 0)


def test_ambiguous_after_ack_proves_nothing_new(desk):
    desk.apply(update(w.ACK))
    assert desk.apply(update(w.AMBIGUOUS)) == (o.STALE_REPORT, 0)
    assert desk.status() == w.NEW


@pytest.mark.parametrize("filled", [0, 4])
def test_cancel_reject_returns_to_the_state_by_fills(desk, filled):
    desk.apply(update(w.ACK))
    if filled:
        desk.apply(fill(1, filled))
    assert o.orders_cancelling(desk.table, 1, 5) == 0
    assert desk.status() == w.PENDING_CANCEL
    assert desk.apply(update(w.CANCEL_REJECT)) == (o.APPLIED, 0)
    assert desk.status() == (w.PARTIALLY_FILLED if filled else w.NEW)
    assert desk.apply(update(w.CANCEL_REJECT)) == (o.DUPLICATE, 0)


def test_cancel_reject_of_an_unproven_order_is_pending_again(desk):
    o.orders_cancelling(desk.table, 1, 5)
    desk.apply(update(w.CANCEL_REJECT))
    assert desk.status() == w.PENDING_NEW


def test_ack_during_cancel_is_noted_and_cancel_goes_on(desk):
    o.orders_cancelling(desk.table, 1, 5)
    assert desk.apply(update(w.ACK)) == (o.APPLIED, 0)
    assert desk.apply(update(w.ORDER_STATE, status=w.NEW)) == (o.DUPLICATE, 0)
    desk.apply(fill(1, 3))
    assert desk.status() == w.PENDING_CANCEL
    desk.apply(update(w.CANCEL_ACK, cum_qty=3))
    assert (desk.status(), desk.order()["filled_qty"]) == (w.CANCELED, 3)


def test_cancelling_an_unknown_order_leaves_it_unknown(desk):
    desk.apply(update(w.AMBIGUOUS))
    assert o.orders_cancelling(desk.table, 1, 5) == 0
    assert desk.status() == w.UNKNOWN


def test_order_presumed_lost_comes_back_alive(desk):
    desk.apply(update(w.AMBIGUOUS))
    desk.apply(update(w.NOT_FOUND))
    assert desk.open() == (0, 0)
    assert desk.apply(update(w.ACK)) == (o.APPLIED, o.RESURRECTED)
    assert (desk.status(), desk.open(), desk.out[0]["slot"]) == (w.NEW, (10, 0), 0)
    desk.apply(fill(1, 10))
    assert desk.status() == w.FILLED


@pytest.mark.parametrize(
    ("said", "cum", "status", "open_bid", "code"),
    [
        (w.NEW, 0, w.NEW, 10, o.RESURRECTED),
        (w.PARTIALLY_FILLED, 2, w.NEW, 10, o.RESURRECTED),
        (w.CANCELED, 4, w.UNKNOWN, 4, o.RESURRECTED),
        (w.CANCELED, 0, w.REJECTED, 0, 0),
        (w.FILLED, -1, w.UNKNOWN, 10, o.RESURRECTED),
    ],
)
def test_order_presumed_lost_is_brought_back_by_a_query(desk, said, cum, status, open_bid, code):
    desk.apply(update(w.NOT_FOUND))
    desk.apply(update(w.ORDER_STATE, status=said, cum_qty=cum))
    assert int(desk.out[0]["code"]) == code
    assert (desk.status(), desk.open()) == (status, (open_bid, 0))
    if status == w.UNKNOWN:
        desk.apply(fill(1, open_bid))
        assert (desk.status(), desk.open()) == (said, (0, 0))


def test_fill_of_a_rejected_order_makes_it_unknown(desk):
    desk.apply(update(w.REJECT, reason=300, code=-2010))
    assert (desk.order()["reason"], desk.order()["code"]) == (255, -2010)
    assert desk.apply(fill(1, 2)) == (o.APPLIED, o.CONTRADICTION)
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (8, 0))


def test_fill_of_an_order_presumed_lost_resurrects_it(desk):
    desk.apply(update(w.NOT_FOUND))
    assert desk.apply(fill(1, 2)) == (o.APPLIED, o.RESURRECTED)
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (8, 0))


def test_order_that_cannot_come_back_for_want_of_room_is_alarmed(desk):
    desk.apply(update(w.NOT_FOUND))
    for order_id in range(2, 6):
        assert desk.place(order_id=order_id) == 0
    assert desk.apply(update(w.ACK)) == (o.APPLIED, o.RESURRECTED)
    assert (desk.status(), desk.out[0]["slot"]) == (w.REJECTED, -1)


def test_said_rejection_is_not_undone_by_an_ack(desk):
    desk.apply(update(w.REJECT))
    assert desk.apply(update(w.ACK)) == (o.STALE_REPORT, o.CONTRADICTION)
    assert desk.apply(update(w.REJECT)) == (o.DUPLICATE, 0)


def test_replace_counts_the_larger_quantity_until_confirmed(desk):
    desk.apply(update(w.ACK))
    assert o.orders_replacing(desk.table, 1, 15, 5) == 0
    assert (desk.status(), desk.open()) == (w.PENDING_REPLACE, (15, 0))
    desk.apply(fill(1, 10))
    assert (desk.status(), desk.open()) == (w.PENDING_REPLACE, (5, 0))
    assert desk.apply(update(w.REPLACE_ACK, price=101, qty=15)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open(), desk.order()["price"]) == (w.PARTIALLY_FILLED, (5, 0), 101)


def test_replace_refused_after_all_was_filled_is_filled(desk):
    desk.apply(update(w.ACK))
    o.orders_replacing(desk.table, 1, 15, 5)
    desk.apply(fill(1, 10))
    assert desk.apply(update(w.CANCEL_REJECT)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open()) == (w.FILLED, (0, 0))


def test_replace_to_less_than_filled_is_filled(desk):
    desk.apply(fill(1, 6))
    o.orders_replacing(desk.table, 1, 8, 5)
    desk.apply(update(w.REPLACE_ACK, price=100, qty=6))
    assert desk.status() == w.FILLED


@pytest.mark.parametrize("bad", [{"qty": 0, "price": 1}, {"qty": 1 << 62, "price": 1}, {"qty": 5}])
def test_replace_ack_without_sense_is_invalid(desk, bad):
    desk.apply(update(w.ACK))
    o.orders_replacing(desk.table, 1, 8, 5)
    assert desk.apply(update(w.REPLACE_ACK, **bad)) == (o.INVALID, 0)
    assert desk.open() == (10, 0)


@pytest.mark.parametrize(
    "row",
    [
        fill(1, 0),
        fill(1, -5),
        fill(1, 1 << 62),
        fill(0, 5),
        fill(1, 5, side=w.SELL),
        fill(1, 5, instrument=1),
        fill(1, 5, account=1),
        update(w.FILL, trade_id=1, qty=5, price=0),
        update(w.FILL, trade_id=1, qty=5, price=1 << 62),
        update(0),
        update(w.FUNDING_PAID),
        update(255),
        update(w.ORDER_STATE, status=12),
        update(w.ORDER_STATE, status=255),
    ],
)
def test_row_that_cannot_be_meant_is_invalid(desk, row):
    before = desk.order().copy()
    assert desk.apply(row) == (o.INVALID, 0)
    assert desk.order() == before
    assert desk.out[0]["fill_qty"] == 0


def test_fill_sum_beyond_62_bits_is_invalid(desk):
    most = (1 << 62) - 1
    assert desk.apply(fill(1, most)) == (o.OVERFILL, o.OVERFILLED)
    assert desk.order()["filled_value"] == 1 << 62
    assert desk.apply(fill(2, most)) == (o.INVALID, 0)
    desk.apply(row := fill(3, 1 << 61))
    assert row[0]["filled_qty"] == most


def test_fill_value_stays_at_its_bound(desk):
    row = fill(1, 5)
    row["price"] = (1 << 62) - 1
    desk.apply(row)
    assert desk.order()["filled_value"] == 1 << 62
    desk.apply(fill(2, 1))
    assert desk.order()["filled_value"] == 1 << 62


def test_report_of_an_unknown_order_is_told_apart(desk):
    assert desk.apply(update(w.ACK, order_id=99)) == (o.UNKNOWN_ORDER, 0)
    assert desk.apply(update(w.ACK, order_id=0)) == (o.UNKNOWN_ORDER, 0)
    assert desk.out[0]["strategy"] == -1


def test_sent_is_noted_once(desk):
    assert o.orders_sent(desk.table, 1, 50) == 0
    assert desk.apply(update(w.SENT)) == (o.DUPLICATE, 0)
    assert o.orders_sent(desk.table, 1, 60) == 0
    assert desk.order()["ts_sent"] == 50


def test_ops_on_orders_that_are_over_or_unknown_are_refused(desk):
    desk.apply(update(w.REJECT))
    row = np.zeros(1, ORDER)
    for order_id, found, read in ((1, -1, 0), (99, -2, -1)):
        assert o.orders_sent(desk.table, order_id, 1) == -1
        assert o.orders_cancelling(desk.table, order_id, 1) == -1
        assert o.orders_replacing(desk.table, order_id, 5, 1) == -1
        assert o.orders_find(desk.table, order_id) == found
        assert o.orders_read(desk.table, order_id, row) == read
    assert o.orders_replacing(desk.table, 1, 0, 1) == -3


def test_replacing_an_order_that_is_not_on_the_book_is_refused(desk):
    assert o.orders_replacing(desk.table, 1, 5, 1) == -1
    assert o.orders_find(desk.table, 1) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": 2},
        {"account": 2},
        {"instrument": 4},
        {"side": 0},
        {"qty": 0},
        {"qty": -1},
        {"qty": 1 << 62},
        {"order_id": 0},
        {"order_id": -4},
    ],
)
def test_place_out_of_range_is_refused(fields):
    desk = Desk()
    assert desk.place(**fields) == -3
    assert audit_orders(desk.table) == []


def test_place_known_id_or_beyond_room_is_refused(desk):
    assert desk.place() == -2
    for order_id in range(2, 5):
        assert desk.place(order_id=order_id) == 0
    assert desk.place(order_id=5) == -1
    assert desk.place(order_id=5, strategy=1) == 0
    desk.apply(update(w.REJECT))
    assert desk.place() == -2


def test_swap_remove_keeps_live_orders_compact_and_rows_clean(desk):
    for order_id in (2, 3, 4):
        desk.place(order_id=order_id)
    desk.apply(fill(1, 4, order_id=2, venue_order_id=9))
    desk.apply(update(w.CANCEL_ACK, order_id=2))
    live = desk.table.orders[0][: desk.table.open_count[0, 0]]
    assert list(live["order_id"]) == [1, 4, 3]
    desk.place(order_id=5)
    row = desk.order(5)
    assert (row["filled_qty"], row["venue_order_id"], row["next"], row["fills"]) == (0, 0, -1, 0)


def test_history_forgets_the_oldest_and_only_that(desk):
    for order_id in range(2, 30):
        desk.place(order_id=order_id)
        desk.apply(update(w.CANCEL_ACK, order_id=order_id))
    known = [k for k in range(2, 30) if o.orders_find(desk.table, k) != -2]
    assert known == list(range(22, 30))
    assert o.orders_find(desk.table, 1) == 0


def test_resurrected_order_survives_its_old_ring_row():
    """The row it left is overwritten; the index entry of the living order must stay."""
    desk = Desk(history=2)
    desk.place()
    desk.apply(update(w.NOT_FOUND))
    desk.apply(update(w.ACK))
    for order_id in range(2, 7):
        desk.place(order_id=order_id)
        desk.apply(update(w.REJECT, order_id=order_id))
    assert desk.status() == w.NEW
    assert audit_orders(desk.table) == []


def test_trades_forget_the_oldest_and_only_that():
    desk = Desk(trades=3)
    desk.place(qty=100)
    for trade_id in (1, 2, 3, 4):
        desk.apply(fill(trade_id, 1))
    assert desk.apply(fill(2, 1))[0] == o.DUPLICATE
    assert desk.apply(fill(1, 1))[0] == o.APPLIED  # beyond the documented bound


def test_denial_reaches_the_strategy_as_an_update():
    asked = intent(tag=3, group_id=4, strategy=1, account=1, instrument=2, input_seq=8)
    asked["verdict"] = w.DENY_BAND
    row = np.ones(1, UPDATE)
    o.orders_denied(asked, 55, row)
    told = {name: int(row[0][name]) for name in UPDATE.names if row[0][name]}
    assert told == {
        "price": 100, "qty": 10, "ts_event": 55, "ts_recv": 55, "code": w.DENY_BAND,
        "instrument": 2, "account": 1, "strategy": 1, "kind": w.REJECT, "status": w.DENIED,
        "side": 1, "order_status": w.DENIED, "tag": 3, "group_id": 4, "input_seq": 8,
    }  # fmt: skip


def test_make_order_table_without_room_is_refused():
    with pytest.raises(ValueError, match="sizes of 1 and more"):
        o.make_order_table(1, 0)


def test_audit_names_what_is_broken():
    desk = Desk()
    desk.place()
    desk.table.open_account[0, 0, 0] = 3
    desk.table.orders[0, 0]["status"] = w.CANCELED
    desk.table.orders[0, 0]["leaves_qty"] = -1
    desk.table.orders[0, 2]["order_id"] = 8
    desk.table.orders[0, 0]["order_id"] = 6
    desk.table.closed[1]["order_id"] = 7
    told = "\n".join(audit_orders(desk.table))
    for part in ("is over but", "index says", "negative", "still holds", "but open", "cannot be",
                 "open_account differs"):  # fmt: skip
        assert part in told
