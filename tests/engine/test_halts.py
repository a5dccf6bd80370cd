"""The main thread in a halt: cancels while it stands, resumes when it is lifted, at any time."""

from types import SimpleNamespace

import numpy as np
import pytest

from alephtx.core.clock import ManualClock
from alephtx.core.instruments import Instruments
from alephtx.engine import context as c
from alephtx.engine.halts import CANCEL_EVERY_NS, Halts
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import halt_set
from tests.engine.bench import Bench, instrument


@pytest.fixture
def session(tmp_path):
    geometry = Geometry(instruments_max=4, depth=4, ring_slots=64)
    matrix = Matrix.create(tmp_path / "m", Instruments([instrument("alpha")]), geometry)
    done = []
    yield SimpleNamespace(
        matrix=matrix, clock=ManualClock(), gateways=[], done=done, command=done.append,
        ctx=SimpleNamespace(control=np.zeros(c.CONTROL_WORDS, np.int64)),
        cancel_everything=lambda: done.append("cancel"), alarms=[],
        journal=SimpleNamespace(failure=""),
    )  # fmt: skip
    matrix.unlink()
    matrix.close()


def test_halt_cancels_once_a_second_until_it_is_lifted(session):
    halts = Halts(session)
    halts.obey()
    assert (session.done, halts.halted()) == ([], False)
    halt_set(session.matrix.map, 2)
    assert halts.halted()
    session.ctx.control[c.X_HALTED] = 1  # the loop has seen it
    for _ in range(3):
        halts.obey()
    assert session.done == ["cancel"]
    session.clock.advance(CANCEL_EVERY_NS)
    halts.obey()
    assert session.done == ["cancel", "cancel"]
    halt_set(session.matrix.map, 0)
    halts.obey()
    assert session.done[-1] == c.COMMAND_RESUME


def test_halt_that_is_lifted_while_the_engine_starts_is_lifted(session):
    """The loop had halted by it, and the main thread had not looked yet."""
    halt_set(session.matrix.map, 2)
    halts = Halts(session)
    session.ctx.control[c.X_HALTED] = 1
    halt_set(session.matrix.map, 0)
    halts.obey()
    assert session.done[0] == c.COMMAND_RESUME


def test_halt_of_the_engines_own_stops_orders_too(session):
    halts = Halts(session)
    session.ctx.control[c.X_HALTED] = 1
    assert halts.halted()
    halts.obey()
    assert session.done == ["cancel"]


def test_journal_that_failed_is_an_alarm_once(session):
    """The step denies new orders by itself; a person has to hear why."""
    halts = Halts(session)
    session.journal.failure = "no room for the next segment: No space left on device"
    for _ in range(2):
        halts.obey()
    (alarm,) = session.alarms
    assert alarm.startswith("no new orders: ")
    assert alarm.endswith("No space left on device")


@pytest.fixture
def engine(tmp_path):
    """A step, and a main thread that looks only when a test says so."""
    bench = Bench(tmp_path)
    done = []
    session = SimpleNamespace(
        matrix=bench.matrix, clock=ManualClock(), gateways=[], ctx=bench.ctx, done=done,
        command=lambda kind: (done.append(kind), bench.command(kind)), alarms=[],
        cancel_everything=lambda: done.append("cancel"), journal=SimpleNamespace(failure=""),
        bench=bench,
    )  # fmt: skip
    yield session
    bench.close()


def blink(bench, word=2):
    """Set the halt word, let the loop obey it, and lift it."""
    halt_set(bench.matrix.map, word)
    bench.step()
    halt_set(bench.matrix.map, 0)


@pytest.mark.kernel
def test_halt_that_is_lifted_between_two_looks_cancels_and_is_lifted(engine):
    halts, bench = Halts(engine), engine.bench
    halts.obey()
    blink(bench)
    assert bench.ctx.control[c.X_HALTED] == 1
    halts.obey()
    assert engine.done == [c.COMMAND_RESUME, "cancel"]
    bench.step()
    assert (bench.ctx.control[c.X_HALTED], halts.halted()) == (0, False)
    halts.obey()
    assert len(engine.done) == 2, "it is lifted once"
    blink(bench)  # within the second after the cancels, which is no reason to cancel nothing
    halts.obey()
    assert engine.done[2:] == [c.COMMAND_RESUME, "cancel"]


@pytest.mark.kernel
def test_halt_set_before_the_last_one_is_resumed_is_obeyed_and_lifted_in_its_turn(engine):
    """Even when the main thread sees neither of the two."""
    halts, bench = Halts(engine), engine.bench
    halts.obey()
    blink(bench)
    halts.obey()  # asks to resume
    blink(bench)  # before the loop hears of it; the loop's step finds both
    assert bench.ctx.control[c.X_HALTED] == 1, "a halt stood when it was asked to resume"
    halts.obey()
    bench.step()
    assert bench.ctx.control[c.X_HALTED] == 0
    halts.obey()
    assert engine.done.count(c.COMMAND_RESUME) == 2


@pytest.mark.kernel
def test_halt_that_stands_is_resumed_once_when_it_goes(engine):
    halts, bench = Halts(engine), engine.bench
    halt_set(bench.matrix.map, 2)
    bench.step()
    for _ in range(3):
        halts.obey()
        bench.step()
    assert engine.done == ["cancel"]
    halt_set(bench.matrix.map, 0)
    for _ in range(3):
        halts.obey()
        bench.step()
    assert engine.done == ["cancel", c.COMMAND_RESUME]
    assert bench.ctx.control[c.X_HALTED] == 0


@pytest.mark.kernel
def test_halt_of_the_engines_own_outlives_a_killers_that_came_and_went(engine):
    halts, bench = Halts(engine), engine.bench
    bench.command(c.COMMAND_HALT)
    bench.step()
    blink(bench)
    halts.obey()
    bench.step()
    assert (engine.done, bench.ctx.control[c.X_HALTED]) == (["cancel"], 1)
