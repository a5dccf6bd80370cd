"""Realised volatility of the mid on three time scales: a fraction of the price per root second.

The mid is sampled on a grid of `sample_ns` (the last one before each point of the grid), which
keeps the bounce of single events out. With r_k = ln(mid_k / mid_(k-1)) and lambda = e^(-sample /
tau)

V_k = lambda V_(k-1) + (1 - lambda) r_k^2 / sample        vol = sqrt(V_k / (1 - lambda^k))

where the last divisor takes off the start from 0. Times sqrt(31,536,000) it is per year; times the
price, what a strategy calls sigma. Sources: T. Andersen, T. Bollerslev, F. Diebold, P. Labys,
"Modeling and forecasting realized volatility" (Econometrica 71(2), 2003) for the sum of squared
returns; RiskMetrics Technical Document (J.P. Morgan, 4th ed. 1996) for the weights; L. Zhang, P.
Mykland, Y. Ait-Sahalia, "A tale of two time scales" (JASA 100, 2005) for why to sample sparsely.

Each scale is ready when its own tau has passed since the first mid. While there is no market the
last mid stands, and the volatility falls.
"""

import math
from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals.elementary import exp, log
from alephtx.signals.microprice import mid
from alephtx.signals.settings import TAU_MS_MAX, Settings

Rows = np.ndarray[Any, Any]

SCALES = ("fast", "mid", "slow")
SECOND_NS = 1e9


def fields(count: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the STATE fields of `count` slots: ns, points passed, mids, variance per second."""
    return [
        ("vol_next", "i8", (count,)),
        ("vol_points", "i8", (count,)),
        ("vol_sampled", "f8", (count,)),
        ("vol_mid", "f8", (count,)),
        ("vol_variance", "f8", (count, 3)),
    ]


PARAMS = np.dtype([("instrument", "i8"), ("sample_ns", "i8"), ("tau_ns", "i8", (3,)),
                   ("scale", "i8")])  # fmt: skip
STATE = np.dtype(fields(1))
NEEDS = Needs()


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Read instrument, sample_ms (100), fast_ms (10000), mid_ms (60000), slow_ms (600000), scale.

    scale: which of the three `on_event` returns, "fast" by default.
    """
    read = Settings(section, "realised_vol", instruments)
    row = np.zeros(1, PARAMS)
    row["instrument"] = read.instrument()
    row["sample_ns"] = read.milliseconds("sample_ms", 100, 1, 3_600_000)
    for k, (name, default) in enumerate(zip(SCALES, (10_000, 60_000, 600_000), strict=True)):
        row[0]["tau_ns"][k] = read.milliseconds(f"{name}_ms", default, 1, TAU_MS_MAX)
    if not (row["sample_ns"] <= row["tau_ns"][0]).all():
        raise read.fail("sample_ms", "is above a time constant", "sample more often")
    row["scale"] = read.choice("scale", "fast", SCALES)
    read.close()
    return row


def warmup_ns(params: Rows) -> int:
    """Return the chosen scale's tau, and one sample for the grid."""
    return int(params[0]["tau_ns"][params[0]["scale"]] + params[0]["sample_ns"])


@kernel
def vol_update(state: Rows, slot: Int, now: Int, price: Any, sample_ns: Int, tau_ns: Rows) -> int:
    """Take the mid after an event, NaN or 0 where there is none; returns points of the grid passed.

    state: a row with `fields`. tau_ns: int64 (3,). now: ns, above 0. O(1), exponentials only when
    the grid is passed: about 2 ns, and 150 at a point.
    """
    if state[0]["vol_next"][slot] == 0:
        if price > 0.0:
            state[0]["vol_next"][slot] = now + sample_ns
            state[0]["vol_sampled"][slot] = price
            state[0]["vol_mid"][slot] = price
        return 0
    n: Any = np.int64(0)
    if now >= state[0]["vol_next"][slot]:
        n = (now - state[0]["vol_next"][slot]) // sample_ns + 1
        before = state[0]["vol_mid"][slot]  # what was in force at the first point passed
        r = log(before / state[0]["vol_sampled"][slot])
        square = r * r / (float(sample_ns) / SECOND_NS)
        for scale in range(3):
            tau = float(tau_ns[scale])
            one = exp(-float(sample_ns) / tau)
            variance = one * state[0]["vol_variance"][slot, scale] + (1.0 - one) * square
            if n > 1:  # nothing moved at the points after it
                variance = variance * exp(-float((n - 1) * sample_ns) / tau)
            state[0]["vol_variance"][slot, scale] = variance
        state[0]["vol_sampled"][slot] = before
        state[0]["vol_points"][slot] += n
        state[0]["vol_next"][slot] += n * sample_ns
    if price > 0.0:
        state[0]["vol_mid"][slot] = price
    return n


@kernel
def vol_ready(state: Rows, slot: Int, scale: Int, sample_ns: Int, tau_ns: Rows) -> int:
    """Return 1 when the scale's tau has been sampled, else 0."""
    return 1 if state[0]["vol_points"][slot] * sample_ns >= tau_ns[scale] else 0


@kernel
def vol_read(state: Rows, slot: Int, scale: Int, sample_ns: Int, tau_ns: Rows) -> float:
    """Return the volatility of a scale (0 fast, 1 mid, 2 slow) per root second; NaN: not ready."""
    if vol_ready(state, slot, scale, sample_ns, tau_ns) == 0:
        return np.nan
    elapsed = state[0]["vol_points"][slot] * sample_ns
    weight = 1.0 - exp(-float(elapsed) / float(tau_ns[scale]))
    return math.sqrt(state[0]["vol_variance"][slot, scale] / weight)


@kernel
def on_event(event: Rows, view: View, params: Rows, state: Rows) -> float:
    """Return the volatility of the chosen scale after an event, per root second."""
    i = params[0]["instrument"]
    price = np.nan
    if np.int64(view.top[i]["aux"]) & UNTRADEABLE_MASK == 0:
        price = mid(view.top, i)
    sample_ns, tau_ns = params[0]["sample_ns"], params[0]["tau_ns"]
    vol_update(state, 0, view.now[0], price, sample_ns, tau_ns)
    return vol_read(state, 0, params[0]["scale"], sample_ns, tau_ns)
