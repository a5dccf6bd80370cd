"""An account's standing: what lets no new risk through, who is told, and what opens it again."""

import pytest

from alephtx.core import words as w
from alephtx.execution.gateway import AUDIT_NS
from alephtx.execution.inbox import ORPHAN_NS
from alephtx.execution.standing import DIFFERENT, FORCED, FOREIGN
from tests.execution.toy import SECOND, World, row, says


@pytest.fixture
async def world():
    made = World(exclusive=True)
    made.alarms = []
    made.gateway.standing.on_alarm = made.alarms.append
    await made.up()
    yield made
    await made.gateway.close()


def said(world):
    """The account's news to the loop after its opening: (kind, flags)."""
    news = (w.RESYNC_BEGIN, w.RESYNC_END)
    return [(int(r["kind"]), int(r["flags"])) for r in world.ring if r["kind"] in news][2:]


def foreign_order(world):
    world.frame(says(controls=[["foreign", "order 9 of web_1", "order"]]))


async def test_foreign_order_on_an_exclusive_account_lets_no_new_risk_through(world):
    foreign_order(world)
    foreign_order(world)
    assert said(world) == [(w.RESYNC_BEGIN, 0)]
    assert world.gateway.standing.reasons == {FOREIGN: "order 9 of web_1"}
    (alarm,) = world.alarms
    assert "order 9 of web_1" in alarm
    assert world.gateway.foreign == 2


async def test_account_that_others_may_use_counts_them_only():
    world = World()
    await world.up()
    foreign_order(world)
    assert (said(world), world.gateway.foreign) == ([], 1)
    await world.gateway.close()


async def test_deposit_is_no_foreign_order(world):
    world.frame(says(controls=[["foreign", "DEPOSIT: 5 USDT", ""]]))
    assert (said(world), world.gateway.foreign) == ([], 1)


async def test_foreign_fill_is_booked_and_blocks(world):
    world.frame(says(row(w.FILL, 0, venue_order_id=70, trade_id=5, qty=3, price=100, side=1,
                         ts_event=world.clock.now())))  # fmt: skip
    await world.passes(ORPHAN_NS + SECOND)
    (fill,) = [r for r in world.ring if r["kind"] == w.FILL]
    assert (fill["order_id"], fill["flags"]) == (0, w.FOREIGN)
    assert said(world) == [(w.RESYNC_BEGIN, 0)]


async def test_liquidation_blocks_whoever_may_trade_there(world):
    world.gateway.exclusive = False
    world.frame(says(controls=[["forced", "autoclose-1", ""]]))
    assert list(world.gateway.standing.reasons) == [FORCED]
    assert said(world) == [(w.RESYNC_BEGIN, 0)]


async def test_foreign_fill_that_is_booked_alarms_nobody_after_a_restart():
    world = World(exclusive=True)
    world.gateway.opened(1)
    world.gateway.resume([], {}, 0, foreign=[(0, 5)])
    await world.up()
    for trade_id in (5, 6):
        world.frame(says(row(w.FILL, 0, venue_order_id=70, trade_id=trade_id, qty=3, price=100,
                             side=1, ts_event=world.clock.now())))  # fmt: skip
    await world.passes(ORPHAN_NS + SECOND)
    assert [int(r["trade_id"]) for r in world.ring if r["kind"] == w.FILL] == [6]
    assert world.gateway.foreign == 1
    await world.gateway.close()


async def test_account_is_closed_before_a_foreign_fill_is_booked(world):
    """Killed in between, the fill is found again and told again; the other way round it is not."""
    world.frame(says(row(w.FILL, 0, venue_order_id=70, trade_id=5, qty=3, price=100, side=1,
                         ts_event=world.clock.now())))  # fmt: skip
    await world.passes(ORPHAN_NS + SECOND)
    kinds = [kind for kind in world.kinds() if kind in (w.FILL, w.RESYNC_BEGIN)]
    assert kinds[-2:] == [w.RESYNC_BEGIN, w.FILL]


def masks(world):
    """What waits for a person by the account's news to the loop after its opening."""
    news = (w.RESYNC_BEGIN, w.RESYNC_END)
    return [int(r["code"]) for r in world.ring if r["kind"] in news][2:]


async def test_news_carry_what_waits_for_a_person(world):
    standing = world.gateway.standing
    foreign_order(world)
    standing.block(DIFFERENT, "USDT: 1")
    standing.block(FORCED, "autoclose-1")
    standing.lift(FOREIGN)
    standing.lift(DIFFERENT)
    standing.lift(FORCED)
    assert masks(world) == [1, 3, 2, 0]
    assert said(world)[-1] == (w.RESYNC_END, 0)


async def test_what_waits_for_a_person_is_told_while_links_are_down_too(world):
    world.gateway.on_down("private", "reset")
    foreign_order(world)
    assert masks(world) == [0, 1]
    world.gateway.lift()
    assert said(world) == [(w.RESYNC_BEGIN, 0)] * 3
    assert masks(world) == [0, 1, 0]
    foreign_order(world)
    await world.connect()
    assert (said(world)[-1], masks(world)[-1]) == ((w.RESYNC_END, w.STILL_BLOCKED), 1)


@pytest.mark.parametrize(
    ("mask", "reasons"),
    [(0, []), (1, [FOREIGN]), (2, [FORCED]), (3, [FOREIGN, FORCED]), (-4, [])],
)
async def test_account_begins_as_the_engine_before_left_it(mask, reasons):
    world = World(exclusive=True)
    world.gateway.closed(mask)
    await world.up()
    assert list(world.gateway.standing.reasons) == reasons
    ends = [(r["code"], r["flags"]) for r in world.ring if r["kind"] == w.RESYNC_END]
    assert ends == [(max(mask, 0), w.STILL_BLOCKED if reasons else 0)]
    await world.gateway.close()


async def test_audits_and_new_links_do_not_open_a_blocked_account(world):
    foreign_order(world)
    await world.passes(AUDIT_NS + SECOND)
    world.gateway.on_down("private", "reset")
    await world.connect()
    ends = [flags for kind, flags in said(world) if kind == w.RESYNC_END]
    assert len(ends) == 2
    assert set(ends) == {w.STILL_BLOCKED}


async def test_person_lifts_it_and_the_next_foreigner_blocks_again(world):
    foreign_order(world)
    world.gateway.lift()
    assert said(world) == [(w.RESYNC_BEGIN, 0), (w.RESYNC_END, 0)]
    world.gateway.lift()
    foreign_order(world)
    assert said(world)[2:] == [(w.RESYNC_BEGIN, 0)]
    assert len(world.alarms) == 3


async def test_account_opens_when_the_last_reason_goes(world):
    foreign_order(world)
    world.gateway.standing.block(DIFFERENT, "USDT: 1")
    assert said(world) == [(w.RESYNC_BEGIN, 0)], "closed already"
    world.gateway.lift()
    assert said(world) == [(w.RESYNC_BEGIN, 0)] * 2, "closed still, and not for a person"
    world.gateway.standing.lift(DIFFERENT)
    assert said(world)[2:] == [(w.RESYNC_END, 0)]


async def test_reason_that_comes_while_links_are_down_stands_when_they_are_up(world):
    world.gateway.on_down("private", "reset")
    foreign_order(world)
    assert said(world) == [(w.RESYNC_BEGIN, 0)] * 2
    await world.connect()
    assert said(world)[2:] == [(w.RESYNC_END, w.STILL_BLOCKED)]
