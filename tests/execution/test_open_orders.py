"""The killer's view of open orders forgets none that the engine's order table holds open."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.execution.open_orders import ENDED_KEPT_MAX, OpenOrders
from alephtx.matrix import journal
from alephtx.matrix.journal import Record
from tests.execution.rows import Desk, fill, intent, update


def told(rows):
    """Return a fold over rows as their journal has them."""
    orders = OpenOrders()
    for k, row in enumerate(rows):
        kind = journal.INTENT if "op" in row.dtype.names else journal.UPDATE
        orders.take(Record(k + 1, kind, 1, 0, 100 + k, memoryview(row.tobytes())))
    return orders


def ids(orders, account=0):
    return [order.order_id for order in orders.of(account)]


ACK = update(words.ACK, status=words.NEW)


def test_order_is_open_from_its_intent_and_proven_by_its_acknowledgement():
    orders = told([intent(account=2, instrument=3)])
    (order,) = orders.of(2)
    assert (order.order_id, order.instrument, order.ts, order.proven) == (1, 3, 100, False)
    assert told([intent(account=2), ACK]).of(2)[0].proven
    assert orders.of(0) == []


@pytest.mark.parametrize(
    ("row", "left"),
    [
        (update(words.CANCEL_ACK), []), (update(words.EXPIRE), []),
        (update(words.ORDER_STATE, status=words.FILLED), []),
        (fill(1, 10, status=words.FILLED), []), (fill(1, 3), [1]), (update(words.AMBIGUOUS), [1]),
        (update(words.CANCEL_REJECT), [1]), (update(words.SENT), [1]),
        (update(words.ORDER_STATE, status=words.PARTIALLY_FILLED), [1]),
    ],
)  # fmt: skip
def test_report_ends_an_order_or_leaves_it_open(row, left):
    assert ids(told([intent(), ACK, row])) == left
    assert ids(told([intent(), row])) == left


@pytest.mark.parametrize("row", [update(words.REJECT), update(words.NOT_FOUND)])
def test_refusal_ends_an_order_that_nobody_has_seen(row):
    assert ids(told([intent(), row])) == []
    assert ids(told([intent(), ACK, row])) == [1], "it was on the book"


def test_order_not_found_that_shows_up_is_open_again():
    assert ids(told([intent(), update(words.NOT_FOUND), ACK])) == [1]
    assert ids(told([intent(), update(words.CANCEL_ACK), ACK])) == [], "only late"


def test_denied_intents_cancels_and_foreign_fills_are_no_orders():
    rows = [intent(verdict=words.DENY_SIZE), intent(op=words.CANCEL), fill(1, 3, order_id=0)]
    assert ids(told(rows)) == []


def test_epoch_is_the_last_one():
    orders = OpenOrders()
    for number in (3, 7, 5):
        payload = memoryview(np.array([number], np.int64).tobytes())
        orders.take(Record(1, journal.EPOCH, 1, 0, 0, payload))
    assert orders.epoch == 7


def test_memory_of_ended_orders_is_bounded():
    orders = OpenOrders()
    for k in range(ENDED_KEPT_MAX + 10):
        row = update(words.CANCEL_ACK, order_id=k + 1)
        orders.take(Record(1, journal.UPDATE, 1, 0, 0, memoryview(row.tobytes())))
    assert len(orders._ended) == ENDED_KEPT_MAX


KINDS = (words.SENT, words.ACK, words.REJECT, words.CANCEL_ACK, words.EXPIRE, words.CANCEL_REJECT,
         words.AMBIGUOUS, words.NOT_FOUND, words.REPLACE_ACK)  # fmt: skip
REPORTS = st.one_of(
    st.sampled_from(KINDS).map(update),
    # Not FILLED: the table waits for its fills, but nothing is left on the book.
    st.sampled_from(sorted(set(range(1, 12)) - {words.FILLED})).map(
        lambda s: update(words.ORDER_STATE, status=s)
    ),
    st.integers(1, 3).map(lambda k: fill(k, 2)),
)


@given(st.lists(REPORTS, max_size=12))
@example([update(words.REJECT), update(words.ACK), update(words.CANCEL_ACK), fill(1, 2)])
def test_whatever_is_told_no_order_the_table_holds_open_is_forgotten(reports):
    desk = Desk()
    desk.place()
    for row in reports:
        desk.apply(row.copy())
    if desk.status() not in words.TERMINAL:
        assert ids(told([intent(), *reports])) == [1]


def test_every_report_of_every_order_ends_it_proves_it_or_leaves_it():
    """All kinds by all statuses, against the sets of words written out here."""
    ends = {words.CANCEL_ACK, words.EXPIRE, words.REJECT, words.NOT_FOUND}
    over = {words.FILLED, words.CANCELED, words.REJECTED, words.EXPIRED}
    proofs = {words.ACK, words.FILL, words.REPLACE_ACK, words.ORDER_STATE}
    refusals = {words.REJECT, words.NOT_FOUND}
    for kind in range(words.SENT, words.NOT_FOUND + 1):
        for status in range(12):
            row = update(kind, status=status, account=2, instrument=5)
            ending = kind in ends or status in over
            refused = kind in refusals or status == words.REJECTED
            seen = told([intent(account=2), ACK, row]).of(2)
            assert len(seen) == (not ending or refused), (kind, status)
            unseen = told([intent(account=2), row]).of(2)
            assert len(unseen) == (not ending), (kind, status)
            if unseen:
                assert unseen[0].proven == (kind in proofs)
            again = told([intent(account=2), row, update(words.ACK, account=2, instrument=5)]).of(2)
            assert len(again) == (not ending or refused), (kind, status)
            if ending and refused:
                (order,) = again
                assert (order.account, order.instrument, order.ts, order.proven) == (
                    2,
                    5,
                    102,
                    True,
                )


@pytest.mark.parametrize("op", range(5))
@pytest.mark.parametrize("verdict", [words.PASS, words.DENY_SIZE])
def test_only_places_that_passed_are_orders(op, verdict):
    expected = [1] if op == words.PLACE and verdict == words.PASS else []
    assert ids(told([intent(op=op, verdict=verdict)])) == expected


def test_oldest_ends_are_forgotten_first(monkeypatch):
    monkeypatch.setattr("alephtx.execution.open_orders.ENDED_KEPT_MAX", 3)
    gone = [update(words.NOT_FOUND, order_id=n) for n in (1, 2, 3, 4)]
    for n, want in ((1, []), (2, [2]), (3, [3]), (4, [4])):
        assert ids(told([*gone, update(words.ACK, order_id=n)])) == want
