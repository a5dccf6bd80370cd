"""NautilusTrader at the common market maker, in its own environment: answers `mm` with seconds.

    .peers/nautilus/bin/python bench/lib/peer_nautilus.py ROWS.npy

ROWS.npy: TICK rows of `alephtx.testing.synthetic`. Its objects are built and handed to the engine
before the clock starts. Set as its documentation shows for L2 data: one OrderBookDeltas a message,
TradeTicks, `queue_position` and a latency model of 5 ms; logging and analysis are off.
"""

import gc
import json
import math
import sys
import time
from datetime import timedelta
from decimal import Decimal

import nautilus_trader
import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import OrderBookDelta, OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import (
    AccountType,
    AggressorSide,
    BookAction,
    BookType,
    OmsType,
    OrderSide,
    RecordFlag,
    TimeInForce,
)
from nautilus_trader.model.identifiers import TradeId, Venue
from nautilus_trader.model.objects import FIXED_PRECISION, Money, Price
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
ID = INSTRUMENT.id
TICK, LOT = 10 ** (FIXED_PRECISION - 1), 10 ** (FIXED_PRECISION - 3)
TRADE, LAST_IN_MESSAGE = 2, 1  # alephtx.core.words
QTY, MOST, HALF, SKEW = 0.05, 0.5, 1.5, 0.5


def objects(rows):
    """Turn TICK rows into its data: a list of OrderBookDeltas and TradeTicks."""
    made, message = [], []
    for k, row in enumerate(rows):
        price, qty = int(row["price"]) * TICK, int(row["qty"]) * LOT
        stamp, buys = int(row["ts_event"]), row["side"] > 0
        if row["kind"] == TRADE:
            side = AggressorSide.BUYER if buys else AggressorSide.SELLER
            made.append(
                TradeTick.from_raw(ID, price, 1, qty, 3, side, TradeId(str(k)), stamp, stamp)
            )
            continue
        last = bool(row["flags"] & LAST_IN_MESSAGE)
        message.append(
            OrderBookDelta.from_raw(
                ID, BookAction.UPDATE if qty else BookAction.DELETE,
                OrderSide.BUY if buys else OrderSide.SELL, price, 1, qty, 3, int(row["price"]),
                RecordFlag.F_LAST.value if last else 0, k, stamp, stamp,
            )
        )  # fmt: skip
        if last:
            made.append(OrderBookDeltas(ID, message))
            message = []
    return made


class Maker(Strategy):
    """bench/lib/common_maker.py's rules."""

    def __init__(self):
        super().__init__(StrategyConfig())
        self.fills = self.orders = 0
        self.held = 0.0
        self.working = {OrderSide.BUY: None, OrderSide.SELL: None}

    def on_start(self):
        """Listen, and quote ten times a second."""
        self.subscribe_order_book_deltas(ID, book_type=BookType.L2_MBP)
        self.subscribe_trade_ticks(ID)
        self.clock.set_timer("quote", timedelta(milliseconds=100), callback=self.on_timer)
        self.qty = self.cache.instrument(ID).make_qty(QTY)

    def on_timer(self, event):
        """Quote both sides."""
        book = self.cache.order_book(ID)
        best_bid, best_ask = book.best_bid_price(), book.best_ask_price()
        if best_bid is None or best_ask is None:
            return
        bid, ask = round(float(best_bid) * 10), round(float(best_ask) * 10)
        middle = (bid + ask) / 2 - SKEW * self.held / QTY
        self.quote(OrderSide.BUY, min(math.floor(middle - HALF), bid), self.held)
        self.quote(OrderSide.SELL, max(math.ceil(middle + HALF), ask), -self.held)

    def quote(self, side, tick, held):
        """Keep, cancel, place: one side. held: position as this side counts it."""
        wanted = held + QTY <= MOST + 1e-9
        if self.working[side] is not None:
            order, at = self.working[side]
            wrong = at != tick or not wanted
            if order.is_closed:
                self.working[side] = None
            elif wrong and order.is_open and not order.is_pending_cancel:
                self.cancel_order(order)
                self.working[side] = None
        if self.working[side] is None and wanted:
            price = Price.from_raw(tick * TICK, 1)
            order = self.order_factory.limit(
                ID, side, self.qty, price, time_in_force=TimeInForce.GTC, post_only=True
            )
            self.working[side] = (order, tick)
            self.orders += 1
            self.submit_order(order)

    def on_order_filled(self, event):
        """Count."""
        self.fills += 1
        sign = 1 if event.order_side == OrderSide.BUY else -1
        self.held += sign * float(event.last_qty)


def run(data):
    """Return what a run took and came to."""
    off = LoggingConfig(bypass_logging=True)
    engine = BacktestEngine(BacktestEngineConfig(logging=off, run_analysis=False))
    engine.add_venue(
        venue=Venue("BINANCE"), oms_type=OmsType.NETTING, account_type=AccountType.MARGIN,
        base_currency=None, starting_balances=[Money(10_000_000, USDT)],
        default_leverage=Decimal(10), book_type=BookType.L2_MBP,
        latency_model=LatencyModel(base_latency_nanos=5_000_000), queue_position=True,
        trade_execution=True,
    )  # fmt: skip
    engine.add_instrument(INSTRUMENT)
    engine.add_data(data, sort=True)
    strategy = Maker()
    engine.add_strategy(strategy)
    begun = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - begun
    told = [strategy.orders, strategy.fills]
    engine.dispose()
    return seconds, told


def main():
    """Serve; see the module."""
    rows = np.load(sys.argv[1])
    gc.disable()
    data = objects(rows)
    gc.enable()
    gc.freeze()
    ready = {"ready": f"nautilus_trader {nautilus_trader.__version__}", "rows": len(rows)}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        seconds, told = run(data)
        sys.stdout.write(json.dumps({"seconds": seconds, "told": told}) + "\n")
        sys.stdout.flush()


main()
