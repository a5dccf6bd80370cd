"""The gateway: links break, answers stay away, rings fill. Nothing is lost or sent twice."""

import asyncio

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.errors import TransportError, VenueError
from alephtx.core.ports import What
from alephtx.execution.gateway import CONFIRM_NS, KEEPALIVE_NS
from alephtx.execution.inbox import LiveOrder
from alephtx.execution.resync import GRACE_NS, OVERLAP_NS
from tests.execution.toy import SECOND, World, balances, missing, oid, row, says


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.gateway.close()
    assert made.wire.closed


@pytest.fixture
async def trading():
    """A gateway whose orders travel on a socket."""
    made = World("trade")
    yield made
    await made.gateway.close()


# -- links and resync ----------------------------------------------------------------------


async def test_start_opens_the_account_only_after_everything_was_asked(world):
    await world.up()
    assert world.wire.whats() == [
        What.ORDERS, What.FILLS_SINCE, What.FUNDING_SINCE, What.BALANCES, What.POSITIONS,
    ]  # fmt: skip
    assert world.kinds() == [words.RESYNC_BEGIN, words.RESYNC_END]
    assert [str(balance.total) for balance in world.gateway.balances] == ["100"]
    assert world.gateway.counts["resyncs"] == 1


async def test_resync_waits_for_the_private_links_confirmation(world):
    await world.gateway.start()
    await world.wire.opened["private"][0]()
    world.gateway.on_up("private")
    await world.passes(SECOND)
    assert world.wire.asked == []
    world.frame(says(controls=[["subscribed", None, ""]]))
    await world.until(world.gateway.ready.is_set)


async def test_unconfirmed_private_link_is_opened_anew(world):
    await world.gateway.start()
    await world.wire.opened["private"][0]()
    world.gateway.on_up("private")
    await world.passes(CONFIRM_NS + SECOND)
    assert world.wire.dropped == [("private", "it did not confirm our subscription")]


async def test_refused_subscription_drops_the_link(world):
    await world.gateway.start()
    await world.wire.opened["private"][0]()
    world.gateway.on_up("private")
    world.frame(says(controls=[["error", "Unauthorized", ""]]))
    assert world.wire.dropped == [("private", "the venue refused our subscription")]


async def test_venue_that_fails_is_asked_again_until_it_answers(world):
    world.wire.answers[What.ORDERS] = [VenueError("down"), TransportError("cut"), says()]
    await world.up()
    assert world.wire.whats().count(What.ORDERS) == 3
    assert world.kinds() == [words.RESYNC_BEGIN, words.RESYNC_END]


async def test_lost_private_link_blocks_new_risk_until_resynced(world):
    await world.up()
    world.gateway.on_down("private", "reset by peer")
    assert not world.gateway.ready.is_set()
    world.gateway.on_down("private", "again")
    assert world.kinds()[2:] == [words.RESYNC_BEGIN], "said once, however often it breaks"
    await world.connect()
    assert world.kinds()[3:] == [words.RESYNC_END]


async def test_link_lost_during_a_resync_stops_it(world):
    world.wire.answers[What.ORDERS] = VenueError("down")
    await world.gateway.start()
    await world.wire.opened["private"][0]()
    world.gateway.on_up("private")
    world.frame(says(controls=[["subscribed", None, ""]]))
    await world.until(lambda: world.wire.whats().count(What.ORDERS) > 2)
    world.gateway.on_down("private", "reset")
    asked = len(world.wire.asked)
    world.wire.answers[What.ORDERS] = says()
    await world.passes(10 * SECOND)
    assert len(world.wire.asked) <= asked + 1
    assert not world.gateway.ready.is_set()


async def test_resync_end_carries_the_moment_everything_is_known_to(world):
    before = world.clock.now()
    await world.up()
    known = int(world.ring[-1]["ts_event"])
    assert before <= known <= world.clock.now()


async def test_private_link_logs_in_anew_for_every_connection():
    world = World(login=True)
    world.wire.answers[What.LOGIN] = [
        says(controls=[["login", "key1", ""]]), says(controls=[["login", "key2", ""]]),
    ]  # fmt: skip
    await world.gateway.start()
    make = world.wire.opened["private"][0]
    assert [(await make()).path, (await make()).path] == ["/key1", "/key2"]
    await world.gateway.close()


