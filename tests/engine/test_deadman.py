"""Dead-man timers: kept while the engine stirs, run out when nobody renews them."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from alephtx.core.errors import TransportError, VenueError
from alephtx.core.ports import What
from alephtx.engine.deadman import DeadMan
from alephtx.engine.killer import Killer
from tests.engine.killing import standing, until
from tests.execution.pit import LINEAR, SPOT, Pit
from tests.execution.toy import oid

FUTURES = ("binance_usdm", "binance_coinm")
MS = 1_000_000
USDM, HYPER = "binance_usdm", "hyperliquid"


def deadman_of(killer, timeout_ms):
    (bound,) = killer.accounts
    orders = lambda: killer.open_orders.of(bound.index)  # noqa: E731
    return DeadMan(bound.kill, killer.clock, timeout_ms * MS, orders)


@asynccontextmanager
async def keeping(tmp_path, venue, timeout_ms, *, rests=True, orders=1):
    """A desk with an open order, a killer that knows of it, and its timers."""
    async with standing(tmp_path, venue) as desk:
        for order_id in [desk.intend(venue) for _ in range(orders)]:
            if rests:
                desk.rest(venue, order_id)
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        try:
            yield desk, deadman_of(killer, timeout_ms), killer.accounts[0]
        finally:
            await killer.close()


@pytest.mark.parametrize("venue", FUTURES)
async def test_timer_that_nobody_renews_cancels_everything(tmp_path, venue):
    async with keeping(tmp_path, venue, 300) as (desk, made, _):
        await made.tick()
        assert len(made.armed) == 1
        assert len(desk.open_at(venue)) == 1
        await until(lambda: desk.open_at(venue) == [])


async def test_timer_that_is_renewed_cancels_nothing_and_disarmed_neither(tmp_path):
    async with keeping(tmp_path, USDM, 600) as (desk, made, _):
        for _ in range(10):
            await made.tick()
            await asyncio.sleep(0.1)
        assert len(desk.open_at(USDM)) == 1
        await made.disarm()
        assert made.armed == []
        await asyncio.sleep(0.8)
        assert len(desk.open_at(USDM)) == 1, "what a person places afterwards stays"


async def test_no_timer_runs_where_nothing_is_open(tmp_path):
    async with keeping(tmp_path, USDM, 300, orders=0) as (desk, made, _):
        await made.tick()
        assert made.armed == []
        assert desk.served.twins[USDM].countdowns == {}


async def test_timer_that_is_still_fresh_is_not_sent_again(tmp_path):
    async with keeping(tmp_path, USDM, 60_000, rests=False) as (_, made, account):
        for _ in range(5):
            await made.tick()
        assert account.http.requests == 1
        await made.disarm()


async def test_hyperliquid_has_one_timer_for_the_account(tmp_path):
    async with keeping(tmp_path, HYPER, 10_000, rests=False) as (desk, made, _):
        await made.tick()
        users = desk.served.twins[HYPER].users
        assert (made.armed, len(users._scheduled)) == ([-1], 1)
        await made.disarm()
        assert (made.armed, len(users._scheduled)) == ([], 0)


async def test_venue_that_refuses_is_left_in_peace_for_a_while(tmp_path, monkeypatch):
    """Hyperliquid allows so many a day only."""
    async with keeping(tmp_path, HYPER, 10_000, rests=False) as (desk, made, account):
        users = desk.served.twins[HYPER].users
        monkeypatch.setattr(users, "schedule", lambda account, time_ms: "Too many today.")
        for _ in range(5):
            await made.tick()
        assert account.http.requests == 1
        assert made.armed == []


async def test_timer_that_cannot_be_stopped_is_told_and_kept(tmp_path, capfd):
    async with keeping(tmp_path, USDM, 60_000, rests=False) as (desk, made, _):
        await made.tick()
        await desk.served.fault(USDM, kind="5xx", target="http")
        await made.disarm()
        assert len(made.armed) == 1
        assert "deadman_not_disarmed" in capfd.readouterr().err
        await made.disarm()
        assert made.armed == []


async def test_timer_that_was_not_renewed_in_time_is_tried_again_at_once(tmp_path):
    async with keeping(tmp_path, USDM, 60_000, rests=False) as (desk, made, _):
        await desk.served.fault(USDM, kind="5xx", target="http")
        await made.tick()
        assert made.armed == []
        await made.tick()
        assert len(made.armed) == 1
        await made.disarm()


@pytest.mark.parametrize(
    ("venue", "exclusive", "extra", "has"),
    [
        ("binance_usdm", True, "", True),
        ("binance_usdm", True, "deadman_s = 0\n", False),
        ("binance_usdm", False, "", False),
        ("binance_spot", True, "", False),
    ],
)
async def test_account_has_timers_where_it_may_and_the_venue_offers_them(
    tmp_path, venue, exclusive, extra, has
):
    """A timer takes everybody's orders, so an account that others use has none."""
    async with standing(tmp_path, venue, exclusive=exclusive, extra=extra) as desk:
        killer = Killer(desk.run)
        assert (killer.accounts[0].deadman is not None) == has
        await killer.close()


