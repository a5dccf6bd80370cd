"""Compiled and plain, every strategy takes the same decisions in the same market."""

import hashlib
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from tests.strategies.chance import move, play
from tests.strategies.world import (
    ETH,
    ETH_KEY,
    PERP,
    PERP_KEY,
    SPOT,
    SPOT_KEY,
    World,
    with_eth,
)

ONE = {"instruments": [SPOT_KEY], "qty_base": "0.1", "inventory_max_base": "0.3"}
SECTIONS = {
    "combiner": {
        **ONE,
        "microprice_weight": 1,
        "imbalance_weight": "0.5",
        "flow_weight": 1,
        "momentum_weight": -1,
        "tau_ms": 500,
        "flow_tau_ms": 500,
        "momentum_ms": 300,
        "edge_bps": 20,
        "cooldown_ms": 0,
    },
    "funding_carry": {
        "instruments": [SPOT_KEY, PERP_KEY],
        "qty_base": "0.1",
        "position_max_base": "0.3",
        "horizon_h": 24,
        "cooldown_ms": 0,
    },
    "glft": {**ONE, "sample_ms": 50, "vol_tau_ms": 1_000, "flow_tau_ms": 1_000, "rest_ms": 0},
    "grid": {**ONE, "step_bps": "1", "recentre_bps": "5"},
    "market_maker": {**ONE, "skew_bps": "2", "rest_ms": 0},
    "mean_reversion": {
        "instruments": [PERP_KEY, ETH_KEY],
        "qty_base": "0.1",
        "hedge_ratio": "0.7",
        "entry_z": "0.7",
        "stop_z": 9,
        "tau_ms": 300,
        "floor_bps": "0.01",
        "fee_aware": False,
        "cooldown_ms": 0,
        "hedges_max": 20,
    },
    "trend": {
        **ONE,
        "sample_ms": 20,
        "fast_ms": 200,
        "slow_ms": 500,
        "vol_tau_ms": 500,
        "band_bps": "0.01",
        "trail_bps": "0.3",
        "cooldown_ms": 0,
    },
}


def decided(name):
    """Play a market of 250 steps and return (orders sent, digest of them and of the state)."""
    luck = np.random.default_rng(7)
    made = World(import_module(f"alephtx.strategies.{name}"), SECTIONS[name], table=with_eth())
    spot, perp, eth = 5_000_000, 500_000, 300_000
    event = np.zeros(1, EVENT)
    event["instrument"], event["kind"], event["qty"] = SPOT, w.TRADE, 5
    rate = np.zeros(1, EVENT)
    rate["instrument"], rate["kind"] = PERP, w.FUNDING
    for step in range(250):
        spot = move(made, luck, SPOT, spot, 40)
        perp = move(made, luck, PERP, perp, 40)
        if ETH_KEY in SECTIONS[name]["instruments"]:
            eth = move(made, luck, ETH, eth, 40)
        rate["price"], rate["qty"] = step * 7_919 % 60 * 10**8 - 10**9, step // 4
        made.run("on_event", rate)
        side = 1 - 2 * int(luck.integers(0, 2))
        event["side"] = side
        event["price"] = spot + side * (1 + int(luck.exponential(3)))
        event["ts_event"] = made.view.now[0]
        made.run("on_event", event)
        play(made, luck)
    said = repr(made.sent).encode() + made.state.tobytes()
    return len(made.sent), hashlib.sha256(said).hexdigest()


@pytest.fixture(scope="module")
def other_way():
    """What the other way of running, compiled or plain, decides."""
    script = (
        "import json; from tests.strategies.test_decisions import SECTIONS, decided\n"
        "print(json.dumps({name: decided(name) for name in SECTIONS}))"
    )
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1" if JIT else "0"}
    told = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], timeout=250,
    )  # fmt: skip
    return json.loads(told.stdout)


@pytest.mark.parametrize("name", SECTIONS)
def test_compiled_equals_plain(name, other_way):
    count, digest = decided(name)
    assert [count, digest] == other_way[name]
    assert count > 20
