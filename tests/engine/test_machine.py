"""The doctor sees what is there, names what it costs, and never faints."""

import os
import resource

import pytest

from alephtx.cli.doctor import examine, lines
from alephtx.core.config import parse_config
from alephtx.engine import machine, machine_clock, machine_cpu, machine_memory, machine_net
from alephtx.engine import machine_software as software
from alephtx.engine.machine import BROKEN, COSTS, GOOD, UNSEEN, Files, Finding

CPU = "sys/devices/system/cpu"
CONFIG = """
[venues.binance_spot]
symbols = ["BTCUSDT"]
"""


@pytest.fixture
def host(tmp_path):
    """A host of files; call it to write some."""

    def write(**_):
        return Files(tmp_path)

    def put(path, text):
        at = tmp_path / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text + "\n")

    write.put = put
    write.files = Files(tmp_path)
    return write


def found(findings, what):
    (one,) = [finding for finding in findings if finding.what == what]
    return one


def test_list_of_cores_is_read_and_nonsense_left_out():
    assert machine.cores("0-3,8") == [0, 1, 2, 3, 8]
    assert machine.cores("") == machine.cores("all") == machine.cores("-3,x-2,1-y") == []


def test_look_that_fails_is_a_finding():
    def faint():
        yield Finding("one", "1")
        raise ZeroDivisionError

    assert machine.take("it", faint) == [
        Finding("it", "not visible here (ZeroDivisionError)", UNSEEN)
    ]


def test_empty_host_is_examined_without_a_word_of_a_traceback(host, monkeypatch):
    """A container may hide all of /sys and /proc."""
    seen = examine(host.files, None, quick=True)
    assert len([one for one in seen if one.verdict == UNSEEN]) > 10
    assert not any("Error" in one.value for one in seen)
    text = "\n".join(lines(seen))
    assert "not visible here" in text
    assert text.splitlines()[-1].count(",") >= 2


@pytest.mark.parametrize("text", ["", "\0\0", "x" * 10_000, "-1", "9" * 40, "1 2 3\n" * 50, "é"])
def test_files_of_any_content_are_looked_at(host, text):
    for path in (
        f"{CPU}/online", f"{CPU}/isolated", f"{CPU}/cpu0/topology/thread_siblings_list",
        f"{CPU}/cpu0/cpuidle/state1/latency", f"{CPU}/cpu0/cpufreq/scaling_governor",
        "proc/cmdline", "proc/cpuinfo", "proc/mounts", "proc/meminfo", "proc/swaps",
        "proc/self/cgroup", "proc/net/route", "proc/irq/7/smp_affinity_list",
        "sys/fs/cgroup/cpu.max", "proc/sys/net/core/rmem_max", "proc/sys/net/core/busy_read",
        "proc/sys/kernel/sched_rt_runtime_us", "sys/kernel/mm/transparent_hugepage/enabled",
        "sys/devices/system/clocksource/clocksource0/current_clocksource", "proc/1/comm",
        "sys/devices/system/cpu/vulnerabilities/x",
    ):  # fmt: skip
        host.put(path, text)
    seen = examine(host.files, None, quick=True)
    assert all(one.verdict in (GOOD, COSTS, BROKEN, UNSEEN) for one in seen)


def test_this_very_host_is_examined():
    """Whatever it is: no finding may be an error's name."""
    seen = examine(Files(), parse_config(CONFIG), quick=True)
    assert not [one for one in seen if "Error" in one.value]
    assert {"processors", "/dev/shm", "kernel", "python", "open files"} <= {s.what for s in seen}


