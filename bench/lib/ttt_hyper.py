"""Hyperliquid as the exchange plays it: whole books, the twin behind them, checks of actions.

A book keeps the sizes and counts of a recorded one; its prices stand a dollar apart below and above
the tick's best ones. Signatures are recovered by the venue's own library.
"""

import io
import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import zstandard
from ttt_links import opened
from ttt_plan import SPREAD, Plan
from ttt_side import OrderChecker

from alephtx.core.words import BUY, SELL
from alephtx.twins.extract import HYPERLIQUID
from alephtx.twins.hyperliquid import RECORDINGS, HyperliquidTwin, make_hyperliquid

COIN, ASSET = "BTC", 0
PLAN = Plan(105_000, Decimal(1), "0.001")
TEMPLATES = 64
BOOK_QTY = 100_000
PRICE_SCALE = 10
PLENTY = 1 << 40
CLOID = re.compile(r"^0x[0-9a-f]{32}$")


class Level(msgspec.Struct):
    """A recorded level."""

    n: int
    sz: str


class Book(msgspec.Struct):
    """A recorded book."""

    levels: tuple[list[Level], list[Level]]


class Frame(msgspec.Struct):
    """A recorded message; of trades, data is a list."""

    channel: str
    data: msgspec.Raw


def templates() -> list[Book]:
    """Return recorded books."""
    found: list[Book] = []
    with (RECORDINGS / f"{HYPERLIQUID}.zst").open("rb") as file:
        for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20):
            frame = msgspec.json.decode(line.partition(b" ")[2], type=Frame)
            if frame.channel == "l2Book":
                found.append(msgspec.json.decode(frame.data, type=Book))
            if len(found) == TEMPLATES:
                break
    return found


class BookTicks:
    """l2Book messages."""

    def __init__(self) -> None:
        self.k = 0
        self._templates = templates()

    def next(self, now_ms: int) -> bytes:
        """Return the next tick's payload."""
        self.k += 1
        book = self._templates[self.k % len(self._templates)]
        bid = PLAN.bid(self.k)
        bids = self._half(book.levels[0], bid, -1)
        asks = self._half(book.levels[1], bid + SPREAD, 1)
        return b'{"channel":"l2Book","data":{"coin":"%b","levels":[[%b],[%b]],"time":%d}}' % (
            COIN.encode(), bids, asks, now_ms,
        )  # fmt: skip

    @staticmethod
    def _half(levels: list[Level], best: int, step: int) -> bytes:
        return b",".join(
            b'{"n":%d,"px":"%d.0","sz":"%b"}' % (level.n, best + step * k, level.sz.encode())
            for k, level in enumerate(levels)
        )

    def snapshot(self, now_ms: int, limit: int) -> dict[str, object]:
        """Return nothing: books come whole."""
        return {}


class BenchTwin(HyperliquidTwin):
    """Perpetuals without a recording."""

    def track(self) -> None:
        """Replay nothing."""
        return


class Hyperliquid:
    """See `ttt_side.Side`."""

    plan = PLAN
    trade_path = "/trade is known by its first order"
    order_word = b'"action"'
    order_start = b"POST /exchange"

    def ticks(self, shape: str) -> BookTicks:
        """Return a session's ticks; there is one shape."""
        return BookTicks()

    def asked_for_ticks(self, ticks: BookTicks, path: str, text: bytes) -> bool:
        """Topics are named in texts."""
        return b'"l2Book"' in text

    def replies(self, text: bytes) -> list[bytes]:
        """Confirm a subscription, answer a ping."""
        asked = json.loads(text)
        if asked["method"] == "ping":
            return [b'{"channel":"pong"}']
        return [json.dumps({"channel": "subscriptionResponse", "data": asked}).encode()]

    def make_twin(self, snapshot: Any) -> HyperliquidTwin:
        """Return the twin."""
        plain = make_hyperliquid(weight_per_minute=PLENTY)
        return BenchTwin(plain.exchange, weight_per_minute=PLENTY)

    def prime(self, twin: HyperliquidTwin) -> None:
        """Let levels rest out of reach."""
        levels = [
            (BUY, PLAN.low * PRICE_SCALE, BOOK_QTY),
            (SELL, PLAN.high * PRICE_SCALE, BOOK_QTY),
        ]
        twin.exchange.book(twin.exchange.by_symbol[COIN], levels, seq=1, snapshot=True)

    def ask(self, twin: HyperliquidTwin, caller: Any, text: str) -> None:
        """Ask over a socket."""
        twin.on_text(caller, text)

    def good(self, answer: bytes) -> bool:
        """Take only the refusal of an IOC that met nothing, which is what every one is to get."""
        return b'"status":"ok"' in answer and b"could not immediately match" in answer

    def checker(self) -> "HyperliquidChecker":
        """Return a session's checker."""
        return HyperliquidChecker()


class HyperliquidChecker(OrderChecker):
    """Checks actions, by WebSocket post and by HTTP, by the venue's own library."""

    def __init__(self) -> None:
        from alephtx.twins.accounts import TWIN_SECRET
        from alephtx.twins.hyperliquid_signing import address_of_private_key

        self._address = address_of_private_key(TWIN_SECRET).lower()
        self._nonces: set[int] = set()
        super().__init__()

    def fault(self, k: int, message: bytes) -> str:
        """Hold an action against tick k."""
        from hyperliquid.utils.signing import recover_agent_or_user_from_l1_action

        if message[:1] == b"\x81":
            told = json.loads(opened(message)[1])["request"]["payload"]
        else:
            told = json.loads(message.partition(b"\r\n\r\n")[2])
        action, nonce = told["action"], told["nonce"]
        signer = recover_agent_or_user_from_l1_action(
            action, told["signature"], told.get("vaultAddress"), nonce, told.get("expiresAfter"),
            False,
        )  # fmt: skip
        if signer.lower() != self._address:
            return f"signed by {signer}"
        if nonce in self._nonces:
            return f"nonce {nonce} came before"
        self._nonces.add(nonce)
        if action["type"] != "order" or len(action["orders"]) != 1:
            return f"is {action['type']} of {len(action['orders'])}"
        return self._wrong(k, action["orders"][0])

    def _wrong(self, k: int, order: dict[str, Any]) -> str:
        side, price = PLAN.order(k)
        if order["b"] != (side == "BUY") or order["a"] != ASSET or order["r"]:
            return f"not {side} of asset {ASSET}"
        if Decimal(order["p"]) != price or Decimal(order["s"]) != Decimal(PLAN.qty):
            return f"{order['s']} at {order['p']}, not {PLAN.qty} at {price}"
        if order["t"] != {"limit": {"tif": "Ioc"}}:
            return f"is {order['t']}"
        return self.first(order["c"] if CLOID.match(order["c"]) else "")
