"""ccxt.pro at the same exchange: watch_order_book, then create_order_ws, in its own environment.

    .peers/ccxt/bin/python bench/lib/ttt_ccxt.py '{"hot": port, "twin": port, "cores": [0, 1], ...}'

Its own signing, its own client, its own checks; uvloop beneath it, and the faster JSON that it
takes where it finds it.
"""

import json
import os
import sys

import ccxt.pro as ccxt
import uvloop

SYMBOL = "BTC/USDT:USDT"


def pointed(given):
    """Return a client whose addresses are the exchange's."""
    exchange = ccxt.binanceusdm({
        "apiKey": given["key"], "secret": given["secret"], "enableRateLimit": False,
        "options": {"fetchCurrencies": False, "fetchMargins": False,
                    "fetchMarkets": {"types": ["linear"]}},
    })  # fmt: skip
    api = exchange.urls["api"]
    for name, url in api.items():
        if isinstance(url, str):
            path = url.split("://", 1)[1].partition("/")[2]
            api[name] = f"http://127.0.0.1:{given['twin']}/{path}"
    api["ws"]["linear"] = f"ws://127.0.0.1:{given['hot']}/ws"
    api["ws"]["ws-api"]["linear"] = f"ws://127.0.0.1:{given['hot']}/ws-fapi/v1"
    return exchange


async def trade(given):
    """Answer every new bid by an order, for ever."""
    exchange = pointed(given)
    await exchange.load_markets()
    seen, above = 0, given["above"]
    book = await exchange.watch_order_book(SYMBOL)
    while True:
        bid = round(book["bids"][0][0] * 10)
        if bid == seen:  # the book is a live one: a tick that came meanwhile is in it already
            book = await exchange.watch_order_book(SYMBOL)
            continue
        seen = bid
        side = "sell" if bid % 2 else "buy"
        price = (bid + above[side.upper()]) / 10
        terms = {"timeInForce": "IOC"}
        await exchange.create_order_ws(SYMBOL, "limit", side, given["qty"], price, terms)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    os.sched_setaffinity(0, told["cores"])
    uvloop.run(trade(told))
