"""The examples come to what their pages say, to the last digit."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from alephtx.core.kernel import JIT

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/config.toml"))


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("examples_run", EXAMPLES / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stated(name):
    """Return the result that a page states: its one json block."""
    page = (EXAMPLES / name / "README.md").read_text()
    (block,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    return json.loads(block)


@pytest.mark.skipif(not JIT, reason="long uncompiled")
@pytest.mark.parametrize("name", NAMES)
def test_a_page_states_what_the_run_comes_to(name, runner):
    result = runner.came_to(runner.run_example(name))
    assert result == stated(name)
    assert int(result["fills"]) > 0
    assert result["denied"] == "0"


def test_recordings_are_small_and_named():
    page = (EXAMPLES / "data" / "README.md").read_text()
    files = [path for path in (EXAMPLES / "data").iterdir() if path.suffix != ".md"]
    assert files
    assert sum(path.stat().st_size for path in files) <= 1_500_000
    for path in files:
        assert path.stat().st_size <= 300_000
        assert f"`{path.name}`" in page
