"""The tutorial's file is a strategy that trades, and all of them compile as the engine does it."""

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.core.plugins import load_module
from alephtx.engine._call import compile_strategy
from tests.strategies.world import MS, SPOT, SPOT_KEY, World, instruments

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial-first-strategy.md"
SECTION = {"instruments": [SPOT_KEY], "ratio": 4, "qty": "0.0002"}


@pytest.fixture(scope="module")
def lean(tmp_path_factory):
    path = tmp_path_factory.mktemp("user") / "lean.py"
    path.write_text(re.search(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)[1])
    return load_module(path)


@pytest.mark.kernel
def test_tutorial_strategy_buys_and_sells(lean):
    made = World(lean, SECTION)
    made.wait(MS)
    assert made.quote(SPOT, 5_000_000, 5_000_001, 399, 100) == 0
    assert made.quote(SPOT, 5_000_000, 5_000_001, 400, 100) == 1
    buy = made.order(SPOT, w.BUY)
    assert (buy["price"], buy["qty"], buy["tif"]) == (5_000_001, 20, w.IOC)
    assert made.quote(SPOT, 5_000_000, 5_000_001, 400, 100) == 0
    made.fill(buy)
    assert made.quote(SPOT, 5_000_010, 5_000_011, 100, 400) == 1
    made.fill(made.order(SPOT, w.SELL))
    assert (made.qty(SPOT), made.of("orders")) == (0, 2)


@pytest.mark.kernel
def test_tutorial_strategy_names_a_wrong_key(lean):
    with pytest.raises(ConfigError, match="did you mean ratio"):
        lean.config_to_params({**SECTION, "raito": 2}, instruments())


SECTIONS = {
    "arbitrage": {"instruments": [SPOT_KEY, "b:BTC-USDT-PERP"], "qty_base": "0.1"},
    "combiner": {
        "instruments": [SPOT_KEY],
        "qty_base": "0.1",
        "inventory_max_base": "1",
        "flow_weight": 1,
    },
    "funding_carry": {"instruments": [SPOT_KEY, "b:BTC-USDT-PERP"], "qty_base": "0.1"},
    "glft": {"instruments": [SPOT_KEY], "qty_base": "0.1", "inventory_max_base": "1"},
    "grid": {"instruments": [SPOT_KEY], "qty_base": "0.1", "inventory_max_base": "1"},
    "market_maker": {"instruments": [SPOT_KEY], "qty_base": "0.1", "inventory_max_base": "1"},
    "mean_reversion": {"instruments": [SPOT_KEY, "b:BTC-USDT-PERP"], "qty_base": "0.1"},
    "trend": {"instruments": [SPOT_KEY], "qty_base": "0.1", "inventory_max_base": "1"},
}


@pytest.mark.parametrize("which", ["lean", *SECTIONS])
def test_strategy_compiles_as_the_engine_compiles_it(which, lean):
    module = lean if which == "lean" else import_module(f"alephtx.strategies.{which}")
    section = SECTION if which == "lean" else SECTIONS[which]
    made = World(module, section, gate=False)
    state = np.zeros(1, module.STATE)
    entries = compile_strategy(module, made.view, made.params, state)
    assert entries.on_event != 0
    assert (entries.on_timer != 0) == hasattr(module, "on_timer")
