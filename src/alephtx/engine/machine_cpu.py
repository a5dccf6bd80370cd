"""Looks at processors: how many, who shares them, what puts them to sleep or takes them away."""

import os
from collections.abc import Iterator

from alephtx.core.config_schema import Config
from alephtx.engine.machine import (
    BROKEN,
    COSTS,
    GOOD,
    NOT_VISIBLE,
    Files,
    Finding,
    cores,
    unseen,
)

_CPU = "sys/devices/system/cpu"
_CAP_SYS_NICE = 23
FEW, DEEP_US, FIFO_US = 4, 10, 950_000


def look_at_cores(files: Files, config: Config | None) -> Iterator[Finding]:
    """Count what may be used and say who shares what."""
    online, allowed = cores(files.read(f"{_CPU}/online")), sorted(os.sched_getaffinity(0))
    value = f"{len(online) or NOT_VISIBLE} online, this process may use {len(allowed)}"
    spins = config is not None and config.node.wait == "spin"
    if len(allowed) < 2 and spins:
        yield Finding(
            "processors", value, BROKEN, "the loop would starve all else",
            'node.wait = "adaptive"',
        )  # fmt: skip
    elif len(allowed) < FEW:
        cost = "loop, feeders and system share cores; a thread that waits for one waits 1 to 4 ms"
        yield Finding("processors", value, COSTS, cost, f"a host with {FEW} cores or more")
    else:
        yield Finding("processors", value)
    yield from _shared(files)
    if "hypervisor" in files.read("proc/cpuinfo"):
        cost = "its host takes cores away for 10 to 100 us and more; see `jitter`"
        yield Finding("virtual machine", "yes", COSTS, cost, "bare metal, or dedicated cores")


def _shared(files: Files) -> Iterator[Finding]:
    pairs = {files.read(str(path.relative_to(files.root)))
             for path in files.find(f"{_CPU}/cpu[0-9]*/topology/thread_siblings_list")}  # fmt: skip
    twins = sorted(pair for pair in pairs if len(cores(pair)) > 1)
    if twins:
        cost = "two threads on one core take up to half of its speed from each other"
        remedy = "leave the sibling of the loop's core idle, or: echo off > /" + _CPU
        yield Finding("hyper-threads", "; ".join(twins), COSTS, cost, f"{remedy}/smt/control")
    elif pairs:
        yield Finding("hyper-threads", "none")
    else:
        yield unseen("hyper-threads")
    groups = {files.read(str(path.relative_to(files.root)))
              for path in files.find(f"{_CPU}/cpu[0-9]*/cache/index3/shared_cpu_list")}  # fmt: skip
    if len(groups) > 1:
        cost = "a cache line between groups takes 200 to 300 ns instead of 50 to 100"
        remedy = "name loop_cpu and feeder_cpus of one group in [machine]"
        yield Finding("shared L3", "; ".join(sorted(groups)), COSTS, cost, remedy)
    elif groups:
        yield Finding("shared L3", f"all of {groups.pop()}")
    else:
        yield unseen("shared L3")


