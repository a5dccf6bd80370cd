"""A venue that refuses what it should not, that asks for patience, whose clock is not ours."""

import asyncio
from itertools import pairwise

import pytest

from alephtx.core import words
from alephtx.core.ports import What
from alephtx.execution.outbox import AGAIN_MAX_NS, AGAIN_NS, FRESH_NS
from alephtx.net.clockwatch import AGAIN_NS as DOUBT_NS
from tests.execution.toy import SECOND, World, oid, says

MS = 1_000_000
TRIP_NS = 25 * MS  # what a question may take of the toy's time, which everybody who sleeps moves
BUSY = says(error=f"Throttled:{words.REASON_THROTTLED}")
OUR_CLOCK = says(error=f"Unauthorized:{words.REASON_CLOCK}")


@pytest.fixture
async def world():
    made = World()
    await made.up()
    made.place(1)
    await made.until(lambda: words.SENT in made.kinds(1))
    made.wire.sent.clear()
    made.codec.stamps.clear()
    yield made
    await made.gateway.close()
    assert made.failures == []


def insist(world, n=1):
    """Do as a strategy that cancels again as soon as it is refused; returns when they left."""
    left = []
    fetch, push = world.wire.fetch, world.gateway.inbox.push

    async def noted(request):
        if request.op == words.CANCEL:
            left.append(world.clock.now())
        return await fetch(request)

    def again(row):
        push(row)
        if row[0]["kind"] == words.CANCEL_REJECT:
            world.cancel(n)

    world.wire.fetch, world.gateway.inbox.push = noted, again
    return left


@pytest.mark.parametrize(
    "answer", [BUSY, OUR_CLOCK, says(error=f"OrderRejected:{words.REASON_UNKNOWN_ORDER}")]
)
async def test_cancel_that_is_refused_again_and_again_is_sent_ever_more_slowly(world, answer):
    world.wire.answers[What.INTENT] = answer
    world.wire.answers[What.ORDER] = says(error="VenueError")  # what became of it is not told
    left = insist(world)
    world.cancel(1)
    await world.until(lambda: len(left) == 12)
    gaps = [after - before for before, after in pairwise(left)]
    least = [min(AGAIN_MAX_NS, AGAIN_NS << k) for k in range(11)]
    assert all(at_least <= gap for at_least, gap in zip(least, gaps, strict=True))
    assert max(gaps) < 3 * AGAIN_MAX_NS


async def test_order_that_ended_meanwhile_needs_no_further_cancel(world):
    world.wire.answers[What.INTENT] = BUSY
    world.cancel(1)
    await world.until(lambda: words.CANCEL_REJECT in world.kinds(1))
    sleep = world.clock.sleep

    async def sleep_while_it_fills(duration_ns):
        if duration_ns > SECOND // 2:
            world.gateway.live.pop(oid(1), None)
        await sleep(duration_ns)

    world.clock.sleep = sleep_while_it_fills
    world.gateway.live[oid(1)].cancel_at_ns = world.clock.monotonic() + SECOND
    world.cancel(1)
    await world.passes(5 * SECOND)
    assert world.wire.sent == ["cancel 1"]
    assert world.kinds(1).count(words.CANCEL_REJECT) == 1


