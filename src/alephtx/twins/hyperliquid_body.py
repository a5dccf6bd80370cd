"""The JSON shapes of Hyperliquid: orders, fills, states, metadata.

Amounts of money keep the twin's eight decimals (the venue prints six), so that a client's ledger
can agree with the twin's to the last unit.
"""

import hashlib
from decimal import Decimal
from typing import Any

from alephtx.twins.accounts import Account, Market, Position, money
from alephtx.twins.exchange import Exchange, Trade, TwinOrder
from alephtx.twins.hyperliquid_exchange import MAX_LEVERAGE, plain

FUNDING_RATE = "0.0000125"
NO_HASH = "0x" + "0" * 64


def side_letter(side: int) -> str:
    """Return B for a buy, A for a sell."""
    return "B" if side > 0 else "A"


def transaction_hash(*parts: object) -> str:
    """Return a hash that looks like a transaction's and names these parts."""
    return "0x" + hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


def market_body(market: Market) -> dict[str, Any]:
    """Return a market's entry in the universe."""
    return {"szDecimals": market.qty_scale, "name": market.symbol, "maxLeverage": MAX_LEVERAGE}


def basic_order(order: TwinOrder, left: int) -> dict[str, Any]:
    """Return an order as openOrders and orderUpdates show it."""
    market = order.market
    body: dict[str, Any] = {
        "coin": market.symbol,
        "side": side_letter(order.side),
        "limitPx": plain(market.price(order.price)),
        "sz": plain(market.qty(left)),
        "oid": order.order_id,
        "timestamp": order.created_ms,
        "origSz": plain(market.qty(order.qty)),
    }
    if order.client_id:
        body["cloid"] = order.client_id
    if order.reduce_only:
        body["reduceOnly"] = True
    return body


def full_order(order: TwinOrder, left: int) -> dict[str, Any]:
    """Return an order as frontendOpenOrders, orderStatus and historicalOrders show it."""
    return basic_order(order, left) | {
        "triggerCondition": "N/A",
        "isTrigger": False,
        "triggerPx": "0.0",
        "children": [],
        "isPositionTpsl": False,
        "reduceOnly": order.reduce_only,
        "orderType": "Limit",
        "tif": order.extra.get("tif", "Gtc"),
        "cloid": order.client_id or None,
    }


def with_status(order: TwinOrder, shape: dict[str, Any]) -> dict[str, Any]:
    """Wrap an order with its status and that status's time."""
    extra = order.extra
    return {
        "order": shape,
        "status": extra.get("status", "open"),
        "statusTimestamp": extra.get("status_ms", order.updated_ms),
    }


def status_body(order: TwinOrder) -> dict[str, Any]:
    """Return an order as of its last change of status: partial fills since then do not show."""
    return with_status(order, full_order(order, order.extra.get("status_left", order.left)))


def update_body(order: TwinOrder) -> dict[str, Any]:
    """Return one element of orderUpdates."""
    return with_status(order, basic_order(order, order.extra.get("status_left", order.left)))


def placed_body(order: TwinOrder) -> dict[str, Any]:
    """Return the answer to an order that was taken."""
    cloid = {"cloid": order.client_id} if order.client_id else {}
    if order.open:
        return {"resting": {"oid": order.order_id} | cloid}
    average = order.average.quantize(Decimal(1).scaleb(-order.market.price_scale - 4))
    filled = {"totalSz": plain(order.market.qty(order.filled)), "avgPx": plain(average)}
    return {"filled": filled | {"oid": order.order_id} | cloid}


def direction(trade: Trade) -> str:
    """Return what a fill did to the position, in the venue's words."""
    before, after = trade.position_before, trade.position_before + trade.side * trade.qty
    if before > 0 > after:
        return "Long > Short"
    if before < 0 < after:
        return "Short > Long"
    if before * trade.side < 0:
        return "Close Long" if before > 0 else "Close Short"
    return "Open Long" if trade.side > 0 else "Open Short"


def fill_body(market: Market, trade: Trade) -> dict[str, Any]:
    """Return one of an account's fills."""
    body: dict[str, Any] = {
        "coin": trade.symbol,
        "px": plain(market.price(trade.price)),
        "sz": plain(market.qty(trade.qty)),
        "side": side_letter(trade.side),
        "time": trade.time_ms,
        "startPosition": plain(market.qty(trade.position_before)),
        "dir": direction(trade),
        "closedPnl": plain(trade.realized),
        "hash": transaction_hash(trade.order_id, trade.match),
        "oid": trade.order_id,
        "crossed": not trade.maker,
        "fee": plain(trade.fee),
        "tid": trade.trade_id,
        "feeToken": trade.fee_asset,
        "twapId": None,
    }
    if trade.client_id:
        body["cloid"] = trade.client_id
    return body


