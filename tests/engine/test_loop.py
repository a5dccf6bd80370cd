"""The loop thread: it carries what comes to the hands, makes room, and never dies in silence."""

import asyncio
import gc
import sys
import threading
import time
import tracemalloc
from decimal import Decimal

import pytest

from alephtx.core import words
from alephtx.core.config_schema import Risk
from alephtx.core.kernel import JIT
from alephtx.engine import context as c
from alephtx.engine import loop as loop_module
from alephtx.engine.loop import Loop, ask_to_leave, spin
from tests.engine.bench import Bench


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path, risk=Risk(stale_ms=60_000, notional_max=Decimal(10_000)))
    yield made
    made.close()


class Hands:
    """What the main thread does for the loop."""

    def __init__(self, bench, wait="sleep"):
        self.bench, self.outbox, self.ended = bench, asyncio.Event(), threading.Event()
        self.failure = None
        self.rooms = []
        self.error = None
        self.woken = 0
        self.loop = Loop(
            bench.ctx, wait=wait, offset_ns=bench.now - time.monotonic_ns(), on_outbox=self.carry,
            make_room=lambda: self.rooms.append(1) or False, on_end=self.end,
        )  # fmt: skip

    def carry(self):
        self.woken += 1
        if self.error is not None:
            raise self.error
        assert threading.current_thread() is threading.main_thread()
        self.outbox.set()

    def end(self, failure):
        self.failure = self.failure or failure
        self.ended.set()

    async def until_ended(self):
        return await asyncio.to_thread(self.ended.wait, 20)


@pytest.mark.parametrize("wait", ["spin", "adaptive", "sleep"])
async def test_order_comes_out_whatever_the_loop_does_when_idle(bench, wait):
    hands = Hands(bench, wait)
    hands.loop.start()
    bench.top(6_000_000, 6_000_100)
    await asyncio.wait_for(hands.outbox.wait(), 20)
    hands.loop.stop()
    assert hands.ended.wait(5)
    assert hands.failure is None
    assert [int(row["op"]) for row in bench.sent()][-1] == words.PLACE


async def test_orders_that_nobody_was_woken_for_yet_are_carried_at_the_end(bench):
    """The main thread is busy the whole time: the event loop never gets to hear of the order."""
    hands = Hands(bench, "spin")
    hands.loop.start()
    bench.top(6_000_000, 6_000_100)
    deadline = time.monotonic() + 20
    while not bench.ctx.counters[c.C_ORDERS] and time.monotonic() < deadline:
        time.sleep(0.001)  # noqa: ASYNC251 - it is to be busy
    assert hands.woken == 0
    hands.loop.stop()
    assert hands.woken == 1


async def test_busy_main_thread_is_woken_once_however_many_orders_there_are(bench):
    hands = Hands(bench, "spin")
    hands.loop.start()
    for k in range(4):
        bench.top(6_000_000 + k, 6_000_100 + k)
    deadline = time.monotonic() + 20
    while bench.ctx.counters[c.C_ORDERS] < 4 and time.monotonic() < deadline:
        time.sleep(0.001)  # noqa: ASYNC251 - it is to be busy
    await asyncio.wait_for(hands.outbox.wait(), 20)
    await asyncio.sleep(0.05)
    woken = hands.woken
    hands.loop.stop()
    assert woken == 1
    assert len(bench.sent()) == 4


async def test_fault_of_the_hands_ends_the_loop_and_is_handed_over(bench):
    hands = Hands(bench)
    hands.error = OSError(28, "No space left on device")
    hands.loop.start()
    bench.top(6_000_000, 6_000_200)
    assert await hands.until_ended()
    assert hands.failure is hands.error
    hands.loop.stop()


async def test_loop_without_room_ends_instead_of_trading_unjournaled(bench, monkeypatch):
    hands = Hands(bench)
    monkeypatch.setattr(loop_module, "drive", lambda *_: c.R_JOURNAL)
    hands.loop.start()
    assert await hands.until_ended()
    assert hands.rooms == [1]
    assert hands.failure is None
    hands.loop.stop()


async def test_fault_in_making_room_ends_the_loop_and_is_told(bench, monkeypatch):
    hands = Hands(bench)
    monkeypatch.setattr(loop_module, "drive", lambda *_: c.R_JOURNAL)
    hands.loop._make_room = lambda: 1 // 0
    hands.loop.start()
    assert await hands.until_ended()
    assert isinstance(hands.failure, ZeroDivisionError)
    hands.loop.stop()


async def test_loop_that_never_has_an_empty_round_still_ends_when_asked(bench, monkeypatch):
    """A market that never rests must not keep the loop from hearing that it is over."""
    monkeypatch.setattr(
        loop_module, "ROUNDS", {**loop_module.ROUNDS, "spin": 1 << 62, "adaptive": 1 << 62}
    )
    for wait in ("spin", "adaptive"):
        hands = Hands(bench, wait)
        hands.loop.start()
        begun = time.monotonic()
        hands.loop.stop(20)
        assert not hands.loop.is_alive()
        assert time.monotonic() - begun < 20


EVENTS = 3_000
LAPS = 5


@pytest.mark.skipif(not JIT, reason="plain Python allocates")
def test_hot_loop_allocates_nothing_and_collects_nothing(tmp_path):
    """Events, orders and denials run through a loop thread while Python's own books are watched."""
    risk = Risk(stale_ms=60_000, notional_max=Decimal(10_000), orders_per_s=20)
    bench = Bench(tmp_path, risk=risk, ring_slots=4_096, live_max=40)
    ask_to_leave(bench.packed, 0)
    spin(bench.packed, 10, bench.now - time.monotonic_ns())
    collections, books = [], []

    def note(phase, info):
        collections.append((phase, info))

    def look():
        return tracemalloc.get_traced_memory()[0], sys.getallocatedblocks(), gc.get_count()[0]

    def lap(offset):
        """What one call left on Python's books; what looking itself makes is in it."""
        before = look()
        spin(bench.packed, 100, offset)
        return tuple(b - a for a, b in zip(before, look(), strict=True))

    def run():
        offset = bench.now - time.monotonic_ns()
        tracemalloc.start()
        lap(offset)  # a tracer of lines makes its own books the first time
        for _ in range(LAPS):
            gc.collect()  # also empties the lists of spare tuples, so both laps need new ones
            empty = lap(offset)
            for k in range(EVENTS):
                bench.top(6_000_000 + k % 7, 6_000_100 + k % 7)
            gc.collect()
            gc.callbacks.append(note)
            full = lap(offset)
            gc.callbacks.remove(note)
            books.append(tuple(b - a for a, b in zip(empty, full, strict=True)))
        tracemalloc.stop()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    counters = bench.ctx.counters
    assert counters[c.C_EVENTS] >= EVENTS * LAPS
    assert counters[c.C_ORDERS] >= 4
    assert counters[c.C_DENIED] > 100 * LAPS
    assert collections == []
    # Other threads of this process are on the same books; what the loop made would be in every lap.
    bytes_left, blocks, containers = (min(column) for column in zip(*books, strict=True))
    assert bytes_left < 64  # integers beyond the small ones
    assert blocks < 4
    assert containers < 2
    bench.close()
