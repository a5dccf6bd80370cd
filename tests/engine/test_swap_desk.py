"""The swap desk over an engine on a table: every reason and refusal, without processes."""

import asyncio
import contextlib
import json
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from alephtx.core.clock import MachineClock
from alephtx.core.errors import ConfigError, JournalError, PluginError
from alephtx.engine import context as c
from alephtx.engine import swap_apply, swap_desk, swap_door
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.swap_beside import Checked
from alephtx.engine.swap_desk import SwapDesk
from alephtx.matrix.journal import COMMAND, read
from tests.engine import swapping as s
from tests.engine.bench import Bench

pytestmark = pytest.mark.kernel

SECONDS = 20


class NoPython(SimpleNamespace):
    """An engine without plain Python strategies."""

    def __bool__(self):
        return False


class Session:
    """What the desk takes of an engine's session, over a bench that a task steps."""

    def __init__(self, folder, *, run=None):
        self.bench = Bench(folder)
        self.config, self.instruments = self.bench.config, self.bench.instruments
        self.engine, self.matrix = self.bench.engine, self.bench.matrix
        self.run_directory = run or RunDirectory.create(folder / "runs", "node", "")
        self.python, self.clock = NoPython(beside={}), MachineClock()
        self.alarms, self.tasks = [], []
        self.desk = SwapDesk(self, self.spawn)
        self.records = self.desk.begin()
        self.quiet = False

    def spawn(self, work):
        self.tasks.append(asyncio.ensure_future(work))

    async def go_on(self):
        """Be the loop and the main thread's rounds."""
        k = 0
        while True:
            k += 1
            if not self.quiet:
                self.bench.top(6_000_000 - k % 50, 6_000_100)
            self.bench.step()
            self.bench.sent()
            self.desk.poll()
            await asyncio.sleep(0.0005)

    def ask(self, text, **more):
        file = self.bench.folder / f"v{len(text)}.py"
        file.write_text(text)
        given = {"canary_s": 0.05, "watch_s": 0.05, "denied_max": 0.5, **more}
        return swap_door.ask(
            self.run_directory, given.pop("name", "quoter"), str(file), self.clock, by="t", **given
        )

    async def outcome(self, request):
        while True:
            told = swap_door.told_of(self.run_directory, request)
            if told is not None and told.outcome:
                return told
            await asyncio.sleep(0.005)

    def play(self, *scenes):
        """Run the engine while scenes, one after the other, say what they wait for."""

        async def all_of_it():
            going = asyncio.ensure_future(self.go_on())
            try:
                return [await asyncio.wait_for(scene(), SECONDS) for scene in scenes]
            finally:
                going.cancel()
                for task in [going, *self.tasks]:
                    with contextlib.suppress(asyncio.CancelledError):
                        task.cancel()
                        await task

        return asyncio.run(all_of_it())

    def swap(self, text, **more):
        """Swap; what came of it."""
        (told,) = self.play(lambda: self.outcome(self.ask(text, **more)))
        return told

    @property
    def stages(self):
        told = [json.loads(bytes(r.payload)) for r in read(self.bench.folder / "journal")
                if r.kind == COMMAND]  # fmt: skip
        return [(one["stage"], one["number"]) for one in told]


@pytest.fixture
def session(tmp_path, monkeypatch):
    async def checked(*given):
        return Checked()

    monkeypatch.setattr(swap_desk, "check_beside", checked)
    monkeypatch.setattr(swap_desk, "POLL_NS", 0)
    # As plain Python, on a busy machine, a call may well take that long.
    monkeypatch.setattr(swap_apply, "CALL_NS_MAX", 10**11)
    made = Session(tmp_path)
    made.bench.ctx.control[c.X_MEASURE] = 1
    yield made
    made.bench.close()


def test_a_version_goes_in_with_the_state_and_is_in_force(session):
    told = session.swap(s.DOUBLE)
    assert told.outcome == "swapped", told
    assert [x.stage for x in told.stages] == [
        "asked", "checking", "compiled", "loaded", "canary", "tried", "switched", "watch",
        "watched", "in force",
    ]  # fmt: skip
    assert session.stages == [("switch", 1), ("kept", 1)]
    row = session.bench.ctx.strategies[0]
    assert row[c.S_CANARY] == 0
    (shown,) = session.desk.told()
    assert (shown["number"], shown["swaps"], shown["stage"]) == (1, 1, "")
    book = swap_door.read_book(session.run_directory)
    assert book.strategies[0].proven.number == 1
    kept = session.desk.paths.version("quoter", 1)
    assert kept.read_text() == s.DOUBLE
    assert kept.stat().st_mode & 0o777 == 0o600
    used = swap_door.in_force(session.config, session.run_directory)
    assert used.strategies["quoter"].use == str(kept)


