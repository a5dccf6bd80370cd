"""Layers: what of an order's way is counted, whose it is, and when a budget is broken."""

import threading
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import MachineClock
from alephtx.core.config_schema import Risk
from alephtx.core.histogram import (
    BUCKETS,
    COUNT,
    EDGES,
    MOST,
    bucket_floor,
    hist_add,
    hist_bucket,
    summary,
)
from alephtx.core.kernel import JIT
from alephtx.core.layers import STAGE_DECIDE, STAGE_ORDER, STAGE_SEND, STAGE_STRATEGY
from alephtx.core.packed import field
from alephtx.core.records import INTENT
from alephtx.core.stages import stage_address
from alephtx.engine import context as c
from alephtx.engine import layers as made_of
from alephtx.engine import stopwatch
from alephtx.engine.layers import PENDING_MAX, Layers
from alephtx.engine.swap_canary import Beside
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import read
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.matrix.spsc import spsc_push
from tests.engine.bench import NOW, Bench

REPLIER = str(Path(__file__).with_name("replier.py"))
RISK = Risk(notional_max=Decimal(10_000), orders_per_s=10_000, position_notional_max=Decimal(10**6))
MS, SECOND = 1_000_000, 1_000_000_000


def sends(x, s, n):
    """Stand where the direct path's stage stands: what passed is sent."""
    addresses, intents = field(x, c.F_ADDRESSES, c.I1), field(x, c.F_INTENTS, c.INTENTS)
    for k in range(n):
        if intents[k]["verdict"] == words.PASS:
            intents[k]["ts_sent"] = intents[k]["ts_intent"] + 1
            spsc_push(addresses[c.A_OUTBOX], addresses[c.A_INTENTS] + k * 128)
    return n


class Measured(Bench):
    """A bench whose time is the machine's, so that kernels may read it too."""

    def __init__(self, folder, *, measure=True, **own):
        super().__init__(folder, risk=RISK, use=REPLIER, ring_slots=256, **own)
        self.now = NOW - SECOND + MachineClock().monotonic()
        self.layers = Layers(self.ctx, ["replier"], measure=measure, live=True)

    def arrive(self, ts_recv):
        aux = slot_aux(0, words.TOP, 0, 0)
        ring_publish(self.matrix.map, 0, ts_recv, ts_recv, 6_000_000, 9, 6_000_100, 9, aux)

    def told(self, stage):
        return summary(self.layers.histogram(0, stage))


@pytest.fixture
def make(tmp_path):
    made = []

    def one(**own):
        made.append(Measured(tmp_path, **own))
        return made[0]

    yield one
    for bench in made:
        bench.close()


@pytest.mark.kernel
def test_events_that_waited_for_a_stalled_loop_each_show_it(make):
    """No coordinated omission: fifty events of 100 ms are not one slow one and forty-nine quick."""
    bench = make(event=1)
    begun = bench.now - 100 * MS
    for k in range(50):
        bench.arrive(begun + 2 * k * MS)
    bench.step(256)
    decided = bench.told(STAGE_DECIDE)
    assert (decided["count"], decided["most"] >= 100 * MS) == (50, True)
    assert decided["p50"] >= 51 * MS
    assert decided["least"] >= 2 * MS


@pytest.mark.kernel
def test_update_and_timer_are_causes_too_and_the_journal_keeps_market_stamps(make):
    bench = make(update=1, timer=1)
    bench.arrive(bench.now)
    bench.step()  # the timer is set
    bench.step(after_ns=2 * MS)
    due = bench.now + MS
    bench.step(after_ns=40 * MS)  # late by 39
    first, second = bench.sent()
    assert first["ts_input"] == 0, "when a timer was first due nobody has noted"
    assert second["ts_input"] == due
    bench.update(kind=words.ACK, order_id=int(first["order_id"]), venue_order_id=7)
    heard = bench.now
    bench.step(after_ns=1)
    (cancel,) = bench.sent()
    assert (cancel["op"], cancel["ts_input"]) == (words.CANCEL, heard)
    kept = [
        np.frombuffer(record.payload, INTENT)[0]
        for record in read(bench.folder / "journal")
        if record.kind == INTENT_RECORD
    ]
    assert [int(row["ts_input"]) for row in kept] == [0, 0, 0]
    assert int(kept[-1]["ts_intent"]) == int(bench.ctx.now[0])


