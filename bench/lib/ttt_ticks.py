"""Depth messages of Binance's shape, each of which is to become one order, and which order.

Levels, digits and order are those of recorded messages, moved so that all stand around one price.
On top of each book change sits a best bid and a best ask that the tick's number decides; side and
price of the order follow from that bid, so an order made of an older book is seen to be wrong.
"""

import io
from decimal import Decimal
from typing import NamedTuple

import msgspec
import zstandard

from alephtx.twins.binance_api import RECORDINGS
from alephtx.twins.extract import BINANCE

SYMBOL = "BTCUSDT"
TICK = 10  # of 0.01: the venue's price step is 0.10
BID_FIRST = 6_170_000
TURN = 16  # so many different bids
SPREAD = 60 * TICK
# Orders stand inside the spread, so that IOC never fills; and every buy is below every sell, so
# that none would meet one of ours that the venue has not ended yet.
ABOVE_BID = {"BUY": 2, "SELL": 2 + TURN + 4}
QTY = "0.01"
FAR = 100 * TICK  # of the recorded levels from the best ones
FIRST_ID = 5_123_107_000_000
ID_STEP = 100
SHAPES = {"short": (0, 0), "real": (1_400, 1_800)}
SHORT_LEVELS = 22
TEMPLATES = 64


class Depth(msgspec.Struct):
    """A recorded depth message."""

    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class Wrapped(msgspec.Struct):
    """As it was recorded."""

    data: Depth


class Template(NamedTuple):
    """Levels of a recorded message as they stand in a frame; either may be empty."""

    bids: bytes
    asks: bytes


def text_of(price: int) -> str:
    """Return a price as the venue writes it."""
    return f"{price // 100}.{price % 100:02d}"


def bid_of(k: int) -> int:
    """Return the best bid after tick k, in hundredths."""
    return BID_FIRST + k % TURN * TICK


def order_of(k: int) -> tuple[str, Decimal]:
    """Return side and price of the order that tick k asks for."""
    bid = bid_of(k)
    side = "SELL" if bid // TICK % 2 else "BUY"
    return side, Decimal(bid + ABOVE_BID[side] * TICK) / 100


def _recorded(shape: str) -> list[Depth]:
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
            if len(depth.b) >= SHORT_LEVELS // 2 and len(depth.a) >= SHORT_LEVELS // 2:
                found.append(depth)
            if len(found) == TEMPLATES:
                break
    return found


def _moved(levels: list[tuple[str, str]], best: int, target: int) -> bytes:
    """Return levels as JSON items, moved so that the best one stands at the target."""
    moved = []
    for price, qty in levels:
        there = int(Decimal(price) * 100) - best + target
        if there > 0:
            moved.append(b'["%b","%b"]' % (text_of(there).encode(), qty.encode()))
    return b",".join(moved)


def templates(shape: str) -> list[Template]:
    """Return what the frames of a shape are made of."""
    made = []
    for depth in _recorded(shape):
        bids, asks = depth.b, depth.a
        if shape == "short":  # two of either side are the tick's own
            n = SHORT_LEVELS // 2 - 2
            bids, asks = bids[-n:], asks[:n]
        best_bid = max(int(Decimal(price) * 100) for price, _ in bids)
        best_ask = min(int(Decimal(price) * 100) for price, _ in asks)
        low, high = BID_FIRST - FAR, BID_FIRST + TURN * TICK + SPREAD + FAR
        made.append(Template(_moved(bids, best_bid, low), _moved(asks, best_ask, high)))
    return made


class Ticks:
    """The frames of one session; `k` is the last tick that was rendered."""

    def __init__(self, shape: str, stream: str, *, wrapped: bool) -> None:
        self.k = 0
        self._templates = templates(shape)
        self._head = b'{"stream":"%b","data":' % stream.encode() if wrapped else b""
        self._tail = b"}" if wrapped else b""

    def next(self, now_ms: int) -> bytes:
        """Return the next tick's payload."""
        self.k += 1
        k, template = self.k, self._templates[self.k % len(self._templates)]
        old, new = bid_of(k - 1), bid_of(k)
        bids = [(old, b"0.000"), (new, b"1.500")]
        asks = [(old + SPREAD, b"0.000"), (new + SPREAD, b"1.500")]
        bid_text = b",".join(b'["%b","%b"]' % (text_of(p).encode(), q) for p, q in sorted(bids))
        ask_text = b",".join(b'["%b","%b"]' % (text_of(p).encode(), q) for p, q in sorted(asks))
        last = FIRST_ID + k * ID_STEP
        return b'%b{"e":"depthUpdate","E":%d,"T":%d,"s":"%b","U":%d,"u":%d,"pu":%d,"b":[%b],"a":[%b]}%b' % (  # noqa: E501 - one message
            self._head, now_ms, now_ms, SYMBOL.encode(), last - ID_STEP + 1, last, last - ID_STEP,
            template.bids + b"," + bid_text, ask_text + b"," + template.asks, self._tail,
        )  # fmt: skip

    def snapshot(self, now_ms: int, limit: int) -> dict[str, object]:
        """Return the REST answer: the book as of the last tick."""
        k = self.k
        bid = bid_of(k)
        bids = [[text_of(bid), "1.500"]]
        asks = [[text_of(bid + SPREAD), "1.500"]]
        high = BID_FIRST + TURN * TICK + SPREAD + FAR
        for n in range(1, limit):
            bids.append([text_of(BID_FIRST - FAR - n * TICK), "0.250"])
            asks.append([text_of(high + n * TICK), "0.250"])
        return {"lastUpdateId": FIRST_ID + k * ID_STEP, "E": now_ms, "T": now_ms,
                "bids": bids, "asks": asks}  # fmt: skip
