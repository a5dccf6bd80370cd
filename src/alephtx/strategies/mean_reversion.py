"""Mean reversion: hold the spread of two instruments while it is far from its mean, and wait.

spread = ln(first) - hedge_ratio x ln(second), of the middles, in bps; its z-score is
`signals.spread_zscore`'s, with weights e^(-age / tau). Beyond entry_z the spread is sold (bought
below -entry_z): the first instrument against hedge_ratio as much value of the second. Within
exit_z, or on the other side of the mean, it goes out; beyond stop_z too, and then not in again
before the spread has come back to exit_z. Nothing is opened whose way back to exit_z would not pay
both spreads, four taker fees and margin_bps (fee_aware). Whether two prices belong together is to
be tested before: `analysis.cointegration`, which gives the hedge ratio too.

Two instruments of one coin (spot and perpetual) are a hedged pair, and the leg guard's business:
equal base, one group, an open leg is closed by HEDGE orders (`hedging`). Two coins have no net that
the guard could know, so their orders have no group: each leg goes to its own target, as in
`aiming`; where one cannot be had in `hedges_max` tries both go back, and where that fails too it
stops itself and says so in STATE.alarm.

Sources: E. Gatev, W. Goetzmann, G. Rouwenhorst, "Pairs trading: performance of a relative-value
arbitrage rule" (Review of Financial Studies 19(3), 2006); G. Vidyamurthy, "Pairs Trading:
Quantitative Methods and Analysis" (2004) for log prices and the hedge ratio. The score is a float
of + - * / and the square root, rounded to 10^-6 before it decides.
"""

import math
from typing import Any

import numpy as np

from alephtx.core.exposure import base_value
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import FLOOR, OVERFLOW, TRUNCATE, mul_div_checked
from alephtx.core.view import Needs, View
from alephtx.signals import spread_zscore
from alephtx.signals.elementary import log
from alephtx.signals.spread_zscore import zscore_update
from alephtx.strategies.aiming import order_missing
from alephtx.strategies.hedging import (
    ALARM_HEDGE_DENIED,
    ALARM_LEG_OPEN,
    DENIALS_ALARM,
    LEG_FIELDS,
    cancel_legs,
    finer_step,
    hear,
    rearm,
    sane,
    send_pair,
    settle,
    wait_legs,
)
from alephtx.strategies.legs import held_base, order_fits, trade_lots
from alephtx.strategies.sections import (
    INSTRUMENTS_MAX,
    one_coin,
    put_instruments,
    put_price_scale,
    reading,
)

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=50_000_000)

PARAMS = np.dtype([
    ("instruments", "i8", (INSTRUMENTS_MAX,)),
    ("price_mul", "i8", (INSTRUMENTS_MAX,)),  # brings prices to one scale
    ("instrument_count", "i8"),
    ("one_coin", "i8"),
    ("hedge_e8", "i8"),
    ("entry_e6", "i8"),
    ("exit_e6", "i8"),
    ("stop_e6", "i8"),
    ("tau_ns", "i8"),
    ("floor", "f8"),  # bps; a standard deviation below is taken for this
    ("warmup_ns", "i8"),
    ("qty_base_e8", "i8"),
    ("margin_e8", "i8"),
    ("fee_aware", "i8"),
    ("cross_e8", "i8"),
    ("cooldown_ns", "i8"),
    ("leg_deadline_ns", "i8"),
    ("max_age_ns", "i8"),
    ("hedges_max", "i8"),
])  # fmt: skip

STATE = np.dtype([
    *LEG_FIELDS,
    ("z_e6", "i8"),
    ("away_e8", "i8"),  # from the mean, as 10^-8 of the price
    ("known", "i8"),  # 1: there is a score now
    ("stopped", "i8"),  # 1: out at the stop, and the spread has not come back yet
    ("target_e8", "i8", (2,)),  # of two coins: what each leg should hold
    ("entries", "i8"),
    ("exits", "i8"),
    ("stops", "i8"),
    ("too_dear", "i8"),  # looks at which the way back would not have paid the costs
    *spread_zscore.fields(1),
])  # fmt: skip

