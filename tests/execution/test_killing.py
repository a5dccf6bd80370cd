"""One account's kill to the request and the nanosecond, at a venue whose time is its own."""

import pytest

from alephtx.core import words
from alephtx.core.errors import Throttled, TransportError, Unauthorized, VenueError
from alephtx.core.identity import first_order_id
from alephtx.core.ports import Request, What
from alephtx.core.records import EVENT
from alephtx.execution.killing import PAUSE_MAX_NS, PAUSE_NS, touch_of
from alephtx.execution.resync import HORIZON_NS
from tests.execution.pit import LINEAR, SPOT, Pit
from tests.execution.toy import ENGINE, oid

MS, SECOND = 1_000_000, 1_000_000_000


def kill(pit, seconds=10, *, asked_ago=0):
    """Kill now, asked so long ago; the deadline counts from now."""
    now = pit.clock.monotonic()
    return pit.kill.kill(now - asked_ago, now + int(seconds * SECOND))


async def test_nothing_known_and_nothing_open_is_proven_by_one_look():
    pit = Pit()
    report = await kill(pit, asked_ago=3 * MS)
    assert (report.account, report.venue) == ("main", "toy")
    assert pit.asked == [(What.ORDERS, {})]
    assert (report.cancels, report.requests, report.sent_ns) == (0, 0, 0)
    assert (report.confirmed, report.confirmed_ns, report.open) == (True, 4 * MS, [])
    assert pit.waits == []


async def test_what_is_ours_is_cancelled_by_instrument_and_strangers_stay():
    pit = Pit()
    for n, i in ((1, LINEAR), (2, SPOT), (3, LINEAR)):
        pit.ours(oid(n), i)
        pit.open[oid(n)] = i
    pit.strangers = {900: LINEAR, 901: SPOT}
    report = await kill(pit, asked_ago=5 * MS)
    assert pit.requests(What.CANCEL_OURS) == [
        {"instrument": LINEAR, "order_ids": [oid(1), oid(3)]},
        {"instrument": SPOT, "order_ids": [oid(2)]},
    ]
    assert pit.requests(What.CANCEL_ALL) == []
    assert (report.cancels, report.requests) == (3, 2)
    assert report.sent_ns == 6 * MS  # the second left after the first had come back
    assert (report.confirmed, report.confirmed_ns, report.open) == (True, 8 * MS, [])
    assert pit.strangers == {900: LINEAR, 901: SPOT}


@pytest.mark.parametrize("bulk", [True, False])
async def test_account_of_our_own_is_emptied_instrument_by_instrument(bulk):
    """Where a venue takes everything by one request, it gets no other; where not, all are named."""
    pit = Pit(exclusive=True, bulk=bulk)
    pit.ours(oid(1))
    pit.open = {oid(1): LINEAR, oid(7): SPOT}  # the journal knows one of them
    pit.strangers = {900: SPOT}
    report = await kill(pit)
    ours = [{"instrument": LINEAR, "order_ids": [oid(1)]}]
    everything = [{"instrument": i, "venue_order_ids": []} for i in (LINEAR, SPOT)]
    if bulk:
        assert pit.requests(What.CANCEL_OURS) == []
        assert pit.requests(What.CANCEL_ALL) == everything
        assert (report.cancels, report.requests) == (1, 2)
        assert pit.waits == []
    else:
        assert pit.requests(What.CANCEL_OURS) == ours
        named = [{"instrument": LINEAR, "venue_order_ids": []},
                 {"instrument": SPOT, "venue_order_ids": [900]}]  # fmt: skip
        assert pit.requests(What.CANCEL_ALL) == everything + named
        assert (report.cancels, report.requests) == (1, 5)
        assert pit.waits == [PAUSE_NS]
    assert report.confirmed
    assert (pit.open, pit.strangers) == ({}, {})