async def test_login_is_kept_alive_and_tried_again_soon_when_that_fails():
    world = World(login=True)
    world.codec.confirms = False
    world.wire.answers[What.LOGIN] = says(controls=[["login", "key1", ""]])
    world.wire.answers[What.KEEPALIVE] = [VenueError("not now"), says()]
    await world.gateway.start()
    await world.wire.opened["private"][0]()
    world.gateway.on_up("private")
    world.clock.advance(KEEPALIVE_NS)
    await world.until(lambda: What.KEEPALIVE in world.wire.whats())
    world.clock.advance(61 * SECOND)
    await world.until(lambda: world.wire.whats().count(What.KEEPALIVE) == 2)
    await world.gateway.close()


async def test_expired_login_and_a_parting_venue_renew_the_link(world):
    await world.up()
    world.frame(says(controls=[["login_expired", None, ""], ["reconnect", None, ""]]))
    assert world.wire.dropped == [("private", "login_expired"), ("private", "reconnect")]


async def test_controls_reach_those_they_are_for(world):
    await world.up()
    world.frame(says(controls=[["send", "pong", ""], ["limits", {"weight": 7}, ""]]))
    world.frame(says(controls=[["foreign", "order 9", ""], ["error", "VenueError", ""]]))
    assert world.wire.sent == ["pong"]
    assert world.wire.used == {"weight": 7}
    assert world.gateway.foreign == 1
    assert world.wire.dropped == [], "an error on a confirmed link is only told"


async def test_word_of_funding_makes_us_ask_what_for(world):
    await world.up()
    late = world.clock.now() + SECOND
    world.wire.answers[What.FUNDING_SINCE] = says(
        row(words.FUNDING_PAID, 0, realized=-5, ts_event=late)
    )
    world.frame(says(controls=[["funding", "USDT", ""]]))
    await world.until(lambda: words.FUNDING_PAID in world.kinds())
    assert int(world.ring[-1]["realized"]) == -5


# -- questions -----------------------------------------------------------------------------


async def test_pages_are_followed_to_their_end(world):
    await world.up()
    world.frame(says(row(words.ACK, venue_order_id=70)))
    pages = [
        says(row(words.FILL, 0, venue_order_id=70, trade_id=k, qty=1, price=100),
             controls=[["more", {"from_id": k + 1}, ""]])
        for k in range(1, 4)
    ]  # fmt: skip
    world.wire.answers[What.FILLS_SINCE] = [*pages, says()]
    world.gateway.fetch_fills_soon(0)
    await world.until(lambda: len([k for k in world.kinds(1) if k == words.FILL]) == 3)
    asked = [r.body for r in world.wire.asked if r.what == What.FILLS_SINCE]
    assert b'"from_id": 4' in asked[-1]


async def test_pages_without_end_are_an_error_not_a_loop(world):
    await world.up()
    world.wire.answers[What.ORDERS] = says(controls=[["more", {"page": 1}, ""]])
    with pytest.raises(VenueError, match="did not end within"):
        await world.gateway.synchronise()


async def test_fills_are_asked_from_before_the_last_proven_moment(world):
    await world.up()
    known = int(world.ring[-1]["ts_event"])
    await world.gateway.synchronise()
    bodies = [r.body.decode() for r in world.wire.asked if r.what == What.FILLS_SINCE]
    assert f'"since_ns": {known - OVERLAP_NS}' in bodies[-1]


async def test_question_that_fails_beside_is_only_noted(world):
    await world.up()
    world.wire.answers[What.FILLS_SINCE] = VenueError("down")
    world.gateway.fetch_fills_soon(0)
    await world.passes(SECOND)
    assert world.gateway.ready.is_set()
    assert world.failures == []


async def test_order_of_an_unknown_run_is_cancelled_before_the_account_opens(world):
    stray = row(words.ORDER_STATE, 500, venue_order_id=900, status=words.NEW)
    world.wire.answers[What.ORDERS] = [says(stray), says()]
    await world.up()
    assert world.wire.sent == ["cancel 500"]
    assert world.wire.whats().count(What.ORDERS) == 2


async def test_order_of_somebody_else_is_left_alone(world):
    other = {"kind": words.ORDER_STATE, "order_id": 0, "venue_order_id": 5, "status": words.NEW}
    world.wire.answers[What.ORDERS] = says(other)
    await world.up()
    assert world.wire.sent == []
    assert world.kinds() == [words.RESYNC_BEGIN, words.RESYNC_END]