def look_at_isolation(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say what else may run on the loop's core."""
    loop = config.machine.loop_cpu if config is not None else None
    core = max(os.sched_getaffinity(0)) if loop is None else loop
    for what, text, cost in (
        ("isolcpus", files.read(f"{_CPU}/isolated"), "other threads run there for 1 to 4 ms"),
        ("nohz_full", files.read(f"{_CPU}/nohz_full"), "a timer tick of 1 to 5 us, 250 a second"),
        ("rcu_nocbs", _of_command_line(files, "rcu_nocbs"), "the kernel's callbacks, 1 to 50 us"),
    ):
        held = cores(text)
        if core in held:
            yield Finding(what, text)
        else:
            remedy = f"on the kernel's command line: {what}={core}"
            yield Finding(what, text if held else "no core", COSTS, cost, remedy)
    yield from _cgroup(files)
    yield from _interrupts(files, core)


def _of_command_line(files: Files, name: str) -> str:
    words = files.read("proc/cmdline").split()
    return next((w.partition("=")[2] for w in words if w.startswith(f"{name}=")), "")


def _cgroup(files: Files) -> Iterator[Finding]:
    where = next((line.partition("::")[2] for line in files.read("proc/self/cgroup").splitlines()
                  if line.startswith("0::")), "")  # fmt: skip
    found = [files.read(f"sys/fs/cgroup{at}/cpu.max") for at in (where.rstrip("/"), "")]
    quota = next((text for text in found if text), "")
    if not quota:
        old, period = (files.number(f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us")
                       for name in ("quota", "period"))  # fmt: skip
        if old is not None:
            quota = f"{'max' if old < 0 else old} {period or 0}"
    if not quota:
        yield unseen("cpu quota")
    elif quota.startswith("max"):
        yield Finding("cpu quota", "none")
    else:
        used, _, span = quota.partition(" ")
        cost = "every thread stands still for what is left of a period that is used up"
        remedy = "run without --cpus; pin with --cpuset-cpus instead"
        yield Finding("cpu quota", f"{used} of {span} us", COSTS, cost, remedy)


def _interrupts(files: Files, core: int) -> Iterator[Finding]:
    running = {files.read(str(p.relative_to(files.root))) for p in files.find("proc/[0-9]*/comm")}
    if "irqbalance" in running:
        cost = "it moves interrupts onto the loop's core: 2 to 20 us each"
        remedy = "systemctl disable --now irqbalance, or IRQBALANCE_BANNED_CPULIST"
        yield Finding("irqbalance", "runs", COSTS, cost, remedy)
    lists = files.find("proc/irq/[0-9]*/effective_affinity_list")
    lists = lists or files.find("proc/irq/[0-9]*/smp_affinity_list")
    if not lists:
        yield unseen("interrupts")
        return
    here = [path.parent.name for path in lists
            if core in cores(files.read(str(path.relative_to(files.root))))]  # fmt: skip
    value = f"{len(here)} of {len(lists)} may come to core {core}"
    if not here:
        yield Finding("interrupts", value)
        return
    others = "0" if core else "1"
    remedy = f"echo {others} > /proc/irq/N/smp_affinity_list, N of {', '.join(here[:6])}"
    yield Finding("interrupts", value, COSTS, "2 to 20 us each", remedy)


def look_at_power(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say what makes cores slow or lets them sleep."""
    governors = {files.read(str(path.relative_to(files.root)))
                 for path in files.find(f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor")}  # fmt: skip
    if not governors:
        yield unseen("governor", "the host's matter in a virtual machine")
    elif governors == {"performance"}:
        yield Finding("governor", "performance")
    else:
        cost = "10 to 500 us at half speed whenever a core was idle"
        remedy = "cpupower frequency-set -g performance"
        yield Finding("governor", ", ".join(sorted(governors)), COSTS, cost, remedy)
    turbo = {"0": "on", "1": "off"}.get(files.read(f"{_CPU}/intel_pstate/no_turbo"), "")
    turbo = turbo or {"1": "on", "0": "off"}.get(files.read(f"{_CPU}/cpufreq/boost"), "")
    yield Finding("turbo", turbo) if turbo else unseen("turbo")
    states = files.find(f"{_CPU}/cpu0/cpuidle/state[0-9]*")
    latencies = [
        files.number(f"{at}/latency") or 0
        for at in (str(path.relative_to(files.root)) for path in states)
        if files.read(f"{at}/disable") != "1"
    ]
    if not latencies:
        yield unseen("idle states", "the host's matter in a virtual machine")
    elif max(latencies) <= DEEP_US:
        yield Finding("idle states", f"awake again within {max(latencies)} us")
    else:
        cost = f"up to {max(latencies)} us to wake a core; none where the loop spins"
        yield Finding("idle states", f"{len(latencies)}", COSTS, cost, "cpupower idle-set -D 2")


def look_at_priorities(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say whether threads of ours may get ahead of others."""
    import resource

    from alephtx.engine.placement import PRIORITY, has_capability, priority_of

    asked = config.machine.realtime if config is not None else "off"
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    wanted = priority_of(config) if config is not None else PRIORITY
    able = limit == resource.RLIM_INFINITY or limit >= wanted or has_capability(_CAP_SYS_NICE)
    value = f"{'allowed' if able else 'refused'} (limit {limit}); [machine] says {asked}"
    if able:
        yield Finding("real-time priority", value)
    else:
        verdict = BROKEN if asked == "require" else COSTS
        cost = "any other thread may take the loop's core for 1 to 4 ms"
        remedy = f"setcap cap_sys_nice=ep PYTHON, or `rtprio {wanted}` in /etc/security/limits.d"
        yield Finding("real-time priority", value, verdict, cost, remedy)
    runtime = files.number("proc/sys/kernel/sched_rt_runtime_us")
    if runtime is None:
        yield unseen("real-time throttle")
    elif 0 <= runtime < 1_000_000:
        spins = asked != "off"
        cost = f"a real-time loop that spins stands still up to {1_000 - runtime // 1_000} ms/s"
        remedy = "sysctl kernel.sched_rt_runtime_us=-1, on a host with a core left for the system"
        yield Finding("real-time throttle", f"{runtime} us a second", COSTS if spins else GOOD,
                      cost, remedy if spins else "")  # fmt: skip
    else:
        yield Finding("real-time throttle", "off: leave the system a core")
