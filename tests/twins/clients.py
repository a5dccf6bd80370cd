"""Independent clients of the twins: ccxt with every address rewritten to loopback."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import ccxt
import ccxt.pro
import pytest

from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET
from alephtx.twins.main import make_server
from alephtx.twins.options import TwinOptions

CONFIG = {
    "apiKey": TWIN_KEY,
    "secret": TWIN_SECRET,
    "enableRateLimit": False,
    "options": {"fetchCurrencies": False, "fetchMargins": False},
}
SYMBOLS = {
    "binance_spot": "BTC/USDT",
    "binance_usdm": "BTC/USDT:USDT",
    "binance_coinm": "BTC/USD:BTC",
}
AMOUNT = {"binance_spot": 0.01, "binance_usdm": 0.01, "binance_coinm": 3}


def _venue_of(url: str) -> str:
    if "fapi" in url or "fstream" in url:
        return "binance_usdm"
    return "binance_coinm" if "dapi" in url or "dstream" in url else "binance_spot"


def point(exchange: Any, ports: dict[str, int]) -> Any:
    """Rewrite every address of a ccxt exchange to the twins; nothing may leave the machine."""

    def rewrite(node: dict[str, Any]) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                rewrite(value)
            elif isinstance(value, str) and "://" in value:
                scheme, rest = value.split("://", 1)
                host, _, path = rest.partition("/")
                plain = "ws" if scheme.startswith("ws") else "http"
                port = ports.get(_venue_of(value), 1)
                # ccxt.pro knows a spot link by "/stream" in its address.
                prefix = "stream.spot/" if host.startswith("stream.") else ""
                node[key] = f"{plain}://127.0.0.1:{port}/{prefix}{path}"

    rewrite(exchange.urls["api"])
    return exchange


def options_for(ports: dict[str, int]) -> dict[str, Any]:
    kinds = {"binance_spot": "spot", "binance_usdm": "linear", "binance_coinm": "inverse"}
    types = [kinds[venue] for venue in ports if venue in kinds]
    return CONFIG | {"options": CONFIG["options"] | {"fetchMarkets": {"types": types}}}


def rest_client(ports: dict[str, int]) -> Any:
    return point(ccxt.binance(options_for(ports)), ports)


@asynccontextmanager
async def stream_client(ports: dict[str, int]):
    exchange = point(ccxt.pro.binance(options_for(ports)), ports)
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


class Served:
    """Running twins with what tests need to reach into them."""

    def __init__(self, server: Any, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.ports = server.ports
        self.session = session
        self.twins = {twin.name: twin for twin in server.twins}

    def url(self, venue: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[venue]}{path}"

    async def ask(self, venue: str, what: str) -> Any:
        async with self.session.get(self.url(venue, f"/_twin/{what}")) as answer:
            return await answer.json()

    async def fault(self, venue: str, **fields: Any) -> tuple[int, str]:
        data = json.dumps(fields).encode()
        async with self.session.post(self.url(venue, "/_twin/fault"), data=data) as answer:
            return answer.status, await answer.text()

    async def call(self, function: Any, *arguments: Any, **named: Any) -> Any:
        """Run a blocking client call while the twins go on."""
        return await asyncio.to_thread(function, *arguments, **named)


@asynccontextmanager
async def serving(*venues: str, **options: Any):
    """Serve twins; by default the replay starts far in the future, so that books stand still."""
    options.setdefault("start_at_ns", 1 << 62)
    server = make_server(TwinOptions(venues=venues, **options))
    async with server, aiohttp.ClientSession() as session:
        yield Served(server, session)
        server.check()


def replaying() -> int:
    """Return the start_at_ns that means at once."""
    return 0


every_venue = pytest.mark.parametrize("venue", list(SYMBOLS))
