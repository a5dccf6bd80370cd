"""Streams and private events of the Binance twins: ccxt.pro, and raw sockets."""

import asyncio
import hashlib
import hmac
import json
import time
from decimal import Decimal

import pytest

from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET
from tests.twins.clients import AMOUNT, SYMBOLS, every_venue, serving, stream_client
from tests.twins.test_binance_rest import NATIVE, limit_order, signed

PREFIX = {"binance_spot": "", "binance_usdm": "/public", "binance_coinm": ""}


def book_of(twin, symbol):
    """Return the twin's own book: its update id and two dicts of price to quantity."""
    book = twin.market_feed.books[symbol]
    bids = {Decimal(price): Decimal(qty) for price, qty in book.bids.items()}
    asks = {Decimal(price): Decimal(qty) for price, qty in book.asks.items()}
    return book.last_id, bids, asks


async def socket(served, venue, path):
    return await served.session.ws_connect(served.url(venue, path))


async def receive(ws, *, within=10.0):
    return json.loads((await asyncio.wait_for(ws.receive(), within)).data)


@every_venue
async def test_ccxt_pro_sees_books_trades_and_its_own_orders(venue):
    async with serving(venue, start_at_ns=0) as served, stream_client(served.ports) as client:
        symbol = SYMBOLS[venue]
        for _ in range(4):
            book = await asyncio.wait_for(client.watch_order_book(symbol), 15)
        assert book["bids"][0][0] < book["asks"][0][0]
        trades = await asyncio.wait_for(client.watch_trades(symbol), 15)
        assert trades[-1]["amount"] > 0
        watching = asyncio.create_task(client.watch_orders(symbol))
        await asyncio.sleep(0.3)
        price = book["bids"][5][0]
        placed = await client.create_order(symbol, "limit", "buy", AMOUNT[venue], price)
        seen = await asyncio.wait_for(watching, 10)
        assert (seen[-1]["id"], seen[-1]["status"]) == (placed["id"], "open")


@every_venue
async def test_book_built_by_the_documented_rules_equals_the_twins_at_every_id(venue):
    """Snapshot + diffs joined as the venue documents it, compared level by level at one id."""
    async with serving(venue, start_at_ns=0) as served:
        symbol, twin = NATIVE[venue], served.twins[venue]
        depth = "@depth@100ms" if venue == "binance_spot" else "@depth@0ms"
        path = f"{PREFIX[venue]}/stream?streams={symbol.lower()}{depth}"
        ws = await socket(served, venue, path)
        waiting = [(await receive(ws))["data"] for _ in range(3)]
        api = {"binance_spot": "/api/v3", "binance_usdm": "/fapi/v1", "binance_coinm": "/dapi/v1"}
        async with served.session.get(
            served.url(venue, f"{api[venue]}/depth?symbol={symbol}&limit=1000")
        ) as answer:
            snapshot = await answer.json()
        last = snapshot["lastUpdateId"]
        sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        first, joined, compared = True, 0, 0
        while joined < 8:
            event = waiting.pop(0) if waiting else (await receive(ws))["data"]
            if venue == "binance_spot":
                if event["u"] <= last:
                    continue
                assert event["U"] <= last + 1 if first else event["U"] == last + 1
            else:
                if event["u"] < last:
                    continue
                assert event["U"] <= last <= event["u"] or event["pu"] == last
            first, joined, last = False, joined + 1, event["u"]
            for side, book in sides.items():
                for price, qty in event[side]:
                    if Decimal(qty):
                        book[price] = qty
                    else:
                        book.pop(price, None)
            last_id, bids, asks = book_of(twin, symbol)
            if last_id == last:
                compared += 1
                best = sorted((Decimal(p) for p in sides["b"]), reverse=True)[:200]
                assert {p: Decimal(sides["b"][f"{p}"]) for p in best} == {p: bids[p] for p in best}
                best = sorted(Decimal(p) for p in sides["a"])[:200]
                assert {p: Decimal(sides["a"][f"{p}"]) for p in best} == {p: asks[p] for p in best}
        assert compared
        await ws.close()


@every_venue
async def test_times_are_now_with_the_same_digits_and_only_subscribers_hear(venue):
    async with serving(venue, start_at_ns=0, skew_ms=5_000) as served:
        symbol = NATIVE[venue].lower()
        ws = await socket(served, venue, f"{PREFIX[venue]}/ws")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.receive(), 0.3)
        depth = f"{symbol}@depth@100ms"
        await ws.send_json({"method": "SUBSCRIBE", "params": [depth], "id": 7})
        assert await receive(ws) == {"result": None, "id": 7}
        event = await receive(ws)
        assert (event["e"], event["s"]) == ("depthUpdate", NATIVE[venue])
        assert abs(event["E"] - time.time() * 1000 - 5_000) < 1_000
        await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": "x"})
        while "e" in (answer := await receive(ws)):
            pass
        assert answer == {"result": [depth], "id": "x"}
        await ws.send_json({"method": "UNSUBSCRIBE", "params": [depth], "id": 8})
        while "e" in (answer := await receive(ws)):
            pass
        assert answer == {"result": None, "id": 8}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.receive(), 0.3)
        await ws.close()


