"""Twins of Binance USD-M (/fapi) and COIN-M (/dapi) futures, written from the venue's documents.

One-way positions, cross margin. Not simulated, and answered with an honest error: conditional
orders (-4120, as the venue does on the old endpoint), hedge mode, isolated margin, batches of new
orders. No liquidation: a test that wants one cancels and fills. Realized P&L and fees are rounded
half-even to 8 decimals.
"""

import asyncio
import re
from typing import Any, ClassVar

import msgspec

from alephtx.core import words
from alephtx.sim import matching
from alephtx.twins.accounts import Account
from alephtx.twins.binance_futures_account import FuturesAccount
from alephtx.twins.binance_futures_body import (
    exchange_info,
    order_body,
    trade_body,
)
from alephtx.twins.binance_markets import coinm_account, coinm_markets, usdm_account, usdm_markets
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
from alephtx.twins.exchange import Exchange, Refused, TwinOrder
from alephtx.twins.limits import Window
from alephtx.twins.options import TwinOptions

TIF = {
    "GTC": words.GTC,
    "IOC": words.IOC,
    "FOK": words.FOK,
    "GTX": words.GTC,
    "GTD": words.GTD,
}
STP = {
    "NONE": matching.STP_NONE,
    "EXPIRE_TAKER": matching.STP_EXPIRE_TAKER,
    "EXPIRE_MAKER": matching.STP_EXPIRE_MAKER,
    "EXPIRE_BOTH": matching.STP_EXPIRE_BOTH,
}
BATCH_MAX = 10  # cancels
MODIFIES_MAX = 9_999  # of one order
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")