WHOLE_E8 = 100_000_000
Z_MAX = 1e6


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: two, of one coin or of two. hedge_ratio: value of the second for one of the first;
    1 for one coin. exit_z < entry_z < stop_z. tau_ms and floor_bps of the score; warmup_ms: no
    entry before, nor before tau_ms. qty_base: of the first. margin_bps, fee_aware, assume_parity:
    as in arbitrage. cross_bps beyond the touch, more with each try; cooldown_ms, leg_deadline_ms,
    max_age_ms (of a quote), hedges_max.
    """
    with reading(section, "mean_reversion") as read:
        row = np.zeros(1, PARAMS)
        indices = read.instruments(instruments, 2, 2)
        row["one_coin"] = int(one_coin(instruments, indices))
        read.parity(instruments, indices)
        put_instruments(row, indices)
        put_price_scale(row, instruments, indices)
        row["hedge_e8"] = read.scaled("hedge_ratio", "1", "0.001", "1000", 8)
        if row[0]["one_coin"] and row[0]["hedge_e8"] != WHOLE_E8:
            raise read.fail(
                "hedge_ratio", "for two instruments of one coin",
                "leave it 1: the leg guard takes them for a pair of equal base",
            )  # fmt: skip
        row["entry_e6"] = read.scaled("entry_z", "2", "0.01", "1000", 6)
        row["exit_e6"] = read.scaled("exit_z", "0.5", "0", "1000", 6)
        row["stop_e6"] = read.scaled("stop_z", "4", "0.01", "1000", 6)
        if not row[0]["exit_e6"] < row[0]["entry_e6"]:
            raise read.fail("exit_z", "is not below entry_z")
        if not row[0]["entry_e6"] < row[0]["stop_e6"]:
            raise read.fail("stop_z", "is not above entry_z")
        row["tau_ns"] = read.milliseconds("tau_ms", 300_000, 1, 30 * 86_400_000)
        row["floor"] = float(read.number("floor_bps", "0.5", "0.000001", "10000"))
        row["warmup_ns"] = read.milliseconds("warmup_ms", 0, 0, 30 * 86_400_000)
        row["qty_base_e8"] = read.base("qty_base")
        row["margin_e8"] = read.bps("margin_bps", "0", "0", "1000")
        row["fee_aware"] = read.flag("fee_aware", default=True)
        row["cross_e8"] = read.bps("cross_bps", "5", "0.01", "100")
        row["cooldown_ns"] = read.milliseconds("cooldown_ms", 100, 0, 3_600_000)
        row["leg_deadline_ns"] = read.milliseconds("leg_deadline_ms", 500, 1, 60_000)
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
        row["hedges_max"] = read.count("hedges_max", 3, 1, 20)
    return row


def on_start(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Arm, and take over what is held: two legs as they are, one alone to be closed."""
    rearm(state)
    first = held_base(view, params[0]["instruments"][0])
    second = held_base(view, params[0]["instruments"][1])
    both = (first > 0 and second < 0) or (first < 0 and second > 0)
    state[0]["target_e8"][0] = first if both else 0
    state[0]["target_e8"][1] = second if both else 0
    return 0


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Look at the pair when one of it moved."""
    i = np.int64(event[0]["instrument"])
    if i != params[0]["instruments"][0] and i != params[0]["instruments"][1]:
        return 0
    return _look(view, params, state, intents)


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Note who spoke, and see whether a leg is open."""
    hear(update, state)
    return max(_serve(view, params, state, intents), 0)


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Keep deadlines, and let time go on, when no market moves."""
    return _look(view, params, state, intents)


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel what is live; the position stays."""
    return cancel_legs(view, intents)


