import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.story import Story, latencies
from alephtx.analysis.tables import funding_of
from alephtx.core import words
from alephtx.core.records import INTENT, UPDATE
from alephtx.matrix import journal


def intent(story, order_id=0, ts=100, **fields):
    given_ = {"op": words.PLACE, "qty": 10, "price": 50, "side": words.BUY, "ts_intent": ts}
    feed(story, journal.INTENT, INTENT, ts, order_id=order_id, **{**given_, **fields})


def update(story, order_id, kind, ts=200, **fields):
    given_ = {"kind": kind, "ts_recv": ts, **fields}
    feed(story, journal.UPDATE, UPDATE, ts, order_id=order_id, **given_)


def fill(story, order_id, trade_id, qty, ts=300, **fields):
    given_ = {"trade_id": trade_id, "qty": qty, "price": 50, "side": words.BUY, **fields}
    update(story, order_id, words.FILL, ts, **given_)


def feed(story, record, dtype, ts, **fields):
    row = np.zeros(1, dtype)
    for name, value in fields.items():
        row[name] = value
    story.apply(record, row.tobytes(), ts)


def status(story, order_id=7):
    return words.STATUS_NAMES[story.orders[order_id].status]


@pytest.fixture
def story():
    told = Story(instruments=2)
    intent(told, 7, strategy=3)
    return told


def test_story_of_an_order_that_fills_in_parts_ends_filled(story):
    update(story, 7, words.SENT, 150)
    update(story, 7, words.ACK, 190)
    assert status(story) == "NEW"
    fill(story, 7, 1, 4)
    assert status(story) == "PARTIALLY_FILLED"
    fill(story, 7, 2, 6, price=60)
    order = story.orders[7]
    assert status(story) == "FILLED"
    assert (order.filled, order.value, order.fills) == (10, 4 * 50 + 6 * 60, 2)
    assert (order.ts_intent, order.ts_sent, order.ts_ack, order.ts_end) == (100, 150, 190, 300)
    assert [f.strategy for f in story.fills] == [3, 3]


def test_story_of_a_fill_heard_twice_counts_it_once(story):
    fill(story, 7, 1, 4)
    fill(story, 7, 1, 4)
    fill(story, 7, 1, 4, account=1)  # another account's trade of the same number
    assert (len(story.fills), story.duplicates) == (2, 1)


def test_story_of_a_fill_before_the_acknowledgement_keeps_the_fill(story):
    fill(story, 7, 1, 10, ts=150)
    update(story, 7, words.ACK, 400)
    assert status(story) == "FILLED"
    assert story.orders[7].ts_ack == 150


@pytest.mark.parametrize(
    ("kind", "name"),
    [(words.REJECT, "REJECTED"), (words.CANCEL_ACK, "CANCELED"), (words.EXPIRE, "EXPIRED")],
)
def test_story_of_an_order_that_is_over_stays_over(story, kind, name):
    update(story, 7, kind, reason=words.REASON_FILTER, code=-1013)
    update(story, 7, words.ACK, 500)
    update(story, 7, words.AMBIGUOUS, 500)
    order = story.orders[7]
    assert status(story) == name
    assert (order.reason, order.code, order.ts_end) == (words.REASON_FILTER, -1013, 200)


def test_story_of_a_late_fill_after_the_cancel_still_counts(story):
    update(story, 7, words.CANCEL_ACK)
    fill(story, 7, 1, 4)
    assert status(story) == "CANCELED"
    assert story.orders[7].filled == 4


def test_story_of_doubt_and_the_answer_to_it(story):
    update(story, 7, words.AMBIGUOUS)
    assert status(story) == "UNKNOWN"
    update(story, 7, words.ORDER_STATE, 250, status=words.CANCELED)
    assert status(story) == "CANCELED"


def test_story_of_denials_counts_by_strategy_and_rule(story):
    for _ in range(3):
        intent(story, 8, strategy=1, verdict=words.DENY_BAND)
    intent(story, 0, op=words.CANCEL, strategy=1, verdict=words.DENY_UNKNOWN_ORDER)
    assert story.denied == {(1, words.DENY_BAND): 3, (1, words.DENY_UNKNOWN_ORDER): 1}
    assert list(story.orders) == [7]


def test_story_of_foreign_fills_says_so(story):
    fill(story, 99, 1, 4)
    assert (story.foreign, story.fills[0].strategy) == (1, -1)


def test_story_of_resyncs_counts_by_account(story):
    update(story, 0, words.RESYNC_BEGIN, account=1, instrument=0)
    update(story, 0, words.RESYNC_END, account=1, instrument=0)
    assert story.resyncs == {1: 1}


@pytest.mark.parametrize(
    "fields", [{"price": 0}, {"qty": 0}, {"qty": -4}, {"side": 0}, {"trade_id": 0}]
)
def test_story_of_fills_that_make_no_sense_passes_them_over(story, fields):
    fill(story, 7, **{"trade_id": 1, "qty": 4, **fields})
    assert (len(story.fills), story.strange) == (0, 1)


def test_story_of_unknown_instruments_passes_them_over(story):
    intent(story, 8, instrument=2)
    fill(story, 7, 1, 4, instrument=4_000_000_000)
    assert (len(story.orders), len(story.fills), story.strange) == (1, 0, 2)


def test_story_of_a_payload_that_is_no_rows_counts_it(story):
    story.apply(journal.UPDATE, b"x" * 161, 500)
    assert story.strange == 1
    assert (story.first_ts, story.last_ts) == (100, 500)


def test_story_of_funding_keeps_each_payment_once(story):
    paid = {"instrument": 1, "trade_id": -9, "realized": 70}
    for ts in (300, 310):  # told twice
        update(story, 0, words.FUNDING_PAID, ts, **paid)
    update(story, 0, words.FUNDING_PAID, 320, instrument=0, realized=-5)  # without a number
    update(story, 0, words.FUNDING_PAID, 320, instrument=0, realized=-5)
    update(story, 0, words.FUNDING_PAID, 330, instrument=9, realized=1)
    assert [(i, amount) for i, _, amount in story.funding] == [(1, 70), (0, -5)]
    assert story.strange == 1
    when, amounts = funding_of(story.funding, 1)
    assert (len(when), amounts.tolist()) == (1, [70])
    assert funding_of(story.funding, 3) is None


def test_latencies_take_orders_that_have_both_ends(story):
    update(story, 7, words.SENT, 150)
    update(story, 7, words.ACK, 190)
    intent(story, 0, ts=400, op=words.CANCEL, target_order_id=7)
    intent(story, 0, ts=410, op=words.CANCEL, target_order_id=7)  # a repeat
    update(story, 7, words.CANCEL_ACK, 430)
    intent(story, 8, ts=500)  # never left
    found = {name: values.tolist() for name, values in latencies(story.orders).items()}
    assert found == {"intent_to_sent": [50], "sent_to_ack": [40], "cancel_to_end": [30]}


ROWS = st.tuples(st.sampled_from([journal.INTENT, journal.UPDATE]), st.binary(max_size=400))


@given(st.lists(ROWS, max_size=12))
def test_story_of_any_bytes_keeps_its_promises(rows):
    told = Story(instruments=2)
    for kind, payload in rows:
        size = (INTENT if kind == journal.INTENT else UPDATE).itemsize
        told.apply(kind, payload.ljust(size, b"\1")[:size] if len(payload) > 20 else payload, 5)
    assert len({(f.account, f.instrument, f.trade_id) for f in told.fills}) == len(told.fills)
    assert all(f.instrument < 2 and f.qty > 0 for f in told.fills)
