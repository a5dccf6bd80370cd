"""Nothing is lost and nothing counted twice: workers killed, sweeps killed, disks full, Ctrl-C."""

import json
import resource
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from alephtx.core.errors import ConfigError, SimulationError
from alephtx.lab.plan import load_sweep
from alephtx.lab.pool import run_locally
from alephtx.lab.store import Store
from alephtx.lab.trial import Outcome, Task, open_window, span_of

MANY = "[space.strategies.maker]\nhalf = { from = 0.5, to = 3.0, count = 6 }"
MORE = MANY.replace("count = 6", "count = 30")
SLOW = """
import os, time
from bench.lib.common_maker import *
from bench.lib import common_maker as m

def config_to_params(section, instruments):
    {act}
    return m.config_to_params(section, instruments)
"""


def outcome(name, net=1.5):
    return Outcome(id=name, params={"strategies.m.a": 1}, start_ns=0, end_ns=9, net=net)


def start(path, *more, **named):
    return subprocess.Popen(
        [sys.executable, "-m", "alephtx.cli", "lab", "sweep", str(path), "--workers", "1", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **named,
    )  # fmt: skip


def results(path):
    file = path.parent / "runs" / "sweeps" / path.stem / "results.jsonl"
    return file.read_bytes().splitlines() if file.exists() else []


def until(holds, seconds=100):
    """Wait until something holds; the limit only ends a test that hangs."""
    for _ in range(seconds * 100):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_a_sweep_that_was_stopped_goes_on_where_it_was(lab, number, code):
    path = lab("lanes = 1\n", MORE)
    going = start(path)
    until(lambda: len(results(path)) >= 1 or going.poll() is not None)
    going.send_signal(number)
    said = going.communicate(timeout=60)[1]
    assert going.returncode == code, said
    assert ("--resume goes on" in said) == (number == signal.SIGINT)
    kept = results(path)
    assert 1 <= len(kept) < 30
    going = start(path, "--resume", "--json")
    told = json.loads(going.communicate(timeout=300)[0])
    assert (told["kept"], told["ran"]) == (len(kept), 30 - len(kept))
    after = results(path)
    assert after[: len(kept)] == kept
    assert len(after) == len(set(after)) == 30
    assert len({row["id"] for row in told["whole"]["rows"]}) == 30


def test_a_full_disk_says_so_and_keeps_what_is_whole(lab):
    path = lab("lanes = 2\n", MANY)
    limit = 1_500  # an outcome or two
    going = start(path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1)))
    said = going.communicate(timeout=300)[1]
    assert going.returncode == 3, said
    assert "results.jsonl: File too large" in said
    with Store(path.parent / "runs" / "sweeps" / "one") as store:
        assert store.damaged == 0
        assert len(store.found) == len(results(path)) < 6


def tasks_of(path, act):
    """Return a task a set, of a strategy that does something odd in its worker."""
    maker = path.parent / "odd.py"
    root = str(Path(__file__).resolve().parents[2])
    maker.write_text(f"import sys\nsys.path.insert(0, {root!r})\n" + SLOW.format(act=act))
    sweep = load_sweep(path)
    own = msgspec.structs.replace(sweep.config.strategies["maker"], use=str(maker))
    config = msgspec.structs.replace(sweep.config, strategies={"maker": own})
    span = span_of(open_window(config, None))
    return [
        Task(config, span, 10**9, [chosen], [str(k)]) for k, chosen in enumerate(sweep.space.grid())
    ]


def test_a_worker_that_is_killed_loses_nothing(lab):
    """The worker of one set kills itself the first time, in the middle of its work."""
    path = lab(space="[space.strategies.maker]\nhalf = [0.5, 1.5, 2.5]")
    mark = path.parent / "died"
    act = (
        f"if section['half'] == 1.5 and not os.path.exists({str(mark)!r}): "
        f"open({str(mark)!r}, 'w').close(); os.kill(os.getpid(), 9)"
    )
    found = [one for many in run_locally(tasks_of(path, act), 2) for one in many]
    assert mark.exists()
    assert sorted(one.id for one in found) == ["0", "1", "2"]
    assert [one.error for one in found] == [""] * 3


def test_a_set_that_always_kills_its_worker_is_named(lab):
    tasks = tasks_of(lab(space="[space.strategies.maker]\nhalf = [1.5]"), "os.kill(os.getpid(), 9)")
    with pytest.raises(SimulationError, match=r"3 workers died.*maker.half': '1.5'"):
        list(run_locally(tasks, 1))


def test_a_worker_that_raises_tells_what(lab):
    tasks = tasks_of(lab(space="[space.strategies.maker]\nhalf = [1.5]"), "1 / 0")
    [[one]] = run_locally(tasks, 1)
    assert "ZeroDivisionError" in one.error or "division by zero" in one.error


def test_store_drops_a_cut_line_and_counts_a_damaged_one(tmp_path):
    with Store(tmp_path) as store:
        store.add([outcome("a"), outcome("b"), outcome("a", net=9)])
        store.add([outcome("b", net=9), outcome("c")])
        with pytest.raises(ConfigError, match="in use by another sweep"):
            Store(tmp_path)
    file = tmp_path / "results.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    lines[1] = lines[1].replace(b"1.5", b"2.5")
    file.write_bytes(b"".join(lines) + lines[0][:-5])
    with Store(tmp_path) as store:
        assert sorted(store.found) == ["a", "c"]
        assert store.found["a"].net == 1.5
        assert store.damaged == 1
        store.add([outcome("b")])
    with Store(tmp_path) as store:
        assert sorted(store.found) == ["a", "b", "c"]


def test_every_thing_that_matters_changes_the_id():
    from alephtx.lab.trial import id_of
    from alephtx.lab.walk import Window

    ids = [
        id_of("base", Window(1, 2), {"x": 1, "y": 2}),
        id_of("other", Window(1, 2), {"x": 1, "y": 2}),
        id_of("base", Window(1, 3), {"x": 1, "y": 2}),
        id_of("base", Window(1, 2), {"x": 1, "y": Decimal(2)}),
        id_of("base", Window(1, 2), {"x": 2, "y": 1}),
    ]
    assert len(set(ids)) == 5
    assert ids[0] == id_of("base", Window(1, 2), {"y": 2, "x": 1})
