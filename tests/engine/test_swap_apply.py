"""A canary beside a strategy and the switch between two events, on a real engine by hand."""

import numpy as np
import pytest

from alephtx.core.errors import PluginError
from alephtx.core.histogram import COUNT
from alephtx.engine import context as c
from alephtx.engine.swap_apply import APPLIED, NOT_KEPT, NOT_MIGRATED
from alephtx.engine.swap_canary import OWN, REFRESHED, Beside
from alephtx.engine.swap_load import transfer_of
from alephtx.matrix.journal import COMMAND, read
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from tests.engine import swapping as s
from tests.engine.swapping import Swapping

pytestmark = pytest.mark.kernel

BID, ASK = 6_000_000, 6_000_100


@pytest.fixture
def bench(tmp_path):
    made = Swapping(tmp_path)
    yield made
    made.close()


def gate_of(bench):
    return {name: getattr(bench.ctx.gate, name).copy() for name in (*REFRESHED, *OWN)}


def tops(bench, count):
    for k in range(count):
        bench.top(BID - k, ASK)
        bench.step()


def test_a_canary_sees_the_same_and_nothing_of_it_gets_out(bench):
    """Orders, journal, gate and counters are those of the running version alone."""
    tops(bench, 1)
    beside, outcome = bench.canary(bench.load(s.DOUBLE))
    assert outcome == APPLIED
    tops(bench, 3)
    assert (bench.state["tops"], bench.trial.state[0]["tops"]) == (4, 7)
    counts = beside.counts()
    # The fourth order is the last that both see room for: live_max is 4.
    assert (counts["calls"], counts["intents"], counts["denied"]) == (3, 3, 0)
    assert len(bench.sent()) == 4
    assert bench.ctx.counters[c.C_INTENTS] == bench.ctx.strategies[0, c.S_INTENTS] == 4
    kinds = [record.kind for record in read(bench.folder / "journal")]
    assert kinds.count(INTENT_RECORD) == 4
    assert COMMAND not in kinds


def test_a_canary_asks_a_gate_of_its_own(bench):
    """Nothing that it is denied or allowed is remembered by the gate that counts."""
    beside, _ = bench.canary(bench.load(s.GREEDY))
    bench.ctx.gate.open_orders_max[:] = 0  # the running version is denied before it pays
    before = gate_of(bench)
    bench.ctx.gate.open_orders_max[:] = 100
    bench.ctx.strategies[0, c.S_ON_EVENT], running = 0, bench.ctx.strategies[0, c.S_ON_EVENT]
    tops(bench, 30)
    assert beside.counts()["intents"] == beside.counts()["denied"] == 30
    for name, array in gate_of(bench).items():
        assert np.array_equal(array, before[name]), name
    assert bench.sent() == []
    bench.ctx.strategies[0, c.S_ON_EVENT] = running


@pytest.mark.parametrize("text", [s.FAILING, s.WILD])
def test_a_canary_that_fails_is_counted_and_disturbs_nobody(bench, text):
    beside, _ = bench.canary(bench.load(text))
    tops(bench, 2)
    assert beside.counts()["errors"] == 2
    assert bench.ctx.counters[c.C_STRATEGY_ERRORS] == bench.ctx.strategies[0, c.S_ERRORS] == 0
    assert len(bench.sent()) == 2


def test_calls_are_timed_only_where_the_clock_may_be_read(bench):
    beside, _ = bench.canary(bench.load(s.DOUBLE))
    tops(bench, 1)
    assert beside.times[COUNT] == 0
    bench.ctx.control[c.X_MEASURE] = 1
    tops(bench, 1)
    assert beside.times[COUNT] == 1


def test_the_switch_hands_state_over_between_two_events(bench):
    """The new version goes on where the old one was; on_start is not called again."""
    tops(bench, 2)
    assert bench.exchange(bench.load(s.DOUBLE), b'{"kind":"swap"}') == APPLIED
    tops(bench, 1)
    assert bench.running.state[0]["tops"] == 4
    assert bench.running.state[0]["started"] == 0
    assert bench.state["tops"] == 4
    (record,) = [r for r in read(bench.folder / "journal") if r.kind == COMMAND]
    assert bytes(record.payload) == b'{"kind":"swap"}'
    assert record.input_seq == bench.ctx.control[c.X_INPUT_SEQ] - 1


def test_a_watch_times_the_version_that_runs(bench):
    watch = Beside(bench.ctx, 0, None)
    bench.ctx.strategies[0, c.S_CANARY] = watch.address
    bench.ctx.control[c.X_MEASURE] = 1
    tops(bench, 2)
    assert watch.times[COUNT] == 2
    assert len(bench.sent()) == 2


def test_the_errors_of_a_version_are_its_own(bench):
    bench.exchange(bench.load(s.FAILING))
    tops(bench, 3)
    assert bench.ctx.strategies[0, c.S_ERRORS] == 3


def test_a_state_of_another_kind_is_migrated(bench):
    tops(bench, 2)
    new = bench.load(s.OTHER_STATE)
    assert new.state.nbytes == 17
    assert bench.exchange(new) == APPLIED
    tops(bench, 1)
    assert (new.state[0]["seen"], new.state[0]["tops"]) == (2, 3)


def test_a_migration_that_refuses_changes_nothing(bench):
    tops(bench, 1)
    bench.running.state[0]["tops"] = 2000
    assert bench.exchange(bench.load(s.OTHER_STATE)) == NOT_MIGRATED
    tops(bench, 1)
    assert bench.state["tops"] == 2001
    assert COMMAND not in [r.kind for r in read(bench.folder / "journal")]


def test_a_state_that_nobody_migrates_is_refused_by_its_fields(bench):
    with pytest.raises(PluginError, match=r"seen.*no migrate"):
        transfer_of(bench.running, bench.load(s.UNMIGRATED))


def test_what_the_journal_does_not_take_does_not_happen(bench):
    tops(bench, 1)
    new = bench.load(s.DOUBLE)
    assert bench.exchange(new, b"x" * (9 << 20)) == NOT_KEPT  # larger than a segment
    assert bench.running is not new
    assert bench.ctx.strategies[0, c.S_ON_EVENT] == bench.running.entries.on_event
