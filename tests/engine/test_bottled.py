"""A backtest as a run: its files agree with one another, and mistakes are named."""

import errno
import json
import os

import msgspec
import numpy as np
import pytest
from pyarrow import parquet

from alephtx.cli import CONFIG, OK, main
from alephtx.engine.rundir import RunDirectory
from tests.engine.bottling import KEY, config_text, tape_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("bottled")
    tape_file(made, 60_000)
    (made / "c.toml").write_text(config_text())
    return made


def backtest(folder, *options):
    return main(["backtest", str(folder / "c.toml"), *options])


@pytest.fixture(scope="module")
def ran(folder):
    assert backtest(folder, "--json") == OK
    return RunDirectory((folder / "runs" / "latest").resolve())


def test_orders_fills_sheets_and_summary_agree(ran):
    summary = ran.read_json(ran.summary)
    orders = parquet.read_table(ran.path / "orders.parquet").to_pydict()
    fills = parquet.read_table(ran.path / "fills.parquet").to_pydict()
    sheet = ran.read_json(ran.path / "sheets.json")[KEY]
    assert summary["mode"] == "backtest"
    assert summary["rows"] == 60_000
    assert summary["fills"] == len(fills["ts"]) > 20
    assert sum(orders["fills"]) == len(fills["ts"])
    assert set(orders["instrument_key"]) == {KEY}
    net = sum(side * qty for side, qty in zip(fills["side"], fills["qty"], strict=True))
    held = summary["positions"].get(f"main/{KEY}", "0")
    assert float(held) * 1_000 == net
    assert sheet["activity"]["fills"] == len(fills["ts"])
    fees = sum(fills["fee"]) / 1e8
    assert float(summary["fees"]["USDT"]) == pytest.approx(fees, abs=1e-9)
    assert ran.report.read_text().startswith("<!")
    assert summary["report"] == str(ran.report)


def test_the_touch_and_the_microprice_are_kept(ran):
    market = parquet.read_table(ran.path / "market" / "0.parquet").to_pydict()
    signals = parquet.read_table(ran.path / "signals" / "0.parquet").to_pydict()
    assert np.all(np.diff(market["ts_ns"]) >= 0)
    assert len(set(np.array(signals["ts_ns"]) // 10**9)) == len(signals["ts_ns"]) > 10
    at = {ts: k for k, ts in enumerate(market["ts_ns"])}  # the last of equals
    for ts, price in zip(signals["ts_ns"], signals["microprice"], strict=True):
        bid, ask = market["bid"][at[ts]], market["ask"][at[ts]]
        assert bid <= price <= ask or bid == 0 or ask == 0


def test_the_same_config_comes_to_the_same(folder, ran, capsys):
    assert backtest(folder, "--json", "--no-report") == OK
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    first = ran.read_json(ran.summary)
    for name in ("run", "took_s", "rows_per_s", "report"):
        again.pop(name)
        first.pop(name)
    assert again == first
    assert not RunDirectory((folder / "runs" / "latest").resolve()).report.exists()


def test_it_is_said_in_words(folder, capsys):
    assert backtest(folder) == OK
    said = capsys.readouterr().out
    assert "60,000 rows" in said
    assert KEY in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (config_text().replace("[backtest]", "[backtests]"), "backtest"),
        (config_text("").replace("[backtest.entry]\n", "").split("[backtest]")[0], "no [backtest]"),
        (config_text('tapes = { "synthetic:BTC-USDT-PERP" = "cut.ticks" }'), "cut.ticks"),
        (config_text('tapes = { "synthetic:BTC-USDT-PERP" = "none.ticks" }'), "none.ticks"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_run(folder, tmp_path, capsys, text, said):
    whole = (folder / "market.ticks").read_bytes()
    (tmp_path / "cut.ticks").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.toml").write_text(text)
    assert backtest(tmp_path) == CONFIG
    lines = capsys.readouterr().err.splitlines()
    assert any(said in line for line in lines)
    assert not list((tmp_path / "runs").glob("*"))


def test_no_engine_takes_up_what_a_killed_backtest_leaves(tmp_path):
    tape_file(tmp_path, 3_000)
    (tmp_path / "c.toml").write_text(config_text())
    assert backtest(tmp_path, "--json", "--no-report") == OK
    left = RunDirectory((tmp_path / "runs" / "latest").resolve())
    left.summary.unlink()  # as if it had been killed
    text = left.config.read_text()
    assert RunDirectory.unfinished(tmp_path / "runs", "bottle", text) is None
    found = RunDirectory.unfinished(tmp_path / "runs", left.node, text)
    assert found is not None  # by its own name it would be
    assert found.id == left.id


def test_a_full_disk_is_one_line_and_leaves_no_run(folder, capsys, monkeypatch):
    def full(*_given, **_named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(parquet, "write_table", full)
    before = set((folder / "runs").glob("2*"))
    assert backtest(folder, "--json") == CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written: No space left on device" in line
    assert set((folder / "runs").glob("2*")) == before


def test_summary_is_json_without_surprises(ran):
    text = ran.summary.read_text()
    assert msgspec.json.decode(text)["alarms"] == []
    assert "NaN" not in text


def test_the_signals_that_are_asked_for_are_kept_and_shown(folder):
    text = config_text().replace("[backtest]\n", '[backtest]\nsignals = ["vamp", "vol_fast"]\n')
    (folder / "signals.toml").write_text(text)
    assert main(["backtest", str(folder / "signals.toml"), "--json"]) == OK
    run = RunDirectory((folder / "runs" / "latest").resolve())
    kept = parquet.read_table(run.path / "signals" / "0.parquet").to_pydict()
    assert list(kept) == ["ts_ns", "vamp", "vol_fast"]
    assert np.isfinite(kept["vamp"]).all()
    assert np.isfinite(kept["vol_fast"]).sum() > 10
    assert all(name in run.report.read_text() for name in ("vamp", "vol_fast"))
