"""The thread that drives the step: compiled, without the GIL, awake as much as the config says.

wait = "spin" burns a core and never sleeps; "sleep" naps after every empty round; "adaptive" (the
default) spins for a short while after the last input and then naps. The thread goes back to Python
when the journal needs room, and at its end: for nothing else, so that no other thread's Python can
hold it up. Orders wake the main thread by an eventfd. Ctrl-C and commands reach the loop within one
round, because a round is bounded.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from alephtx.core.atomics import load_acquire, monotonic_ns, pause, store_release
from alephtx.core.kernel import Int, kernel
from alephtx.core.log import logger
from alephtx.core.near import keep_near
from alephtx.core.packed import FIELD_WORDS, field
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.core.syscalls import nap
from alephtx.engine.context import (
    A_LINKS,
    A_NEAR,
    A_WAKE,
    CONTROL_WORDS,
    F_ADDRESSES,
    F_CONTROL,
    F_NOW,
    I1,
    R_BUSY,
    R_IDLE,
    R_JOURNAL,
    R_OUTBOX,
    Context,
    pack,
)
from alephtx.engine.step import step
from alephtx.net.wake import Wake, wake_main

log = logger("engine")

BUDGET = 64
ROUNDS = {"spin": 20_000, "adaptive": 100, "sleep": 1}
"""Empty rounds, of about 150 ns each, before the thread looks up from the rings."""

NAP_NS = {"spin": 0, "adaptive": 100_000, "sleep": 1_000_000}
QUIET_NAPS, QUIET_NAP_NS = 200, 1_000_000
"""After so many naps in a row the market is quiet, and naps grow to this."""


X_LEAVE = CONTROL_WORDS - 1
"""The loop's own word of `control`: 1 = it is asked to end."""


@kernel
def _leave(x: Rows) -> int:
    """Return where the word lies that asks the loop to end."""
    return x[F_CONTROL * FIELD_WORDS] + 8 * X_LEAVE


@kernel
def ask_to_leave(x: Rows, asked: Int) -> None:
    """Ask a loop to end, or let it run; any thread."""
    store_release(_leave(x), asked)


@kernel
def spin(x: Rows, rounds: Int, offset_ns: Int) -> int:
    """Step until the journal is full, the loop is to end or so many rounds were empty.

    Returns R_JOURNAL, else R_BUSY when any round had something to do, else R_IDLE.
    """
    now, addresses, leave = field(x, F_NOW, I1), field(x, F_ADDRESSES, I1), _leave(x)
    near = x[F_ADDRESSES * FIELD_WORDS] + 8 * A_NEAR
    idle = 0
    busy = R_IDLE
    while idle < rounds and load_acquire(leave) == 0:
        mono = monotonic_ns()
        now[3] = mono
        now[0] = mono + offset_ns
        came = call_stage(addresses[A_LINKS], x, 0, 0) if addresses[A_LINKS] != 0 else 0
        reason = step(x, BUDGET)
        if reason & R_OUTBOX:
            wake_main(addresses[A_WAKE])
        if reason & R_JOURNAL:
            return R_JOURNAL
        if reason & R_BUSY or came > 0:
            idle = 0
            busy = R_BUSY
        else:
            idle += 1
            keep_near(near)
            pause()
    return busy


@kernel
def drive(x: Rows, rounds: Int, nap_ns: Int, offset_ns: Int) -> int:
    """Spin and nap by turns. Returns R_JOURNAL when the journal is full, R_IDLE at the end."""
    leave, naps = _leave(x), 0
    while load_acquire(leave) == 0:
        reason = spin(x, rounds, offset_ns)
        if reason == R_JOURNAL:
            return R_JOURNAL
        naps = naps + 1 if reason == R_IDLE else 0
        if naps > 0 and nap_ns > 0:
            nap(nap_ns if naps < QUIET_NAPS else QUIET_NAP_NS)
    return R_IDLE


class Loop(threading.Thread):
    """Drives one context until stopped; started and stopped by an asyncio thread.

    on_outbox: called in that thread when intents wait for the gateway; make_room: makes room in
    journal and input log, in this thread; False when it cannot (the loop then ends, halted).
    on_end: called at its end, in whichever thread, with what it failed of.
    """

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
        super().__init__(name="engine", daemon=True)
        self.ctx = ctx
        self.packed = pack(ctx)
        self.wait = wait
        self.offset_ns = offset_ns
        self.failure: BaseException | None = None
        self._on_outbox = on_outbox
        self._make_room = make_room
        self._on_end = on_end
        self._wake = Wake()
        self._main: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread; the caller's event loop will hear of intents."""
        ask_to_leave(self.packed, 0)
        self.ctx.addresses[A_WAKE] = self._wake.address
        self._main = asyncio.get_running_loop()
        self._main.add_reader(self._wake.fd, self._woken)
        super().start()

    def _woken(self) -> None:
        self._wake.taken()
        try:
            self._on_outbox()
        except Exception as error:  # noqa: BLE001 - an order that nobody carries ends the process
            self._on_end(error)

    def run(self) -> None:
        """Loop; an error ends the thread and is reported, never swallowed."""
        try:
            self._drive()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self.failure = error
        self._on_end(self.failure)

    def _drive(self) -> None:
        rounds, nap_ns = ROUNDS[self.wait], NAP_NS[self.wait]
        while drive(self.packed, rounds, nap_ns, self.offset_ns) == R_JOURNAL:
            if not self._make_room():
                return

    def stop(self, seconds: float = 5.0) -> None:
        """Ask the loop to end, wait for it, and hand over what it left."""
        ask_to_leave(self.packed, 1)
        if self.is_alive():
            self.join(seconds)
        if self._main is not None and not self.is_alive():
            self._main.remove_reader(self._wake.fd)
            self._main, self.ctx.addresses[A_WAKE] = None, 0
            self._woken()
            self._wake.close()
