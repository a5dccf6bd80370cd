"""A hot swap under 10,000 messages a second: the longest pause, and what is lost.

A process of its own writes a touch every 100 us into a matrix, as a feeder does; an engine in paper
mode trades on it and keeps its journal; its strategy is swapped while it does, checked and compiled
in a third process. The strategy itself sees whether an event is missing (their numbers are dense)
and how long it waited between two: before the swap was asked for, and from then to its end. Times
are monotonic ns of the loop. The second swap is of a version that fails, and is rolled back.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
from lib.rounds import options, report

from alephtx.core import words
from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import UPDATE
from alephtx.engine import swap_door
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.warm import ensure_warm
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import read
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_publish
from alephtx.matrix.writers import beat, claim, name_hash

PER_SECOND, CANARY_S, WATCH_S = 10_000, 3.0, 3.0
LIMIT_MS = 1_000.0
KEY, VENUE = "binance_usdm:BTC-USDT-PERP", "binance_usdm"
CONFIG = """\
[node]
name = "bench"
mode = "paper"
runs = "{runs}"
[matrix]
path = "{matrix}"
[risk]
notional_max = 1000000
position_notional_max = 100000000
drawdown_max = 100000000
orders_per_s = 1000
band_bps = 1000
[venues.binance_usdm]
symbols = ["BTC-USDT-PERP"]
[accounts.a]
venue = "binance_usdm"
[accounts.a.paper]
USDT = "100000000"
[strategies.s]
use = "{use}"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["a"]
"""
STRATEGY = """
import numpy as np
from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, LIMIT, PLACE, SELL, TOP

NEEDS = Needs()
PARAMS = np.dtype([("instrument", "i8")])
STATE = np.dtype([("events", "i8"), ("last", "i8"), ("lost", "i8"), ("at", "i8"), ("gap", "i8"),
                  ("gap_new", "i8"), ("updates", "i8"), ("version", "i8")])


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    row["instrument"] = instruments.index(section["instruments"][0])
    return row


def on_event(event, view, params, state, intents):
    if event[0]["kind"] != TOP:
        return 0
    own = state[0]
    if own["last"] != 0 and event[0]["seq"] != own["last"] + 1:
        state[0]["lost"] += 1
    state[0]["last"] = event[0]["seq"]
    waited = view.now[3] - own["at"]
    if own["at"] != 0 and waited > own["{gap}"]:
        state[0]["{gap}"] = waited
    state[0]["at"] = view.now[3]
    state[0]["version"] = {version}
    state[0]["events"] += 1
    if {fails} and own["events"] > 1000:
        return -1
    if own["events"] % 500 != 0:
        return 0
    i = params[0]["instrument"]
    buys = view.positions[i]["qty"] <= 0
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, IOC
    intents[0]["instrument"], intents[0]["side"] = i, BUY if buys else SELL
    intents[0]["price"] = view.top[i]["ask"] if buys else view.top[i]["bid"]
    intents[0]["qty"] = 100
    return 1


def on_update(update, view, params, state, intents):
    if update[0]["order_id"] != 0:
        state[0]["updates"] += 1
    return 0
