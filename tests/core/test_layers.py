"""Which layer a strategy is of, what its orders may take, and what is refused."""

import pytest

from alephtx.core.config import parse_config
from alephtx.core.config_schema import Strategy
from alephtx.core.errors import ConfigError
from alephtx.core.layers import BUDGETS_NS, layer_of
from alephtx.core.view import Needs
from tests.core.test_config import GOOD, findings


def section(**fields):
    return Strategy(use="mm.py", instruments=("v:A",), **fields)


@pytest.mark.parametrize(
    ("fields", "needs", "compiled", "found"),
    [({}, {}, True, (1, BUDGETS_NS[1])),
     ({}, {}, False, (2, BUDGETS_NS[2])),
     ({"path": "direct"}, {}, True, (0, BUDGETS_NS[0])),
     ({"path": "direct", "layer": "L1"}, {}, True, (1, BUDGETS_NS[1])),
     ({}, {"layer": "L2", "budget_us": 700}, True, (2, 700_000)),
     ({"budget_us": 90}, {"layer": "L1", "budget_us": 700}, True, (1, 90_000)),
     ({"layer": "L2"}, {"layer": "L1", "budget_us": 700}, True, (2, 700_000)),
     ({"path": "direct"}, {"layer": "L0"}, True, (0, 50_000)),
     ({"layer": "L2"}, {"layer": "L0"}, True, (2, BUDGETS_NS[2]))],
)  # fmt: skip
def test_config_wins_over_the_file_and_the_file_over_the_path(fields, needs, compiled, found):
    assert layer_of("mm", section(**fields), Needs(**needs), compiled=compiled) == found


@pytest.mark.parametrize(
    ("fields", "needs", "compiled", "said"),
    [({}, {"layer": "L0"}, True, "strategy mm wants layer L0, and its path is split"),
     ({}, {"layer": "L3"}, True, "strategy mm: NEEDS.layer = 'L3' is no layer"),
     ({}, {"layer": "l1"}, True, "NEEDS.layer = 'l1' is no layer"),
     ({}, {"layer": 1}, True, "NEEDS.layer = 1 is no layer"),
     ({"layer": "L1"}, {}, False, "strategy mm wants layer L1, and mm.py says COMPILED = False"),
     ({}, {"layer": "L0"}, False, "wants layer L0, and mm.py says COMPILED = False"),
     ({"path": "direct"}, {}, False, "path = direct is the compiled loop's"),
     ({}, {"budget_us": -1}, True, "NEEDS.budget_us = -1 is no budget"),
     ({}, {"budget_us": 1.5}, True, "NEEDS.budget_us = 1.5 is no budget"),
     ({}, {"budget_us": True}, True, "NEEDS.budget_us = True is no budget"),
     ({}, {"budget_us": 60_000_001}, True, "is no budget"),
     ({}, {"budget_us": "50"}, True, "NEEDS.budget_us = '50' is no budget")],
)  # fmt: skip
def test_layer_that_cannot_be_is_refused_with_a_remedy(fields, needs, compiled, said):
    with pytest.raises(ConfigError, match=said) as caught:
        layer_of("mm", section(**fields), Needs(**needs), compiled=compiled)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("lines", "key", "said"),
    [('layer = "L0"', "layer", "this strategy's path is split"),
     ('layer = "L9"', "layer", "is not a choice"),
     ("layer = 1", "layer", "is not a choice"),
     ("budget_us = 0", "budget_us", "1"),
     ("budget_us = -5", "budget_us", "1"),
     ("budget_us = 60000001", "budget_us", "60000000"),
     ('budget_us = "50"', "budget_us", "int"),
     ("budget_us = 0.5", "budget_us", "int")],
)  # fmt: skip
def test_config_refuses_layers_and_budgets_at_their_line(lines, key, said):
    (found,) = findings(GOOD + lines + "\n")
    assert (found.line, found.key) == (GOOD.count("\n") + 1, f"strategies.arb.{key}")
    assert said in found.problem


def test_layer_and_budget_are_the_engines_and_not_the_strategys_own():
    text = GOOD + 'path = "direct"\nlayer = "L0"\nbudget_us = 40\nmine = 3\n'
    config = parse_config(text, "c.toml")
    assert config.strategies["arb"].section.keys() == {"mine", "instruments", "accounts"}
    assert parse_config(config.dump(), "c.toml").strategies == config.strategies
