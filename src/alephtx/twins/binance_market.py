"""The market side of the Binance twins: recorded frames in, books and streams out.

Frames are forwarded as recorded, only their E and T times are overwritten. Two books are kept per
symbol: the venue's own text for REST snapshots (exactly what the depth stream has said so far,
`lastUpdateId` = its last `u`), and integers in the exchange for matching, which also follows
bookTicker and so never lags behind the quotes that clients see.

Streams made from others: aggTrade (one per trade), depth5/10/20 (with every depth message),
markPrice (middle of the touch, every second), ticker and miniTicker (every second). All `@depth`
speeds carry the recorded one. Other names are accepted and stay silent, as on the venue.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from alephtx.core.errors import SimulationError
from alephtx.core.words import BUY, SELL
from alephtx.twins.accounts import Market
from alephtx.twins.exchange import Exchange
from alephtx.twins.replay import restamp
from alephtx.twins.server import Client

Pair = tuple[str, str]

_NAME = re.compile(rb'^\{"stream":"([^"]+)","data":')
_PARTIAL = re.compile(r"^depth(5|10|20)(@100ms|@250ms|@500ms|@0ms)?$")
_DEPTH = re.compile(r"^depth(@0ms|@100ms|@250ms|@500ms|@1000ms)?$")
_MARK = re.compile(r"^markPrice(@1s|@3s)?$")


class Depth(msgspec.Struct):
    """A recorded depthUpdate."""

    U: int
    u: int
    b: list[Pair]
    a: list[Pair]


class Snapshot(msgspec.Struct):
    """A recorded REST snapshot of the book."""

    lastUpdateId: int  # noqa: N815 - the venue's name
    bids: list[Pair]
    asks: list[Pair]


class Print(msgspec.Struct):
    """A recorded trade; m: the buyer was the maker."""

    t: int
    p: str
    q: str
    T: int
    m: bool


class Ticker(msgspec.Struct):
    """A recorded bookTicker."""

    u: int
    b: str
    B: str
    a: str
    A: str


_depth = msgspec.json.Decoder(Depth)
_snapshot = msgspec.json.Decoder(Snapshot)
_print = msgspec.json.Decoder(Print)
_ticker = msgspec.json.Decoder(Ticker)


def scaled(text: str, scale: int) -> int:
    """Convert a recorded price or quantity to ticks or lots; digits below the scale must be 0."""
    whole, _, fraction = text.partition(".")
    if fraction[scale:].strip("0"):
        raise SimulationError(f"{text!r} in the recording has more than {scale} decimals")
    return int(whole + fraction[:scale].ljust(scale, "0"))


class TextBook:
    """One symbol's book in the venue's own text."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.last_id = 0
        self.ready = False
        self.waiting: list[Depth] = []

    def replace(self, snapshot: Snapshot) -> None:
        """Take a whole book."""
        self.bids, self.asks = dict(snapshot.bids), dict(snapshot.asks)
        self.last_id, self.ready = snapshot.lastUpdateId, True

    def apply(self, depth: Depth) -> None:
        """Take absolute quantities; zero removes."""
        for levels, changes in ((self.bids, depth.b), (self.asks, depth.a)):
            for price, qty in changes:
                if qty.strip("0.") == "":
                    levels.pop(price, None)
                else:
                    levels[price] = qty
        self.last_id = depth.u

    def best(self, limit: int) -> tuple[list[Pair], list[Pair]]:
        """Return the best levels of both sides, best first."""
        bids = sorted(self.bids.items(), key=lambda level: Decimal(level[0]), reverse=True)
        asks = sorted(self.asks.items(), key=lambda level: Decimal(level[0]))
        return bids[:limit], asks[:limit]


