"""Verbs on a real terminal: bars are drawn, and no traceback is."""

import shutil
from pathlib import Path

import pytest

from alephtx.cli import OK
from alephtx.core.kernel import JIT
from tests.engine.bottling import config_text, tape_file
from tests.terminal import on_terminal

GOLDEN = Path(__file__).parent / "golden"
RECORDING = GOLDEN / "binance" / "usdm_btcusdt_20240808.gz"
SWEEP = """
config = "c.toml"
period_s = 1
[space.strategies.maker]
half_spread_ticks = [2, 3]
"""

pytestmark = pytest.mark.skipif(not JIT, reason="long uncompiled")


def shown_by(*words, folder):
    """Return what a verb shows on a terminal; it must end well."""
    code, text = on_terminal(*words, folder=folder)
    assert "Traceback" not in text, text
    assert code == OK, text
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("terminal")
    tape_file(made, 1_300_000)  # more than a batch, so that there is progress to show
    seldom = config_text().replace("half_spread_ticks = 2", "half_spread_ticks = 40")
    (made / "c.toml").write_text(seldom)
    return made


def test_a_backtest_draws_its_bar_and_its_summary(folder):
    text = shown_by("backtest", "c.toml", folder=folder)
    assert "of 1,300,000 rows" in text
    assert "M rows/s" in text
    assert "P&L" in text
    assert str(folder / "runs") in shown_by("report", folder=folder).replace("\r\n", "")
    assert "runs" in shown_by("report", "latest", "latest", folder=folder)


def test_data_is_imported_and_checked_under_a_bar(tmp_path):
    assert "imported" in shown_by("data", "import", RECORDING, folder=tmp_path)
    assert "checking" in shown_by("data", "check", "data", folder=tmp_path)
    assert "binance_usdm" in shown_by("data", "ls", folder=tmp_path)


def test_a_sweep_draws_its_bar(tmp_path):
    tape_file(tmp_path, 20_000)
    (tmp_path / "c.toml").write_text(config_text())
    (tmp_path / "sweep.toml").write_text(SWEEP)
    text = shown_by("lab", "sweep", "sweep.toml", "--workers", 1, folder=tmp_path)
    assert "2/2" in text
    assert "probability of overfitting" in text


def test_a_difference_is_told_on_a_terminal(tmp_path):
    shutil.copytree(GOLDEN / "sessions" / "maker", tmp_path / "run")
    assert "explained: 100.00%" in shown_by("diff", "run", folder=tmp_path)
