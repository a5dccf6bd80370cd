"""Strategies in plain Python see what the engine sees, late at worst, and cannot hurt it."""

import re
from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.config_schema import Risk
from alephtx.core.records import INTENT
from alephtx.engine import context as c
from alephtx.engine.python_strategies import PythonStrategies
from alephtx.matrix.journal import tail
from alephtx.matrix.writers import beat, claim
from tests.engine.bench import NOW, Bench

pytestmark = pytest.mark.kernel

THINKER = '''
import numpy as np
from alephtx.core.view import Needs
from alephtx.core.words import BUY, CANCEL, GTC, LIMIT, PLACE

COMPILED = False
NEEDS = Needs(timer_ns=1_000_000_000, trades=True)
PARAMS, STATE = np.dtype([("qty", "i8")]), np.dtype([("live", "i8")])
heard, plans = [], []


def config_to_params(section, instruments):
    return np.zeros(1, PARAMS)


def act(intents):
    """Write the next plan: rows of (price, qty, group), or raise it."""
    plan = plans.pop(0) if plans else []
    if isinstance(plan, Exception):
        raise plan
    if isinstance(plan, int):
        return plan
    for row, (price, qty, group) in zip(intents, plan):
        row["op"], row["type"], row["tif"], row["side"] = PLACE, LIMIT, GTC, BUY
        row["price"], row["qty"], row["group_id"] = price, qty, group
    return len(plan)


def on_start(view, params, state, intents):
    heard.append(("start", int(view.top[0]["bid"])))
    return act(intents)


def on_event(event, view, params, state, intents):
    row = event[0]
    heard.append(("event", int(row["instrument"]), int(row["kind"]), int(view.top[0]["bid"])))
    return act(intents)


def on_update(update, view, params, state, intents):
    row = update[0]
    position = int(view.positions[0]["qty"])
    heard.append(("update", int(row["kind"]), int(row["order_status"]), position))
    return act(intents)


def on_timer(now, view, params, state, intents):
    heard.append(("timer",))
    return act(intents)


def on_stop(view, params, state, intents):
    for k in range(int(view.open_count[0])):
        intents[k]["op"], intents[k]["target_order_id"] = CANCEL, view.orders[k]["order_id"]
    return int(view.open_count[0])
'''


class Thinking(Bench):
    """A bench whose strategy is plain Python, with the main thread's part of the work."""

    def __init__(self, folder):
        file = folder / "thinker.py"
        file.write_text(THINKER)
        risk = Risk(
            stale_ms=60_000, notional_max=Decimal(10_000), orders_per_s=1000, open_orders_max=100
        )
        super().__init__(folder, use=str(file), risk=risk)
        self.clock = ManualClock(NOW)
        self.module = self.engine.strategies[0].module
        self.follow()
        self.ctx.gate.resync[:] = 0

    def follow(self):
        """Make the runner as a session does: the journal so far, then the rest."""
        self.python = PythonStrategies(
            self.config, self.instruments, self.matrix, self.engine, self.clock
        )
        self.tail = tail(self.folder / "journal")
        for _ in self.python.watch(self.tail.poll(1000)):
            pass

    @property
    def heard(self):
        return self.module.heard

    def forget(self):
        self.module.heard.clear()

    def round(self):
        """One round of the main thread and one of the loop."""
        while self.step():
            pass
        self.clock.now_ns = self.now
        for record in self.tail.poll(1000):
            self.python.take(record)
        self.python.round()
        while self.step():
            pass

    def plan(self, *plans):
        self.module.plans[:] = plans

    def close(self):
        self.tail.close()
        super().close()


@pytest.fixture
def bench(tmp_path):
    made = Thinking(tmp_path)
    yield made
    made.close()


def order(bench, *rows):
    """Let the strategy send these rows at the next top, and return what left."""
    bench.plan(list(rows))
    bench.top(100_00, 100_01)
    bench.round()
    return bench.sent()


def test_it_starts_with_the_market_as_it_is(bench):
    bench.top(99_00, 99_01)
    bench.top(99_50, 99_51)
    bench.step()
    bench.python.start()
    bench.round()
    assert bench.heard == [("start", 0)]  # the ring's past is not told; the matrix has no top


def test_tops_between_two_rounds_are_told_once_and_trades_each(bench):
    bench.python.start()
    bench.forget()
    for bid in (100_00, 100_05, 100_10):
        bench.top(bid, bid + 1)
    bench.top(101_00, 101_01, venue=1)  # an instrument that it does not trade
    bench.round()
    assert bench.heard == [("event", 0, words.TOP, 100_10)]
    assert bench.ctx.strategies[0, c.S_EVENTS] == 1


def test_intents_pass_the_gate_and_come_home_as_updates(bench):
    bench.python.start()
    (sent,) = order(bench, (100_00, 1000, 0))
    assert (sent["strategy"], sent["verdict"], sent["ts_input"] > 0) == (0, words.PASS, True)
    bench.update(order_id=sent["order_id"], kind=words.ACK, venue_order_id=7)
    bench.update(
        order_id=sent["order_id"], kind=words.FILL, price=100_00, qty=400, cum_qty=400, trade_id=5
    )
    bench.step()
    bench.forget()
    bench.round()
    assert bench.heard == [
        ("update", words.ACK, words.NEW, 0), ("update", words.FILL, words.PARTIALLY_FILLED, 400),
    ]  # fmt: skip
    assert bench.python.ctx.positions[0, 0] == bench.ctx.positions[0, 0]


