"""Trend: go with a breakout or a crossing of averages, sized by volatility, out at a trailing stop.

Direction: of `open_range`, where the middle stands beyond the session's opening range
(`signals.open_range`); of `ewma`, the sign of a fast less a slow exponential average of the middle
once they are `band_bps` apart. The size is qty_base x vol_target / volatility, at most
inventory_max_base, fixed when the direction appears: a quiet market is traded larger, so that each
trade risks about as much. It goes out when the middle has come back by `trail_bps` from the best
since then, and not in again before the direction has ended or turned.

Sources: T. Crabel, "Day Trading with Short Term Price Patterns and Opening Range Breakout" (1990);
T. Moskowitz, Y. Ooi, L. Pedersen, "Time series momentum" (Journal of Financial Economics 104(2),
2012) for positions scaled by volatility. Averages and volatility are floats of + - * / and the
square root alone; what is decided by is their sign, and integers.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import FLOOR, OVERFLOW, mul_div_checked
from alephtx.core.view import Needs, View
from alephtx.core.words import FILL
from alephtx.signals import open_range, realised_vol
from alephtx.signals.elementary import exp
from alephtx.signals.open_range import DAY_MS, range_update
from alephtx.signals.realised_vol import vol_read, vol_update
from alephtx.strategies.aiming import aim, cancel_all
from alephtx.strategies.legs import usable
from alephtx.strategies.sections import reading

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=50_000_000)

EWMA, OPEN_RANGE = 0, 1
ENTRIES = ("ewma", "open_range")

PARAMS = np.dtype([
    ("instrument", "i8"),
    ("entry", "i8"),
    ("fast_share", "f8"),  # of the way to the middle that an average goes at each sample
    ("slow_share", "f8"),
    ("slow_samples", "i8"),  # that the slow average needs
    ("band", "f8"),  # fraction of the price
    ("session_ns", "i8"),
    ("offset_ns", "i8"),
    ("open_ns", "i8"),
    ("late_ns", "i8"),
    ("vol_target_e12", "i8"),  # 10^-12 of the price per root second
    ("trail_e8", "i8"),
    ("qty_base_e8", "i8"),
    ("inventory_max_e8", "i8"),
    ("sample_ns", "i8"),
    ("tau_ns", "i8", (3,)),
    ("cross_e8", "i8"),
    ("cooldown_ns", "i8"),
    ("deadline_ns", "i8"),
    ("max_age_ns", "i8"),
])  # fmt: skip

STATE = np.dtype([
    ("fast", "f8"),
    ("slow", "f8"),
    ("direction", "i8"),  # what the entry says now: +1, -1, 0
    ("size_e8", "i8"),  # of the present direction; 0 while the volatility is not known
    ("best2", "i8"),  # twice the best middle since, in ticks
    ("out", "i8"),  # 1: stopped out of this direction
    ("target_e8", "i8"),
    ("sent_ns", "i8"),
    ("sent", "i8"),
    ("entries", "i8"),
    ("stops", "i8"),
    ("fills", "i8"),
    *open_range.fields(1),
    *realised_vol.fields(1),
])  # fmt: skip

WHOLE_E8 = 100_000_000
VOL_MAX_E12 = 1e15


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: one. entry: ewma (fast_ms, slow_ms, band_bps) or open_range (session_ms, offset_ms,
    open_ms, late_ms). qty_base is traded at a volatility of vol_target_bps_per_root_s, and at most
    inventory_max_base; trail_bps. sample_ms of averages and volatility, vol_tau_ms. cross_bps
    beyond the touch, cooldown_ms between orders, deadline_ms for an answer, max_age_ms of the
    touch.
    """
    with reading(section, "trend") as read:
        row = np.zeros(1, PARAMS)
        (row["instrument"],) = read.instruments(instruments, 1, 1)
        row["entry"] = read.choice("entry", ENTRIES)
        row["sample_ns"] = read.milliseconds("sample_ms", 100, 1, 3_600_000)
        fast_ns = read.milliseconds("fast_ms", 10_000, 1, 30 * DAY_MS)
        slow_ns = read.milliseconds("slow_ms", 60_000, 1, 30 * DAY_MS)
        row["tau_ns"] = read.milliseconds("vol_tau_ms", 60_000, 1, 30 * DAY_MS)
        if not fast_ns < slow_ns:
            raise read.fail("fast_ms", "is not below slow_ms")
        if row[0]["sample_ns"] > min(fast_ns, int(row[0]["tau_ns"][0])):
            raise read.fail("sample_ms", "is above fast_ms or vol_tau_ms", "sample more often")
        row["fast_share"] = 1.0 - exp(-float(row[0]["sample_ns"]) / float(fast_ns))
        row["slow_share"] = 1.0 - exp(-float(row[0]["sample_ns"]) / float(slow_ns))
        row["slow_samples"] = -(-slow_ns // int(row[0]["sample_ns"]))
        row["band"] = read.bps("band_bps", "1", "0", "1000") / WHOLE_E8
        row["session_ns"] = read.milliseconds("session_ms", DAY_MS, 1, 366 * DAY_MS)
        row["offset_ns"] = read.milliseconds("offset_ms", 0, 0, 366 * DAY_MS)
        row["open_ns"] = read.milliseconds("open_ms", 900_000, 1, 366 * DAY_MS)
        row["late_ns"] = read.milliseconds("late_ms", 1_000, 0, 366 * DAY_MS)
        if row[0]["open_ns"] >= row[0]["session_ns"]:
            raise read.fail("open_ms", "is not below session_ms")
        if row[0]["late_ns"] > row[0]["open_ns"]:
            raise read.fail("late_ms", "is above open_ms")
        row["vol_target_e12"] = read.scaled("vol_target_bps_per_root_s", "0.5", "0.0001", "1000", 8)
        row["trail_e8"] = read.bps("trail_bps", "20", "0.01", "5000")
        row["qty_base_e8"] = read.base("qty_base")
        row["inventory_max_e8"] = read.base("inventory_max_base")
        row["cross_e8"] = read.bps("cross_bps", "1", "0", "500")
        row["cooldown_ns"] = read.milliseconds("cooldown_ms", 100, 0, 3_600_000)
        row["deadline_ns"] = read.milliseconds("deadline_ms", 500, 1, 60_000)
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Look at the instrument that moved."""
    if params[0]["instrument"] != np.int64(event[0]["instrument"]):
        return 0
    return _follow(view, params, state, intents)


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Send what an order left over."""
    state[0]["fills"] += 1 if update[0]["kind"] == FILL else 0
    return aim(view, params, state, intents, params[0]["instrument"], state[0]["target_e8"])


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Keep deadlines, and sample, when no market moves."""
    return _follow(view, params, state, intents)


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel what is live; the position stays."""
    return cancel_all(view, intents)


@kernel
def _follow(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Measure, decide what to hold, and order what is missing."""
    i = params[0]["instrument"]
    sound = usable(view, i, params[0]["max_age_ns"])
    twice = view.top[i]["bid"] + view.top[i]["ask"] if sound else np.int64(0)
    price = float(twice) / 2.0 if sound else np.nan
    points = vol_update(state, 0, view.now[0], price, params[0]["sample_ns"], params[0]["tau_ns"])
    if sound:
        direction = _range_side(twice, view.now[0], params, state)
        if params[0]["entry"] == EWMA:
            direction = _crossing(points, price, params, state)
        _decide(direction, twice, price, params, state)
    return aim(view, params, state, intents, i, state[0]["target_e8"])


@inline_kernel
def _crossing(points: Int, price: Any, params: Rows, state: Rows) -> int:
    """Bring the averages to now and return their direction, 0 while it is not known.

    Of several points passed at once only two are taken: that is enough for a market that stood.
    """
    if state[0]["slow"] == 0.0:
        state[0]["fast"], state[0]["slow"] = price, price
    for _ in range(min(points, 2)):
        state[0]["fast"] += params[0]["fast_share"] * (price - state[0]["fast"])
        state[0]["slow"] += params[0]["slow_share"] * (price - state[0]["slow"])
    if state[0]["vol_points"][0] < params[0]["slow_samples"]:
        return 0
    apart, band = state[0]["fast"] - state[0]["slow"], params[0]["band"] * price
    return 1 if apart > band else (-1 if apart < -band else 0)


@inline_kernel
def _range_side(twice: Int, now: Int, params: Rows, state: Rows) -> int:
    """Return +1 above the opening range, -1 below it, 0 within or while it is not known."""
    place = range_update(
        state, 0, now, twice, params[0]["session_ns"], params[0]["offset_ns"], params[0]["open_ns"],
        params[0]["late_ns"],
    )  # fmt: skip
    return 1 if place > 1.0 else (-1 if place < -1.0 else 0)


@inline_kernel
def _decide(direction: Int, twice: Int, price: Any, params: Rows, state: Rows) -> None:
    """Set the target: begin with a new direction, follow it, leave at the trailing stop."""
    if direction != state[0]["direction"] and direction != 0:
        state[0]["size_e8"], state[0]["best2"], state[0]["out"] = 0, twice, 0
        state[0]["direction"], state[0]["target_e8"] = direction, 0
    elif direction == 0 and state[0]["target_e8"] == 0:
        state[0]["direction"], state[0]["out"] = 0, 0
    going = state[0]["direction"]
    if going == 0 or state[0]["out"] == 1:
        return
    if (twice - state[0]["best2"]) * going > 0:
        state[0]["best2"] = twice
    give = mul_div_checked(state[0]["best2"], params[0]["trail_e8"], WHOLE_E8, FLOOR)
    if (state[0]["best2"] - twice) * going > give:
        state[0]["out"], state[0]["target_e8"] = 1, 0
        state[0]["stops"] += 1
        return
    if state[0]["size_e8"] == 0:
        size = sized(params, state)
        state[0]["size_e8"] = size
        state[0]["entries"] += 1 if size > 0 else 0
    state[0]["target_e8"] = going * state[0]["size_e8"]


@inline_kernel
def sized(params: Rows, state: Rows) -> Int:
    """Return the base to hold at the present volatility in 10^-8, 0 while that is not known."""
    vol = vol_read(state, 0, 0, params[0]["sample_ns"], params[0]["tau_ns"]) * 1e12
    if not 0.0 <= vol < VOL_MAX_E12:
        return 0
    risk = max(np.int64(vol + 0.5), 1)
    size = mul_div_checked(params[0]["qty_base_e8"], params[0]["vol_target_e12"], risk, FLOOR)
    most = params[0]["inventory_max_e8"]
    return most if size == OVERFLOW else min(size, most)
