"""The process that owns a run: makes the matrix, starts its children, restarts what dies.

It runs in its own session, holds the matrix lock for life, and can stop everything without the
engine's help: `halt` sets the halt word that the gate reads before every order. Children end
themselves when their supervisor is gone. Order of a stop: halt new orders, engine (cancels,
reconciles, sums up), feeders, killer, matrix.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alephtx.core.clock import MachineClock
from alephtx.core.config import Config
from alephtx.core.errors import AlephError
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger
from alephtx.engine import kill_door
from alephtx.engine.kill_door import HALT_KILLED, HALT_STOPPING
from alephtx.engine.outside import ProcessState, halts_of
from alephtx.engine.placement import check_cores
from alephtx.engine.rundir import RunDirectory
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import halt_read, halt_set

log = logger("supervisor")

RESTARTS_MAX = 20
"""Restarts of one child in a row, none of which held, before the run is given up."""

ENGINE_UNFIT = (2, 3)
FEEDER_UNFIT = (2,)
"""Exit codes of a child that would not do better if it were started again."""

STEADY_NS = 30_000_000_000
SETTLE_NS = 60_000_000_000
LAST_WORDS_BYTES = 2_048
STOP_SECONDS = {"engine": 25.0, "feeder": 5.0, "killer": 10.0}


class Child:
    """One child process: its command, its restarts."""

    def __init__(self, name: str, kind: str, command: list[str], log_path: Path) -> None:
        self.name = name
        self.kind = kind
        self.command = command
        self.log_path = log_path
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self.tries = 0
        self.due_ns = 0
        self.started_ns = 0
        self.pause_ns = 50_000_000
        self.exit_code: int | None = None

    @property
    def pid(self) -> int:
        """The process id, 0 when it does not run."""
        return self.process.pid if self.process and self.process.returncode is None else 0

    async def start(self, now_ns: int) -> None:
        """Start the process; its stderr goes to the run's log directory."""
        with self.log_path.open("ab") as output:
            # In a session of its own: Ctrl-C in a terminal reaches the supervisor only, which ends
            # its children in order.
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self.started_ns = now_ns
        self.exit_code = None

    async def stop(self, seconds: float) -> int:
        """Ask the process to end, then make it; returns its exit code."""
        if self.process is None:
            return 0
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), seconds)
            except TimeoutError:
                log.error("child_killed", name=self.name, after_s=seconds)
                self.process.kill()
                await self.process.wait()
        self.exit_code = self.process.returncode
        return self.exit_code or 0

    def last_words(self) -> str:
        """Return the last line of the child's log, without its time."""
        with self.log_path.open("rb") as log_file:
            log_file.seek(max(0, self.log_path.stat().st_size - LAST_WORDS_BYTES))
            lines = log_file.read().decode(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return said.partition(" ")[2] if said[:4].isdigit() else said


class Supervisor:
    """Owns one run from matrix to last report."""

    def __init__(
        self,
        config: Config,
        run: RunDirectory,
        instruments: Instruments,
        *,
        trading: bool = True,
    ) -> None:
        """Prepare a run; trading = False is market data only, without an engine."""
        self.trading = trading
        self.config = config
        self.run_directory = run
        self.instruments = instruments
        self.clock = MachineClock()
        self.children: list[Child] = []
        self.matrix: Matrix | None = None
        self.failure = ""
        self.unfit = False
        self.killed = False
        self.forced = False
        self._stopping = asyncio.Event()
        self.on_child_died: Callable[[str, int], None] = lambda name, code: None

    @property
    def mode(self) -> str:
        """What the run is for: the config's mode, or `feed` without an engine."""
        return self.config.node.mode if self.trading else "feed"

    def open_matrix(self) -> Matrix:
        """Create (or reclaim) the matrix and write the instrument table."""
        section = self.config.matrix
        geometry = Geometry(
            instruments_max=section.instruments_max,
            depth=section.depth,
            ring_slots=section.ring_slots,
        )
        self.matrix = Matrix.create(
            Path(section.path), self.instruments, geometry, clock_offset_ns=self.clock.offset_ns
        )
        self._keep_kill()
        return self.matrix

    def _keep_kill(self) -> None:
        """Begin halted where the run was killed and nobody lifted it: a restart is no person."""
        notes = halts_of(self.run_directory)
        if notes and notes[-1].action == "halt":
            log.warning("run_begins_halted", reason=notes[-1].reason)
            self.halt(HALT_KILLED)

    def plan(self) -> list[Child]:
        """Return the children: a feeder per venue; where it trades, an engine and a killer."""
        assert self.matrix is not None
        run, logs = str(self.run_directory.path), self.run_directory.logs
        base, matrix = [sys.executable, "-m"], str(self.matrix.path)
        ours = str(os.getpid())
        children = []
        # What is left is received by the engine itself, by its loop or on its main thread.
        for venue in self.config.fed_venues if self.trading else self.config.venues:
            command = [*base, "alephtx.engine.feeder", run, venue, matrix, ours]
            children.append(Child(f"feeder:{venue}", "feeder", command, logs / f"{venue}.log"))
        if self.trading:
            command = [*base, "alephtx.engine.main", run, matrix, ours]
            children.append(Child("engine", "engine", command, logs / "engine.log"))
            command = [*base, "alephtx.engine.killer_main", run, ours]
            children.append(Child("killer", "killer", command, logs / "killer.log"))
        return children

    async def start(self) -> None:
        """Claim the run, open the matrix and start every child."""
        check_cores(self.config.machine)
        self.run_directory.claim()
        self.open_matrix()
        (self.run_directory.path / "engine.json").unlink(missing_ok=True)  # of an earlier life
        self.run_directory.show_json(self.run_directory.path / "supervisor.json", self.describe())
        self.children = self.plan()
        for child in self.children:
            await child.start(self.clock.monotonic())
        self.write_processes()

    def describe(self) -> dict[str, Any]:
        """Return what other commands need to find this run."""
        assert self.matrix is not None
        return {
            "pid": os.getpid(),
            "matrix": str(self.matrix.path),
            "node": self.config.node.name,
            "mode": self.mode,
            "epoch": self.matrix.epoch,
        }

    def write_processes(self) -> None:
        """Publish the children's state for `alephtx status`."""
        states = [
            ProcessState(
                child.name,
                child.pid,
                child.restarts,
                child.exit_code,
                child.started_ns + self.clock.offset_ns,
            )
            for child in self.children
        ]
        self.run_directory.show_json(self.run_directory.path / "processes.json", states)

    async def watch(self) -> None:
        """Restart what dies until `stop` is called or a child is beyond help."""
        while not self._stopping.is_set():
            for child in self.children:
                if child.process is not None and child.process.returncode is not None:
                    await self._attend(child)
            if self.failure:
                return
            kill_door.heed_files(self.run_directory)
            try:
                await asyncio.wait_for(self._stopping.wait(), 0.05)
            except TimeoutError:
                continue

    async def _attend(self, child: Child) -> None:
        """Note a death once, and start the child again when its pause is over; none wait."""
        if not child.due_ns:
            self._note_death(child)
        elif self.clock.monotonic() >= child.due_ns:
            child.due_ns = 0
            await child.start(self.clock.monotonic())
            self.write_processes()

    def _note_death(self, child: Child) -> None:
        """Plan the restart with growing pauses; give the run up when that does not help."""
        assert child.process is not None
        code = child.process.returncode or 0
        child.exit_code = code
        self.on_child_died(child.name, code)
        log.warning("child_died", name=child.name, code=code, restarts=child.restarts)
        if child.kind == "engine" and code == 0:  # ended on purpose
            self._stopping.set()
            return
        if code in (ENGINE_UNFIT if child.kind == "engine" else FEEDER_UNFIT):
            self.failure = f"{child.name} cannot start: {child.last_words()}"
            self.unfit = True
            return
        if self.clock.monotonic() - child.started_ns > STEADY_NS:
            child.pause_ns, child.tries = 50_000_000, 0
        child.restarts += 1
        child.tries += 1
        if child.tries > RESTARTS_MAX:
            self.failure = f"{child.name} died {child.tries} times in a row: see {child.log_path}"
            return
        child.due_ns = self.clock.monotonic() + child.pause_ns
        child.pause_ns = min(child.pause_ns * 2, 5_000_000_000)
        self.write_processes()

    def halt(self, code: int = HALT_STOPPING) -> None:
        """Block every new order at once, engine willing or not; a kill that stands is kept."""
        self._note_kill()
        if self.matrix is not None and not self.killed:
            halt_set(self.matrix.map, code)

    def _note_kill(self) -> None:
        """Remember that a kill stands: the matrix is gone when the exit code is chosen."""
        if self.matrix is not None and halt_read(self.matrix.map) == HALT_KILLED:
            self.killed = True

    async def stop_children(self) -> None:
        """Stop the engine first (it cancels and reconciles), then the feeders, last the killer."""
        self._stopping.set()
        self._note_kill()
        for kind in ("engine", "feeder", "killer"):
            wanted = [child for child in self.children if child.kind == kind]
            await asyncio.gather(*(child.stop(STOP_SECONDS[kind]) for child in wanted))
        if self.children:
            self.write_processes()

    async def settle(self) -> None:
        """Give an engine that did not come through its stop one more life, to cancel and reconcile.

        Its start is its recovery: it cancels what the journal left open. Nothing is done where it
        ended in order, never traded, or was forced.
        """
        engine = next((child for child in self.children if child.kind == "engine"), None)
        ended = (self.run_directory.path / "engine.json").exists()
        traded = self.run_directory.status.exists()
        if engine is None or ended or not traded or self.failure or self.forced:
            return
        log.warning("engine_settles", code=engine.exit_code)
        self.halt()
        begun, written = self.clock.monotonic(), self.run_directory.status.stat().st_mtime_ns
        await engine.start(begun)
        self.write_processes()
        while engine.pid and self.clock.monotonic() - begun < SETTLE_NS:
            if self.run_directory.status.stat().st_mtime_ns != written:
                break
            await self.clock.sleep(50_000_000)
        await engine.stop(STOP_SECONDS["engine"])
        self.write_processes()

    async def stop(self) -> None:
        """Stop the children and give the matrix back."""
        await self.stop_children()
        if self.matrix is not None:
            self.matrix.unlink()
            self.matrix.close()
            self.matrix = None

    def kill(self) -> None:
        """Use the kill switch; for SIGUSR1."""
        kill_door.ask(self.run_directory, "SIGUSR1", "signal")

    def force(self) -> None:
        """Kill every child at once, for a second Ctrl-C; the killer ends what it is at."""
        self.forced = True
        for child in self.children:
            if child.process is not None and child.process.returncode is None:
                if child.kind == "killer":
                    child.process.terminate()
                else:
                    child.process.kill()

    def check(self) -> None:
        """Raise what made the run fail."""
        if self.failure:
            raise AlephError(self.failure)
