"""Independent clients of the Hyperliquid twin: the venue's SDK, ccxt, raw signed requests."""

import asyncio
import itertools
import json
import time
from contextlib import asynccontextmanager, contextmanager

import ccxt
import ccxt.pro
import eth_account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.signing import sign_l1_action

from alephtx.core.secrets import resolve

VENUE = "hyperliquid"
WALLET = eth_account.Account.from_key(resolve("twin").reveal())
STRANGER = eth_account.Account.from_key("11" * 32)
ME = WALLET.address.lower()
SYMBOL = "BTC/USDC:USDC"
GTC, IOC, ALO = ({"limit": {"tif": tif}} for tif in ("Gtc", "Ioc", "Alo"))

_nonces = itertools.count(int(time.time() * 1000))


def base_url(served):
    return f"http://127.0.0.1:{served.ports[VENUE]}"


@contextmanager
def sdk(served, wallet=WALLET):
    """The SDK's two halves, in a thread of their own; sockets are closed at the end."""
    exchange = Exchange(wallet, base_url(served))
    try:
        yield exchange, exchange.info
    finally:
        exchange.session.close()
        exchange.info.session.close()


@contextmanager
def sdk_streams(served):
    """An Info with its WebSocket; call it from a thread."""
    info = Info(base_url(served))
    try:
        yield info
    finally:
        info.disconnect_websocket()
        info.ws_manager.join(5)
        info.session.close()


def _configured(exchange, served):
    where = base_url(served)
    exchange.urls["api"] = {
        "public": where, "private": where,
        "ws": {"public": where.replace("http", "ws") + "/ws"},
    }  # fmt: skip
    exchange.options["sandboxMode"] = True  # ccxt signs for the testnet then
    return exchange


CREDENTIALS = {
    "walletAddress": ME,
    "privateKey": "0x" + resolve("twin").reveal(),
    "enableRateLimit": False,
}


def ccxt_rest(served):
    return _configured(ccxt.hyperliquid(CREDENTIALS), served)


@asynccontextmanager
async def ccxt_streams(served):
    exchange = _configured(ccxt.pro.hyperliquid(CREDENTIALS), served)
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


def signed(action, *, wallet=WALLET, nonce=None, vault=None, expires=None, mainnet=False):
    """The body of POST /exchange, signed by the SDK's functions."""
    nonce = next(_nonces) if nonce is None else nonce
    signature = sign_l1_action(wallet, action, vault, nonce, expires, mainnet)
    return {
        "action": action, "nonce": nonce, "signature": signature,
        "vaultAddress": vault, "expiresAfter": expires,
    }  # fmt: skip


def order(price="100000", size="0.01", *, buy=True, tif="Gtc", reduce=False, cloid=None, asset=0):
    wire = {"a": asset, "b": buy, "p": price, "s": size, "r": reduce, "t": {"limit": {"tif": tif}}}
    return wire | ({"c": cloid} if cloid else {})


def orders(*wires):
    return {"type": "order", "orders": list(wires), "grouping": "na"}


async def post(served, path, body):
    """Post bytes or a value and return (status, text)."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with served.session.post(base_url(served) + path, data=data) as answer:
        return answer.status, await answer.text()


async def info(served, kind, **fields):
    status, text = await post(served, "/info", {"type": kind, **fields})
    assert status == 200, text
    return json.loads(text)


async def act(served, action, **how):
    status, text = await post(served, "/exchange", signed(action, **how))
    assert status == 200, text
    return json.loads(text)


async def place(served, *wires, **how):
    """Place orders and return their statuses."""
    answer = await act(served, orders(*wires), **how)
    assert answer["status"] == "ok", answer
    return answer["response"]["data"]["statuses"]


async def error_of(served, wire, **how):
    (status,) = await place(served, wire, **how)
    return status["error"]


class Socket:
    """A raw WebSocket client that keeps what it was sent."""

    def __init__(self, ws):
        self.ws = ws

    async def send(self, value):
        await self.ws.send_str(value if isinstance(value, str) else json.dumps(value))

    async def subscribe(self, **subscription):
        await self.send({"method": "subscribe", "subscription": subscription})
        return await self.until("subscriptionResponse")

    async def next(self, seconds=5):
        message = await asyncio.wait_for(self.ws.receive_str(), seconds)
        return json.loads(message) if message.startswith("{") else message

    async def until(self, channel, seconds=5):
        """The data of the next message of a channel; others are passed over."""
        while True:
            message = await self.next(seconds)
            if isinstance(message, dict) and message["channel"] == channel:
                return message["data"]

    async def silent(self, seconds=0.15):
        """Say whether nothing comes for a while."""
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def socket(served):
    async with served.session.ws_connect(base_url(served) + "/ws") as ws:
        client = Socket(ws)
        assert await client.next() == "Websocket connection established."
        yield client


def book_frame(bids, asks):
    """A recorded l2Book line of (price, size) pairs."""
    levels = [[{"n": 1, "px": p, "sz": s} for p, s in half] for half in (bids, asks)]
    data = {"coin": "BTC", "levels": levels, "time": 1737918850000}
    return json.dumps({"channel": "l2Book", "data": data}, separators=(",", ":")).encode()


def trade_frame(price, size, side, tid=1):
    """A recorded trades line of one print."""
    data = {"coin": "BTC", "hash": "0x" + "0" * 64, "px": price, "side": side, "sz": size}
    data |= {"tid": tid, "time": 1737918850000, "users": ["0x" + "1" * 40, "0x" + "2" * 40]}
    return json.dumps({"channel": "trades", "data": [data]}, separators=(",", ":")).encode()


def feed(served, *frames):
    """Let the market do something now."""
    for frame in frames:
        served.twins[VENUE].market_feed.take("BTC", frame, live=True)
