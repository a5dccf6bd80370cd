"""The venue's words in: fills find their orders, a full ring keeps the order of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.identity import first_order_id
from alephtx.execution.inbox import NOBODYS_NS, ORPHAN_NS, Inbox, LiveOrder
from tests.execution import rows
from tests.execution.rows import update


def fill(*given, **fields):
    return rows.fill(*given, **{"side": words.BUY, **fields})


class Ring:
    """The account's ring, with so much room."""

    def __init__(self, room=1 << 30):
        self.rows, self.room = [], room

    def __call__(self, row):
        if len(self.rows) >= self.room:
            return False
        self.rows.append(row[0].copy())
        return True

    def told(self, name="kind"):
        return [int(row[name]) for row in self.rows]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def ring():
    return Ring()


@pytest.fixture
def inbox(clock, ring):
    made = Inbox(2, clock, ring)
    made.opened_ns = clock.now()
    return made


def test_row_gets_account_time_and_order(inbox, ring, clock):
    inbox.by_venue_id[70] = 5
    inbox.accept(update(words.CANCEL_ACK, 0, venue_order_id=70, ts_recv=0))
    (row,) = ring.rows
    assert (row["account"], row["order_id"], row["ts_recv"]) == (2, 5, clock.now())


def test_fill_before_its_ack_waits_and_follows_with_the_orders_id(inbox, ring):
    inbox.accept(fill(1, 3, 0, venue_order_id=70))
    inbox.accept(fill(2, 4, 0, venue_order_id=71))
    assert ring.rows == []
    inbox.accept(update(words.ACK, 5, venue_order_id=70))
    assert sorted(zip(ring.told(), ring.told("order_id"), strict=True)) == [
        (words.ACK, 5), (words.FILL, 5),
    ]  # fmt: skip
    inbox.sweep()
    assert inbox.foreign == 0


def test_fill_that_nobody_claims_is_somebody_elses_and_booked_once(inbox, ring, clock):
    """The account's balances move by it, so its books must."""
    heard = []
    inbox.on_foreign = heard.append
    for _ in range(2):
        inbox.accept(fill(1, 3, 0, venue_order_id=70, ts_event=clock.now()))
        clock.advance(ORPHAN_NS + 1)
        inbox.sweep()
    (row,) = ring.rows
    assert (row["order_id"], row["qty"], row["flags"]) == (0, 3, words.FOREIGN)
    assert (inbox.foreign, heard) == (1, ["fill 1 of order 70"])


@pytest.mark.parametrize(
    ("live", "wait"),
    [
        (None, NOBODYS_NS),
        (LiveOrder(5, 0, 1, 77), NOBODYS_NS),  # its id is known, and another one
        (LiveOrder(5, 1, 1), NOBODYS_NS),  # of another instrument
        (LiveOrder(5, 0, 1), ORPHAN_NS),
    ],
)
def test_fill_waits_long_only_for_an_order_whose_id_is_not_known(inbox, ring, clock, live, wait):
    """Found in a simulated world: after a restart a foreign fill was not in the books for 5 s."""
    if live is not None:
        inbox.live[5] = live
    inbox.accept(fill(1, 3, 0, venue_order_id=70, ts_event=clock.now()))
    clock.advance(wait)
    inbox.sweep()
    assert inbox.foreign == 0
    clock.advance(1)
    inbox.sweep()
    assert (inbox.foreign, inbox.orphaned()) == (1, set())


def test_fill_of_another_engines_order_is_booked_as_foreign(inbox, ring):
    inbox.engine = 3
    inbox.accept(fill(1, 3, first_order_id(4, 1) + 1, venue_order_id=70))
    inbox.accept(fill(2, 3, first_order_id(3, 1) + 1, venue_order_id=71))
    assert [(int(r["order_id"]) != 0, int(r["flags"])) for r in ring.rows] == [
        (False, words.FOREIGN), (True, 0),
    ]  # fmt: skip


def test_fill_that_waits_is_not_given_up_while_it_is_being_asked_whose_it_is(inbox, ring, clock):
    inbox.accept(fill(1, 3, 0, venue_order_id=70, ts_event=clock.now()))
    inbox.explaining = True
    clock.advance(ORPHAN_NS + 1)
    inbox.sweep()
    assert (inbox.foreign, inbox.orphaned()) == (0, {0})


def test_fill_is_not_held_foreign_before_orders_given_up_were_asked_for(inbox, ring, clock):
    asked = []
    inbox.on_orphans = lambda: asked.append(clock.monotonic())
    inbox.give_up(LiveOrder(5, 0, 1), update(words.NOT_FOUND, 5))
    inbox.accept(fill(1, 3, 0, venue_order_id=70, ts_event=clock.now()))
    clock.advance(ORPHAN_NS + 1)
    inbox.sweep()
    assert (len(asked), inbox.foreign) == (1, 0)
    inbox.explained_ns = asked[0]
    inbox.sweep()
    assert inbox.foreign == 1


def test_order_that_comes_after_it_was_given_up_is_live_again(inbox, ring):
    revived = []
    inbox.on_revived = lambda order_id, instrument: revived.append((order_id, instrument))
    inbox.live[5] = LiveOrder(5, 1, 1)
    inbox.give_up(inbox.live[5], update(words.NOT_FOUND, 5))
    assert (inbox.live, list(inbox.lost)) == ({}, [5])
    inbox.accept(update(words.CANCEL_REJECT, 5))
    assert revived == []
    inbox.accept(update(words.ACK, 5, venue_order_id=70, status=words.NEW))
    assert (list(inbox.live), inbox.lost, revived) == ([5], {}, [(5, 1)])