@pytest.mark.parametrize(
    ("text", "why"), [(s.FAILING, "error code"), (s.GREEDY, "the gate denies too much")]
)
@pytest.mark.parametrize("canary_s", [0, 5], ids=["watched", "in its canary"])
def test_what_speaks_against_a_version_refuses_it_or_brings_the_old_one_back(
    session, text, why, canary_s
):
    old = session.engine.strategies[0]
    told = session.swap(text, canary_s=canary_s, watch_s=5)
    assert told.outcome == ("refused" if canary_s else "rolled_back")
    assert why in told.why
    assert session.engine.strategies[0] is old
    row = session.bench.ctx.strategies[0]
    assert row[c.S_ON_EVENT] == old.entries.on_event
    assert row[c.S_CANARY] == 0
    assert session.stages == ([] if canary_s else [("switch", 1), ("back", 0)])
    assert len(session.alarms) == (0 if canary_s else 1)
    tops = old.state[0]["tops"]
    session.play(lambda: asyncio.sleep(0.05))
    assert old.state[0]["tops"] > tops
    assert swap_door.read_book(session.run_directory).strategies[0].running.number == 0


@pytest.mark.parametrize("canary_s", [0, 5], ids=["watched", "in its canary"])
def test_a_version_that_breaks_the_budget_is_not_kept(session, canary_s):
    session.bench.ctx.strategies[0, c.S_BUDGET_NS] = 1
    told = session.swap(s.DOUBLE, canary_s=canary_s, watch_s=5)
    assert told.outcome == ("refused" if canary_s else "rolled_back")
    assert "breaks its budget: p99" in told.why


def test_state_of_another_kind_is_migrated_and_comes_back_as_it_was(session):
    old = session.engine.strategies[0]
    text = s.sparse(s.changed((s.STATE, s.WIDER), (s.TOP, s.TOP + "    return -1\n")))
    old.state[0]["tops"] = 7
    told = session.swap(text, canary_s=0, watch_s=5)
    assert told.outcome == "rolled_back", told
    assert old.state[0]["tops"] >= 7
    told = session.swap(s.OTHER_STATE)
    assert told.outcome == "swapped", told
    assert session.engine.strategies[0].state[0]["seen"] > 7


class Disk:
    """A disk that refuses the record of versions from one save on, the first is 0."""

    def __init__(self, desk, first):
        self.save, self.left = desk._save, first

    def __call__(self):
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")
        self.save()


@pytest.mark.parametrize(
    ("first", "outcome", "stages"),
    [(0, "refused", []), (2, "rolled_back", [("switch", 1), ("kept", 1), ("back", 0)])],
    ids=["before the switch", "when it is to be kept"],
)
def test_a_version_whose_record_cannot_be_written_does_not_stay(
    session, monkeypatch, first, outcome, stages
):
    old = session.engine.strategies[0]
    monkeypatch.setattr(session.desk, "_save", Disk(session.desk, first))
    told = session.swap(s.DOUBLE)
    assert told.outcome == outcome, told
    assert "No space left" in told.why
    assert session.engine.strategies[0] is old
    assert session.stages == stages
    assert session.desk.book.strategies[0].running.number == 0
    assert session.desk.book.strategies[0].proven.number == 0
    assert any("strategies.json was not saved" in text for text in session.alarms)


def test_a_version_that_can_be_neither_kept_nor_taken_back_is_said_to_go(session, monkeypatch):
    old, exchange = session.engine.strategies[0], session.desk.ways.exchange

    async def no_record(*_):
        raise JournalError("the journal took no record of the switch; nothing changed")

    async def once(*given, watched, **named):
        if not watched:
            await no_record()
        return await exchange(*given, watched=watched, **named)

    monkeypatch.setattr(session.desk.ways, "settle", no_record)
    monkeypatch.setattr(session.desk.ways, "exchange", once)
    told = session.swap(s.DOUBLE)
    assert told.outcome == "unsettled", told
    assert "took no record" in told.why
    assert session.engine.strategies[0] is not old
    assert "a next life begins with" in session.alarms[-1]
    kept = swap_door.read_book(session.run_directory).strategies[0]
    assert (kept.running.number, kept.proven.number) == (1, 0), "what a next life reads"


