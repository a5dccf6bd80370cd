"""The demo: twins on loopback replay real recordings, and a supervised run trades on them live.

Everything is real but the money: sockets, signed orders, private streams, journal, ledger. Two
demos at once do not meet: ports are free, the matrix and the run directory are this demo's own.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.errors import AlephError, TransportError
from alephtx.core.log import logger
from alephtx.core.ports import Request, What
from alephtx.engine.run import Run
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.venues import fetch_instruments
from alephtx.engine.warm import ORDERS
from alephtx.net.http import HttpClient
from alephtx.serve.drive import Viewer, conclude, log_to
from alephtx.serve.warming import compile_kernels

log = logger("demo")

TWIN_START_SECONDS = 30.0
LEAD_NS = 2_500_000_000
"""From the twins' readiness to the first recorded message: time for feeders and engine to start."""

VENUES = ("binance_spot", "binance_usdm", "binance_coinm", "hyperliquid")

CONFIG = """\
# Written by `alephtx demo`. Fees are the tier stated here, the same on both sides: the twins charge
# it and the strategies count with it. Budgets are for a dozen processes on one machine.
[node]
name = "demo"
mode = "{mode}"
runs = "{runs}"

[matrix]
path = "{matrix}"

[risk]
notional_max = 20000
position_notional_max = 60000
band_bps = 50
orders_per_s = 20
stale_ms = 3000
drawdown_max = 2000

{venues}
[accounts.spot]
venue = "binance_spot"
key = "twin:key"
secret = "twin"
[accounts.usdm]
venue = "binance_usdm"
key = "twin:key"
secret = "twin"
[accounts.coinm]
venue = "binance_coinm"
key = "twin:key"
secret = "twin"
[strategies.arb_btc]
use = "arbitrage"
budget_us = 50_000
instruments = ["binance_spot:BTC-USDT", "binance_usdm:BTC-USDT-PERP", "binance_coinm:BTC-USD-PERP"]
accounts = ["spot", "usdm", "coinm"]
trigger_bps = "1.0"
unwind_bps = "-1.0"
qty_base = "0.01"
position_max_base = "0.05"
cooldown_ms = 250
max_age_ms = 1000
assume_parity = true

[strategies.arb_eth]
use = "arbitrage"
budget_us = 50_000
instruments = ["binance_spot:ETH-USDT", "binance_usdm:ETH-USDT-PERP", "binance_coinm:ETH-USD-PERP"]
accounts = ["spot", "usdm", "coinm"]
trigger_bps = "1.0"
unwind_bps = "-1.0"
qty_base = "0.2"
position_max_base = "1"
cooldown_ms = 250
max_age_ms = 1000
assume_parity = true

[strategies.mm_btc]
use = "market_maker"
budget_us = 50_000
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["usdm"]
half_spread_bps = "0.4"
skew_bps = "0.5"
requote_bps = "0.3"
qty_base = "0.01"
inventory_max_base = "0.1"
"""

HYPERLIQUID = """\
[accounts.hyper]
venue = "hyperliquid"
secret = "twin"
[strategies.mm_hyper]
use = "market_maker"
budget_us = 50_000
instruments = ["hyperliquid:BTC-USD-PERP"]
accounts = ["hyper"]
half_spread_bps = "0.3"
skew_bps = "0.5"
requote_bps = "0.3"
qty_base = "0.002"
inventory_max_base = "0.02"
max_age_ms = 3000
"""
"""Added where its twin runs; its recording is of another day, so it is never paired."""

SYMBOLS = {
    "binance_spot": ["BTCUSDT", "ETHUSDT"],
    "binance_usdm": ["BTCUSDT", "ETHUSDT"],
    "binance_coinm": ["BTCUSD_PERP", "ETHUSD_PERP"],
    "hyperliquid": ["BTC"],
}
"""What the committed recordings hold."""

FEES_BPS = {
    "binance_spot": ("1.1", "2.3"),
    "binance_usdm": ("0", "1.7"),
    "binance_coinm": ("0", "2.4"),
    "hyperliquid": ("0", "2.4"),
}
"""(maker, taker) of the tier the demo trades on: a large account's; see docs/fees.md."""


