"""Process entry of a feeder: `python -m alephtx.engine.feeder RUN VENUE MATRIX SUPERVISOR`."""

import os
import sys
from functools import partial
from pathlib import Path

from alephtx.core import log
from alephtx.core.config import Config, load_config
from alephtx.core.kernel import prefer_stored
from alephtx.engine.placement import place_process, place_receiver
from alephtx.engine.rundir import RunDirectory
from alephtx.feed.main import run_feeder


def main(arguments: list[str]) -> int:
    """Feed one venue; returns the exit code of `run_feeder`."""
    prefer_stored()
    run = RunDirectory(Path(arguments[0]))
    config = load_config(run.config)
    log.configure(level=config.node.log_level, as_json=config.node.log_json)
    if os.getppid() != int(arguments[3]):  # from here on `run_feeder` watches for it
        log.logger("feeder").warning("supervisor_gone_before_the_start")
        return 0
    _place(config, arguments[1])
    placed = partial(place_receiver, config)
    return run_feeder(config, arguments[1], arguments[2], run.path, placed)


def _place(config: Config, venue: str) -> None:
    machine = config.machine
    feeding = config.fed_venues
    cpu = machine.feeder_cpu(feeding.index(venue)) if venue in feeding else None
    place_process("feeder", cpu, lock=machine.lock_memory)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
