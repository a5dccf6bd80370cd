"""The engine's part in a kill: once halted it cancels by itself, and one that hangs is ended.

Where accounts are simulated the engine's word is all there is. Where they are real the venues are
asked; an engine that does not stir is then started again by its supervisor, so that its books come
right: its start is its recovery.
"""

import os
import signal

from alephtx.core.clock import Clock
from alephtx.core.errors import AlephError
from alephtx.core.log import logger
from alephtx.engine.outside import EngineStatus, child_pid, status_of
from alephtx.engine.rundir import RunDirectory

log = logger("kill")

STIR_NS = 3_000_000_000
"""A status.json this old, of an engine that writes four a second, means that it does not stir."""

POLL_NS = 20_000_000
ENGINE = "alephtx.engine.main"


def is_over(status: EngineStatus, since_ns: int) -> bool:
    """Tell whether an engine said, after a moment, that it is halted and nothing is open."""
    ready = all(account.ready for account in status.accounts)
    return status.ts > since_ns and status.halted and ready and status.live_orders == 0


def engine_pid(run: RunDirectory, before_ns: int = 1 << 62) -> int:
    """Return the process id of a run's engine that was started before a moment, 0 for none."""
    return child_pid(run, "engine", ENGINE, before_ns)


async def see_to_engine(run: RunDirectory, clock: Clock, since_ns: int, deadline_ns: int) -> str:
    """Wait for a run's engine to say that all is over; ends one that hangs. Returns what it did.

    since_ns: wall time of the kill; deadline_ns: monotonic. "" when it said so itself.
    """
    ended = False
    while clock.monotonic() < deadline_ns:
        try:
            status = status_of(run)
            if status is not None and is_over(status, since_ns):
                return "was hung, and was started again" if ended else ""
            pid = engine_pid(run)
            if not run.alive and not pid:
                return "is not there"
            hung = status is not None and clock.now() - max(since_ns, status.ts) > STIR_NS
            # One that was started after the last word is on its way, and cancels when it is there.
            if hung and not ended and status is not None and (pid := engine_pid(run, status.ts)):
                log.error("hung_engine_killed", run=run.id, pid=pid)
                os.kill(pid, signal.SIGKILL)
                ended = True
        except (AlephError, ProcessLookupError) as error:
            log.warning("engine_not_seen", run=run.id, error=str(error))
        await clock.sleep(POLL_NS)
    return "hung and was ended" if ended else "did not say that nothing is open"
