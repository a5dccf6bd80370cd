"""The market side of the Hyperliquid twin: recorded frames in, books, trades and candles out.

Frames keep their recorded bytes; times become now, and trade ids move on with every loop of the
recording. Every l2Book is a whole book, so a loop's seam is just the next book. Trades older than
the recording (the venue sends recent ones to new subscribers) are history, not events.
"""

import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from alephtx.core.errors import SimulationError
from alephtx.core.units import parse_scaled
from alephtx.core.words import BUY, SELL
from alephtx.twins.accounts import Market
from alephtx.twins.exchange import Exchange
from alephtx.twins.hyperliquid_exchange import plain
from alephtx.twins.server import Client

RECENT_TRADES = 30
TRADES_KEPT = 5_000
TID_STRIDE = 1_000_003  # added to trade ids per loop
CANDLE_MS = {
    "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000,
    "1h": 3_600_000, "2h": 7_200_000, "4h": 14_400_000, "8h": 28_800_000, "12h": 43_200_000,
    "1d": 86_400_000, "3d": 259_200_000, "1w": 604_800_000,
}  # fmt: skip

_TIME = re.compile(rb'"time":\d{13}')


class Level(msgspec.Struct):
    """One level of a book."""

    n: int
    px: str
    sz: str


class Book(msgspec.Struct):
    """A whole book: bids and asks, best first."""

    coin: str
    levels: tuple[list[Level], list[Level]]
    time: int


class Print(msgspec.Struct):
    """A public trade; fields in the recorded order."""

    coin: str
    hash: str
    px: str
    side: str
    sz: str
    tid: int
    time: int
    users: tuple[str, str]


class _BookFrame(msgspec.Struct, tag_field="channel", tag="l2Book"):
    data: Book


class _TradesFrame(msgspec.Struct, tag_field="channel", tag="trades"):
    data: list[Print]


_frame = msgspec.json.Decoder(_BookFrame | _TradesFrame)


