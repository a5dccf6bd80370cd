"""docs/reconciliation.md names a test for every scenario; each of them exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = [
    line
    for line in (ROOT / "docs/reconciliation.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| Scenario")
]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def names_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_the_table_is_there():
    assert len(TABLE) > 50


@pytest.mark.parametrize("line", TABLE, ids=[line.split("|")[1].strip() for line in TABLE])
def test_every_scenario_names_a_test_that_exists(line):
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert len(cells) == 5
    assert all(cells)
    path, name = NAMED.fullmatch(cells[-1]).groups()
    assert name in names_in(path), f"{name} is not in {path}"
