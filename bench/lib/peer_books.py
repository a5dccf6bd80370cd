"""Peers' way of a live depth message, from its text to their book, in environments of their own.

    python peer_books.py NAME FILE      NAME: nautilus | cryptofeed | hummingbot

FILE: a snapshot, then frames. Says {"ready", "rows"}, then for a line "run N" {"seconds", "told":
the touch}. nautilus: its Binance adapter's decoder and parser, then its OrderBook. cryptofeed: its
BinanceFutures handler. hummingbot: see `peer_hummingbot`.
"""

import asyncio
import gc
import importlib.metadata
import json
import sys
import time
from decimal import Decimal

from peer_hummingbot import hummingbot


def nautilus(snapshot, frames):
    """Return (run, touch)."""
    import msgspec
    from nautilus_trader.adapters.binance.common.schemas.market import (
        BinanceOrderBookDelta,
        BinanceOrderBookMsg,
    )
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.enums import BookType
    from nautilus_trader.model.identifiers import InstrumentId

    name = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
    decoder = msgspec.json.Decoder(BinanceOrderBookMsg)
    sides = {k: [list(x) for x in snapshot[k]] for k in ("bids", "asks")}
    opening = {"stream": "s", "data": {"e": "d", "E": 1, "T": 1, "s": "BTCUSDT", "U": 0, "u": 0,
                                       "b": sides["bids"], "a": sides["asks"]}}  # fmt: skip
    assert BinanceOrderBookDelta
    made = {}

    def run():
        book = made["book"] = OrderBook(name, BookType.L2_MBP)
        first = decoder.decode(json.dumps(opening)).data
        book.apply_deltas(first.parse_to_order_book_deltas(name, 0, snapshot=True))
        begun = time.perf_counter()
        for frame in frames:
            data = decoder.decode(frame).data
            book.apply_deltas(data.parse_to_order_book_deltas(name, 0))
        return time.perf_counter() - begun

    return run, lambda: (float(made["book"].best_bid_price()), float(made["book"].best_ask_price()))


def cryptofeed(snapshot, frames):
    """Return (run, touch)."""
    from cryptofeed.defines import L2_BOOK
    from cryptofeed.exchanges import BinanceFutures
    from cryptofeed.symbols import Symbols
    from cryptofeed.types import OrderBook
    from yapic import json as yapic

    pair = "BTC-USDT-PERP"
    Symbols.set(BinanceFutures.id, {pair: "BTCUSDT"}, {})
    feed = BinanceFutures(symbols=[pair], channels=[L2_BOOK])
    feed._l2_book, feed.last_update_id = {}, {}  # noqa: SLF001

    async def whole():
        sides = [{Decimal(p): Decimal(q) for p, q in snapshot[k]} for k in ("bids", "asks")]
        book = OrderBook(feed.id, pair, bids=sides[0], asks=sides[1])
        feed._l2_book[pair], feed.last_update_id[pair] = book, snapshot["lastUpdateId"]  # noqa: SLF001
        begun = time.perf_counter()
        for frame in frames:
            message = yapic.loads(frame, parse_float=Decimal)
            await feed._book(message["data"], "BTCUSDT", 0.0)  # noqa: SLF001
        return time.perf_counter() - begun

    def touch():
        book = feed._l2_book[pair].book  # noqa: SLF001
        return float(book.bids.index(0)[0]), float(book.asks.index(0)[0])

    return lambda: asyncio.run(whole()), touch


def main():
    """Serve."""
    name, file = sys.argv[1:3]
    with open(file, "rb") as lines:  # noqa: PTH123
        head, *frames = lines.read().splitlines()
    frames = [frame.decode() for frame in frames]
    ways = {"nautilus": nautilus, "cryptofeed": cryptofeed, "hummingbot": hummingbot}
    run, touch = ways[name](json.loads(head), frames)
    package = {"nautilus": "nautilus_trader"}.get(name, name)
    ready = f"{package} {importlib.metadata.version(package)}"
    print(json.dumps({"ready": ready, "rows": len(frames)}), flush=True)
    for _ in sys.stdin:
        gc.collect()
        print(json.dumps({"seconds": run(), "told": touch()}), flush=True)


if __name__ == "__main__":
    main()