async def test_what_stays_is_named_and_asked_for_ever_more_slowly_until_the_deadline():
    pit = Pit(exclusive=True)
    pit.open, pit.strangers = {oid(4): SPOT}, {900: LINEAR, 901: LINEAR}
    pit.stuck = {oid(4), 900, 901}
    pit.taken_ns = 0
    report = await kill(pit, 4)
    assert pit.waits == [50 * MS, 100 * MS, 200 * MS, 400 * MS, 800 * MS, SECOND, SECOND, SECOND]
    assert (PAUSE_NS, PAUSE_MAX_NS) == (50 * MS, SECOND)
    theirs = [f"somebody else's {n} on toy:PERP" for n in (900, 901)]
    assert report.open == [f"{oid(4)} on toy:SPOT", *theirs]
    assert (report.confirmed, report.confirmed_ns, report.unproven) == (False, 0, 0)
    assert report.cancels == len(pit.waits)  # not at first: nobody knew of it
    assert pit.requests(What.CANCEL_OURS)[0] == {"instrument": SPOT, "order_ids": [oid(4)]}


async def test_strangers_are_nobodys_business_where_the_account_is_shared():
    pit = Pit()
    pit.strangers = {900: LINEAR}
    report = await kill(pit)
    assert (report.confirmed, report.open) == (True, [])


async def test_orders_of_another_engine_are_strangers():
    pit = Pit(exclusive=True, bulk=True)
    pit.open = {first_order_id(ENGINE + 1, 1) + 5: LINEAR}
    pit.stuck = set(pit.open)
    report = await kill(pit, 0)
    assert report.open == ["somebody else's 0 on toy:PERP"]


async def test_deadline_that_has_come_allows_one_look():
    pit = Pit()
    pit.open, pit.stuck = {oid(1): LINEAR}, {oid(1)}
    report = await kill(pit, 0)
    assert (len(pit.asked), pit.waits, report.confirmed) == (1, [], False)


@pytest.mark.parametrize(("left_ns", "waits"), [(1, 1), (0, 0), (-1, 0)])
async def test_young_order_that_nobody_has_seen_is_waited_for_to_the_nanosecond(left_ns, waits):
    """It is young as long as a look began less than the horizon after its intent."""
    pit = Pit()
    pit.taken_ns = 0
    pit.ours(oid(1), age_ns=HORIZON_NS - left_ns, proven=False)
    report = await kill(pit)
    assert pit.waits == [PAUSE_NS] * waits
    assert len(pit.requests(What.CANCEL_OURS)) == 1 + waits
    assert (report.confirmed, report.unproven) == (True, 0)
    assert report.cancels == 1 + waits


async def test_young_order_keeps_a_kill_unconfirmed_and_a_proven_one_does_not():
    for proven in (True, False):
        pit = Pit()
        pit.ours(oid(1), age_ns=0, proven=proven)
        report = await kill(pit, 0)
        assert (report.confirmed, report.unproven, report.open) == (proven, 0 if proven else 1, [])


async def test_look_that_fails_is_tried_again_with_what_the_journal_says():
    pit = Pit()
    pit.ours(oid(1))
    pit.open[oid(1)] = LINEAR
    pit.stuck.add(oid(1))
    pit.errors[What.ORDERS] = [TransportError("gone"), VenueError("strange")]
    report = await kill(pit, 0.05)
    assert (report.error, report.open) == ("strange", [])
    assert pit.waits == [PAUSE_NS]
    assert [args["order_ids"] for args in pit.requests(What.CANCEL_OURS)] == [[oid(1)]] * 2
    pit.stuck.clear()
    report = await kill(pit)
    assert (report.error, report.confirmed) == ("", True)


async def test_venue_that_is_too_busy_is_left_alone_for_a_second():
    pit = Pit()
    pit.taken_ns = 0
    pit.errors[What.ORDERS] = [Throttled("slow down")]
    report = await kill(pit)
    assert (pit.waits, report.confirmed) == ([SECOND], True)