async def test_refusals_of_one_order_slow_no_other_down(world):
    world.place(2)
    await world.until(lambda: words.SENT in world.kinds(2))
    world.wire.answers[What.INTENT] = BUSY
    left = insist(world)
    world.cancel(1)
    await world.until(lambda: len(left) == 8)
    world.wire.sent.clear()
    world.cancel(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.wire.sent == ["cancel 2"]


async def test_cancel_that_waited_long_for_its_budget_is_signed_anew(world):
    async def wait(request, *, urgent):
        world.clock.advance(waits.pop(0))

    waits, world.wire.take = [FRESH_NS, FRESH_NS + 1], wait
    world.cancel(1)
    await world.until(lambda: world.wire.sent == ["cancel 1"])
    assert len(world.codec.stamps) == 1
    world.cancel(1)
    await world.until(lambda: len(world.wire.sent) == 2)
    _, first, second = world.codec.stamps
    assert second - first > FRESH_NS


async def test_venue_that_names_a_time_to_wait_is_given_it():
    world = World("trade")
    await world.up()
    world.place(1)
    await world.until(lambda: world.wire.sent)
    said = [["error", ["Throttled", 7 * SECOND], "p1"]]
    world.frame(says(controls=said), "trade")
    await world.until(lambda: words.REJECT in world.kinds(1))
    assert world.wire.held == [7 * SECOND]
    await world.gateway.close()


def tell_time(world, ahead_ns):
    """Let the venue tell its time; it is ahead of ours by so much. Returns the ahead, to change."""
    ahead = [ahead_ns]
    world.codec.tells_time = True
    now_ms = lambda: (world.clock.now() + ahead[0]) // MS  # noqa: E731
    world.wire.answers[What.TIME] = lambda request: says(controls=[["time", now_ms(), ""]])
    return ahead


@pytest.mark.parametrize("ahead_ms", [-9_000, -1_500, 0, 1_500, 9_000])
async def test_what_is_signed_carries_the_venues_time(ahead_ms):
    world = World()
    tell_time(world, ahead_ms * MS)
    await world.gateway.start()
    await world.until(lambda: What.TIME in world.wire.whats())
    await asyncio.sleep(0)
    world.place(1)
    (stamp,) = world.codec.stamps
    assert abs(stamp - world.clock.now() - ahead_ms * MS) <= TRIP_NS
    await world.gateway.close()


async def test_clock_that_is_too_far_off_is_left_to_its_owner_who_is_told(capsys):
    world = World()
    tell_time(world, 11 * SECOND)
    await world.gateway.start()
    await world.until(lambda: What.TIME in world.wire.whats())
    await asyncio.sleep(0)
    world.place(1)
    assert world.codec.stamps == [world.clock.now()]
    assert "set this machine's clock" in capsys.readouterr().err
    await world.gateway.close()


@pytest.mark.parametrize("asked", ["cancel", "query"])
async def test_clock_that_is_refused_is_measured_at_once(asked):
    world = World()
    ahead = tell_time(world, 0)
    await world.up()
    world.place(1)
    await world.passes(DOUBT_NS + SECOND)
    ahead[0] = -4 * SECOND  # the venue sets its clock
    questions = world.wire.whats().count(What.TIME)
    if asked == "cancel":
        world.wire.answers[What.INTENT] = OUR_CLOCK
        world.cancel(1)
        await world.until(lambda: words.CANCEL_REJECT in world.kinds(1))
    else:
        world.wire.answers[What.ORDERS] = [OUR_CLOCK, says()]
        with pytest.raises(Exception, match="says no"):
            await world.gateway.synchronise()
    await world.until(lambda: world.wire.whats().count(What.TIME) == questions + 3)
    await world.until(lambda: world.gateway.clock_watch.offset.shift_ns != 0)
    world.codec.stamps.clear()
    world.place(2)
    assert abs(world.codec.stamps[0] - world.clock.now() + 4 * SECOND) <= TRIP_NS
    await world.gateway.close()


async def test_clock_that_was_set_is_known_from_one_periodic_question_on():
    """Found in a simulated world: one answer against the rest waited for the first refusals."""
    world = World()
    ahead = tell_time(world, 0)
    await world.up()
    await world.passes(DOUBT_NS + SECOND)
    ahead[0] = -4 * SECOND
    questions = world.wire.whats().count(What.TIME)
    await world.gateway.clock_watch._measure(1)
    assert world.wire.whats().count(What.TIME) == questions + 3
    assert abs(world.gateway.clock_watch.offset.offset_ns + 4 * SECOND) <= TRIP_NS
    await world.gateway.close()


async def test_what_is_known_counts_in_the_venues_time():
    world = World()
    tell_time(world, -5 * SECOND)
    await world.gateway.start()
    await world.until(lambda: world.gateway.clock_watch.offset.shift_ns != 0)
    before = world.clock.now()
    await world.gateway.synchronise()
    since = world.gateway.truth.since_ns
    assert before - 5 * SECOND <= since <= world.clock.now() - 5 * SECOND + TRIP_NS
    assert 0 <= world.gateway.inbox.opened_ns - since <= world.clock.now() - before
    await world.gateway.close()
