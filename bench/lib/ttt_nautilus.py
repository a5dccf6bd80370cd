"""NautilusTrader's live node at the same exchange: its own Binance adapter, in its own environment.

    .peers/nautilus/bin/python bench/lib/ttt_nautilus.py '{"hot": port, "twin": port, ...}'

Its addresses are overridden as its config offers. Order entry of its futures adapter is HTTP, so
its orders come as requests; market data and the private stream are WebSockets. Logging is off.
"""

import json
import os
import sys
from decimal import Decimal

from nautilus_trader.adapters.binance import (
    BINANCE,
    BinanceAccountType,
    BinanceDataClientConfig,
    BinanceExecClientConfig,
    BinanceInstrumentProviderConfig,
    BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.config import (
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    StrategyConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.strategy import Strategy

ID = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")


class TickerConfig(StrategyConfig, frozen=True):
    """How far above the bid to buy and to sell, in steps; and how much."""

    buys: int
    sells: int
    qty: str


class Ticker(Strategy):
    """Answers every new bid by an order."""

    def on_start(self):
        """Ask for the book."""
        self.seen = 0
        self.instrument = self.cache.instrument(ID)
        self.qty = self.instrument.make_qty(Decimal(self.config.qty))
        self.book = OrderBook(ID, BookType.L2_MBP)
        self.subscribe_order_book_deltas(ID, BookType.L2_MBP)

    def on_order_book_deltas(self, deltas):
        """Keep the book; quote inside the spread when the bid has changed."""
        self.book.apply_deltas(deltas)
        best = self.book.best_bid_price()
        if best is None:
            return
        bid = round(best.as_double() * 10)
        if bid == self.seen:
            return
        self.seen = bid
        sells = bid % 2
        price = (bid + (self.config.sells if sells else self.config.buys)) / 10
        order = self.order_factory.limit(
            ID, OrderSide.SELL if sells else OrderSide.BUY, self.qty,
            self.instrument.make_price(price), time_in_force=TimeInForce.IOC,
        )  # fmt: skip
        self.submit_order(order)


def main():
    """Trade until ended."""
    given = json.loads(sys.argv[1])
    os.sched_setaffinity(0, given["cores"])  # its own threads are several
    shared = {
        "api_key": given["key"], "api_secret": given["secret"],
        "account_type": BinanceAccountType.USDT_FUTURES,
        "base_url_http": f"http://127.0.0.1:{given['hot']}",
        "base_url_ws": f"ws://127.0.0.1:{given['hot']}",
        "instrument_provider": BinanceInstrumentProviderConfig(load_ids=frozenset({ID})),
    }  # fmt: skip
    node = TradingNode(
        config=TradingNodeConfig(
            trader_id=TraderId("BENCH-001"),
            logging=LoggingConfig(log_level=given.get("log", "OFF")),
            data_clients={BINANCE: BinanceDataClientConfig(**shared)},
            exec_clients={
                BINANCE: BinanceExecClientConfig(
                    **shared, base_url_ws_stream=f"ws://127.0.0.1:{given['twin']}/private"
                )
            },
            exec_engine=LiveExecEngineConfig(reconciliation=False),
            risk_engine=LiveRiskEngineConfig(
                max_order_submit_rate="100000/00:00:01", max_order_modify_rate="100000/00:00:01"
            ),
        )
    )
    above = given["above"]
    node.trader.add_strategy(
        Ticker(TickerConfig(buys=above["BUY"], sells=above["SELL"], qty=str(given["qty"])))
    )
    node.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    node.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
    node.build()
    node.run()


if __name__ == "__main__":
    main()
