"""Twin of Binance Spot: REST /api/v3, WS API /ws-api/v3, streams.

Written from the venue's documents.
Not simulated, and answered with an honest error: stop orders, icebergs, order lists, pegged orders,
session.logon (it needs Ed25519 keys). Fees are taken from what a fill receives, 8 decimals,
half-even.
"""

from decimal import Decimal
from typing import Any, ClassVar

from alephtx.core import words
from alephtx.sim import matching
from alephtx.twins.accounts import Account
from alephtx.twins.binance_markets import spot_account, spot_markets
from alephtx.twins.binance_params import (
    KEYED,
    OPEN,
    SIGNED,
    ApiError,
    Operation,
    Params,
    integer,
    mandatory,
    number,
    plain,
    to_units,
)
from alephtx.twins.binance_spot_body import (
    ack_body,
    balance_body,
    execution_report,
    state_body,
    wallet_body,
)
from alephtx.twins.binance_spot_data import SpotMarketData
from alephtx.twins.exchange import Exchange, Report, Trade, TwinOrder
from alephtx.twins.options import TwinOptions
from alephtx.twins.server import Client, to_json

TIF = {"GTC": words.GTC, "IOC": words.IOC, "FOK": words.FOK}
STP = {
    "NONE": matching.STP_NONE,
    "EXPIRE_TAKER": matching.STP_EXPIRE_TAKER,
    "EXPIRE_MAKER": matching.STP_EXPIRE_MAKER,
    "EXPIRE_BOTH": matching.STP_EXPIRE_BOTH,
}
UNSUPPORTED = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")


