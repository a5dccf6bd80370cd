"""The lookout: an order that rests in silence is asked for, and what it did unheard is told."""

import pytest

from alephtx.core import words
from alephtx.core.errors import VenueError
from alephtx.core.ports import What
from alephtx.execution.lookout import AFTER_ERROR_NS, EVERY_NS, SILENT_NS
from tests.execution.toy import SECOND, World, missing, oid, row, says


@pytest.fixture
async def world():
    """A world with one order at rest."""
    made = World()
    await made.up()
    await rests(made, 1)
    yield made
    await made.gateway.close()
    assert made.wire.closed


async def rests(world, n):
    world.place(n)
    await world.until(lambda: words.SENT in world.kinds(n))
    world.frame(says(row(words.ACK, n, venue_order_id=70 + n)))


def asked(world):
    """How many questions of single orders were asked."""
    return world.wire.whats().count(What.ORDER)


def state(**fields):
    return says(row(words.ORDER_STATE, **fields))


async def test_order_that_was_heard_of_is_left_alone(world):
    for _ in range(8):
        await world.passes(SILENT_NS // 2)
        world.frame(says(row(words.ACK, venue_order_id=71)))
    assert asked(world) == 0


async def test_order_that_rests_in_silence_is_looked_at_and_nothing_is_told(world):
    world.wire.answers[What.ORDER] = state(status=words.NEW, cum_qty=0)
    before = len(world.ring)
    await world.passes(10 * SECOND)
    assert 5 <= asked(world) <= 10
    assert len(world.ring) == before
    assert world.gateway.live[oid(1)].doubt is False


async def test_fill_that_no_frame_told_of_is_known_within_two_seconds(world):
    fill = row(words.FILL, 0, venue_order_id=71, trade_id=1, qty=4, price=100)
    world.wire.answers[What.FILLS_SINCE] = says(fill)
    world.wire.answers[What.ORDER] = state(status=words.PARTIALLY_FILLED, cum_qty=4)
    await world.passes(2 * SECOND)
    assert world.kinds(1).count(words.FILL) == 1
    told = world.kinds(1).count(words.ORDER_STATE)
    assert told == 1
    await world.passes(10 * SECOND)
    assert world.kinds(1).count(words.ORDER_STATE) == told


async def test_fills_of_an_earlier_run_are_asked_for_once_and_not_at_every_look(world):
    world.wire.answers[What.ORDER] = state(status=words.PARTIALLY_FILLED, cum_qty=4)
    await world.passes(2 * SECOND)
    fetched = world.wire.whats().count(What.FILLS_SINCE)
    await world.passes(10 * SECOND)
    assert asked(world) > 5
    assert world.wire.whats().count(What.FILLS_SINCE) == fetched


async def test_end_that_no_frame_told_of_is_found(world):
    world.wire.answers[What.ORDER] = state(status=words.CANCELED, cum_qty=0)
    await world.passes(2 * SECOND)
    assert oid(1) not in world.gateway.live


async def test_order_the_venue_does_not_know_is_asked_for_until_that_is_proven(world):
    world.wire.answers[What.ORDER] = missing()
    await world.passes(2 * SECOND)
    assert world.gateway.live[oid(1)].doubt


async def test_a_venue_that_refuses_is_asked_less_often(world):
    world.wire.answers[What.ORDER] = VenueError("busy")
    await world.passes(SILENT_NS + 2 * AFTER_ERROR_NS)
    assert 2 <= asked(world) <= 3
    assert world.gateway.live[oid(1)].doubt is False


async def test_of_several_orders_each_has_its_turn(world):
    for n in (2, 3):
        await rests(world, n)
    world.wire.answers[What.ORDER] = state(status=words.NEW, cum_qty=0)
    await world.passes(SILENT_NS + 9 * EVERY_NS)
    about = [int(r.body.split(b'"order_id": ')[1].split(b",")[0].rstrip(b"}"))
             for r in world.wire.asked if r.what == What.ORDER]  # fmt: skip
    assert {about.count(oid(n)) for n in (1, 2, 3)} <= {2, 3, 4}


async def test_nothing_is_looked_at_while_a_link_is_down(world):
    world.wire.answers[What.ORDER] = state(status=words.NEW, cum_qty=0)
    world.wire.answers[What.ORDERS] = VenueError("down")
    world.gateway.on_down("private", "cut")
    await world.passes(10 * SECOND)
    assert asked(world) == 0
