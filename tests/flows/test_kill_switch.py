"""The kill switch over real processes: by file, by signal, with the engine hung and nobody left."""

import os
import signal
import subprocess
import sys
import time
from itertools import groupby

import pytest

from alephtx import cli
from alephtx.engine import kill_door
from alephtx.engine.outside import halts_of
from tests.flows.river import environment, is_ours, until

pytestmark = pytest.mark.flow


def open_orders(twins):
    """Return what is open at any twin."""
    return [
        order
        for venue in twins.venues
        for owner in twins.ask(venue, "account").values()
        for order in owner["open_orders"]
    ]


def positions(twins):
    """Return the open contract positions at the twins."""
    return {
        (venue, symbol): position["qty"]
        for venue in twins.venues
        for owner in twins.ask(venue, "account").values()
        for symbol, position in owner.get("positions", {}).items()
        if float(position["qty"])
    }


def kill(river, *words):
    """Run `alephtx kill`; returns (exit code, what it said)."""
    done = subprocess.run(
        [sys.executable, "-m", "alephtx.cli", "kill", "--runs", str(river.runs), *words],
        capture_output=True, text=True, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def reported(life, by):
    """Wait for the report of a kill that came that way."""

    def found():
        found = kill_door.reports(life.run)
        return found[-1] if found and found[-1].request.by == by else None

    return until(found, 40, f"a report of a kill by {by}")


def test_kill_file_and_signal_stop_everything_and_a_person_lifts_it(river, twins):
    life = river.start()
    life.trading(15, 5)
    file = life.run.path / "KILL"
    file.touch()
    report = reported(life, "file")
    assert report.confirmed, report
    assert open_orders(twins) == []
    assert {account.venue for account in report.accounts} == set(twins.venues)
    stood = twins.accepted()
    code, said = kill(river, "--resume")
    assert (code, "remove it first" in said) == (cli.CONFIG, True)
    time.sleep(1.0)
    assert twins.accepted() == stood, "nothing is placed while it stands"

    file.unlink()
    code, said = kill(river, "--resume")
    assert code == cli.OK, said
    until(lambda: twins.accepted() > stood, 20, "it trades again")

    life.process.send_signal(signal.SIGUSR1)
    report = reported(life, "signal")
    assert report.confirmed, report
    assert open_orders(twins) == []
    code, summary = life.end()
    assert (code, summary["reconciled"]) == (cli.RISK, True)
    # Supervisor and killer both look for the file, and both may have seen it.
    actions = [action for action, _ in groupby(note.action for note in halts_of(life.run))]
    assert actions == ["halt", "resume", "halt"]


def test_engine_hung_and_supervisor_dead_the_killer_still_cancels(river, twins):
    """Nobody is left but the killer; and what the engine had in hand is not sent when it wakes."""
    life = river.start()
    life.trading(15, 5)
    engine, killer = life.pid("engine"), life.pid("killer")
    os.kill(engine, signal.SIGSTOP)
    life.process.kill()
    life.process.wait()
    assert is_ours(killer)
    code, said = kill(river, "--wait", "20")
    assert code == cli.OK, said
    assert open_orders(twins) == []
    stood = twins.accepted()
    until(lambda: not is_ours(engine), 20, "the hung engine is ended")
    until(lambda: not is_ours(killer), 20, "the killer ends with it")
    assert twins.accepted() == stood
    report = kill_door.reports(life.run)[-1]
    assert report.halted, "the matrix outlives its supervisor"
    assert report.engine == "is not there"


def test_engine_that_wakes_after_a_kill_sends_nothing(river, twins):
    life = river.start()
    life.trading(15, 5)
    engine = life.pid("engine")
    os.kill(engine, signal.SIGSTOP)
    kill_door.block(life.run)
    time.sleep(0.2)  # what was on its way has arrived
    stood = twins.accepted()
    os.kill(engine, signal.SIGCONT)
    until(lambda: open_orders(twins) == [], 20, "it cancels by itself")
    time.sleep(0.5)
    assert twins.accepted() == stood
    _, summary = life.end()
    assert summary["reconciled"], summary


def test_flatten_closes_what_strategies_hold_and_the_run_stays_down(river, twins):
    life = river.start()
    life.trading(30, 20)
    until(lambda: positions(twins), 20, "contracts are held")
    code, said = kill(river, "--flatten", "--reason", "a test")
    assert code == cli.OK, said
    assert positions(twins) == {}
    assert open_orders(twins) == []
    assert "positions are closed" in said
    code, said = kill(river, "--resume")
    assert (code, "--fresh" in said) == (cli.CONFIG, True)
    code, summary = life.end()
    assert (code, summary["reconciled"]) == (cli.RISK, True), summary
