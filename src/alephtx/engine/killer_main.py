"""Process entry of the killer: `python -m alephtx.engine.killer_main RUN SUPERVISOR | --once`.

Leaves the processor to the engine while that starts: nothing is open before, and importing the rest
takes most of a second. What is asked meanwhile is heard.

Exit codes: 0 over, 2 cannot stand by, 1 a fault (its supervisor starts it again).
"""

import signal
import sys
from pathlib import Path

from alephtx.core.clock import MachineClock, pause_thread

WAIT_NS, POLL_NS = 5_000_000_000, 20_000_000


def await_engine(run: Path, asked: list[int]) -> None:
    """Wait until the run's engine speaks, somebody asks for a kill, or WAIT_NS have passed."""
    begun, status = MachineClock().now(), run / "status.json"
    for _ in range(WAIT_NS // POLL_NS):
        spoke = status.exists() and status.stat().st_mtime_ns > begun
        if spoke or asked or any((run / "kill").glob("*.asked.json")):
            return
        pause_thread(POLL_NS)


def main(arguments: list[str]) -> int:
    """Run one killer; returns its exit code."""
    path, once = Path(arguments[0]), arguments[1] == "--once"
    asked: list[int] = []
    if not once:
        signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(number))
        await_engine(path, asked)

    import uvloop

    from alephtx.core import log
    from alephtx.core.errors import AlephError, ConfigError, PluginError
    from alephtx.engine import killer
    from alephtx.engine.rundir import RunDirectory

    log.configure()
    run = RunDirectory(path)
    try:
        if once:
            uvloop.run(killer.once(run))
        else:
            uvloop.run(killer.stand_by(run, int(arguments[1]), signalled=bool(asked)))
    except (ConfigError, PluginError) as error:
        log.logger("kill").error("killer_cannot_stand_by", error=str(error))
        return 2
    except AlephError as error:
        log.logger("kill").error("killer_stopped", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
