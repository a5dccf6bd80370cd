"""The table's own work, order by order among many: who is meant, what is copied, how much fits."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.records import INTENT, ORDER, UPDATE
from alephtx.core.units import MAX_VALUE
from alephtx.execution import orders as o
from alephtx.execution.index import index_home, index_put, make_index
from alephtx.execution.table import remember_trade
from tests.execution.audit import audit_orders
from tests.execution.rows import Desk, fill, followed, intent, update

pytestmark = pytest.mark.kernel

MANY = range(1, 9)


@pytest.fixture
def full():
    """Eight orders on the book, four of each strategy, over every instrument and account."""
    desk = Desk()
    for n in MANY:
        side = w.BUY if n % 3 else w.SELL
        more = {"strategy": n % 2, "account": n // 2 % 2, "instrument": n % 4, "side": side}
        assert desk.place(order_id=n, qty=10 * n, **more) == 0
        assert desk.apply(update(w.ACK, n, ts_recv=n)) == (o.APPLIED, 0)
    yield desk
    assert audit_orders(desk.table) == []


def rows_of(desk):
    return {n: desk.order(n).copy() for n in MANY}


@pytest.mark.parametrize("n", MANY)
@pytest.mark.parametrize("what", ["sent", "cancelling", "replacing"])
def test_the_order_that_is_meant_changes_and_no_other(full, n, what):
    before = rows_of(full)
    if what == "sent":
        assert o.orders_sent(full.table, n, 77) == 0
        before[n]["ts_sent"] = 77
    elif what == "cancelling":
        assert o.orders_cancelling(full.table, n, 77) == 0
        before[n]["status"], before[n]["ts_last"] = w.PENDING_CANCEL, 77
    else:
        assert o.orders_replacing(full.table, n, 10 * n + 5, 77) == 0
        before[n]["status"], before[n]["spare"] = w.PENDING_REPLACE, 10 * n + 5
        before[n]["leaves_qty"], before[n]["ts_last"] = 10 * n + 5, 77
    assert rows_of(full) == before
    if what == "sent":  # the first time counts
        assert o.orders_sent(full.table, n, 78) == 0
        assert rows_of(full) == before


@pytest.mark.parametrize("n", MANY)
def test_an_order_is_found_where_it_is(full, n):
    slot, out = o.orders_find(full.table, n), followed(np.zeros(1, ORDER))
    assert full.table.orders[n % 2, slot]["order_id"] == n
    assert o.orders_read(full.table, n, out) == 1
    assert out[0] == full.table.orders[n % 2, slot]
    before = full.order(n).copy()
    assert full.apply(update(w.CANCEL_ACK, n, ts_recv=990)) == (o.APPLIED, 0)
    assert o.orders_find(full.table, n) == -1
    assert o.orders_read(full.table, n, out) == 0
    before["status"], before["leaves_qty"], before["ts_last"] = w.CANCELED, 0, 990
    assert out[0] == before
    assert o.orders_find(full.table, 1000) == -2
    assert o.orders_read(full.table, 1000, out) == -1


def test_an_order_that_is_over_or_unknown_is_not_asked_anything(full):
    full.apply(update(w.CANCEL_ACK, 3))
    before = rows_of(full)
    for n in (3, 1000):
        assert o.orders_sent(full.table, n, 5) == -1
        assert o.orders_cancelling(full.table, n, 5) == -1
        assert o.orders_replacing(full.table, n, 5, 5) == -1
    assert rows_of(full) == before


def test_every_word_of_an_intent_is_kept():
    """Distinct values everywhere, into a row that an older order left full of its own."""
    desk = Desk()
    names = [name for name in INTENT.names if name in ORDER.names]
    values = {name: 10 + at for at, name in enumerate(names)}
    values |= {"strategy": 1, "account": 1, "instrument": 3, "side": w.SELL}
    desk.table.orders[:].view(np.uint8)[:] = 0x77
    assert desk.place(**values) == 0
    row = desk.order(values["order_id"])
    blank = {"venue_order_id": 0, "filled_qty": 0, "filled_value": 0, "ts_sent": 0, "ts_ack": 0,
             "reason": 0, "fills": 0, "code": 0, "next": -1, "spare": 0}  # fmt: skip
    want = {**values, **blank, "leaves_qty": values["qty"], "ts_last": 900,
            "status": w.PENDING_NEW}  # fmt: skip
    assert {name: int(row[name]) for name in ORDER.names} == want


@pytest.mark.parametrize("field", ["strategy", "account", "instrument"])
def test_the_last_place_of_each_kind_is_used_and_the_next_is_refused(field):
    desk = Desk(strategies=3, open_max=5, instruments=5, accounts=4)
    count = {"strategy": 3, "instrument": 5, "account": 4}[field]
    for place in range(count):
        assert desk.place(order_id=place + 1, **{field: place}) == 0
    assert desk.place(order_id=50, **{field: count}) == -3
    assert desk.place(order_id=50, **{field: 60_000}) == -3
    assert audit_orders(desk.table) == []


@pytest.mark.parametrize(
    ("qty", "want"),
    [(-5, -3), (0, -3), (1, 0), (MAX_VALUE - 1, 0), (MAX_VALUE, -3), (MAX_VALUE + 1, -3)],
)
def test_quantities_reach_from_one_to_the_bound(qty, want):
    desk = Desk()
    assert desk.place(qty=qty) == want
    desk.place(order_id=2)
    desk.apply(update(w.ACK, 2))
    assert o.orders_replacing(desk.table, 2, qty, 5) == want


@pytest.mark.parametrize(("order_id", "want"), [(-1, -3), (0, -3), (1, 0), ((1 << 63) - 1, 0)])
def test_ids_reach_from_one(order_id, want):
    assert Desk().place(order_id=order_id) == want


def test_report_of_an_unknown_order_says_nothing_of_any():
    desk = Desk()
    desk.out[0:1].view(np.uint8)[:] = 0x77
    assert desk.apply(fill(1, 1, order_id=99)) == (o.UNKNOWN_ORDER, 0)
    told = {name: int(desk.out[0][name]) for name in o.OUTCOME.names}
    nobody = dict.fromkeys(("strategy", "account", "instrument", "slot"), -1)
    assert told == {**dict.fromkeys(o.OUTCOME.names, 0), **nobody, "order_id": 99, "kind": w.FILL}


def test_results_and_codes_are_told_apart():
    results = (o.APPLIED, o.DUPLICATE, o.UNKNOWN_ORDER, o.STALE_REPORT, o.OVERFILL, o.INVALID)
    codes = (o.NOTHING, o.MISSING_FILLS, o.NOT_FOUND_KNOWN, o.CONTRADICTION, o.RESURRECTED,
             o.LATE_FILL, o.OVERFILLED)  # fmt: skip
    assert sorted(results) == list(range(6))
    assert sorted(codes) == list(range(7))


def test_late_fill_of_an_order_that_stays_over_has_no_slot():
    desk = Desk()
    desk.place()
    desk.apply(update(w.CANCEL_ACK))
    desk.apply(fill(1, 4))
    assert (desk.out[0]["slot"], desk.out[0]["new_status"]) == (-1, w.CANCELED)


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(("filled", "asked"), [(4, 13), (4, 7), (4, 4), (4, 3), (0, 13), (0, 7)])
def test_replace_of_a_partly_filled_order_leaves_the_rest(filled, asked, refused):
    desk = Desk()
    desk.place(qty=10)
    desk.apply(update(w.ACK))
    if filled:
        desk.apply(fill(1, filled))
    assert o.orders_replacing(desk.table, 1, asked, 5) == 0
    assert desk.open() == (max(10, asked) - filled, 0)
    if refused:
        assert desk.apply(update(w.CANCEL_REJECT)) == (o.APPLIED, 0)
    else:
        assert desk.apply(update(w.REPLACE_ACK, qty=asked, price=7)) == (o.APPLIED, 0)
    qty = 10 if refused else asked
    assert desk.open() == (max(qty - filled, 0), 0)
    on_book = w.PARTIALLY_FILLED if filled else w.NEW
    assert desk.status() == (w.FILLED if filled >= qty else on_book)
    assert desk.order()["price"] == (100 if refused else 7)
    assert desk.order()["spare"] == 0
    assert audit_orders(desk.table) == []


@pytest.mark.parametrize("filled", [0, 4])
def test_amend_in_doubt_keeps_the_larger_quantity_open(filled):
    desk = Desk()
    desk.place(qty=10)
    desk.apply(update(w.ACK))
    if filled:
        desk.apply(fill(1, filled))
    o.orders_replacing(desk.table, 1, 15, 5)
    assert desk.apply(update(w.AMBIGUOUS)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open(), desk.order()["spare"]) == (w.UNKNOWN, (15 - filled, 0), 15)
    assert desk.apply(update(w.CANCEL_REJECT)) == (o.DUPLICATE, 0)
    assert desk.open() == (15 - filled, 0)
    assert desk.apply(update(w.REPLACE_ACK, qty=15, price=100)) == (o.APPLIED, 0)
    assert (desk.open(), desk.order()["spare"]) == ((15 - filled, 0), 0)


def test_refused_cancel_of_a_partly_filled_order_changes_no_quantity():
    desk = Desk()
    desk.place(qty=10)
    desk.apply(fill(1, 4))
    o.orders_cancelling(desk.table, 1, 5)
    assert desk.apply(update(w.CANCEL_REJECT)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open()) == (w.PARTIALLY_FILLED, (6, 0))


@pytest.mark.parametrize("kind", [w.ACK, w.REPLACE_ACK])
def test_first_word_of_life_is_stamped_and_the_second_is_not(kind):
    desk = Desk()
    desk.place()
    desk.apply(update(kind, ts_recv=0, qty=10, price=100))
    assert desk.order()["ts_ack"] == 1  # 0 would say that there was none
    desk.apply(update(kind, ts_recv=50, qty=10, price=100))
    assert desk.order()["ts_ack"] == 1


@pytest.mark.parametrize("said", [0, w.NEW, w.PARTIALLY_FILLED, w.FILLED, w.CANCELED, w.REJECTED])
def test_an_answer_proves_life_where_it_says_that_the_order_is_live(said):
    desk = Desk()
    desk.place()
    desk.apply(update(w.ORDER_STATE, status=said, ts_recv=70))
    assert desk.order()["ts_ack"] == (70 if said in (w.NEW, w.PARTIALLY_FILLED) else 0)


@pytest.mark.parametrize(
    "kind", [w.CANCEL_REJECT, w.AMBIGUOUS, w.REJECT, w.CANCEL_ACK, w.NOT_FOUND]
)
def test_a_status_beside_another_report_proves_nothing(kind):
    desk = Desk()
    desk.place()
    desk.apply(update(kind, status=w.NEW, ts_recv=70))
    assert desk.order()["ts_ack"] == 0


@pytest.mark.parametrize("end", [w.CANCEL_ACK, w.EXPIRE, w.REJECT])
def test_an_ack_after_the_end_is_no_proof(end):
    desk = Desk()
    desk.place()
    desk.apply(update(end))
    desk.apply(update(w.ACK, ts_recv=70))
    assert desk.order()["ts_ack"] == 0


def test_an_ack_of_an_order_presumed_lost_proves_that_it_lives():
    desk = Desk()
    desk.place()
    desk.apply(update(w.NOT_FOUND))
    assert desk.apply(update(w.ACK, ts_recv=70)) == (o.APPLIED, o.RESURRECTED)
    assert (desk.order()["ts_ack"], desk.status(), desk.open()) == (70, w.NEW, (10, 0))
    assert (desk.out[0]["slot"], desk.out[0]["leaves_qty"], desk.order()["spare"]) == (0, 10, 0)


@pytest.mark.parametrize(
    ("row", "end"),
    [
        (update(w.CANCEL_ACK, cum_qty=4), w.CANCELED), (update(w.EXPIRE, cum_qty=4), w.EXPIRED),
        (update(w.ORDER_STATE, status=w.CANCELED, cum_qty=4), w.CANCELED),
        (update(w.ORDER_STATE, status=w.EXPIRED, cum_qty=4), w.EXPIRED),
        (update(w.ORDER_STATE, status=w.FILLED, cum_qty=10), w.FILLED),
    ],
)  # fmt: skip
def test_order_presumed_lost_that_filled_and_ended_waits_for_its_fills(row, end):
    desk = Desk()
    desk.place(qty=10)
    desk.apply(update(w.NOT_FOUND))
    cum = int(row[0]["cum_qty"])
    assert desk.apply(row.copy()) == (o.APPLIED, o.RESURRECTED)
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (cum, 0))
    assert desk.apply(fill(1, 1)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open()) == (w.UNKNOWN, (cum - 1, 0))
    assert desk.apply(fill(2, cum - 1)) == (o.APPLIED, 0)
    assert (desk.status(), desk.open(), desk.order()["filled_qty"]) == (end, (0, 0), cum)


@pytest.mark.parametrize(("room", "want"), [(0, o.INVALID), (1, o.APPLIED)])
def test_filled_quantity_stays_below_the_bound(room, want):
    desk = Desk()
    desk.place(qty=MAX_VALUE - 1)
    assert desk.apply(fill(1, MAX_VALUE - 5)) == (o.APPLIED, 0)
    assert desk.apply(fill(2, 5 - room))[0] == want


@pytest.mark.parametrize("account", [0, 2])
@pytest.mark.parametrize("instrument", [1, 3])
def test_fill_of_another_account_or_instrument_is_not_meant(account, instrument):
    desk = Desk(accounts=3)
    desk.place(account=1, instrument=2)
    assert desk.apply(fill(1, 4, account=account, instrument=2))[0] == o.INVALID
    assert desk.apply(fill(1, 4, account=1, instrument=instrument))[0] == o.INVALID
    assert desk.apply(fill(1, 4, account=1, instrument=2))[0] == o.APPLIED


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"price": 0}, o.INVALID), ({"price": -1}, o.INVALID), ({"price": 1}, o.APPLIED),
        ({"price": MAX_VALUE - 1}, o.APPLIED), ({"price": MAX_VALUE}, o.INVALID),
        ({"price": MAX_VALUE + 1}, o.INVALID), ({"trade_id": 0}, o.INVALID),
        ({"trade_id": -5}, o.APPLIED), ({"side": w.BUY}, o.APPLIED), ({"side": w.SELL}, o.INVALID),
    ],
)  # fmt: skip
def test_fill_has_a_price_and_a_number_and_the_orders_side(fields, want):
    desk = Desk()
    desk.place()
    row = fill(1, 4)
    for name, value in fields.items():
        row[name] = value
    assert desk.apply(row)[0] == want


@pytest.mark.parametrize("size", [1, 3, 7])
def test_trades_are_remembered_in_a_ring_by_account_and_instrument(size):
    table = Desk(trades=size).table
    seen = []
    for n in range(5 * size):
        one = (n % 2, n % 4, -n if n % 3 else 1 << 40 | n)
        assert remember_trade(table, *one)
        seen.append(one)
        for known in seen[-size:]:
            assert not remember_trade(table, *known)
        assert table.trades[:, 0].sum() == min(len(seen), size)
        assert table.trade_count[0] == len(seen)
    assert remember_trade(table, *seen[-size - 1])  # the oldest was forgotten


def test_keys_that_differ_in_their_second_word_alone_are_two():
    """All in one run of the index, so that each is met on the way to the next."""
    for sign in (1, -1):
        rows = make_index(4)
        home = index_home(rows, 5, sign)
        seconds = [b for b in range(sign, sign * 4000, sign) if index_home(rows, 5, b) == home][:4]
        for b in seconds:
            index_put(rows, 5, b, b)
        assert sorted(int(b) for b in rows[rows[:, 0] == 1, 2]) == sorted(seconds)


@pytest.mark.parametrize("entries", [1, 7, 8, 9, 16, 17, 1000])
def test_index_is_the_least_power_of_two_that_stays_half_empty(entries):
    rows = make_index(entries)
    want = 16
    while want < 2 * entries:
        want *= 2
    assert rows.shape == (want, 4)


@pytest.mark.parametrize("sizes", [(1, 4, 3), (1, 4, 4), (2, 3, 9), (2, 3, 10), (3, 5, 16)])
def test_index_has_room_for_all_that_is_live_and_remembered_and_one_more(sizes):
    strategies, open_max, history = sizes
    for trades in (7, 8, 15, 16):
        table = o.make_order_table(strategies, open_max, history, trades=trades)
        assert len(table.index) == len(make_index(strategies * open_max + history + 1))
        assert len(table.trades) == len(make_index(trades + 1))


def test_denial_reads_and_writes_one_row():
    rows = followed(np.zeros(1, UPDATE))
    asked = intent(tag=3, group_id=4, strategy=1, account=1, instrument=2, input_seq=8)
    asked["verdict"] = w.DENY_BAND
    alone = np.zeros(1, UPDATE)
    o.orders_denied(asked, 55, alone)
    o.orders_denied(followed(asked), 55, rows)
    assert rows[0] == alone[0]
    assert set(bytes(rows[1])) == {0x5A}