"""


def text(version: int, *, fails: bool = False) -> str:
    """Return the strategy; each version keeps its own longest wait."""
    told = {"{gap}": "gap_new" if version > 1 else "gap", "{version}": str(version),
            "{fails}": str(fails)}  # fmt: skip
    made = STRATEGY
    for name, value in told.items():
        made = made.replace(name, value)
    return made


def feed(path: str, seconds: float) -> None:
    """Write touches at the pace until the time is over; says the worst lateness."""
    matrix, clock = Matrix.attach(path), MachineClock()
    writer = int(claim(matrix.map, name_hash(f"feeder:{VENUE}"), os.getpid()))
    matrix.take_venue(0, writer)
    begun, k, late = time.perf_counter_ns(), 0, 0
    step = 10**9 // PER_SECOND
    while k * step < seconds * 1e9:
        now, mono = clock.now(), clock.monotonic()
        bid = 6_000_000 + k // 100 % 50
        top_publish(matrix.map, 0, now, now, bid, 10**6, bid + 10, 10**6, 0)
        aux = slot_aux(0, words.TOP, 0, 0)
        ring_publish(matrix.map, 0, now, now, bid, 10**6, bid + 10, 10**6, aux)
        beat(matrix.map, writer, mono)
        k += 1
        while (left := begun + k * step - time.perf_counter_ns()) > 0:
            if left > 80_000:
                time.sleep(2e-5)
        late = max(late, -left)
    sys.stdout.write(json.dumps({"sent": k, "late_ms": late / 1e6}) + "\n")
    matrix.close()


def table() -> Instruments:
    """Return one perpetual."""
    return Instruments([
        Instrument(
            key=KEY, venue=VENUE, symbol="BTCUSDT", base="BTC", quote="USDT", settle="USDT",
            contract=words.LINEAR, price_scale=2, qty_scale=5, tick_size=Decimal("0.01"),
            lot_size=Decimal("0.00001"), qty_max=Decimal(100), price_max=Decimal(1_000_000),
        )
    ])  # fmt: skip


class Engine:
    """An engine of its own process over a matrix that this one made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        use = folder / "v1.py"
        use.write_text(text(1))
        place = f"/dev/shm/aleph-bench-swap-{os.getpid()}"
        file = folder / "config.toml"
        file.write_text(CONFIG.format(runs=folder / "runs", matrix=place, use=use))
        config = load_config(file)
        self.run = RunDirectory.create(folder / "runs", "bench", config.dump())
        self.run.claim()
        self.run.save_instruments(table())
        self.matrix = Matrix.create(Path(place), table(), Geometry(ring_slots=1 << 16))
        command = [sys.executable, "-m", "alephtx.engine.main", str(self.run.path), place,
                   str(os.getpid())]  # fmt: skip
        with (self.run.logs / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def state(self) -> dict[str, int]:
        """Return what the strategy remembers, as the status last said."""
        status = self.run.read_json(self.run.status) or {}
        return dict(status["strategies"][0]["state"]) if status.get("strategies") else {}

    def until(self, true, seconds: float, what: str):
        """Wait for something."""
        deadline = time.monotonic() + seconds
        while not (found := true()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (self.run.logs / "engine.log").read_text()[-2000:]
                raise SystemExit(f"not within {seconds} s: {what}\n{log}")
            time.sleep(0.05)
        return found

    def swap(self, version: int, *, fails: bool = False) -> swap_door.Told:
        """Swap, and wait for what comes of it."""
        file = self.folder / f"v{version}.py"
        file.write_text(text(version, fails=fails))
        request = swap_door.ask(
            self.run, "s", str(file), MachineClock(), by="bench", canary_s=0 if fails else CANARY_S,
            watch_s=WATCH_S, denied_max=0.5,
        )  # fmt: skip
        found: list[swap_door.Told] = []

        def over() -> bool:
            told = swap_door.told_of(self.run, request)
            found[:] = [told] if told is not None else []
            return bool(told is not None and told.outcome)

        self.until(over, 180, "an outcome of the swap")
        return found[0]

    def stop(self) -> None:
        """End it and give everything back."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.run.release()
        self.matrix.unlink()
        self.matrix.close()


def spans(told: swap_door.Told) -> dict[str, float]:
    """Return how long after the one before it each stage was reached, in ms."""
    stages = told.stages
    return {b.stage: (b.ts - a.ts) / 1e6 for a, b in pairwise(stages)}


def heard(engine: Engine) -> int:
    """Return how many updates of orders the journal holds."""
    rows = [np.frombuffer(r.payload, UPDATE) for r in read(engine.run.journal)
            if r.kind == UPDATE_RECORD]  # fmt: skip
    return sum(int((row["order_id"] != 0).sum()) for row in rows)


def measure() -> dict[str, float]:
    """Run it once; return the figures, ms but where they say otherwise."""
    with tempfile.TemporaryDirectory() as name:
        engine = Engine(Path(name))
        source = None
        try:
            source = subprocess.Popen(
                [sys.executable, __file__, "--feed", engine.matrix.path.as_posix()],
                stdout=subprocess.PIPE,
            )
            engine.until(lambda: engine.state().get("events", 0) > 3 * PER_SECOND, 90, "events")
            quiet = engine.state()["gap"]
            told = engine.swap(2)
            assert told.outcome == "swapped", told
            time.sleep(0.6)
            after = engine.state()
            bad = engine.swap(3, fails=True)
            assert bad.outcome == "rolled_back", bad
            time.sleep(0.6)
            last = engine.state()
            status = engine.run.read_json(engine.run.status)
            source.terminate()
            time.sleep(1.0)
            updates, journaled = engine.state()["updates"], heard(engine)
        finally:
            if source is not None:
                source.kill()
                source.wait()
            engine.stop()
    took, back = spans(told), spans(bad)
    assert last["version"] == 2, "the version that was rolled back to goes again"
    return {
        "the limit of a pause": LIMIT_MS,
        "longest pause before the swap": quiet / 1e6,
        "longest pause, asked to in force": max(after["gap"], after["gap_new"]) / 1e6,
        "longest pause, rollback included": max(last["gap"], last["gap_new"]) / 1e6,
        "check, compile, rehearse (other process)": took["compiled"],
        "load into the engine": took["loaded"],
        "tried to switched": took["switched"],
        "switched to rolled back": back["watch"] + back["rolled back"],
        "events served (count)": float(last["events"]),
        "events lost (count)": float(last["lost"]),
        "lapped (count)": float(status["counters"]["lapped"]),
        "order updates journaled (count)": float(journaled),
        "order updates not heard (count)": float(journaled - updates),
    }


def main() -> None:
    """Print what a swap takes, and the pause against its limit."""
    parser = options(__doc__ or "")
    parser.add_argument("--feed", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.feed:
        feed(given.feed, 300.0)
        return
    ensure_warm(lambda line: None)
    found = measure()
    against = {"longest pause, asked to in force": "the limit of a pause"}
    report("swap", found, "ms", against=against, as_json=given.json)
    if found["events lost (count)"] or found["order updates not heard (count)"]:
        raise SystemExit("something was lost")


if __name__ == "__main__":
    main()
