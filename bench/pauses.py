"""The longest pause of the engine's loop in a long run, and the percentiles beside it.

A whole live engine as `bench/orders.py` has it - feeder and twin in processes of their own, orders
placed and cancelled, journal, gateway, ledger, status - with the collector as in a run. The time
between the starts of two of the loop's rounds is counted in the loop itself: a stage in the place
where the direct path has its links. Beside it how late the main thread came to its own timers, and
every collection of Python's. With `--wait adaptive` the loop naps, and naps are no pauses: those of
up to a millisecond are what the loop asked for.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop
from lib.rounds import options, report
from orders import CONFIG, VENUE, feed, unlimited

from alephtx.core import garbage, log
from alephtx.core.clock import MachineClock, seeded
from alephtx.core.config import load_config
from alephtx.core.histogram import hist_add, make_histogram, quantiles
from alephtx.core.packed import field, rows_at
from alephtx.core.stages import stage_address
from alephtx.engine import context as c
from alephtx.engine.host import Host
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import Session
from alephtx.engine.venues import fetch_instruments
from alephtx.engine.warm import ensure_warm
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.serve.demo import endpoints

FLIGHT, LAG_NS = 4, 1_000_000
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
LAST, LONGEST, ROUNDS, BUCKETS, WORDS = 0, 1, 2, 3, 8


def note_round(x, a, b):
    """Count the time since the last round; a stage of the loop. Returns 0: nothing came."""
    told = rows_at(field(x, c.F_DIRECT, c.I1)[0], WORDS, c.I1)
    now = field(x, c.F_NOW, c.I1)[3]
    if told[LAST] != 0:
        gap = now - told[LAST]
        told[LONGEST] = max(told[LONGEST], gap)
        hist_add(rows_at(told[BUCKETS], told[BUCKETS + 1], c.I1), gap)
    told[LAST] = now
    told[ROUNDS] += 1
    return 0


class Watch:
    """What is counted while the engine runs."""

    def __init__(self):
        self.told, self.gaps, self.lags = (
            np.zeros(WORDS, np.int64),
            make_histogram(),
            make_histogram(),
        )
        self.told[BUCKETS], self.told[BUCKETS + 1] = self.gaps.ctypes.data, len(self.gaps)
        self.collections, self._begun, self.lag = [], 0, 0

    def on_collection(self, phase, info):
        """Note how long a collection took."""
        if phase == "start":
            self._begun = time.monotonic_ns()
        else:
            self.collections.append(time.monotonic_ns() - self._begun)

    def start(self, session):
        """Count from now on."""
        session.ctx.direct[0] = self.told.ctypes.data
        session.ctx.addresses[c.A_LINKS], self.owner = stage_address(note_round)
        gc.callbacks.append(self.on_collection)

    def stop(self, session):
        """Count no more."""
        session.ctx.addresses[c.A_LINKS] = 0
        gc.callbacks.remove(self.on_collection)

    async def follow(self):
        """Count how late the main thread comes to a timer of 1 ms."""
        while True:
            begun = time.monotonic_ns()
            await asyncio.sleep(LAG_NS / 1e9)
            late = max(0, time.monotonic_ns() - begun - LAG_NS)
            self.lag = max(self.lag, late)
            hist_add(self.lags, late)

    def figures(self):
        """Return what it came to, in us."""
        told = {}
        for what, counts in (("loop", self.gaps), ("main thread late", self.lags)):
            found = quantiles(counts, list(QUANTILES.values()))
            told |= {f"{what}: {n}": q / 1e3 for n, q in zip(QUANTILES, found, strict=True)}
            told[f"{what}: max"] = (self.told[LONGEST] if what == "loop" else self.lag) / 1e3
        told["rounds"] = float(self.told[ROUNDS])
        told["collections"] = float(len(self.collections))
        told["longest collection"] = max(self.collections, default=0) / 1e3
        told["containers made and kept"] = float(garbage.grown())
        return told


async def engine(folder, port, wait, seconds):
    """Run an engine for so long and watch it."""
    addresses = "\n".join(f'{k} = "{v}"' for k, v in endpoints(VENUE, port).items())
    strategy = Path(__file__).parent / "lib" / "pulser.py"
    text = CONFIG.format(runs=folder / "runs", matrix=folder / "matrix", addresses=addresses,
                         strategy=strategy, flight=FLIGHT, rest=1)  # fmt: skip
    text = text.replace("[node]\n", f'[node]\nwait = "{wait}"\n')
    (folder / "config.toml").write_text(text)
    config, clock = load_config(folder / "config.toml"), MachineClock()
    instruments = await fetch_instruments(config, clock)
    run = RunDirectory.create(folder / "runs", "bench", config.dump())
    run.save_instruments(instruments)
    log.configure(stderr=False, path=run.logs / "engine.log")
    geometry = Geometry(instruments_max=16, depth=4, ring_slots=4096)
    matrix = Matrix.create(
        folder / "matrix", instruments, geometry, clock_offset_ns=clock.offset_ns
    )
    feeder = feed(run, matrix)
    clock = MachineClock(matrix.clock_offset_ns)
    host = Host(clock, seeded(), settled=garbage.hold)
    session, watch = Session(config, run, matrix, instruments, host), Watch()
    keeping = asyncio.ensure_future(garbage.keep(clock, session.calm))
    running = asyncio.ensure_future(session.run())
    try:
        while not hasattr(session, "ctx") or session.ctx.counters[c.C_ORDERS] < FLIGHT:
            await asyncio.sleep(0.05)
            if running.done():
                running.result()
        await asyncio.sleep(2.0)
        watch.start(session)
        following = asyncio.ensure_future(watch.follow())
        before = int(session.ctx.counters[c.C_ORDERS])
        await asyncio.sleep(seconds)
        orders = int(session.ctx.counters[c.C_ORDERS]) - before
        following.cancel()
        watch.stop(session)
        session.engine.strategies[0].state["stop"] = 1
        await asyncio.sleep(1.0)
        session.stop_asked.set()
        code = await running
        assert code == 0, f"the engine ended with {code}: see {run.logs}"
        return {**watch.figures(), "orders and cancels": float(orders)}
    finally:
        keeping.cancel()
        feeder.terminate()
        feeder.wait(10)
        matrix.unlink()
        matrix.close()


def main() -> None:
    """Print the pauses of one run."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to watch")
    parser.add_argument("--wait", choices=("spin", "adaptive", "sleep"), default="spin")
    given = parser.parse_args()
    ensure_warm(lambda line: None)
    unlimited()
    with tempfile.TemporaryDirectory() as name:
        ports_file = Path(name) / "ports.json"
        command = [sys.executable, str(Path(__file__).parent / "lib" / "free_twin.py")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        twin = subprocess.Popen([*command, str(ports_file)], env=os.environ.copy(), **quiet)
        try:
            while not ports_file.exists():
                time.sleep(0.05)
            port = json.loads(ports_file.read_bytes())[VENUE]
            figures = uvloop.run(engine(Path(name), port, given.wait, given.seconds))
        finally:
            twin.terminate()
            twin.wait(10)
    report(f"pauses, {given.seconds:g} s, wait = {given.wait}", figures, "us or count",
           against={}, as_json=given.json)  # fmt: skip


if __name__ == "__main__":
    main()
