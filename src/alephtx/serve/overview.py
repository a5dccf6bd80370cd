"""One picture of a run, alive or ended, from outside: its directory, its lock, its matrix.

Everything read here was written by another process, maybe of another version, maybe cut off: what
cannot be believed is a ConfigError that names the file.
"""

from typing import Any

import msgspec

from alephtx.core.clock import MachineClock
from alephtx.core.errors import ConfigError, MatrixError
from alephtx.engine.outside import (
    EngineStatus,
    HaltNote,
    ProcessState,
    attach_to,
    halts_of,
    owner_of,
    status_of,
)
from alephtx.engine.placement import cores_of
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.watch import books_of, feeders_of
from alephtx.matrix.writers import halt_read

ENDED, CRASHED, STARTING, RUNNING, HALTED = "ended", "crashed", "starting", "running", "halted"


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
        for process in seen.processes:
            process.cores = cores_of(process.pid) if process.pid else ""
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
