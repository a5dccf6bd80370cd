"""Threads go where [machine] says; what the system refuses is said, and stops nothing."""

import io
import os
import resource
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from alephtx.core import log
from alephtx.core.config import parse_config
from alephtx.core.config_schema import MachineConfig
from alephtx.core.errors import ConfigError
from alephtx.engine import placement
from alephtx.engine.hosted import host_feeders

CONFIG = """
[node]
wait = "{wait}"
main_wait = "{main_wait}"
[machine]
{machine}
[venues.binance_spot]
symbols = ["BTCUSDT"]
[venues.binance_usdm]
symbols = ["BTCUSDT"]
"""


def config(machine: str, wait: str = "spin", main_wait: str = "sleep", more: str = ""):
    text = CONFIG.format(machine=machine, wait=wait, main_wait=main_wait)
    return parse_config(text + more)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ("loop_cpu = 1\nmain_cpu = 1", "machine.main_cpu: 1 is the core of the engine's loop"),
        ("loop_cpu = 1\nkiller_cpu = 1", "machine.killer_cpu: 1 is the core of the engine's"),
        ("loop_cpu = 1\nfeeder_cpus = [0, 1]", "binance_usdm's feeder, and both spin"),
        ("feeder_cpus = [0]", "0 is the core of binance_spot's feeder and of binance_usdm's"),
        (
            "main_cpu = 1\nfeeder_cpus = [1, 0]",
            "main thread and of binance_spot's feeder",
        ),
        ("loop_cpu = 0\nfeeder_cpus = [0]", "binance_spot's feeder, and both spin"),
        ('realtime = "try"', "a loop that spins on a core of its own"),
        ("loop_cpu = -1", "machine.loop_cpu: -1"),
        ("loop = 1", "unknown key; did you mean loop_cpu"),
        ('realtime = "requre"', "is not a choice; did you mean require"),
        ("feeder_cpus = 3", "machine.feeder_cpus"),
    ],
)
def test_config_that_would_starve_a_thread_is_refused_with_its_line(machine, said):
    with pytest.raises(ConfigError) as caught:
        config(machine, main_wait="spin" if "main thread" in said else "sleep")
    assert said in str(caught.value)
    assert caught.value.findings[0].line > 0


def test_a_feeder_that_sleeps_may_share_a_core_but_not_the_loops():
    sleeps = '[node]\nwait = "spin"\nfeeder_wait = "sleep"'
    shared = CONFIG.replace('[node]\nwait = "{wait}"', sleeps)
    told = shared.format(main_wait="spin", machine="loop_cpu = 1\nmain_cpu = 0\nfeeder_cpus = [0]")
    with pytest.raises(ConfigError, match="0 is the core of the engine's main thread and of"):
        parse_config(told)
    told = shared.format(main_wait="sleep", machine="loop_cpu = 1\nfeeder_cpus = [0]")
    made = parse_config(told)
    assert made.feeders_wait == "sleep"
    assert made.spinners == ["the engine's loop"]
    told = shared.format(main_wait="sleep", machine="loop_cpu = 1\nfeeder_cpus = [1]")
    with pytest.raises(ConfigError, match="and that one never sleeps"):
        parse_config(told)


@pytest.mark.parametrize(
    ("wait", "feeder_wait", "then"),
    [
        ("adaptive", "as wait", "asyncio"), ("spin", "as wait", "spin"),
        ("sleep", "spin", "spin"), ("spin", "sleep", "sleep"),
    ],
)  # fmt: skip
def test_feeders_wait_as_the_loop_does_unless_told(wait, feeder_wait, then):
    text = f'[node]\nwait = "{wait}"\nfeeder_wait = "{feeder_wait}"\n'
    assert (
        parse_config(text + '[venues.binance_spot]\nsymbols = ["BTCUSDT"]\n').feeders_wait == then
    )


def test_only_a_receiver_that_sleeps_goes_before_the_others(monkeypatch):
    raised = []
    monkeypatch.setattr(placement, "_raise_priority", lambda *given: raised.append(given) or "")
    machine = 'loop_cpu = 1\nrealtime = "try"'
    for wait in ("sleep", "spin"):
        text = CONFIG.format(
            wait='spin"\nfeeder_wait = "' + wait, main_wait="sleep", machine=machine
        )
        placement.place_receiver(parse_config(text), 7)
    assert raised == [(7, "try", placement.RECEIVER)]
    placement.place_receiver(config("loop_cpu = 1"), 7)
    assert raised == [(7, "try", placement.RECEIVER)]


def test_cores_may_be_shared_by_threads_that_sleep():
    assert config("loop_cpu = 0\nmain_cpu = 0\nfeeder_cpus = [0]", "adaptive").machine.named == {0}
    assert config("loop_cpu = 2\nmain_cpu = 0\nfeeder_cpus = [0, 1]").machine.named == {0, 1, 2}


