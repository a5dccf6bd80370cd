"""How long things take: four paths of a simulated venue, each with a model of its own.

FEED      the market's messages, from the venue's stamp to our ear
ENTRY     an order or amend, from our decision to the matching engine
CANCEL    a cancel, likewise
RESPONSE  a report, from the matching engine to us

CONSTANT  delay_ns
RECORDED  of FEED only: the recorded receive stamp, plus delay_ns (for a recorder's clock that was
          off: a backtest refuses a tape that would be heard before it was sent)
FEED_TIED delay_ns + ratio x the delay of the newest market message we heard: what slows the feed
          slows orders
LOADED    delay_ns + ratio x market rows of the venue's last 10 ms, 1 us each at ratio 1: matching
          engines are slow when everybody is there
TABLE     interpolated between measured (time, ns) points, see `Points`

Messages of one path never overtake each other: a later one arrives at the earliest with the one
before it, as in a TCP stream. All integers; ratio in millionths.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import FLOOR, mul_div_checked

Rows = np.ndarray[Any, Any]

FEED, ENTRY, CANCEL, RESPONSE = 0, 1, 2, 3
PATHS = 4

CONSTANT, RECORDED, FEED_TIED, LOADED, TABLE = 0, 1, 2, 3, 4
NAMES = {
    "constant": CONSTANT, "recorded": RECORDED, "feed_tied": FEED_TIED, "loaded": LOADED,
    "table": TABLE,
}  # fmt: skip

# Columns of a row of models: int64 (PATHS, LATENCY_WORDS) per venue.
L_KIND, L_DELAY, L_RATIO_E6, L_FIRST, L_COUNT, L_AT = 0, 1, 2, 3, 4, 5
LATENCY_WORDS = 8


@inline_kernel
def delay_of(model: Rows, points: Rows, now: Int, feed_ns: Int, load: Int) -> Int:
    """Return the delay of a message sent now. model: int64 (LATENCY_WORDS,) of its path.

    points: int64 (n, 2) of (time ns, delay ns), all tables one after the other. feed_ns: the newest
    market message's own delay; load: the venue's rows of the last 10 ms.
    """
    if model[L_KIND] == CONSTANT:
        return model[L_DELAY]
    return model[L_DELAY] + _varying(model, points, now, feed_ns, load)


@kernel
def _varying(model: Rows, points: Rows, now: int, feed_ns: int, load: int) -> int:
    """Return what comes on top of the constant part; apart, so that the usual case stays short."""
    if model[L_KIND] == FEED_TIED:
        return mul_div_checked(feed_ns, model[L_RATIO_E6], 1_000_000, FLOOR)
    if model[L_KIND] == LOADED:
        return load * model[L_RATIO_E6] // 1_000
    return _interpolated(model, points, now)


@kernel
def _interpolated(model: Rows, points: Rows, now: int) -> int:
    """Return the delay at a time between two points; before the first and after the last, theirs.

    The place is remembered: time only grows within a run.
    """
    first, last = model[L_FIRST], model[L_FIRST] + model[L_COUNT] - 1
    at = max(model[L_AT], first)
    while at < last and points[at + 1, 0] <= now:
        at += 1
    model[L_AT] = at
    if at == last or now <= points[at, 0]:
        return points[at, 1]
    span, done = points[at + 1, 0] - points[at, 0], now - points[at, 0]
    change = points[at + 1, 1] - points[at, 1]
    return points[at, 1] + mul_div_checked(change, done, span, FLOOR)
