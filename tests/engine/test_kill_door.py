"""The kill door: one request is one kill, however it came, and none is lost."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from alephtx.core.errors import ConfigError
from alephtx.engine import kill_door as door
from alephtx.engine.kill_words import KillReport
from alephtx.engine.outside import halts_of
from alephtx.engine.rundir import RunDirectory
from alephtx.execution.killing import AccountReport
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import halt_read, halt_set
from tests.engine.bench import instrument


@pytest.fixture
def run(tmp_path):
    made = RunDirectory.create(tmp_path / "runs", "n", "")
    made.claim()
    yield made
    made.release()


@pytest.fixture
def matrix(run, tmp_path):
    from alephtx.core.instruments import Instruments

    geometry = Geometry(instruments_max=4, depth=4, ring_slots=64)
    table = Instruments([instrument("alpha")])
    made = Matrix.create(tmp_path / "matrix", table, geometry, clock_offset_ns=0)
    owner = {"pid": os.getpid(), "matrix": str(made.path), "epoch": made.epoch, "mode": "live"}
    run.write_json(run.path / "supervisor.json", owner)
    yield made
    made.unlink()
    made.close()


def test_request_halts_at_once_and_is_kept_with_its_reason(run, matrix):
    request = door.ask(run, "a test", "api", flatten=True)
    assert halt_read(matrix.map) == door.HALT_KILLED
    assert [(n.action, n.reason) for n in halts_of(run)] == [("halt", "a test")]
    assert door.waits(run)
    assert door.take(run) == request
    assert not door.waits(run)


def test_halt_word_is_set_although_the_supervisor_is_gone(run, matrix):
    """An engine may have outlived it, hung, with orders open."""
    run.release()
    assert not run.alive
    door.ask(run, "a test")
    assert halt_read(matrix.map) == door.HALT_KILLED


def test_halt_word_of_another_run_that_has_the_matrix_now_is_left_alone(run, matrix):
    owner = {"pid": 1, "matrix": str(matrix.path), "epoch": matrix.epoch + 1, "mode": "live"}
    run.write_json(run.path / "supervisor.json", owner)
    assert not door.block(run)
    assert halt_read(matrix.map) == 0


def test_request_is_taken_by_one_of_many(run):
    for _ in range(20):
        door.ask(run, "a test")
    taken, start = [], threading.Barrier(4)

    def race():
        start.wait()
        while (request := door.take(run)) is not None:
            taken.append(request.id)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(taken) == len(set(taken)) == 20


def test_request_that_another_killer_took_first_is_passed_over(run, monkeypatch):
    first, second = door.ask(run, "a test"), door.ask(run, "a test")
    rename, lost = Path.rename, []

    def quicker(path, target):
        if not lost:
            lost.append(path)
            path.unlink()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", quicker)
    assert door.take(run).id == max(first.id, second.id)
    assert door.take(run) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"id": 3}', b"\xff\xfe", b"null"])
def test_request_that_cannot_be_read_is_a_request_all_the_same(run, body):
    place = door.folder(run)
    place.mkdir()
    (place / f"x{door.ASKED}").write_bytes(body)
    request = door.take(run)
    assert request.id == "x"
    assert "unreadable" in request.reason
    assert door.take(run) is None


def test_request_whose_taker_died_is_found_until_it_is_reported(run):
    request = door.ask(run, "a test")
    assert door.unfinished(run) == []
    assert door.take(run) == request
    assert door.unfinished(run) == [request]
    report = KillReport(run.id, request, confirmed=True)
    door.finish(run, report)
    assert door.unfinished(run) == []
    assert door.report_of(run, request.id) == report
    assert door.reports(run) == [report]


def test_notes_that_are_damaged_stop_no_kill(run, matrix):
    (run.path / "halts.json").write_text("{")
    request = door.ask(run, "a test")
    assert door.take(run) == request
    assert halt_read(matrix.map) == door.HALT_KILLED


def test_nobody_is_woken_where_nobody_stands_by(run):
    assert not door.wake(run)


# -- kill files ----------------------------------------------------------------------------


@pytest.mark.parametrize("whose", [0, 1])
def test_kill_file_asks_once_for_each_time_it_is_laid(run, matrix, whose):
    file = door.kill_files(run)[whose]
    assert not door.heed_files(run)
    for times in (1, 2):
        file.touch()
        os.utime(file, ns=(times, times))
        assert door.heed_files(run)
        assert door.heed_files(run)
        assert halt_read(matrix.map) == door.HALT_KILLED
        request = door.take(run)
        assert (request.by, str(file) in request.reason) == ("file", True)
        assert door.take(run) is None
        assert len(halts_of(run)) == times


def test_halt_is_not_lifted_while_a_kill_file_lies(run, matrix):
    file = door.kill_files(run)[1]
    file.touch()
    door.heed_files(run)
    with pytest.raises(ConfigError, match="remove it first"):
        door.resume(run, "a test")
    assert halt_read(matrix.map) == door.HALT_KILLED
    file.unlink()
    door.resume(run, "a test")
    assert halt_read(matrix.map) == 0
    assert [note.action for note in halts_of(run)] == ["halt", "resume"]


def test_flattened_run_is_not_resumed(run, matrix):
    """Its strategies believe in positions that are gone."""
    request = door.ask(run, "a test", flatten=True)
    account = AccountReport("a", "alpha")
    door.finish(run, KillReport(run.id, request, flat=True, accounts=[account]))
    later = door.ask(run, "another kill forgets nothing")
    door.finish(run, KillReport(run.id, later, accounts=[account]))
    with pytest.raises(ConfigError, match="--fresh"):
        door.resume(run, "a test")
    assert halt_read(matrix.map) == door.HALT_KILLED


def test_run_that_does_not_go_is_not_resumed(run, matrix):
    halt_set(matrix.map, door.HALT_KILLED)
    run.release()
    with pytest.raises(ConfigError, match="does not go"):
        door.resume(run, "a test")


def test_halt_words_stand_for_a_halt_and_are_told_apart():
    """They lie in shared memory, where another version may read them; 0 is no halt."""
    assert (door.HALT_STOPPING, door.HALT_KILLED) == (1, 2)


def test_door_is_open_to_nobody_else(run, matrix):
    door.ask(run, "a test")
    assert door.folder(run).stat().st_mode & 0o777 == 0o700
    for path in door.folder(run).iterdir():
        path.unlink()
    door.folder(run).rmdir()
    request = door.ask(run, "a test")
    door.finish(run, KillReport("n", request))
    assert door.folder(run).stat().st_mode & 0o777 == 0o700


def test_nobody_at_the_door_is_told_as_such(run, matrix, monkeypatch):
    monkeypatch.setattr(door, "_start_killer", lambda run: None)
    report = door.kill(run, "a test", wait_s=0.1)
    assert (report.halted, report.confirmed, report.live_orders) == (True, False, -1)
    assert "orders may be open" in report.said


def test_kill_closes_no_position_and_tries_for_half_a_minute_unless_told_otherwise(
    run, matrix, monkeypatch
):
    monkeypatch.setattr(door, "wait", lambda run, request: KillReport(run.id, request))
    for request in (
        door.ask(run, "a test"),
        door.kill(run, "a test").request,
        *(report.request for report in door.kill_all([run, run], "a test")),
    ):
        told = (request.reason, request.by, request.flatten, request.wait_s)
        assert told == ("a test", "api", False, 30.0)
        assert door._read(run, door.folder(run) / f"{request.id}{door.ASKED}") == request
    (report,) = door.kill_all([run], "now", "cli", flatten=True, wait_s=2.0)
    told = report.request
    assert (told.reason, told.by, told.flatten, told.wait_s) == ("now", "cli", True, 2.0)


def test_killer_that_cannot_be_started_is_told_with_its_last_words(run, matrix, monkeypatch):
    started = []

    def start(run):
        started.append(door.MachineClock().monotonic())
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(door, "_start_killer", start)
    log = run.logs / "killer.log"
    log.write_text("an old line\n2026-01-01T00:00:00Z error cannot_stand_by " + "x" * 400 + "\n\n")
    report = door.kill(run, "a test")
    words = "no killer could be started: error cannot_stand_by " + "x" * 278
    assert report.said == f"{words}; orders may be open"
    assert (report.halted, report.confirmed) == (True, False)
    (moment,) = started
    assert moment - report.request.asked_ns > door.TAKE_NS
    assert door.waits(run)
    log.write_text("")
    assert door._last_words(run) == "no killer could be started: "


def test_what_a_killer_that_never_came_leaves_unsaid(run, matrix):
    request = door.ask(run, "a test")
    assert "by its engine's last word" not in door._unreported(run, request, "nobody").said
    run.write_json(run.status, {"ts": 1, "halted": False, "accounts": []})
    told = door._unreported(run, request, "nobody")
    assert (told.halted, told.live_orders) == (True, -1)
    assert "0 orders may be open by its engine's last word" in told.said
    halt_set(matrix.map, 0)
    assert "somebody lifted it" in door._unreported(run, request, "nobody").said
    run.write_json(run.summary, {"left_open": [7, 8]})
    assert door._unreported(run, request, "nobody").live_orders == 2
    run.status.write_bytes(b"{")
    assert "damaged" in door._unreported(run, request, "nobody").said
    run.write_json(run.path / "supervisor.json", {"pid": 1, "matrix": "/no/such"})
    assert "not halted: there is no matrix" in door._unreported(run, request, "nobody").said


def test_ended_run_has_nothing_to_kill_unless_it_left_orders(run):
    assert not door.ended(run)
    run.write_json(run.summary, {"left_open": []})
    assert not door.ended(run), "somebody still runs it"
    run.release()
    assert door.ended(run)
    run.write_json(run.summary, {"left_open": [7]})
    assert not door.ended(run)


def test_helper_that_goes_on_is_left_alone(run, matrix, monkeypatch):
    """It reported, and still lets its connections go."""
    monkeypatch.setattr(door, "REPORT_NS", 50_000_000)
    monkeypatch.setattr(door, "TAKE_NS", 0)
    processes = []

    def slow(run):
        processes.append(
            subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(30)"])
        )
        door.finish(run, KillReport(run.id, door.take(run), confirmed=True))
        return processes[0]

    monkeypatch.setattr(door, "_start_killer", slow)
    assert door.kill(run, "a test", wait_s=5).confirmed
    (helper,) = processes
    assert helper.poll() is None
    helper.kill()
    helper.wait()


def test_request_that_vanished_is_one_all_the_same(run):
    assert "unreadable" in door._read(run, door.folder(run) / f"x{door.TAKEN}").reason


def test_helper_outlives_whoever_started_it(run, matrix):
    """It is in a session of its own: a Ctrl-C at the CLI does not reach it."""
    run.config.write_text("nonsense = ")
    run.save_instruments(matrix.instruments)
    door.ask(run, "a test")
    helper = door._start_killer(run)
    assert os.getsid(helper.pid) == helper.pid
    assert helper.wait(30) == 2, "its config cannot be used"
    assert "killer_cannot_stand_by" in (run.logs / "killer.log").read_text()


def test_report_reads_back_as_json(run):
    request = door.ask(run, "a test")
    door.finish(run, KillReport(run.id, request, accounts=[AccountReport("a", "alpha")]))
    told = json.loads((door.folder(run) / f"{request.id}{door.REPORT}").read_bytes())
    (account,) = told.pop("accounts")
    assert account == {
        "account": "a", "venue": "alpha", "cancels": 0, "requests": 0, "sent_ns": 0,
        "confirmed_ns": 0, "open": [], "unproven": 0, "confirmed": False, "flat": None,
        "positions": {}, "error": "",
    }  # fmt: skip
    assert told.pop("request")["by"] == "api"
    assert told == {
        "run": run.id, "halted": False, "confirmed": False, "flat": None, "live_orders": -1,
        "last_cancel_ns": 0, "took_ns": 0, "engine": "", "said": "",
    }  # fmt: skip
