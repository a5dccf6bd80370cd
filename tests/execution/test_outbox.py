"""Orders out: each is sent once at most, and every end of it becomes an update."""

import pytest
from msgspec import structs

from alephtx.core import errors, words
from alephtx.core.errors import TransportError
from alephtx.core.ports import What
from alephtx.execution.outbox import KEPT_FOR_CANCELS, ROOM_NS
from alephtx.execution.reasons import reason_of
from tests.execution.toy import SECOND, World, missing, oid, row, says


@pytest.fixture
async def world():
    made = World()
    await made.up()
    made.ring.clear()
    yield made
    await made.gateway.close()
    assert made.failures == []


@pytest.fixture
async def trading():
    """Orders travel on a socket; answers carry the request's key."""
    made = World("trade")
    await made.up()
    made.ring.clear()
    yield made
    await made.gateway.close()
    assert made.failures == []


async def test_order_is_sent_acknowledged_and_filled(world):
    world.wire.answers[What.INTENT] = says(row(words.ACK, venue_order_id=70))
    world.place(1)
    await world.until(lambda: words.ACK in world.kinds(1))
    world.frame(says(row(words.FILL, 0, venue_order_id=70, qty=3, status=words.FILLED)))
    assert world.kinds(1) == [words.SENT, words.ACK, words.FILL]
    assert world.sent_ids == [(words.PLACE, 1)]
    assert world.gateway.live == {}
    assert world.gateway.counts == {
        "sent": 1, "rejected": 0, "ambiguous": 0, "resyncs": 1, "fills": 1,
    }  # fmt: skip


async def test_unproven_order_the_venue_never_saw_is_rejected_after_two_answers(world):
    world.wire.answers[What.INTENT] = TransportError("no answer in time", sent=True)
    world.wire.answers[What.ORDER] = missing()
    world.place(1)
    await world.until(lambda: words.NOT_FOUND in world.kinds(1))
    cancelled_in_vain = words.AMBIGUOUS
    assert world.kinds(1) == [words.SENT, words.AMBIGUOUS, cancelled_in_vain, words.NOT_FOUND]
    assert world.wire.sent == ["place 1", "cancel 1"], "in case it was late"
    assert world.wire.whats().count(What.ORDER) >= 2
    assert world.wire.whats()[-1] == What.FILLS_SINCE, "its fills are asked for first"
    await world.until(lambda: not world.gateway.live)


async def test_unproven_order_that_arrived_lives_on(world):
    world.wire.answers[What.INTENT] = TransportError("no answer in time", sent=True)
    world.wire.answers[What.ORDER] = [
        errors.VenueError("busy"), missing(),
        says(row(words.ORDER_STATE, venue_order_id=70, status=words.NEW, cum_qty=0)),
    ]  # fmt: skip
    world.place(1)
    await world.until(lambda: words.ORDER_STATE in world.kinds(1))
    assert world.kinds(1) == [words.SENT, words.AMBIGUOUS, words.ORDER_STATE]
    assert world.gateway.live[oid(1)].venue_order_id == 70
    assert not world.gateway.live[oid(1)].doubt


async def test_answer_nobody_understands_proves_nothing(world):
    world.wire.answers[What.INTENT] = says(error="ProtocolError")
    world.place(1)
    await world.until(lambda: words.AMBIGUOUS in world.kinds(1))


async def test_order_that_surely_never_left_is_rejected_not_doubted(world):
    world.wire.answers[What.INTENT] = TransportError("no route", sent=False)
    world.place(1)
    await world.until(lambda: words.REJECT in world.kinds(1))
    assert words.AMBIGUOUS not in world.kinds(1)
    assert world.gateway.live == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("OrderRejected", words.REASON_OTHER), ("WouldCross", words.REASON_WOULD_CROSS),
     ("Unauthorized", words.REASON_AUTH), ("Throttled", words.REASON_THROTTLED)],
)  # fmt: skip
async def test_refused_order_says_why(world, name, reason):
    world.wire.answers[What.INTENT] = says(error=name)
    world.place(1)
    await world.until(lambda: words.REJECT in world.kinds(1))
    assert (int(world.ring[-1]["reason"]), int(world.ring[-1]["code"])) == (reason, -7)
    assert world.gateway.counts["rejected"] == 1


def test_reason_the_venue_file_gave_goes_first():
    error = errors.WouldCross("no")
    error.reason = words.REASON_FILTER
    assert reason_of(error) == words.REASON_FILTER