@pytest.mark.kernel
def test_orders_the_loop_sends_are_counted_by_the_loop(make):
    bench = make(event=1)
    bench.ctx.addresses[c.A_SEND], bench.owner = stage_address(sends)
    bench.ctx.strategies[0, c.S_BUDGET_NS] = 50 * MS
    for age_ms in (0, 60, 900):
        bench.arrive(bench.now - age_ms * MS)
    bench.step()
    for row in bench.sent():
        bench.layers.taken([row.item()])
        bench.layers.sent(words.PLACE, int(row["order_id"]), bench.now)
    assert bench.layers.own[0].sum() == 0, "nothing is counted twice"
    assert (bench.told(STAGE_SEND)["count"], bench.told(STAGE_SEND)["least"] > 1) == (3, True)
    assert bench.told(STAGE_ORDER)["count"] == 3
    bench.layers.look(1)
    assert bench.ctx.strategies[0, c.S_DECISIONS] == 3
    assert bench.ctx.strategies[0, c.S_OVER] >= 2


@pytest.mark.kernel
def test_loop_that_may_not_measure_reads_no_clock_and_leaves_rows_alone(make):
    """A simulated world must run the same twice."""
    bench = make(measure=False, event=1, update=1, timer=1)
    for _ in range(40):
        bench.arrive(bench.now)
        bench.step(after_ns=2 * MS)
    assert bench.layers.loop.sum() == 0
    rows = bench.sent()
    kept = [r.payload for r in read(bench.folder / "journal") if r.kind == INTENT_RECORD]
    assert [row.tobytes() for row in rows] == kept[: len(rows)]


@pytest.mark.kernel
def test_one_call_in_sixteen_is_timed_whatever_its_rhythm(make):
    bench = make()
    for _ in range(50):
        for _ in range(32):
            bench.arrive(bench.now)
        bench.step(64)
    timed, calls = bench.told(STAGE_STRATEGY)["count"], int(bench.state["calls"])
    assert calls == 1_600
    assert calls / 32 < timed < calls / 8


@pytest.mark.kernel
@pytest.mark.skipif(JIT, reason="what compiled code reads cannot be counted")
def test_clock_is_read_once_for_what_passed_and_not_for_what_the_gate_denied(make, monkeypatch):
    """A reading is three quarters of what measuring an order costs."""
    bench, readings = make(), []
    monkeypatch.setattr(stopwatch, "monotonic_ns", lambda: readings.append(1) or SECOND)
    rows = bench.ctx.intents[:3]
    rows["verdict"], rows["ts_input"], rows["ts_sent"] = words.DENY_HALTED, NOW, 0
    for note in (stopwatch.note_decided, stopwatch.note_left):
        note(bench.packed, 0, 3)
        assert readings == []
        rows["verdict"][1:], rows["ts_sent"] = words.PASS, 1
        note(bench.packed, 0, 3)
        assert readings == [1]
        rows["ts_sent"] = 0  # by the gateway, which counts its own
        readings.clear()
    stopwatch.note_left(bench.packed, 0, 3)
    assert readings == []


class Floor:
    """Layers without an engine: two strategies whose orders tests write themselves."""

    def __init__(self, *, live=True, budget_us=50, layer=0):
        strategies = np.zeros((2, c.STRATEGY_WORDS), np.int64)
        strategies[:, c.S_LAYER], strategies[:, c.S_BUDGET_NS] = layer, budget_us * 1_000
        self.ctx = SimpleNamespace(
            strategies=strategies,
            addresses=np.zeros(c.ADDRESS_WORDS, np.int64),
            control=np.zeros(c.CONTROL_WORDS, np.int64),
        )
        self.layers = Layers(self.ctx, ["quick", "slow"], measure=True, live=live)
        self.now, self.next = 0, 1

    def orders(self, count, took_us, *, s=0, op=words.PLACE, ts_input=NOW):
        for _ in range(count):
            row = np.zeros(1, INTENT)[0]
            row["op"], row["strategy"], row["ts_input"], row["ts_intent"] = op, s, ts_input, NOW
            row["order_id" if op == words.PLACE else "target_order_id"] = self.next
            self.layers.taken([row.item()])
            self.layers.sent(op, self.next, NOW + int(took_us * 1_000))
            self.next += 1

    def look(self, seconds=1):
        for _ in range(seconds):
            self.now += SECOND
            self.layers.look(self.now)
        return self.layers.alarms


@pytest.mark.parametrize("op", [words.PLACE, words.CANCEL, words.AMEND])
def test_every_kind_of_order_is_measured_when_its_bytes_left(op):
    floor = Floor()
    floor.orders(3, 40, op=op)
    assert floor.layers.histogram(0, STAGE_ORDER)[COUNT] == 3
    assert floor.layers.histogram(0, STAGE_SEND)[COUNT] == 3
    assert floor.layers.intent_to_wire[COUNT] == 3


