"""The slow side of the exchange: the USD-M twin in a thread, for REST, private streams, answers.

The twin checks every order as it always does (key, clock, signature, filters) and tells the private
links; only its market is the bench's, and its rate limits are out of the way.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import uvloop
from ttt_ticks import BID_FIRST, FAR, SPREAD, SYMBOL, TICK, TURN

from alephtx.core.words import BUY, SELL
from alephtx.twins.binance_futures import BinanceUsdmTwin
from alephtx.twins.binance_markets import usdm_account, usdm_markets
from alephtx.twins.binance_params import integer
from alephtx.twins.exchange import Exchange
from alephtx.twins.limits import Window
from alephtx.twins.server import TwinServer

FREE = 1 << 40
BOOK_QTY = 1_000_000
MORE = {
    "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN",
    "underlyingSubType": ["PoW"], "triggerProtect": "0.0500", "liquidationFee": "0.012500",
    "marketTakeBound": "0.05", "settlePlan": 0,
}  # fmt: skip
Snapshot = Callable[[int, int], dict[str, object]]


class BenchTwin(BinanceUsdmTwin):
    """USD-M without a recording and without rate limits; its book of REST is the bench's."""

    weights = (Window("1M", FREE, 60),)
    order_limits = (Window("10S", FREE, 10), Window("1M", FREE, 60))
    snapshot: Snapshot

    def track(self) -> None:
        """Replay nothing."""
        return

    def info(self, _: Any, params: Any) -> Any:
        """GET exchangeInfo, with the fields that only a peer asks for."""
        told = super().info(_, params)
        for symbol in told["symbols"]:
            symbol.update(MORE)
        return told

    def depth(self, _: Any, params: Any) -> Any:
        """GET depth: the book as of the last tick."""
        self.market_of(params)
        self.stats["snapshots"] += 1
        return self.snapshot(self.now_ms(), integer(params, "limit", 500))


class Caller:
    """Stands for the trade link: what the twin sends is put where the exchange finds it."""

    def __init__(self) -> None:
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.carries = {"trade"}
        self.account: Any = None
        self.closing = None
        self.subscriptions: set[str] = set()

    def send(self, frame: bytes, role: str = "") -> None:
        """Keep an answer."""
        self.answers.put(frame)

    def abort(self) -> None:
        """Answer nothing."""
        self.answers.put(b"")


class TwinThread:
    """The twin's asyncio loop in a thread of the exchange's process."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.port = 0
        self.caller = Caller()
        self._loop = uvloop.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(snapshot,), daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the twin did not start"

    def _run(self, snapshot: Snapshot) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(snapshot))

    async def _serve(self, snapshot: Snapshot) -> None:
        self.twin = BenchTwin(Exchange(usdm_markets(), [usdm_account()]))
        self.twin.snapshot = snapshot
        market = self.twin.exchange.by_symbol[SYMBOL]
        # What rests at this exchange is out of every order's reach.
        bid, ask = BID_FIRST - FAR, BID_FIRST + TURN * TICK + SPREAD + FAR
        levels = [(BUY, bid, BOOK_QTY), (SELL, ask, BOOK_QTY)]
        async with TwinServer({self.twin: 0}) as server:
            self.twin.exchange.book(market, levels, seq=1, snapshot=True)
            self.port = server.ports[self.twin.name]
            self._ready.set()
            await self._stop.wait()

    def ask(self, text: bytes) -> None:
        """Hand a request of the trade link to the twin; its answer comes to `caller.answers`."""
        self._loop.call_soon_threadsafe(self.twin.on_api_text, self.caller, text.decode())

    def position(self) -> Decimal:
        """Return what the account holds: nothing, if no order filled."""
        return Decimal(self.twin.exchange.accounts[0].position(SYMBOL).qty)

    def close(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