async def test_order_of_the_journal_that_ended_meanwhile_is_asked_for(world):
    world.gateway.resume([LiveOrder(oid(1), 0, 1)], {70: oid(1)}, 5)
    world.gateway.opened(1)
    world.wire.answers[What.ORDER] = says(
        row(words.ORDER_STATE, venue_order_id=70, status=words.FILLED, cum_qty=9)
    )
    world.wire.answers[What.FILLS_SINCE] = says(
        row(words.FILL, 0, venue_order_id=70, trade_id=1, qty=9, price=100, ts_event=2)
    )
    await world.up()
    kinds = world.kinds(1)
    assert kinds.index(words.FILL) < kinds.index(words.ORDER_STATE), "the fill explains the state"
    assert world.gateway.live == {}
    assert world.gateway.by_venue_id == {70: oid(1)}


# -- faults of ours ------------------------------------------------------------------------


async def test_fault_of_ours_is_passed_on_and_not_survived_in_silence(world):
    await world.up()
    world.codec.encode = None
    with pytest.raises(TypeError):
        world.place(1)
    world.codec.reply = lambda *args: 1 / 0
    world.gateway.fetch_fills_soon(0)
    await world.until(lambda: world.failures)
    assert isinstance(world.failures[0], ZeroDivisionError)


async def test_nothing_is_done_after_close(world):
    await world.up()
    await world.gateway.close()
    before = world.kinds()
    world.gateway.on_down("private", "closed")
    assert world.kinds() == before
    assert len(asyncio.all_tasks()) == 1


async def test_account_without_links_is_resynced_at_once():
    world = World()
    world.codec.links = lambda role, login="": []
    await world.gateway.start()
    await world.until(world.gateway.ready.is_set)
    await world.gateway.close()


async def test_holdings_and_balances_are_the_last_ones_stated(world):
    await world.up()
    world.wire.answers[What.BALANCES] = balances("7")
    await world.gateway.synchronise()
    assert [str(balance.total) for balance in world.gateway.balances] == ["7"]
    assert world.gateway.holdings == []


async def test_late_order_is_not_believed_missing_before_it_had_time_to_arrive(world):
    """Twice unknown within the grace proves nothing; the order may be in a queue."""
    await world.up()
    world.wire.answers[What.INTENT] = TransportError("cut", sent=True)
    world.wire.answers[What.ORDER] = missing()
    started = world.clock.now()
    world.place(1)
    await world.until(lambda: words.NOT_FOUND in world.kinds(1))
    assert world.clock.now() - started >= GRACE_NS
    assert np.count_nonzero([what == What.ORDER for what in world.wire.whats()]) > 2


async def test_order_whose_reports_contradict_is_asked_for_and_the_answer_believed(world):
    """The stream refuses an order that it had confirmed; the venue's answer ends it."""
    await world.up()
    world.place(1)
    world.frame(says(row(words.ACK, 1, venue_order_id=71, status=words.NEW)))
    world.frame(says(row(words.REJECT, 1, venue_order_id=71, status=words.REJECTED)))
    assert world.gateway.live == {}
    said = row(words.ORDER_STATE, 1, venue_order_id=71, status=words.REJECTED, cum_qty=0)
    world.wire.answers[What.ORDER] = says(said)
    world.gateway.question(oid(1), 0)
    assert world.gateway.live[oid(1)].venue_order_id == 71
    await world.until(lambda: not world.gateway.live)
    assert world.kinds(1)[-1] == words.CANCEL_ACK


async def test_cancel_that_was_lost_leaves_the_order_as_the_venue_has_it(world):
    await world.up()
    world.place(1)
    world.frame(says(row(words.ACK, 1, venue_order_id=71, status=words.NEW)))
    await world.passes(SECOND)
    world.wire.answers[What.INTENT] = TransportError("cut", sent=True)
    said = row(words.ORDER_STATE, 1, venue_order_id=71, status=words.NEW, cum_qty=0)
    world.wire.answers[What.ORDER] = [VenueError("busy"), says(said)]
    world.cancel(1)
    await world.until(lambda: words.ORDER_STATE in world.kinds(1))
    assert list(world.gateway.live) == [oid(1)]
    assert world.wire.sent.count("cancel 1") == 1


async def test_order_over_by_our_count_and_open_by_the_venues_is_cancelled(world):
    await world.up()
    world.frame(says(row(words.ACK, 1, venue_order_id=71, status=words.NEW)))
    still = row(words.ORDER_STATE, 1, venue_order_id=71, status=words.NEW, cum_qty=0)
    world.wire.answers[What.ORDERS] = says(still)
    await world.gateway.synchronise()
    await world.until(lambda: world.wire.sent == ["cancel 1"])


