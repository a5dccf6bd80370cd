"""Digests of every signal over a random market: python -m tests.signals.bits SEED EVENTS.

Run with and without NUMBA_DISABLE_JIT it must print the same: signals that decide may not hang on
who compiled them.
"""

import hashlib
import json
import sys

import numpy as np

from alephtx.signals import (
    book_imbalance,
    microprice,
    open_range,
    realised_vol,
    spread_zscore,
    trade_flow,
    vamp,
)
from alephtx.signals.elementary import exp, log
from alephtx.signals.running import Running
from tests.signals.market import A, B, instruments, random_market

MODULES = {
    "vamp": (vamp, {"instrument": A}),
    "vamp of two": (vamp, {"instrument": B, "depth": 2}),
    "microprice": (microprice, {"instrument": B}),
    "touch": (book_imbalance, {"instrument": A, "depth": 0}),
    "imbalance": (book_imbalance, {"instrument": B, "depth": 5, "weight": "0.63"}),
    "flow": (trade_flow, {"instrument": A, "tau_ms": 3_000}),
    "net flow": (trade_flow, {"instrument": B, "tau_ms": 777, "of": "net"}),
    "fast": (realised_vol, {"instrument": A, "fast_ms": 1_500}),
    "slow": (realised_vol, {"instrument": B, "scale": "slow", "slow_ms": 20_000}),
    "spread": (spread_zscore, {"instrument": A, "tau_ms": 5_000, "floor": "0.1"}),
    "pair": (spread_zscore, {"instrument": A, "other": B, "tau_ms": 4_321, "floor": "0.01"}),
    "range": (open_range, {"instrument": A, "session_ms": 60_000, "open_ms": 9_000,
                           "late_ms": 9_000}),
}  # fmt: skip


def values(seed, events):
    """Return every signal's values over one market, name -> float64 (events,)."""
    running = {name: Running(m, section, instruments()) for name, (m, section) in MODULES.items()}
    found = {name: np.empty(events) for name in running}
    for k, (_, row, view) in enumerate(random_market(seed, events)):
        for name, signal in running.items():
            found[name][k] = signal(row, view)
    rng = np.random.default_rng(seed)
    found["exp"] = np.array([exp(x) for x in rng.uniform(-50, 50, events)])
    found["log"] = np.array([log(x) for x in np.exp(rng.uniform(-50, 50, events))])
    return found


if __name__ == "__main__":
    seed, events = map(int, sys.argv[1:])
    made = values(seed, events)
    said = {name: hashlib.sha256(column.tobytes()).hexdigest() for name, column in made.items()}
    sys.stdout.write(json.dumps(said))
