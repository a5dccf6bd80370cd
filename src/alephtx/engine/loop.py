"""The thread that drives the step: compiled, without the GIL, awake as much as the config says.

wait = "spin" burns a core and never sleeps; "sleep" naps after every empty round; "adaptive" (the
default) spins for a short while after the last input and then naps. Ctrl-C and commands reach the
loop within one round, because a round is bounded.
"""

import threading
from collections.abc import Callable
from typing import Any

from alephtx.core.atomics import monotonic_ns, pause
from alephtx.core.clock import pause_thread
from alephtx.core.kernel import Int, kernel
from alephtx.core.log import logger
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.engine.context import (
    A_LINKS,
    F_ADDRESSES,
    F_NOW,
    I1,
    R_ASK,
    R_BUSY,
    R_COMMAND,
    R_IDLE,
    R_JOURNAL,
    R_OUTBOX,
    Context,
    pack,
)
from alephtx.engine.step import step

log = logger("engine")

BUDGET = 64
ROUNDS = {"spin": 20_000, "adaptive": 100, "sleep": 1}
"""Empty rounds, of about 150 ns each, before the thread looks up from the rings."""

NAP_NS = {"spin": 0, "adaptive": 100_000, "sleep": 1_000_000}
QUIET_NAPS, QUIET_NAP_NS = 200, 1_000_000
"""After so many naps in a row the market is quiet, and naps grow to this."""


@kernel
def spin(x: Rows, rounds: Int, offset_ns: Int) -> int:
    """Step until something needs Python or `rounds` empty rounds have passed; returns R_ bits."""
    now, addresses = field(x, F_NOW, I1), field(x, F_ADDRESSES, I1)
    idle = 0
    busy = R_IDLE
    while idle < rounds:
        mono = monotonic_ns()
        now[3] = mono
        now[0] = mono + offset_ns
        came = call_stage(addresses[A_LINKS], x, 0, 0) if addresses[A_LINKS] != 0 else 0
        reason = step(x, BUDGET)
        if reason & R_BUSY or came > 0:
            idle = 0
            busy = R_BUSY
        else:
            idle += 1
            pause()
        if reason & (R_OUTBOX | R_JOURNAL | R_COMMAND | R_ASK):
            return reason
    return busy


class Loop(threading.Thread):
    """Drives one context until stopped.

    on_outbox: called (in this thread) when intents wait for the gateway; make_room: makes room in
    journal and input log, False when it cannot (the loop then ends, halted).
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
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Loop; an error ends the thread and is reported, never swallowed."""
        try:
            self._drive()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self.failure = error
        self._on_end(self.failure)

    def _drive(self) -> None:
        rounds, nap_ns = ROUNDS[self.wait], NAP_NS[self.wait]
        idle = 0
        while not self._stop_asked.is_set():
            reason = spin(self.packed, rounds, self.offset_ns)
            if reason & R_OUTBOX:
                self._on_outbox()
            if reason & R_JOURNAL and not self._make_room():
                return
            idle = idle + 1 if reason == R_IDLE else 0
            if idle and nap_ns:
                pause_thread(nap_ns if idle < QUIET_NAPS else QUIET_NAP_NS)

    def stop(self, seconds: float = 5.0) -> None:
        """Ask the loop to end and wait for it."""
        self._stop_asked.set()
        if self.is_alive():
            self.join(seconds)