def test_threads_that_never_sleep_are_counted_and_a_hosted_feeder_is_none():
    assert config("", "adaptive").spinners == []
    assert config("", "adaptive", "spin").spinners == ["the engine's main thread"]
    assert config("", "spin", "spin").spinners == [
        "the engine's loop", "the engine's main thread", "binance_spot's feeder",
        "binance_usdm's feeder",
    ]  # fmt: skip
    hosted = config("feeder_cpus = [0]\nmain_cpu = 1", "spin", "spin", 'feeder = "engine"\n')
    assert hosted.spinners[2:] == ["binance_spot's feeder"]
    assert (hosted.fed_venues, hosted.hosted_venues) == (["binance_spot"], ["binance_usdm"])
    assert parse_config(hosted.dump()).hosted_venues == ["binance_usdm"]


DIRECT = """feeder = "engine"
[accounts.a]
venue = "binance_usdm"
secret = "twin"
[strategies.mm]
use = "market_maker"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["a"]
path = "direct"
"""


def test_feeder_that_the_loop_stands_in_for_is_told_when_the_engine_starts():
    made = config("", more=DIRECT)
    assert (made.hosted_venues, made.outdone_venues) == ([], ["binance_usdm"])
    stream = io.StringIO()
    log.configure(stream=stream)
    try:
        assert host_feeders(SimpleNamespace(config=made)) == []
    finally:
        log.configure()
    said = "feeder_not_hosted part=engine venue=binance_usdm received_by=loop strategies=mm"
    assert said in stream.getvalue()
    assert config("", more='feeder = "engine"\n').outdone_venues == []


def test_default_asks_for_nothing_and_pins_nothing():
    made = config("")
    assert made.machine == MachineConfig()
    before = os.sched_getaffinity(0)
    assert placement.place_process("main", made.machine.main_cpu) == {}
    assert placement.place_loop(made, threading.get_native_id()) == {}
    assert os.sched_getaffinity(0) == before


def test_config_is_dumped_and_read_back_with_its_cores():
    text = 'loop_cpu = 2\nmain_cpu = 0\nfeeder_cpus = [0, 1]\nrealtime = "try"\nlock_memory = true'
    made = config(text)
    assert parse_config(made.dump()).machine == made.machine


def test_core_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=r"no core 4000, 4001 here.*may use 0"):
        placement.check_cores(MachineConfig(loop_cpu=4001, feeder_cpus=(0, 4000)))
    placement.check_cores(MachineConfig(loop_cpu=min(os.sched_getaffinity(0))))


def test_thread_is_pinned_and_its_neighbours_are_not():
    core = min(os.sched_getaffinity(0))
    mine, placed, go, end = os.sched_getaffinity(0), [], threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (go.set(), end.wait(10)))
    thread.start()
    try:
        assert go.wait(10)
        told = placement.place_loop(config(f"loop_cpu = {core}"), thread.native_id)
        placed = os.sched_getaffinity(thread.native_id)
    finally:
        end.set()
        thread.join()
    assert told == {"loop": f"cpu {core}"}
    assert placed == {core}
    assert os.sched_getaffinity(0) == mine


def test_loop_without_a_core_does_not_keep_the_main_threads(monkeypatch):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    core = min(os.sched_getaffinity(0))
    set_to = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: set_to.append(cores))
    assert placement.place_loop(config(f"main_cpu = {core}"), 1) == {}
    assert set_to
    assert core not in set_to[0]


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


def test_priority_that_is_refused_is_a_warning_unless_required(monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: None)
    tried = placement.place_loop(config('loop_cpu = 1\nrealtime = "try"'), 1)
    assert tried == {"loop": "cpu 1, ordinary priority"}
    with pytest.raises(ConfigError, match=r"Operation not permitted.*cap_sys_nice"):
        placement.place_loop(config('loop_cpu = 1\nrealtime = "require"'), 1)


def test_priority_is_the_lowest_of_fifo(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: None)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *given: asked.append(given))
    told = placement.place_loop(config('loop_cpu = 1\nrealtime = "require"'), 7)
    assert told == {"loop": "cpu 1, SCHED_FIFO 1"}
    assert asked == [(7, os.SCHED_FIFO, os.sched_param(1))]


def test_core_that_is_refused_is_a_warning(monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert placement.place_process("main", 1) == {
        "main": "not pinned to cpu 1: Operation not permitted"
    }


def test_memory_is_not_locked_under_a_limit_that_later_mappings_would_meet(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (8 << 20, 8 << 20))
    monkeypatch.setattr(placement, "has_capability", lambda number: False)
    assert placement.lock_memory() == "not locked: at most 8,388,608 bytes may be"


def test_memory_is_locked_in_a_process_of_its_own_or_the_limit_is_named():
    code = "from alephtx.engine.placement import lock_memory; print(lock_memory())"
    said = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert said.splitlines()[-1].startswith(("locked", "not locked: at most"))


def test_cores_of_a_process_are_shown_when_it_is_pinned():
    assert placement.cores_of(0) == ""
    assert placement.cores_of(2**22 + 1) == ""
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code + "; print(); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        seen = placement.cores_of(child.pid)
        child.stdin.write("\n")
    assert seen == ("" if os.cpu_count() == 1 else str(min(os.sched_getaffinity(0))))