class MarketFeed:
    """Takes recorded lines, keeps the books, publishes to subscribers."""

    def __init__(self, exchange: Exchange, now_ms: Callable[[], int]) -> None:
        self.exchange = exchange
        self.now_ms = now_ms
        self.books: dict[str, TextBook] = {m.symbol: TextBook() for m in exchange.markets}
        self.trades: dict[str, list[dict[str, Any]]] = {m.symbol: [] for m in exchange.markets}
        self.subscribers: dict[str, dict[str, set[Client]]] = {}

    # -- subscriptions -------------------------------------------------------------------------

    @staticmethod
    def canonical(name: str) -> str:
        """Return the stream that feeds a subscription: all depth speeds are one."""
        symbol, _, kind = name.partition("@")
        if _DEPTH.match(kind):
            return f"{symbol}@depth"
        if partial := _PARTIAL.match(kind):
            return f"{symbol}@depth{partial[1]}"
        return f"{symbol}@markPrice" if _MARK.match(kind) else name

    def subscribe(self, client: Client, name: str) -> None:
        """Add a client to a stream."""
        client.subscriptions.add(name)
        self.subscribers.setdefault(self.canonical(name), {}).setdefault(name, set()).add(client)

    def unsubscribe(self, client: Client, name: str) -> None:
        """Take a client off a stream."""
        client.subscriptions.discard(name)
        streams = self.subscribers.get(self.canonical(name), {})
        if name in streams:
            streams[name].discard(client)
            if not streams[name]:
                del streams[name]

    def forget(self, client: Client) -> None:
        """Take a client off all its streams."""
        for name in list(client.subscriptions):
            self.unsubscribe(client, name)

    def publish(self, stream: str, data: bytes) -> None:
        """Send a payload to the subscribers of a canonical stream, wrapped where they want it."""
        for name, clients in self.subscribers.get(stream, {}).items():
            wrapped = b""
            for client in clients:
                if client.combined:
                    wrapped = wrapped or b'{"stream":"%b","data":%b}' % (name.encode(), data)
                    client.send(wrapped)
                else:
                    client.send(data)

    # -- recorded lines ------------------------------------------------------------------------

    def take(self, channel: str, raw: bytes, *, live: bool) -> None:
        """Take one recorded line; before the origin (not live) only books are kept."""
        market = self.exchange.market(channel)
        match = _NAME.match(raw)
        if match is None:
            if not raw.startswith(b'{"lastUpdateId"'):
                raise SimulationError(f"{channel}: a recorded line of no known kind: {raw[:60]!r}")
            self._seed(market, _snapshot.decode(raw))
            return
        name = match[1].decode()
        data = raw[match.end() : -1]
        kind = name.partition("@")[2]
        if kind.startswith("depth"):
            self._take_depth(market, data, live=live)
        elif not live:
            return
        elif kind == "bookTicker":
            self._take_ticker(market, data)
        elif kind == "trade":
            self._take_trade(market, data)
        if live:
            data = restamp(data, self.now_ms())
            self.publish(self.canonical(name), data)
            if kind.startswith("depth"):
                self._publish_partial(market)

    def _seed(self, market: Market, snapshot: Snapshot) -> None:
        book = self.books[market.symbol]
        book.replace(snapshot)
        for depth in book.waiting:
            if depth.u > book.last_id:
                book.apply(depth)
        book.waiting.clear()
        levels = self._levels(market, BUY, list(book.bids.items()))
        levels += self._levels(market, SELL, list(book.asks.items()))
        self.exchange.book(market, levels, seq=book.last_id, snapshot=True)

    @staticmethod
    def _levels(market: Market, side: int, pairs: list[Pair]) -> list[tuple[int, int, int]]:
        price_scale, qty_scale = market.price_scale, market.qty_scale
        return [(side, scaled(p, price_scale), scaled(q, qty_scale)) for p, q in pairs]

    def _take_depth(self, market: Market, data: bytes, *, live: bool) -> None:
        book = self.books[market.symbol]
        depth = _depth.decode(data)
        if not book.ready:
            book.waiting.append(depth)
            return
        if depth.u <= book.last_id:
            return
        book.apply(depth)
        levels = self._levels(market, BUY, depth.b) + self._levels(market, SELL, depth.a)
        self.exchange.book(market, levels, seq=depth.u, snapshot=False)

    def _take_ticker(self, market: Market, data: bytes) -> None:
        quote = _ticker.decode(data)
        prices, lots = market.price_scale, market.qty_scale
        self.exchange.top(
            market,
            scaled(quote.b, prices),
            scaled(quote.B, lots),
            scaled(quote.a, prices),
            scaled(quote.A, lots),
            quote.u,
        )

    def _take_trade(self, market: Market, data: bytes) -> None:
        trade = _print.decode(data)
        price, qty = scaled(trade.p, market.price_scale), scaled(trade.q, market.qty_scale)
        if price <= 0 or qty <= 0:  # the venue's own marker for insurance-fund and ADL prints
            return
        self.exchange.trade(market, price, qty, SELL if trade.m else BUY)
        now = self.now_ms()
        recent = self.trades[market.symbol]
        recent.append({"id": trade.t, "price": trade.p, "qty": trade.q, "time": now, "m": trade.m})
        if len(recent) > 2_000:
            del recent[:1_000]
        name = f"{market.symbol.lower()}@aggTrade"
        if name in self.subscribers:
            body = {"e": "aggTrade", "E": now, "a": trade.t, "s": market.symbol, "p": trade.p}
            body |= {"q": trade.q, "nq": trade.q, "f": trade.t, "l": trade.t, "T": now}
            self.publish(name, msgspec.json.encode(body | {"m": trade.m}))

    def _publish_partial(self, market: Market) -> None:
        symbol = market.symbol.lower()
        for limit in (5, 10, 20):
            stream = f"{symbol}@depth{limit}"
            if not self.subscribers.get(stream):
                continue
            book, now = self.books[market.symbol], self.now_ms()
            bids, asks = book.best(limit)
            if market.spot:
                body: dict[str, Any] = {"lastUpdateId": book.last_id, "bids": bids, "asks": asks}
            else:
                body = {"e": "depthUpdate", "E": now, "T": now, "s": market.symbol}
                body |= {"U": book.last_id, "u": book.last_id, "pu": book.last_id}
                body |= {"b": bids, "a": asks}
            self.publish(stream, msgspec.json.encode(body))

    def clear(self) -> None:
        """Forget every book, before the recording starts again."""
        for symbol in self.books:
            self.books[symbol] = TextBook()

    # -- made once a second --------------------------------------------------------------------

    def each_second(self, funding: dict[str, str], next_funding_ms: int) -> None:
        """Publish mark prices and tickers to whoever listens."""
        now = self.now_ms()
        for market in self.exchange.markets:
            symbol = market.symbol.lower()
            if self.subscribers.get(f"{symbol}@markPrice"):
                mark = format(market.price(self.exchange.mark(market)), "f")
                body = {"e": "markPriceUpdate", "E": now, "s": market.symbol, "p": mark, "i": mark}
                body |= {"P": mark, "r": funding.get(market.symbol, "0"), "T": next_funding_ms}
                self.publish(f"{symbol}@markPrice", msgspec.json.encode(body))
            for kind in ("ticker", "miniTicker"):
                if self.subscribers.get(f"{symbol}@{kind}"):
                    self.publish(f"{symbol}@{kind}", msgspec.json.encode(self.day(market, kind)))

    def day(self, market: Market, kind: str) -> dict[str, Any]:
        """Return the 24 h statistics as far as the replay knows them."""
        now, trades = self.now_ms(), self.trades[market.symbol]
        prices = [Decimal(trade["price"]) for trade in trades] or [
            market.price(self.exchange.mark(market))
        ]
        volume = sum((Decimal(trade["qty"]) for trade in trades), Decimal(0))
        quote = sum((Decimal(t["qty"]) * Decimal(t["price"]) for t in trades), Decimal(0))
        body: dict[str, Any] = {
            "e": "24hrTicker" if kind == "ticker" else "24hrMiniTicker",
            "E": now,
            "s": market.symbol,
            "c": format(prices[-1], "f"),
            "o": format(prices[0], "f"),
            "h": format(max(prices), "f"),
            "l": format(min(prices), "f"),
            "v": format(volume, "f"),
            "q": format(quote, "f"),
        }
        if kind == "ticker":
            bid, ask = self.exchange.touch(market)
            bids, asks = self.exchange.depth(market, BUY, 1), self.exchange.depth(market, SELL, 1)
            body |= {"p": format(prices[-1] - prices[0], "f"), "P": "0", "O": now, "C": now, "F": 0}
            body |= {"b": format(market.price(bid), "f"), "a": format(market.price(ask), "f")}
            body |= {"B": format(market.qty(bids[0][1]), "f")} if bids else {}
            body |= {"A": format(market.qty(asks[0][1]), "f")} if asks else {}
            body |= {"L": 0, "n": len(trades)}
        return body
