"""The JSON bodies of the Spot twin: orders, balances, instruments, private events."""

from decimal import Decimal
from typing import Any

from alephtx.core import words
from alephtx.twins.accounts import Account, Market
from alephtx.twins.binance_params import plain
from alephtx.twins.exchange import Report, TwinOrder

STATUS = {
    words.NEW: "NEW",
    words.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    words.FILLED: "FILLED",
    words.CANCELED: "CANCELED",
    words.REJECTED: "REJECTED",
    words.EXPIRED: "EXPIRED",
}


def ack_body(order: TwinOrder) -> dict[str, Any]:
    """Return the ACK part of an answer to an order."""
    return {
        "symbol": order.market.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": order.updated_ms,
    }


def status_text(order: TwinOrder) -> str:
    """Return the venue's word for an order's status."""
    if order.status == words.EXPIRED and order.end_reason == "self_trade":
        return "EXPIRED_IN_MATCH"
    return STATUS[order.status]


def state_body(order: TwinOrder) -> dict[str, Any]:
    """Return the part that tells an order's state."""
    market = order.market
    return {
        "price": plain(market.price(order.price), 8),
        "origQty": plain(market.qty(order.qty), 8),
        "executedQty": plain(market.qty(order.filled), 8),
        "origQuoteOrderQty": plain(order.quote_qty, 8),
        "cummulativeQuoteQty": plain(order.value, 8),
        "status": status_text(order),
        "timeInForce": order.extra["tif"],
        "type": order.extra["type"],
        "side": "BUY" if order.side > 0 else "SELL",
        "selfTradePreventionMode": order.extra["stp"],
    }


def balance_body(account: Account, asset: str) -> dict[str, str]:
    """Return one asset as account shows it."""
    locked = account.locked.get(asset, Decimal(0))
    return {"asset": asset, "free": plain(account.free(asset), 8), "locked": plain(locked, 8)}


def wallet_body(account: Account, asset: str) -> dict[str, str]:
    """Return one asset as outboundAccountPosition shows it."""
    locked = account.locked.get(asset, Decimal(0))
    return {"a": asset, "f": plain(account.free(asset), 8), "l": plain(locked, 8)}


def execution_report(report: Report, now_ms: int) -> dict[str, Any]:
    """Return executionReport."""
    order, trade = report.order, report.trade
    assert order is not None
    market = order.market
    kind = {"AMENDED": "REPLACED"}.get(report.kind, report.kind)
    if report.reason == "self_trade":
        kind = "TRADE_PREVENTION"
    cancel_id = order.extra.get("cancel_id") if report.kind == "CANCELED" else None
    zero = "0.00000000"
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": market.symbol,
        "c": cancel_id or order.client_id,
        "S": "BUY" if order.side > 0 else "SELL",
        "o": order.extra["type"],
        "f": order.extra["tif"],
        "q": plain(market.qty(order.qty), 8),
        "p": plain(market.price(order.price), 8),
        "P": zero,
        "F": zero,
        "g": -1,
        "C": order.client_id if cancel_id else "",
        "x": kind,
        "X": status_text(order),
        "r": "NONE",
        "i": order.order_id,
        "l": plain(market.qty(trade.qty), 8) if trade else zero,
        "z": plain(market.qty(order.filled), 8),
        "L": plain(market.price(trade.price), 8) if trade else zero,
        "n": plain(trade.fee, 8) if trade else "0",
        "N": trade.fee_asset if trade else None,
        "T": report.time_ms,
        "t": trade.trade_id if trade else -1,
        "I": order.order_id * 3,
        "w": order.open,
        "m": trade.maker if trade else False,
        "M": False,
        "O": order.created_ms,
        "Z": plain(order.value, 8),
        "Y": plain(trade.value, 8) if trade else zero,
        "Q": plain(order.quote_qty, 8),
        "W": order.created_ms,
        "V": order.extra["stp"],
    }


def symbol_body(market: Market) -> dict[str, Any]:
    """Return one symbol of exchangeInfo."""
    tick, lot = market.price(market.tick), market.qty(market.lot)
    return {
        "symbol": market.symbol,
        "status": "TRADING" if market.trading else "BREAK",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": plain(market.price(market.price_min), 8),
                "maxPrice": plain(market.price(market.price_max), 8),
                "tickSize": plain(tick, 8),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": plain(market.qty(market.qty_min), 8),
                "maxQty": plain(market.qty(market.qty_max), 8),
                "stepSize": plain(lot, 8),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": plain(market.qty(market.qty_max), 8),
                "stepSize": "0.00000000",
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": plain(market.notional_min, 8),
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": plain(market.percent_up),
                "bidMultiplierDown": plain(market.percent_down),
                "askMultiplierUp": plain(market.percent_up),
                "askMultiplierDown": plain(market.percent_down),
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }
