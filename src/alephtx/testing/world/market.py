"""A seeded market in a venue's own words: what a recording would be, made up.

One symbol: ten levels on each side of a middle that wanders. Each message is what Binance sends
for it - depth, bookTicker and trade frames - and goes through the twin's `feed` like a recorded
line. Two symbols of one underlying share a middle and differ by a basis that wanders too.
"""

import random
from collections.abc import Iterator
from decimal import Decimal

from alephtx.twins.accounts import Market

LEVELS = 10
STAMP = b"1700000000000"  # overwritten by the twin


class Underlying:
    """The common middle of symbols, in units of the coarsest tick."""

    def __init__(self, source: random.Random, middle: int) -> None:
        self.source, self.middle = source, middle

    def wander(self) -> None:
        """Move by nothing, a tick, or now and then by many."""
        source = self.source
        move = source.choice((-1, 0, 0, 1))
        if source.random() < 0.02:
            move *= 20
        self.middle += move


class SymbolMarket:
    """One symbol's book and the frames that tell of its changes."""

    def __init__(self, market: Market, underlying: Underlying, source: random.Random) -> None:
        self.market, self.underlying, self.source = market, underlying, source
        self.name = market.symbol.lower().encode()
        self.symbol = market.symbol.encode()
        self.spot = market.spot
        self.basis = 0
        self.crossed = 0  # by how many units bids are above asks
        self.update_id = 1_000
        self.trade_id = 1
        self.books: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self._shift(self._touch())

    def _touch(self) -> tuple[int, int]:
        """Return bid and ask in the underlying's units."""
        bid = self.underlying.middle + self.basis
        return bid + self.crossed, bid + 1 - self.crossed

    def _qty(self) -> int:
        return self.source.randrange(1, 2_000) * self._unit

    @property
    def _unit(self) -> int:
        """Lots of a thousandth of the base coin."""
        return int(10 ** (self.market.qty_scale - 3))

    def _shift(self, touch: tuple[int, int]) -> dict[int, dict[int, int]]:
        """Move both sides to a touch; return the levels that changed, 0 for gone."""
        changed: dict[int, dict[int, int]] = {1: {}, -1: {}}
        for side, best in ((1, touch[0]), (-1, touch[1])):
            book = self.books[side]
            wanted = {best - side * k for k in range(LEVELS)}
            for price in [p for p in book if p not in wanted]:
                del book[price]
                changed[side][price] = 0
            for price in sorted(wanted - book.keys()):
                book[price] = changed[side][price] = self._qty()
        return changed

    @property
    def touch(self) -> tuple[Decimal, Decimal]:
        """Best bid and ask as prices."""
        market = self.market
        return market.price(max(self.books[1]) * 10), market.price(min(self.books[-1]) * 10)

    def snapshot(self) -> bytes:
        """Return the whole book as the REST snapshot words it."""
        bids = self._pairs(self.books[1], reverse=True)
        asks = self._pairs(self.books[-1], reverse=False)
        return b'{"lastUpdateId":%d,"bids":[%b],"asks":[%b]}' % (self.update_id, bids, asks)

    def frames(self) -> Iterator[bytes]:
        """Let the market do one thing and yield the frames that tell it."""
        source = self.source
        self.underlying.wander()
        if source.random() < 0.1:
            self.basis = max(-30, min(30, self.basis + source.choice((-3, -1, 1, 3))))
        if source.random() < 0.25:
            yield self._trade()
        changed = self._shift(self._touch())
        side = source.choice((1, -1))
        price = source.choice(sorted(self.books[side]))
        self.books[side][price] = changed[side][price] = self._qty()
        yield self._depth(changed)
        yield self._ticker()

    def _pairs(self, levels: dict[int, int], *, reverse: bool) -> bytes:
        market = self.market
        return b",".join(
            b'["%b","%b"]' % (self._price(p), format(market.qty(levels[p]), "f").encode())
            for p in sorted(levels, reverse=reverse)
        )

    def _price(self, units: int) -> bytes:
        return format(self.market.price(units * 10), "f").encode()  # a unit: ten ticks, 0.1 dollars

    def _wrapped(self, stream: bytes, data: bytes) -> bytes:
        return b'{"stream":"%b@%b","data":%b}' % (self.name, stream, data)

    def _depth(self, changed: dict[int, dict[int, int]]) -> bytes:
        before, self.update_id = self.update_id, self.update_id + self.source.randrange(1, 4)
        ids = b'"U":%d,"u":%d' % (before + 1, self.update_id)
        if not self.spot:
            ids = b'"T":%b,%b,"pu":%d' % (STAMP, ids, before)
        data = b'{"e":"depthUpdate","E":%b,"s":"%b",%b,"b":[%b],"a":[%b]}' % (
            STAMP, self.symbol, ids, self._pairs(changed[1], reverse=True),
            self._pairs(changed[-1], reverse=False),
        )  # fmt: skip
        return self._wrapped(b"depth@100ms" if self.spot else b"depth@0ms", data)

    def _ticker(self) -> bytes:
        bid, ask = max(self.books[1]), min(self.books[-1])
        qty = [format(self.market.qty(q), "f").encode() for q in
               (self.books[1][bid], self.books[-1][ask])]  # fmt: skip
        head = b'"u":%d,"s":"%b","b":"%b","B":"%b","a":"%b","A":"%b"' % (
            self.update_id, self.symbol, self._price(bid), qty[0], self._price(ask), qty[1]
        )  # fmt: skip
        if self.spot:
            return self._wrapped(b"bookTicker", b"{%b}" % head)
        data = b'{"e":"bookTicker",%b,"T":%b,"E":%b}' % (head, STAMP, STAMP)
        return self._wrapped(b"bookTicker", data)

    def _trade(self) -> bytes:
        """Print a trade that eats into the touch, so that resting orders meet somebody."""
        maker_is_buyer = self.source.random() < 0.5
        price = max(self.books[1]) if maker_is_buyer else min(self.books[-1])
        qty = format(self.market.qty(self._qty()), "f").encode()
        self.trade_id += 1
        more = b',"M":true' if self.spot else b',"X":"MARKET"'
        data = b'{"e":"trade","E":%b,"s":"%b","t":%d,"p":"%b","q":"%b","T":%b,"m":%b%b}' % (
            STAMP, self.symbol, self.trade_id, self._price(price), qty, STAMP,
            b"true" if maker_is_buyer else b"false", more,
        )  # fmt: skip
        return self._wrapped(b"trade", data)
