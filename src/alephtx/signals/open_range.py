"""Open range: where the mid stands against the range of the session's first minutes.

The session [start, start + session) opens at offset + n x session (UTC). Over its first `open` ns
the highest and lowest mid are kept; afterwards

position = (mid - (high + low) / 2) / max((high - low) / 2, one tick)

above +1: broken out upwards, below -1: downwards. Source: T. Crabel, "Day Trading with Short Term
Price Patterns and Opening Range Breakout" (1990); in the literature U. Holmberg, C. Loennbark, C.
Lundstroem, "Assessing the profitability of intraday opening range breakout strategies" (Finance
Research Letters 10(1), 2013).

Ready when the opening is over, if the first mid came within `late` of the start: a range of which
the beginning was missed is not one, and the signal then waits for the next session.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals.settings import Settings

Rows = np.ndarray[Any, Any]

DAY_MS = 86_400_000
MISSED, SEEN = 1, 2
"""range_phase: the start of this session was missed, or seen."""


def fields(count: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the STATE fields of `count` slots: start in ns, and twice the mid in ticks."""
    return [
        ("range_start", "i8", (count,)),
        ("range_phase", "i8", (count,)),
        ("range_high2", "i8", (count,)),
        ("range_low2", "i8", (count,)),
    ]


PARAMS = np.dtype([
    ("instrument", "i8"), ("session_ns", "i8"), ("offset_ns", "i8"), ("open_ns", "i8"),
    ("late_ns", "i8"),
])  # fmt: skip
STATE = np.dtype(fields(1))
NEEDS = Needs()


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Read instrument, session_ms (a day), offset_ms (0), open_ms (900000) and late_ms (1000)."""
    read = Settings(section, "open_range", instruments)
    row = np.zeros(1, PARAMS)
    row["instrument"] = read.instrument()
    row["session_ns"] = read.milliseconds("session_ms", DAY_MS, 1, 366 * DAY_MS)
    row["offset_ns"] = read.milliseconds("offset_ms", 0, 0, 366 * DAY_MS)
    row["open_ns"] = read.milliseconds("open_ms", 900_000, 1, 366 * DAY_MS)
    row["late_ns"] = read.milliseconds("late_ms", 1_000, 0, 366 * DAY_MS)
    read.close()
    if row[0]["open_ns"] >= row[0]["session_ns"]:
        raise read.fail("open_ms", "is not below session_ms", "open for a part of the session")
    if row[0]["late_ns"] > row[0]["open_ns"]:
        raise read.fail("late_ms", "is above open_ms", "a late start must still see the opening")
    return row


def warmup_ns(params: Rows) -> int:
    """Return a session and its opening: the most that it takes."""
    return int(params[0]["session_ns"] + params[0]["open_ns"])


@kernel
def range_update(
    state: Rows,
    slot: Int,
    now: Int,
    twice_mid: Int,
    session: Int,
    offset: Int,
    open_: Int,
    late: Int,
) -> float:
    """Take twice the mid in ticks (bid + ask) and return its position, NaN while not ready.

    state: a row with `fields`; range_high2 and range_low2 are the range once the opening is over.
    Times in ns. O(1), about 7 ns.
    """
    start = (now - offset) // session * session + offset
    if start != state[0]["range_start"][slot] or state[0]["range_phase"][slot] == 0:
        state[0]["range_start"][slot] = start
        state[0]["range_phase"][slot] = SEEN if now - start <= late else MISSED
        state[0]["range_high2"][slot] = twice_mid
        state[0]["range_low2"][slot] = twice_mid
    if state[0]["range_phase"][slot] != SEEN:
        return np.nan
    if now - start < open_:
        high, low = state[0]["range_high2"][slot], state[0]["range_low2"][slot]
        state[0]["range_high2"][slot] = max(high, twice_mid)
        state[0]["range_low2"][slot] = min(low, twice_mid)
        return np.nan
    high, low = state[0]["range_high2"][slot], state[0]["range_low2"][slot]
    return float(2 * twice_mid - high - low) / float(max(high - low, np.int64(4)))


@kernel
def on_event(event: Rows, view: View, params: Rows, state: Rows) -> float:
    """Return the position against the open range after an event."""
    p, top = params[0], view.top[params[0]["instrument"]]
    if np.int64(top["aux"]) & UNTRADEABLE_MASK or top["bid_qty"] <= 0 or top["ask_qty"] <= 0:
        return np.nan
    return range_update(
        state, 0, view.now[0], top["bid"] + top["ask"], p["session_ns"], p["offset_ns"],
        p["open_ns"], p["late_ns"],
    )  # fmt: skip
