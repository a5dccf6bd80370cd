"""Binance USD-M as the exchange plays it: depth messages, the twin behind them, checks of orders.

Levels, digits and order of a message are those of recorded ones, moved so that all stand around one
price. On top of each stand a new best bid and ask, and the old ones' deletion.
"""

import hashlib
import hmac
import io
import json
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
import zstandard
from ttt_links import opened
from ttt_plan import SPREAD, Plan
from ttt_side import OrderChecker, http_header

from alephtx.core.words import BUY, SELL
from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET
from alephtx.twins.binance_api import RECORDINGS
from alephtx.twins.binance_futures import BinanceUsdmTwin
from alephtx.twins.binance_markets import usdm_account, usdm_markets
from alephtx.twins.binance_params import integer
from alephtx.twins.exchange import Exchange
from alephtx.twins.extract import BINANCE
from alephtx.twins.limits import Window

SYMBOL = "BTCUSDT"
PLAN = Plan(617_000, Decimal("0.1"), "0.01")
FIRST_ID = 5_123_107_000_000
ID_STEP = 100
SHAPES = {"short": (0, 0), "real": (1_400, 1_800)}
"""Shape -> (least, most) bytes of the recorded messages to take; short ones are cut."""
SHORT_LEVELS = 22
TEMPLATES = 64
FREE = 1 << 40
BOOK_QTY = 1_000_000
MORE = {
    "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN",
    "underlyingSubType": ["PoW"], "triggerProtect": "0.0500", "liquidationFee": "0.012500",
    "marketTakeBound": "0.05", "settlePlan": 0,
}  # fmt: skip
"""Fields of a symbol's rules that only a peer asks for."""


class Depth(msgspec.Struct):
    """A recorded depth message."""

    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class Wrapped(msgspec.Struct):
    """As it was recorded."""

    data: Depth


class Template(NamedTuple):
    """Levels of a recorded message as they stand in a frame."""

    bids: bytes
    asks: bytes


def text_of(steps: int) -> str:
    """Return a price as the venue writes it."""
    return f"{steps // 10}.{steps % 10}0"


def steps_of(text: str) -> int:
    """Return a recorded price in steps."""
    return int(Decimal(text) * 10)


def recorded(shape: str) -> list[Depth]:
    """Return recorded messages of the wanted size; for `short` any, to be cut."""
    least, most = SHAPES[shape]
    path = RECORDINGS / f"{BINANCE['binance_usdm'][SYMBOL]}.zst"
    found: list[Depth] = []
    with path.open("rb") as file:
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20)
        for line in lines:
            raw = line.partition(b" ")[2]
            if b"@depth" not in raw[:40] or (most and not least <= len(raw) <= most):
                continue
            depth = msgspec.json.decode(raw, type=Wrapped).data
            if min(len(depth.b), len(depth.a)) >= SHORT_LEVELS // 2:
                found.append(depth)
            if len(found) == TEMPLATES:
                break
    return found


def moved(levels: list[tuple[str, str]], best: int, target: int) -> bytes:
    """Return levels as JSON items, moved so that the best one stands at the target."""
    there = ((steps_of(price) - best + target, qty) for price, qty in levels)
    return b",".join(item(steps, qty.encode()) for steps, qty in there if steps > 0)


def item(steps: int, qty: bytes) -> bytes:
    """Return one level."""
    return b'["%b","%b"]' % (text_of(steps).encode(), qty)


def templates(shape: str) -> list[Template]:
    """Return what the frames of a shape are made of."""
    made = []
    for depth in recorded(shape):
        bids, asks = depth.b, depth.a
        if shape == "short":  # two of either side are the tick's own
            n = SHORT_LEVELS // 2 - 2
            bids, asks = bids[-n:], asks[:n]
        best_bid = max(steps_of(price) for price, _ in bids)
        best_ask = min(steps_of(price) for price, _ in asks)
        made.append(Template(moved(bids, best_bid, PLAN.low), moved(asks, best_ask, PLAN.high)))
    return made


class DepthTicks:
    """Depth messages whose numbers join."""

    def __init__(self, shape: str) -> None:
        self.k = 0
        self._templates = templates(shape)
        self._head = self._tail = b""

    def name(self, stream: str, *, wrapped: bool) -> None:
        """Send from now on in a stream's name."""
        self._head = b'{"stream":"%b","data":' % stream.encode() if wrapped else b""
        self._tail = b"}" if wrapped else b""

    def next(self, now_ms: int) -> bytes:
        """Return the next tick's payload."""
        self.k += 1
        k, template = self.k, self._templates[self.k % len(self._templates)]
        old, new = PLAN.bid(k - 1), PLAN.bid(k)
        gone, there = b"0.000", b"1.500"
        bids = b",".join(item(*level) for level in sorted([(old, gone), (new, there)]))
        tops = sorted([(old + SPREAD, gone), (new + SPREAD, there)])
        asks = b",".join(item(*level) for level in tops)
        last = FIRST_ID + k * ID_STEP
        head = b'%b{"e":"depthUpdate","E":%d,"T":%d,"s":"%b","U":%d,"u":%d,"pu":%d' % (
            self._head, now_ms, now_ms, SYMBOL.encode(), last - ID_STEP + 1, last, last - ID_STEP,
        )  # fmt: skip
        return b'%b,"b":[%b,%b],"a":[%b,%b]}%b' % (
            head, template.bids, bids, asks, template.asks, self._tail,
        )  # fmt: skip

    def snapshot(self, now_ms: int, limit: int) -> dict[str, object]:
        """Return the REST answer: the book as of the last tick."""
        bid = PLAN.bid(self.k)
        bids, asks = [[text_of(bid), "1.500"]], [[text_of(bid + SPREAD), "1.500"]]
        bids += [[text_of(PLAN.low - n), "0.250"] for n in range(1, limit)]
        asks += [[text_of(PLAN.high + n), "0.250"] for n in range(1, limit)]
        return {"lastUpdateId": FIRST_ID + self.k * ID_STEP, "E": now_ms, "T": now_ms,
                "bids": bids, "asks": asks}  # fmt: skip