async def test_row_the_venue_has_no_word_for_spoils_no_other(world):
    world.codec.unspeakable = {5}
    world.place(1, 2, 3, price=[1, 5, 2])
    await world.until(lambda: len(world.wire.sent) == 2)
    assert world.wire.sent == ["place 1", "place 3"]
    assert world.kinds(2) == [words.REJECT]
    assert set(world.gateway.live) == {oid(1), oid(3)}


async def test_refused_cancel_of_an_order_unknown_to_the_venue_is_looked_into(world):
    world.place(1)
    await world.until(lambda: words.SENT in world.kinds(1))
    refusal = says(error="OrderRejected")
    world.wire.answers[What.INTENT] = refusal
    world.wire.answers[What.ORDER] = says(row(words.ORDER_STATE, status=words.CANCELED))
    world.cancel(1)
    await world.until(lambda: words.CANCEL_REJECT in world.kinds(1))
    assert What.ORDER not in world.wire.whats(), "a refusal for another reason proves nothing"
    errors_reason = words.REASON_UNKNOWN_ORDER

    def reply(request, status, headers, body, out, plain=world.codec.reply):
        if request.what == What.INTENT:
            error = errors.OrderRejected("unknown order")
            error.reason = errors_reason
            raise error
        plain(request, status, headers, body, out)

    world.codec.reply = reply
    world.cancel(1)
    await world.until(lambda: words.ORDER_STATE in world.kinds(1))
    assert world.gateway.live == {}


async def test_order_cancelled_while_it_waits_for_its_budget_is_never_sent(world):
    world.wire.budget.clear()
    world.place(1)
    await world.passes(SECOND)
    world.cancel(1)
    world.wire.budget.set()
    await world.until(lambda: words.REJECT in world.kinds(1))
    assert world.wire.sent == []
    assert world.kinds(1) == [words.REJECT]


