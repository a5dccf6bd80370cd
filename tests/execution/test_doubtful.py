"""Ambiguous time-outs by the thousand: no order is sent twice, and both sides end the same.

The suite goes through one in a hundred of the full count, which is, from the repository's root:

    ALEPHTX_TIMEOUTS=1000000 pytest -o timeout=0 tests/execution/test_doubtful.py -k sent_twice
"""

import asyncio
import os

import pytest

from alephtx.core import log
from alephtx.execution import resync
from alephtx.execution.outbox import Outbox
from tests.execution.doubtful import DoubtfulWorld
from tests.execution.virtual import VirtualLoop

COUNT = int(os.environ.get("ALEPHTX_TIMEOUTS", "10000"))


@pytest.fixture(autouse=True)
def quiet():
    """A line per time-out is not what this is about."""
    log.configure(level="error", stderr=False)
    yield
    log.configure()


def play(count, seed, *, transport="http", **how):
    world = DoubtfulWorld(seed, **how)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(world.play(count, transport))
    return world


def test_no_order_is_sent_twice_where_no_venue_accepts_late_orders():
    """The venue has a window, as Binance: what was given up never was, and nothing alarms."""
    world = play(COUNT, seed=1)
    assert world.wire.timeouts >= COUNT
    assert max(n for (op, _), n in world.wire.sends.items() if op == "place") == 1
    assert not world.alarms


@pytest.mark.parametrize("transport", ["http", "trade"])
def test_order_that_arrives_after_it_was_given_up_is_found_and_taken_back(transport):
    """A venue without a window accepts whatever comes, whenever it comes."""
    world = play(min(COUNT, 3_000), seed=2, transport=transport, window=None)
    assert world.alarms, "some came so late that a person hears of it"


def test_time_outs_on_a_trade_link_end_as_well():
    play(min(COUNT, 2_000), seed=3, transport="trade")


def test_world_notices_an_order_sent_again(monkeypatch):
    doubt = Outbox._doubt

    def send_again(self, request, why):
        doubt(self, request, why)
        if self.counts["ambiguous"] == 7:
            self._spawn(self._send(request))

    monkeypatch.setattr(Outbox, "_doubt", send_again)
    with pytest.raises(AssertionError, match="sent again"):
        play(500, seed=4, crowd=100)


def test_world_notices_a_not_found_that_is_believed_at_once(monkeypatch):
    monkeypatch.setattr(resync, "HORIZON_NS", 0)
    with pytest.raises(AssertionError):
        play(2_000, seed=1)
