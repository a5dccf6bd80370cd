"""A replay file of the synthetic market and a config that makes markets in it."""

import numpy as np

from alephtx.core.records import EVENT
from alephtx.core.words import LAST_IN_MESSAGE
from alephtx.store.pack import unpack
from alephtx.store.ticks import write_ticks
from alephtx.testing.synthetic import synthetic

KEY = "synthetic:BTC-USDT-PERP"
CONFIG = """
[node]
name = "bottle"
[venues.synthetic]
symbols = ["BTCUSDT"]
{fees}
[accounts.main]
venue = "synthetic"
[risk]
notional_max = "1000000"
position_notional_max = "1000000"
drawdown_max = "1000000"
orders_per_s = 1000
stale_ms = 60000
[backtest]
{market}
[backtest.entry]
kind = "constant"
delay_ns = 5_000_000
[backtest.response]
kind = "constant"
delay_ns = 5_000_000
[strategies.maker]
use = "market_maker"
instruments = ["synthetic:BTC-USDT-PERP"]
accounts = ["main"]
half_spread_ticks = 2
qty_base = "0.05"
inventory_max_base = "0.5"
"""


def events(count):
    """Return (EVENT rows, the instrument) of the synthetic market."""
    rows, table = synthetic(count)
    out = np.zeros(count, EVENT)
    unpack(rows, count, 0, 1, 1, out)
    last = (rows["flags"][:-1] & LAST_IN_MESSAGE) != 0
    out["seq"] = np.concatenate([[0], np.cumsum(last)])
    return out, table[0]


def tape_file(folder, count=20_000):
    """Write a replay file; returns its path."""
    rows, instrument = events(count)
    write_ticks(folder / "market.ticks", instrument, rows)
    return folder / "market.ticks"


def config_text(market='tapes = { "synthetic:BTC-USDT-PERP" = "market.ticks" }', fees=""):
    return CONFIG.format(market=market, fees=fees)
