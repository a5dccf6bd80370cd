"""Spread z-score: how unusual a spread is, in standard deviations of its own recent past.

z(t) = (x(t) - m(t)) / max(s(t), floor)

x is the bid-ask spread of one instrument in ticks, or, with `other`, the spread between two: 10^4
ln(mid / mid_other), in bps. m and s^2 are the mean and variance over time of what was in force
before t, weighted with e^(-(t - s) / tau); x(t) itself is not in them. The floor keeps a market
whose spread never moves from making a signal of a single tick.

Source: the weighted incremental mean and variance of D. West, "Updating mean and variance
estimates: an improved method" (Communications of the ACM 22(9), 1979), with exponential weights as
in T. Finch, "Incremental calculation of weighted mean and variance" (2009). For two instruments: E.
Gatev, W. Goetzmann, G. Rouwenhorst, "Pairs trading" (Review of Financial Studies 19(3), 2006).

Ready when tau has passed since the first spread. Without a market the last spread stands and
NaN is returned.
"""

import math
from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals.elementary import exp, log
from alephtx.signals.microprice import mid
from alephtx.signals.settings import TAU_MS_MAX, Settings

Rows = np.ndarray[Any, Any]


def fields(count: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the STATE fields of `count` slots: ns, the value in force, weight, mean, variance."""
    return [
        ("spread_first", "i8", (count,)),
        ("spread_ts", "i8", (count,)),
        ("spread_now", "f8", (count,)),
        ("spread_weight", "f8", (count,)),
        ("spread_mean", "f8", (count,)),
        ("spread_variance", "f8", (count,)),
    ]


PARAMS = np.dtype([("instrument", "i8"), ("other", "i8"), ("tau_ns", "i8"), ("floor", "f8")])
STATE = np.dtype(fields(1))
NEEDS = Needs()


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Read instrument, other (none), tau_ms (60000) and floor ("0.5": ticks, or bps with other)."""
    read = Settings(section, "spread_zscore", instruments)
    row = np.zeros(1, PARAMS)
    row["instrument"] = read.instrument()
    row["other"] = read.instrument("other", -1)
    if row[0]["other"] == row[0]["instrument"]:
        raise read.fail("other", "is the instrument itself", "name another, or leave it out")
    row["tau_ns"] = read.milliseconds("tau_ms", 60_000, 1, TAU_MS_MAX)
    row["floor"] = read.fraction("floor", "0.5", "0.000001", "1000000")
    read.close()
    return row


def warmup_ns(params: Rows) -> int:
    """Return tau."""
    return int(params[0]["tau_ns"])


@kernel
def zscore_update(state: Rows, slot: Int, now: Int, x: Any, tau_ns: Int, floor: Any) -> float:
    """Take the value after an event and return its z-score, NaN while not ready or without one.

    state: a row with `fields`. now: ns, above 0; a clock that goes back stands still. floor: above
    0, in the unit of x. O(1), one exponential where time has passed: about 22 ns.
    """
    known = math.isfinite(x)
    if state[0]["spread_first"][slot] == 0:
        if known:
            state[0]["spread_first"][slot] = now
            state[0]["spread_ts"][slot] = now
            state[0]["spread_now"][slot] = x
        return np.nan
    passed = now - state[0]["spread_ts"][slot]
    if passed > 0:
        kept = exp(-float(passed) / float(tau_ns))
        weight = kept * state[0]["spread_weight"][slot] + (1.0 - kept)
        share = (1.0 - kept) / weight if weight > 0.0 else 0.0
        away = state[0]["spread_now"][slot] - state[0]["spread_mean"][slot]
        variance = state[0]["spread_variance"][slot] + share * away * away
        state[0]["spread_mean"][slot] += share * away
        state[0]["spread_variance"][slot] = (1.0 - share) * variance
        state[0]["spread_weight"][slot] = weight
        state[0]["spread_ts"][slot] = now
    if not known:
        return np.nan
    state[0]["spread_now"][slot] = x
    if now - state[0]["spread_first"][slot] < tau_ns:
        return np.nan
    deviation = math.sqrt(state[0]["spread_variance"][slot])
    return (x - state[0]["spread_mean"][slot]) / max(deviation, floor)


@inline_kernel
def spread_of(top: Rows, i: Int, other: Int) -> float:
    """Return the spread in ticks, or with other >= 0 between two mids in bps; NaN without a market.

    The mids may be in ticks of different sizes: that moves the spread by a constant.
    """
    if np.int64(top[i]["aux"]) & UNTRADEABLE_MASK:
        return np.nan
    price = mid(top, i)
    if other < 0:
        return np.nan if math.isnan(price) else float(top[i]["ask"] - top[i]["bid"])
    if np.int64(top[other]["aux"]) & UNTRADEABLE_MASK:
        return np.nan
    facing = mid(top, other)
    if not (price > 0.0 and facing > 0.0):
        return np.nan
    return 1e4 * log(price / facing)


@kernel
def on_event(event: Rows, view: View, params: Rows, state: Rows) -> float:
    """Return the z-score after an event."""
    x = spread_of(view.top, params[0]["instrument"], params[0]["other"])
    return zscore_update(state, 0, view.now[0], x, params[0]["tau_ns"], params[0]["floor"])