def funding_body(row: dict[str, str]) -> dict[str, Any]:
    """Return a funding payment as streams show it."""
    return {
        "time": int(row["time"]),
        "coin": row["symbol"],
        "usdc": plain(Decimal(row["income"])),
        "szi": plain(Decimal(row["qty"])),
        "fundingRate": plain(Decimal(row["rate"])),
    }


def user_funding_body(row: dict[str, str]) -> dict[str, Any]:
    """Return a funding payment as userFunding shows it."""
    delta = funding_body(row)
    time = delta.pop("time")
    return {
        "time": time,
        "hash": NO_HASH,
        "delta": {"type": "funding"} | delta | {"nSamples": None},
    }


def asset_context(exchange: Exchange, market: Market) -> dict[str, Any]:
    """Return mark, oracle, funding and the like; what the replay does not know is zero."""
    bid, ask = exchange.touch(market)
    mark = plain(market.price(exchange.mark(market)))
    return {
        "funding": FUNDING_RATE,
        "openInterest": "0.0",
        "prevDayPx": mark,
        "dayNtlVlm": "0.0",
        "premium": "0.0",
        "oraclePx": mark,
        "markPx": mark,
        "midPx": mark if bid and ask else None,
        "impactPxs": [plain(market.price(bid)), plain(market.price(ask))] if bid and ask else None,
        "dayBaseVlm": "0.0",
    }


def _position_body(
    exchange: Exchange, account: Account, market: Market, held: Position
) -> dict[str, Any]:
    mark = exchange.mark(market)
    value = market.value(mark, abs(held.qty)) if mark else Decimal(0)
    leverage = exchange.leverage(account, market)
    used, open_pnl = money(value / leverage), money(held.unrealized(market, mark))
    paid = plain(-held.funding)
    return {
        "type": "oneWay",
        "position": {
            "coin": market.symbol,
            "szi": plain(market.qty(held.qty)),
            "leverage": {"type": "cross", "value": leverage},
            "entryPx": plain(held.entry_price(market).quantize(Decimal("0.00000001"))),
            "positionValue": plain(money(value)),
            "unrealizedPnl": plain(open_pnl),
            "returnOnEquity": plain(money(open_pnl / used)) if used else "0.0",
            "liquidationPx": None,
            "marginUsed": plain(used),
            "maxLeverage": MAX_LEVERAGE,
            "cumFunding": {"allTime": paid, "sinceOpen": paid, "sinceChange": paid},
        },
    }


def clearinghouse_body(exchange: Exchange, account: Account | None, now_ms: int) -> dict[str, Any]:
    """Return a user's perpetuals account; that of a stranger is empty."""
    equity = margin = notional = signed = maintenance = free = Decimal(0)
    positions = []
    if account is not None:
        equity = account.total.get("USDC", Decimal(0)) + exchange.unrealized(account, "USDC")
        margin = exchange.margin(account, "USDC")[0]
        free = max(Decimal(0), exchange.available(account, "USDC"))
        for symbol, held in account.positions.items():
            if held.qty:
                market = exchange.by_symbol[symbol]
                value = market.value(exchange.mark(market), abs(held.qty))
                notional += value
                signed += value if held.qty > 0 else -value
                maintenance += value / (2 * MAX_LEVERAGE)
                positions.append(_position_body(exchange, account, market, held))
    summary = {
        "accountValue": plain(money(equity)),
        "totalNtlPos": plain(money(notional)),
        "totalRawUsd": plain(money(equity - signed)),
        "totalMarginUsed": plain(money(margin)),
    }
    return {
        "marginSummary": summary,
        "crossMarginSummary": summary,
        "crossMaintenanceMarginUsed": plain(money(maintenance)),
        "withdrawable": plain(money(free)),
        "assetPositions": positions,
        "time": now_ms,
    }


def fees_body(account: Account | None) -> dict[str, Any]:
    """Return userFees."""
    cross = plain(account.taker_fee if account else Decimal("0.00045"))
    add = plain(account.maker_fee if account else Decimal("0.00015"))
    return {
        "dailyUserVlm": [],
        "feeSchedule": {
            "cross": cross,
            "add": add,
            "spotCross": "0.0007",
            "spotAdd": "0.0004",
            "tiers": {"vip": [], "mm": []},
            "referralDiscount": "0.04",
            "stakingDiscountTiers": [],
        },
        "userCrossRate": cross,
        "userAddRate": add,
        "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004",
        "activeReferralDiscount": "0.0",
        "trial": None,
        "feeTrialReward": "0.0",
        "nextTrialAvailableTimestamp": None,
    }
