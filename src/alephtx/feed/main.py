"""The feeder process: one venue, from config to a clean exit.

Exit codes: 0 stopped as asked (or the parent is gone), 2 a config or plugin that cannot be used, 3
another error of the known kinds, 1 a bug (with its traceback in the log).
"""

import asyncio
import ctypes
import os
import random
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import uvloop

from alephtx.core import garbage
from alephtx.core import log as logs
from alephtx.core.clock import Clock, MachineClock, seeded
from alephtx.core.config_schema import Config
from alephtx.core.errors import AlephError, ConfigError, PluginError
from alephtx.core.histogram import latency_path, map_histogram
from alephtx.core.plugins import find
from alephtx.core.ports import Codec, Venue
from alephtx.core.syscalls import has_tls
from alephtx.feed.endpoints import endpoints_of
from alephtx.feed.feeder import Feeder, FeederOptions
from alephtx.feed.lane import Lane
from alephtx.feed.record import Recorder
from alephtx.feed.spinner import Spinner
from alephtx.matrix.shm import Matrix

OK, BUG, UNUSABLE, FAILED = 0, 1, 2, 3
PARENT_POLL_NS = 250_000_000
_PR_SET_PDEATHSIG = 1


Placed = Callable[[int], object]


def run_feeder(
    config: Config,
    venue_name: str,
    matrix_path: str | Path,
    run_path: str | Path | None = None,
    placed: Placed | None = None,
) -> int:
    """Feed one venue into an existing matrix until told to stop; return the exit code.

    run_path: the run's directory; raw frames go to its `recordings` where the config says record,
    the latency histogram to its `latency`. placed: called with the number of the thread that
    receives, where there is one.
    """
    _die_with_parent()
    log = logs.logger("feed", venue=venue_name)
    try:
        uvloop_runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        with uvloop_runner as runner:
            runner.run(_serve(config, venue_name, Path(matrix_path), run_path, placed))
    except KeyboardInterrupt:  # Ctrl-C while kernels were being compiled
        return OK
    except (ConfigError, PluginError) as error:
        log.error("feeder_unusable", reason=str(error))
        return UNUSABLE
    except AlephError as error:
        log.error("feeder_failed", reason=str(error))
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last line of a process that has a bug
        trace = traceback.format_exc()
        log.error("feeder_crashed", error=repr(error), trace=trace)
        return BUG
    return OK


async def _serve(
    config: Config,
    venue_name: str,
    matrix_path: Path,
    run_path: str | Path | None,
    placed: Placed | None,
) -> None:
    matrix = Matrix.attach(matrix_path)
    spinner = _spinner_of(config, venue_name)
    try:
        feeder = make_feeder(
            config, venue_name, matrix, MachineClock(matrix.clock_offset_ns), source=seeded(),
            run_path=run_path, spin=config.feeders_wait == "spin",
            lane_of=None if spinner is None else spinner.lane_of,
        )  # fmt: skip
        if spinner is not None and feeder.lane is not None:
            number = spinner.start(feeder)
            if placed is not None:
                placed(number)
        await _run_until_stopped(feeder, spinner if feeder.lane is not None else None)
    finally:
        if spinner is not None:
            spinner.stop()
        matrix.close()


def _spinner_of(config: Config, venue: str) -> Spinner | None:
    """Return what receives in compiled code, where that is asked for and possible."""
    section, wait = config.venues.get(venue), config.feeders_wait
    if wait == "asyncio" or section is None or section.record or not has_tls():
        return None
    return Spinner(sleeps=wait == "sleep")


def make_feeder(
    config: Config,
    venue_name: str,
    matrix: Matrix,
    clock: Clock,
    *,
    source: random.Random,
    run_path: str | Path | None,
    spin: bool = False,
    lane_of: Callable[[Codec], Lane | None] | None = None,
) -> Feeder:
    """Return a venue's feeder as a config asks for it; ConfigError, PluginError where it cannot be.

    Raw frames are kept where the config says so, until its `run` ends. lane_of: makes the lane of
    `Feeder`; where there is one, whoever serves it spins.
    """
    section = config.venues.get(venue_name)
    if section is None:
        raise ConfigError(f"the config has no [venues.{venue_name}]")
    plugin = find("venues", venue_name, config.node.plugins or None)
    venue: Venue = plugin() if isinstance(plugin, type) else plugin
    endpoints, instruments = endpoints_of(venue, section), matrix.instruments
    if venue_name not in instruments.venues:
        raise ConfigError(f"the matrix holds no instrument of {venue_name}")
    codec = venue.bind(instruments, None, 0)
    lane = lane_of(codec) if lane_of is not None else None
    options = FeederOptions(stale_ns=config.risk.stale_ms * 1_000_000, spin=spin and lane is None)
    recorder: Recorder | None = None
    if section.record and run_path is not None:
        recorder = Recorder(Path(run_path) / "recordings", venue_name)
    shown = None if run_path is None else latency_path(run_path, venue_name)
    draft = None if shown is None else shown.with_name(f"{shown.name}.{os.getpid()}")
    try:
        feeder = Feeder(
            codec,
            matrix,
            instruments.venues.index(venue_name),
            clock,
            endpoints,
            source=source,
            record_to=recorder,
            latency=None if draft is None else map_histogram(draft),
            options=options,
            lane=lane,
        )
    except BaseException:
        if recorder is not None:
            recorder.close()
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise
    if draft is not None and shown is not None:
        draft.replace(shown)  # the venue is ours: another feeder's would have been lost
    return feeder


async def _run_until_stopped(feeder: Feeder, spinner: Spinner | None) -> None:
    """Run the feeder until a signal or the parent's end; errors of the feeder are raised."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [
        asyncio.create_task(feeder.run()),
        asyncio.create_task(stop.wait()),
        asyncio.create_task(_watch_parent(feeder)),
        asyncio.create_task(_keep_house(feeder)),
    ]
    if spinner is not None:
        tasks.append(asyncio.create_task(spinner.watch()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks[1:]:
            task.cancel()
        tasks[0].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseExceptionGroup):
            raise result.exceptions[0]
        if isinstance(result, Exception):
            raise result


async def _watch_parent(feeder: Feeder) -> None:
    """Return when the parent is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        await feeder.clock.sleep(PARENT_POLL_NS)
    logs.logger("feed", venue=feeder.name).warning("parent_gone", parent=parent)


async def _keep_house(feeder: Feeder) -> None:
    """Keep the collector out of the feed's way once everything was opened."""
    await feeder.clock.sleep(PARENT_POLL_NS)
    garbage.hold()
    await garbage.keep(feeder.clock)


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies; where it cannot, polling will notice."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (OSError, AttributeError):
        logs.logger("feed").debug("parent_death_signal_missing")
