"""WebSocket of the Hyperliquid twin: subscriptions, first messages, users' events.

One socket carries everything; user channels need no login, because state is public. Faults see a
link by what it carries: market, private, trade (once it has posted).
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from alephtx.twins import hyperliquid_body as body
from alephtx.twins.accounts import Account
from alephtx.twins.exchange import Report, TwinOrder
from alephtx.twins.hyperliquid_actions import BadRequest
from alephtx.twins.hyperliquid_exchange import end_status
from alephtx.twins.hyperliquid_feed import CANDLE_MS, HyperliquidFeed, trades_frame
from alephtx.twins.hyperliquid_info import ROWS_MAX, address_in
from alephtx.twins.hyperliquid_ledger import Users
from alephtx.twins.server import Client, to_json

SUBSCRIPTIONS_MAX = 1_000
USERS_MAX = 10
ECHO_MAX = 500

COIN_CHANNELS = frozenset(("l2Book", "bbo", "trades", "activeAssetCtx", "candle"))
USER_CHANNELS = frozenset(
    ("orderUpdates", "userEvents", "userFills", "userFundings", "clearinghouseState")
)


class Refusal(Exception):
    """A subscription that is answered on the error channel."""


def frame_of(channel: str, data: Any) -> bytes:
    """Return one frame."""
    return to_json({"channel": channel, "data": data})


class Streams:
    """Who listens to what, and what they are told."""

    def __init__(self, users: Users, feed: HyperliquidFeed) -> None:
        self.users, self.feed, self.exchange = users, feed, users.exchange
        self.exchange.listeners.append(self.on_report)

    # -- subscriptions -------------------------------------------------------------------------

    def topic_of(self, subscription: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the topic of a subscription and the form in which it is confirmed."""
        kind = subscription.get("type")
        echo = json.dumps(subscription, separators=(",", ":"))[:ECHO_MAX]
        unreadable = Refusal(f"Error parsing JSON into valid websocket request: {echo}")
        if not isinstance(kind, str):
            raise unreadable
        if kind == "allMids":
            return "allMids", {"type": "allMids", "dex": None}
        if kind in USER_CHANNELS:
            try:
                user = address_in(subscription)
            except BadRequest:
                raise unreadable from None
            return f"{kind}:{user}", {"type": kind, "user": user}
        coin = subscription.get("coin")
        if kind not in COIN_CHANNELS or not isinstance(coin, str):
            raise unreadable
        if coin not in self.exchange.by_symbol:
            raise Refusal(f"Invalid subscription {echo}")
        confirmed: dict[str, Any] = {"type": kind, "coin": coin}
        if kind == "l2Book":
            if subscription.get("nSigFigs") or subscription.get("mantissa"):
                raise Refusal("Aggregated books (nSigFigs) are not simulated by this twin")
            confirmed |= {"nSigFigs": None, "mantissa": None}
        if kind == "candle":
            interval = subscription.get("interval")
            if not isinstance(interval, str) or interval not in CANDLE_MS:
                raise unreadable
            return f"candle:{coin}:{interval}", confirmed | {"interval": interval}
        return f"{kind}:{coin}", confirmed

    def subscribe(self, client: Client, subscription: dict[str, Any]) -> None:
        """Confirm a subscription and send its first message; Refusal when it is refused."""
        topic, confirmed = self.topic_of(subscription)
        if topic in client.subscriptions:
            raise Refusal(f"Already subscribed: {msgspec.json.encode(confirmed).decode()}")
        if len(client.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise Refusal(f"Cannot subscribe to more than {SUBSCRIPTIONS_MAX} channels.")
        users = {other.rpartition(":")[2] for other in client.subscriptions if ":0x" in other}
        if ":0x" in topic and len(users | {topic.rpartition(":")[2]}) > USERS_MAX:
            raise Refusal(f"Cannot track more than {USERS_MAX} total users.")
        client.subscriptions.add(topic)
        self.feed.topics.setdefault(topic, set()).add(client)
        self._carry(client)
        role = "private" if ":0x" in topic else "market"
        answer = {"method": "subscribe", "subscription": confirmed}
        client.send(frame_of("subscriptionResponse", answer), role)
        for frame in self._first(topic):
            client.send(frame, role)

    def unsubscribe(self, client: Client, subscription: dict[str, Any]) -> None:
        """End a subscription; Refusal when there is none."""
        topic, confirmed = self.topic_of(subscription)
        if topic not in client.subscriptions:
            raise Refusal(f"Already unsubscribed: {msgspec.json.encode(confirmed).decode()}")
        client.subscriptions.discard(topic)
        self.feed.topics[topic].discard(client)
        self._carry(client)
        answer = {"method": "unsubscribe", "subscription": confirmed}
        client.send(frame_of("subscriptionResponse", answer))

    def forget(self, client: Client) -> None:
        """Take a client off everything."""
        for topic in client.subscriptions:
            self.feed.topics[topic].discard(client)

    def mark_posting(self, client: Client) -> None:
        """Note that a client's requests come over its socket."""
        client.carries.add("trade")
        self._carry(client)

    @staticmethod
    def _carry(client: Client) -> None:
        private = any(":0x" in topic for topic in client.subscriptions)
        market = any(":0x" not in topic for topic in client.subscriptions)
        carries = client.carries & {"trade"}
        carries |= {"private"} if private else set()
        client.carries = carries | ({"market"} if market or not carries else set())

    def _first(self, topic: str) -> list[bytes]:
        """Return what a new subscriber is sent at once."""
        kind, _, name = topic.partition(":")
        makers: dict[str, Callable[[], bytes]] = {
            "l2Book": lambda: self.feed.book_frame(name),
            "bbo": lambda: self.feed.bbo_frame(name),
            "trades": lambda: trades_frame(list(self.feed.coins[name].recent)),
            "activeAssetCtx": lambda: self.context_frame(name),
            "allMids": self.mids_frame,
            "userFills": lambda: self._fills_snapshot(name),
            "userFundings": lambda: self._fundings_snapshot(name),
            "clearinghouseState": lambda: self.state_frame(name),
        }
        return [makers[kind]()] if kind in makers else []

    def _fills_snapshot(self, user: str) -> bytes:
        fills = self.users.fills(self.exchange.by_key.get(user), 0, 1 << 60)
        newest = fills[: -ROWS_MAX - 1 : -1]
        return frame_of("userFills", {"isSnapshot": True, "user": user, "fills": newest})

    def _fundings_snapshot(self, user: str) -> bytes:
        account = self.exchange.by_key.get(user)
        paid = [r for r in account.income if r["type"] == "FUNDING_FEE"] if account else []
        rows = [body.funding_body(row) for row in paid]
        return frame_of("userFundings", {"isSnapshot": True, "user": user, "fundings": rows})

    def mids_frame(self) -> bytes:
        """Return allMids."""
        return frame_of("allMids", {"mids": self.feed.mids()})

    def context_frame(self, coin: str) -> bytes:
        """Return activeAssetCtx of a coin."""
        market = self.exchange.by_symbol[coin]
        context = body.asset_context(self.exchange, market)
        return frame_of("activeAssetCtx", {"coin": coin, "ctx": context})

    def state_frame(self, user: str) -> bytes:
        """Return clearinghouseState of a user."""
        account = self.exchange.by_key.get(user)
        state = body.clearinghouse_body(self.exchange, account, self.exchange.now_ms())
        data = {"dex": "", "user": user, "clearinghouseState": state}
        return frame_of("clearinghouseState", data)

    def each_second(self) -> None:
        """Publish mids and contexts."""
        if self.feed.watched("allMids"):
            self.feed.publish("allMids", self.mids_frame())
        for market in self.exchange.markets:
            topic = f"activeAssetCtx:{market.symbol}"
            if self.feed.watched(topic):
                self.feed.publish(topic, self.context_frame(market.symbol))

    # -- users' events -------------------------------------------------------------------------

    def on_report(self, report: Report) -> None:
        """Note an order's change of status and tell its owner's links."""
        account, order = report.account, report.order
        if report.trade is not None and order is not None:
            self.users.add_volume(account, report.trade.value)
            fill = body.fill_body(order.market, report.trade)
            self._tell(account, "userFills", "userFills", {"user": account.key, "fills": [fill]})
            self._tell(account, "userEvents", "user", {"fills": [fill]})
        if report.reason == "FUNDING_FEE" and account.income:
            row = body.funding_body(account.income[-1])
            data = {"user": account.key, "fundings": [row]}
            self._tell(account, "userFundings", "userFundings", data)
            self._tell(account, "userEvents", "user", {"funding": row})
        if order is not None and self._new_status(report, order):
            self._tell(account, "orderUpdates", "orderUpdates", [body.update_body(order)])
            if report.kind in ("CANCELED", "EXPIRED") and report.reason not in ("user", "modified"):
                canceled = [{"coin": order.market.symbol, "oid": order.order_id}]
                self._tell(account, "userEvents", "user", {"nonUserCancel": canceled})
        topic = f"clearinghouseState:{account.key}"
        if self.feed.watched(topic) and report.kind != "REJECTED":
            self.feed.publish(topic, self.state_frame(account.key), "private")

    @staticmethod
    def _new_status(report: Report, order: TwinOrder) -> bool:
        """Update what queries say of an order; partial fills are no change of status."""
        if report.kind == "NEW":
            status = "open"
        elif report.kind == "TRADE" and not order.open:
            status = "filled"
        elif report.kind in ("CANCELED", "EXPIRED"):
            status = end_status(order, report.reason)
        elif report.kind == "REJECTED":
            status = order.extra["status"]
        else:
            return False
        order.extra |= {"status": status, "status_ms": report.time_ms, "status_left": order.left}
        return True

    def _tell(self, account: Account, kind: str, channel: str, data: Any) -> None:
        topic = f"{kind}:{account.key}"
        if self.feed.watched(topic):
            self.feed.publish(topic, frame_of(channel, data), "private")
