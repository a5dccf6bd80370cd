"""The account side of the futures twins: balances, positions, income, leverage, listen keys."""

import asyncio
from decimal import Decimal
from typing import Any

from alephtx.twins.accounts import Account, Position
from alephtx.twins.binance_api import BinanceTwin
from alephtx.twins.binance_futures_body import (
    account_update,
    order_update,
    position_body,
    wallet_update,
)
from alephtx.twins.binance_params import ApiError, Params, integer, plain
from alephtx.twins.exchange import Report
from alephtx.twins.server import Client, to_json

LISTEN_KEY_SECONDS = 3600


class FuturesAccount(BinanceTwin):
    """What both futures venues say about an account, by request and by private stream."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.listen_keys: dict[str, Account] = {}
        self.listen_timers: dict[str, asyncio.TimerHandle] = {}
        self._next_key = 0
        super().__init__(*arguments, **options)
        self.funding_rates = {market.symbol: "0.00010000" for market in self.exchange.markets}

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
            for name in (
                "initialMargin",
                "maintMargin",
                "walletBalance",
                "unrealizedProfit",
                "marginBalance",
                "positionInitialMargin",
                "openOrderInitialMargin",
                "crossWalletBalance",
                "crossUnPnl",
            )
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
                        held or Position(),
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

    def symbol_config(self, account: Account | None, params: Params) -> Any:
        """GET symbolConfig: leverage and margin type by symbol."""
        assert account is not None
        only = self.market_of(params).symbol if params.get("symbol") else ""
        return [
            {"symbol": market.symbol, "marginType": "CROSSED", "isAutoAddMargin": False}
            | {"leverage": self.exchange.leverage(account, market)}
            | {"maxNotionalValue": "1000000000000"}
            for market in self.exchange.markets
            if only in ("", market.symbol)
        ]

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

    def known_listen_key(self, key: str) -> bool:
        """Say whether a link opened under this name is a private one."""
        return key in self.listen_keys

    def private_link(self, client: Client, key: str) -> None:
        """Join a link to the account of its listen key; an unknown key hears nothing."""
        client.account = self.listen_keys.get(key)

    def on_report(self, report: Report) -> None:
        """Send ORDER_TRADE_UPDATE and, when money or a position moved, ACCOUNT_UPDATE."""
        links = [client for client in self.clients if client.account is report.account]
        if not links:
            return
        now, frames = self.now_ms(), []
        if report.kind == "ACCOUNT" and not report.symbol:
            frames.append(to_json(wallet_update(report, now)))
        elif report.kind in ("TRADE", "ACCOUNT"):
            market = self.exchange.by_symbol[report.symbol]
            frames.append(to_json(account_update(report, market, self.exchange.mark(market), now)))
        if report.order is not None:
            frames.append(to_json(order_update(report, report.order, now)))
        for client in links:
            for frame in frames:
                client.send(frame, "private")

    def funding_rate(self, symbol: str) -> str:
        """Return the last funding rate of a symbol."""
        return self.funding_rates[symbol]

    def settle_funding(self, symbol: str, rate: str) -> int:
        """Settle funding and remember the rate as the last one."""
        paid = super().settle_funding(symbol, rate)
        self.funding_rates[symbol] = plain(Decimal(rate), 8)
        return paid