def test_core_that_others_share_is_told_with_the_line_that_isolates_it(host):
    core = max(os.sched_getaffinity(0))
    host.put(f"{CPU}/isolated", "")
    host.put(f"{CPU}/nohz_full", str(core))
    host.put("proc/cmdline", f"quiet rcu_nocbs={core}-{core + 1}")
    host.put("proc/irq/24/smp_affinity_list", f"0-{core}")
    host.put("proc/irq/25/smp_affinity_list", f"{core + 1}")
    host.put("proc/7/comm", "irqbalance")
    seen = list(machine_cpu.look_at_isolation(host.files, None))
    assert found(seen, "isolcpus").verdict == COSTS
    assert found(seen, "isolcpus").remedy.endswith(f"isolcpus={core}")
    assert found(seen, "nohz_full").verdict == found(seen, "rcu_nocbs").verdict == GOOD
    assert found(seen, "irqbalance").verdict == COSTS
    assert found(seen, "interrupts").value == f"1 of 2 may come to core {core}"


@pytest.mark.parametrize(("text", "verdict"), [("max 100000", GOOD), ("150000 100000", COSTS)])
def test_quota_that_stops_every_thread_is_told(host, text, verdict):
    host.put("proc/self/cgroup", "0::/some/where")
    host.put("sys/fs/cgroup/some/where/cpu.max", text)
    seen = list(machine_cpu.look_at_isolation(host.files, None))
    assert found(seen, "cpu quota").verdict == verdict


def test_siblings_groups_and_sleep_are_told(host):
    for core in range(4):
        host.put(f"{CPU}/cpu{core}/topology/thread_siblings_list", f"{core % 2},{core % 2 + 2}")
        host.put(f"{CPU}/cpu{core}/cache/index3/shared_cpu_list", f"{core % 2},{core % 2 + 2}")
        host.put(f"{CPU}/cpu{core}/cpufreq/scaling_governor", "powersave")
    for state, latency in enumerate((0, 2, 133)):
        host.put(f"{CPU}/cpu0/cpuidle/state{state}/latency", str(latency))
    seen = [
        *machine_cpu.look_at_cores(host.files, None),
        *machine_cpu.look_at_power(host.files, None),
    ]
    assert found(seen, "hyper-threads").value == "0,2; 1,3"
    assert found(seen, "shared L3").verdict == COSTS
    assert found(seen, "governor").remedy == "cpupower frequency-set -g performance"
    assert "133 us" in found(seen, "idle states").cost
    host.put(f"{CPU}/cpu0/cpuidle/state2/disable", "1")
    seen = list(machine_cpu.look_at_power(host.files, None))
    assert found(seen, "idle states").verdict == GOOD


@pytest.mark.parametrize(
    ("source", "verdict"), [("tsc", GOOD), ("kvm-clock", GOOD), ("hpet", COSTS), ("", UNSEEN)]
)
def test_slow_clock_source_is_told(host, source, verdict):
    at = "sys/devices/system/clocksource/clocksource0"
    host.put(f"{at}/current_clocksource", source)
    host.put(f"{at}/available_clocksource", "tsc hpet acpi_pm")
    (seen,) = machine_clock.look_at_source(host.files, None)
    assert seen.verdict == verdict
    assert not seen.remedy or "echo tsc" in seen.remedy


def test_matrix_that_has_no_room_is_broken(tmp_path):
    big = parse_config(
        f'[matrix]\npath = "{tmp_path}/m"\ninstruments_max = 65536\ndepth = 1000\n'
        f"ring_slots = 4194304\n{CONFIG}"
    )
    seen = list(machine_memory.look_at_shared_memory(Files(), big))
    has = os.statvfs(tmp_path)
    enough = has.f_bavail * has.f_frsize > 8 << 30
    assert enough or (seen[0].verdict == BROKEN and "remount" in seen[0].remedy)
    small = list(machine_memory.look_at_shared_memory(Files(), None))
    assert small[0].verdict == GOOD