class TwinProcess:
    """The twins of a demo in a process of their own, so that killing anything else spares them."""

    def __init__(self, directory: Path, venues: tuple[str, ...] = VENUES) -> None:
        self.venues = venues
        self.ports_file = directory / "twins.json"
        self.log_path = directory / "twins.log"
        self.ports: dict[str, Any] = {}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *options: str) -> None:
        """Start the twins and wait for their ports."""
        command = [sys.executable, "-m", "alephtx.twins.main", "--ports-file",
                   str(self.ports_file), *options, *self.venues]  # fmt: skip
        with self.log_path.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the supervisor; orders are cancelled here
            )  # fmt: skip
        deadline = MachineClock().monotonic() + int(TWIN_START_SECONDS * 1e9)
        while not self.ports_file.exists():
            if self._process.returncode is not None or MachineClock().monotonic() > deadline:
                raise AlephError("the twins did not start", remedy=f"see {self.log_path}")
            await asyncio.sleep(0.02)
        self.ports = msgspec.json.decode(self.ports_file.read_bytes())

    @property
    def returncode(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.returncode if self._process is not None else None

    async def wait(self) -> None:
        """Wait for the end of the recordings, or of the twins; they serve on after the end."""
        port = self.ports[self.venues[0]]
        async with HttpClient(f"http://127.0.0.1:{port}") as client:
            while self.returncode is None:
                try:
                    _, _, body = await client.fetch(Request(what=What.TIME, path="/_twin/stats"))
                except TransportError:
                    continue
                if msgspec.json.decode(body)["replay"].get("finished"):
                    return
                await asyncio.sleep(0.5)

    async def stop(self) -> None:
        """End the twins."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


def venue_tables(ports: dict[str, Any]) -> str:
    """Return the [venues...] tables that point at the twins."""
    tables = []
    for venue, where in ports.items():
        maker, taker = FEES_BPS[venue]
        addresses = "\n".join(f'{role} = "{address}"' for role, address in where.items())
        symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[venue])
        tables.append(
            f'[venues.{venue}]\nsymbols = [{symbols}]\nenvironment = "twin"\n{addresses}\n'
            f'maker_fee_bps = "{maker}"\ntaker_fee_bps = "{taker}"\n'
        )
    return "\n".join(tables)


def endpoints(venue: str, port: int) -> dict[str, str]:
    """Return the base addresses of a twin: the venue's own paths follow them."""
    web, socket = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    return {"http": web, "market": socket, "private": socket, "trade": socket}


class Demo:
    """One demo from twins to report."""

    def __init__(
        self,
        *,
        runs: str,
        mode: str,
        speed: float,
        as_json: bool,
        venues: tuple[str, ...] = VENUES,
    ) -> None:
        self.runs = Path(runs).resolve()
        self.mode = mode
        self.speed = speed
        self.as_json = as_json
        self.venues = venues

    async def run(self, seconds: float | None) -> int:
        """Run the demo to its end; returns the exit code."""
        self.runs.mkdir(parents=True, exist_ok=True)
        compile_kernels()
        if self.mode == "live":
            compile_kernels(ORDERS)
        scratch = Path(tempfile.mkdtemp(prefix="aleph-demo-"))
        twins = TwinProcess(scratch, self.venues)
        try:
            fees = [
                f"{venue}={_fraction(m)}/{_fraction(t)}"
                for venue, (m, t) in FEES_BPS.items()
                if venue in self.venues
            ]
            options = [word for fee in fees for word in ("--fees", fee)]
            await twins.start(
                "--once", "--speed", str(self.speed), "--start-in-s", str(LEAD_NS / 1e9), *options
            )
            return await self._trade(twins, scratch, seconds)
        finally:
            await twins.stop()
            shutil.rmtree(scratch, ignore_errors=True) if not os.environ.get("KEEP") else None

    async def _trade(self, twins: TwinProcess, scratch: Path, seconds: float | None) -> int:
        text = CONFIG.format(
            mode=self.mode,
            runs=self.runs,
            matrix=f"/dev/shm/aleph-demo-{os.getpid()}",  # noqa: S108 - the matrix checks it
            venues=venue_tables(
                {venue: endpoints(venue, port) for venue, port in twins.ports.items()}
            ),
        )
        given = scratch / "config.toml"
        if "hyperliquid" in twins.ports:
            text += HYPERLIQUID
        given.write_text(text)
        config = load_config(given)
        directory = RunDirectory.create(self.runs, config.node.name, config.dump())
        log_to(directory)
        instruments = await fetch_instruments(config, MachineClock())
        directory.instruments.write_bytes(instruments.to_json())
        with Viewer(f"AlephTX demo  {directory.id}", quiet=self.as_json) as viewer:
            run = Run(config, directory, instruments, viewer.show)
            outcome = await run.drive(seconds, until=twins.wait())
        return conclude(directory, outcome, as_json=self.as_json)


def _fraction(bps: str) -> str:
    return format(Decimal(bps) / 10_000, "f")
