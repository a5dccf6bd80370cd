"""The supervisor over real processes: what dies is started again, what is unfit ends the run."""

import asyncio
import os
import signal
import sys

import msgspec
import pytest

from alephtx.core.config_schema import Account, Config, MatrixConfig, Node, Risk, VenueConfig
from alephtx.core.errors import AlephError
from alephtx.core.instruments import Instruments
from alephtx.engine import supervisor as s
from alephtx.engine.guard import end_with_parent
from alephtx.engine.outside import HaltNote
from alephtx.engine.run import sample, worst_latency
from alephtx.engine.rundir import RunDirectory
from alephtx.matrix.writers import halt_read
from tests.engine.bench import instrument

SLEEP = "import time; time.sleep(60)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(60)"
)


class Crew(s.Supervisor):
    """A supervisor whose children are small programs: (name, kind, program)."""

    programs: tuple[tuple[str, str, str], ...] = ()

    def plan(self):
        logs = self.run_directory.logs
        return [
            s.Child(name, kind, [sys.executable, "-S", "-c", program], logs / f"{kind}.log")
            for name, kind, program in self.programs
        ]


@pytest.fixture
async def crew(tmp_path):
    config = Config(
        node=Node(name="n", runs=str(tmp_path / "runs")),
        matrix=MatrixConfig(path=str(tmp_path / "matrix"), depth=4, ring_slots=64),
        venues={"alpha": VenueConfig(symbols=("BTCUSDT",))},
        accounts={"a": Account(venue="alpha")},
        risk=Risk(),
    )
    run = RunDirectory.create(tmp_path / "runs", "n", config.dump())
    made = Crew(config, run, Instruments([instrument("alpha")]))
    yield made
    made.force()
    await made.stop()
    run.release()


async def until(condition, seconds=20):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def watching(crew, *programs):
    crew.programs = programs
    await crew.start()
    return asyncio.ensure_future(crew.watch())


async def test_plan_is_a_feeder_per_venue_one_engine_and_its_killer(crew):
    crew.open_matrix()
    children = s.Supervisor.plan(crew)
    assert [child.name for child in children] == ["feeder:alpha", "engine", "killer"]
    assert {child.command[-1] for child in children} == {str(os.getpid())}
    crew.trading = False
    assert [child.kind for child in s.Supervisor.plan(crew)] == ["feeder"]
    assert crew.mode == "feed"


async def test_venue_fed_by_the_engine_has_a_feeder_of_its_own_only_where_there_is_no_engine(crew):
    crew.open_matrix()
    venues = {"alpha": VenueConfig(symbols=("BTCUSDT",), feeder="engine")}
    crew.config = msgspec.structs.replace(crew.config, venues=venues)
    assert [child.kind for child in s.Supervisor.plan(crew)] == ["engine", "killer"]
    crew.trading = False
    assert [child.name for child in s.Supervisor.plan(crew)] == ["feeder:alpha"]


@pytest.mark.parametrize(
    ("actions", "word"),
    [(["halt"], s.HALT_KILLED), (["halt", "resume"], 0), (["resume", "halt"], s.HALT_KILLED)],
)
async def test_run_that_was_killed_begins_halted_until_a_person_lifts_it(crew, actions, word):
    """A new life has a new matrix; the kill must not be lost with the old one."""
    notes = [HaltNote(ts=k, action=action, reason="a test") for k, action in enumerate(actions)]
    crew.run_directory.write_json(crew.run_directory.path / "halts.json", notes)
    crew.open_matrix()
    assert halt_read(crew.matrix.map) == word


async def test_start_claims_the_run_and_says_what_runs(crew):
    await watching(crew, ("feeder:alpha", "feeder", SLEEP))
    assert crew.run_directory.alive
    written = crew.run_directory.read_json(crew.run_directory.path / "supervisor.json")
    assert (written["pid"], written["node"], written["mode"]) == (os.getpid(), "n", "paper")
    (state,) = crew.run_directory.read_json(crew.run_directory.path / "processes.json")
    assert state["pid"] == crew.children[0].pid > 0


async def test_killed_child_is_started_again_as_another_process(crew):
    heard = []
    crew.on_child_died = lambda name, code: heard.append((name, code))
    task = await watching(crew, ("feeder:alpha", "feeder", SLEEP))
    (child,) = crew.children
    first = child.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in (0, first))
    assert heard == [("feeder:alpha", -signal.SIGKILL)]
    assert child.restarts == 1
    await crew.stop()
    await task
    assert child.pid == 0


@pytest.mark.parametrize(("kind", "code"), [("engine", 2), ("engine", 3), ("feeder", 2)])
async def test_child_that_is_unfit_ends_the_run_with_its_last_words(crew, kind, code):
    program = f"import sys; print('2026-01-01T00:00:00Z no such key', flush=True); sys.exit({code})"
    task = await watching(crew, (kind, kind, program))
    await asyncio.wait_for(task, 20)
    assert crew.unfit
    with pytest.raises(AlephError, match="cannot start: no such key"):
        crew.check()