def test_cancel_and_amend_of_one_order_are_told_apart():
    floor, row = Floor(), np.zeros(1, INTENT)[0]
    row["target_order_id"], row["ts_input"] = 9, NOW
    for op, sent in ((words.AMEND, NOW), (words.CANCEL, NOW + 10)):
        row["op"], row["ts_intent"] = op, sent
        floor.layers.taken([row.item()])
    floor.layers.sent(words.CANCEL, 9, NOW + 12)
    floor.layers.sent(words.AMEND, 9, NOW + 30)
    assert sorted(np.flatnonzero(floor.layers.histogram(0, STAGE_SEND)[:64])) == [2, 30]


def test_orders_nobody_asked_for_and_those_never_sent_are_not_counted():
    """Cancels of leftovers come from no event; orders refused before they left took no time."""
    floor = Floor()
    floor.layers.sent(words.CANCEL, 4, NOW)
    row = np.zeros(1, INTENT)[0]
    row["op"] = words.PLACE
    for k in range(PENDING_MAX + 10):
        row["order_id"] = k + 1
        floor.layers.taken([row.item()])
    assert len(floor.layers._pending) == PENDING_MAX
    assert floor.layers.own.sum() == 0


def test_order_without_a_cause_counts_from_its_decision_only():
    floor = Floor()
    floor.orders(30, 90_000, ts_input=0)
    assert floor.look() == []
    assert floor.layers.histogram(0, STAGE_SEND)[COUNT] == 30


def test_clock_that_was_set_back_makes_no_duration():
    floor = Floor()
    floor.orders(25, -5_000_000)
    assert floor.look() == []
    assert summary(floor.layers.histogram(0, STAGE_ORDER))["most"] == 0


def test_durations_of_years_are_counted_and_told():
    floor = Floor()
    floor.orders(1, 5_000_000_000_000, ts_input=1)  # a stamp of 1970, an answer of 2027
    assert "an order took" in floor.look()[0]
    assert floor.layers.told(floor.now, anew=True)["strategies"][0]["order"]["most"] > 10**18


def test_budget_broken_by_a_window_is_alarmed_once_and_cleared_when_it_is_over():
    floor = Floor()
    floor.orders(2_000, 20)
    assert floor.look() == []
    floor.orders(30, 92)
    (said,) = floor.look()
    assert said == "strategy quick (L0): p99 92 us in the last 10 s, its budget is 50 us"
    for _ in range(8):
        floor.orders(1, 20)
        assert len(floor.look()) == 1, "it stands while the window is broken"
    assert floor.layers.breaches == [1, 0]
    floor.orders(50, 20)
    floor.look(3)
    assert floor.look() == []
    assert not floor.layers.told(floor.now)["strategies"][0]["broken"]
    assert (floor.ctx.strategies[0, c.S_OVER], floor.ctx.strategies[0, c.S_DECISIONS]) == (
        30, 2_088,
    )  # fmt: skip


def test_breach_that_goes_on_is_counted_once_a_window():
    floor = Floor()
    for _ in range(35):
        floor.orders(25, 80)
        floor.look()
    assert floor.layers.breaches == [4, 0]


def test_few_slow_orders_say_nothing_of_a_percentile():
    floor = Floor()
    floor.orders(19, 90)
    assert floor.look() == []
    floor.orders(1, 90)
    assert len(floor.look()) == 1


def test_one_percent_over_is_within_the_99th_percentile():
    floor = Floor()
    floor.orders(198, 20)
    floor.orders(2, 90)
    assert floor.look() == []
    floor.orders(1, 90)
    assert len(floor.look()) == 1


def test_single_order_ten_times_over_is_alarmed_by_itself():
    floor = Floor()
    floor.orders(1, 501)
    (said,) = floor.look()
    assert said.startswith("strategy quick (L0): an order took 5")
    assert said.endswith("us in the last 10 s, its budget is 50 us")


def test_order_at_its_budget_is_within_it():
    floor = Floor()
    floor.orders(40, 50)
    floor.orders(1, 500, s=1)
    assert floor.look() == []


def test_each_strategy_has_its_own_window():
    floor = Floor()
    floor.orders(40, 20)
    floor.orders(40, 70, s=1)
    (said,) = floor.look()
    assert said.startswith("strategy slow (L0): p99 7")


