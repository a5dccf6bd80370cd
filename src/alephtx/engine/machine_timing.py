"""Measures what the machine costs, here and now, in less than two seconds together.

Every figure is of this moment and of these cores; a virtual machine's change by the minute.
"""

import mmap
import os
import select
import threading
from collections.abc import Callable, Iterator

import numpy as np

from alephtx.core import kernel as kernels
from alephtx.core.atomics import load_acquire, monotonic_ns, store_release
from alephtx.core.clock import MachineClock
from alephtx.core.config_schema import Config
from alephtx.core.kernel import Int, kernel
from alephtx.core.ports import Rows
from alephtx.engine.machine import COSTS, GOOD, Files, Finding, unseen

Timing = Callable[[Files, Config | None], Iterator[Finding]]

SPIN_NS, GAP_NS, TURNS_NS = 500_000_000, 4_000, 400_000_000
PAGE, PAGES_BYTES, HUGE = 4_096, 16 << 20, 2 << 20
WAKES, TURNS = 60, 5_000
CALL_NS, READ_NS, LINE_NS, WAKE_US, GAPS_US = 200, 60, 120, 15, 50


@kernel
def read_clock(times: Int) -> int:
    """Read the clock so often; returns the ns it took."""
    begun = monotonic_ns()
    last = begun
    for _ in range(times):
        last = max(last, monotonic_ns())
    return last - begun


@kernel
def watch_gaps(duration_ns: Int, gap_ns: Int, told: Rows) -> None:
    """Look at the clock without pause; told: looks, gaps longer than gap_ns, the longest, lost."""
    begun = monotonic_ns()
    last = begun
    while last - begun < duration_ns:
        now = monotonic_ns()
        gap = now - last
        told[0] += 1
        if gap > gap_ns:
            told[1] += 1
            told[3] += gap
        told[2] = max(told[2], gap)
        last = now


@kernel
def turn(mine: Int, theirs: Int, turns: Int, first: Int, limit_ns: Int) -> int:
    """Pass a number to and fro between two threads; returns ns a one-way trip, 0: not in time."""
    begun = monotonic_ns()
    for k in range(1, turns + 1):
        if first:
            store_release(mine, k)
        looks = 0
        while load_acquire(theirs) < k:
            looks += 1
            if looks & 1023 == 0 and monotonic_ns() - begun > limit_ns:
                return 0
        if not first:
            store_release(mine, k)
    return (monotonic_ns() - begun) // max(2 * turns, 1)


def time_clock(files: Files, config: Config | None) -> Iterator[Finding]:
    """Time a look at the clock and a call of the kernel."""
    clock = MachineClock()
    read = read_clock(1_000) or read_clock(1_000)
    ns = min(read_clock(20_000) for _ in range(5)) / 20_000
    assert read >= 0
    yield Finding(
        "clock read", f"{ns:,.0f} ns", COSTS if ns > READ_NS else GOOD, f"{ns:,.0f} ns a round",
        "see `clock source`" if ns > READ_NS else "",
    )  # fmt: skip

    def calls(function: Callable[[], object]) -> float:
        begun = clock.monotonic()
        for _ in range(10_000):
            function()
        return (clock.monotonic() - begun) / 10_000

    ns = min(calls(os.getppid) for _ in range(5)) - min(calls(dict) for _ in range(5))
    yield Finding("system call", f"{max(ns, 0):,.0f} ns", COSTS if ns > CALL_NS else GOOD,
                  f"{max(ns, 0):,.0f} ns each of receive and send",
                  "see `mitigations`; bare metal" if ns > CALL_NS else "")  # fmt: skip