def test_refusals_name_what_is_wrong(session):
    told = session.swap(s.DOUBLE, name="other")
    assert told.outcome == "refused"
    assert "no strategy 'other'" in told.why
    told = session.swap(s.UNMIGRATED)
    assert "no migrate" in told.why
    session.bench.ctx.control[c.X_HALTED] = 1
    assert "halted" in session.swap(s.DOUBLE).why
    session.bench.ctx.control[c.X_HALTED] = 0
    session.bench.ctx.strategies[0, c.S_ENABLED] = 0
    assert "does not go" in session.swap(s.DOUBLE).why
    session.bench.ctx.strategies[0, c.S_ENABLED] = 1
    session.quiet = True
    assert "heard nothing" in session.swap(s.DOUBLE).why
    assert session.stages == []


def test_one_swap_at_a_time(session):
    async def two():
        first = session.ask(s.DOUBLE, canary_s=1.0)
        while session.desk.under_way is None:
            await asyncio.sleep(0.005)
        second = await session.outcome(session.ask(s.changed()))
        return second, await session.outcome(first)

    ((second, first),) = session.play(two)
    assert "is under way" in second.why
    assert first.outcome == "swapped", first


def test_a_file_that_changes_after_it_was_asked_for_is_refused(session):
    async def change():
        request = session.ask(s.DOUBLE)
        (session.bench.folder / f"v{len(s.DOUBLE)}.py").write_text(s.DOUBLE + "\n")
        return await session.outcome(request)

    (told,) = session.play(change)
    assert "changed after it was asked for" in told.why


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[]", b"{}", b"x" * 20_000])
def test_a_request_that_is_none_is_refused_and_gone(session, data):
    session.desk.paths.inbox.mkdir(parents=True)
    (session.desk.paths.inbox / "1-ab.json").write_bytes(data)
    session.desk.poll()
    told = msgspec.json.decode(
        (session.desk.paths.done / "1-ab.json").read_bytes(), type=swap_door.Told
    )
    assert told.outcome == "refused"
    assert "1-ab.json" in told.why
    assert list(session.desk.paths.inbox.iterdir()) == []


def test_what_the_process_beside_says_is_the_refusal(session, monkeypatch):
    async def refuse(*given):
        raise PluginError("on_event does not compile: no")

    monkeypatch.setattr(swap_desk, "check_beside", refuse)
    assert "does not compile" in session.swap(s.DOUBLE).why


def test_the_next_life_begins_with_what_was_proven(session, tmp_path):
    """An engine that ends in a watch goes back, says so and answers whoever asked."""

    async def in_watch():
        request = session.ask(s.DOUBLE, watch_s=60)
        while not session.stages:
            await asyncio.sleep(0.005)
        return request

    (request,) = session.play(in_watch)
    told = swap_door.told_of(session.run_directory, request)
    assert told.outcome == "rolled_back"  # its task was cancelled, as by the end of a session
    assert swap_door.read_book(session.run_directory).strategies[0].running.number == 1
    (tmp_path / "second").mkdir()
    after = Session(tmp_path / "second", run=session.run_directory)
    try:
        (record,) = [json.loads(entry) for entry in after.records]
        assert (record["stage"], record["number"]) == ("back", 0)
        assert "before its watch window had passed" in after.alarms[0]
        assert swap_door.read_book(session.run_directory).strategies[0].running.number == 0
    finally:
        after.bench.close()


def test_a_version_in_force_that_is_gone_or_another_is_an_error(session):
    assert session.swap(s.DOUBLE).outcome == "swapped"
    kept = session.desk.paths.version("quoter", 1)
    kept.write_text(s.FAILING)
    with pytest.raises(ConfigError, match="is not what was swapped in"):
        swap_door.in_force(session.config, session.run_directory)
    kept.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        swap_door.in_force(session.config, session.run_directory)


def test_files_that_are_none_are_refused_by_name(tmp_path):
    for path, why in ((tmp_path, "is not a file"), (tmp_path / "x.py", "No such file")):
        with pytest.raises(ConfigError, match=why):
            swap_door.read_source(path)
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ConfigError, match=r"not a \.py file"):
        swap_door.read_source(tmp_path / "x.txt")
    (tmp_path / "big.py").write_bytes(np.zeros((4 << 20) + 1, np.uint8).tobytes())
    with pytest.raises(ConfigError, match="larger than"):
        swap_door.read_source(tmp_path / "big.py")
