"""The product, live, between the exchange's two ports: feeder and engine as `alephtx run` has them.

Nothing is changed but the venue's rate budgets, which would allow twenty orders a second. Ends when
standard input does; the exit code is the engine's: 0 when ledger and venue agree.

python ttt_product.py '{"folder", "hot", "twin", "tls", "lines": {...}, "cores": {...}}'
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from ttt_plan import ABOVE_BID

from alephtx.core import log
from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.ports import Bucket
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import Session
from alephtx.engine.venues import fetch_instruments, load_venue
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.venues.hyperliquid import HyperliquidCodec

MARKETS = {
    "binance_usdm": ("BTCUSDT", "BTC-USDT-PERP", 'key = "twin:key"', 10, 0),
    "hyperliquid": ("BTC", "BTC-USD-PERP", "", 100, 10),
}
"""Venue -> symbol, instrument, key, lots of an order, and a step in ticks (0: the venue's own)."""
PLENTY = 60_000_000
CONFIG = """\
[node]
name = "bench"
mode = "live"
runs = "{folder}/runs"
wait = "{wait}"
main_wait = "{main_wait}"
feeder_wait = "{feeder_wait}"
{machine}
[matrix]
path = "/dev/shm/aleph-ttt-{pid}"
depth = 32
[risk]
notional_max = 100000
position_notional_max = 10000000
drawdown_max = 100000
orders_per_s = 10000
open_orders_max = 256
stale_ms = 60000
[venues.{venue}]
symbols = ["{symbol}"]
environment = "twin"
http = "http://127.0.0.1:{http}"
market = "{scheme}:{hot}"
private = "ws://127.0.0.1:{twin}"
trade = "{scheme}:{hot}"
{market}
[accounts.main]
venue = "{venue}"
{key}
secret = "twin"
deadman_s = 0
{account}
[strategies.ticker]
use = "{strategy}"
instruments = ["{venue}:{instrument}"]
accounts = ["main"]
qty = {qty}
step = {step}
above = {above[BUY]}
apart = {apart}
{strategy_lines}
"""

MACHINE = """\
[machine]
loop_cpu = {loop}
feeder_cpus = [{feeder}]
realtime = "try"
"""
"""Where feeder and main thread share a core, the former goes first; the loop has its own anyway."""


def unlimited(name: str) -> None:
    """Take the venue's rate budgets out of the way."""
    venue = load_venue(name)
    free = tuple(Bucket(b.name, PLENTY, b.period_ns) for b in venue.spec.buckets)
    venue.spec = msgspec.structs.replace(venue.spec, buckets=free)
    if name == "hyperliquid":  # whose codec has it from its class
        HyperliquidCodec.spec = venue.spec


def config_of(given: dict[str, Any], folder: Path) -> str:
    """Return the config of a row."""
    symbol, instrument, key, qty, step = MARKETS[given["venue"]]
    return CONFIG.format(
        folder=folder, pid=os.getpid(), venue=given["venue"], wait=given["wait"],
        main_wait=given["main_wait"], feeder_wait=given["feeder_wait"], market=given["market"],
        symbol=symbol, instrument=instrument, key=key, qty=qty, step=step,
        machine=MACHINE.format(**given["cores"]) if given["feeder_wait"] == "sleep" else "",
        hot=given["hot"], twin=given["twin"],
        http=given["hot"] if given["orders_by_http"] else given["twin"],
        scheme="wss://localhost" if given["tls"] else "ws://127.0.0.1",
        strategy=Path(__file__).parent / "ttt_strategy.py", above=ABOVE_BID,
        apart=ABOVE_BID["SELL"] - ABOVE_BID["BUY"],
        account=given["account"], strategy_lines=given["strategy"],
    )  # fmt: skip


def feed(run: RunDirectory, venue: str, matrix: Matrix, core: int) -> "subprocess.Popen[bytes]":
    """Start the venue's feeder."""
    command = [sys.executable, "-m", "alephtx.engine.feeder", str(run.path), venue]
    with (run.logs / "feeder.log").open("wb") as output:
        return subprocess.Popen(
            [*command, str(matrix.path), str(os.getpid())], stdout=output, stderr=output,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads yet
        )  # fmt: skip


def threads() -> list[int]:
    """Return this process's threads: the main one, the pages', the journal's, asyncio's."""
    return [int(thread.name) for thread in Path("/proc/self/task").iterdir()]


async def place(session: Session, cores: dict[str, int]) -> None:
    """Pin the loop, and every other thread of the engine, as soon as the loop runs."""
    while session.loop_thread is None or session.loop_thread.native_id is None:
        await asyncio.sleep(0.01)
    for thread in threads():
        os.sched_setaffinity(thread, {cores["main"]})
    os.sched_setaffinity(session.loop_thread.native_id, {cores["loop"]})
    # One that spins with real-time priority is stopped for 50 ms a second by most systems.
    os.sched_setscheduler(session.loop_thread.native_id, os.SCHED_OTHER, os.sched_param(0))


async def serve(given: dict[str, Any]) -> int:
    """Run feeder and engine until standard input ends."""
    folder = Path(given["folder"])
    (folder / "config.toml").write_text(config_of(given, folder))
    config = load_config(folder / "config.toml")
    clock = MachineClock()
    instruments = await fetch_instruments(config, clock)
    run = RunDirectory.create(folder / "runs", "bench", config.dump())
    run.save_instruments(instruments)
    log.configure(stderr=False, path=run.logs / "engine.log")
    geometry = Geometry(instruments_max=16, depth=config.matrix.depth, ring_slots=4096)
    matrix = Matrix.create(
        Path(config.matrix.path), instruments, geometry, clock_offset_ns=clock.offset_ns
    )
    feeder = None
    if given["venue"] in config.fed_venues:  # as the supervisor has it
        feeder = feed(run, given["venue"], matrix, given["cores"]["feeder"])
    session = Session(config, run, matrix, instruments)
    loop = asyncio.get_running_loop()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(session.stop_asked.set)

    threading.Thread(target=wait, daemon=True).start()
    placed = asyncio.ensure_future(place(session, given["cores"]))
    try:
        return await session.run()
    finally:
        placed.cancel()
        if feeder is not None:
            feeder.send_signal(signal.SIGTERM)
            feeder.wait(10)
        matrix.unlink()
        matrix.close()


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    unlimited(told["venue"])
    sys.exit(uvloop.run(serve(told)))
