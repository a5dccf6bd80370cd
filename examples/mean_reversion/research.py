"""Do ETH and BTC belong together? The cointegration test, over two minutes and over all.

    python examples/mean_reversion/research.py

Middles of both perpetuals, once a second. The hedge ratio of the config is that of the first two
minutes; the strategy trades what comes after.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.analysis.cointegration import engle_granger
from alephtx.store.ticks import open_ticks

DATA = Path(__file__).parents[1] / "data"
SECOND = 1_000_000_000
LEARNT_S = 120


def middles(name: str) -> tuple[Any, Any]:
    """Return (ns, middle in ticks) of a tape of best bids and asks."""
    ticks = open_ticks(DATA / name)
    bid, ask = ticks.rows[0::2], ticks.rows[1::2]
    return ask["ts_event"], (bid["price"].astype(float) + ask["price"]) / 2 + ticks.price_base


def tested() -> dict[str, dict[str, Any]]:
    """Return what the Engle-Granger test says of the first two minutes and of all."""
    eth, btc = (
        middles("usdm_ethusdt_20240808_tops.ticks"),
        middles("usdm_btcusdt_20240808_tops.ticks"),
    )
    begin, end = max(eth[0][0], btc[0][0]), min(eth[0][-1], btc[0][-1])
    said = {}
    for name, until in (("first two minutes", begin + LEARNT_S * SECOND), ("all", end)):
        grid = np.arange(begin, until, SECOND)
        logs = [np.log(mid[np.searchsorted(ts, grid, "right") - 1]) for ts, mid in (eth, btc)]
        found = engle_granger(*logs)
        said[name] = {
            "seconds": len(grid),
            "statistic": round(found.statistic, 2),
            "critical at 5 %": round(found.critical[0.05], 2),
            "cointegrated": bool(found.together),
            "hedge ratio": round(found.hedge, 2),
            "half-life, s": round(found.half_life, 1),
            "spread's deviation, bps": round(float(found.spread.std()) * 1e4, 1),
        }
    return said


if __name__ == "__main__":
    print(json.dumps(tested(), indent=2))
