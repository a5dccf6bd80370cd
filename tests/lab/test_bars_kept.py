"""What is compiled around a bar strategy is kept, found again, and never for another's."""

import json
import os
import subprocess
import sys

import pytest

from alephtx.core.kernel import JIT

pytestmark = pytest.mark.skipif(not JIT, reason="there is no cache without the JIT")

STRATEGY = """
import numpy as np
from constants import STEP

COMPILED = True
PARAMS = STATE = np.dtype([("n", "i8")])

def config_to_params(section, instruments):
    return np.ones(1, PARAMS)

def on_bar(bars, k, position, params, state):
    return STEP * k

def other(bars, k, position, params, state):
    return 7 * STEP * k

def made(n):
    def on_bar(bars, k, position, params, state):
        return n * k
    return on_bar
"""
ASK = """
import json, sys
from types import SimpleNamespace
import numpy as np
from alephtx.core import kernel
kernel.prefer_stored()
sys.path.insert(0, sys.argv[1])
import mine
from alephtx.core.records import BAR
from alephtx.lab.bars import run_bars
from decimal import Decimal
from alephtx.core import words
from alephtx.core.instruments import Instrument

perp = Instrument(
    key="x:A-B", venue="x", symbol="AB", base="A", quote="B", settle="B", contract=words.LINEAR,
    price_scale=2, qty_scale=3, tick_size=Decimal("0.01"), lot_size=Decimal("0.001"),
)
bars = np.ones(5, BAR)
bars["ts_ns"] = range(5)
found = []
closures = [mine.made(2), mine.made(3)] if "made" in sys.argv else []
for on_bar in (mine.on_bar, mine.other, *closures):
    one = SimpleNamespace(**{**vars(mine), "on_bar": on_bar})
    found.append(run_bars(one, bars, perp, [{}], fill="close")[0].position)
told = [name for name in kernel.compiled if "bar" in name or "other" in name]
print(json.dumps({"found": found, "compiled": told, "numba": "numba" in sys.modules}))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "constants.py").write_text("STEP = 1\n")
    return tmp_path


def ask(folder, *words):
    result = subprocess.run(
        [sys.executable, "-c", ASK, str(folder), *words], capture_output=True, text=True,
        env={**os.environ, "ALEPHTX_CACHE": str(folder / "cache")}, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_second_process_compiles_nothing_and_needs_no_compiler(folder):
    cold = ask(folder)
    assert cold["found"] == [4, 28]
    assert "bar_walk.walk" in cold["compiled"]
    assert ask(folder) == {"found": [4, 28], "compiled": [], "numba": False}


def test_edit_of_what_a_strategy_imports_is_seen(folder):
    assert ask(folder)["found"] == [4, 28]
    (folder / "constants.py").write_text("STEP = 2\n")
    again = ask(folder)
    assert again["found"] == [8, 56]
    assert "bar_walk.trade" not in again["compiled"]


def test_closures_of_one_text_are_not_taken_for_each_other(folder):
    for _ in range(2):
        assert ask(folder, "made")["found"] == [4, 28, 8, 12]
