"""vectorbt at the same work, in an environment of its own: answers a line with a run's seconds.

    .peers/vectorbt/bin/python bench/lib/peer_vectorbt.py CLOSES.npy PAIRS.json
    sweep

CLOSES.npy: float64 closes that are whole numbers of ticks, so that its rolling sums are exact.
PAIRS.json: fast and slow windows. Compiles on a few bars before it says "ready". It buys one unit
on an upward cross at the close and sells it on a downward one, for 2 bps each.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt


def sweep(close, pairs):
    """Run all pairs at once, as its documentation shows; return each one's numbers."""
    fast = vbt.MA.run(close, [pair[0] for pair in pairs], short_name="fast")
    slow = vbt.MA.run(close, [pair[1] for pair in pairs], short_name="slow")
    held = vbt.Portfolio.from_signals(
        close, fast.ma_crossed_above(slow), fast.ma_crossed_below(slow), size=1.0, fees=0.0002,
        init_cash=1e9, freq="min",
    )  # fmt: skip
    # What both sides tell; asked for within the timing, because it is computed when asked for.
    return {
        "trades": [int(n) for n in held.trades.closed.count()],
        "orders": [int(n) for n in held.orders.count()],
        "fees": [float(x) for x in held.orders.fees.sum()],
        "net": [float(x) - 1e9 for x in held.final_value()],
    }


def main():
    """Serve; see the module."""
    numbers = np.load(sys.argv[1])
    pairs = json.loads(Path(sys.argv[2]).read_text())
    times = pd.date_range("2020-01-01", periods=len(numbers), freq="min")
    close = pd.Series(numbers, index=times)
    sweep(close[:2_000], pairs[:2])
    sys.stdout.write(json.dumps({"ready": f"vectorbt {vbt.__version__}"}) + "\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        begun = time.perf_counter()
        told = sweep(close, pairs)
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak, "told": told}) + "\n")
        sys.stdout.flush()


main()
