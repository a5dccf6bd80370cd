"""Clocks and randomness as values that are handed in; the only file that reads them.

`Clock.now` is wall time in ns since the epoch, built on the monotonic clock plus an offset fixed at
start, so it never jumps back within a process. Staleness and time-outs use `monotonic` only.
"""

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time as a value: live clocks read the machine, simulated ones are set by the world."""

    def now(self) -> int:
        """Return ns since the epoch, UTC."""
        ...

    def monotonic(self) -> int:
        """Return ns of a clock that never jumps."""
        ...

    async def sleep(self, duration_ns: int) -> None:
        """Wait that long in this clock's time."""
        ...


class MachineClock:
    """The machine's clocks: now = CLOCK_MONOTONIC + offset."""

    def __init__(self, offset_ns: int | None = None) -> None:
        self.offset_ns = measure_offset() if offset_ns is None else offset_ns

    def now(self) -> int:
        """Return ns since the epoch, UTC."""
        return time.monotonic_ns() + self.offset_ns

    def monotonic(self) -> int:
        """Return ns of a clock that never jumps."""
        return time.monotonic_ns()

    async def sleep(self, duration_ns: int) -> None:
        """Wait that long in this clock's time."""
        import asyncio  # what only computes starts without it

        await asyncio.sleep(max(0, duration_ns) / 1e9)


class ManualClock:
    """A clock that moves only when told to; for tests and replays."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.now_ns = now_ns
        self.start_ns = now_ns

    def now(self) -> int:
        """Return ns since the epoch, UTC."""
        return self.now_ns

    def monotonic(self) -> int:
        """Return ns of a clock that never jumps."""
        return self.now_ns - self.start_ns

    def advance(self, duration_ns: int) -> None:
        """Move the clock by so many ns."""
        self.now_ns += duration_ns

    async def sleep(self, duration_ns: int) -> None:
        """Wait that long in this clock's time."""
        import asyncio

        self.now_ns += max(0, duration_ns)
        await asyncio.sleep(0)


def measure_offset() -> int:
    """Return wall - monotonic in ns, from the tightest of nine readings."""
    best_width, best = 1 << 62, 0
    for _ in range(9):
        before = time.monotonic_ns()
        wall = time.time_ns()
        width = time.monotonic_ns() - before
        if width < best_width:
            best_width, best = width, wall - before - width // 2
    return best


def pause_thread(duration_ns: int) -> None:
    """Sleep this thread; for loops that live outside asyncio."""
    time.sleep(max(0, duration_ns) / 1e9)


def seeded(seed: int | None = None) -> random.Random:
    """Return a source of randomness: seeded for replays, else from the system."""
    return random.Random(seed)  # noqa: S311 - for jitter and simulations, never for keys
