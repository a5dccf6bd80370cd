"""A book in one file and its trades in another: one stream in check, export, replay, backtest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alephtx.core import words
from alephtx.store.catalogue import Catalogue, read_part
from alephtx.store.ticks import open_ticks
from tests.store.market import SHARED

STORE = Path(__file__).parent / "golden" / "store"
BOOK, TRADES = (STORE / f"lob_btc_fut_20260216_{name}.parquet" for name in ("book", "trades"))
KEY = "binance_usdm:BTCUSDT"
CONFIG = """
[venues.binance_usdm]
symbols = ["BTCUSDT"]
maker_fee_bps = "0"
taker_fee_bps = "2"
[accounts.main]
venue = "binance_usdm"
[risk]
notional_max = "1000000"
position_notional_max = "1000000"
drawdown_max = "1000000"
orders_per_s = 1000
stale_ms = 60000
[backtest]
data = "data"
queue = "power"
[strategies.maker]
use = "market_maker"
instruments = ["binance_usdm:BTCUSDT"]
accounts = ["main"]
half_spread_ticks = 1
qty_base = "0.01"
inventory_max_base = "0.1"
"""


def alephtx(folder, *said):
    """Run the program and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "alephtx.cli", *map(str, said)],
        cwd=folder, capture_output=True, text=True, timeout=600, env=dict(os.environ), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def told(folder, *said):
    return json.loads(alephtx(folder, "data", *said, "--json"))


def fills_of(said):
    return int(said.split(" fills,")[0].rpartition(" ")[2])


def test_a_queue_is_simulated_on_a_book_and_trades_of_two_files(tmp_path):
    parts = told(tmp_path, "import", BOOK, TRADES)
    assert [(one["rows"], one["damaged"]) for one in parts] == [(1_570, 0), (516, 0)]
    found = told(tmp_path, "check", "data")
    kinds = found["streams"][0]["report"]["kinds"]
    assert (found["damaged"], found["gaps"], found["crossed"], found["back"]) == (0, 0, 0, 0)
    doubled = found["streams"][0]["report"]["doubled"]
    assert found["rows"] == 1_570 + 516 + doubled
    assert kinds["trade"] == 516 + doubled  # trades were heard sooner than the book beside them
    told(tmp_path, "export", KEY, "--to", "both.ticks")
    ticks = open_ticks(tmp_path / "both.ticks")
    ticks.verify()
    assert told(tmp_path, "check", "both.ticks")["rows"] == found["rows"] == len(ticks)
    (tmp_path / "c.toml").write_text(CONFIG)
    together = fills_of(alephtx(tmp_path, "backtest", "c.toml"))
    for path in Catalogue(tmp_path / "data").files():
        if read_part(path)[1].file == TRADES.name:
            path.unlink()
    assert together > fills_of(alephtx(tmp_path, "backtest", "c.toml"))  # nobody prints in a book


@pytest.mark.parametrize("exchange", ["polymarket", "tardis"])
def test_a_backtest_runs_on_a_key_that_another_names(tmp_path, exchange):
    """A slug in lower case, and a venue whose name in the file has a hyphen."""
    source, key = STORE / "polymarket_quotes_20260712.parquet", "polymarket:usgcc-aliens-12-31-2026"
    if exchange == "tardis":
        source, key = tmp_path / "quotes.csv", KEY
        source.write_text(
            "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
            + "".join(
                f"binance-futures,BTCUSDT,{1706659200000000 + n},{1706659200000001 + n},1,"
                f"100.{5 + n % 3},100.1,2\n" for n in range(0, 90_000_000, 1_000_000)
            )
        )  # fmt: skip
    told(tmp_path, "import", source)
    venue, _, symbol = key.partition(":")
    text = CONFIG.replace(KEY, key).replace("binance_usdm", venue).replace("BTCUSDT", symbol)
    text = text.replace('qty_base = "0.01"', 'qty_base = "1"').replace('"0.1"', '"10"')
    (tmp_path / "c.toml").write_text(text.replace(f'"{venue}:{venue}', f'"{venue}'))
    assert "digest" in alephtx(tmp_path, "backtest", "c.toml")


def test_both_orders_hold_every_row_of_both_files(tmp_path):
    told(tmp_path, "import", BOOK, TRADES)
    rows = np.concatenate(list(Catalogue(tmp_path / "data").scan(KEY)))
    for other, clock in ((words.TICK_EXCHANGE, "ts_recv"), (words.TICK_LOCAL, "ts_event")):
        order = rows[(rows["flags"] & other) == 0]
        assert len(order) == 1_570 + 516
        assert (np.diff(order[clock]) >= 0).all()
        assert np.count_nonzero(order["flags"] & words.LAST_IN_MESSAGE) == 151 + 516


@pytest.mark.skipif(SHARED is None, reason="the real files are not here")
@pytest.mark.parametrize(
    ("files", "key"),
    [
        ("lob_binance_20260216/*_spot_*", "binance_spot:BTCUSDT"),
        ("ticks_us_equity/ibm_*", "us_equity:IBM"),
    ],
)
def test_whole_files_of_two_kinds_are_one_stream(tmp_path, files, key):
    """Every row of each of them, in the order of either clock."""
    paths = sorted(SHARED.glob(files))
    assert len(paths) == 2
    rows = 0
    for n, path in enumerate(paths):
        told(tmp_path, "import", path, "--data", f"alone{n}")
        alone = np.concatenate(list(Catalogue(tmp_path / f"alone{n}").scan(key)))
        rows += np.count_nonzero((alone["flags"] & words.TICK_EXCHANGE) == 0)
    told(tmp_path, "import", *paths)
    found = told(tmp_path, "check", "data")
    assert (found["damaged"], found["back"]) == (0, 0)
    report = found["streams"][0]["report"]
    assert report["rows"] - report["doubled"] == rows