async def test_child_that_dies_again_and_again_is_given_up(crew, monkeypatch):
    monkeypatch.setattr(s, "RESTARTS_MAX", 2)
    task = await watching(crew, ("feeder:alpha", "feeder", "raise SystemExit(7)"))
    await asyncio.wait_for(task, 20)
    assert "died 3 times in a row" in crew.failure
    assert not crew.unfit


async def test_child_that_held_for_long_starts_with_a_clean_slate(crew, monkeypatch):
    monkeypatch.setattr(s, "STEADY_NS", 0)
    crew.programs = (("feeder:alpha", "feeder", "pass"),)
    await crew.start()
    (child,) = crew.children
    await child.process.wait()
    child.tries, child.pause_ns = 19, 5_000_000_000
    crew._note_death(child)
    assert (child.tries, child.pause_ns, crew.failure) == (1, 100_000_000, "")


async def test_engine_that_ends_on_purpose_ends_the_watch(crew):
    task = await watching(
        crew, ("engine", "engine", "pass"), ("feeder:alpha", "feeder", SLEEP)
    )  # fmt: skip
    await asyncio.wait_for(task, 20)
    assert crew.failure == ""
    crew.check()


async def test_halt_reaches_the_word_the_gate_reads_and_a_kill_stands(crew):
    crew.open_matrix()
    crew.halt()
    assert halt_read(crew.matrix.map) == s.HALT_STOPPING
    crew.halt(s.HALT_KILLED)
    crew.halt()
    assert halt_read(crew.matrix.map) == s.HALT_KILLED
    assert crew.killed


async def test_child_deaf_to_sigterm_is_killed_after_its_time(crew, monkeypatch):
    monkeypatch.setattr(s, "STOP_SECONDS", {"engine": 0.2, "feeder": 0.2})
    await watching(crew, ("engine", "engine", DEAF))
    (child,) = crew.children
    await until(lambda: child.last_words() == "deaf")
    await crew.stop_children()
    assert child.exit_code == -signal.SIGKILL


async def test_engine_that_fell_at_the_stop_gets_one_more_life(crew):
    """It had traded and did not say that it ended in order: orders may be open."""
    path = crew.run_directory.path / "settled"
    program = f"import pathlib, time; pathlib.Path({str(path)!r}).touch(); time.sleep(60)"
    await watching(crew, ("engine", "engine", program))
    await until(path.exists)
    await crew.stop_children()
    path.unlink()
    await crew.settle()
    assert not path.exists(), "it never traded: there is nothing to settle"
    crew.run_directory.write_json(crew.run_directory.status, {})
    settling = asyncio.ensure_future(crew.settle())
    await until(path.exists)
    assert halt_read(crew.matrix.map) == s.HALT_STOPPING
    os.utime(crew.run_directory.status, ns=(1, 1))
    await asyncio.wait_for(settling, 20)
    assert crew.children[0].pid == 0
    path.unlink()
    crew.run_directory.write_json(crew.run_directory.path / "engine.json", {"reconciled": True})
    await crew.settle()
    assert not path.exists(), "it ended in order"


async def test_child_that_said_nothing_and_one_that_never_ran(crew):
    child = s.Child("x", "feeder", [], crew.run_directory.logs / "x.log")
    child.log_path.write_bytes(b"\n \n")
    assert child.last_words() == "it said nothing"
    assert await child.stop(1) == 0
    assert child.pid == 0


async def test_child_ends_with_its_parent():
    stop = asyncio.Event()
    task = end_with_parent(stop, os.getppid())
    await asyncio.sleep(0.01)
    assert not stop.is_set()
    task.cancel()
    orphaned = end_with_parent(stop, os.getppid() + 1)
    await asyncio.wait_for(stop.wait(), 5)
    await orphaned


def test_sample_keeps_what_the_report_plots():
    books = [
        {"key": "a", "mid": 1.5, "bid": "1", "ask": "2", "state": "ok"},
        {"key": "b", "mid": None, "bid": "-", "ask": "-", "state": "stale"},
    ]
    kept = sample(5, {"realized": {"USDT": "1"}}, books)
    assert (kept["ts"], kept["mids"], kept["tops"]) == (5, {"a": 1.5}, {"a": ["1", "2"]})
    assert (kept["realized"], kept["positions"]) == ({"USDT": "1"}, {})


def test_latency_of_several_feeders_is_the_worst_ones():
    def feeder(p50, p99, most, count):
        named = {"p50": p50, "p99": p99, "most": most, "count": count}
        return {f"wire_to_matrix_{name}": value for name, value in named.items()}

    assert worst_latency({}) == {"p50": 0, "p99": 0, "most": 0, "count": 0}
    found = worst_latency({"a": feeder(1, 9, 10, 5), "b": feeder(2, 3, 20, 7)})
    assert found == {"p50": 2, "p99": 9, "most": 20, "count": 12}