def test_a_denial_is_told(bench):
    bench.python.start()
    assert order(bench, (100_00, 100_000_000, 0)) == []
    bench.forget()
    bench.round()
    assert bench.heard == [("update", words.REJECT, words.DENIED, 0)]


def test_legs_of_a_group_pass_together_or_not_at_all(bench):
    bench.python.start()
    assert len(order(bench, (100_00, 1000, 9), (99_90, 1000, 9))) == 2
    assert order(bench, (100_00, 1000, 10), (100_00, 100_000_000, 10)) == []
    assert len(order(bench, (100_00, 1000, 0), (100_00, 100_000_000, 0))) == 1


def test_a_strategy_that_raises_is_ended_with_its_orders_and_the_engine_goes_on(bench):
    bench.python.start()
    (sent,) = order(bench, (100_00, 1000, 0))
    bench.round()
    bench.plan(ZeroDivisionError("by me"))
    bench.top(100_02, 100_03)
    bench.round()
    (cancel,) = bench.sent()
    assert (cancel["op"], cancel["target_order_id"]) == (words.CANCEL, sent["order_id"])
    (alarm,) = bench.python.alarms
    said = "strategy quoter stopped: on_event raised ZeroDivisionError('by me') at "
    assert alarm.startswith(said)
    assert re.search(r"/thinker\.py:\d+$", alarm)
    assert bench.ctx.strategies[0, c.S_ENABLED] == 0
    bench.forget()
    bench.top(100_04, 100_05)
    bench.round()
    assert bench.heard == []


@pytest.mark.parametrize("said", [-1, c.INTENTS_MAX + 1])
def test_a_count_that_cannot_be_is_an_error_of_the_strategy(bench, said):
    bench.python.start()
    bench.plan(said)
    bench.top(100_00, 100_01)
    bench.round()
    assert f"returned {said}" in bench.python.alarms[0]
    assert bench.sent() == []


def test_a_batch_that_cannot_be_is_counted_and_dropped(bench):
    for strategy, count in ((0, 0), (0, c.INTENTS_MAX + 1), (5, 1)):
        rows = np.zeros(c.INTENTS_MAX, INTENT)
        rows["strategy"], rows[:1]["rule"] = strategy, count
        assert bench.engine.rings.python_intents.push(rows)
    bench.step()
    assert bench.ctx.counters[c.C_BAD_ROWS] == 3
    assert bench.sent() == []


def test_timers_run_when_due_and_once_where_they_fell_behind(bench):
    bench.python.start()
    for after in (0, 500_000_000, 600_000_000, 5_000_000_000, 1):
        bench.now += after
        bench.round()
    assert bench.heard.count(("timer",)) == 2


def test_a_lapped_reader_and_a_dead_feeder_are_told(bench):
    bench.python.start()
    for bid in range(100):
        bench.top(100_00 + bid, 101_00)
    bench.round()
    assert [e[2] for e in bench.heard if e[0] == "event"] == [words.LAPPED, words.TOP]
    writer = int(claim(bench.matrix.map, 77, 1))
    bench.matrix.take_venue(0, writer)
    beat(bench.matrix.map, writer, 1)
    bench.now += 2_000_000_000
    bench.forget()
    bench.round()
    assert ("event", 0, words.GAP) in [e[:3] for e in bench.heard]


def test_after_a_restart_it_knows_its_orders_and_position(bench):
    bench.python.start()
    (sent,) = order(bench, (100_00, 1000, 0))
    bench.update(
        order_id=sent["order_id"], kind=words.FILL, price=100_00, qty=400, cum_qty=400, trade_id=5
    )
    bench.round()
    bench.tail.close()
    bench.forget()
    bench.follow()
    view = bench.python._views[0]
    assert view.positions[0]["qty"] == 400
    assert view.orders[: view.open_count[0]]["order_id"].tolist() == [sent["order_id"]]
    assert bench.heard == []  # the past is not told again


def test_at_the_end_it_cancels_and_still_hears(bench):
    bench.python.start()
    (sent,) = order(bench, (100_00, 1000, 0))
    bench.round()
    bench.python.stop()
    bench.step()
    (cancel,) = bench.sent()
    assert cancel["op"] == words.CANCEL
    bench.update(order_id=sent["order_id"], kind=words.CANCEL_ACK, cum_qty=0)
    bench.step()
    bench.top(100_00, 100_01)
    bench.forget()
    bench.round()
    assert [e[0] for e in bench.heard] == ["update"]


def test_a_full_ring_is_an_alarm(bench):
    bench.python.start()
    for _ in range(200):
        bench.plan([(100_00, 1000, 0)])
        bench.top(100_00, 100_01)
        bench.python.round()
    assert "does not take its intents" in bench.python.alarms[0]


def test_an_engine_without_such_strategies_has_no_replica(tmp_path):
    plain = Bench(tmp_path)
    python = PythonStrategies(
        plain.config, plain.instruments, plain.matrix, plain.engine, ManualClock()
    )
    assert not python
    python.start()
    python.round()
    python.stop()
    assert list(python.watch([1, 2])) == [1, 2]
    plain.close()
