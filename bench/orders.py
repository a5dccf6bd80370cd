"""Orders a second: strategy, gate, journal, gateway, sockets, twin and back, on the same cores.

An engine in this process, a feeder and a twin in theirs. The strategy keeps 64 orders under way.
Rate limits of gate and venue are out of the way; everything else is as live: each order is
numbered, gated, journaled, signed, sent over the venue's WebSocket API, matched, and its reports
journaled. `ccxt` keeps as many under way over its own client, against the same twin, before and
after. At the end the twin's journal must hold exactly the orders of ours.
"""

import asyncio
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import ccxt.async_support as ccxt
import msgspec
import numpy as np
import uvloop
from lib.rounds import options, report

from alephtx.core import log, words
from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.identity import from_text
from alephtx.core.ports import Bucket
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine import context as c
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import Session
from alephtx.engine.venues import fetch_instruments, load_venue
from alephtx.engine.warm import ensure_warm
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import read
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.serve.demo import endpoints
from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET

VENUE = "binance_spot"
FLIGHT = 64
SECONDS = 10.0
SETTLE_S = 3.0
AIM = 2_000.0
CONFIG = """\
[node]
name = "bench"
mode = "live"
runs = "{runs}"
[matrix]
path = "{matrix}"
depth = 4
[risk]
notional_max = 100000
position_notional_max = 10000000
drawdown_max = 100000
orders_per_s = 10000
open_orders_max = 256
stale_ms = 60000
[venues.binance_spot]
symbols = ["BTCUSDT"]
environment = "twin"
{addresses}
[accounts.spot]
venue = "binance_spot"
key = "twin:key"
secret = "twin"
deadman_s = 0
[strategies.pulser]
use = "{strategy}"
instruments = ["binance_spot:BTC-USDT"]
accounts = ["spot"]
qty = 1000
flight = {flight}
rest = {rest}
"""


def unlimited() -> None:
    """Take the venue's rate budgets out of the way."""
    venue = load_venue(VENUE)
    free = tuple(Bucket(b.name, 60_000_000, b.period_ns) for b in venue.spec.buckets)
    venue.spec = msgspec.structs.replace(venue.spec, buckets=free)


def ask(port: int, path: str) -> object:
    """Ask a control endpoint of the twin."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_twin/{path}") as answer:
        return json.loads(answer.read())


def feed(run: RunDirectory, matrix: Matrix) -> "subprocess.Popen[bytes]":
    """Start the venue's feeder."""
    command = [sys.executable, "-m", "alephtx.engine.feeder", str(run.path), VENUE]
    return subprocess.Popen(
        [*command, str(matrix.path), str(os.getpid())], stderr=subprocess.DEVNULL
    )


async def engine(folder: Path, port: int, *, rest: int) -> dict[str, float]:
    """Run an engine for SECONDS; returns what it reached."""
    addresses = "\n".join(f'{k} = "{v}"' for k, v in endpoints(VENUE, port).items())
    strategy = Path(__file__).parent / "lib" / "pulser.py"
    text = CONFIG.format(runs=folder / "runs", matrix=folder / "matrix", addresses=addresses,
                         strategy=strategy, flight=FLIGHT, rest=rest)  # fmt: skip
    (folder / "config.toml").write_text(text)
    config = load_config(folder / "config.toml")
    clock = MachineClock()
    instruments = await fetch_instruments(config, clock)
    run = RunDirectory.create(folder / "runs", "bench", config.dump())
    run.save_instruments(instruments)
    log.configure(stderr=False, path=run.logs / "engine.log")
    geometry = Geometry(instruments_max=16, depth=4, ring_slots=4096)
    matrix = Matrix.create(
        folder / "matrix", instruments, geometry, clock_offset_ns=clock.offset_ns
    )
    feeder = feed(run, matrix)
    session = Session(config, run, matrix, instruments)
    try:
        running = asyncio.ensure_future(session.run())
        while not hasattr(session, "ctx") or session.ctx.counters[c.C_ORDERS] < FLIGHT:
            await asyncio.sleep(0.05)
            if running.done():
                running.result()
        await asyncio.sleep(SETTLE_S)
        begun, before = time.monotonic(), int(session.ctx.counters[c.C_ORDERS])
        await asyncio.sleep(SECONDS)
        orders = int(session.ctx.counters[c.C_ORDERS]) - before
        if rest:  # half of what left were cancels
            orders //= 2
        rate = orders / (time.monotonic() - begun)
        session.engine.strategies[0].state["stop"] = 1
        await asyncio.sleep(1.0)
        session.stop_asked.set()
        code = await running
        assert code == 0, f"the engine ended with {code}: see {run.logs}"
        return {"rate": rate, **latencies(run), "orders": prove(run, port)}
    finally:
        feeder.send_signal(signal.SIGTERM)
        feeder.wait(10)
        matrix.unlink()
        matrix.close()


