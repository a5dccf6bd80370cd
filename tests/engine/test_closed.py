"""What waits for a person outlives the engine that found it."""

import pytest

from alephtx.engine import closed
from alephtx.engine.rundir import RunDirectory
from alephtx.execution.standing import DIFFERENT, FORCED, FOREIGN
from tests.execution.toy import World


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path, "test", "")


def engine(run):
    """A gateway of the run's next engine, and its reasons."""
    gateway = World(exclusive=True).gateway
    closed.keep(run, gateway)
    return gateway.standing


def test_account_closed_for_a_person_is_closed_after_a_restart_until_it_is_lifted(run):
    first = engine(run)
    first.block(FOREIGN, "order 9")
    first.block(FORCED, "order 10")
    first.block(DIFFERENT, "5 USDT")
    second = engine(run)
    assert second.reasons == {FOREIGN: "order 9", FORCED: "order 10"}
    second.lift(FORCED)
    assert engine(run).reasons == {FOREIGN: "order 9"}
    second.lift(FOREIGN)
    assert not engine(run).blocked


def test_accounts_of_a_run_are_closed_each_for_itself(run):
    engine(run).block(FOREIGN, "order 9")
    other = World(exclusive=True).gateway
    other.account = 1
    closed.keep(run, other)
    assert not other.standing.blocked


def test_what_cannot_be_written_stands_all_the_same(run):
    standing = engine(run)
    (run.path / "closed-0.json").mkdir()
    standing.block(FOREIGN, "order 9")
    assert standing.blocked
