"""Closing positions: bounded, proven, and honest about what is left, whatever the venue does."""

import pytest

from alephtx.core import words
from alephtx.engine.killer import Killer
from alephtx.execution import flatten as module
from alephtx.execution.flatten import TRIES, Flatten
from tests.engine.killing import standing

VENUE = "binance_usdm"
SECOND = 1_000_000_000


class Closing:
    """One account's flatten beside its desk."""

    def __init__(self, desk):
        self.desk = desk
        self.killer = Killer(desk.run)
        self.killer.follow()
        (self.bound,) = self.killer.accounts
        self.recorded = []
        self.flatten = Flatten(
            self.bound.kill, 0, self.killer._next_id, self.recorded.append,
            self.bound.section.flatten_bps,
        )  # fmt: skip
        (desk.run.path / "kill").mkdir()

    async def close(self, lots, seconds=20, instrument=0):
        deadline = self.killer.clock.monotonic() + int(seconds * SECOND)
        return await self.flatten.close({instrument: lots}, deadline)


@pytest.fixture
async def closing(tmp_path, request):
    venue = getattr(request, "param", VENUE)
    async with standing(tmp_path, venue) as desk:
        desk.journal.sync()
        made = Closing(desk)
        yield made
        await made.killer.close()


def lots_of(closing):
    """Return our position in the instrument's own lots."""
    instrument = closing.desk.instruments[0]
    venue = instrument.venue
    market = closing.desk.exchange(venue).by_symbol[instrument.symbol]
    return instrument.qty_lots(market.qty(closing.desk.position(venue)))


async def test_large_position_is_closed_by_several_orders(closing, monkeypatch):
    closing.desk.fill(VENUE, 40)
    closing.flatten.rows["qty_max"] = 15
    held = lots_of(closing)
    assert await closing.close(held - 10) == {}
    closing.flatten.rows["qty_max"] = 0  # no bound
    assert await closing.close(10) == {}
    assert closing.desk.position(VENUE) == 0
    assert len(closing.recorded) == 3
    assert len({order["order_id"] for order in closing.recorded}) == len(closing.recorded)


async def test_position_beyond_the_book_is_left_and_told(closing):
    """Nobody trades at any price: what the book near the touch does not take stays."""
    closing.desk.fill(VENUE, 40)
    held = lots_of(closing)
    closing.flatten.rows["qty_max"] = held // (2 * TRIES)
    left = await closing.close(held)
    assert 0 < left[0] < held
    assert len(closing.recorded) == TRIES


async def test_empty_book_is_asked_again_and_given_up(closing):
    closing.desk.fill(VENUE, 10)
    held = lots_of(closing)
    closing.desk.served.twins[VENUE].market_feed.clear()
    assert await closing.close(held) == {0: held}
    assert "other side" in closing.bound.kill.report.error
    assert closing.recorded == []


async def test_order_the_venue_refuses_is_not_counted_as_closed(closing):
    """Reduce-only, on the wrong side of the position."""
    closing.desk.fill(VENUE, 10)
    held = lots_of(closing)
    assert await closing.close(-held) == {0: -held}
    assert lots_of(closing) == held
    assert len(closing.recorded) == TRIES


@pytest.mark.parametrize("closing", ["hyperliquid"], indirect=True)
async def test_refusal_in_an_answer_is_one_too(closing):
    closing.desk.fill("hyperliquid", 2000)
    held = lots_of(closing)
    assert held > 0
    assert await closing.close(-held) == {0: -held}
    assert lots_of(closing) == held


async def test_less_than_the_venue_takes_is_left(closing):
    closing.flatten.rows["qty_min"] = 100
    assert await closing.close(50) == {0: 50}
    assert closing.recorded == []


async def test_nothing_is_sent_after_the_deadline(closing):
    closing.desk.fill(VENUE, 10)
    held = lots_of(closing)
    assert await closing.close(held, seconds=-1) == {0: held}
    assert closing.recorded == []


async def test_order_that_surely_did_not_leave_is_sent_anew(closing):
    closing.desk.fill(VENUE, 10)
    fetch, failed = closing.bound.kill._fetch, []

    async def refused(request):
        if request.op == words.PLACE and not failed:
            failed.append(request)
            raise module.TransportError("refused", sent=False)
        return await fetch(request)

    closing.bound.kill._fetch = refused
    assert await closing.close(lots_of(closing)) == {}
    assert len(closing.recorded) == 2


@pytest.mark.parametrize("arrived", [True, False])
async def test_order_whose_answer_is_lost_is_asked_for(closing, monkeypatch, arrived):
    monkeypatch.setattr(module, "HORIZON_NS", SECOND // 5)
    closing.desk.fill(VENUE, 10)
    fetch, lost = closing.bound.kill._fetch, []

    async def losing(request):
        if request.op == words.PLACE and not lost:
            lost.append(request)
            if arrived:
                await fetch(request)
            raise module.TransportError("no answer", sent=True)
        return await fetch(request)

    closing.bound.kill._fetch = losing
    assert await closing.close(lots_of(closing)) == {}
    assert closing.desk.position(VENUE) == 0
    assert len(closing.recorded) == (1 if arrived else 2)


async def test_order_that_nobody_can_prove_is_the_last_one(closing, monkeypatch):
    """Another one might close it twice."""
    monkeypatch.setattr(module, "HORIZON_NS", SECOND // 5)
    closing.desk.fill(VENUE, 10)
    held = lots_of(closing)
    fetch = closing.bound.kill._fetch

    async def losing(request):
        if request.order_ids:
            raise module.TransportError("no answer", sent=True)
        return await fetch(request)

    closing.bound.kill._fetch = losing
    assert await closing.close(held, seconds=0.3) == {0: held}
    assert len(closing.recorded) == 1
    assert "nobody can say" in closing.bound.kill.report.error
