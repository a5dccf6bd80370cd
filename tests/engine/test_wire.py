"""A gateway over real sockets at the Hyperliquid twin: orders as posts, and what faults do."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from alephtx.core import words
from alephtx.core.clock import MachineClock
from alephtx.core.identity import first_order_id, to_cloid
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Endpoints, What
from alephtx.core.secrets import resolve
from alephtx.engine.venues import load_venue
from alephtx.engine.wire import AccountWire
from alephtx.execution.gateway import Gateway
from alephtx.signers.evm import EvmSigner
from alephtx.testing.golden import intent_rows
from tests.twins.clients import serving

VENUE = "hyperliquid"
ENGINE = 5
FIRST = first_order_id(ENGINE, 1)
PLACE = {
    "op": words.PLACE, "type": words.LIMIT, "tif": words.GTC, "side": words.BUY,
    "flags": words.POST_ONLY, "price": 999_990, "qty": 1_000,
}  # fmt: skip
CROSSING = 1_060_000
"""Ticks above the standing book's best ask."""


class Desk:
    """One account's gateway and the rows that it pushed."""

    def __init__(self, served, codec):
        self.served, self.codec, self.ring = served, codec, []
        base = served.url(VENUE, "")
        socket = base.replace("http", "ws", 1)
        endpoints = Endpoints(http=base, market=socket, private=socket, trade=socket)
        clock = MachineClock()
        self.wire = AccountWire(VENUE, endpoints, codec.spec.buckets, clock, random.Random(1))
        self.gateway = Gateway(
            0, codec, self.wire, clock, self._push, traded=[0], engine=ENGINE, exclusive=True
        )
        self.wire.on_frame = self.gateway.on_frame
        self.wire.on_up, self.wire.on_down = self.gateway.on_up, self.gateway.on_down

    def _push(self, rows):
        self.ring.append(rows[0].copy())
        return True

    def kinds(self, n=None):
        return [int(r["kind"]) for r in self.ring if n is None or r["order_id"] == FIRST + n]

    def reason(self, n):
        return [int(r["reason"]) for r in self.ring if r["order_id"] == FIRST + n][-1]

    async def until(self, condition):
        for _ in range(3_000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it never came to it: {self.kinds()}")

    async def place(self, *numbers, expect=words.ACK, **fields):
        orders = [PLACE | {"order_id": FIRST + n} | fields for n in numbers]
        self.gateway.submit(intent_rows(orders))
        await self.until(lambda: all(expect in self.kinds(n) for n in numbers))

    async def cancel(self, *numbers):
        rows = [{"op": words.CANCEL, "target_order_id": FIRST + n} for n in numbers]
        self.gateway.submit(intent_rows(rows))
        await self.until(lambda: all(words.CANCEL_ACK in self.kinds(n) for n in numbers))


@asynccontextmanager
async def trading():
    """A gateway that is ready for new orders."""
    async with serving(VENUE) as served:
        plugin = load_venue(VENUE)
        (asked,) = plugin.request(What.INSTRUMENTS, 0)
        how = {"data": asked.body, "headers": dict(asked.headers)}
        async with served.session.post(served.url(VENUE, asked.path), **how) as answer:
            table = Instruments(plugin.parse_instruments(await answer.read(), ["BTC"]))
        desk = Desk(served, plugin.bind(table, EvmSigner(resolve("twin")), 0))
        await desk.gateway.start()
        try:
            await asyncio.wait_for(desk.gateway.ready.wait(), 30)
            yield desk
        finally:
            await desk.gateway.close()


async def placed(desk):
    """Return our numbers of the orders that the venue accepted, in its order."""
    journal = await desk.served.ask(VENUE, "journal")
    numbers = {to_cloid(FIRST + n): n for n in range(64)}
    return [numbers[row["client_id"]] for row in journal if row["client_id"] in numbers]


async def test_orders_of_one_round_travel_in_one_post_and_are_answered_each():
    async with trading() as desk:
        await desk.place(1, 2, 3)
        for n in (1, 2, 3):  # the private stream may say so before the answer, or after it
            assert desk.kinds(n)[0] == words.SENT
            assert set(desk.kinds(n)) == {words.SENT, words.ACK}
        assert await placed(desk) == [1, 2, 3]
        await desk.place(4, expect=words.REJECT, price=CROSSING)
        assert desk.reason(4) == words.REASON_WOULD_CROSS
        await desk.cancel(1, 3)
        assert set(desk.gateway.live) == {FIRST + 2}
        assert desk.gateway.counts["ambiguous"] == 0


@pytest.mark.parametrize(
    ("kind", "reason"), [("429", words.REASON_THROTTLED), ("418", words.REASON_THROTTLED)]
)
async def test_post_that_was_refused_for_its_rate_is_a_refusal(kind, reason):
    async with trading() as desk:
        await desk.served.fault(VENUE, kind=kind, target="trade")
        await desk.place(1, expect=words.REJECT)
        assert desk.reason(1) == reason
        assert desk.gateway.live == {}


async def test_order_whose_answer_was_lost_with_the_link_is_found_and_lives():
    """The venue took it and cut the link before it answered; it must not be sent again."""
    async with trading() as desk:
        await desk.served.fault(VENUE, kind="ambiguous", target="trade")
        await desk.place(1, expect=words.ORDER_STATE)
        assert words.AMBIGUOUS in desk.kinds(1)
        await desk.until(desk.gateway.ready.is_set)
        assert await placed(desk) == [1]
        assert not desk.gateway.live[FIRST + 1].doubt
        assert words.RESYNC_BEGIN in desk.kinds()


async def test_order_that_the_venue_failed_at_is_unproven_until_it_says_so():
    """A 5xx proves nothing, over the socket as over HTTP."""
    async with trading() as desk:
        await desk.served.fault(VENUE, kind="5xx", target="trade")
        await desk.place(1, expect=words.NOT_FOUND)
        assert words.AMBIGUOUS in desk.kinds(1)
        assert await placed(desk) == []


async def test_cancel_waits_for_a_trade_link_that_is_down():
    async with trading() as desk:
        await desk.place(1)
        await desk.served.fault(VENUE, kind="disconnect", target="trade")
        await desk.until(lambda: words.RESYNC_BEGIN in desk.kinds()[1:])
        await desk.cancel(1)
        await desk.until(desk.gateway.ready.is_set)
        assert desk.gateway.live == {}
