"""Order-flow intensity: how many orders a second reach how far from the middle, measured on line.

lambda(d) = A e^(-k d): orders that trade at a distance of at least d ticks from the middle, a
second and side. Trades of one side at one moment are one order; its distance is that of the
farthest. Orders are counted in buckets of distance with weights e^(-age / tau); over t seconds
they stand for tau (1 - e^(-t / tau)) seconds. A and k are the least-squares line through ln of the
rates of those buckets that hold enough.

Source: M. Avellaneda, S. Stoikov, "High-frequency trading in a limit order book" (Quantitative
Finance 8(3), 2008) for the form; hftbacktest's tutorial "Gueant-Lehalle-Fernandez-Tapia
Market Making Model and Grid Trading" for counting what reaches a distance and fitting the
logarithm. Bits: only + - * / and
`signals.elementary`, so a compiled and a plain run measure the same.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.signals.elementary import exp, log

Rows = np.ndarray[Any, Any]

BUCKETS = 16
BUCKETS_MIN = 3
"""Buckets that a line needs."""
COUNT_MIN = 2.0
"""Orders (by weight) below which a bucket says nothing."""
DECAY_MIN = 1e-9
"""A flatter line, per tick, is no decay but rounding."""
SECOND_NS = 1e9

FIELDS = [
    ("flow_first_ns", "i8"),  # when counting began, 0 not yet
    ("flow_ts_ns", "i8"),  # to when the counts are decayed
    ("flow_counts", "f8", (BUCKETS,)),  # orders that reached the bucket's near edge
    ("order_ts_ns", "i8"),  # the order whose trades are being gathered
    ("order_side", "i8"),
    ("order_far2", "i8"),  # its distance in half ticks, -1 none
    ("arrival_per_s", "f8"),  # A, 0 while unknown
    ("decay_per_tick", "f8"),  # k
]
"""STATE fields that the kernels here use."""


@kernel
def intensity_trade(
    state: Rows, ts: Int, now: Int, side: Int, far2: Int, bucket_ticks: Int, tau_ns: Int
) -> int:
    """Take a trade at `far2` half ticks beyond the middle that it met. Returns 0.

    ts: its moment at the venue, by which trades are joined to orders. now: when we heard it.
    """
    if state[0]["flow_first_ns"] == 0:
        state[0]["flow_first_ns"], state[0]["flow_ts_ns"] = now, now
        state[0]["order_far2"] = -1
    if ts == state[0]["order_ts_ns"] and side == state[0]["order_side"]:
        state[0]["order_far2"] = max(state[0]["order_far2"], far2)
        return 0
    intensity_count(state, now, bucket_ticks, tau_ns)
    state[0]["order_ts_ns"], state[0]["order_side"], state[0]["order_far2"] = ts, side, far2
    return 0


@kernel
def intensity_count(state: Rows, now: Int, bucket_ticks: Int, tau_ns: Int) -> int:
    """Let time pass to `now`, and count the order that was gathered. Returns 0."""
    passed = now - state[0]["flow_ts_ns"]
    if passed > 0:
        kept = exp(-float(passed) / float(tau_ns))
        for b in range(BUCKETS):
            state[0]["flow_counts"][b] = state[0]["flow_counts"][b] * kept
        state[0]["flow_ts_ns"] = now
    for b in range(BUCKETS):
        if state[0]["order_far2"] >= 2 * b * bucket_ticks:
            state[0]["flow_counts"][b] += 1.0
    state[0]["order_far2"] = -1
    return 0


@kernel
def intensity_fit(state: Rows, now: Int, bucket_ticks: Int, tau_ns: Int) -> int:
    """Fit A and k to what was counted; 1 when they are known, 0 (and A = 0) when not.

    Known when tau has passed since the first trade, three buckets hold enough, and fewer orders
    reach farther.
    """
    state[0]["arrival_per_s"], state[0]["decay_per_tick"] = 0.0, 0.0
    first = state[0]["flow_first_ns"]
    if first == 0 or now - first < tau_ns:
        return 0
    intensity_count(state, now, bucket_ticks, tau_ns)
    tau = float(tau_ns)
    seconds = tau * (1.0 - exp(-float(now - first) / tau)) / SECOND_NS
    n, sum_x, sum_y, sum_xx, sum_xy = 0.0, 0.0, 0.0, 0.0, 0.0
    for b in range(BUCKETS):
        count = state[0]["flow_counts"][b]
        if count < COUNT_MIN:
            break
        x, y = float(b * bucket_ticks), log(count / (2.0 * seconds))  # of one of the two sides
        n += 1.0
        sum_x += x
        sum_y += y
        sum_xx += x * x
        sum_xy += x * y
    if n < float(BUCKETS_MIN):
        return 0
    slope = (n * sum_xy - sum_x * sum_y) / (n * sum_xx - sum_x * sum_x)
    if not slope <= -DECAY_MIN:
        return 0
    state[0]["decay_per_tick"] = -slope
    state[0]["arrival_per_s"] = exp((sum_y - slope * sum_x) / n)
    return 1
