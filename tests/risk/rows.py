"""A small world for the gate: spot, linear and inverse of one underlying, and one other."""

from decimal import Decimal

import numpy as np

from alephtx.core import words as w
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import INTENT, ORDER, POSITION, SIGNAL_ROW, TOP_ROW
from alephtx.core.view import View
from alephtx.execution.orders import make_order_table
from alephtx.risk.gate import gate_check
from alephtx.risk.limits import GateState, make_gate

NOW = 1_700_000_000_000_000_000
SPOT, PERP, COIN, ETH = 0, 1, 2, 3


class Risk:
    """What [risk] says, with room for a test to say something else."""

    qty_max = None
    notional_max = Decimal(100_000)
    position_notional_max = Decimal(200_000)
    band_bps = 100
    orders_per_s = 10
    stale_ms = 1000
    open_orders_max = 4
    drawdown_max = Decimal(500)
    rates: dict = {}  # noqa: RUF012

    def __init__(self, **changed):
        for name, value in changed.items():
            setattr(self, name, value)


def instruments():
    """BTC at 50,000: spot and linear with 0.00001 / 0.001 lots, inverse of 100 USD."""
    d = Decimal
    common = {"price_max": d(1_000_000), "underlying": "BTC"}
    return Instruments([
        Instrument(
            key="a:BTC-USDT", venue="a", symbol="BTCUSDT", base="BTC", quote="USDT", settle="USDT",
            contract=w.SPOT, price_scale=2, qty_scale=5, tick_size=d("0.01"), lot_size=d("0.00001"),
            qty_min=d("0.00001"), qty_max=d(9000), notional_min=d(5), **common,
        ),
        Instrument(
            key="b:BTC-USDT-PERP", venue="b", symbol="BTCUSDT", base="BTC", quote="USDT",
            settle="USDT", contract=w.LINEAR, price_scale=1, qty_scale=3, tick_size=d("0.1"),
            lot_size=d("0.001"), qty_min=d("0.001"), qty_max=d(1000), notional_min=d(100), **common,
        ),
        Instrument(
            key="c:BTC-USD-PERP", venue="c", symbol="BTCUSD_PERP", base="BTC", quote="USD",
            settle="BTC", contract=w.INVERSE, price_scale=1, qty_scale=0, tick_size=d("0.1"),
            lot_size=d(1), qty_min=d(1), qty_max=d(1_000_000), contract_value=d(100), **common,
        ),
        Instrument(
            key="b:ETH-USDT-PERP", venue="b", symbol="ETHUSDT", base="ETH", quote="USDT",
            settle="USDT", contract=w.LINEAR, price_scale=2, qty_scale=3, tick_size=d("0.05"),
            lot_size=d("0.002"), qty_min=d("0.004"),
        ),
    ])  # fmt: skip


TOUCH = {  # bid, ask in ticks
    SPOT: (5_000_000, 5_000_010),
    PERP: (500_000, 500_001),
    COIN: (500_000, 500_001),
    ETH: (300_000, 300_010),
}


class World:
    """View, gate and open exposure, with names for what tests change."""

    def __init__(self, risk=None, strategies=2, accounts=2):
        self.instruments = instruments()
        n = len(self.instruments)
        self.gate: GateState = make_gate(
            risk or Risk(), self.instruments, accounts, strategies,
            account_names=[f"a{k}" for k in range(accounts)],
            strategy_names=[f"s{k}" for k in range(strategies)],
        )  # fmt: skip
        self.table = make_order_table(strategies, 8, 8, instruments=n, accounts=accounts, trades=8)
        self.account_positions = np.zeros((accounts, n), POSITION)
        self.view = View(
            now=np.array([NOW, 1, 0, 10**12], np.int64),
            top=np.zeros(n, TOP_ROW),
            levels=np.zeros((n, 2, 1, 2), np.int64),
            signals=np.zeros(1, SIGNAL_ROW),
            positions=np.zeros(n, POSITION),
            orders=np.zeros(8, ORDER),
            open_count=np.zeros(1, np.int64),
            instruments=self.instruments.rows(),
        )
        for i, (bid, ask) in TOUCH.items():
            row = self.view.top[i]
            row["bid"], row["ask"], row["bid_qty"], row["ask_qty"] = bid, ask, 1000, 1000
            row["ts_recv"] = NOW - 1_000_000

    def check(self, *intents, halted=0):
        """Run the gate over intents; returns [(verdict, rule), ...]."""
        batch = np.concatenate(intents)
        passed = gate_check(
            batch, len(batch), self.view, self.gate, self.table, self.account_positions, halted
        )
        got = [(int(row["verdict"]), int(row["rule"])) for row in batch]
        assert passed == sum(verdict == w.PASS for verdict, _ in got)
        return got


def place(instrument=PERP, side=w.BUY, qty=10, price=None, **fields):
    row = np.zeros(1, INTENT)
    touch = TOUCH[instrument][1 if side > 0 else 0]
    row["op"], row["type"], row["tif"], row["side"] = w.PLACE, w.LIMIT, w.GTC, side
    row["instrument"], row["qty"] = instrument, qty
    row["price"] = touch if price is None else price
    for name, value in fields.items():
        row[name] = value
    return row


def cancel(order_id, **fields):
    row = np.zeros(1, INTENT)
    row["op"], row["target_order_id"] = w.CANCEL, order_id
    for name, value in fields.items():
        row[name] = value
    return row
