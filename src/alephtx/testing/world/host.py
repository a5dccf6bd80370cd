"""What a world gives its processes in place of a machine: clock, the step's thread, kernel, log."""

import asyncio
import contextlib
import fcntl
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alephtx.core import log
from alephtx.core.clock import MachineClock
from alephtx.engine import context as c
from alephtx.engine.context import Context, pack
from alephtx.engine.session import Session
from alephtx.engine.step import step
from alephtx.execution import gateway as gateway_module
from alephtx.testing.world.loop import WorldLoop
from alephtx.testing.world.network import running
from alephtx.twins.server import VenueTwin

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

SECOND, MS = 1_000_000_000, 1_000_000
EPOCH_NS = 1_700_000_000 * SECOND
BUDGET = 256


class WorldClock(MachineClock):
    """The world's time as every process of it sees it."""

    def __init__(self, loop: WorldLoop) -> None:
        super().__init__(EPOCH_NS)
        self._loop = loop

    def now(self) -> int:
        return self._loop.now_ns + EPOCH_NS

    def monotonic(self) -> int:
        return self._loop.now_ns


class Stepper:
    """Drives the compiled step between two turns of the loop, in place of `engine.loop.Loop`."""

    world: "World"

    def __init__(
        self,
        ctx: Context,
        *,
        wait: str,
        offset_ns: int,
        on_outbox: Callable[[], Any],
        make_room: Callable[[], bool],
        on_end: Callable[[BaseException | None], Any],
    ) -> None:
        self.ctx, self.packed, self.offset_ns = ctx, pack(ctx), offset_ns
        self.on_outbox, self.make_room, self.on_end = on_outbox, make_room, on_end
        self.process = running.get()
        self.running = False

    def start(self) -> None:
        self.running = True
        self._loop = asyncio.get_running_loop()
        self.world.steppers.append(self)

    def stop(self, seconds: float = 5.0) -> None:
        self.running = False
        if self in self.world.steppers:
            self.world.steppers.remove(self)

    def turn(self, now_ns: int) -> None:
        """Step until nothing is left to do."""
        self.ctx.now[0], self.ctx.now[3] = now_ns + self.offset_ns, now_ns
        while self.running and (reason := step(self.packed, BUDGET)):
            if reason & c.R_OUTBOX:
                self._loop.call_soon_threadsafe(self.on_outbox)
                for seen in self.world.on_intent:
                    seen()
            if reason & c.R_JOURNAL and not self.make_room():
                self.stop()
                self.on_end(None)


def abandon(session: Session) -> None:
    """Give back what the kernel takes from a killed process: its locks. Files stay as they are."""
    journal, inputs = getattr(session, "journal", None), getattr(session, "inputs", None)
    descriptors = [
        -1 if journal is None else journal._lock,  # noqa: SLF001
        -1 if inputs is None else inputs._descriptor,  # noqa: SLF001
    ]
    for descriptor in descriptors:
        if descriptor >= 0:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def retime(twin: VenueTwin, clock: WorldClock) -> None:
    """Give a twin the world's clock."""
    twin.clock = clock
    twin.exchange.now_ms = twin.now_ms
    twin.faults._monotonic = clock.monotonic  # noqa: SLF001


def fast_folder() -> str | None:
    """Return a folder in memory where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a private folder below


@contextlib.contextmanager
def logging(clock: WorldClock, verbose: bool) -> Iterator[None]:
    """Let the log tell the world's time, or nothing."""
    sink = log._sink  # noqa: SLF001 - the process has one, and it is put back
    before = (sink.clock, sink.level)
    sink.clock, sink.level = clock, sink.level if verbose else 100
    try:
        yield
    finally:
        sink.clock, sink.level = before


@contextlib.contextmanager
def slower_rounds() -> Iterator[None]:
    """Look after things less often than live: each look costs as much here as a message."""
    before, gateway_module.HOUSEKEEP_NS = gateway_module.HOUSEKEEP_NS, 100 * MS
    gc.disable()
    try:
        yield
    finally:
        gateway_module.HOUSEKEEP_NS = before
        gc.enable()