async def test_order_that_waits_for_its_budget_when_a_halt_comes_is_never_sent(world):
    """The gate passed it before; no order may leave after a halt."""
    world.wire.budget.clear()
    world.place(1)
    await world.passes(SECOND // 10)
    world.gateway.outbox.halted = lambda: True
    world.wire.budget.set()
    await world.until(lambda: words.REJECT in world.kinds(1))
    assert int(world.ring[-1]["reason"]) == words.REASON_HALTED
    world.cancel(9)
    await world.until(lambda: world.wire.sent == ["cancel 9"])


async def test_order_whose_connection_comes_after_a_halt_is_refused_not_doubted(world):
    halted = []
    world.gateway.outbox.halted = lambda: bool(halted)

    def connecting(request):
        halted.append(True)
        world.gateway.outbox.check_leaving(request)

    world.wire.answers[What.INTENT] = connecting
    world.place(1)
    await world.until(lambda: words.REJECT in world.kinds(1))
    assert int(world.ring[-1]["reason"]) == words.REASON_HALTED
    assert words.AMBIGUOUS not in world.kinds(1)


async def test_order_that_waits_too_long_for_its_budget_is_refused(world):
    world.wire.budget.clear()
    world.place(1)
    await world.until(lambda: words.REJECT in world.kinds(1), turns=10_000_000)
    assert int(world.ring[-1]["reason"]) == words.REASON_THROTTLED
    assert world.wire.sent == []


async def test_cancel_does_not_wait_for_the_budget_of_orders(world):
    world.place(1)
    await world.until(lambda: words.SENT in world.kinds(1))
    world.wire.budget.clear()
    world.cancel(1)
    await world.until(lambda: "cancel 1" in world.wire.sent)
    world.wire.budget.set()


async def test_cancel_of_an_order_that_is_over_is_still_sent(world):
    """Ours may be the mistake; the venue knows."""
    world.cancel(9)
    await world.until(lambda: world.wire.sent == ["cancel 9"])
    assert world.sent_ids == [(words.CANCEL, 9)]


# -- orders on a socket --------------------------------------------------------------------


async def test_answer_on_the_trade_link_settles_its_request(trading):
    trading.place(1, 2)
    await trading.until(lambda: len(trading.wire.sent) == 2)
    trading.frame(says(row(words.ACK, 1, venue_order_id=71),
                       controls=[["answer", None, "p1"]]), "trade")  # fmt: skip
    trading.frame(says(controls=[["error", "WouldCross", "p2"]]), "trade")
    assert trading.kinds(1) == [words.SENT, words.ACK]
    assert trading.kinds(2) == [words.SENT, words.REJECT]
    trading.gateway.on_down("trade", "reset")
    assert words.AMBIGUOUS not in trading.kinds(), "both were settled"


async def test_halted_order_does_not_go_over_the_trade_link(trading):
    trading.gateway.outbox.halted = lambda: True
    trading.place(1)
    await trading.until(lambda: trading.kinds(1) == [words.REJECT])
    assert trading.wire.sent == []


async def test_no_answer_on_the_trade_link_in_time_is_doubt(trading):
    trading.place(1)
    await trading.until(lambda: words.AMBIGUOUS in trading.kinds(1), turns=10_000_000)
    assert trading.gateway.counts["ambiguous"] == 1


async def test_trade_link_that_breaks_puts_every_waiting_request_in_doubt(trading):
    trading.place(1, 2)
    await trading.until(lambda: len(trading.wire.sent) == 2)
    trading.frame(says(row(words.REJECT, 2)))  # the private link already told of this one
    trading.gateway.on_down("trade", "reset")
    assert trading.kinds(1)[-1] == words.AMBIGUOUS
    assert words.AMBIGUOUS not in trading.kinds(2)
    assert trading.kinds()[-1] == words.RESYNC_BEGIN
    trading.wire.answers[What.ORDER] = says(row(words.ORDER_STATE, 1, status=words.CANCELED))
    await trading.connect()
    assert trading.gateway.live == {}
    assert trading.wire.sent == ["place 1", "place 2"]


async def test_venue_that_takes_so_many_at_a_time_is_sent_no_more(trading):
    """It would refuse what is beyond, also a cancel; those have a share of their own."""
    trading.codec.spec = structs.replace(trading.codec.spec, inflight_max=KEPT_FOR_CANCELS + 2)
    trading.place(1, 2, 3)
    trading.cancel(*range(20, 31))
    full = KEPT_FOR_CANCELS + 2
    await trading.until(lambda: len(trading.wire.sent) == full)
    await trading.passes(4 * ROOM_NS)
    assert len(trading.wire.sent) == full
    assert "place 3" not in trading.wire.sent
    trading.frame(says(controls=[["answer", None, "c20"]]), "trade")
    await trading.until(lambda: trading.wire.sent[-1] == "cancel 30")
    for key in ("p1", "p2", *(f"c{k}" for k in range(21, 30))):
        trading.frame(says(controls=[["answer", None, key]]), "trade")
    await trading.until(lambda: "place 3" in trading.wire.sent)


async def test_trade_link_that_is_down_refuses_at_once(trading):
    trading.wire.up = False
    trading.place(1)
    await trading.until(lambda: trading.kinds(1) == [words.REJECT])
    assert trading.gateway.live == {}


async def test_close_forgets_what_waits(trading):
    trading.place(1)
    await trading.until(lambda: trading.wire.sent)
    await trading.gateway.close()
    assert words.AMBIGUOUS not in trading.kinds()


async def test_question_cannot_travel_on_the_trade_link(trading):
    plain = trading.codec.request
    trading.codec.request = lambda *a, **k: [
        errors_to_trade(request) for request in plain(*a, **k)
    ]  # fmt: skip
    with pytest.raises(TransportError, match="cannot travel on the trade link"):
        await trading.gateway.synchronise()


def errors_to_trade(request):
    import msgspec

    return msgspec.structs.replace(request, transport="trade")


async def test_a_cancel_waits_for_a_link_that_is_down(trading):
    """Refused at once, it would be asked for again at once, as fast as the machine can."""
    trading.place(1, 2)
    await trading.until(lambda: len(trading.wire.sent) == 2)
    trading.frame(says(row(words.ACK, 1, venue_order_id=71), row(words.ACK, 2, venue_order_id=72)))
    trading.wire.up = False
    trading.cancel(1, 2)
    await trading.passes(SECOND)
    sent = len(trading.wire.sent)
    assert words.CANCEL_REJECT not in trading.kinds()
    trading.frame(says(row(words.FILL, 0, venue_order_id=72, qty=3, status=words.FILLED)))
    trading.wire.up = True
    trading.gateway.on_up("trade")
    await trading.until(lambda: len(trading.wire.sent) > sent)
    await trading.passes(SECOND)
    assert trading.wire.sent[sent:] == ["cancel 1"], "the other one is filled by now"


async def test_an_amend_does_not_become_a_cancel_where_the_link_is_down(trading):
    trading.place(1)
    await trading.until(lambda: len(trading.wire.sent) == 1)
    trading.frame(says(row(words.ACK, 1, venue_order_id=71)))
    trading.wire.up = False
    trading.amend(1)
    await trading.until(lambda: words.CANCEL_REJECT in trading.kinds(1))
    trading.wire.up = True
    trading.gateway.on_up("trade")
    await trading.passes(SECOND)
    assert trading.wire.sent == ["place 1"]
    assert trading.gateway.live
