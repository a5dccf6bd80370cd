"""The demo: twins on loopback replay real recordings, and a supervised run trades on them live.

Everything is real but the money: sockets, signed orders, private streams, journal, ledger. Two demos
at once do not meet: ports are free ones, the matrix and the run directory are this demo's own.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.clock import MachineClock
from alephtx.core.errors import AlephError
from alephtx.core.log import logger

log = logger("demo")

TWIN_START_SECONDS = 30.0
LEAD_NS = 2_500_000_000
"""From the twins' readiness to the first recorded message: time for feeders and engine to start."""

VENUES = ("binance_spot", "binance_usdm", "binance_coinm", "hyperliquid")

CONFIG = """\
# Written by `alephtx demo`. Fees are the tier stated here, the same on both sides: the twins charge
# it and the strategies count with it.
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
[accounts.hyper]
venue = "hyperliquid"
secret = "twin"

[strategies.arb_btc]
use = "arbitrage"
instruments = ["binance_spot:BTC-USDT", "binance_usdm:BTC-USDT-PERP", "binance_coinm:BTC-USD-PERP"]
accounts = ["spot", "usdm", "coinm"]
{arbitrage}
[strategies.arb_eth]
use = "arbitrage"
instruments = ["binance_spot:ETH-USDT", "binance_usdm:ETH-USDT-PERP", "binance_coinm:ETH-USD-PERP"]
accounts = ["spot", "usdm", "coinm"]
{arbitrage_eth}
[strategies.mm_btc]
use = "market_maker"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["usdm"]
{market_maker}
[strategies.mm_hyper]
use = "market_maker"
instruments = ["hyperliquid:BTC-USD-PERP"]
accounts = ["hyper"]
{market_maker_hyper}
"""

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
                *command, stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL
            )
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
        """Wait for the end of the recordings."""
        if self._process is not None:
            await self._process.wait()

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


def matrix_path() -> str:
    """Return a path that no other demo uses."""
    return f"/dev/shm/aleph-demo-{os.getpid()}"  # noqa: S108 - the matrix checks owner and mode