def latencies(run: RunDirectory) -> dict[str, float]:
    """Return from intent to the venue's word, in us, off the journal."""
    began, took = {}, []
    for record in read(run.journal):
        if record.kind == INTENT_RECORD:
            row = np.frombuffer(record.payload, INTENT, count=1)[0]
            if row["op"] == words.PLACE:
                began[int(row["order_id"])] = record.ts
        elif record.kind == UPDATE_RECORD:
            row = np.frombuffer(record.payload, UPDATE, count=1)[0]
            if row["kind"] == words.ACK and (ts := began.pop(int(row["order_id"]), 0)):
                took.append((record.ts - ts) / 1e3)
    took.sort()
    return {"p50": statistics.median(took), "p99": took[int(0.99 * (len(took) - 1))]}


def prove(run: RunDirectory, port: int) -> float:
    """Hold the twin's journal against ours: the same orders, once each; returns how many."""
    ours = set()
    for record in read(run.journal):
        if record.kind == INTENT_RECORD:
            row = np.frombuffer(record.payload, INTENT, count=1)[0]
            if row["op"] == words.PLACE and row["verdict"] == words.PASS:
                ours.add(int(row["order_id"]))
    journal = [row for row in ask(port, "journal") if row["kind"] == "ACCEPTED"]
    theirs = [from_text(row["client_id"]) for row in journal]
    mine = [order_id for order_id in theirs if order_id in ours]
    assert len(mine) == len(set(mine)), "an order came twice"
    # The twin keeps the last so many rows; within them nothing of ours may be missing or unknown.
    assert mine, "the twin knows none of our orders"
    first = theirs.index(mine[0])
    assert all(order_id in ours or not order_id for order_id in theirs[first:])
    return float(len(ours))


async def peer(port: int, *, rest: int) -> float:
    """Return the orders a second of ccxt, with as many under way."""
    exchange = ccxt.binance({
        "apiKey": TWIN_KEY, "secret": TWIN_SECRET, "enableRateLimit": False,
        "options": {"fetchCurrencies": False, "fetchMargins": False,
                    "fetchMarkets": {"types": ["spot"]}},
    })  # fmt: skip
    for name, url in exchange.urls["api"].items():
        if isinstance(url, str):
            path = url.split("://", 1)[1].partition("/")[2]
            exchange.urls["api"][name] = f"http://127.0.0.1:{port}/{path}"
    done, until = 0, 0.0

    async def one(price: float) -> None:
        nonlocal done
        while time.monotonic() < until:
            words_of = {} if rest else {"timeInForce": "IOC"}
            order = await exchange.create_order(
                "BTC/USDT", "limit", "buy", 0.01, price, params=words_of
            )
            if rest:
                await exchange.cancel_order(order["id"], "BTC/USDT")
            done += 1

    try:
        await exchange.load_markets()
        book = await exchange.fetch_order_book("BTC/USDT", 100)
        price = float(exchange.price_to_precision("BTC/USDT", book["bids"][0][0] * 0.995))
        begun = time.monotonic()
        until = begun + SECONDS / 2
        await asyncio.gather(*(one(price) for _ in range(FLIGHT)))
        return done / (time.monotonic() - begun)
    finally:
        await exchange.close()


def main() -> None:
    """Print orders a second of engine and ccxt, and their ratio."""
    given = options(__doc__).parse_args()
    ensure_warm(lambda line: None)
    unlimited()
    figures: dict[str, float] = {"the aim: orders a second": AIM}
    against = {}
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
            for k, kind in enumerate(("IOC order", "order and its cancel")):
                rounds = [uvloop.run(peer(port, rest=k))]
                gc.collect()
                found = uvloop.run(engine(Path(name), port, rest=k))
                rounds.append(uvloop.run(peer(port, rest=k)))
                theirs = statistics.mean(rounds)
                figures[f"{kind}: a second"] = found["rate"]
                figures[f"{kind}: a second, ccxt"] = theirs
                figures[f"{kind}: us each"] = 1e6 / found["rate"]
                figures[f"{kind}: us each, ccxt"] = 1e6 / theirs
                figures[f"{kind}: intent to ack p50, us"] = found["p50"]
                figures[f"{kind}: intent to ack p99, us"] = found["p99"]
                figures[f"{kind}: in both journals"] = found["orders"]
                against[f"{kind}: us each"] = f"{kind}: us each, ccxt"
        finally:
            twin.terminate()
            twin.wait(10)
    report("orders", figures, "", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
