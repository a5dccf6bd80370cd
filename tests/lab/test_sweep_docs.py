"""The file that docs/sweeps.md shows, as it stands, over a catalogue of a real recording."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alephtx.cli.lab import _pace
from alephtx.core.kernel import JIT
from alephtx.store.catalogue import Catalogue
from alephtx.store.ticks import open_ticks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "sweeps.md"
RECORDING = ROOT / "examples" / "data" / "usdm_btcusdt_20240808.ticks"
CONFIG = """
[venues.binance_usdm]
symbols = ["BTCUSDT"]
environment = "twin"
[accounts.main]
venue = "binance_usdm"
key = "twin"
secret = "twin"
[risk]
band_bps = 100
stale_ms = 5000
orders_per_s = 1000
[backtest]
data = "data"
[backtest.feed]
kind = "recorded"
delay_ns = 1_275_000_000
[strategies.maker]
use = "market_maker"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["main"]
half_spread_ticks = 2
skew_bps = 0.5
requote_bps = 0.5
rest_ms = 100
max_age_ms = 1500
qty_base = "0.01"
inventory_max_base = "0.1"
"""

slow = pytest.mark.skipif(not JIT, reason="long uncompiled")


def shown():
    """Return the sweep file of the page, without [walk]: the recording has 90 seconds."""
    (text,) = (
        found for found in re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if found.startswith("config = ")
    )  # fmt: skip
    whole = text.partition("[walk]")[0]
    return whole.replace("trials = 100", "trials = 6").replace("lanes = 16", "lanes = 2")


@pytest.fixture
def market(tmp_path):
    """Return a folder with a catalogue of the recording and a config that replays it."""
    ticks = open_ticks(RECORDING)
    writer = Catalogue(tmp_path / "data").writer(ticks.instrument, "a" * 16, "a.gz")
    for rows in ticks.events():
        writer.append(rows)
    writer.finish()
    (tmp_path / "maker.toml").write_text(CONFIG)
    return tmp_path


def swept(folder, text, *more):
    """Sweep on a terminal; returns the exit code, what was printed and what the terminal showed."""
    (folder / "sweep.toml").write_text(text)
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "alephtx.cli", "lab", "sweep", "sweep.toml", "--workers", "1"]
    process = subprocess.Popen(
        [*words, *more], cwd=folder, stdout=subprocess.PIPE, stderr=theirs, text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    terminal = b""
    try:
        while part := os.read(ours, 4096):
            terminal += part
    except OSError:  # the other end closed
        pass
    os.close(ours)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said, terminal.decode()


def plain(terminal):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal)


def results(folder):
    lines = (folder / "runs" / "sweeps" / "sweep" / "results.jsonl").read_text().splitlines()
    return [json.loads(line.partition(" ")[2]) for line in lines]


@slow
@pytest.mark.parametrize("search", ["random", "tpe"])
def test_the_file_of_the_page_runs_and_no_set_fails(market, search):
    if search == "tpe":
        pytest.importorskip("optuna", reason="the extra lab")
    text = shown()
    assert 'search = "random"' in text
    code, said, terminal = swept(market, text.replace('"random"', f'"{search}"'))
    assert code == 0, said + terminal
    assert "failed" not in said
    found = results(market)
    assert len(found) == 6
    assert not any(one["error"] for one in found)
    drawn = {one["params"]["strategies.maker.requote_bps"] for one in found}
    assert len(drawn) == 6  # not all at one end
    assert max(len(text.partition(".")[2]) for text in drawn) in (3, 4)
    assert sum(one["orders"] for one in found) > 0
    assert re.search(r"6/6 [\d.]+ sets/s, 0:00:00 left", plain(terminal))


def test_the_pace_leaves_out_what_was_kept_and_says_what_is_left():
    assert _pace(0, 9, 0) == _pace(0, 9, 10**9) == ""
    assert _pace(3, 300, 4 * 10**9) == "0.75 sets/s, 0:06:40 left"
    assert _pace(1, 7200, 2 * 10**9) == "0.5 sets/s, 4:00:00 left"


@slow
def test_as_a_grid_it_needs_points_and_runs_with_them(market):
    text = shown().replace('"random"', '"grid"')
    code, said, terminal = swept(market, text)
    assert (code, "requote_bps has no step" in terminal) == (3, True), said + terminal
    narrow = text.replace("to = 5.0 }", "to = 5.0, count = 3 }").replace("[1, 2, 4]", "[1, 4]")
    narrow = re.sub(r"^skew_bps.*$", "skew_bps = { from = 0.01, to = 0.3, count = 2, log = true }",
                    narrow, flags=re.MULTILINE)  # fmt: skip
    narrow = re.sub(r"^rest_ms.*\n", "", narrow, flags=re.MULTILINE)
    code, said, terminal = swept(market, narrow)
    assert code == 0, said + terminal
    found = results(market)
    assert len(found) == 2 * 3 * (2 + 1)  # max_age_ms only where half_spread_ticks is 1
    assert not any(one["error"] for one in found)


@slow
def test_a_set_that_fails_is_a_row_and_a_sweep_of_nothing_else_fails(market):
    top = 'config = "maker.toml"\n[space.strategies.maker]\n'
    code, said, terminal = swept(market, f"{top}requote_bps = [0.5, 0.12345]\n")
    assert code == 0
    assert "2 sets run, 0 kept from before, 1 failed" in said
    (row,) = (line for line in said.splitlines() if line.split()[0:1] == ["failed"])
    assert "maker.requote_bps=0.12345: strategy market_maker: requote_bps" in row
    assert "has more decimals than can be kept. give at most 4 decimals" in row
    assert "1 trials of" in said
    code, said, terminal = swept(
        market, f"{top}requote_bps = [0.12345, 0.54321]\n", "--out", "other", "--json"
    )
    assert code == 3
    assert json.loads(said)["failed"] == 2
    assert "all 2 sets failed; the first: strategy market_maker: requote_bps" in terminal
