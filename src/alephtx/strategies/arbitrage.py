"""Arbitrage between instruments of one underlying: spot, linear and inverse, on any venues.

Sell the dear one at its bid and buy the cheap one at its ask, both IOC in one batch that the gate
passes or denies whole, when (bid - ask) / middle - taker fees - margin reaches the trigger. Come
back when the spread has closed. Base coin is the measure: an inverse contract counts with its cost
in coin, which is what its profit moves with.

How a leg that is open is closed stands in `hedging`.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.view import Needs, View
from alephtx.strategies.hedging import (
    LEG_FIELDS,
    cancel_legs,
    edge_e8,
    finer_step,
    hear,
    rearm,
    sane,
    send_pair,
    settle,
)
from alephtx.strategies.legs import held_base
from alephtx.strategies.sections import (
    INSTRUMENTS_MAX,
    one_coin,
    put_instruments,
    put_price_scale,
    reading,
)

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=10_000_000)

PARAMS = np.dtype([
    ("instruments", "i8", (INSTRUMENTS_MAX,)),
    ("price_mul", "i8", (INSTRUMENTS_MAX,)),  # brings prices to one scale
    ("instrument_count", "i8"),
    ("trigger_e8", "i8"),
    ("unwind_e8", "i8"),
    ("margin_e8", "i8"),
    ("cross_e8", "i8"),
    ("qty_base_e8", "i8"),
    ("position_max_e8", "i8"),
    ("cooldown_ns", "i8"),
    ("leg_deadline_ns", "i8"),
    ("max_age_ns", "i8"),
    ("hedges_max", "i8"),
    ("fee_aware", "i8"),
])  # fmt: skip

STATE = np.dtype([
    *LEG_FIELDS,
    ("trades", "i8"),
    ("unwinds", "i8"),
    ("seen_blind", "i8"),  # episodes above the trigger before fees
    ("seen_aware", "i8"),  # and after fees
    ("best_blind_e8", "i8"),
    ("best_aware_e8", "i8"),
    ("above_blind", "i8", (INSTRUMENTS_MAX * INSTRUMENTS_MAX,)),
    ("above_aware", "i8", (INSTRUMENTS_MAX * INSTRUMENTS_MAX,)),
])  # fmt: skip

WHOLE_E8 = 100_000_000


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: 2 to 8 of one underlying. trigger_bps, margin_bps, unwind_bps (when the reverse
    edge reaches it the position is closed), cross_bps (how much further each hedge crosses).
    qty_base: base coin per trade; position_max_base: per instrument. cooldown_ms, leg_deadline_ms,
    max_age_ms (of a quote). hedges_max. fee_aware = false trades on the edge before fees.
    assume_parity = true lets quote currencies differ (USDT and USD) as if they were one; a de-peg
    then looks like an edge.
    """
    with reading(section, "arbitrage") as read:
        row = np.zeros(1, PARAMS)
        indices = read.instruments(instruments, 2, INSTRUMENTS_MAX)
        if not one_coin(instruments, indices):
            raise read.fail("instruments", "are not all of one underlying")
        read.parity(instruments, indices)
        put_instruments(row, indices)
        put_price_scale(row, instruments, indices)
        row["trigger_e8"] = read.bps("trigger_bps", "5", "0")
        row["margin_e8"] = read.bps("margin_bps", "0", "0")
        row["unwind_e8"] = read.bps("unwind_bps", "0")
        row["cross_e8"] = read.bps("cross_bps", "5", "0.01", "500")
        row["qty_base_e8"] = read.base("qty_base")
        row["position_max_e8"] = read.base(
            "position_max_base", str(read.number("qty_base", "1", "0", "1e9"))
        )
        if row[0]["position_max_e8"] < row[0]["qty_base_e8"]:
            raise read.fail("position_max_base", "is less than qty_base")
        row["cooldown_ns"] = read.milliseconds("cooldown_ms", 100, 0, 3_600_000)
        row["leg_deadline_ns"] = read.milliseconds("leg_deadline_ms", 500, 1, 60_000)
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
        row["hedges_max"] = read.count("hedges_max", 3, 1, 20)
        row["fee_aware"] = read.flag("fee_aware", default=True)
    return row


