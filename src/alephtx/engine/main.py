"""Process entry of the engine: `python -m alephtx.engine.main RUN MATRIX SUPERVISOR`.

Exit codes: 0 stopped and reconciled, 2 cannot start, 3 bad configuration, 6 stopped but not
reconciled, 1 a fault (the supervisor starts it again).
"""

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from alephtx.core import garbage, log
from alephtx.core.clock import MachineClock, seeded
from alephtx.core.config import load_config
from alephtx.core.errors import AlephError, ConfigError, PluginError
from alephtx.core.kernel import prefer_stored
from alephtx.engine.guard import end_with_parent
from alephtx.engine.host import Host
from alephtx.engine.placement import check_cores, place_process
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import Session
from alephtx.matrix.shm import Matrix


async def _run(run: RunDirectory, matrix_path: Path, supervisor: int) -> int:
    config = load_config(run.config)
    check_cores(config.machine)
    placed = place_process("main", config.machine.main_cpu, lock=config.machine.lock_memory)
    matrix = Matrix.attach(matrix_path)
    instruments = run.load_instruments()
    # Kept before a row names a new currency: the journal knows only numbers.
    instruments.on_currency = lambda: run.save_instruments(instruments)
    clock = MachineClock(matrix.clock_offset_ns)
    host = Host(clock, seeded(), settled=garbage.hold, placed=placed)
    session = Session(config, run, matrix, instruments, host)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, session.stop_asked.set)
    watching = end_with_parent(session.stop_asked, supervisor)
    keeping = asyncio.ensure_future(garbage.keep(clock, session.calm))
    try:
        return await session.run()
    finally:
        watching.cancel()
        keeping.cancel()
        matrix.close()


def main(arguments: list[str]) -> int:
    """Run one engine process; returns its exit code."""
    prefer_stored()
    run = RunDirectory(Path(arguments[0]))
    log.configure()
    try:
        return uvloop.run(_run(run, Path(arguments[1]), int(arguments[2])))
    except (ConfigError, PluginError) as error:
        log.logger("engine").error("engine_cannot_start", error=str(error))
        return 3
    except AlephError as error:
        log.logger("engine").error("engine_stopped", error=str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