def test_direct_paths_budget_is_not_judged_where_no_loop_sends():
    """Paper and shadow orders go over a gateway, whatever their strategy is made for."""
    floor = Floor(live=False)
    floor.orders(40, 900)
    assert floor.look() == []
    floor.ctx.strategies[:, c.S_LAYER] = 1
    assert len(floor.look()) == 1


def test_empty_windows_tell_zeros():
    floor = Floor()
    floor.look(30)
    told = floor.layers.told(floor.now, anew=True)
    assert told["strategies"][0]["window"] == {"count": 0, "p50": 0, "p99": 0, "most": 0}
    assert (told["histograms"], [row["layer"] for row in told["layers"]]) == ([], ["L0"])


def test_told_is_a_second_old_at_most_and_new_at_the_end():
    floor = Floor()
    first = floor.layers.told(5)
    floor.orders(1, 20)
    assert floor.layers.told(SECOND) is first
    assert floor.layers.told(SECOND, anew=True)["strategies"][0]["orders"] == 1


def test_layers_add_up_their_strategies():
    floor = Floor()
    floor.orders(3, 20)
    floor.orders(4, 30, s=1)
    floor.layers.called(1, 700)
    (row,) = floor.layers.told(1)["layers"]
    assert (row["strategies"], row["order"]["count"], row["strategy"]["count"]) == (2, 7, 1)
    assert row["order"]["most"] == 30_000


def test_coarse_counts_are_exact_at_their_edges():
    """What the metrics say is not rounded: every edge is one of the histogram's own."""
    assert [bucket_floor(hist_bucket(edge)) for edge in EDGES] == list(EDGES)
    floor = Floor()
    for took in (0, EDGES[0] - 1, EDGES[0], EDGES[5], EDGES[-1] - 1, EDGES[-1], (1 << 62)):
        hist_add(floor.layers.own[0, STAGE_STRATEGY], took)
    (row,) = floor.layers.told(1)["histograms"]
    counts = [int(n) for n in row["counts"].split()]
    assert (len(counts), sum(counts)) == (len(EDGES) + 1, 7)
    assert (counts[0], counts[1], counts[6], counts[-2], counts[-1]) == (2, 1, 1, 1, 2)
    assert floor.layers.told(1)["edges_ns"].split() == [str(edge) for edge in EDGES]


def test_look_beside_a_counting_loop_stays_sane():
    """The loop counts on while the main thread looks: no window may be negative or unreal."""
    floor, stop = Floor(), threading.Event()

    def count():
        while not stop.is_set():
            hist_add(floor.layers.loop[0, STAGE_ORDER], 20_000)

    loop = threading.Thread(target=count)
    loop.start()
    try:
        for k in range(200):
            told = floor.layers.told(k * SECOND, anew=True)
            window = told["strategies"][0]["window"]
            assert 0 <= window["p99"] <= 21_000
            assert floor.layers.alarms == []
    finally:
        stop.set()
        loop.join()


def test_maximum_of_both_writers_is_the_strategys():
    floor = Floor()
    hist_add(floor.layers.loop[0, STAGE_ORDER], 9)
    hist_add(floor.layers.own[0, STAGE_ORDER], 5_000)
    total = floor.layers.histogram(0, STAGE_ORDER)
    assert (total[COUNT], total[MOST], total[:BUCKETS].sum()) == (2, 5_000, 2)
    assert floor.layers.loop[0, STAGE_ORDER, COUNT] == 1, "a reader adds copies"


@pytest.mark.parametrize(
    ("ns", "said"),
    [
        (0, "0.0 us"),
        (9_940, "9.9 us"),
        (92_500, "92 us"),
        (2_000_000, "2000 us"),
        (1_156_988_160, "1156 ms"),
    ],
)
def test_micros_are_short(ns, said):
    assert made_of.micros(ns) == said


def test_canary_of_a_swap_is_not_counted_as_its_running_version(tmp_path):
    """Both are entered by the same function, and a canary shares the book's address."""
    bench = Measured(tmp_path, event=1)
    try:
        beside = Beside(bench.ctx, 0, bench.engine.strategies[0])
        bench.ctx.strategies[0, c.S_CANARY] = beside.address
        for _ in range(200):
            bench.arrive(bench.now)
            bench.step()
            bench.sent()
        assert beside.counts()["calls"] >= 200
        told = bench.told(STAGE_STRATEGY)["count"]
        assert 0 < told < beside.counts()["calls"] / 10, "twice as many where both are counted"
    finally:
        bench.close()
