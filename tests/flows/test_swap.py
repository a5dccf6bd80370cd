"""Hot swaps in a real run: other processes, sockets, orders in the market, a killed engine."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.config import load_config
from alephtx.core.records import INTENT
from alephtx.engine.assemble import lay_out, place_stages
from alephtx.engine.context import pack
from alephtx.engine.outside import attach_to
from alephtx.engine.recovery import apply_record
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.watch import feeders_of
from alephtx.matrix.inputlog import null_inputs
from alephtx.matrix.journal import COMMAND, null_journal, read
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from tests.engine import swapping as s
from tests.flows.river import River, environment, prove, until

pytestmark = pytest.mark.flow

SECTION = """
[strategies.plain]
use = "{file}"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["usdm"]
qty = 2
live_max = 3
"""
LOSSES = ("resyncs", "gaps", "errors", "drops", "starts")
PYTHON = ("COMPILED = True", "COMPILED = False")


class Swapper:
    """A river with a quoter that can be swapped, and hands that swap it."""

    def __init__(self, twins, folder, text=s.TEXT, *, makers=()):
        self.folder, self.count = folder, 0
        self.river = River(folder, twins, coins=(), makers=makers)
        section = SECTION.format(file=self.file(text))
        self.river.config.write_text(self.river.config.read_text() + section)
        self.index, self.life = len(makers), self.river.start()
        self.life.trading(4, 1)

    def file(self, text):
        self.count += 1
        file = self.folder / f"v{self.count}.py"
        file.write_text(text)
        return file

    def ask(self, text, *more, canary=1, watch=1, name="plain", denied=1):
        """Start `alephtx strategy swap` of a text, or of a file of another kind."""
        file = self.file(text) if isinstance(text, str) else text
        return subprocess.Popen(
            [sys.executable, "-m", "alephtx.cli", "strategy", "swap", name, str(file), "--json",
             "--runs", str(self.river.runs), "--canary-seconds", str(canary),
             "--watch-seconds", str(watch), "--denied-max", str(denied), *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip

    def swap(self, text, *more, **named):
        """Swap; return the exit code and what was said."""
        process = self.ask(text, *more, **named)
        out, err = process.communicate(timeout=120)
        lines = out.decode().strip().splitlines()
        return process.returncode, json.loads(lines[-1]) if lines else err.decode()

    def status(self):
        (shown,) = [x for x in self.life.read("status.json")["strategies"] if x["name"] == "plain"]
        return shown

    def version(self):
        (shown,) = [x for x in self.life.read("status.json")["swaps"] if x["name"] == "plain"]
        return shown

    def feeds(self):
        """Return the counters of every feeder that say that something was lost."""
        with attach_to(self.life.run) as matrix:
            found = feeders_of(matrix, matrix.instruments)
        return {venue: {name: n for name, n in counts.items() if name in LOSSES}
                for venue, counts in found.items()}  # fmt: skip

    def end(self):
        code, summary = self.life.end()
        assert code == 0, self.river.log.read_text()
        return summary


@pytest.fixture
def swapper(twins, tmp_path):
    made = []

    def make(*given, **named):
        made.append(Swapper(twins, tmp_path, *given, **named))
        return made[-1]

    yield make
    for one in made:
        one.river.close()


def swap_records(run: RunDirectory):
    told = [json.loads(bytes(r.payload)) for r in read(run.journal) if r.kind == COMMAND]
    return [(t["stage"], t["number"]) for t in told if t.get("kind") == "swap"]


def told_by(run, folder, index):
    """Return how many updates and denials a strategy is told of by the journal, folded anew."""
    config, table, count = load_config(run.config), run.load_instruments(), 0
    with Matrix.create(folder / "again", table, Geometry(depth=4, ring_slots=64)) as matrix:
        ctx, _ = lay_out(config, table, matrix, null_journal(), null_inputs())
        owners, packed = place_stages(ctx), pack(ctx)
        for record in read(run.journal):
            told = apply_record(record, ctx, packed, table)
            count += record.kind == UPDATE_RECORD and told == index
            if record.kind == INTENT_RECORD:
                row = np.frombuffer(record.payload, INTENT, count=1)[0]
                denied = row["op"] == words.PLACE and row["verdict"] != words.PASS
                count += int(denied and row["strategy"] == index)
        assert owners
        matrix.unlink()
    return count


def reached(stage, life):
    """Wait until the engine says that a swap has reached a stage."""
    until(lambda: any(x["stage"] == stage for x in life.read("status.json").get("swaps", [])), 60,
          f"the stage {stage}", every=0.01)  # fmt: skip


def test_swapped_under_load_loses_nothing(swapper, twins):
    """The new version goes on with the state; no feed gap, no lapped ring, no lost order event."""
    at = swapper(makers=("binance_spot", "binance_usdm"))
    feeds = at.feeds()
    before = at.status()["state"]["tops"]
    code, told = at.swap(s.DOUBLE)
    assert (code, told["outcome"]) == (0, "swapped"), told
    stages = [x["stage"] for x in told["stages"]]
    assert stages == ["asked", "checking", "compiled", "loaded", "canary", "tried", "switched",
                      "watch", "watched", "in force"]  # fmt: skip
    until(lambda: at.version()["swaps"] == 1, 5, "status.json tells of it")
    state = at.status()["state"]
    assert state["tops"] > before
    assert state["started"] == 1, "on_start is not called again, its state is handed over"
    at.life.trading(8, 2)
    assert at.feeds() == feeds
    assert at.life.counters()["lapped"] == 0
    assert at.life.counters()["strategy_errors"] == 0
    run = at.life.run
    kept = run.path / "strategies" / "plain-1.py"
    assert kept.read_text() == s.DOUBLE
    assert kept.stat().st_mode & 0o777 == 0o600
    summary = at.end()
    prove(run, twins, summary, orders=8, fills=2)
    assert at.status()["state"]["updates"] == told_by(run, at.folder, at.index)
    assert swap_records(run) == [("switch", 1), ("kept", 1)]


@pytest.mark.parametrize("plain", [False, True], ids=["compiled", "python"])
def test_a_canary_that_fails_is_refused_and_the_run_goes_on(swapper, twins, plain):
    """Each reason, one after the other, in one run; the running version never changes."""
    python = (PYTHON,) if plain else ()
    as_it_is = s.changed(*python)
    at = swapper(as_it_is)
    late = s.TOP + '    if state[0]["tops"] > 5 and {what}\n'
    wild = "view.top[0]['bid'] > 0:\n        return 65"
    wrong = {
        "returned": s.changed((s.TOP, late.format(what=wild)), *python),
        "denies too much": s.changed(*python, text=s.GREEDY),
    }
    if plain:
        wrong["ZeroDivisionError"] = s.changed((s.TOP, s.TOP + "    1 // 0\n"), *python)
    for why, text in wrong.items():
        code, told = at.swap(text, canary=20, denied=0.5)
        assert (code, told["outcome"]) == (3, "refused"), (why, told)
        assert why in told["why"]
    assert at.version()["swaps"] == 0
    run = at.life.run
    prove(run, twins, at.end(), orders=4, fills=1)
    assert swap_records(run) == []


@pytest.mark.parametrize("plain", [False, True], ids=["compiled", "python"])
def test_a_watched_version_is_rolled_back_for_each_reason(swapper, twins, plain):
    """There was no canary, so it fails with orders: the old one goes again."""
    python = (PYTHON,) if plain else ()
    at = swapper(s.changed(*python))
    wrong = {
        "raised" if plain else "error code": s.changed((s.TOP, s.TOP + (
            "    if state[0]['tops'] > 10:\n        return 65\n")), *python),
        "denies too much": s.changed(*python, text=s.GREEDY),
    }  # fmt: skip
    if plain:
        wrong["ZeroDivisionError"] = s.changed((s.TOP, s.TOP + (
            "    1 // (0 if state[0]['tops'] > 10 else 1)\n")), *python)  # fmt: skip
    for k, (why, text) in enumerate(wrong.items()):
        code, told = at.swap(text, canary=0, watch=60, denied=0.5)
        assert (code, told["outcome"]) == (3, "rolled_back"), (why, told)
        assert why in told["why"]
        tops = at.status()["state"]["tops"]
        until(lambda t=tops: at.status()["state"]["tops"] > t, 20, "the old version hears")
        assert at.status()["enabled"]
        assert at.version()["number"] == 0
        alarms = at.life.read("status.json")["alarms"]
        assert sum("rolled back" in alarm for alarm in alarms) == k + 1
    run = at.life.run
    at.life.trading(6, 1)
    prove(run, twins, at.end(), orders=6, fills=1)
    assert [stage for stage, _ in swap_records(run)] == ["switch", "back"] * len(wrong)


def test_what_cannot_be_swapped_is_refused_by_name(swapper, tmp_path, twins):
    """Syntax, compiler, a crash, file, name, two at once, a halted run."""
    at = swapper()
    cases = {
        "SyntaxError": "def f(:\n",
        "does not compile": s.changed((s.TOP, s.TOP + '    state = "x" + 1\n')),
        "signal SIGSEGV": "import ctypes\nctypes.string_at(1)\n",
    }
    for why, text in cases.items():
        code, told = at.swap(text)
        assert code == 3, (why, told)
        assert told["outcome"] == "refused"
        assert why in told["why"], told
    code, told = at.swap(s.DOUBLE, name="other")
    assert code == 3
    assert "no strategy 'other'" in told["why"]
    for file, why in ((tmp_path / "gone.py", "No such file"), (tmp_path, "not a file")):
        code, said = at.swap(file)
        assert code == 3
        assert why in said
    first = at.ask(s.DOUBLE, canary=30)
    reached("canary", at.life)
    code, told = at.swap(s.DOUBLE)
    assert code == 3
    assert "is under way" in told["why"]
    kill = [sys.executable, "-m", "alephtx.cli", "kill", "--runs", str(at.river.runs)]
    subprocess.run(kill, check=True, env=environment(), capture_output=True)
    out, _ = first.communicate(timeout=30)
    assert first.returncode == 3
    assert "halted" in json.loads(out)["why"]
    code, told = at.swap(s.DOUBLE)
    assert code == 3
    assert "halted" in told["why"]
    assert at.version()["swaps"] == 0
    at.life.end()


@pytest.mark.parametrize("stage", ["checking", "canary", "watch", "in force"])
def test_an_engine_killed_at_a_stage_begins_with_what_was_in_force(swapper, twins, stage):
    """Until its watch has passed a version is on trial; from then on a next life begins with it."""
    at = swapper()
    if stage == "in force":
        code, told = at.swap(s.DOUBLE, canary=0.5, watch=0.5)
        assert code == 0, told
        at.life.kill("engine")
    else:
        asked = at.ask(s.DOUBLE, canary=30 if stage == "canary" else 0.2, watch=60)
        reached(stage, at.life)
        at.life.kill("engine")
        out, _ = asked.communicate(timeout=60)
        assert asked.returncode == 3
        told = json.loads(out)
        assert told["outcome"] == ("rolled_back" if stage == "watch" else "refused")
        assert f"stage {stage}" in told["why"]
    at.life.trading(2, 0, epoch=2)
    number = 1 if stage == "in force" else 0
    assert at.version()["number"] == number
    book = json.loads((at.life.run.path / "strategies.json").read_bytes())
    assert book["strategies"][-1]["proven"]["number"] == number
    begun = time.monotonic()
    code, told = at.swap(s.DOUBLE, canary=0.5, watch=0.5)  # and it can be swapped again
    assert code == 0, (told, time.monotonic() - begun)
    run = at.life.run
    prove(run, twins, at.end(), orders=4, fills=0)
    expected = {"checking": [], "canary": [], "watch": [("switch", 1), ("back", 0)],
                "in force": [("switch", 1), ("kept", 1), ("start", 1)]}[stage]  # fmt: skip
    assert swap_records(run)[: len(expected)] == expected