def test_limits_are_held_against_what_the_config_asks(monkeypatch, host):
    locks = parse_config(f"[machine]\nlock_memory = true\n{CONFIG}")
    limits = {resource.RLIMIT_MEMLOCK: (64 << 10, 64 << 10), resource.RLIMIT_NOFILE: (64, 4096)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr("alephtx.engine.placement.has_capability", lambda number: False)
    seen = list(machine_memory.look_at_limits(host.files, locks))
    assert found(seen, "locked memory").verdict == COSTS
    assert found(seen, "open files").verdict == BROKEN
    assert found(seen, "open files").remedy == "ulimit -n 4096"
    assert found(machine_memory.look_at_limits(host.files, None), "locked memory").verdict == GOOD


def test_required_priority_that_is_refused_is_broken(monkeypatch, host):
    asked = '[node]\nwait = "spin"\n[machine]\nloop_cpu = 1\nrealtime = "require"\n'
    monkeypatch.setattr(resource, "getrlimit", lambda which: (0, 0))
    monkeypatch.setattr("alephtx.engine.placement.has_capability", lambda number: False)
    host.put("proc/sys/kernel/sched_rt_runtime_us", "950000")
    seen = list(machine_cpu.look_at_priorities(host.files, parse_config(asked + CONFIG)))
    assert found(seen, "real-time priority").verdict == BROKEN
    assert "50 ms/s" in found(seen, "real-time throttle").cost
    seen = list(machine_cpu.look_at_priorities(host.files, None))
    assert found(seen, "real-time priority").verdict == COSTS
    assert found(seen, "real-time throttle").verdict == GOOD


def test_a_receiver_that_sleeps_wants_more_priority_than_a_loop(monkeypatch, host):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1, 1))
    monkeypatch.setattr("alephtx.engine.placement.has_capability", lambda number: False)
    asked = '[node]\nwait = "spin"\n{}[machine]\nloop_cpu = 1\nrealtime = "require"\n'
    for feeders, verdict in (("", GOOD), ('feeder_wait = "sleep"\n', BROKEN)):
        config = parse_config(asked.format(feeders) + CONFIG)
        seen = list(machine_cpu.look_at_priorities(host.files, config))
        assert found(seen, "real-time priority").verdict == verdict
    assert "`rtprio 2`" in found(seen, "real-time priority").remedy


def test_card_that_collects_packets_is_told(host, monkeypatch):
    host.put("sys/class/net/eth7/speed", "25000")
    host.put("sys/class/net/eth7/queues/rx-0/x", "")
    answers = {machine_net._GCOALESCE: (0, 50, 1), machine_net._GGRO: (0, 1),
               machine_net._GTSO: (0, 1), machine_net._GFLAGS: (0, 0)}  # fmt: skip

    def ask(name, command, words=2):
        assert name == "eth7"
        return [*answers[command], *[0] * 20]

    monkeypatch.setattr(machine_net, "_ask", ask)
    seen = list(machine_net.look_at_cards(host.files, None))
    assert found(seen, "eth7").value == "no driver seen, 1 queues, 25000 Mbit/s"
    assert found(seen, "eth7 gro").remedy == "ethtool -K eth7 gro off"
    assert found(seen, "eth7 lro").verdict == GOOD
    assert found(seen, "eth7 coalescing").cost.startswith("up to 50 us")


def test_card_whose_driver_does_not_answer_is_unseen(host):
    host.put("sys/class/net/none9/speed", "1")
    seen = list(machine_net.look_at_cards(host.files, None))
    assert found(seen, "none9 gro").verdict == found(seen, "none9 coalescing").verdict == UNSEEN


def test_library_of_the_direct_path_that_is_missing_breaks_only_the_direct_path(monkeypatch, host):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(software.ctypes, "CDLL", missing)
    direct = parse_config(f'{CONFIG}[accounts.a]\nvenue = "binance_spot"\nentry = "loop"\n')
    assert [one.verdict for one in software.look_at_openssl(host.files, direct)] == [BROKEN]
    assert [one.verdict for one in software.look_at_openssl(host.files, None)] == [COSTS]


def test_cold_cache_is_told_with_the_command_that_warms_it(monkeypatch, host, tmp_path):
    monkeypatch.setattr(software.kernel, "JIT", True)
    monkeypatch.setenv("ALEPHTX_CACHE", str(tmp_path))
    (seen,) = software.look_at_cache(host.files, None)
    assert (seen.verdict, seen.remedy) == (COSTS, "alephtx warm")
