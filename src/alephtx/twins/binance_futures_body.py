"""The JSON bodies of the futures twins: orders, trades, positions, instruments, private events.

COIN-M differs by names only: `cumBase` for `cumQuote`, `baseQty` for `quoteQty`, `pair`, contracts.
"""

from decimal import Decimal
from typing import Any

from alephtx.core import words
from alephtx.twins.accounts import Market, Position
from alephtx.twins.binance_params import plain
from alephtx.twins.exchange import Report, Trade, TwinOrder

STATUS = {
    words.NEW: "NEW",
    words.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    words.FILLED: "FILLED",
    words.CANCELED: "CANCELED",
    words.REJECTED: "REJECTED",
    words.EXPIRED: "EXPIRED",
}


def _price(market: Market, ticks: int) -> str:
    return plain(market.price(ticks), market.price_scale)


def _qty(market: Market, lots: int) -> str:
    return plain(market.qty(lots), market.qty_scale)


def _pair(market: Market) -> dict[str, str]:
    return {"pair": f"{market.base}{market.quote}"} if market.contract == words.INVERSE else {}


def status_text(order: TwinOrder) -> str:
    """Return the venue's word for an order's status."""
    if order.status == words.EXPIRED and order.end_reason == "self_trade":
        return "EXPIRED_IN_MATCH"
    return STATUS[order.status]


def average_text(order: TwinOrder) -> str:
    """Return the average fill price with the venue's digits."""
    return plain(order.average, 2 if not order.filled else max(5, order.market.price_scale))


def order_body(order: TwinOrder) -> dict[str, Any]:
    """Return an order as REST and WS API answers show it."""
    market = order.market
    value = "cumBase" if market.contract == words.INVERSE else "cumQuote"
    return {
        "orderId": order.order_id,
        "symbol": market.symbol,
        **_pair(market),
        "status": status_text(order),
        "clientOrderId": order.client_id,
        "price": _price(market, order.price),
        "avgPrice": average_text(order),
        "origQty": _qty(market, order.qty),
        "executedQty": _qty(market, order.filled),
        "cumQty": _qty(market, order.filled),
        value: plain(order.value, 8),
        "timeInForce": order.extra["tif"],
        "type": order.extra["type"],
        "origType": order.extra["type"],
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": "BUY" if order.side > 0 else "SELL",
        "positionSide": "BOTH",
        "stopPrice": _price(market, 0),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.extra["stp"],
        "goodTillDate": 0,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
    }


def trade_body(trade: Trade, market: Market) -> dict[str, Any]:
    """Return one of the account's trades."""
    value = "baseQty" if market.contract == words.INVERSE else "quoteQty"
    return {
        "symbol": trade.symbol,
        **_pair(market),
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "side": "BUY" if trade.side > 0 else "SELL",
        "price": _price(market, trade.price),
        "qty": _qty(market, trade.qty),
        "realizedPnl": plain(trade.realized, 8),
        "marginAsset": market.settle,
        value: plain(trade.value, 8),
        "commission": plain(trade.fee, 8),
        "commissionAsset": trade.fee_asset,
        "time": trade.time_ms,
        "positionSide": "BOTH",
        "maker": trade.maker,
        "buyer": trade.side > 0,
    }


def position_body(
    position: Position, market: Market, mark: int, leverage: int, now_ms: int
) -> dict[str, Any]:
    """Return a position as positionRisk and account show it."""
    profit = position.unrealized(market, mark)
    value = market.value(mark, position.qty) if mark and position.qty else Decimal(0)
    margin = abs(value) / leverage
    return {
        "symbol": market.symbol,
        "positionAmt": _qty(market, position.qty),
        "entryPrice": plain(position.entry_price(market), 8),
        "breakEvenPrice": plain(position.entry_price(market), 8),
        "markPrice": plain(market.price(mark), 8),
        "unRealizedProfit": plain(profit, 8),
        "unrealizedProfit": plain(profit, 8),
        "liquidationPrice": "0",
        "leverage": str(leverage),
        "maxNotionalValue": "1000000000000",
        "marginType": "cross",
        "isolated": False,
        "isolatedMargin": "0.00000000",
        "isolatedWallet": "0",
        "isAutoAddMargin": "false",
        "positionSide": "BOTH",
        "notional": plain(value, 8),
        "notionalValue": plain(value, 8),
        "initialMargin": plain(margin, 8),
        "positionInitialMargin": plain(margin, 8),
        "openOrderInitialMargin": "0",
        "maintMargin": "0",
        "marginAsset": market.settle,
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": now_ms,
    }