# -- to the nanosecond, at a venue whose time is its own ------------------------------------

SECOND = 1_000_000_000
SIXTY = {"timeout_ns": 60 * SECOND}


class Timers:
    """Timers of a minute at the pit, over orders on two instruments."""

    def __init__(self, *, by_instrument=True):
        self.pit = Pit()
        self.pit.taken_ns = 0
        self.pit.codec.timers = by_instrument
        for n, i in ((1, LINEAR), (2, SPOT), (3, LINEAR)):
            self.pit.ours(oid(n), i)
        self.made = DeadMan(self.pit.kill, self.pit.clock, 60 * SECOND, lambda: self.pit.known)

    async def ticks(self, passed_ns=0):
        """Let time pass and tick; returns what was asked, and forgets it."""
        self.pit.clock.advance(passed_ns)
        await self.made.tick()
        asked = self.pit.requests(What.DEADMAN)
        self.pit.asked.clear()
        return asked


async def test_each_instrument_with_orders_has_a_timer_renewed_after_a_third():
    timers = Timers()
    both = [{**SIXTY, "instrument": i} for i in (LINEAR, SPOT)]
    assert await timers.ticks() == both
    assert timers.made.armed == [LINEAR, SPOT]
    assert await timers.ticks(20 * SECOND - 1) == []
    assert await timers.ticks(1) == both
    assert await timers.ticks(20 * SECOND - 1) == []
    timers.pit.known = timers.pit.known[:1]
    assert await timers.ticks(1) == both[:1]
    assert timers.made.armed == [LINEAR, SPOT]  # runs on, and is stopped at the end


async def test_one_timer_for_the_account_is_sent_once():
    timers = Timers(by_instrument=False)
    assert await timers.ticks() == [{**SIXTY, "instrument": LINEAR}]
    assert timers.made.armed == [-1]
    assert await timers.ticks(20 * SECOND - 1) == []
    assert len(await timers.ticks(1)) == 1
    await timers.made.disarm()
    assert timers.pit.requests(What.DEADMAN) == [{"timeout_ns": 0}]
    assert timers.made.armed == []


async def test_refusal_rests_ten_minutes_and_a_failure_not_at_all():
    timers = Timers()
    timers.pit.errors[What.DEADMAN] = [TransportError("cut")]
    assert len(await timers.ticks()) == 2
    assert timers.made.armed == [SPOT]
    assert await timers.ticks() == [{**SIXTY, "instrument": LINEAR}]
    timers.pit.errors[What.DEADMAN] = [VenueError("not today")]
    assert len(await timers.ticks(20 * SECOND)) == 1
    assert await timers.ticks(600 * SECOND - 1) == []
    assert len(await timers.ticks(1)) == 2


async def test_every_timer_is_stopped_and_one_that_fails_is_kept():
    timers = Timers()
    await timers.ticks()
    timers.pit.errors[What.DEADMAN] = [TransportError("cut")]
    await timers.made.disarm()
    stops = [{"timeout_ns": 0, "instrument": i} for i in (LINEAR, SPOT)]
    assert timers.pit.requests(What.DEADMAN) == stops
    assert timers.made.armed == [LINEAR]
    await timers.made.disarm()
    assert timers.made.armed == []
    assert timers.pit.requests(What.DEADMAN) == [*stops, stops[0]]
