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
from tests.engine.bench import instrument


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
