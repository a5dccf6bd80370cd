"""Starts of an engine's process against a twin: what they take from process start to first step.

The engine is the product's, live, at one venue, as a supervisor starts it; only its loop is
watched (`first_step.py`). A start includes the imports, journal, input log, strategy,
all links and requests that an account's agreement with its venue takes.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.venues import fetch_instruments
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.serve.demo import endpoints

VENUE, KEY = "binance_usdm", "binance_usdm:BTC-USDT-PERP"
CONFIG = """\
[node]
name = "start"
mode = "live"
runs = "{folder}/runs"
[matrix]
path = "{folder}/matrix"
[risk]
notional_max = 20000
position_notional_max = 60000
drawdown_max = 2000
[venues.binance_usdm]
symbols = ["BTCUSDT"]
environment = "twin"
{addresses}
[accounts.usdm]
venue = "binance_usdm"
key = "twin:key"
secret = "twin"
[strategies.mm]
use = "market_maker"
path = "{path}"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["usdm"]
qty_base = "0.01"
inventory_max_base = "0.1"
"""
SCRIPT = Path(__file__).with_name("first_step.py")


ENVIRONMENT = {
    name: text
    for name, text in os.environ.items()
    if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("NUMBA_")
}
"""An installed package has its bytecode; a checkout's is written by its first start. What Numba is
told by variables, only Numba heeds (docs/decisions/0026)."""


class Start(NamedTuple):
    """Seconds to the first step, of which so many on a processor; what had been imported."""

    wall: float
    processor: float
    modules: frozenset[str]


class Starts:
    """A twin in a process of its own; each start has a run and a matrix of its own."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory()
        self._folder = Path(self._kept.name)
        self._number = 0

    def __enter__(self) -> Self:
        ports = self._folder / "ports.json"
        command = [sys.executable, "-m", "alephtx.twins.main", "--ports-file", str(ports), VENUE]
        self._twin = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not ports.exists():
            assert self._twin.poll() is None, "the twin did not start"
            time.sleep(0.02)
        self._port = json.loads(ports.read_bytes())[VENUE]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._twin.terminate()
        self._twin.wait(10)
        self._kept.cleanup()

    def start(self, path: str, lives: int = 1) -> Start:
        """Start one engine whose strategy is on this path; return when it has stepped once.

        lives: of one run; the last is told. Each but the last ends as one that was killed.
        """
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        addresses = "\n".join(f'{k} = "{v}"' for k, v in endpoints(VENUE, self._port).items())
        text = CONFIG.format(folder=folder, addresses=addresses, path=path)
        (folder / "config.toml").write_text(text)
        config, clock = load_config(folder / "config.toml"), MachineClock()
        instruments = asyncio.run(fetch_instruments(config, clock))
        run = RunDirectory.create(folder / "runs", config.node.name, config.dump())
        run.save_instruments(instruments)
        geometry = Geometry(instruments_max=16)
        with Matrix.create(
            folder / "matrix", instruments, geometry, clock_offset_ns=clock.offset_ns
        ) as matrix:
            for _ in range(lives):
                told, begun = self._first_step(run, matrix)
            matrix.unlink()
        return Start((told["ns"] - begun) / 1e9, told["processor_s"], frozenset(told["modules"]))

    def _first_step(self, run: RunDirectory, matrix: Matrix) -> tuple[dict[str, Any], int]:
        command = [sys.executable, str(SCRIPT), str(run.path), str(matrix.path), str(os.getpid())]
        begun = time.monotonic_ns()
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"the engine did not start: {done.stderr}")
        return json.loads(done.stdout), begun
