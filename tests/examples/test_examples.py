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
from alephtx.core.words import TRADE
from alephtx.engine.bottled import run_backtest
from alephtx.engine.market import load_market
from alephtx.engine.rundir import RunDirectory
from alephtx.serve.backtest_compare import compare

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


@pytest.fixture(scope="module", params=NAMES)
def example(request, tmp_path_factory):
    """The name of an example, its run, and the run's summary."""
    folder = tmp_path_factory.mktemp(request.param)
    summary = ran(request.param, folder)
    return request.param, RunDirectory((folder / "latest").resolve()), summary


@slow
def test_a_page_states_what_the_run_comes_to(example):
    name, _, summary = example
    assert {key: summary[key] for key in STATED} == blocks(name)[0]
    assert summary["fills"] > 0
    assert summary["denied"] == 0
    assert summary["alarms"] == []
    assert summary["notes"] == []


@slow
def test_a_comparison_says_what_the_tear_sheets_say(example):
    """One clock, one set of periods: not a digit apart."""
    _, run, _ = example
    sheets = json.loads((run.path / "sheets.json").read_text())
    found, sides = compare([run, run])
    assert found.notes == []
    for key, sheet in sheets.items():
        if not sheet["activity"]["fills"]:
            continue
        causes = sides[0].causes[f"{key} {sheet['currency']}"]
        for name, amount in causes.items():
            said = Decimal(sheet["attribution"][name])
            assert amount == (-said if name == "fees" else said)
    for currency, falls in found.drawdown.items():
        settled = [sheet for sheet in sheets.values() if sheet["currency"] == currency]
        ends = sum(Decimal(sheet["attribution"]["total"]) for sheet in settled)
        assert sides[0].curves[currency][1][-1] == pytest.approx(float(ends), abs=1e-6)
        if len(settled) > 1:  # a curve of their sum has no sheet
            continue
        (ratio,) = [one for one in found.ratios[0] if one.currency == currency]
        returns = settled[0]["returns"]
        assert falls == [returns["drawdown"]] * 2
        assert [ratio.first, ratio.this] == [returns["sharpe"]] * 2
        assert (ratio.periods, ratio.step_ns) == (returns["periods"], returns["step_ns"])


@slow
def test_a_sheet_holds_orders_against_the_trades_of_the_tape(example):
    name, run, _ = example
    config = load_config(EXAMPLES / name / "config.toml", mode="paper")
    market = load_market(config)
    sheets = json.loads((run.path / "sheets.json").read_text())
    for k, instrument in enumerate(market.instruments):
        rows = market.tapes[k].rows
        traded = sheets[instrument.key]["activity"]["fills"] and (rows["kind"] == TRADE).any()
        assert (sheets[instrument.key]["costs"]["vwap_bps"] is not None) is bool(traded)


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