def test_what_is_remembered_is_bounded(inbox, monkeypatch):
    monkeypatch.setattr("alephtx.execution.inbox.LOST_KEPT_MAX", 2)
    monkeypatch.setattr("alephtx.execution.inbox.FILLS_KEPT_MAX", 2)
    for n in range(1, 5):
        inbox.give_up(LiveOrder(n, 0, 1), update(words.NOT_FOUND, n))
        inbox.accept(fill(n, 1, 9))
    assert list(inbox.lost) == [3, 4]
    assert inbox.fills == 4


def test_unclaimed_fill_of_before_the_opening_is_in_the_opening_balances(inbox, clock):
    inbox.accept(fill(1, 3, 0, venue_order_id=70, ts_event=clock.now() - 1))
    clock.advance(ORPHAN_NS + 1)
    inbox.sweep()
    assert inbox.foreign == 0


@pytest.mark.parametrize("money", [words.FUNDING_PAID, words.MONEY_MOVED])
def test_nothing_is_counted_before_the_ledger_opened(inbox, ring, clock, money):
    inbox.opened_ns = 0
    inbox.accept(fill(1, 3, 5))
    inbox.accept(update(money, 0, ts_event=clock.now()))
    assert ring.rows == []
    inbox.opened_ns = clock.now()
    inbox.accept(update(money, 0, ts_event=clock.now() - 1))
    assert ring.rows == []
    inbox.accept(update(money, 0, ts_event=clock.now()))
    assert ring.told() == [money]


@pytest.mark.parametrize("kind", [words.CANCEL_ACK, words.EXPIRE, words.REJECT])
def test_end_of_an_order_is_noted(inbox, kind):
    inbox.live[5] = LiveOrder(5, 0, 1)
    inbox.accept(update(kind, 5))
    assert inbox.live == {}


def test_acknowledged_order_lives_on_under_its_venues_id(inbox):
    inbox.live[5] = LiveOrder(5, 0, 1)
    inbox.accept(update(words.ACK, 5, venue_order_id=70, status=words.NEW))
    assert inbox.live[5].venue_order_id == 70
    inbox.accept(fill(1, 3, 0, venue_order_id=70, status=words.FILLED))
    assert inbox.live == {}


def test_row_of_an_order_that_is_not_ours_goes_nowhere(inbox, ring):
    inbox.accept(update(words.ACK, 0, venue_order_id=70))
    assert ring.rows == []
    assert inbox.by_venue_id == {}


@given(
    room=st.integers(0, 4),
    steps=st.lists(st.sampled_from(["row", "sweep", "room"]), max_size=30),
)
def test_full_ring_loses_and_reorders_nothing(room, steps):
    ring = Ring(room)
    inbox = Inbox(0, ManualClock(), ring)
    pushed = 0
    for step in [*steps, "all"]:
        if step == "row":
            pushed += 1
            inbox.push(update(words.ACK, pushed))
        elif step == "sweep":
            inbox.sweep()
        elif step == "room":
            ring.room += 1
        else:
            ring.room = 1 << 30
            inbox.sweep()
    assert ring.told("order_id") == list(range(1, pushed + 1))


@given(events=st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=30))
def test_every_fill_arrives_once_under_its_order_whatever_comes_first(events):
    """Acks teach ids 1..4 = 71..74; fills name the venue's id only; at the end all are taught."""
    ring, clock = Ring(), ManualClock()
    inbox = Inbox(0, clock, ring)
    inbox.opened_ns = 1
    fills = []
    for k, (is_fill, n) in enumerate([*events, *((False, n) for n in range(1, 5))], 1):
        if is_fill:
            fills.append((k, n))
            inbox.accept(fill(k, 1, 0, venue_order_id=70 + n))
        else:
            inbox.accept(update(words.ACK, n, venue_order_id=70 + n))
    got = [(int(r["trade_id"]), int(r["order_id"])) for r in ring.rows if r["kind"] == words.FILL]
    assert sorted(got) == sorted(fills)
    assert inbox.fills == len(fills)


def test_blank_row_is_of_this_account(inbox, clock):
    row = inbox.blank(words.SENT, 5, -1)
    assert np.all(row[["account", "order_id", "instrument"]] == np.array(
        (2, 5, 0), dtype=row[["account", "order_id", "instrument"]].dtype
    ))  # fmt: skip
    assert (row[0]["cum_qty"], row[0]["ts_recv"]) == (-1, clock.now())


@pytest.mark.parametrize(
    "spoilt", [{"price": 0}, {"qty": 0}, {"qty": -5}, {"side": 0}, {"trade_id": 0}]
)
def test_a_fill_that_can_be_none_is_asked_for_and_does_not_keep_the_true_one_out(
    inbox, ring, spoilt
):
    asked = []
    inbox.on_spoilt = lambda: asked.append(True)
    good = {"order_id": 7, "trade_id": 31, "qty": 5, "price": 100, "side": words.BUY}
    inbox.accept(update(words.FILL, **(good | spoilt)))
    assert asked == [True]
    assert ring.told() == []
    inbox.accept(update(words.FILL, **good))
    inbox.accept(update(words.FILL, **good))
    assert ring.told() == [words.FILL]
