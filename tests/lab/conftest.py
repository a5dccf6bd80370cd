"""A small market on disk, and sweeps of the common market maker over it."""

import textwrap
from pathlib import Path

import numpy as np
import pytest

from alephtx.core.records import EVENT
from alephtx.store.ticks import write_ticks
from alephtx.testing.synthetic import synthetic

MAKER = Path(__file__).parents[2] / "bench" / "lib" / "common_maker.py"
CONFIG = f"""
[node]
runs = "runs"
[venues.synthetic]
symbols = ["BTCUSDT"]
[accounts.main]
venue = "synthetic"
[risk]
notional_max = 1_000_000_000
position_notional_max = 1_000_000_000
drawdown_max = 1_000_000_000
band_bps = 5_000
orders_per_s = 10_000
stale_ms = 600_000
self_trade = "allow"
open_orders_max = 16
[strategies.maker]
use = "{MAKER}"
instruments = ["synthetic:BTC-USDT-PERP"]
accounts = ["main"]
half = 1.5
skew = 0.5
qty = 50
most = 500
[backtest]
tapes = {{ "synthetic:BTC-USDT-PERP" = "day.ticks" }}
whole_fills = true
[backtest.entry]
kind = "constant"
delay_ns = 5_000_000
"""
SPACE = """
[space.strategies.maker]
half = [0.5, 1.5, 2.5]
skew = { from = 0.0, to = 0.5, step = 0.5 }
"""


@pytest.fixture(scope="session")
def day(tmp_path_factory):
    """About 40 s of market as a replay file."""
    rows, table = synthetic(30_000)
    wide = np.zeros(len(rows), EVENT)
    for name in ("ts_event", "ts_recv", "price", "qty", "kind", "side", "flags"):
        wide[name] = rows[name]
    wide["seq"] = rows["message"]
    path = tmp_path_factory.mktemp("market") / "day.ticks"
    write_ticks(path, table[0], wide)
    return path


@pytest.fixture
def lab(tmp_path, day):
    """Return a maker of sweep files beside a config and its tape."""
    (tmp_path / "day.ticks").symlink_to(day)
    (tmp_path / "maker.toml").write_text(CONFIG)

    def make(top="", space=SPACE, name="one"):
        text = f'config = "maker.toml"\nperiod_s = 1\n{textwrap.dedent(top)}\n{space}'
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return path

    return make