def time_wake(files: Files, config: Config | None) -> Iterator[Finding]:
    """Time how long a thread that sleeps in epoll takes to run once it is wanted."""
    clock, ours, theirs = MachineClock(), os.eventfd(0), os.eventfd(0)

    def answer() -> None:
        with select.epoll() as poll:
            poll.register(ours, select.EPOLLIN)
            for _ in range(WAKES):
                if not poll.poll(1.0):
                    return
                os.eventfd_read(ours)
                os.eventfd_write(theirs, 1)

    thread = threading.Thread(target=answer, daemon=True)
    took = []
    with select.epoll() as poll:
        poll.register(theirs, select.EPOLLIN)
        thread.start()
        for _ in range(WAKES):
            begun = clock.monotonic()
            os.eventfd_write(ours, 1)
            if not poll.poll(1.0):
                break
            os.eventfd_read(theirs)
            took.append((clock.monotonic() - begun) / 2_000)
    thread.join(2.0)
    os.close(ours)
    os.close(theirs)
    if len(took) < WAKES:
        yield unseen("wake-up from epoll", "a wake-up was lost")
        return
    took.sort()
    middle, late = took[len(took) // 2], took[int(len(took) * 0.99)]
    value = f"{middle:,.1f} us, p99 {late:,.1f} us"
    slow = middle > WAKE_US
    yield Finding(
        "wake-up from epoll", value, COSTS if slow else GOOD, f"{middle:,.1f} us a message",
        'node.wait = "spin", on cores of their own' if slow else "",
    )  # fmt: skip


def time_line(files: Files, config: Config | None) -> Iterator[Finding]:
    """Time a cache line's way between two cores, each thread pinned to one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        yield unseen("cache line", "one core")
        return
    near, far = _pair(config, allowed)
    memory = np.zeros(64, np.int64)
    base = (int(memory.ctypes.data) + 127) // 128 * 128
    turn(base, base + 128, 0, 1, 0)  # compiled before it is timed
    found: dict[int, int] = {}

    def run(core: int, first: int) -> None:
        os.sched_setaffinity(0, {core})
        mine, theirs = (base, base + 128) if first else (base + 128, base)
        found[first] = int(turn(mine, theirs, TURNS, first, TURNS_NS))

    pair = [
        threading.Thread(target=run, args=given, daemon=True) for given in ((near, 1), (far, 0))
    ]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join(5.0)
    ns = found.get(1, 0)
    if not ns:
        yield unseen("cache line", f"cores {near} and {far} did not run together")
        return
    yield Finding(
        "cache line", f"{ns} ns from core {near} to {far}", COSTS if ns > LINE_NS else GOOD,
        f"{ns} ns from a feeder's stamp to the loop, at the least",
        "cores that share an L3; see `shared L3`" if ns > LINE_NS else "",
    )  # fmt: skip


def _pair(config: Config | None, allowed: list[int]) -> tuple[int, int]:
    """Return the cores of feeder and loop, as the config names them or as they come."""
    if config is not None:
        loop, feeder = config.machine.loop_cpu, config.machine.feeder_cpu(0)
        if loop in allowed and feeder in allowed and loop != feeder:
            assert loop is not None
            assert feeder is not None
            return feeder, loop
    return allowed[0], allowed[-1]


def time_faults(files: Files, config: Config | None) -> Iterator[Finding]:
    """Time the first touch of memory, with pages of 4 KiB and of 2 MiB."""
    clock, took = MachineClock(), {}
    for huge in (False, True):
        memory = mmap.mmap(-1, PAGES_BYTES + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        pages = np.frombuffer(memory, np.uint8)[::PAGE]
        begun = clock.monotonic()
        pages[:] = 1
        took[huge] = (clock.monotonic() - begun) / len(pages)
    value = f"{took[False]:,.0f} ns for 4 KiB, {took[True]:,.0f} where pages are of 2 MiB"
    cost = f"{took[False]:,.0f} ns at the first touch; matrix and journal are touched before a run"
    yield Finding("page fault", value, cost=cost)


def time_jitter(files: Files, config: Config | None) -> Iterator[Finding]:
    """Spin for half a second and count what takes the core away."""
    told = np.zeros(4, np.int64)
    watch_gaps(0, GAP_NS, told)
    told[:] = 0
    watch_gaps(SPIN_NS, GAP_NS, told)
    looks, gaps, most, lost = (int(word) for word in told)
    value = f"{gaps} gaps > 4 us in 0.5 s, the longest {most / 1e3:,.0f} us"
    bad = most > GAPS_US * 1_000
    yield Finding(
        "jitter", value, COSTS if bad else GOOD,
        f"{lost / SPIN_NS:.2%} of the time; p99.9 of everything is its longest gap",
        "isolcpus and nohz_full for the loop's core; dedicated cores" if bad else "",
    )  # fmt: skip
    assert looks


LOOKS: dict[str, Timing] = {
    "clock read": time_clock, "wake-up from epoll": time_wake, "cache line": time_line,
    "page fault": time_faults, "jitter": time_jitter,
}  # fmt: skip


def measured() -> dict[str, Timing]:
    """Return what can be measured: nothing where kernels are plain Python."""
    return LOOKS if kernels.JIT else {}