@kernel
def _look(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Measure; serve what is open; go in or out."""
    _measure(view, params, state)
    if params[0]["one_coin"] == 0:
        _set_targets(view, params, state)
    served = _serve(view, params, state, intents)
    if served == 0 and params[0]["one_coin"] != 0:
        return _trade_pair(view, params, state, intents)
    return max(served, 0)


@kernel
def _serve(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Serve live orders and open legs; returns intents written, 0 free to trade, -1 not free.

    Called, not expanded: it is long, and the strategy in no hurry.
    """
    if params[0]["one_coin"] != 0:
        return settle(view, params, state, intents)
    return drive(view, params, state, intents)


@inline_kernel
def _measure(view: View, params: Rows, state: Rows) -> None:
    """Bring the score to now; unknown without two sound markets or before tau has passed."""
    i, other = params[0]["instruments"][0], params[0]["instruments"][1]
    spread = np.nan
    if sane(view, params, 0) and sane(view, params, 1):
        first = log(float(view.top[i]["bid"] + view.top[i]["ask"]))
        second = log(float(view.top[other]["bid"] + view.top[other]["ask"]))
        spread = 1e4 * (first - float(params[0]["hedge_e8"]) / 1e8 * second)
    z = zscore_update(state, 0, view.now[0], spread, params[0]["tau_ns"], params[0]["floor"])
    state[0]["known"] = 0 if math.isnan(z) else 1
    if state[0]["known"] == 1:
        away = spread - state[0]["spread_mean"][0]
        state[0]["z_e6"] = np.int64(np.floor(min(max(z, -Z_MAX), Z_MAX) * 1e6 + 0.5))
        state[0]["away_e8"] = np.int64(np.floor(min(max(away, -Z_MAX), Z_MAX) * 1e4 + 0.5))


@kernel
def drive(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Send two coins' legs towards their targets; returns intents written, -1 for not free.

    Tries count that a venue heard of; those that our gate denied wait for the leg's deadline. After
    `hedges_max` of either the targets are nothing; when nothing cannot be had either, it halts.
    """
    if view.open_count[0] > 0:
        return wait_legs(view, params, state, intents)
    legs = params[0]["instruments"]
    if state[0]["halted"] != 0:
        return -1
    if OVERFLOW in (held_base(view, legs[0]), held_base(view, legs[1])):
        state[0]["halted"], state[0]["alarm"] = 1, ALARM_LEG_OPEN
        return -1
    if not (_short(view, params, state, 0) or _short(view, params, state, 1)):
        state[0]["attempts"], state[0]["quiet"], state[0]["hedging"] = 0, 0, 0
        return 0
    denied, again = state[0]["heard"] == 0, state[0]["hedging"] != 0
    pause = params[0]["leg_deadline_ns"] if denied else params[0]["cooldown_ns"]
    if again and view.now[0] - state[0]["sent_ns"] < pause:
        return -1
    if again:
        state[0]["hedging"] = 0
        state[0]["quiet"] += 1 if denied else 0
        state[0]["attempts"] += 0 if denied else 1
        _give_up(params, state)
    n: Any = 0
    for k in range(2):
        target, times = state[0]["target_e8"][k], state[0]["attempts"] + 1
        if state[0]["halted"] == 0:
            n = order_missing(view, params, intents, n, legs[k], target, times)
    if n == 0:
        return -1
    state[0]["hedges"] += 1 if again else 0
    state[0]["sent_ns"], state[0]["heard"], state[0]["hedging"] = view.now[0], 0, 1
    return int(n)


@inline_kernel
def _give_up(params: Rows, state: Rows) -> None:
    """Go flat when the targets cannot be had, and halt when flat cannot."""
    most = params[0]["hedges_max"]
    if state[0]["quiet"] >= DENIALS_ALARM:
        state[0]["alarm"] = ALARM_HEDGE_DENIED
    if state[0]["target_e8"][0] != 0 or state[0]["target_e8"][1] != 0:
        if state[0]["attempts"] + state[0]["quiet"] >= most:
            state[0]["target_e8"][0], state[0]["target_e8"][1] = 0, 0
            state[0]["attempts"], state[0]["quiet"] = 0, 0
            state[0]["flattens"] += 1
    elif state[0]["attempts"] >= most:
        state[0]["halted"], state[0]["alarm"] = 1, ALARM_LEG_OPEN


@kernel
def _short(view: View, params: Rows, state: Rows, k: Int) -> bool:
    """Tell whether a leg is short of its target by as much as a venue takes."""
    i = params[0]["instruments"][k]
    held = held_base(view, i)
    missing = state[0]["target_e8"][k] - held
    side = 1 if missing > 0 else -1
    price = view.top[i]["ask"] if side > 0 else view.top[i]["bid"]
    if held * side < 0:
        missing = min(abs(missing), abs(held))
    lots = trade_lots(view, i, price, abs(missing), side)
    return bool(lots > 0 and (price <= 0 or order_fits(view, i, price, lots)))


@inline_kernel
def _wanted(view: View, params: Rows, state: Rows, side: Int) -> int:
    """Return the side of the spread to hold, by the score: +1, -1, 0; as it is where unknown."""
    z = state[0]["z_e6"]
    if state[0]["known"] == 0:
        return side
    if abs(z) <= params[0]["exit_e6"]:
        state[0]["stopped"] = 0
    if view.now[0] - state[0]["sent_ns"] < params[0]["cooldown_ns"]:
        return side
    if side != 0:
        return side if -params[0]["stop_e6"] < side * z < -params[0]["exit_e6"] else 0
    far = params[0]["entry_e6"] <= abs(z) < params[0]["stop_e6"]
    warm = view.now[0] - state[0]["spread_first"][0] >= params[0]["warmup_ns"]
    if state[0]["stopped"] != 0 or not far or not warm:
        return 0
    if not _pays(view, params, state):
        state[0]["too_dear"] += 1
        return 0
    return -1 if z > 0 else 1


@inline_kernel
def _note(params: Rows, state: Rows, side: Int, wanted: Int) -> None:
    """Count a turn from a side to the one that is wanted, and remember a stop."""
    if wanted != 0:
        state[0]["entries"] += 1
    elif side * state[0]["z_e6"] <= -params[0]["stop_e6"]:
        state[0]["stops"] += 1
        state[0]["stopped"] = 1
    else:
        state[0]["exits"] += 1


@kernel
def _trade_pair(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Write both legs of one coin, where another side is wanted than is held."""
    first, second = params[0]["instruments"][0], params[0]["instruments"][1]
    held, side = held_base(view, first), 0
    if held != 0 and _fits(view, first, -1 if held > 0 else 1, abs(held)):  # else it is dust
        side = 1 if held > 0 else -1
    wanted = _wanted(view, params, state, side)
    if wanted == side:
        return 0
    dear, cheap = (second, first) if wanted > side else (first, second)
    most: Any = params[0]["qty_base_e8"]
    if wanted == 0:
        # A lot of the finer leg more, so that rounding leaves no contract of the coarser behind.
        most = min(held_base(view, dear), -held_base(view, cheap)) + finer_step(view, dear, cheap)
    n = send_pair(view, state, intents, dear, cheap, most)
    if n > 0:
        _note(params, state, side, wanted)
    return n


@kernel
def _set_targets(view: View, params: Rows, state: Rows) -> None:
    """Give two coins' legs other targets, where they are at theirs and another side is wanted."""
    if view.open_count[0] > 0 or state[0]["halted"] != 0:
        return
    if _short(view, params, state, 0) or _short(view, params, state, 1):
        return
    held = state[0]["target_e8"][0]
    side = 1 if held > 0 else (-1 if held < 0 else 0)
    wanted = _wanted(view, params, state, side)
    if wanted == side:
        return
    ours: Any = 0
    theirs: Any = 0
    if wanted != 0:
        ours, theirs = sized(view, params, wanted)
        if ours == 0:
            return
    state[0]["target_e8"][0], state[0]["target_e8"][1] = wanted * ours, -wanted * theirs
    _note(params, state, side, wanted)


@kernel
def sized(view: View, params: Rows, side: Int) -> tuple[int, int]:
    """Return the base of both legs in 10^-8, no more than the touch shows; zeros: too little.

    The second is hedge_ratio times the first in value, at the middles.
    """
    i, other = params[0]["instruments"][0], params[0]["instruments"][1]
    ours: Any = min(params[0]["qty_base_e8"], _shown(view, i, side))
    price = (view.top[i]["bid"] + view.top[i]["ask"]) * params[0]["price_mul"][0]
    facing = (view.top[other]["bid"] + view.top[other]["ask"]) * params[0]["price_mul"][1]
    wanted = mul_div_checked(ours, params[0]["hedge_e8"], WHOLE_E8, TRUNCATE)
    theirs: Any = mul_div_checked(wanted, price, facing, TRUNCATE)
    there = _shown(view, other, -side)
    if ours <= 0 or there <= 0 or theirs <= 0 or OVERFLOW in (wanted, theirs):
        return 0, 0
    if theirs > there:
        ours, theirs = mul_div_checked(ours, there, theirs, TRUNCATE), there
    if not (_fits(view, i, side, ours) and _fits(view, other, -side, theirs)):
        return 0, 0
    return ours, theirs


@inline_kernel
def _shown(view: View, i: Int, side: Int) -> Int:
    """Return the base that a taker of a side is shown, or OVERFLOW, which is below zero."""
    price = view.top[i]["ask"] if side > 0 else view.top[i]["bid"]
    lots = view.top[i]["ask_qty"] if side > 0 else view.top[i]["bid_qty"]
    return base_value(view.instruments, i, price, lots, TRUNCATE)


@kernel
def _fits(view: View, i: Int, side: Int, base: Int) -> bool:
    """Tell whether so much base is an order."""
    price = view.top[i]["ask"] if side > 0 else view.top[i]["bid"]
    return order_fits(view, i, price, trade_lots(view, i, price, base, side))


@kernel
def _pays(view: View, params: Rows, state: Rows) -> bool:
    """Tell whether the way back to exit_z pays for going in and out, by what is known now."""
    if params[0]["fee_aware"] == 0:
        return True
    z = abs(state[0]["z_e6"])
    gain = mul_div_checked(abs(state[0]["away_e8"]), z - params[0]["exit_e6"], z, FLOOR)
    return bool(gain >= cost_e8(view, params) + params[0]["margin_e8"])


@inline_kernel
def cost_e8(view: View, params: Rows) -> Int:
    """Return what going in and out costs, as 10^-8 of the first leg's value."""
    cost: Any = np.int64(0)
    for k in range(2):
        i = params[0]["instruments"][k]
        bid, ask = view.top[i]["bid"], view.top[i]["ask"]
        leg = mul_div_checked(ask - bid, 2 * WHOLE_E8, ask + bid, FLOOR)
        leg += 2 * view.instruments[i]["taker_fee_e8"]
        cost += leg if k == 0 else mul_div_checked(leg, params[0]["hedge_e8"], WHOLE_E8, FLOOR)
    return int(cost)