async def test_cancel_that_fails_is_told_until_a_look_shows_that_nothing_is_there():
    pit = Pit()
    pit.ours(oid(1))
    pit.open[oid(1)] = LINEAR
    pit.errors[What.CANCEL_OURS] = [TransportError("cut")]
    pit.errors[What.ORDERS] = [VenueError("no look")]
    report = await kill(pit, 0)
    assert (report.error, report.confirmed) == ("no look", False)
    report = await kill(pit)
    assert (report.error, report.confirmed, pit.open) == ("", True, {})


async def test_moment_of_sending_is_of_the_first_round_and_never_before_it_was_asked():
    pit = Pit()
    pit.ours(oid(1))
    pit.open[oid(1)] = LINEAR
    pit.stuck.add(oid(1))
    report = await kill(pit, 2, asked_ago=7 * MS)
    assert report.sent_ns == 7 * MS
    pit.kill.left_ns = 5
    pit.known.clear()
    pit.open.clear()
    assert (await kill(pit)).sent_ns == 0  # what left before is not of this kill


def test_only_cancels_count_as_leaving():
    pit = Pit()
    for what in What:
        pit.clock.advance(1)
        before = pit.kill.left_ns
        pit.kill.leaving(Request(what=what))
        cancels = what in (What.CANCEL_ALL, What.CANCEL_OURS)
        assert pit.kill.left_ns == (pit.clock.monotonic() if cancels else before)


async def test_touch_is_the_best_of_what_rests():
    pit = Pit()
    (events,) = await pit.kill.ask(What.SNAPSHOT, instrument=LINEAR)
    assert len(events) == 8  # two of them are empty levels, better than the rest
    assert touch_of(events) == (10_000, 10_005)
    assert touch_of(events[events["side"] > 0]) == (10_000, 0)
    assert touch_of(events[events["side"] < 0]) == (0, 10_005)
    assert touch_of(events[:0].astype(EVENT)) == (0, 0)


@pytest.mark.parametrize("first", [What.CANCEL_OURS, What.ORDERS])
async def test_venue_that_refuses_our_clock_is_asked_for_its_own(first):
    pit = Pit()
    pit.codec.tells_time = True
    pit.ours(oid(1))
    pit.open[oid(1)] = LINEAR
    refused = Unauthorized("your clock is 4 s ahead")
    refused.reason = words.REASON_CLOCK
    pit.refused[first] = [refused]
    pit.ahead_ns = -4 * SECOND
    report = await kill(pit)
    assert (report.confirmed, report.error, pit.open) == (True, "", {})
    assert [what for what, _ in pit.asked].count(What.TIME) == 1
    assert abs(pit.kill.venue_now() - pit.clock.now() + 4 * SECOND) <= 2 * MS


async def test_venue_that_does_not_tell_its_time_either_keeps_a_kill_going():
    pit = Pit()
    pit.codec.tells_time = True
    refused = Unauthorized("your clock is 4 s ahead")
    refused.reason = words.REASON_CLOCK
    pit.refused[What.ORDERS] = [refused]
    pit.errors[What.TIME] = [TransportError("gone")]
    report = await kill(pit)
    assert report.confirmed
    assert pit.kill.venue_now() == pit.clock.now()


async def test_venue_that_refuses_our_clock_and_has_no_question_for_its_own_is_asked_on():
    pit = Pit()
    refused = Unauthorized("your clock is 4 s ahead")
    refused.reason = words.REASON_CLOCK
    pit.refused[What.ORDERS] = [refused]
    report = await kill(pit)
    assert report.confirmed
    assert pit.kill.venue_now() == pit.clock.now()


async def test_many_refusals_at_once_ask_for_the_time_once():
    pit = Pit()
    pit.codec.tells_time = True
    for n, instrument in enumerate((LINEAR, SPOT), 1):
        pit.ours(oid(n), instrument)
        pit.open[oid(n)] = instrument
    refused = Unauthorized("your clock is 4 s ahead")
    refused.reason = words.REASON_CLOCK
    pit.refused[What.CANCEL_OURS] = [refused, refused]
    pit.pauses = True
    report = await kill(pit)
    assert (report.confirmed, pit.open) == (True, {})
    assert [what for what, _ in pit.asked].count(What.TIME) == 1
