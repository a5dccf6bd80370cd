"""The three Binance twins, driven over REST by ccxt, which knows nothing of our codecs."""

import hashlib
import hmac
import time
from decimal import Decimal
from urllib.parse import urlencode

import ccxt
import pytest
from yarl import URL

from alephtx.core import words
from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET
from tests.twins.clients import AMOUNT, SYMBOLS, every_venue, rest_client, serving

API = {"binance_spot": "/api/v3", "binance_usdm": "/fapi/v1", "binance_coinm": "/dapi/v1"}
NATIVE = {"binance_spot": "BTCUSDT", "binance_usdm": "BTCUSDT", "binance_coinm": "BTCUSD_PERP"}


async def signed(served, venue, method, path, params, *, key=TWIN_KEY, secret=TWIN_SECRET):
    """Send a signed request of our own making and return (status, body)."""
    query = urlencode({"timestamp": int(time.time() * 1000), **params})
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    url = served.url(venue, f"{API[venue]}{path}?{query}&signature={signature}")
    where = URL(url, encoded=True)  # what is signed is what is sent
    async with served.session.request(method, where, headers={"X-MBX-APIKEY": key}) as answer:
        return answer.status, await answer.json()


def limit_order(venue, **changes):
    quantity = "3" if venue == "binance_coinm" else "0.010"
    order = {"symbol": NATIVE[venue], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    return order | {"quantity": quantity, "price": "60000.0"} | changes


@every_venue
@pytest.mark.smoke
async def test_ccxt_rest_walks_through_a_whole_trading_day(venue):
    """Markets, book, balance, a resting order, its cancel, a taker, its trade: as ccxt reads."""
    async with serving(venue) as served:
        client, symbol, amount = rest_client(served.ports), SYMBOLS[venue], AMOUNT[venue]
        await served.call(client.load_markets)
        assert symbol in client.markets
        book = await served.call(client.fetch_order_book, symbol, 100)
        twin = served.twins[venue]
        market = twin.exchange.market(NATIVE[venue])
        ours = [
            (float(market.price(price)), float(market.qty(qty)))
            for price, qty in twin.exchange.depth(market, 1, 100)
        ]
        assert [tuple(level[:2]) for level in book["bids"]] == ours
        bid, ask = book["bids"][0][0], book["asks"][0][0]

        resting = await served.call(client.create_order, symbol, "limit", "buy", amount, bid)
        assert resting["status"] == "open"
        opened = await served.call(client.fetch_open_orders, symbol)
        assert [order["id"] for order in opened] == [resting["id"]]
        canceled = await served.call(client.cancel_order, resting["id"], symbol)
        assert canceled["status"] == "canceled"
        assert await served.call(client.fetch_open_orders, symbol) == []

        await served.call(client.create_order, symbol, "market", "buy", amount)
        trades = await served.call(client.fetch_my_trades, symbol)
        assert sum(trade["amount"] for trade in trades) == pytest.approx(amount)
        assert trades[0]["price"] == ask
        assert trades[0]["takerOrMaker"] == "taker"


async def test_spot_fill_moves_balances_and_takes_the_fee_from_what_is_received():
    async with serving("binance_spot") as served:
        client = rest_client(served.ports)
        await served.call(client.load_markets)
        before = await served.call(client.fetch_balance)
        order = await served.call(client.create_order, "BTC/USDT", "market", "buy", 0.01)
        after = await served.call(client.fetch_balance)
        truth = await served.ask("binance_spot", "account")
        btc = Decimal(truth["main"]["balances"]["BTC"]["total"])
        assert btc == Decimal(20) + Decimal("0.01") * Decimal("0.999")
        assert after["BTC"]["total"] == float(btc)
        assert before["USDT"]["total"] - after["USDT"]["total"] == pytest.approx(order["cost"])


async def test_spot_resting_order_locks_what_it_may_cost_and_cancel_frees_it():
    async with serving("binance_spot") as served:
        venue = "binance_spot"
        status, placed = await signed(served, venue, "POST", "/order", limit_order(venue))
        assert (status, placed["status"]) == (200, "NEW")
        _, account = await signed(served, venue, "GET", "/account", {})
        locked = {row["asset"]: row["locked"] for row in account["balances"]}
        assert locked["USDT"] == "600.00000000"
        which = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
        await signed(served, venue, "DELETE", "/order", which)
        _, account = await signed(served, venue, "GET", "/account", {})
        assert {row["locked"] for row in account["balances"]} == {"0.00000000"}


@pytest.mark.parametrize("venue", ["binance_usdm", "binance_coinm"])
async def test_futures_round_trip_pays_fees_and_realizes_in_the_settle_currency(venue):
    async with serving(venue) as served:
        quantity = "3" if venue == "binance_coinm" else "0.010"
        order = {"symbol": NATIVE[venue], "type": "MARKET", "quantity": quantity}
        order["newOrderRespType"] = "RESULT"
        _, bought = await signed(served, venue, "POST", "/order", order | {"side": "BUY"})
        _, sold = await signed(
            served, venue, "POST", "/order", order | {"side": "SELL", "reduceOnly": "true"}
        )
        assert (bought["status"], sold["status"]) == ("FILLED", "FILLED")
        _, trades = await signed(served, venue, "GET", "/userTrades", {"symbol": NATIVE[venue]})
        buy, sell = Decimal(trades[0]["price"]), Decimal(trades[-1]["price"])
        if venue == "binance_coinm":
            gain = Decimal(300) / buy - Decimal(300) / sell
        else:
            gain = (sell - buy) * Decimal("0.010")
        realized = sum(Decimal(trade["realizedPnl"]) for trade in trades)
        assert abs(realized - gain) <= Decimal("0.00000001") * len(trades)
        fees = sum(Decimal(trade["commission"]) for trade in trades)
        start = Decimal(20) if venue == "binance_coinm" else Decimal(1_000_000)
        settle = "BTC" if venue == "binance_coinm" else "USDT"
        truth = await served.ask(venue, "account")
        assert Decimal(truth["main"]["balances"][settle]["total"]) == start + realized - fees
        _, rows = await signed(served, venue, "GET", "/positionRisk", {"symbol": NATIVE[venue]})
        assert Decimal(rows[0]["positionAmt"]) == 0


BAD_ORDERS = [
    ({"symbol": "NOPE"}, (-1121, -1121)),
    ({"price": "60000.003"}, (-1013, -4014)),
    ({"quantity": "0.0000001"}, (-1013, -1111)),
    ({"price": "-1"}, (-1100, -1100)),
    ({"price": "1e5"}, (-1100, -1100)),
    ({"price": "NaN"}, (-1100, -1100)),
    ({"quantity": "9" * 20}, (-1013, -1111)),
    ({"quantity": ""}, (-1102, -1102)),
    ({"side": "HOLD"}, (-1117, -1117)),
    ({"type": "WISH"}, (-1116, -1116)),
    ({"timeInForce": "EVER"}, (-1115, -1115)),
    ({"newClientOrderId": "no spaces here"}, (-1100, -1100)),
    ({"newClientOrderId": "x" * 37}, (-1100, -1100)),
    ({"timestamp": "1"}, (-1021, -1021)),
    ({"timestamp": "99999999999999"}, (-1021, -1021)),
    ({"recvWindow": "60001"}, (-1131, -1131)),
]


@every_venue
async def test_bad_order_is_refused_with_the_venues_code_and_no_effect(venue):
    async with serving(venue) as served:
        for changes, codes in BAD_ORDERS:
            order = limit_order(venue, **changes)
            status, body = await signed(served, venue, "POST", "/order", order)
            assert (changes, status, body["code"]) == (changes, 400, codes[venue != "binance_spot"])
        assert await served.ask(venue, "journal") == []


REFUSED_ORDERS = [
    ("binance_spot", {"quantity": "0.00001"}, -1013, "NOTIONAL"),
    ("binance_spot", {"price": "1000.00"}, -1013, "PERCENT_PRICE_BY_SIDE"),
    ("binance_spot", {"quantity": "9000", "price": "61000"}, -2010, "insufficient balance"),
    ("binance_usdm", {"quantity": "0.001"}, -4164, "notional"),
    ("binance_usdm", {"price": "30000"}, -4131, "PERCENT_PRICE"),
    ("binance_usdm", {"quantity": "900"}, -2019, "Margin is insufficient"),
    ("binance_usdm", {"timeInForce": "GTX", "price": "62000"}, -5022, "Post Only"),
    ("binance_usdm", {"timeInForce": "FOK"}, -5021, "FOK"),
    ("binance_usdm", {"reduceOnly": "true"}, -2022, "ReduceOnly"),
    ("binance_usdm", {"type": "STOP_MARKET"}, -4120, "Algo Order"),
    ("binance_usdm", {"positionSide": "LONG"}, -4061, "position side"),
    ("binance_coinm", {"timeInForce": "GTX", "price": "62000"}, -5022, "Post Only"),
    ("binance_coinm", {"quantity": "999999"}, -2019, "Margin is insufficient"),
]


async def test_filter_or_funds_refusal_carries_the_documented_code():
    async with serving("binance_spot", "binance_usdm", "binance_coinm") as served:
        for venue, changes, code, text in REFUSED_ORDERS:
            order = limit_order(venue, **changes)
            status, body = await signed(served, venue, "POST", "/order", order)
            assert (changes, status, body["code"]) == (changes, 400, code)
            assert text in body["msg"]


async def test_spot_post_only_that_would_take_is_refused_as_ccxt_understands():
    async with serving("binance_spot") as served:
        client = rest_client(served.ports)
        await served.call(client.load_markets)
        with pytest.raises(ccxt.OrderImmediatelyFillable):
            await served.call(
                client.create_order, "BTC/USDT", "limit", "buy", 0.01, 63000, {"postOnly": True}
            )


@every_venue
async def test_same_client_id_twice_while_open_is_refused_and_free_after_the_end(venue):
    async with serving(venue) as served:
        order = limit_order(venue, newClientOrderId="mine-1")
        _, first = await signed(served, venue, "POST", "/order", order)
        status, again = await signed(served, venue, "POST", "/order", order)
        assert (status, again["code"]) == (400, -2010 if venue == "binance_spot" else -4116)
        which = {"symbol": NATIVE[venue], "origClientOrderId": "mine-1"}
        await signed(served, venue, "DELETE", "/order", which)
        status, third = await signed(served, venue, "POST", "/order", order)
        assert status == 200
        assert third["orderId"] > first["orderId"]


@every_venue
async def test_wrong_key_signature_or_unknown_path_is_refused_as_documented(venue):
    async with serving(venue) as served:
        path = "/openOrders"
        status, body = await signed(served, venue, "GET", path, {}, key="nobody")
        assert (status, body["code"]) == (401, -2015)
        status, body = await signed(served, venue, "GET", path, {}, secret="wrong")
        assert (status, body["code"]) == (400, -1022)
        status, body = await signed(served, venue, "GET", path, {}, key="")
        assert (status, body["code"]) == (401, -2014)
        status, _ = await signed(served, venue, "GET", "/nothing", {})
        assert status == 404
        which = {"symbol": NATIVE[venue], "orderId": 5}
        assert (await signed(served, venue, "DELETE", "/order", which))[1]["code"] == -2011
        assert (await signed(served, venue, "GET", "/order", which))[1]["code"] == -2013


async def test_request_weight_is_counted_then_refused_then_banned():
    async with serving("binance_spot") as served:
        twin = served.twins["binance_spot"]
        url = served.url("binance_spot", "/api/v3/exchangeInfo")
        async with served.session.get(url) as answer:
            assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "20"
        twin.weight_limits.charge("127.0.0.1", 6000)
        statuses = []
        for _ in range(13):
            async with served.session.get(url) as answer:
                statuses.append(answer.status)
                assert int(answer.headers["Retry-After"]) > 0
                assert (await answer.json())["code"] == -1003
        assert statuses[0] == 429
        assert statuses[-1] == 418


@pytest.mark.parametrize("venue", ["binance_usdm", "binance_coinm"])
async def test_funding_on_command_moves_the_wallet_and_shows_as_income(venue):
    async with serving(venue) as served:
        quantity = "3" if venue == "binance_coinm" else "0.010"
        order = {"symbol": NATIVE[venue], "side": "BUY", "type": "MARKET", "quantity": quantity}
        await signed(served, venue, "POST", "/order", order)
        settle = "BTC" if venue == "binance_coinm" else "USDT"
        before = (await served.ask(venue, "account"))["main"]["balances"][settle]["total"]
        body = {"symbol": NATIVE[venue], "rate": "0.001"}
        async with served.session.post(served.url(venue, "/_twin/funding"), json=body) as answer:
            assert await answer.json() == {"positions": 1}
        after = (await served.ask(venue, "account"))["main"]["balances"][settle]["total"]
        _, rows = await signed(served, venue, "GET", "/income", {"incomeType": "FUNDING_FEE"})
        assert Decimal(rows[0]["income"]) < 0
        assert Decimal(after) - Decimal(before) == Decimal(rows[0]["income"])


@every_venue
async def test_money_on_command_moves_the_wallet_and_ccxt_finds_it(venue):
    coin = "BTC" if venue == "binance_coinm" else "USDT"
    swap = {"type": "swap", "subType": "inverse" if venue == "binance_coinm" else "linear"}
    kind = {"type": "spot"} if venue == "binance_spot" else swap
    async with serving(venue) as served:
        client = rest_client(served.ports)
        before = (await served.call(client.fetch_balance, kind))[coin]["total"]
        for amount, said in (("12.5", "TRANSFER"), ("-2", "TRANSFER"), ("0.25", "API_REBATE")):
            body = {"asset": coin, "amount": amount, "type": said}
            async with served.session.post(served.url(venue, "/_twin/money"), json=body) as answer:
                assert answer.status == 200
        after = (await served.call(client.fetch_balance, kind))[coin]["total"]
        assert after - before == pytest.approx(10.75)
        if venue != "binance_spot":
            rows = await served.call(client.fetch_ledger, coin, None, None, kind)
            told = [(row["amount"], row["direction"], row["type"]) for row in rows]
            assert told == [(12.5, "in", "transfer"), (2.0, "out", "transfer"),
                            (0.25, "in", "rebate")]  # fmt: skip
            assert len({row["id"] for row in rows}) == 3


@pytest.mark.parametrize(
    "wrong", [{"amount": "much"}, {"amount": "NaN"}, {"asset": ""}, {"type": ""}]
)
async def test_money_that_makes_no_sense_is_refused(wrong):
    async with serving("binance_spot") as served:
        body = {"asset": "USDT", "amount": "1", "type": "TRANSFER", **wrong}
        url = served.url("binance_spot", "/_twin/money")
        async with served.session.post(url, json=body) as answer:
            assert answer.status == 400


@pytest.mark.parametrize("venue", ["binance_usdm", "binance_coinm"])
async def test_ccxt_reads_positions_leverage_fees_and_funding(venue):
    async with serving(venue) as served:
        client, symbol = rest_client(served.ports), SYMBOLS[venue]
        await served.call(client.load_markets)
        kind = {"subType": "inverse" if venue == "binance_coinm" else "linear"}
        await served.call(client.create_order, symbol, "market", "sell", AMOUNT[venue])
        (position,) = [
            row
            for row in await served.call(client.fetch_positions, [symbol], kind)
            if row["contracts"]
        ]
        assert (position["side"], position["contracts"]) == ("short", AMOUNT[venue])
        trades = await served.call(client.fetch_my_trades, symbol)
        assert position["entryPrice"] == trades[0]["price"]
        await served.call(client.set_leverage, 10, symbol)
        balance = await served.call(client.fetch_balance, {"type": "swap"} | kind)
        settle = "BTC" if venue == "binance_coinm" else "USDT"
        value = float(trades[0]["cost"])
        assert balance[settle]["used"] == pytest.approx(value / 10, rel=0.01)
        rate = await served.call(client.fetch_funding_rate, symbol)
        assert rate["fundingRate"] == 0.0001


@pytest.mark.parametrize("venue", ["binance_usdm", "binance_coinm"])
@pytest.mark.parametrize("by", ["ids", "client ids"])
async def test_ccxt_cancels_ten_futures_orders_in_one_request(venue, by):
    async with serving(venue) as served:
        client, symbol = rest_client(served.ports), SYMBOLS[venue]
        await served.call(client.load_markets)
        bid = (await served.call(client.fetch_order_book, symbol, 100))["bids"][50][0]
        placed = [
            await served.call(client.create_order, symbol, "limit", "buy", AMOUNT[venue], bid)
            for _ in range(10)
        ]
        named = [order["clientOrderId"] for order in placed]
        if by == "ids":
            found = await served.call(client.cancel_orders, [o["id"] for o in placed], symbol)
        else:
            words = {"origClientOrderIdList": named}
            found = await served.call(client.cancel_orders, [], symbol, words)
        assert [order["status"] for order in found] == ["canceled"] * 10
        assert await served.call(client.fetch_open_orders, symbol) == []


async def test_batch_of_cancels_answers_each_and_refuses_more_than_ten():
    venue = "binance_usdm"
    async with serving(venue) as served:
        _, placed = await signed(served, venue, "POST", "/order", limit_order(venue))
        mine = placed["clientOrderId"]
        which = {"symbol": "BTCUSDT", "origClientOrderIdList": f'["nobody","{mine}"]'}
        status, rows = await signed(served, venue, "DELETE", "/batchOrders", which)
        assert status == 200
        assert [row.get("code", row.get("status")) for row in rows] == [-2011, "CANCELED"]
        for text, code in (("[]", -4082), (str(list(range(1, 12))), -4082), ("[", -1102)):
            which = {"symbol": "BTCUSDT", "orderIdList": text}
            status, body = await signed(served, venue, "DELETE", "/batchOrders", which)
            assert (status, body["code"]) == (400, code)


FUTURES = pytest.mark.parametrize("venue", ["binance_usdm", "binance_coinm"])


@FUTURES
async def test_ccxt_amends_a_futures_order(venue):
    async with serving(venue) as served:
        client, symbol, amount = rest_client(served.ports), SYMBOLS[venue], AMOUNT[venue]
        await served.call(client.load_markets)
        old = await served.call(client.create_order, symbol, "limit", "buy", amount, 60_000)
        new = await served.call(
            client.edit_order, old["id"], symbol, "limit", "buy", 2 * amount, 60_001
        )
        assert (new["id"], new["status"]) == (old["id"], "open")
        (held,) = await served.call(client.fetch_open_orders, symbol)
        assert (held["id"], held["price"], held["amount"]) == (old["id"], 60_001, 2 * amount)


async def placed(served, venue, **changes):
    status, body = await signed(served, venue, "POST", "/order", limit_order(venue, **changes))
    assert status == 200, body
    return body


def change(venue, body, **changes):
    """Return the parameters that amend an order; None takes one away."""
    named = {"symbol": body["symbol"], "orderId": body["orderId"], "side": "BUY"}
    named |= {"quantity": body["origQty"], "price": body["price"]} | changes
    return {name: value for name, value in named.items() if value is not None}


async def test_amends_that_cannot_be_are_refused_as_documented_and_change_nothing():
    venue = "binance_usdm"
    async with serving(venue) as served:
        body = await placed(served, venue)
        wrong = [
            ({}, -5027), ({"side": "SELL", "price": "60001.0"}, -1117), ({"price": None}, -1102),
            ({"quantity": None}, -1102), ({"price": "60001.01"}, -4014),
            ({"price": "30000.0"}, -4131), ({"quantity": "0.0101"}, -1111),
            ({"quantity": "0"}, -4003), ({"orderId": 99, "price": "60001.0"}, -2013),
            ({"quantity": "900"}, -2019),
        ]  # fmt: skip
        for changes, code in wrong:
            asked = change(venue, body, **changes)
            status, answer = await signed(served, venue, "PUT", "/order", asked)
            assert (status, answer["code"]) == (400, code), changes
        order = served.twins[venue].exchange.orders[body["orderId"]]
        assert (order.market.price(order.price), order.open) == (60_000, True)
        assert order.market.qty(order.qty) == Decimal(body["origQty"])
        order.extra["modified"] = 9_999
        asked = change(venue, body, price="60001.0")
        assert (await signed(served, venue, "PUT", "/order", asked))[1]["code"] == -5026
        served.twins[venue].exchange.cancel(order)
        assert (await signed(served, venue, "PUT", "/order", asked))[1]["code"] == -2013


async def test_coinm_takes_price_or_quantity_alone():
    venue = "binance_coinm"
    async with serving(venue) as served:
        body = await placed(served, venue)
        for changes, price, qty in (
            ({"quantity": None, "price": "60001.0"}, "60001.0", "3"),
            ({"quantity": "5", "price": None}, "60001.0", "5"),
        ):
            asked = change(venue, body, **changes)
            status, answer = await signed(served, venue, "PUT", "/order", asked)
            assert (status, answer["price"], answer["origQty"]) == (200, price, qty)


async def test_amend_cancels_where_nothing_is_left_and_where_a_gtx_would_take():
    venue = "binance_usdm"
    async with serving(venue) as served:
        twin = served.twins[venue]
        market = twin.exchange.market(NATIVE[venue])
        ask = market.price(twin.exchange.touch(market)[1])
        body = await placed(served, venue, timeInForce="GTX")
        asked = change(venue, body, price=str(ask))
        status, answer = await signed(served, venue, "PUT", "/order", asked)
        assert (status, answer["status"]) == (200, "CANCELED")

        body = await placed(served, venue)
        order = twin.exchange.orders[body["orderId"]]
        order.filled, order.status = 6, words.PARTIALLY_FILLED
        asked = change(venue, body, quantity="0.006")
        status, answer = await signed(served, venue, "PUT", "/order", asked)
        assert (status, answer["status"], answer["executedQty"]) == (200, "CANCELED", "0.006")