class BinanceSpotTwin(SpotMarketData):
    """See the module."""

    name = "binance_spot"
    trade_path = "/ws-api/v3"
    # ccxt.pro tells spot links from futures links by "/stream" in the address; a loopback address
    # has no such host name, so the same streams are also served below a path that has it.
    stream_prefixes = ("/stream.spot", "")
    refusals: ClassVar[dict[str, tuple[int, str]]] = {
        "symbol": (-1121, "Invalid symbol."),
        "price_filter": (-1013, "Filter failure: PRICE_FILTER"),
        "percent_price": (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        "lot_size": (-1013, "Filter failure: LOT_SIZE"),
        "quantity": (-1013, "Invalid quantity."),
        "notional": (-1013, "Filter failure: NOTIONAL"),
        "full": (-1013, "Filter failure: MAX_NUM_ORDERS"),
        "duplicate_client_id": (-2010, "Duplicate order sent."),
        "insufficient": (-2010, "Account has insufficient balance for requested action."),
        "would_cross": (-2010, "Order would immediately match and take."),
        "no_book": (-2010, "Market is closed."),
        "not_trading": (-1013, "Market is closed."),
        "unknown_order": (-2011, "Unknown order sent."),
        "parameter": (-1102, "Mandatory parameter was malformed: {detail}"),
    }

    def define(self) -> None:
        """List the operations by REST path and by WS API name."""
        self.subscriptions: dict[int, tuple[Client, Account]] = {}
        self._next_subscription = 0
        place, cancel = Operation(self.place, SIGNED, 1, 1), Operation(self.cancel, SIGNED)
        cancel_all = Operation(self.cancel_all, SIGNED)
        status, opened = Operation(self.status, SIGNED, 4), Operation(self.opened, SIGNED, 6)
        account = Operation(self.account, SIGNED, 20)
        test = Operation(self.test, SIGNED)
        ping, time = Operation(lambda _a, _p: {}), Operation(self.time)
        info, depth = Operation(self.info, OPEN, 20), Operation(self.depth, OPEN, 5)
        amend = Operation(self.amend, SIGNED, 4)
        trades = Operation(self.my_trades, SIGNED, 20)
        base = "/api/v3"
        self.rest = {
            ("GET", f"{base}/ping"): ping,
            ("GET", f"{base}/time"): time,
            ("GET", f"{base}/exchangeInfo"): info,
            ("GET", f"{base}/depth"): depth,
            ("GET", f"{base}/trades"): Operation(self.recent, OPEN, 25),
            ("GET", f"{base}/ticker/bookTicker"): Operation(self.book_ticker, OPEN, 2),
            ("GET", f"{base}/ticker/price"): Operation(self.ticker_price, OPEN, 2),
            ("GET", f"{base}/ticker/24hr"): Operation(self.ticker_day, OPEN, 2),
            ("POST", f"{base}/order"): place,
            ("POST", f"{base}/order/test"): test,
            ("GET", f"{base}/order"): status,
            ("DELETE", f"{base}/order"): cancel,
            ("PUT", f"{base}/order/amend/keepPriority"): amend,
            ("GET", f"{base}/openOrders"): opened,
            ("DELETE", f"{base}/openOrders"): cancel_all,
            ("GET", f"{base}/allOrders"): Operation(self.all_orders, SIGNED, 20),
            ("GET", f"{base}/account"): account,
            ("GET", f"{base}/myTrades"): trades,
        }
        self.ws_api = {
            "ping": ping,
            "time": time,
            "exchangeInfo": info,
            "depth": depth,
            "order.place": place,
            "order.test": test,
            "order.cancel": cancel,
            "order.status": status,
            "order.amend.keepPriority": amend,
            "openOrders.status": opened,
            "openOrders.cancelAll": cancel_all,
            "account.status": account,
            "myTrades": trades,
            "userDataStream.subscribe.signature": Operation(self.subscribe, SIGNED, 2),
            "userDataStream.unsubscribe": Operation(self.unsubscribe, OPEN, 2),
            "session.logon": Operation(self.logon, KEYED, 2),
        }

    # -- orders --------------------------------------------------------------------------------

    def _parse(self, account: Account, params: Params) -> TwinOrder:
        market = self.market_of(params)
        side, kind = self.side(params), mandatory(params, "type")
        if kind in UNSUPPORTED:
            raise ApiError(-1116, f"Order type {kind} is not simulated by this twin.")
        if kind not in ("LIMIT", "LIMIT_MAKER", "MARKET"):
            raise ApiError(-1116, "Invalid orderType.")
        tif = params.get("timeInForce", "")
        if kind == "LIMIT":
            if mandatory(params, "timeInForce") not in TIF:
                raise ApiError(-1115, "Invalid timeInForce.")
        elif tif:
            raise ApiError(-1106, "Parameter 'timeInForce' sent when not required.")
        mode = params.get("selfTradePreventionMode", "EXPIRE_MAKER")
        if mode not in STP:
            raise ApiError(-1106, "Invalid selfTradePreventionMode.")
        price = 0
        if kind != "MARKET":
            price = to_units(number(params, "price"), market.price_scale, "price_filter")
        elif params.get("price"):
            raise ApiError(-1106, "Parameter 'price' sent when not required.")
        order = TwinOrder(
            order_id=0,
            client_id=self.client_id(params),
            account=account,
            market=market,
            side=side,
            type=words.MARKET if kind == "MARKET" else words.LIMIT,
            tif=words.IOC if kind == "MARKET" else TIF.get(tif, words.GTC),
            price=price,
            qty=0,
            post_only=kind == "LIMIT_MAKER",
            stp=STP[mode],
            extra={"type": kind, "tif": tif or "GTC", "stp": mode},
        )
        if kind == "MARKET" and not params.get("quantity"):
            order.quote_qty = number(params, "quoteOrderQty")
            order.qty = self._lots_for(order)
        else:
            order.qty = to_units(number(params, "quantity"), market.qty_scale, "lot_size")
        return order

    def _lots_for(self, order: TwinOrder) -> int:
        """Return the lots a quote amount buys or brings on the displayed book, rounded down."""
        market, left, lots = order.market, order.quote_qty, 0
        for price, qty in self.exchange.walk(market, order.side, market.qty_max):
            value = market.value(price, qty)
            if value >= left:
                part = left / market.price(price)
                return (lots + int(part.scaleb(market.qty_scale))) // market.lot * market.lot
            left, lots = left - value, lots + qty
        return lots // market.lot * market.lot

    def place(self, account: Account | None, params: Params) -> Any:
        """POST order, WS order.place."""
        assert account is not None
        answer = params.get("newOrderRespType")
        order = self.exchange.place(self._parse(account, params))
        kind = answer or ("ACK" if order.extra["type"] == "LIMIT_MAKER" else "FULL")
        if kind == "ACK":
            return ack_body(order)
        if kind not in ("RESULT", "FULL"):
            raise ApiError(-1106, "Invalid newOrderRespType.")
        result = ack_body(order) | state_body(order)
        result["workingTime"] = order.created_ms
        if kind == "FULL":
            result["fills"] = [
                {
                    "price": plain(order.market.price(trade.price), 8),
                    "qty": plain(order.market.qty(trade.qty), 8),
                    "commission": plain(trade.fee, 8),
                    "commissionAsset": trade.fee_asset,
                    "tradeId": trade.trade_id,
                }
                for trade in order.trades
            ]
        return result

    def test(self, account: Account | None, params: Params) -> Any:
        """POST order/test: every check, no effect."""
        assert account is not None
        self.exchange.admit(self._parse(account, params))
        return {}

    def cancel(self, account: Account | None, params: Params) -> Any:
        """DELETE order, WS order.cancel."""
        assert account is not None
        order = self.found_order(account, params, -2011)
        return self._cancel(order, self.client_id(params))

    def _cancel(self, order: TwinOrder, cancel_id: str) -> dict[str, Any]:
        order.extra["cancel_id"] = cancel_id
        self.exchange.cancel(order)
        return {
            "symbol": order.market.symbol,
            "origClientOrderId": order.client_id,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": cancel_id,
            "transactTime": order.updated_ms,
        } | state_body(order)

    def cancel_all(self, account: Account | None, params: Params) -> Any:
        """DELETE openOrders; -2011 when there is none."""
        assert account is not None
        orders = self.exchange.open_of(account, self.market_of(params).symbol)
        if not orders:
            raise ApiError(-2011, "Unknown order sent.")
        return [self._cancel(order, self.client_id({})) for order in orders]

    def amend(self, account: Account | None, params: Params) -> Any:
        """PUT order/amend/keepPriority: a smaller quantity at the same place in the queue."""
        assert account is not None
        order = self.found_order(account, params, -2013)
        lots = to_units(number(params, "newQty"), order.market.qty_scale, "lot_size")
        if lots >= order.qty or not order.open or lots <= order.filled:
            raise ApiError(-2038, "The requested action would change no state; rejecting.")
        self.exchange.reduce(order, lots)
        return {
            "transactTime": order.updated_ms,
            "executionId": order.order_id,
            "amendedOrder": self.order_body(order),
        }

    def order_body(self, order: TwinOrder) -> dict[str, Any]:
        """Return an order as queries show it."""
        return {
            "symbol": order.market.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.client_id,
            "stopPrice": "0.00000000",
            "icebergQty": "0.00000000",
            "time": order.created_ms,
            "updateTime": order.updated_ms,
            "isWorking": True,
            "workingTime": order.created_ms,
        } | state_body(order)

    def status(self, account: Account | None, params: Params) -> Any:
        """GET order, WS order.status."""
        assert account is not None
        return self.order_body(self.found_order(account, params, -2013))

    def opened(self, account: Account | None, params: Params) -> Any:
        """GET openOrders, of one symbol or all."""
        assert account is not None
        symbol = self.market_of(params).symbol if params.get("symbol") else None
        return [self.order_body(order) for order in self.exchange.open_of(account, symbol)]

    def all_orders(self, account: Account | None, params: Params) -> Any:
        """GET allOrders, oldest first."""
        assert account is not None
        market, limit = self.market_of(params), integer(params, "limit", 500)
        start = integer(params, "orderId", 0)
        found = [
            self.order_body(order)
            for order in self.exchange.orders.values()
            if order.account is account and order.market is market and order.order_id >= start
        ]
        return found[:limit] if start else found[-limit:]

    # -- account -------------------------------------------------------------------------------

    def account(self, account: Account | None, params: Params) -> Any:
        """GET account."""
        assert account is not None
        hide = params.get("omitZeroBalances") == "true"
        return {
            "makerCommission": int(account.maker_fee * 10_000),
            "takerCommission": int(account.taker_fee * 10_000),
            "commissionRates": {
                "maker": plain(account.maker_fee, 8),
                "taker": plain(account.taker_fee, 8),
                "buyer": "0.00000000",
                "seller": "0.00000000",
            },
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "accountType": "SPOT",
            "updateTime": self.now_ms(),
            "balances": [
                balance_body(account, asset)
                for asset, total in account.total.items()
                if total or not hide
            ],
            "permissions": ["SPOT"],
            "uid": 1_000 + account.index,
        }

    def my_trades(self, account: Account | None, params: Params) -> Any:
        """GET myTrades by symbol; fromId, startTime, endTime, orderId, limit."""
        assert account is not None
        symbol = self.market_of(params).symbol
        first, order_id = integer(params, "fromId", 0), integer(params, "orderId", 0)
        start, end = integer(params, "startTime", 0), integer(params, "endTime", 1 << 60)
        limit = integer(params, "limit", 500)
        found = [
            self.trade_body(trade)
            for trade in self.exchange.trades
            if trade.account == account.name
            and trade.symbol == symbol
            and trade.trade_id >= first
            and order_id in (0, trade.order_id)
            and start <= trade.time_ms <= end
        ]
        return found[:limit] if first or start else found[-limit:]

    def trade_body(self, trade: Trade) -> dict[str, Any]:
        """Return one of the account's trades."""
        market = self.exchange.by_symbol[trade.symbol]
        return {
            "symbol": trade.symbol,
            "id": trade.trade_id,
            "orderId": trade.order_id,
            "orderListId": -1,
            "price": plain(market.price(trade.price), 8),
            "qty": plain(market.qty(trade.qty), 8),
            "quoteQty": plain(trade.value, 8),
            "commission": plain(trade.fee, 8),
            "commissionAsset": trade.fee_asset,
            "time": trade.time_ms,
            "isBuyer": trade.side > 0,
            "isMaker": trade.maker,
            "isBestMatch": True,
        }

    # -- private events ------------------------------------------------------------------------

    def subscribe(self, account: Account | None, params: Params) -> Any:
        """WS userDataStream.subscribe.signature."""
        assert account is not None
        if self.caller is None:
            raise ApiError(-1000, "A subscription needs a WebSocket.")
        identity, self._next_subscription = self._next_subscription, self._next_subscription + 1
        self.subscriptions[identity] = (self.caller, account)
        self.caller.carries.add("private")
        return {"subscriptionId": identity}

    def unsubscribe(self, _: Account | None, params: Params) -> Any:
        """WS userDataStream.unsubscribe: one subscription or all of the link."""
        one = integer(params, "subscriptionId", -1)
        for identity, (client, _account) in list(self.subscriptions.items()):
            if client is self.caller and one in (-1, identity):
                del self.subscriptions[identity]
        return {}

    def logon(self, _: Account | None, params: Params) -> Any:
        """WS session.logon: refused, as the venue does for HMAC keys."""
        raise ApiError(-4056, "HMAC_SHA256 API key is not supported.", 400)

    def on_gone(self, client: Client) -> None:
        """End the subscriptions of a client that left."""
        super().on_gone(client)
        for identity, (subscribed, _) in list(self.subscriptions.items()):
            if subscribed is client:
                del self.subscriptions[identity]

    def on_report(self, report: Report) -> None:
        """Send executionReport and, when money moved, outboundAccountPosition."""
        if not any(account is report.account for _, account in self.subscriptions.values()):
            return
        events = [execution_report(report, self.now_ms())] if report.order is not None else []
        if report.kind == "ACCOUNT":
            moved = {
                "a": report.assets[0],
                "d": plain(Decimal(report.account.income[-1]["income"]), 8),
            }
            events.append({"e": "balanceUpdate", "E": self.now_ms(), **moved, "T": report.time_ms})
        if report.kind != "AMENDED" and report.assets:
            events.append(
                {
                    "e": "outboundAccountPosition",
                    "E": self.now_ms(),
                    "u": report.time_ms,
                    "B": [wallet_body(report.account, asset) for asset in report.assets],
                }
            )
        for identity, (client, account) in list(self.subscriptions.items()):
            if account is report.account:
                for event in events:
                    frame = to_json({"subscriptionId": identity, "event": event})
                    client.send(frame, "private")


def make_spot(account: Account | None = None, **options: Any) -> BinanceSpotTwin:
    """Return a Spot twin with the recorded symbols and one account."""
    return BinanceSpotTwin(Exchange(spot_markets(), [account or spot_account()]), **options)


def twin_of(options: TwinOptions) -> BinanceSpotTwin:
    """Return the Spot twin of a twin process."""
    fees = options.fees_of("binance_spot", "0.001", "0.001")
    return make_spot(spot_account(fees), skew_ms=options.skew_ms)