async def test_spot_ws_api_trades_and_its_private_events_add_up():
    async with serving("binance_spot") as served:
        ws = await socket(served, "binance_spot", "/ws-api/v3")
        identity = 0

        async def call(method, **params):
            nonlocal identity
            identity += 1
            await ws.send_json({"id": identity, "method": method, "params": sign(params)})
            while True:
                answer = await receive(ws)
                if answer.get("id") == identity:
                    return answer
                events.append(answer["event"])

        events: list[dict] = []
        subscribed = await call("userDataStream.subscribe.signature")
        assert subscribed.get("result") == {"subscriptionId": 0}, subscribed
        order = limit_order("binance_spot", newClientOrderId="ws-1", price="61837.64")
        order |= {"side": "BUY", "price": "62000.00", "quantity": "0.01"}
        placed = await call("order.place", **order)
        assert placed["status"] == 200
        assert placed["result"]["status"] == "FILLED"
        kinds = [(e["e"], e.get("x")) for e in events]
        assert kinds[:2] == [("executionReport", "NEW"), ("outboundAccountPosition", None)]
        trades = [e for e in events if e.get("x") == "TRADE"]
        assert sum(Decimal(e["l"]) for e in trades) == Decimal("0.01")
        assert len({e["t"] for e in trades}) == len(trades)
        free = {row["a"]: row["f"] for e in events if "B" in e for row in e["B"]}
        truth = (await served.ask("binance_spot", "account"))["main"]["balances"]
        assert Decimal(free["BTC"]) == Decimal(truth["BTC"]["total"])
        assert Decimal(free["USDT"]) == Decimal(truth["USDT"]["total"])
        again = await call("order.cancel", symbol="BTCUSDT", origClientOrderId="ws-1")
        assert (again["status"], again["error"]["code"]) == (400, -2011)
        logon = await call("session.logon")
        assert logon["error"]["code"] == -4056
        await ws.close()


def sign(params, secret=TWIN_SECRET):
    """Return WS API params with key, time and signature, as documented: sorted, raw."""
    full = {**params, "apiKey": TWIN_KEY, "timestamp": int(time.time() * 1000)}
    payload = "&".join(f"{name}={full[name]}" for name in sorted(full))
    made = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    return full | {"signature": made}


@pytest.mark.parametrize("venue", ["binance_usdm", "binance_coinm"])
async def test_futures_private_link_tells_orders_and_accounts(venue):
    async with serving(venue) as served:
        _, answer = await signed(served, venue, "POST", "/listenKey", {})
        key = answer["listenKey"]
        path = f"/private/ws?listenKey={key}" if venue == "binance_usdm" else f"/ws/{key}"
        ws = await socket(served, venue, path)
        await asyncio.sleep(0.05)
        order = limit_order(venue, newOrderRespType="RESULT", price="62000.0")
        _, placed = await signed(served, venue, "POST", "/order", order)
        assert placed["status"] == "FILLED"
        frames = [await receive(ws)]
        while frames[-1].get("o", {}).get("X") != "FILLED":
            frames.append(await receive(ws))
        orders = [frame["o"] for frame in frames if frame["e"] == "ORDER_TRADE_UPDATE"]
        assert orders[0]["x"] == "NEW"
        assert sum(Decimal(o["l"]) for o in orders) == Decimal(placed["executedQty"])
        account = [frame["a"] for frame in frames if frame["e"] == "ACCOUNT_UPDATE"][-1]
        truth = (await served.ask(venue, "account"))["main"]
        settle = account["B"][0]["a"]
        assert Decimal(account["B"][0]["wb"]) == Decimal(truth["balances"][settle]["total"])
        assert Decimal(account["P"][0]["pa"]) == Decimal(placed["executedQty"])
        served.twins[venue].expire_key(key)
        assert (await receive(ws))["e"] == "listenKeyExpired"
        assert (await ws.receive()).type.name in ("CLOSE", "CLOSED", "CLOSING")


async def test_countdown_cancels_what_is_open_unless_renewed():
    async with serving("binance_usdm") as served:
        venue = "binance_usdm"
        await signed(served, venue, "POST", "/order", limit_order(venue))
        body = {"symbol": "BTCUSDT", "countdownTime": 150}
        await signed(served, venue, "POST", "/countdownCancelAll", body)
        await asyncio.sleep(0.3)
        _, opened = await signed(served, venue, "GET", "/openOrders", {})
        assert opened == []
        journal = await served.ask(venue, "journal")
        assert (journal[-1]["kind"], journal[-1]["reason"]) == ("CANCELED", "countdown")
