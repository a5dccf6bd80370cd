"""Streams are in both orders at once, against a naive pair that sorts twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.store.arrange import Arranger
from alephtx.store.pack import make_survey, survey
from tests.store.market import DATED, T0, rows_of, trade

pytestmark = pytest.mark.kernel

MESSAGES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(1, 3)), min_size=1, max_size=20
)


def arranged(rows, cuts=(), **given):
    """Arrange in the chunks that the cuts make, whole messages each."""
    arranger = Arranger(**given)
    made = [np.zeros(0, EVENT)]
    for part in np.split(rows, list(cuts)):
        made += arranger.push(part)
    made += arranger.finish()
    return np.concatenate(made), arranger


def messages_of(rows):
    ends = np.flatnonzero(rows["flags"] & words.LAST_IN_MESSAGE) + 1
    return np.split(rows, ends[:-1])


def recorded(drawn):
    """Messages of 1..3 rows: (time since the last arrival, venue's time, rows)."""
    clock, fields = 0, []
    for n, (step, event, length) in enumerate(drawn):
        clock += step
        fields += [trade(clock, event, price=n, qty=k, open=k < length - 1) for k in range(length)]
    return rows_of(*fields)


def seen(rows, hidden):
    """What one side sees: messages as (price, qty rows), in the stream's order."""
    return [
        (int(m[0]["price"]), tuple(m["qty"].tolist()), int(m[0]["ts_event"]), int(m[0]["ts_recv"]))
        for m in messages_of(rows)
        if not m[0]["flags"] & hidden
    ]


@given(MESSAGES)
def test_each_side_sees_every_message_once_in_its_own_order(drawn):
    rows = recorded(drawn)
    made, _ = arranged(rows)
    naive = seen(rows.copy(), 0)
    assert seen(made, words.TICK_EXCHANGE) == naive
    assert seen(made, words.TICK_LOCAL) == sorted(naive, key=lambda m: m[2])
    state = make_survey()
    assert survey(made, len(made), state) == -1
    doubled = {m[0] for m in seen(made, 0) if [n[0] for n in seen(made, 0)].count(m[0]) == 2}
    overtook = {
        m[0] for k, m in enumerate(naive) if any(later[2] < m[2] for later in naive[k + 1 :])
    }
    assert doubled == overtook


@given(MESSAGES)
def test_window_by_window_is_as_all_at_once_where_nothing_is_late(drawn):
    rows = recorded(drawn)
    whole, _ = arranged(rows.copy())
    heard = [m[0] for m in messages_of(rows)]
    window = 1 + max(
        (int(b["ts_recv"] - a["ts_recv"]) for k, a in enumerate(heard) for b in heard[k + 1 :]
         if b["ts_event"] < a["ts_event"]), default=0,
    )  # fmt: skip
    arranger = Arranger(window_ns=window)
    made = [np.zeros(0, EVENT)]
    for part in messages_of(rows):
        arranger.push(part)
        made += arranger.settle()
    made += arranger.finish()
    assert np.concatenate(made).tobytes() == whole.tobytes()
    assert arranger.counts["late"] == 0


@given(MESSAGES)
def test_what_comes_after_the_window_is_dated_anew_and_counted(drawn):
    rows = recorded(drawn)
    arranger = Arranger(window_ns=0, rows_max=0)
    made = [np.zeros(0, EVENT)]
    floor, late = 0, 0
    for part in messages_of(rows):
        late += int(part[0]["ts_event"]) < floor
        floor = max(floor, int(part[0]["ts_event"]))
        arranger.push(part)
        made += arranger.settle()
    made += arranger.finish()
    made = np.concatenate(made)
    assert arranger.counts["late"] == late
    assert len(made) == len(rows)
    assert survey(made, len(made), make_survey()) == -1


def test_messages_without_a_stamp_are_dated_by_their_neighbours():
    rows = rows_of(trade(0), trade(10, 110), trade(20), trade(30, 125), trade(40))
    made, arranger = arranged(rows)
    assert (made["ts_event"] - T0).tolist() == [100, 110, 120, 125, 135]
    assert arranger.counts == {"recv_back": 0, "late": 0, "estimated": 3, "unfit": 0}
    assert [int(f) & DATED for f in made["flags"]] == [0, DATED, 0, DATED, 0]


def test_an_estimate_is_never_later_than_the_next_stamp():
    made, _ = arranged(rows_of(trade(0, 100), trade(50), trade(60, 120)))
    assert (made["ts_event"] - T0).tolist() == [100, 120, 120]


def test_without_any_venue_clock_arrival_is_the_time():
    made, _ = arranged(rows_of(trade(5), trade(9)))
    assert made["ts_event"].tolist() == made["ts_recv"].tolist() == [T0 + 5, T0 + 9]


def test_without_a_local_clock_the_venues_is_taken():
    rows = rows_of(trade(0, 5), trade(0, 9), trade(0, 7))
    rows["ts_recv"] = 0
    made, _ = arranged(rows)
    assert (made["ts_recv"] - T0).tolist() == [5, 9, 9, 9]
    assert (made["ts_event"] - T0).tolist() == [5, 9, 7, 9]


def test_arrivals_that_go_back_are_lifted_and_counted():
    made, arranger = arranged(rows_of(trade(5, 1), trade(3, 2), trade(6, 3)))
    assert (made["ts_recv"] - T0).tolist() == [5, 5, 6]
    assert arranger.counts["recv_back"] == 1


def test_orders_keep_their_ids():
    order = trade(1, 1, kind=words.ORDER_ADD, seq=77)
    made, _ = arranged(rows_of(trade(0, 1), order, trade(2, 2)))
    assert made["seq"].tolist() == [0, 77, 2]


HOUR = 3600 * 1_000_000_000


@given(st.integers(0, 4), st.sampled_from([3 * HOUR, -3 * HOUR, 1 << 61]), st.booleans(),
       st.integers(1, 4))  # fmt: skip
def test_one_wild_stamp_costs_its_message_and_nothing_else(at, off, ours, cut):
    """Without this, all that follows would be lifted to it."""
    good = [trade(10 * k, 10 * k + 5, price=k) for k in range(1, 6)]
    bad = dict(good[at])
    bad["ts_recv" if ours else "ts_event"] += off
    rows = rows_of(*good[:at], {**bad, "price": 99}, *good[at:])
    made, arranger = arranged(rows, (cut,))
    harmless = at == 0 and off < 0  # nothing is lifted to it, and nobody can tell which is wrong
    assert made["price"].tolist() == [99] * harmless + [1, 2, 3, 4, 5]
    assert (made["ts_event"][harmless:] - T0).tolist() == [15, 25, 35, 45, 55]
    assert arranger.counts["unfit"] == 1 - harmless


def test_a_pause_of_days_is_no_wild_stamp():
    times = (1, 2, 50 * HOUR, 99 * HOUR)
    made, arranger = arranged(rows_of(*(trade(time, time) for time in times)))
    assert len(made) == 4
    assert arranger.counts["unfit"] == 0


@pytest.mark.parametrize(
    "change", [{"price": 1 << 62}, {"qty": -(1 << 62)}, {"side": 2}, {"kind": 0}, {"kind": 99}]
)
def test_impossible_numbers_cost_their_message(change):
    bad = {**trade(2, 2), **change, "open": True}
    made, arranger = arranged(rows_of(trade(1, 1), bad, trade(2, 2), trade(3, 3)))
    assert (made["ts_event"] - T0).tolist() == [1, 3]
    assert arranger.counts["unfit"] == 1
