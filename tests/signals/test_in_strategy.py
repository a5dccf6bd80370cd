"""A compiled strategy calls every signal with its own STATE, on a real recording."""

import math
from pathlib import Path

import pytest

from alephtx.engine.tryout import try_strategy

LISTENER = Path(__file__).parent / "listener.py"
KEY = "binance_usdm:BTC-USDT-PERP"


@pytest.fixture(scope="module")
def state():
    return try_strategy(str(LISTENER), (KEY,), {}, 6.0).state


def test_strategy_hears_every_signal(state):
    assert state["events"] > 200
    assert state["trades"] > 0
    assert state["between"] == state["events"]  # the microprice never leaves the touch
    said = {name: state[name] for name in ("vamp", "micro", "touch", "imbalance", "vol", "z")}
    assert all(math.isfinite(value) for value in said.values()), said
    assert abs(said["vamp"] - said["micro"]) < 1_000
    assert -1 <= said["touch"] <= 1
    assert -1 <= said["imbalance"] <= 1
    assert 0 <= said["vol"] < 0.01
