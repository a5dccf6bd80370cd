"""From a person's hand to the loop: Ctrl-C, the kill switch, a swap's switch, each against 10 ms.

A live engine in a process of its own, over a twin in another, on the direct path: its loop hears
the market and keeps an order at rest. A stage in the loop looks at what it is told in every round
and notes the time, as soon as a round begins that knows. Kill: from the call of `kill_door.block`,
which is what `alephtx kill` does first. Switch: from the desk's command for an exchange of
addresses, as a swap ends with; what a swap does before, checking and compiling, takes seconds.
Ctrl-C: from SIGINT to the engine, which ends by it, so that each is another life. Engine and bench
go before the machine's other work, where that is allowed; --fifo: in real time.

python bench/reach.py [--rounds n] [--wait spin|adaptive] [--fifo] [--json]
"""

import argparse
import asyncio
import json
import math
import mmap
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from lib.rounds import options, report
from lib.ttt_stage import hurry
from orders import CONFIG, VENUE, unlimited

from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.packed import field, rows_at
from alephtx.core.stages import call_stage, stage_address
from alephtx.engine import context as c
from alephtx.engine import kill_door
from alephtx.engine import main as engine_main
from alephtx.engine.host import Host
from alephtx.engine.loop import Loop
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import Session
from alephtx.engine.venues import fetch_instruments
from alephtx.engine.warm import DIRECT, SHARES, ensure_warm
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import halt_set
from alephtx.serve.demo import endpoints

LIMIT_MS = 10.0
WAITS = ("spin", "adaptive")
LIVES_SHARE = 5
"""One life for so many rounds of the others: a life takes seconds."""

HALTED, HALTED_AT, STOPPING_AT, COMMANDS, COMMANDS_AT, LINKS, ROUNDS = range(7)
ASKED, ASKED_AT, DONE = 16, 17, 18  # a switch: wanted, pushed at, done
OBEYED = 19  # the halt word as the main thread knows it, which lifts only what it has seen
WORDS = 32
ADDRESS = 24


def look(x, a, b):
    """Note when what a round knows has changed; a stage that stands before the direct path's."""
    told = rows_at(field(x, c.F_DIRECT, c.I1)[ADDRESS], WORDS, c.I1)
    control, now = field(x, c.F_CONTROL, c.I1), field(x, c.F_NOW, c.I1)[3]
    if control[c.X_HALTED] != told[HALTED]:
        told[HALTED], told[HALTED_AT] = control[c.X_HALTED], now
    if control[c.X_STOPPING] != 0 and told[STOPPING_AT] == 0:
        told[STOPPING_AT] = now
    if control[c.X_COMMAND_COUNT] != told[COMMANDS]:
        told[COMMANDS], told[COMMANDS_AT] = control[c.X_COMMAND_COUNT], now
    told[ROUNDS] += 1
    return call_stage(told[LINKS], x, 0, 0) if told[LINKS] != 0 else 0


def words_of(file: Path) -> np.ndarray:
    """Map the words that engine and bench share."""
    with file.open("r+b") as handle:
        return np.frombuffer(mmap.mmap(handle.fileno(), WORDS * 8), np.int64)


class WatchedLoop(Loop):
    """The engine's loop with `look` in it."""

    words: np.ndarray

    def start(self) -> None:
        """Put the stage in its place and begin."""
        told, ctx = self.words, self.ctx
        assert ctx.direct[ADDRESS] == 0, "the words of Context.direct are all taken"
        told[LINKS], ctx.direct[ADDRESS] = ctx.addresses[c.A_LINKS], told.ctypes.data
        ctx.addresses[c.A_LINKS], self.owner = stage_address(look)
        super().start()


class WatchedSession(Session):
    """The engine's session, which switches when the bench asks."""

    words: np.ndarray

    async def _begin(self) -> None:
        await super()._begin()
        self.spawn(self._switch())

    async def _switch(self) -> None:
        told, ways = self.words, self.swaps.ways
        while True:
            await asyncio.sleep(0.002)
            told[OBEYED] = self.halts._word  # noqa: SLF001
            if told[ASKED] == told[DONE]:
                continue
            told[ASKED_AT] = time.monotonic_ns()
            await ways.switch(ways.beside(0, None))
            told[DONE] = told[ASKED]


def engine(arguments: list[str]) -> int:
    """Be an engine process as `engine.main` has it, with eyes in it."""
    words = words_of(Path(arguments[0]))
    WatchedLoop.words = WatchedSession.words = words
    unlimited()
    engine_main.Host = partial(Host, drive=WatchedLoop)
    engine_main.Session = WatchedSession
    return engine_main.main(arguments[1:])


def first(fifo: bool) -> None:
    """Go before the machine's other work, or in real time."""
    hurry()
    if fifo:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