async def test_not_found_that_is_older_than_the_ack_proves_nothing(world):
    """The answer was given before the order came; its ack overtook it."""
    await world.up()
    world.wire.answers[What.INTENT] = TransportError("cut", sent=True)
    still = row(words.ORDER_STATE, 1, venue_order_id=71, status=words.NEW, cum_qty=0)

    def overtaken(request):
        if "cancel 1" not in world.wire.sent:
            return missing()
        world.frame(says(row(words.ACK, 1, venue_order_id=71, status=words.NEW)))
        world.wire.answers[What.ORDER] = says(still)
        return missing()

    world.wire.answers[What.ORDER] = overtaken
    world.place(1)
    await world.until(lambda: words.ORDER_STATE in world.kinds(1))
    assert words.NOT_FOUND not in world.kinds(1)
    assert list(world.gateway.live) == [oid(1)]


async def test_fills_that_cannot_be_asked_for_keep_their_order_in_doubt(world):
    await world.up()
    world.wire.answers[What.INTENT] = TransportError("cut", sent=True)
    over = row(words.ORDER_STATE, 1, venue_order_id=71, status=words.CANCELED, cum_qty=2)
    world.wire.answers[What.ORDER] = says(over)
    world.wire.answers[What.FILLS_SINCE] = [VenueError("busy"), VenueError("busy"), says()]
    world.place(1)
    await world.until(lambda: not world.gateway.live)
    assert world.wire.whats().count(What.FILLS_SINCE) >= 4


async def test_order_given_up_is_asked_for_when_a_fill_has_no_owner(world):
    """It came late and filled, and no report of it was heard."""
    await world.up()
    world.gateway.opened(world.clock.now())
    world.wire.answers[What.INTENT] = TransportError("cut", sent=True)
    world.wire.answers[What.ORDER] = missing()
    world.place(1)
    await world.until(lambda: not world.gateway.live)
    late = row(words.FILL, 0, venue_order_id=71, trade_id=5, qty=2, price=9, side=1)
    world.wire.answers[What.FILLS_SINCE] = says({**late, "ts_event": world.clock.now()})
    found = row(words.ORDER_STATE, 1, venue_order_id=71, status=words.FILLED, cum_qty=2)
    world.wire.answers[What.ORDER] = [VenueError("busy"), missing()]
    await world.gateway.synchronise()
    assert words.FILL not in world.kinds()
    world.wire.answers[What.ORDER] = VenueError("down")
    with pytest.raises(VenueError, match="down"):
        await world.gateway.synchronise()
    world.wire.answers[What.ORDER] = says(found)
    await world.gateway.synchronise()
    assert words.FILL in world.kinds(1)
    assert world.gateway.foreign == 0


async def test_fill_without_an_owner_is_explained_before_it_is_held_foreign(world):
    """As above, but the stream brought the fill, and no audit is due."""
    await world.up()
    world.gateway.opened(world.clock.now())
    world.wire.answers[What.INTENT] = TransportError("cut", sent=True)
    world.wire.answers[What.ORDER] = missing()
    world.place(1)
    await world.until(lambda: not world.gateway.live)
    late = row(words.FILL, 0, venue_order_id=71, trade_id=5, qty=2, price=9, side=1)
    world.frame(says({**late, "ts_event": world.clock.now()}))
    found = row(words.ORDER_STATE, 1, venue_order_id=71, status=words.FILLED, cum_qty=2)
    world.wire.answers[What.ORDER] = says(found)
    await world.until(lambda: words.FILL in world.kinds())
    assert words.FILL in world.kinds(1)
    assert world.gateway.foreign == 0


@pytest.mark.parametrize("news", [words.ACK, words.CANCEL_ACK])
async def test_report_that_comes_while_the_last_fills_are_asked_for_overrules_not_found(
    world, news
):
    await world.up()
    world.wire.answers[What.INTENT] = TransportError("cut", sent=True)
    world.wire.answers[What.ORDER] = missing()

    def overtaken(request):
        if "cancel 1" in world.wire.sent:
            status = words.NEW if news == words.ACK else words.CANCELED
            world.frame(says(row(news, 1, venue_order_id=71, status=status)))
            if news == words.ACK:
                still = row(words.ORDER_STATE, 1, venue_order_id=71, status=status, cum_qty=0)
                world.wire.answers[What.ORDER] = says(still)
        return says()

    world.wire.answers[What.FILLS_SINCE] = overtaken
    world.place(1)
    await world.until(lambda: news in world.kinds(1))
    await world.passes(5 * SECOND)
    assert words.NOT_FOUND not in world.kinds(1)
    assert bool(world.gateway.live) == (news == words.ACK)
