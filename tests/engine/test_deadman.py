"""Dead-man timers: kept while the engine stirs, run out when nobody renews them."""

import asyncio

import pytest

from alephtx.engine.deadman import DeadMan
from alephtx.engine.killer import Killer
from tests.engine.killing import standing, until

FUTURES = ("binance_usdm", "binance_coinm")
MS = 1_000_000


def deadman_of(killer, timeout_ms):
    (bound,) = killer.accounts
    orders = lambda: killer.open_orders.of(bound.index)  # noqa: E731
    return DeadMan(bound.kill, killer.clock, timeout_ms * MS, orders)


@pytest.mark.parametrize("venue", FUTURES)
async def test_timer_that_nobody_renews_cancels_everything(tmp_path, venue):
    async with standing(tmp_path, venue) as desk:
        desk.rest(venue, desk.intend(venue))
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 300)
        await made.tick()
        assert len(made.armed) == 1
        assert len(desk.open_at(venue)) == 1
        await until(lambda: desk.open_at(venue) == [])
        await killer.close()


async def test_timer_that_is_renewed_cancels_nothing_and_disarmed_neither(tmp_path):
    venue = "binance_usdm"
    async with standing(tmp_path, venue) as desk:
        desk.rest(venue, desk.intend(venue))
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 600)
        for _ in range(10):
            await made.tick()
            await asyncio.sleep(0.1)
        assert len(desk.open_at(venue)) == 1
        await made.disarm()
        assert made.armed == []
        await asyncio.sleep(0.8)
        assert len(desk.open_at(venue)) == 1, "what a person places afterwards stays"
        await killer.close()


async def test_no_timer_runs_where_nothing_is_open(tmp_path):
    async with standing(tmp_path, "binance_usdm") as desk:
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 300)
        await made.tick()
        assert made.armed == []
        assert desk.served.twins["binance_usdm"].countdowns == {}
        await killer.close()


async def test_timer_that_is_still_fresh_is_not_sent_again(tmp_path):
    venue = "binance_usdm"
    async with standing(tmp_path, venue) as desk:
        desk.intend(venue)
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 60_000)
        for _ in range(5):
            await made.tick()
        (bound,) = killer.accounts
        assert bound.http.requests == 1
        await killer.close()


async def test_hyperliquid_has_one_timer_for_the_account(tmp_path):
    venue = "hyperliquid"
    async with standing(tmp_path, venue) as desk:
        desk.intend(venue)
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 10_000)
        await made.tick()
        users = desk.served.twins[venue].users
        assert (made.armed, len(users._scheduled)) == ([-1], 1)
        await made.disarm()
        assert (made.armed, len(users._scheduled)) == ([], 0)
        await killer.close()


async def test_venue_that_refuses_is_left_in_peace_for_a_while(tmp_path, monkeypatch):
    """Hyperliquid allows so many a day only."""
    venue = "hyperliquid"
    async with standing(tmp_path, venue) as desk:
        users = desk.served.twins[venue].users
        monkeypatch.setattr(users, "schedule", lambda account, time_ms: "Too many today.")
        desk.intend(venue)
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 10_000)
        for _ in range(5):
            await made.tick()
        (bound,) = killer.accounts
        assert bound.http.requests == 1
        assert made.armed == []
        await killer.close()


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


async def test_timer_that_cannot_be_stopped_is_told_and_kept(tmp_path, capfd):
    venue = "binance_usdm"
    async with standing(tmp_path, venue) as desk:
        desk.intend(venue)
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 60_000)
        await made.tick()
        await desk.served.fault(venue, kind="5xx", target="http")
        await made.disarm()
        assert len(made.armed) == 1
        assert "deadman_not_disarmed" in capfd.readouterr().err
        await made.disarm()
        assert made.armed == []
        await killer.close()


async def test_timer_that_was_not_renewed_in_time_is_tried_again_at_once(tmp_path):
    venue = "binance_usdm"
    async with standing(tmp_path, venue) as desk:
        desk.intend(venue)
        desk.journal.sync()
        killer = Killer(desk.run)
        killer.follow()
        made = deadman_of(killer, 60_000)
        await desk.served.fault(venue, kind="5xx", target="http")
        await made.tick()
        assert made.armed == []
        await made.tick()
        assert len(made.armed) == 1
        await made.disarm()
        await killer.close()
