"""The public REST side of the Spot twin: exchangeInfo, depth, trades, tickers."""

from decimal import Decimal
from typing import Any

from alephtx.core import words
from alephtx.twins.accounts import Account, Market
from alephtx.twins.binance_api import BinanceTwin
from alephtx.twins.binance_params import ApiError, Params, integer, plain
from alephtx.twins.binance_spot_body import symbol_body


class SpotMarketData(BinanceTwin):
    """Answers without keys."""

    # -- market data ---------------------------------------------------------------------------

    def time(self, _: Account | None, params: Params) -> Any:
        """GET time."""
        return {"serverTime": self.now_ms()}

    def info(self, _: Account | None, params: Params) -> Any:
        """GET exchangeInfo, of all symbols or the one asked for."""
        only = params.get("symbol")
        markets = [self.exchange.market(only)] if only else self.exchange.markets
        weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
        orders = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10}
        return {
            "timezone": "UTC",
            "serverTime": self.now_ms(),
            "rateLimits": [
                weight | {"limit": self.weights[0].most},
                orders | {"limit": self.order_limits[0].most},
            ],
            "exchangeFilters": [],
            "symbols": [symbol_body(market) for market in markets],
        }

    def depth(self, _: Account | None, params: Params) -> Any:
        """GET depth: what the depth stream has said so far."""
        market = self.market_of(params)
        limit = integer(params, "limit", 100)
        if not 1 <= limit <= 5000:
            raise ApiError(-1100, "Illegal characters found in parameter 'limit'")
        book = self.market_feed.books[market.symbol]
        bids, asks = book.best(limit)
        return {"lastUpdateId": book.last_id, "bids": bids, "asks": asks}

    def recent(self, _: Account | None, params: Params) -> Any:
        """GET trades."""
        kept = self.market_feed.trades[self.market_of(params).symbol]
        limit = integer(params, "limit", 500)
        return [
            {"id": t["id"], "price": t["price"], "qty": t["qty"], "time": t["time"]}
            | {"quoteQty": plain(Decimal(t["price"]) * Decimal(t["qty"]), 8)}
            | {"isBuyerMaker": t["m"], "isBestMatch": True}
            for t in kept[-max(1, limit) :]
        ]

    def _each(self, params: Params, make: Any) -> Any:
        if params.get("symbol"):
            return make(self.market_of(params))
        return [make(market) for market in self.exchange.markets]

    def book_ticker(self, _: Account | None, params: Params) -> Any:
        """GET ticker/bookTicker."""

        def make(market: Market) -> dict[str, str]:
            best = {"symbol": market.symbol}
            for side, price_key, qty_key in (
                (words.BUY, "bidPrice", "bidQty"),
                (words.SELL, "askPrice", "askQty"),
            ):
                levels = self.exchange.depth(market, side, 1)
                price, qty = levels[0] if levels else (0, 0)
                best |= {price_key: plain(market.price(price), 8)}
                best |= {qty_key: plain(market.qty(qty), 8)}
            return best

        return self._each(params, make)

    def ticker_price(self, _: Account | None, params: Params) -> Any:
        """GET ticker/price."""
        return self._each(
            params,
            lambda market: {
                "symbol": market.symbol,
                "price": plain(
                    market.price(
                        self.exchange.last_price[market.index] or self.exchange.mark(market)
                    ),
                    8,
                ),
            },
        )

    def ticker_day(self, _: Account | None, params: Params) -> Any:
        """GET ticker/24hr, over what was replayed."""

        def make(market: Market) -> dict[str, Any]:
            day = self.market_feed.day(market, "ticker")
            return {
                "symbol": market.symbol,
                "priceChange": day["p"],
                "priceChangePercent": day["P"],
                "lastPrice": day["c"],
                "openPrice": day["o"],
                "highPrice": day["h"],
                "lowPrice": day["l"],
                "bidPrice": day["b"],
                "askPrice": day["a"],
                "bidQty": day.get("B", "0"),
                "askQty": day.get("A", "0"),
                "volume": day["v"],
                "quoteVolume": day["q"],
                "openTime": day["O"],
                "closeTime": day["C"],
                "count": day["n"],
            }

        return self._each(params, make)
