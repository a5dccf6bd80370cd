"""Twins of Binance USD-M (/fapi) and COIN-M (/dapi) futures, written from the venue's documents.

One-way positions, cross margin. Not simulated, and answered with an honest error: conditional orders
(-4120, as the venue does on the old endpoint), hedge mode, isolated margin, batches. No liquidation:
a test that wants one cancels and fills. Realized P&L and fees are rounded half-even to 8 decimals.
"""

import asyncio
import re
from decimal import Decimal
from typing import Any

from alephtx.core import words
from alephtx.sim import matching
from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET, Account, Market
from alephtx.twins.binance_api import (
    KEYED,
    OPEN,
    SIGNED,
    ApiError,
    BinanceTwin,
    Operation,
    Params,
    integer,
    mandatory,
    number,
    plain,
    to_units,
)
from alephtx.twins.binance_futures_body import (
    account_update,
    exchange_info,
    order_body,
    order_update,
    position_body,
    trade_body,
)
from alephtx.twins.exchange import Exchange, Refused, Report, TwinOrder
from alephtx.twins.limits import Window
from alephtx.twins.options import TwinOptions
from alephtx.twins.server import Client, to_json

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
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
LISTEN_KEY_SECONDS = 3600


def usdm_markets() -> list[Market]:
    """Return the two recorded USD-M perpetuals."""
    common: dict[str, Any] = {"quote": "USDT", "settle": "USDT", "contract": words.LINEAR}
    common |= {"percent_up": Decimal("1.05"), "percent_down": Decimal("0.95"), "price_scale": 2}
    return [
        Market(
            symbol="BTCUSDT",
            base="BTC",
            qty_scale=3,
            tick=10,
            price_min=55_680,
            price_max=452_906_400,
            qty_max=1_000_000,
            notional_min=Decimal(100),
            **common,
        ),
        Market(
            symbol="ETHUSDT",
            base="ETH",
            qty_scale=3,
            price_min=3_986,
            price_max=30_617_700,
            qty_max=10_000_000,
            notional_min=Decimal(20),
            **common,
        ),
    ]


def coinm_markets() -> list[Market]:
    """Return the two recorded COIN-M perpetuals: quantities are contracts of 100 and 10 USD."""

    def make(base: str, value: int, price_scale: int, price_max: int) -> Market:
        return Market(
            symbol=f"{base}USD_PERP",
            base=base,
            quote="USD",
            settle=base,
            contract=words.INVERSE,
            contract_value=Decimal(value),
            price_scale=price_scale,
            qty_scale=0,
            price_max=price_max,
            qty_max=1_000_000,
            percent_up=Decimal("1.05"),
            percent_down=Decimal("0.95"),
        )

    return [make("BTC", 100, 1, 45_290_640), make("ETH", 10, 2, 30_617_700)]


