"""Audits: everything is asked for now and then, and soon where something went unanswered."""

import asyncio

import pytest

from alephtx.core import words
from alephtx.core.errors import VenueError
from alephtx.core.ports import What
from alephtx.execution.gateway import AUDIT_NS, RECHECK_NS, REREADS_A_MINUTE
from tests.execution.toy import SECOND, World, oid, row, says


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.gateway.close()
    assert made.wire.closed


async def test_everything_is_asked_for_now_and_then_although_nothing_broke(world):
    await world.up()
    first = len(world.wire.asked)
    await world.passes(AUDIT_NS + SECOND)
    assert world.wire.whats()[first:].count(What.ORDERS) == 1
    assert world.kinds()[-1] == words.RESYNC_END
    assert words.RESYNC_BEGIN not in world.kinds()[1:]


async def test_audit_finds_the_fill_that_no_frame_told_of(world):
    await world.up()
    world.place(1)
    await world.until(lambda: words.SENT in world.kinds(1))
    world.frame(says(row(words.ACK, venue_order_id=70)))
    world.wire.answers[What.FILLS_SINCE] = says(
        row(words.FILL, 0, venue_order_id=70, trade_id=1, qty=4, price=100)
    )
    world.wire.answers[What.ORDER] = says(row(words.ORDER_STATE, status=words.FILLED, cum_qty=4))
    await world.passes(AUDIT_NS + SECOND)
    assert words.FILL in world.kinds(1)
    assert oid(1) not in world.gateway.live


async def test_frame_that_is_not_understood_brings_the_audit_forward(world):
    await world.up()
    first = len(world.wire.asked)
    world.frame(b"\xff{not json")
    await world.passes(SECOND)
    assert What.ORDERS in world.wire.whats()[first:]


async def test_every_frame_that_is_not_understood_is_followed_by_an_audit_within_a_second(world):
    """Found in a simulated world: the fill in the second such frame was missing for five."""
    await world.up()
    for _ in range(3):
        world.frame(b"\xff{not json")
        await world.passes(SECOND // 2)
        first = len(world.wire.asked)
        world.frame(b"\xff{not json")
        await world.passes(SECOND + SECOND // 4)
        assert What.ORDERS in world.wire.whats()[first:]


async def test_venue_that_sends_nothing_we_understand_is_not_asked_all_the_time(world):
    await world.up()
    first = len(world.wire.asked)
    for _ in range(240):
        world.frame(b"\xff{not json")
        await world.passes(SECOND // 4)
    asked = world.wire.whats()[first:].count(What.ORDERS)
    assert REREADS_A_MINUTE <= asked <= REREADS_A_MINUTE + 60 * SECOND // RECHECK_NS


async def test_failed_audit_changes_nothing(world):
    await world.up()
    world.wire.answers[What.ORDERS] = VenueError("down")
    before = world.kinds()
    await world.passes(AUDIT_NS + SECOND)
    assert world.kinds() == before
    assert world.gateway.ready.is_set()


async def test_failed_audit_is_made_again_soon(world):
    await world.up()
    world.wire.answers[What.ORDERS] = VenueError("down")
    await world.passes(AUDIT_NS + SECOND)
    asked = world.wire.whats().count(What.ORDERS)
    world.wire.answers[What.ORDERS] = says()
    await world.passes(RECHECK_NS + SECOND)
    assert world.wire.whats().count(What.ORDERS) == asked + 1


async def test_audit_that_is_asked_for_during_another_is_made_after_it(world):
    """What happened meanwhile may be past the question that would have shown it."""
    await world.up()
    audits, goes_on = [], asyncio.Event()

    async def audited():
        audits.append(world.clock.now())
        await goes_on.wait()

    world.gateway.on_audited = audited
    world.gateway.audit_within(0)
    await world.until(lambda: len(audits) == 1)
    world.gateway.audit_within(0)
    await world.passes(2 * SECOND)
    assert len(audits) == 1
    goes_on.set()
    await world.passes(SECOND)
    assert len(audits) == 2


async def test_audit_that_is_asked_for_during_a_resync_is_made_after_it(world):
    """Found in a simulated world: a payment came after the resync had asked for payments."""
    await world.up()
    refresh, goes_on = world.gateway.truth.refresh, asyncio.Event()

    async def slow():
        await goes_on.wait()
        await refresh()

    world.gateway.truth.refresh = slow
    world.gateway.on_down("private", "cut")
    world.gateway.on_up("private")
    world.frame(says(controls=[["subscribed", None, ""]]))
    await world.passes(SECOND)
    assert not world.gateway.ready.is_set()
    world.gateway.audit_within(0)
    goes_on.set()
    await world.until(world.gateway.ready.is_set)
    asked = world.wire.whats().count(What.ORDERS)
    await world.passes(SECOND)
    assert world.wire.whats().count(What.ORDERS) == asked + 1


@pytest.mark.parametrize("ask", ["fills", "funding"])
async def test_question_that_is_not_answered_brings_an_audit_soon(world, ask):
    await world.up()
    what = What.FILLS_SINCE if ask == "fills" else What.FUNDING_SINCE
    world.wire.answers[what] = [VenueError("busy"), says()]
    asked = world.wire.whats().count(What.ORDERS)
    if ask == "fills":
        world.gateway.fetch_fills_soon(0)
    else:
        world.frame(says(controls=[["funding", "DEPOSIT: 5 USDT", ""]]))
    await world.passes(RECHECK_NS + SECOND)
    assert world.wire.whats().count(What.ORDERS) == asked + 1
