"""The Hyperliquid twin as ccxt sees it, over REST and over its socket."""

import asyncio

import ccxt
import pytest

from tests.twins.clients import serving
from tests.twins.hyperliquid_clients import SYMBOL, VENUE, ccxt_rest, ccxt_streams


async def test_ccxt_rest_walks_through_a_whole_trading_day():
    async with serving(VENUE) as served:
        await served.call(_trading_day, served)


def _trading_day(served):
    client = ccxt_rest(served)
    assert list(client.load_markets()) == [SYMBOL]
    assert client.markets[SYMBOL]["precision"]["amount"] == 1e-05
    book = client.fetch_order_book(SYMBOL)
    assert (book["bids"][0], book["asks"][0]) == ([105055.0, 3.03622], [105056.0, 6.34472])
    assert client.fetch_balance()["USDC"]["total"] == 100_000
    assert client.fetch_status()["status"] == "ok"
    assert client.fetch_trading_fee(SYMBOL)["taker"] == 0.00045

    resting = client.create_order(SYMBOL, "limit", "buy", 0.01, 105000)
    assert [order["id"] for order in client.fetch_open_orders(SYMBOL)] == [resting["id"]]
    assert client.fetch_order(resting["id"], SYMBOL)["status"] == "open"
    moved = client.edit_order(resting["id"], SYMBOL, "limit", "buy", 0.02, 105001)
    assert client.fetch_order(resting["id"], SYMBOL)["status"] == "canceled"
    client.cancel_order(moved["id"], SYMBOL)
    assert client.fetch_open_orders(SYMBOL) == []

    cloid = {"clientOrderId": "0x" + "a" * 32}
    client.create_order(SYMBOL, "limit", "sell", 0.01, 106000, cloid | {"postOnly": True})
    assert client.fetch_order("", SYMBOL, cloid)["clientOrderId"] == cloid["clientOrderId"]
    client.cancel_order("", SYMBOL, cloid)

    bought = client.create_order(SYMBOL, "market", "buy", 0.01, 105056)
    assert (bought["filled"], bought["average"]) == (0.01, 105056)
    (position,) = client.fetch_positions()
    assert (position["side"], position["contracts"]) == ("long", 0.01)
    (trade,) = client.fetch_my_trades(SYMBOL)
    assert (trade["takerOrMaker"], trade["price"], trade["fee"]["currency"]) == (
        "taker", 105056, "USDC",
    )  # fmt: skip
    assert client.fetch_tickers()[SYMBOL]["last"] == 105055.5
    assert client.set_leverage(10, SYMBOL)["status"] == "ok"


async def test_ccxt_maps_the_twins_refusals_to_its_own_errors():
    async with serving(VENUE) as served:
        client = ccxt_rest(served)
        await served.call(client.load_markets)

        async def refused(kind, amount, price, **params):
            with pytest.raises(kind):
                await served.call(
                    client.create_order, SYMBOL, "limit", "buy", amount, price, params
                )

        await refused(ccxt.InvalidOrder, 0.01, 105060, postOnly=True)
        await refused(ccxt.InvalidOrder, 0.00009, 105000)
        await refused(ccxt.InsufficientFunds, 50, 105000)
        await refused(ccxt.InvalidOrder, 0.01, 105000, reduceOnly=True)
        await refused(ccxt.InvalidOrder, 0.01, 105000, timeInForce="ioc")
        with pytest.raises(ccxt.OrderNotFound):
            await served.call(client.cancel_order, "5", SYMBOL)
        with pytest.raises(ccxt.OrderNotFound):
            await served.call(client.fetch_order, "5", SYMBOL)
        client.privateKey = "0x" + "22" * 32
        with pytest.raises(ccxt.ExchangeError, match="does not exist"):
            await served.call(client.create_order, SYMBOL, "limit", "buy", 0.01, 105000)


async def test_ccxt_pro_watches_books_orders_fills_and_balance_and_trades_over_the_socket():
    async with serving(VENUE) as served, ccxt_streams(served) as client:
        book = await asyncio.wait_for(client.watch_order_book(SYMBOL), 5)
        assert (book["bids"][0][0], book["asks"][0][0]) == (105055.0, 105056.0)
        orders = asyncio.create_task(client.watch_orders())
        trades = asyncio.create_task(client.watch_my_trades())
        await asyncio.sleep(0.1)
        bought = await asyncio.wait_for(
            client.create_order_ws(SYMBOL, "market", "buy", 0.01, 105056), 5
        )
        assert bought["average"] == 105056
        (update, *_) = await asyncio.wait_for(orders, 5)
        assert update["id"] == bought["id"]
        (trade,) = await asyncio.wait_for(trades, 5)
        assert (trade["order"], trade["amount"]) == (bought["id"], 0.01)
        balance = await asyncio.wait_for(client.watch_balance(), 5)
        assert balance["USDC"]["total"] < 100_000
        resting = await asyncio.wait_for(
            client.create_order_ws(SYMBOL, "limit", "buy", 0.01, 105000), 5
        )
        await asyncio.wait_for(client.cancel_order_ws(resting["id"], SYMBOL), 5)
        assert served.twins[VENUE].exchange.open_orders == {}