class BinanceFuturesTwin(BinanceTwin):
    """What both futures venues share; see the module."""

    api = "/fapi"
    client_id_pattern = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
    weights = (Window("1M", 2400, 60),)
    order_limits = (Window("10S", 300, 10), Window("1M", 1200, 60))
    ping_seconds = 180.0
    refusals = {
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
            "Due to the order could not be executed as maker, the Post Only order will be rejected. "
            "The order will not be recorded in the order history",
        ),
        "fok": (
            -5021,
            "Due to the order could not be filled immediately, the FOK order has been rejected. "
            "The order will not be recorded in the order history",
        ),
        "reduce_only": (-2022, "ReduceOnly Order is rejected."),
        "no_book": (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter."),
        "unknown_order": (-2011, "Unknown order sent."),
        "parameter": (-1102, "Mandatory parameter was malformed: {detail}"),
    }

    def define(self) -> None:
        self.funding_rates: dict[str, str] = {m.symbol: "0.00010000" for m in self.exchange.markets}
        self.listen_keys: dict[str, Account] = {}
        self.listen_timers: dict[str, asyncio.TimerHandle] = {}
        self.countdowns: dict[tuple[int, str], asyncio.TimerHandle] = {}
        self._next_key = 0
        place, cancel = Operation(self.place, SIGNED, 0, 1), Operation(self.cancel, SIGNED)
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
            ("DELETE", f"{version}/order"): cancel,
            ("GET", f"{version}/openOrder"): status,
            ("GET", f"{version}/openOrders"): opened,
            ("DELETE", f"{version}/allOpenOrders"): Operation(self.cancel_all, SIGNED),
            ("GET", f"{version}/allOrders"): Operation(self.all_orders, SIGNED, 5),
            ("GET", f"{version}/userTrades"): Operation(self.user_trades, SIGNED, 5),
            ("GET", f"{version}/income"): Operation(self.income, SIGNED, 30),
            ("POST", f"{version}/leverage"): Operation(self.set_leverage, SIGNED),
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
        bracket = {"bracket": 1, "initialLeverage": 125, "notionalCap": 10**12}
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

    # -- account -------------------------------------------------------------------------------

    def _assets(self, account: Account) -> list[dict[str, Any]]:
        settles = dict.fromkeys([*account.total, *(m.settle for m in self.exchange.markets)])
        rows = []
        for asset in settles:
            wallet = account.total.get(asset, Decimal(0))
            profit = self.exchange.unrealized(account, asset)
            held, ordered = self.exchange.margin(account, asset)
            free = max(Decimal(0), wallet + profit - held - ordered)
            rows.append(
                {
                    "asset": asset,
                    "walletBalance": plain(wallet, 8),
                    "unrealizedProfit": plain(profit, 8),
                    "marginBalance": plain(wallet + profit, 8),
                    "maintMargin": "0.00000000",
                    "initialMargin": plain(held + ordered, 8),
                    "positionInitialMargin": plain(held, 8),
                    "openOrderInitialMargin": plain(ordered, 8),
                    "crossWalletBalance": plain(wallet, 8),
                    "crossUnPnl": plain(profit, 8),
                    "availableBalance": plain(free, 8),
                    "maxWithdrawAmount": plain(free, 8),
                    "marginAvailable": True,
                    "updateTime": self.now_ms(),
                }
            )
        return rows

    def balance(self, account: Account | None, params: Params) -> Any:
        """GET balance."""
        assert account is not None
        rows = []
        for row in self._assets(account):
            body = {"accountAlias": f"twin{account.index}", "asset": row["asset"]}
            body |= {"balance": row["walletBalance"]}
            for name in ("crossWalletBalance", "crossUnPnl", "availableBalance"):
                body[name] = row[name]
            rows.append(
                body | {"maxWithdrawAmount": row["maxWithdrawAmount"], "marginAvailable": True}
            )
        return rows

    def account(self, account: Account | None, params: Params) -> Any:
        """GET account: assets and positions."""
        assert account is not None
        assets, positions = self._assets(account), self._positions(account, every=True)
        quote = [row for row in assets if row["asset"] in ("USDT", "USDC")]
        totals = {
            f"total{name[0].upper()}{name[1:]}": plain(
                sum((Decimal(row[name]) for row in quote), Decimal(0)), 8
            )
            for name in ("initialMargin", "maintMargin", "walletBalance", "unrealizedProfit")
            + ("marginBalance", "positionInitialMargin", "openOrderInitialMargin")
            + ("crossWalletBalance", "crossUnPnl")
        }
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "multiAssetsMargin": False,
            "updateTime": 0,
            **totals,
            "availableBalance": plain(
                sum((Decimal(row["availableBalance"]) for row in quote), Decimal(0)), 8
            ),
            "assets": assets,
            "positions": positions,
        }

    def _positions(
        self, account: Account, *, every: bool, symbol: str = ""
    ) -> list[dict[str, Any]]:
        rows = []
        for market in self.exchange.markets:
            held = account.positions.get(market.symbol)
            if symbol in ("", market.symbol) and (every or (held is not None and held.qty)):
                leverage = self.exchange.leverage(account, market)
                rows.append(
                    position_body(
                        account.position(market.symbol),
                        market,
                        self.exchange.mark(market),
                        leverage,
                        self.now_ms(),
                    )
                )
        return rows

    def risk(self, account: Account | None, params: Params) -> Any:
        """GET positionRisk; v3 omits flat symbols, v1 and v2 list all."""
        assert account is not None
        symbol = self.market_of(params).symbol if params.get("symbol") else ""
        return self._positions(account, every=True, symbol=symbol)

    def income(self, account: Account | None, params: Params) -> Any:
        """GET income: funding, realized P&L and commissions, oldest first."""
        assert account is not None
        symbol, kind = params.get("symbol"), params.get("incomeType")
        start, end = integer(params, "startTime", 0), integer(params, "endTime", 1 << 60)
        limit = integer(params, "limit", 100)
        rows = [
            {"symbol": row["symbol"], "incomeType": row["type"], "income": row["income"]}
            | {"asset": row["asset"], "info": row["type"], "time": int(row["time"])}
            | {"tranId": 7_000_000_000 + number_, "tradeId": ""}
            for number_, row in enumerate(account.income)
        ]
        for trade in self.exchange.trades:
            if trade.account == account.name:
                base = {"symbol": trade.symbol, "time": trade.time_ms, "info": str(trade.trade_id)}
                base |= {"tranId": trade.trade_id, "tradeId": str(trade.trade_id)}
                fee = {"incomeType": "COMMISSION", "income": plain(-trade.fee, 8)}
                rows.append(base | fee | {"asset": trade.fee_asset})
                if trade.realized:
                    gain = {"incomeType": "REALIZED_PNL", "income": plain(trade.realized, 8)}
                    rows.append(base | gain | {"asset": trade.fee_asset})
        rows.sort(key=lambda row: int(str(row["time"])))
        wanted = [
            row
            for row in rows
            if symbol in (None, "", row["symbol"])
            and kind in (None, "", row["incomeType"])
            and start <= int(str(row["time"])) <= end
        ]
        return wanted[:limit] if start else wanted[-limit:]

    def set_leverage(self, account: Account | None, params: Params) -> Any:
        """POST leverage."""
        assert account is not None
        symbol, leverage = self.market_of(params).symbol, integer(params, "leverage")
        if not 1 <= leverage <= 125:
            raise ApiError(-4028, f"Leverage {leverage} is not valid")
        account.leverage[symbol] = leverage
        return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": "1000000000000"}

    def position_mode(self, _: Account | None, params: Params) -> Any:
        """GET positionSide/dual: always one-way."""
        return {"dualSidePosition": False}

    def set_mode(self, _: Account | None, params: Params) -> Any:
        """POST positionSide/dual: one-way is what there is."""
        if params.get("dualSidePosition", "false").lower() == "true":
            raise ApiError(-4068, "Hedge mode is not simulated by this twin.")
        raise ApiError(-4059, "No need to change position side.")

    def commission(self, account: Account | None, params: Params) -> Any:
        """GET commissionRate."""
        assert account is not None
        return {
            "symbol": self.market_of(params).symbol,
            "makerCommissionRate": plain(account.maker_fee),
            "takerCommissionRate": plain(account.taker_fee),
        }

    def logon(self, _: Account | None, params: Params) -> Any:
        """WS session.logon: refused, as the venue does for HMAC keys."""
        raise ApiError(-4056, "HMAC_SHA256 API key is not supported.", 400)

    # -- private stream ------------------------------------------------------------------------

    def listen_key(self, account: Account | None, params: Params) -> Any:
        """POST listenKey: one per account, made new or given again with a fresh hour."""
        assert account is not None
        for key, owner in self.listen_keys.items():
            if owner is account:
                self._arm(key)
                return {"listenKey": key}
        self._next_key += 1
        key = f"twin{account.index}k{self._next_key}".ljust(64, "x")
        self.listen_keys[key] = account
        self._arm(key)
        return {"listenKey": key}

    def _arm(self, key: str) -> None:
        if key in self.listen_timers:
            self.listen_timers[key].cancel()
        loop = asyncio.get_running_loop()
        self.listen_timers[key] = loop.call_later(LISTEN_KEY_SECONDS, self.expire_key, key)

    def expire_key(self, key: str) -> None:
        """End a listen key: its links hear of it and close."""
        account = self.listen_keys.pop(key, None)
        self.listen_timers.pop(key).cancel()
        event = {"e": "listenKeyExpired", "E": self.now_ms(), "listenKey": key}
        for client in list(self.clients):
            if account is not None and client.account is account:
                client.send(to_json(event), "private")
                client.close()

    def keep_key(self, account: Account | None, params: Params) -> Any:
        """PUT listenKey."""
        for key, owner in self.listen_keys.items():
            if owner is account:
                self._arm(key)
                return {"listenKey": key}
        raise ApiError(-1125, "This listenKey does not exist.")

    def drop_key(self, account: Account | None, params: Params) -> Any:
        """DELETE listenKey."""
        for key, owner in list(self.listen_keys.items()):
            if owner is account:
                self.listen_timers.pop(key).cancel()
                del self.listen_keys[key]
        return {}

    def private_link(self, client: Client, key: str) -> None:
        """Join a link to the account of its listen key; an unknown key hears nothing."""
        client.account = self.listen_keys.get(key)

    def on_report(self, report: Report) -> None:
        """Send ORDER_TRADE_UPDATE and, when money or a position moved, ACCOUNT_UPDATE."""
        links = [client for client in self.clients if client.account is report.account]
        if not links:
            return
        now, frames = self.now_ms(), []
        if report.kind in ("TRADE", "ACCOUNT"):
            market = self.exchange.by_symbol[report.symbol]
            frames.append(to_json(account_update(report, market, self.exchange.mark(market), now)))
        if report.order is not None:
            frames.append(to_json(order_update(report, report.order, now)))
        for client in links:
            for frame in frames:
                client.send(frame, "private")

    def funding_rate(self, symbol: str) -> str:
        return self.funding_rates[symbol]

    def settle_funding(self, symbol: str, rate: str) -> int:
        """Settle funding and remember the rate as the last one."""
        paid = super().settle_funding(symbol, rate)
        self.funding_rates[symbol] = plain(Decimal(rate), 8)
        return paid


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


def usdm_account(fees: tuple[Decimal, Decimal] = (Decimal("0.0002"), Decimal("0.0005"))) -> Account:
    """Return the default USD-M account, (maker, taker) fees."""
    return Account(
        name="main",
        key=TWIN_KEY,
        secret=TWIN_SECRET,
        total={"USDT": Decimal(1_000_000)},
        maker_fee=fees[0],
        taker_fee=fees[1],
    )


def coinm_account(
    fees: tuple[Decimal, Decimal] = (Decimal("0.0002"), Decimal("0.0005")),
) -> Account:
    """Return the default COIN-M account, (maker, taker) fees."""
    return Account(
        name="main",
        key=TWIN_KEY,
        secret=TWIN_SECRET,
        total={"BTC": Decimal(20), "ETH": Decimal(400)},
        maker_fee=fees[0],
        taker_fee=fees[1],
    )


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