class BenchTwin(BinanceUsdmTwin):
    """USD-M without a recording and without rate limits; its book of REST is the bench's."""

    weights = (Window("1M", FREE, 60),)
    order_limits = (Window("10S", FREE, 10), Window("1M", FREE, 60))
    snapshot: Any

    def track(self) -> None:
        """Replay nothing."""
        return

    def info(self, _: Any, params: Any) -> Any:
        """GET exchangeInfo."""
        told = super().info(_, params)
        for symbol in told["symbols"]:
            symbol.update(MORE)
        return told

    def depth(self, _: Any, params: Any) -> Any:
        """GET depth: the book as of the last tick."""
        self.market_of(params)
        self.stats["snapshots"] += 1
        return self.snapshot(self.now_ms(), integer(params, "limit", 500))


class Binance:
    """See `ttt_side.Side`."""

    plan = PLAN
    trade_path = "/ws-fapi/v1"
    order_word = b'"order.place"'
    order_start = b"POST /fapi/v1/order"

    def ticks(self, shape: str) -> DepthTicks:
        """Return a session's ticks."""
        return DepthTicks(shape)

    def asked_for_ticks(self, ticks: DepthTicks, path: str, text: bytes) -> bool:
        """Streams are named in the path, or in a SUBSCRIBE."""
        names = path.partition("streams=")[2].split("/")
        if text:
            names = [str(name) for name in json.loads(text).get("params") or []]
        for name in names:
            if "depth" in name:
                ticks.name(name, wrapped="/stream" in path)
                return True
        return False

    def replies(self, text: bytes) -> list[bytes]:
        """Confirm a SUBSCRIBE."""
        identity = json.dumps(json.loads(text).get("id")).encode()
        return [b'{"result":null,"id":%b}' % identity]

    def make_twin(self, snapshot: Any) -> BenchTwin:
        """Return the twin."""
        twin = BenchTwin(Exchange(usdm_markets(), [usdm_account()]))
        twin.snapshot = snapshot
        return twin

    def prime(self, twin: BenchTwin) -> None:
        """Let levels rest out of reach; its prices are in hundredths."""
        levels = [(BUY, PLAN.low * 10, BOOK_QTY), (SELL, PLAN.high * 10, BOOK_QTY)]
        twin.exchange.book(twin.exchange.by_symbol[SYMBOL], levels, seq=1, snapshot=True)

    def ask(self, twin: BenchTwin, caller: Any, text: str) -> None:
        """Ask the WS API."""
        twin.on_api_text(caller, text)

    def good(self, answer: bytes) -> bool:
        """Read the status of a WS answer or of HTTP."""
        return b'"status":200' in answer or b" 200 " in answer.partition(b"\r\n")[0]

    def checker(self) -> "BinanceChecker":
        """Return a session's checker."""
        return BinanceChecker()


class BinanceChecker(OrderChecker):
    """Checks orders of the WS API and of REST, by the standard library alone."""

    def fault(self, k: int, message: bytes) -> str:
        """Hold an order against tick k."""
        if message[:1] == b"\x81":
            asked = json.loads(opened(message)[1])
            if asked["method"] != "order.place" or not asked["id"]:
                return f"is {asked['method']}"
            params = {name: plain(value) for name, value in asked["params"].items()}
            names = sorted(name for name in params if name != "signature")
            payload = "&".join(f"{name}={params[name]}" for name in names)
        else:
            head, _, body = message.partition(b"\r\n\r\n")
            query = head.split(b" ", 2)[1].partition(b"?")[2].decode()
            signed = query or body.decode()
            payload = signed.partition("&signature=")[0]
            params = dict(parse_qsl(signed))
            params["apiKey"] = http_header(head, b"x-mbx-apikey")
        return self._wrong(k, params, payload)

    def _wrong(self, k: int, params: dict[str, str], payload: str) -> str:
        made = hmac.new(TWIN_SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(made, params["signature"]):
            return "signature"
        side, price = PLAN.order(k)
        identity = params["newClientOrderId"]
        wanted = {"apiKey": TWIN_KEY, "symbol": SYMBOL, "side": side, "type": "LIMIT",
                  "timeInForce": "IOC"}  # fmt: skip
        for name, value in wanted.items():
            if params[name] != value:
                return f"{name} is {params[name]!r}, not {value!r}"
        if Decimal(params["price"]) != price or Decimal(params["quantity"]) != Decimal(PLAN.qty):
            return f"{params['quantity']} at {params['price']}, not {PLAN.qty} at {price}"
        return self.first(identity)


def plain(value: object) -> str:
    """Return a parameter as it is signed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
