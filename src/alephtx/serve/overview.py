"""One picture of a run, alive or ended, from outside: its directory, its lock, its matrix.

Everything read here was written by another process, maybe of another version, maybe cut off: what
cannot be believed is a ConfigError that names the file.
"""

from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.clock import MachineClock
from alephtx.core.errors import ConfigError, MatrixError
from alephtx.engine.rundir import RunDirectory, runs
from alephtx.engine.supervisor import ProcessState
from alephtx.engine.watch import books_of, feeders_of
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import halt_read

ENDED, CRASHED, STARTING, RUNNING, HALTED = "ended", "crashed", "starting", "running", "halted"


class Owner(msgspec.Struct):
    """supervisor.json: who runs it, and where its matrix is."""

    pid: int
    matrix: str
    node: str = ""
    mode: str = ""
    epoch: int = 0


class AccountState(msgspec.Struct):
    """An account in status.json."""

    name: str
    ready: bool
    live_orders: int
    foreign: int = 0
    fills: int = 0


class StrategyState(msgspec.Struct):
    """A strategy in status.json."""

    name: str
    enabled: bool
    events: int
    intents: int
    denied: int
    open_orders: int
    positions: dict[str, str] = {}


class EngineStatus(msgspec.Struct):
    """What other processes rely on in status.json; ts: wall time of writing, in ns."""

    ts: int
    halted: bool
    mode: str = ""
    counters: dict[str, int] = {}
    denied: dict[str, int] = {}
    strategies: list[StrategyState] = []
    accounts: list[AccountState] = []
    positions: dict[str, str] = {}
    realized: dict[str, str] = {}
    unrealized: dict[str, str] = {}
    fees: dict[str, str] = {}
    funding: dict[str, str] = {}
    alarms: list[str] = []

    @property
    def live_orders(self) -> int:
        """Orders that may be open at a venue, as gateways and order table know them."""
        at_gateways = sum(account.live_orders for account in self.accounts)
        return max(at_gateways, sum(strategy.open_orders for strategy in self.strategies))


class HaltNote(msgspec.Struct):
    """One use of the kill switch; `halts.json` keeps them all. action: halt or resume."""

    ts: int
    action: str
    reason: str


class Overview(msgspec.Struct):
    """A run as `alephtx status` shows it. state: ended, crashed, starting, running or halted."""

    run: str
    path: str
    node: str
    mode: str
    state: str
    pid: int
    matrix: str
    halt_word: int
    halts: list[HaltNote]
    processes: list[ProcessState]
    books: list[dict[str, Any]]
    feeders: dict[str, dict[str, int]]
    status: EngineStatus | None
    summary: dict[str, Any] | None
    trouble: str = ""


def find_run(run: str | None, base: str | Path = "runs") -> RunDirectory:
    """Return the run of a path or a name below base; else the newest that lives, else the newest.

    ConfigError where there is none, or where the directory is no run's.
    """
    if run:
        path = Path(run) if Path(run).is_dir() else Path(base) / run
        if not path.is_dir():
            raise ConfigError(f"there is no run {run}", remedy=f"ls {base} shows the runs")
        found = RunDirectory(path.resolve())
        if not found.config.is_file():
            raise ConfigError(f"{path} is not a run directory: it has no config.toml")
        return found
    found_runs = below(base)
    if not found_runs:
        raise ConfigError(f"there is no run below {base}", remedy="alephtx run makes one")
    return next((found for found in found_runs if found.alive), found_runs[0])


def below(base: str | Path) -> list[RunDirectory]:
    """Return the runs below a directory, newest first; none where there is no directory."""
    folder = Path(base)
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{base} cannot be read: {error.strerror}") from error
    return list(runs(folder.resolve()))


def owner_of(run: RunDirectory) -> Owner | None:
    """Return who runs or ran it; None when it never began."""
    found: Owner | None = run.read_as(run.path / "supervisor.json", Owner)
    return found


def status_of(run: RunDirectory) -> EngineStatus | None:
    """Return what the engine last said of itself."""
    found: EngineStatus | None = run.read_as(run.status, EngineStatus)
    return found


def halts_of(run: RunDirectory) -> list[HaltNote]:
    """Return every use of the kill switch, oldest first."""
    return list(run.read_as(run.path / "halts.json", list[HaltNote]) or [])


def attach_to(run: RunDirectory) -> Matrix:
    """Join the matrix of a run that lives; ConfigError when it is not this run's any more."""
    owner = owner_of(run)
    if owner is None:
        raise ConfigError(f"run {run.id} has no matrix yet", remedy="wait a moment")
    matrix = Matrix.attach(owner.matrix)
    if owner.epoch and matrix.epoch != owner.epoch:
        matrix.close()
        raise ConfigError(f"{owner.matrix} is not the matrix of run {run.id} any more")
    return matrix


def look(run: RunDirectory) -> Overview:
    """Take one picture of a run; what its matrix denies us is told in `trouble`."""
    owner, alive = owner_of(run), run.alive
    status = status_of(run)
    seen = Overview(
        run=run.id,
        path=str(run.path),
        node=run.node,
        mode=owner.mode if owner else "",
        state=ENDED if run.ended else CRASHED,
        pid=owner.pid if owner and alive else 0,
        matrix=owner.matrix if owner else "",
        halt_word=0,
        halts=halts_of(run),
        processes=list(run.read_as(run.path / "processes.json", list[ProcessState]) or []),
        books=[],
        feeders={},
        status=status,
        summary=run.read_as(run.summary, dict[str, Any]),
    )
    if alive:
        seen.state = RUNNING if seen.mode == "feed" or _spoke(seen) else STARTING
        _look_into_matrix(run, seen)
        if seen.halt_word or (status is not None and status.halted):
            seen.state = HALTED
    elif seen.state == CRASHED:
        seen.processes = []
    return seen


def _spoke(seen: Overview) -> bool:
    """Tell whether the engine that runs now has said something; an earlier life does not count."""
    started = max((p.started for p in seen.processes if p.name == "engine"), default=0)
    return seen.status is not None and seen.status.ts > started


def _look_into_matrix(run: RunDirectory, seen: Overview) -> None:
    try:
        matrix = attach_to(run)
    except (ConfigError, MatrixError) as error:
        seen.trouble = str(error)
        return
    with matrix:
        clock = MachineClock(matrix.clock_offset_ns)
        seen.halt_word = int(halt_read(matrix.map))
        seen.books = books_of(matrix, matrix.instruments, clock)
        seen.feeders = feeders_of(matrix, matrix.instruments)
