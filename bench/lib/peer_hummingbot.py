"""hummingbot's way of a live depth message: its JSON, its OrderBookMessage, its C++ order book.

What its Binance perpetual data source and its tracker do with a message, without their queues.
"""

import json
import time


def hummingbot(snapshot, frames):
    """Return (run, touch)."""
    from hummingbot.core.data_type.order_book import OrderBook
    from hummingbot.core.data_type.order_book_message import OrderBookMessage, OrderBookMessageType

    made = {}

    def message(kind, first, last, bids, asks, ms):
        content = {"trading_pair": "BTC-USDT", "first_update_id": first, "update_id": last,
                   "bids": bids, "asks": asks}  # fmt: skip
        return OrderBookMessage(kind, content, timestamp=ms * 1e-3)

    def run():
        book = made["book"] = OrderBook()
        last = snapshot["lastUpdateId"]
        opening = message(
            OrderBookMessageType.SNAPSHOT, last, last, snapshot["bids"], snapshot["asks"], 0
        )
        book.apply_snapshot(opening.bids, opening.asks, opening.update_id)
        begun = time.perf_counter()
        for frame in frames:
            data = json.loads(frame)["data"]
            change = message(
                OrderBookMessageType.DIFF, data["U"], data["u"], data["b"], data["a"], data["E"]
            )
            book.apply_diffs(change.bids, change.asks, change.update_id)
        return time.perf_counter() - begun

    def touch():
        book = made["book"]
        return float(book.get_price(False)), float(book.get_price(True))

    return run, touch
