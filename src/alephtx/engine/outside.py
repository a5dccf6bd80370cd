"""A run as other processes know it: who owns it, what its engine says, its matrix, its halts.

Everything read here was written by another process, maybe of another version, maybe cut off: what
cannot be believed is a ConfigError that names the file.
"""

import os
from pathlib import Path

import msgspec

from alephtx.core.errors import ConfigError
from alephtx.engine.rundir import RunDirectory, runs
from alephtx.matrix.shm import Matrix


class ProcessState(msgspec.Struct):
    """What `alephtx status` shows of a child.

    started: wall time in ns. cores: what it is pinned to, as whoever looks finds it; "" = anywhere.
    """

    name: str
    pid: int
    restarts: int
    exit_code: int | None
    started: int = 0
    cores: str = ""


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


class LayerState(msgspec.Struct):
    """A layer in status.json; its stages by `core.layers.STAGES`, each a histogram's summary."""

    layer: str
    strategies: int
    strategy: dict[str, int] = {}
    decide: dict[str, int] = {}
    send: dict[str, int] = {}
    order: dict[str, int] = {}


class BudgetState(msgspec.Struct):
    """A strategy's layer in status.json. order, call, window: summaries, in ns."""

    name: str
    layer: str
    budget_ns: int
    orders: int = 0
    over: int = 0
    breaches: int = 0
    broken: bool = False
    order: dict[str, int] = {}
    call: dict[str, int] = {}
    window: dict[str, int] = {}


class LayersState(msgspec.Struct, frozen=True):
    """What status.json says of execution layers, without the histograms."""

    layers: list[LayerState] = []
    strategies: list[BudgetState] = []


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
    machine: dict[str, str] = {}
    layers: LayersState = LayersState()

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


def is_process_of(pid: int, module: str, run: RunDirectory) -> bool:
    """Tell whether a process is a run's; a process id alone may be another's by now."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return module.encode() in words and os.fsencode(run.path) in words


def child_pid(run: RunDirectory, name: str, module: str, before_ns: int = 1 << 62) -> int:
    """Return the process id of a run's child that was started before a moment, 0 for none."""
    processes: list[ProcessState] = (
        run.read_as(run.path / "processes.json", list[ProcessState]) or []
    )
    for process in processes:
        there = process.name == name and process.pid > 0 and process.started < before_ns
        if there and is_process_of(process.pid, module, run):
            return process.pid
    return 0


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