class Life:
    """One life of an engine, from start to end."""

    def __init__(self, folder: Path, run: RunDirectory, matrix: Matrix, *, fifo: bool) -> None:
        self.file, self.run, self.begun_ns = folder / "words", run, time.time_ns()
        self.file.write_bytes(bytes(WORDS * 8))
        self.words = words_of(self.file)
        command = [sys.executable, __file__, "--engine", str(self.file), str(run.path),
                   str(matrix.path), str(os.getpid())]  # fmt: skip
        with (run.logs / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=partial(first, fifo),  # noqa: PLW1509 - no threads here
            )  # fmt: skip
        self.until(self.goes, 120, "its strategy goes")

    def goes(self) -> bool:
        """Tell whether this life's strategy trades."""
        status = self.run.read_json(self.run.status) or {}
        mine = [s for s in status.get("strategies", []) if s["enabled"] and s["intents"]]
        return status.get("ts", 0) > self.begun_ns and bool(mine)

    def until(self, true, seconds: float, what: str, *, every: float = 0.02) -> None:
        """Wait for something that the engine does."""
        deadline = time.monotonic() + seconds
        while not true():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (self.run.logs / "engine.log").read_text()[-2000:]
                raise SystemExit(f"not within {seconds} s: {what}\n{log}")
            time.sleep(every)

    def kills(self, rounds: int, matrix: Matrix, source: random.Random) -> list[float]:
        """Halt and lift so often; ms from the call to the round that knows."""
        took, words = [], self.words
        for _ in range(rounds):
            time.sleep(source.uniform(0.005, 0.03))
            begun = time.monotonic_ns()
            assert kill_door.block(self.run)
            self.until(lambda: words[HALTED] == 1, 5, "the halt word is seen", every=0.001)
            took.append((int(words[HALTED_AT]) - begun) / 1e6)
            self.until(lambda: words[OBEYED] != 0, 5, "the main thread has seen it", every=0.001)
            halt_set(matrix.map, 0)
            self.until(
                lambda: words[HALTED] == words[OBEYED] == 0, 5, "the halt is lifted", every=0.001
            )
        return took

    def switches(self, rounds: int, source: random.Random) -> list[float]:
        """Switch so often; ms from the desk's push to the round that knows."""
        took, words = [], self.words
        for _ in range(rounds):
            time.sleep(source.uniform(0.005, 0.03))
            words[ASKED] += 1
            self.until(lambda: words[DONE] == words[ASKED], 5, "the switch", every=0.001)
            took.append((int(words[COMMANDS_AT]) - int(words[ASKED_AT])) / 1e6)
        return took

    def interrupt(self) -> float:
        """End it as Ctrl-C does; ms from the signal to the round that knows."""
        begun = time.monotonic_ns()
        self.process.send_signal(signal.SIGINT)
        self.until(lambda: self.words[STOPPING_AT] != 0, 10, "the stop is seen", every=0.001)
        took = (int(self.words[STOPPING_AT]) - begun) / 1e6
        assert self.process.wait(60) == 0, (self.run.logs / "engine.log").read_text()[-2000:]
        return took


def prepare(folder: Path, port: int, wait: str) -> tuple[RunDirectory, Matrix]:
    """Make a run over the twin, on the direct path."""
    addresses = "\n".join(f'{k} = "{v}"' for k, v in endpoints(VENUE, port).items())
    text = CONFIG.format(runs=folder / "runs", matrix=folder / "matrix", addresses=addresses,
                         strategy=Path(__file__).parent / "lib" / "pulser.py", flight=1,
                         rest=1)  # fmt: skip
    text = text.replace("[node]\n", f'[node]\nwait = "{wait}"\n')
    (folder / "config.toml").write_text(text.replace("accounts =", 'path = "direct"\naccounts ='))
    config, clock = load_config(folder / "config.toml"), MachineClock()
    instruments = asyncio.run(fetch_instruments(config, clock))
    run = RunDirectory.create(folder / "runs", "bench", config.dump())
    run.save_instruments(instruments)
    matrix = Matrix.create(
        folder / "matrix", instruments, Geometry(instruments_max=16, depth=4, ring_slots=4096),
        clock_offset_ns=clock.offset_ns,
    )  # fmt: skip
    owner = {"pid": os.getpid(), "matrix": str(matrix.path), "epoch": matrix.epoch}
    (run.path / "supervisor.json").write_bytes(msgspec.json.encode(owner))
    return run, matrix


def measure(
    folder: Path, port: int, wait: str, rounds: int, *, fifo: bool
) -> dict[str, list[float]]:
    """Return the ms of every round by what was asked."""
    folder.mkdir()
    source = random.Random(7)
    found: dict[str, list[float]] = {"Ctrl-C": [], "kill": [], "switch": []}
    run, matrix = prepare(folder, port, wait)
    try:
        for _ in range(max(1, rounds // LIVES_SHARE)):
            life = Life(folder, run, matrix, fifo=fifo)
            try:
                found["kill"] += life.kills(LIVES_SHARE, matrix, source)
                found["switch"] += life.switches(LIVES_SHARE, source)
                found["Ctrl-C"].append(life.interrupt())
            finally:
                if life.process.poll() is None:
                    life.process.kill()
                    life.process.wait()
    finally:
        matrix.unlink()
        matrix.close()
    return found


def main() -> None:
    """Print medians, p99 and the worst, in ms, against the limit."""
    parser = options(__doc__ or "")
    parser.set_defaults(rounds=50)
    parser.add_argument("--wait", choices=WAITS, help="only this way to wait; default: both")
    parser.add_argument(
        "--fifo", action="store_true", help="in real time, as if the cores were its own"
    )
    parser.add_argument("--engine", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        sys.exit(engine(given.engine))
    for shares in (SHARES, DIRECT):
        ensure_warm(lambda line: None, shares)
    figures, against = {"the limit": LIMIT_MS}, {}
    with tempfile.TemporaryDirectory() as name:
        ports_file = Path(name) / "ports.json"
        twin = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "lib" / "free_twin.py"), str(ports_file)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not ports_file.exists():
                time.sleep(0.05)
            port = json.loads(ports_file.read_bytes())[VENUE]
            first(given.fifo)
            for wait in (given.wait,) if given.wait else WAITS:
                found = measure(Path(name) / wait, port, wait, given.rounds, fifo=given.fifo)
                for what, took in found.items():
                    took.sort()
                    row = f"{what}, {wait}: "
                    figures[row + "median"] = statistics.median(took)
                    figures[row + "p99"] = took[math.ceil(0.99 * len(took)) - 1]
                    figures[row + "worst"] = took[-1]
                    against[row + "p99"] = "the limit"
        finally:
            twin.terminate()
            twin.wait(10)
    report("reach", figures, "ms", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