class CoinState:
    """What is last known of one coin."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self.raw = b""
        self.bbo: tuple[Level | None, Level | None] = (None, None)
        self.recent: deque[Print] = deque(maxlen=RECENT_TRADES)
        self.trades: deque[Print] = deque(maxlen=TRADES_KEPT)
        self.first_ms = 0


class HyperliquidFeed:
    """Takes recorded lines, keeps books and trades, publishes to subscribers by topic."""

    def __init__(self, exchange: Exchange, now_ms: Callable[[], int]) -> None:
        self.exchange = exchange
        self.now_ms = now_ms
        self.coins: dict[str, CoinState] = {m.symbol: CoinState() for m in exchange.markets}
        self.topics: dict[str, set[Client]] = {}
        self.laps = 0
        self._messages = 0

    # -- subscribers ---------------------------------------------------------------------------

    def publish(self, topic: str, frame: bytes, role: str = "market") -> None:
        """Send a frame to a topic's subscribers."""
        for client in self.topics.get(topic, ()):
            client.send(frame, role)

    def watched(self, topic: str) -> bool:
        """Say whether somebody listens."""
        return bool(self.topics.get(topic))

    # -- recorded lines ------------------------------------------------------------------------

    def take(self, coin: str, raw: bytes, *, live: bool) -> None:
        """Take one recorded line; before the origin (not live) nothing is published."""
        market = self.exchange.market(coin)
        try:
            frame = _frame.decode(raw)
        except msgspec.MsgspecError as error:
            raise SimulationError(f"{coin}: a recorded line of no known kind: {error}") from None
        if isinstance(frame, _BookFrame):
            self._take_book(market, frame.data, raw, live=live)
        else:
            self._take_trades(market, frame.data, live=live)

    def _take_book(self, market: Market, book: Book, raw: bytes, *, live: bool) -> None:
        state = self.coins[market.symbol]
        state.first_ms = state.first_ms or book.time
        book.time = self.now_ms()
        state.book, state.raw = book, _TIME.sub(b'"time":%d' % book.time, raw)
        self._messages += 1
        levels = [
            (
                side,
                parse_scaled(level.px, market.price_scale),
                parse_scaled(level.sz, market.qty_scale),
            )
            for side, half in zip((BUY, SELL), book.levels, strict=True)
            for level in half
        ]
        self.exchange.book(market, levels, seq=self._messages, snapshot=True)
        bids, asks = book.levels
        bbo = (bids[0] if bids else None, asks[0] if asks else None)
        changed, state.bbo = bbo != state.bbo, bbo
        if live:
            self.publish(f"l2Book:{market.symbol}", state.raw)
            if changed:
                self.publish(f"bbo:{market.symbol}", self.bbo_frame(market.symbol))

    def _take_trades(self, market: Market, trades: list[Print], *, live: bool) -> None:
        state, now = self.coins[market.symbol], self.now_ms()
        shift = now - max((trade.time for trade in trades), default=now)
        fresh = []
        for trade in trades:
            is_new = bool(state.first_ms) and trade.time >= state.first_ms
            trade.time += shift
            trade.tid += self.laps * TID_STRIDE
            if live and is_new:
                fresh.append(trade)
            elif not self.laps:
                state.recent.append(trade)
        for trade in fresh:
            state.recent.append(trade)
            state.trades.append(trade)
            price = parse_scaled(trade.px, market.price_scale)
            qty = parse_scaled(trade.sz, market.qty_scale)
            self.exchange.trade(market, price, qty, BUY if trade.side == "B" else SELL)
        if fresh:
            self.publish(f"trades:{market.symbol}", trades_frame(fresh))
            for interval in CANDLE_MS:
                topic = f"candle:{market.symbol}:{interval}"
                if self.watched(topic):
                    candle = self.candles(market.symbol, interval, now, now)[-1]
                    self.publish(topic, _frame_of("candle", candle))

    # -- what is published or asked for --------------------------------------------------------

    def book_body(self, coin: str) -> dict[str, Any]:
        """Return the last book as /info gives it."""
        book = self.coins[coin].book
        if book is None:
            return {"coin": coin, "time": self.now_ms(), "levels": [[], []]}
        levels = [[{"px": x.px, "sz": x.sz, "n": x.n} for x in half] for half in book.levels]
        return {"coin": coin, "time": book.time, "levels": levels}

    def book_frame(self, coin: str) -> bytes:
        """Return the last l2Book frame."""
        return self.coins[coin].raw or _frame_of("l2Book", self.book_body(coin))

    def bbo_frame(self, coin: str) -> bytes:
        """Return the touch."""
        state = self.coins[coin]
        time = state.book.time if state.book else self.now_ms()
        bbo = [x and {"px": x.px, "sz": x.sz, "n": x.n} for x in state.bbo]
        return _frame_of("bbo", {"coin": coin, "time": time, "bbo": bbo})

    def mids(self) -> dict[str, str]:
        """Return the middle of every touch that has two sides."""
        mids = {}
        for coin, state in self.coins.items():
            bid, ask = state.bbo
            if bid is not None and ask is not None:
                mids[coin] = plain((Decimal(bid.px) + Decimal(ask.px)) / 2)
        return mids

    def candles(self, coin: str, interval: str, start: int, end: int) -> list[dict[str, Any]]:
        """Fold the trades seen since the start into candles that overlap [start, end]."""
        length = CANDLE_MS[interval]
        folded: dict[int, dict[str, Any]] = {}
        for trade in self.coins[coin].trades:
            opened = trade.time // length * length
            if opened + length <= start or opened > end:
                continue
            candle = folded.get(opened)
            if candle is None:
                folded[opened] = {
                    "t": opened, "T": opened + length - 1, "s": coin, "i": interval,
                    "o": trade.px, "c": trade.px, "h": trade.px, "l": trade.px,
                    "v": plain(Decimal(trade.sz)), "n": 1,
                }  # fmt: skip
                continue
            candle["c"] = trade.px
            candle["h"] = max(candle["h"], trade.px, key=Decimal)
            candle["l"] = min(candle["l"], trade.px, key=Decimal)
            candle["v"] = plain(Decimal(candle["v"]) + Decimal(trade.sz))
            candle["n"] += 1
        return [folded[opened] for opened in sorted(folded)]


def trades_frame(trades: list[Print]) -> bytes:
    """Return a trades frame."""
    return _frame_of("trades", trades)


def _frame_of(channel: str, data: Any) -> bytes:
    return msgspec.json.encode({"channel": channel, "data": data})