def on_start(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Arm: enabling a strategy that halted itself is a person's word to go on."""
    rearm(state)
    state[0]["best_blind_e8"], state[0]["best_aware_e8"] = -WHOLE_E8, -WHOLE_E8
    return 0


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Serve what is open; measure every pair the event's instrument is part of, and trade."""
    n = settle(view, params, state, intents)
    found = _search(np.int64(event[0]["instrument"]), view, params, state, intents, n == 0)
    return max(n, found)


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Note who spoke, and see whether a leg is open."""
    hear(update, state)
    return max(settle(view, params, state, intents), 0)


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Keep deadlines when no market moves."""
    return max(settle(view, params, state, intents), 0)


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel what is live."""
    return cancel_legs(view, intents)


@inline_kernel
def _search(i: Int, view: View, params: Rows, state: Rows, intents: Rows, free: Int) -> int:
    """Measure every pair with the instrument; when free, trade the first that asks for it."""
    mine, n = -1, 0
    for k in range(params[0]["instrument_count"]):
        if params[0]["instruments"][k] == i:
            mine = k
    if mine < 0 or not sane(view, params, mine):
        return 0
    ready = view.now[0] - state[0]["sent_ns"] >= params[0]["cooldown_ns"]
    for other in range(params[0]["instrument_count"]):
        if other == mine or not sane(view, params, other):
            continue
        for turn in range(2):
            a, b = (mine, other) if turn == 0 else (other, mine)
            aware = _measure(view, params, state, a, b)
            if free and ready and n == 0:
                n = _trade(view, params, state, intents, a, b, aware)
    return n


@inline_kernel
def _measure(view: View, params: Rows, state: Rows, a: Int, b: Int) -> int:
    """Count what a blind and an aware detector see; return the edge to decide by."""
    blind = edge_e8(view, params, a, b)
    fees = view.instruments[params[0]["instruments"][a]]["taker_fee_e8"]
    fees += view.instruments[params[0]["instruments"][b]]["taker_fee_e8"]
    aware = blind - fees
    bar, pair = params[0]["trigger_e8"] + params[0]["margin_e8"], a * INSTRUMENTS_MAX + b
    above = 1 if blind >= bar else 0
    state[0]["seen_blind"] += 1 if above > state[0]["above_blind"][pair] else 0
    state[0]["above_blind"][pair] = above
    above = 1 if aware >= bar else 0
    state[0]["seen_aware"] += 1 if above > state[0]["above_aware"][pair] else 0
    state[0]["above_aware"][pair] = above
    state[0]["best_blind_e8"] = max(state[0]["best_blind_e8"], blind)
    state[0]["best_aware_e8"] = max(state[0]["best_aware_e8"], aware)
    return aware if params[0]["fee_aware"] != 0 else blind


@inline_kernel
def _trade(view: View, params: Rows, state: Rows, intents: Rows, a: Int, b: Int, edge: Int) -> int:
    """Sell a and buy b when that closes a position in time or opens one worth its fees."""
    dear, cheap = params[0]["instruments"][a], params[0]["instruments"][b]
    long, short = held_base(view, dear), -held_base(view, cheap)
    most = params[0]["qty_base_e8"]
    closing = long > 0 and short > 0
    if closing and edge_e8(view, params, a, b) >= params[0]["unwind_e8"]:
        # A lot of the finer leg more, so that rounding leaves no contract of the coarser behind.
        most = min(most, min(long, short) + finer_step(view, dear, cheap))
    elif edge >= params[0]["trigger_e8"] + params[0]["margin_e8"]:
        room = params[0]["position_max_e8"] + min(long, short)
        most = min(most, room)
        closing = False
    else:
        return 0
    n = send_pair(view, state, intents, dear, cheap, most)
    if n > 0:
        state[0]["unwinds"] += 1 if closing else 0
        state[0]["trades"] += 0 if closing else 1
    return n