def order_update(report: Report, order: TwinOrder, now_ms: int) -> dict[str, Any]:
    """Return ORDER_TRADE_UPDATE."""
    market, trade = order.market, report.trade
    kind = "TRADE" if trade else {"AMENDED": "AMENDMENT"}.get(report.kind, report.kind)
    body: dict[str, Any] = {
        "s": market.symbol,
        "c": order.client_id,
        "S": "BUY" if order.side > 0 else "SELL",
        "o": order.extra["type"],
        "f": order.extra["tif"],
        "q": _qty(market, order.qty),
        "p": _price(market, order.price),
        "ap": average_text(order),
        "sp": "0",
        "x": kind,
        "X": status_text(order),
        "i": order.order_id,
        "l": _qty(market, trade.qty if trade else 0),
        "z": _qty(market, order.filled),
        "L": _price(market, trade.price if trade else 0),
        "N": market.settle,
        "n": plain(trade.fee, 8) if trade else "0",
        "T": report.time_ms,
        "t": trade.trade_id if trade else 0,
        "b": "0",
        "a": "0",
        "m": trade.maker if trade else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.extra["type"],
        "ps": "BOTH",
        "cp": False,
        "rp": plain(trade.realized, 8) if trade else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": order.extra["stp"],
        "pm": "NONE",
        "gtd": 0,
    }
    if market.contract == words.INVERSE:
        body["ma"] = market.settle
    return {"e": "ORDER_TRADE_UPDATE", "E": now_ms, "T": report.time_ms, "o": body}


def account_update(report: Report, market: Market, mark: int, now_ms: int) -> dict[str, Any]:
    """Return ACCOUNT_UPDATE: the settle balance and the position that moved."""
    account, position = report.account, report.account.position(market.symbol)
    change = Decimal(account.income[-1]["income"]) if report.kind == "ACCOUNT" else Decimal(0)
    wallet = plain(account.total.get(market.settle, Decimal(0)), 8)
    funding = report.kind == "ACCOUNT"
    row = {
        "s": market.symbol,
        "pa": _qty(market, position.qty),
        "ep": plain(position.entry_price(market), 8),
        "bep": plain(position.entry_price(market), 8),
        "cr": plain(position.realized, 8),
        "up": plain(position.unrealized(market, mark), 8),
        "mt": "cross",
        "iw": "0",
        "ps": "BOTH",
    }
    balance = {"a": market.settle, "wb": wallet, "cw": wallet, "bc": plain(change, 8)}
    body = {"m": report.reason if funding else "ORDER", "B": [balance]}
    body["P"] = [] if funding else [row]
    return {"e": "ACCOUNT_UPDATE", "E": now_ms, "T": report.time_ms, "a": body}


STREAM_WORDS = {"TRANSFER": "DEPOSIT", "INTERNAL_TRANSFER": "ASSET_TRANSFER"}
"""What the stream calls an income type; the others have one name in both places."""


def wallet_update(report: Report, now_ms: int) -> dict[str, Any]:
    """Return ACCOUNT_UPDATE of money that moved without a position: the wallet and the change."""
    (asset,) = report.assets
    wallet = plain(report.account.total.get(asset, Decimal(0)), 8)
    change = report.account.income[-1]["income"]
    balance = {"a": asset, "wb": wallet, "cw": wallet, "bc": plain(Decimal(change), 8)}
    reason = STREAM_WORDS.get(report.reason, report.reason)
    if reason == "DEPOSIT" and Decimal(change) < 0:
        reason = "WITHDRAW"
    body = {"m": reason, "B": [balance], "P": []}
    return {"e": "ACCOUNT_UPDATE", "E": now_ms, "T": report.time_ms, "a": body}


def exchange_info(markets: list[Market], now_ms: int, limits: tuple[int, int]) -> dict[str, Any]:
    """Return exchangeInfo; limits: (weight, orders) a minute."""
    minute = {"interval": "MINUTE", "intervalNum": 1}
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "limit": limits[0]} | minute,
            {"rateLimitType": "ORDERS", "limit": limits[1]} | minute,
        ],
        "exchangeFilters": [],
        "symbols": [_symbol(market) for market in markets],
    }


def _symbol(market: Market) -> dict[str, Any]:
    inverse = market.contract == words.INVERSE
    lots = {
        "minQty": _qty(market, market.qty_min),
        "maxQty": _qty(market, market.qty_max),
        "stepSize": _qty(market, market.lot),
    }
    filters: list[dict[str, Any]] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": _price(market, market.price_min),
            "maxPrice": _price(market, market.price_max),
            "tickSize": _price(market, market.tick),
        },
        {"filterType": "LOT_SIZE", **lots},
        {"filterType": "MARKET_LOT_SIZE", **lots},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": plain(market.percent_up),
            "multiplierDown": plain(market.percent_down),
            "multiplierDecimal": "4",
        },
    ]
    if not inverse:
        filters.append({"filterType": "MIN_NOTIONAL", "notional": plain(market.notional_min)})
    status = "TRADING" if market.trading else "SETTLING"
    own: dict[str, Any] = (
        {"contractStatus": status, "contractSize": int(market.contract_value)}
        if inverse
        else {"status": status}
    )
    return {
        "symbol": market.symbol,
        "pair": f"{market.base}{market.quote}",
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        **own,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "marginAsset": market.settle,
        "pricePrecision": market.price_scale,
        "quantityPrecision": market.qty_scale,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "triggerProtect": "0.0500",
        "filters": filters,
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
