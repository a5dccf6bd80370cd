"""Compiled and plain runs of every signal agree in every bit."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.signals.bits import values

ROOT = Path(__file__).parents[2]
SEED, EVENTS = 20, 3_000


@pytest.fixture(scope="module")
def here():
    return values(SEED, EVENTS)


def test_signals_have_the_same_bits_compiled_and_plain(here):
    env = {**os.environ, "NUMBA_DISABLE_JIT": "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1"
           else "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.signals.bits", str(SEED), str(EVENTS)],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        name: hashlib.sha256(column.tobytes()).hexdigest() for name, column in here.items()
    }


def test_every_signal_said_something_there(here):
    said = {name: int((~np.isnan(column)).sum()) for name, column in here.items()}
    assert min(said.values()) > EVENTS / 20, said
    assert all(len(np.unique(column[~np.isnan(column)])) > 20 for column in here.values())
