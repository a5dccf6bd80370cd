"""The examples come to what their pages say, by the way that `alephtx backtest` takes."""

import importlib.util
import json
import re
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from alephtx.core.config import load_config
from alephtx.core.kernel import JIT
from alephtx.engine.bottled import run_backtest
from alephtx.engine.rundir import RunDirectory

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/config.toml"))
STATED = ("rows", "orders", "fills", "denied", "pnl", "fees", "funding", "positions")
"""What of summary.json a page says."""

slow = pytest.mark.skipif(not JIT, reason="long uncompiled")


def blocks(name):
    """Return the json blocks of a page: the run's, and what its research says."""
    page = (EXAMPLES / name / "README.md").read_text()
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]


def program(name, file):
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / name / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ran(name, folder, **own):
    """Run an example's config; own: keys of its strategy to change."""
    config = load_config(EXAMPLES / name / "config.toml", mode="paper")
    if own:
        ((key, section),) = config.strategies.items()
        section = msgspec.structs.replace(section, own={**section.own, **own})
        config = msgspec.structs.replace(config, strategies={key: section})
    return run_backtest(config, RunDirectory.create(folder, "example", config.dump()))


@slow
@pytest.mark.parametrize("name", NAMES)
def test_a_page_states_what_the_run_comes_to(name, tmp_path):
    summary = ran(name, tmp_path)
    assert {key: summary[key] for key in STATED} == blocks(name)[0]
    assert summary["fills"] > 0
    assert summary["denied"] == 0
    assert summary["alarms"] == []


@slow
def test_the_tear_sheets_know_the_funding(tmp_path):
    summary = ran("funding_carry", tmp_path)
    (sheets,) = tmp_path.glob("latest/sheets.json")
    parts = [sheet["attribution"] for sheet in json.loads(sheets.read_text()).values()]
    assert sum(Decimal(part["funding"]) for part in parts) == Decimal(summary["funding"]["USDT"])
    made = [Decimal(money["USDT"]) for money in summary["pnl"].values()]
    came_to = sum(made) - Decimal(summary["fees"]["USDT"]) + Decimal(summary["funding"]["USDT"])
    # A sheet marks at the middle, the ledger at the same in whole ticks.
    assert abs(sum(Decimal(part["total"]) for part in parts) - came_to) < Decimal("0.1")


@slow
def test_with_its_costs_in_mind_the_pair_is_left_alone(tmp_path):
    assert ran("mean_reversion", tmp_path, fee_aware=True)["orders"] == 0


def test_the_cointegration_test_says_what_the_page_says():
    assert program("mean_reversion", "research.py").tested() == blocks("mean_reversion")[1]


def test_the_tapes_of_carry_are_what_its_source_makes(tmp_path):
    program("funding_carry", "market.py").make(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (EXAMPLES / "data" / path.name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_every_example_has_a_page_and_is_listed():
    page = (EXAMPLES / "README.md").read_text()
    for name in NAMES:
        assert f"[{name}]({name}/README.md)" in page
        assert (
            f"alephtx backtest examples/{name}/config.toml"
            in (EXAMPLES / name / "README.md").read_text()
        )


def test_recordings_are_small_named_and_used():
    page = (EXAMPLES / "data" / "README.md").read_text()
    files = [path for path in (EXAMPLES / "data").iterdir() if path.suffix in (".ticks", ".gz")]
    assert files
    assert sum(path.stat().st_size for path in files) <= 1_500_000
    used = {
        Path(tape).name
        for name in NAMES
        for tape in tomllib.loads((EXAMPLES / name / "config.toml").read_text())["backtest"][
            "tapes"
        ].values()
    }
    for path in files:
        assert path.stat().st_size <= 400_000
        assert f"`{path.name}`" in page
        assert path.name in used or path.suffix == ".gz"
