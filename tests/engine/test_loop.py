"""The loop thread: it carries what comes to the hands, makes room, and never dies in silence."""

import threading
import time
from decimal import Decimal

import pytest

from alephtx.core import words
from alephtx.core.config_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.loop import Loop
from tests.engine.bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(
        tmp_path_factory.mktemp("loop"), risk=Risk(stale_ms=60_000, notional_max=Decimal(10_000))
    )
    yield made
    made.close()


class Hands:
    """What the main thread does for the loop."""

    def __init__(self, bench, wait="sleep"):
        self.bench, self.outbox, self.ended = bench, threading.Event(), threading.Event()
        self.failure = None
        self.rooms = []
        self.error = None
        self.loop = Loop(
            bench.ctx, wait=wait, offset_ns=bench.now - time.monotonic_ns(), on_outbox=self.carry,
            make_room=lambda: self.rooms.append(1) or False, on_end=self.end,
        )  # fmt: skip

    def carry(self):
        if self.error is not None:
            raise self.error
        self.outbox.set()

    def end(self, failure):
        self.failure = failure
        self.ended.set()


@pytest.mark.parametrize("wait", ["spin", "adaptive", "sleep"])
def test_order_comes_out_whatever_the_loop_does_when_idle(bench, wait):
    hands = Hands(bench, wait)
    hands.loop.start()
    bench.top(6_000_000, 6_000_100)
    assert hands.outbox.wait(20)
    hands.loop.stop()
    assert hands.ended.wait(5)
    assert hands.failure is None
    assert [int(row["op"]) for row in bench.sent()][-1] == words.PLACE


def test_fault_in_the_loop_ends_it_and_is_handed_over(bench):
    hands = Hands(bench)
    hands.error = OSError(28, "No space left on device")
    hands.loop.start()
    bench.top(6_000_000, 6_000_200)
    assert hands.ended.wait(20)
    assert hands.failure is hands.error
    hands.loop.stop()
    bench.sent()


def test_loop_without_room_ends_instead_of_trading_unjournaled(bench, monkeypatch):
    hands = Hands(bench)
    monkeypatch.setattr("alephtx.engine.loop.spin", lambda x, rounds, offset: c.R_JOURNAL)
    hands.loop.start()
    assert hands.ended.wait(20)
    assert hands.rooms == [1]
    assert hands.failure is None