class BinanceFuturesTwin(FuturesAccount):
    """What both futures venues share; see the module."""

    api = "/fapi"
    client_id_pattern = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
    weights = (Window("1M", 2400, 60),)
    order_limits = (Window("10S", 300, 10), Window("1M", 1200, 60))
    ping_seconds = 180.0
    refusals: ClassVar[dict[str, tuple[int, str]]] = {
        "symbol": (-1121, "Invalid symbol."),
        "price_filter": (-4014, "Price not increased by tick size."),
        "percent_price": (
            -4131,
            "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
        ),
        "lot_size": (-1111, "Precision is over the maximum defined for this asset."),
        "quantity": (-4003, "Quantity less than or equal to zero."),
        "notional": (
            -4164,
            "Order's notional must be no smaller than {detail} (unless you choose reduce only).",
        ),
        "full": (-2025, "Reach max open order limit."),
        "duplicate_client_id": (-4116, "ClientOrderId is duplicated."),
        "insufficient": (-2019, "Margin is insufficient."),
        "would_cross": (
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be "
            "rejected. The order will not be recorded in the order history",
        ),
        "fok": (
            -5021,
            "Due to the order could not be filled immediately, the FOK order has been rejected. "
            "The order will not be recorded in the order history",
        ),
        "reduce_only": (-2022, "ReduceOnly Order is rejected."),
        "no_book": (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter."),
        "not_trading": (-4140, "Invalid symbol status for opening position."),
        "unknown_order": (-2011, "Unknown order sent."),
        "parameter": (-1102, "Mandatory parameter was malformed: {detail}"),
    }

    def define(self) -> None:
        """List the operations by REST path and by WS API name."""
        self.countdowns: dict[tuple[int, str], asyncio.TimerHandle] = {}
        place, cancel = Operation(self.place, SIGNED, 0, 1), Operation(self.cancel, SIGNED)
        modify = Operation(self.modify, SIGNED, 0, 1)
        status, opened = Operation(self.status, SIGNED), Operation(self.opened, SIGNED)
        ping, time = Operation(lambda _a, _p: {}), Operation(self.time)
        balance = Operation(self.balance, SIGNED, 5)
        account, risk = Operation(self.account, SIGNED, 5), Operation(self.risk, SIGNED, 5)
        depth = Operation(self.depth, OPEN, 5)
        version = f"{self.api}/v1"
        self.rest = {
            ("GET", f"{version}/ping"): ping,
            ("GET", f"{version}/time"): time,
            ("GET", f"{version}/exchangeInfo"): Operation(self.info),
            ("GET", f"{version}/depth"): depth,
            ("GET", f"{version}/premiumIndex"): Operation(self.premium),
            ("GET", f"{version}/ticker/bookTicker"): Operation(self.book_ticker, OPEN, 2),
            ("GET", f"{version}/leverageBracket"): Operation(self.brackets, SIGNED),
            ("POST", f"{version}/order"): place,
            ("POST", f"{version}/order/test"): Operation(self.test, SIGNED),
            ("GET", f"{version}/order"): status,
            ("PUT", f"{version}/order"): modify,
            ("DELETE", f"{version}/order"): cancel,
            ("GET", f"{version}/openOrder"): status,
            ("GET", f"{version}/openOrders"): opened,
            ("DELETE", f"{version}/batchOrders"): Operation(self.cancel_batch, SIGNED),
            ("DELETE", f"{version}/allOpenOrders"): Operation(self.cancel_all, SIGNED),
            ("GET", f"{version}/allOrders"): Operation(self.all_orders, SIGNED, 5),
            ("GET", f"{version}/userTrades"): Operation(self.user_trades, SIGNED, 5),
            ("GET", f"{version}/income"): Operation(self.income, SIGNED, 30),
            ("POST", f"{version}/leverage"): Operation(self.set_leverage, SIGNED),
            ("GET", f"{version}/symbolConfig"): Operation(self.symbol_config, SIGNED, 5),
            ("GET", f"{version}/positionSide/dual"): Operation(self.position_mode, SIGNED, 30),
            ("POST", f"{version}/positionSide/dual"): Operation(self.set_mode, SIGNED),
            ("GET", f"{version}/commissionRate"): Operation(self.commission, SIGNED, 20),
            ("POST", f"{version}/countdownCancelAll"): Operation(self.countdown, SIGNED, 10),
            ("POST", f"{version}/listenKey"): Operation(self.listen_key, KEYED),
            ("PUT", f"{version}/listenKey"): Operation(self.keep_key, KEYED),
            ("DELETE", f"{version}/listenKey"): Operation(self.drop_key, KEYED),
        }
        for n in (1, 2, 3):
            self.rest["GET", f"{self.api}/v{n}/balance"] = balance
            self.rest["GET", f"{self.api}/v{n}/account"] = account
            self.rest["GET", f"{self.api}/v{n}/positionRisk"] = risk
            self.rest["GET", f"{self.api}/v{n}/leverageBracket"] = Operation(self.brackets, SIGNED)
        self.ws_api = {
            "ping": ping,
            "time": time,
            "depth": depth,
            "order.place": place,
            "order.modify": modify,
            "order.cancel": cancel,
            "order.status": status,
            "account.balance": balance,
            "v2/account.balance": balance,
            "account.status": account,
            "v2/account.status": account,
            "account.position": risk,
            "v2/account.position": risk,
            "userDataStream.start": Operation(self.listen_key, KEYED),
            "userDataStream.ping": Operation(self.keep_key, KEYED),
            "userDataStream.stop": Operation(self.drop_key, KEYED),
            "session.logon": Operation(self.logon, KEYED, 2),
        }

    # -- market data ---------------------------------------------------------------------------

    def time(self, _: Account | None, params: Params) -> Any:
        """GET time."""
        return {"serverTime": self.now_ms()}

    def info(self, _: Account | None, params: Params) -> Any:
        """GET exchangeInfo."""
        limits = (self.weights[0].most, self.order_limits[1].most)
        return exchange_info(self.exchange.markets, self.now_ms(), limits)

    def depth(self, _: Account | None, params: Params) -> Any:
        """GET depth: what the depth stream has said so far."""
        market = self.market_of(params)
        limit = integer(params, "limit", 500)
        if limit not in (5, 10, 20, 50, 100, 500, 1000):
            raise ApiError(-4021, f"Invalid depth limit: {limit}")
        book, now = self.market_feed.books[market.symbol], self.now_ms()
        bids, asks = book.best(limit)
        body: dict[str, Any] = {"lastUpdateId": book.last_id, "E": now, "T": now}
        if market.contract == words.INVERSE:
            body |= {"symbol": market.symbol, "pair": f"{market.base}{market.quote}"}
        return body | {"bids": bids, "asks": asks}

    def premium(self, _: Account | None, params: Params) -> Any:
        """GET premiumIndex of one symbol or all; mark = index = middle of the touch."""
        markets = [self.market_of(params)] if params.get("symbol") else self.exchange.markets
        rows = []
        for market in markets:
            mark = plain(market.price(self.exchange.mark(market)), 8)
            row = {"symbol": market.symbol, "markPrice": mark, "indexPrice": mark}
            row |= {"estimatedSettlePrice": mark, "interestRate": "0.00010000"}
            row |= {"lastFundingRate": self.funding_rates[market.symbol]}
            rows.append(row | {"nextFundingTime": self.next_funding_ms(), "time": self.now_ms()})
        inverse = self.api == "/dapi"
        return rows[0] if params.get("symbol") and not inverse else rows

    def book_ticker(self, _: Account | None, params: Params) -> Any:
        """GET ticker/bookTicker."""
        markets = [self.market_of(params)] if params.get("symbol") else self.exchange.markets
        rows = []
        for market in markets:
            row: dict[str, Any] = {"symbol": market.symbol, "time": self.now_ms()}
            for side, name in ((words.BUY, "bid"), (words.SELL, "ask")):
                levels = self.exchange.depth(market, side, 1)
                price, qty = levels[0] if levels else (0, 0)
                row |= {f"{name}Price": plain(market.price(price), market.price_scale)}
                row |= {f"{name}Qty": plain(market.qty(qty), market.qty_scale)}
            rows.append(row)
        return rows[0] if params.get("symbol") and self.api == "/fapi" else rows

    def brackets(self, _: Account | None, params: Params) -> Any:
        """GET leverageBracket: a single bracket per symbol."""
        bracket: dict[str, Any] = {"bracket": 1, "initialLeverage": 125, "notionalCap": 10**12}
        bracket |= {"notionalFloor": 0, "qtyCap": 10**9, "qtyFloor": 0}
        bracket |= {"maintMarginRatio": 0.004, "cum": 0.0}
        return [{"symbol": m.symbol, "brackets": [bracket]} for m in self.exchange.markets]

    # -- orders --------------------------------------------------------------------------------

    def _parse(self, account: Account, params: Params) -> TwinOrder:
        market = self.market_of(params)
        side, kind = self.side(params), mandatory(params, "type")
        if kind in CONDITIONAL:
            text = "Order type not supported for this endpoint. Please use the Algo Order API"
            raise ApiError(-4120, f"{text} endpoints instead.")
        if kind not in ("LIMIT", "MARKET"):
            raise ApiError(-1116, "Invalid orderType.")
        if params.get("positionSide", "BOTH") != "BOTH":
            raise ApiError(-4061, "Order's position side does not match user's setting.")
        tif, price = "GTC", 0
        if kind == "LIMIT":
            tif = mandatory(params, "timeInForce")
            if tif not in TIF:
                raise ApiError(-1115, "Invalid timeInForce.")
            price = to_units(number(params, "price"), market.price_scale, "price_filter")
        mode = params.get("selfTradePreventionMode", "EXPIRE_MAKER")
        if mode not in STP:
            raise ApiError(-1102, "Invalid selfTradePreventionMode.")
        return TwinOrder(
            order_id=0,
            client_id=self.client_id(params),
            account=account,
            market=market,
            side=side,
            type=words.MARKET if kind == "MARKET" else words.LIMIT,
            tif=words.IOC if kind == "MARKET" else TIF[tif],
            price=price,
            qty=to_units(number(params, "quantity"), market.qty_scale, "lot_size"),
            post_only=tif == "GTX",
            reduce_only=params.get("reduceOnly", "false").lower() == "true",
            stp=STP[mode],
            extra={"type": kind, "tif": tif, "stp": mode},
        )

    def _admit_fok(self, order: TwinOrder) -> None:
        if order.tif == words.FOK:
            walk = self.exchange.walk(order.market, order.side, order.qty, order.price)
            if sum(qty for _, qty in walk) < order.qty:
                raise Refused("fok")

    def worded(self, refused: Refused) -> ApiError:
        """Word a refusal; the notional text names the market's minimum."""
        if refused.reason == "lot_size" and refused.detail == "max":
            return ApiError(-4005, "Quantity greater than max quantity.")
        return super().worded(refused)

    def place(self, account: Account | None, params: Params) -> Any:
        """POST order, WS order.place. The answer is ACK (state before matching) unless RESULT."""
        assert account is not None
        order = self._parse(account, params)
        self._admit_fok(order)
        self.exchange.place(order)
        body = order_body(order)
        if params.get("newOrderRespType", "ACK") == "ACK":
            zero = plain(order.market.qty(0), order.market.qty_scale)
            body |= {"status": "NEW", "executedQty": zero, "cumQty": zero, "avgPrice": "0.00"}
        return body

    def test(self, account: Account | None, params: Params) -> Any:
        """POST order/test: every check, no effect."""
        assert account is not None
        order = self._parse(account, params)
        self._admit_fok(order)
        self.exchange.admit(order)
        return {}

    def cancel(self, account: Account | None, params: Params) -> Any:
        """DELETE order, WS order.cancel."""
        assert account is not None
        order = self.found_order(account, params, -2011)
        return order_body(self.exchange.cancel(order))

    def modify(self, account: Account | None, params: Params) -> Any:
        """PUT order, WS order.modify: another price, another total; the place in line is lost.

        As documented, it cancels where nothing would be left, and where a GTX would take.
        """
        assert account is not None
        order = self.found_order(account, params, -2013)
        market = order.market
        if self.side(params) != order.side:
            raise ApiError(-1117, "Invalid side.")
        if not order.open:
            raise ApiError(-2013, "Order does not exist.")
        price, qty = order.price, order.qty
        both = market.contract != words.INVERSE  # COIN-M takes either alone
        if both or params.get("price"):
            price = to_units(number(params, "price"), market.price_scale, "price_filter")
        if both or params.get("quantity"):
            qty = to_units(number(params, "quantity"), market.qty_scale, "lot_size")
        if (price, qty) == (order.price, order.qty):
            raise ApiError(-5027, "No need to modify the order.")
        if order.extra.get("modified", 0) == MODIFIES_MAX:
            raise ApiError(-5026, "Exceed maximum modify order limit.")
        if 0 < qty <= order.filled:
            return order_body(self.exchange.cancel(order, "modified"))
        try:
            self.exchange.amend(order, price, qty)
        except Refused as refused:
            if refused.reason != "would_cross":
                raise
            return order_body(self.exchange.cancel(order, "modified"))
        order.extra["modified"] = order.extra.get("modified", 0) + 1
        return order_body(order)

    def cancel_batch(self, account: Account | None, params: Params) -> Any:
        """DELETE batchOrders: at most ten of a symbol, each answered on its own."""
        assert account is not None
        # The documents write orderIdList; ccxt writes that name in small letters.
        lists = {name.lower(): text for name, text in params.items()}
        named = "orderid" if lists.get("orderidlist") else "origclientorderid"
        try:
            ids = msgspec.json.decode(lists.get(f"{named}list", ""), type=list[int | str])
        except msgspec.MsgspecError:
            text = f"Mandatory parameter '{named}list' was not sent, was empty/null, or malformed."
            raise ApiError(-1102, text) from None
        if not 0 < len(ids) <= BATCH_MAX:
            raise ApiError(-4082, "Invalid number of batch place orders.")
        key = "orderId" if named == "orderid" else "origClientOrderId"
        rows: list[Any] = []
        for one in ids:
            try:
                rows.append(self.cancel(account, {"symbol": params["symbol"], key: str(one)}))
            except (ApiError, Refused) as error:
                worded = error if isinstance(error, ApiError) else self.worded(error)
                rows.append({"code": worded.code, "msg": worded.message})
        return rows

    def cancel_all(self, account: Account | None, params: Params) -> Any:
        """DELETE allOpenOrders of a symbol."""
        assert account is not None
        self.exchange.cancel_all(account, self.market_of(params).symbol)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def status(self, account: Account | None, params: Params) -> Any:
        """GET order and openOrder, WS order.status."""
        assert account is not None
        return order_body(self.found_order(account, params, -2013))

    def opened(self, account: Account | None, params: Params) -> Any:
        """GET openOrders, of one symbol or all."""
        assert account is not None
        symbol = self.market_of(params).symbol if params.get("symbol") else None
        return [order_body(order) for order in self.exchange.open_of(account, symbol)]

    def all_orders(self, account: Account | None, params: Params) -> Any:
        """GET allOrders of a symbol, oldest first."""
        assert account is not None
        market, limit = self.market_of(params), integer(params, "limit", 500)
        start = integer(params, "orderId", 0)
        found = [
            order_body(order)
            for order in self.exchange.orders.values()
            if order.account is account and order.market is market and order.order_id >= start
        ]
        return found[:limit] if start else found[-limit:]

    def user_trades(self, account: Account | None, params: Params) -> Any:
        """GET userTrades; symbol, fromId, startTime, endTime, orderId, limit."""
        assert account is not None
        symbol = self.market_of(params).symbol
        first, order_id = integer(params, "fromId", 0), integer(params, "orderId", 0)
        start, end = integer(params, "startTime", 0), integer(params, "endTime", 1 << 60)
        limit = integer(params, "limit", 500)
        found = [
            trade_body(trade, self.exchange.by_symbol[symbol])
            for trade in self.exchange.trades
            if trade.account == account.name
            and trade.symbol == symbol
            and trade.trade_id >= first
            and order_id in (0, trade.order_id)
            and start <= trade.time_ms <= end
        ]
        return found[:limit] if first or start else found[-limit:]

    def countdown(self, account: Account | None, params: Params) -> Any:
        """POST countdownCancelAll: cancel a symbol's orders unless renewed in time; 0 = off."""
        assert account is not None
        symbol, delay_ms = self.market_of(params).symbol, integer(params, "countdownTime")
        running = self.countdowns.pop((account.index, symbol), None)
        if running is not None:
            running.cancel()
        if delay_ms > 0:
            self.countdowns[account.index, symbol] = asyncio.get_running_loop().call_later(
                delay_ms / 1000, self.exchange.cancel_all, account, symbol, "countdown"
            )
        return {"symbol": symbol, "countdownTime": str(delay_ms)}


class BinanceUsdmTwin(BinanceFuturesTwin):
    """USD-M: bases /public, /market, /private and the old unrouted one."""

    name = "binance_usdm"
    api = "/fapi"
    trade_path = "/ws-fapi/v1"
    stream_prefixes = ("/public", "/market", "/private", "")


class BinanceCoinmTwin(BinanceFuturesTwin):
    """COIN-M: the settle currency is the coin."""

    name = "binance_coinm"
    api = "/dapi"
    trade_path = "/ws-dapi/v1"


def make_usdm(account: Account | None = None, **options: Any) -> BinanceUsdmTwin:
    """Return a USD-M twin with the recorded symbols and one account."""
    return BinanceUsdmTwin(Exchange(usdm_markets(), [account or usdm_account()]), **options)


def make_coinm(account: Account | None = None, **options: Any) -> BinanceCoinmTwin:
    """Return a COIN-M twin with the recorded symbols and one account."""
    return BinanceCoinmTwin(Exchange(coinm_markets(), [account or coinm_account()]), **options)


def usdm_of(options: TwinOptions) -> BinanceUsdmTwin:
    """Return the USD-M twin of a twin process."""
    fees = options.fees_of("binance_usdm", "0.0002", "0.0005")
    return make_usdm(usdm_account(fees), skew_ms=options.skew_ms)


def coinm_of(options: TwinOptions) -> BinanceCoinmTwin:
    """Return the COIN-M twin of a twin process."""
    fees = options.fees_of("binance_coinm", "0.0002", "0.0005")
    return make_coinm(coinm_account(fees), skew_ms=options.skew_ms)
