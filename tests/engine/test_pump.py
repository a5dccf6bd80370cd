"""From the loop's ring to the gateways: all of it, in order, and found by a thread that spins."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.config_schema import Config, Node, VenueConfig
from alephtx.core.records import INTENT
from alephtx.engine.pump import CALM_NS, ROWS_MAX, Pump
from alephtx.execution.intents import ORDER_ID
from alephtx.matrix.spsc import Spsc


class Station:
    """The parts of a session that a pump works on. submitted: (account, order ids) of each call."""

    def __init__(self, accounts=1, durability="process"):
        self.ring = Spsc(INTENT.itemsize, 1024)
        self.engine = SimpleNamespace(rings=SimpleNamespace(outbox=self.ring))
        self.clock = ManualClock()
        self.submitted, self.taken, self.errors, self.synced = [], [], [], 0
        self.layers = SimpleNamespace(taken=self.taken.extend)
        self.journal = SimpleNamespace(sync=self._sync)
        venues = {"binance_spot": VenueConfig(symbols=("BTCUSDT",))}
        self.config = Config(node=Node(durability=durability), venues=venues)
        self.gateways = [SimpleNamespace(submit=self._submit(k)) for k in range(accounts)]
        self.failed = self.errors.append
        self.pump = Pump(self)

    def _sync(self):
        assert not self.submitted, "what leaves is on the disk"
        self.synced += 1

    def _submit(self, account):
        def submit(rows):
            assert (rows["account"] == account).all()
            self.submitted.append((account, rows["order_id"].tolist()))
            rows["order_id"] = 0  # theirs to write on

        return submit

    def push(self, *orders):
        """Put intents down as the loop does: (order id, account)."""
        for order_id, account in orders:
            row = np.zeros(1, INTENT)
            row["op"], row["order_id"], row["account"] = words.PLACE, order_id, account
            assert self.ring.push(row)


def test_several_of_one_account_are_one_call():
    station = Station()
    station.push(*((n, 0) for n in range(1, 6)))
    station.pump()
    assert station.submitted == [(0, [1, 2, 3, 4, 5])]
    assert [row[ORDER_ID] for row in station.taken] == [1, 2, 3, 4, 5]


def test_accounts_get_their_own_in_order():
    station = Station(3)
    station.push((1, 2), (2, 0), (3, 2), (4, 0))
    station.pump()
    assert station.submitted == [(2, [1, 3]), (0, [2, 4])]


def test_more_than_fit_one_look_are_all_handed_over():
    station = Station()
    station.push(*((n, 0) for n in range(1, 2 * ROWS_MAX + 2)))
    station.pump()
    assert [n for _, ids in station.submitted for n in ids] == list(range(1, 2 * ROWS_MAX + 2))


def test_nothing_leaves_before_the_disk_has_it_where_that_is_asked_for():
    station = Station(durability="order")
    station.pump()
    assert station.synced == 0
    station.push((1, 0))
    station.pump()
    assert (station.synced, station.submitted) == (1, [(0, [1])])


def test_calm_is_some_time_after_the_last_intent_and_not_the_last_look():
    station = Station()
    station.clock.now_ns += 2 * CALM_NS
    station.push((1, 0))
    station.pump()
    assert not station.pump.calm()
    station.clock.now_ns += CALM_NS + 1
    station.pump()
    assert station.pump.calm()


async def test_thread_that_spins_finds_intents_without_being_woken_until_it_rests():
    station = Station()
    station.pump.spin()
    await asyncio.sleep(0)
    station.push((1, 0))
    for _ in range(3):
        await asyncio.sleep(0)
    assert station.submitted == [(0, [1])]
    station.pump.rest()
    station.push((2, 0))
    for _ in range(3):
        await asyncio.sleep(0)
    assert station.submitted == [(0, [1])]


@pytest.mark.parametrize("spins", [False, True])
async def test_order_that_nobody_carries_is_a_fault_of_the_engine(spins):
    """The loop's wake-up says so for a thread that sleeps (`Loop`)."""
    station = Station()
    station.push((1, 7))
    if not spins:
        with pytest.raises(IndexError):
            station.pump()
        return
    station.pump.spin()
    for _ in range(4):
        await asyncio.sleep(0)
    assert [type(error) for error in station.errors] == [IndexError]
