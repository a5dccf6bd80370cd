"""Combiner: several signals of one instrument, standardised and weighed, as a position to hold.

score = sum of weight x z(signal), each z its distance from its own recent mean in its own recent
standard deviations, within +- z_max; the target is score x qty_base, at most
inventory_max_base. The signals, each with a weight (0 leaves it out):

microprice   microprice less the middle, in bps of it     (signals.microprice)
imbalance    (bid size - ask size) / (bid + ask size)      (of the touch)
flow         who has been taking over flow_tau_ms          (signals.trade_flow)
momentum     the middle less its average of momentum_ms, in bps

Two things keep it from trading noise. Inside the dead band - a target within dead_band_base of what
is held - it does nothing; beyond, it goes to the band's near edge, which is what linear costs make
optimal. And the expected gain, |score| x edge_bps, must pay half the spread, the taker
fee and margin_bps, or nothing new is opened; reducing is always allowed.

Sources: R. Grinold, R. Kahn, "Active Portfolio Management" (2nd ed. 1999) for standardised and
weighed signals; R. Martin, "Optimal trading under proportional transaction costs" (Risk, August
2014) for the dead band. Scores are floats of + - * / and the square root, rounded to 10^-6 before
they decide.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import OVERFLOW, TRUNCATE, mul_div_checked
from alephtx.core.view import Needs, View
from alephtx.core.words import FILL
from alephtx.signals import spread_zscore, trade_flow
from alephtx.signals.elementary import exp
from alephtx.signals.spread_zscore import zscore_update
from alephtx.signals.trade_flow import flow_event, flow_imbalance
from alephtx.strategies.aiming import aim, cancel_all
from alephtx.strategies.legs import held_base, usable
from alephtx.strategies.sections import reading

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, trades=True, timer_ns=50_000_000)

SIGNALS = ("microprice", "imbalance", "flow", "momentum")
MICROPRICE, IMBALANCE, FLOW, MOMENTUM = range(4)

PARAMS = np.dtype([
    ("instrument", "i8"),
    ("weight_e6", "i8", (4,)),
    ("floor", "f8", (4,)),  # standard deviations below are taken for this
    ("z_max", "f8"),
    ("tau_ns", "i8"),
    ("flow_tau_ns", "i8"),
    ("momentum_ns", "i8"),
    ("qty_base_e8", "i8"),
    ("inventory_max_e8", "i8"),
    ("dead_band_e8", "i8"),
    ("edge_e8", "i8"),  # expected for a score of 1
    ("margin_e8", "i8"),
    ("cross_e8", "i8"),
    ("cooldown_ns", "i8"),
    ("deadline_ns", "i8"),
    ("max_age_ns", "i8"),
])  # fmt: skip

STATE = np.dtype([
    ("score_e6", "i8"),
    ("ready", "i8"),  # 1: every signal with a weight has a score
    ("average", "f8"),
    ("average_ns", "i8"),
    ("target_e8", "i8"),
    ("sent_ns", "i8"),
    ("sent", "i8"),
    ("fills", "i8"),
    ("too_dear", "i8"),  # looks at which the gain would not have paid the costs
    *spread_zscore.fields(4),
    *trade_flow.fields(1),
])  # fmt: skip

WHOLE_E8 = 100_000_000
WHOLE_E6 = 1_000_000
FLOORS = (0.001, 0.01, 0.01, 0.01)


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: one. microprice_weight, imbalance_weight, flow_weight, momentum_weight: -100 to
    100, one of them not 0; z_max. tau_ms of means and deviations, flow_tau_ms, momentum_ms.
    qty_base for a score of 1, inventory_max_base, dead_band_base. edge_bps for a score of 1,
    margin_bps. cross_bps beyond the touch, cooldown_ms between orders, deadline_ms for an answer,
    max_age_ms of the touch.
    """
    with reading(section, "combiner") as read:
        row = np.zeros(1, PARAMS)
        (row["instrument"],) = read.instruments(instruments, 1, 1)
        for k, name in enumerate(SIGNALS):
            row[0]["weight_e6"][k] = read.scaled(f"{name}_weight", "0", "-100", "100", 6)
        if not row[0]["weight_e6"].any():
            raise read.fail("microprice_weight", "leaves no signal", "give one a weight")
        row["floor"] = FLOORS
        row["z_max"] = float(read.number("z_max", "4", "0.1", "100"))
        row["tau_ns"] = read.milliseconds("tau_ms", 60_000, 1, 86_400_000)
        row["flow_tau_ns"] = read.milliseconds("flow_tau_ms", 10_000, 1, 86_400_000)
        row["momentum_ns"] = read.milliseconds("momentum_ms", 10_000, 1, 86_400_000)
        row["qty_base_e8"] = read.base("qty_base")
        row["inventory_max_e8"] = read.base("inventory_max_base")
        row["dead_band_e8"] = read.scaled("dead_band_base", "0", "0", "1000000000", 8)
        row["edge_e8"] = read.bps("edge_bps", "1", "0", "1000")
        row["margin_e8"] = read.bps("margin_bps", "0", "0", "1000")
        row["cross_e8"] = read.bps("cross_bps", "1", "0", "500")
        row["cooldown_ns"] = read.milliseconds("cooldown_ms", 100, 0, 3_600_000)
        row["deadline_ns"] = read.milliseconds("deadline_ms", 500, 1, 60_000)
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Score the instrument that moved, and order what is missing."""
    i = params[0]["instrument"]
    if i != np.int64(event[0]["instrument"]):
        return 0
    flow_event(state, 0, event, i, view.now[0], params[0]["flow_tau_ns"])
    _score(view, params, state)
    return _hold(view, params, state, intents)


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Look again once an order has ended."""
    state[0]["fills"] += 1 if update[0]["kind"] == FILL else 0
    return _hold(view, params, state, intents)


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Keep deadlines when no market moves."""
    return _hold(view, params, state, intents)


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel what is live; the position stays."""
    return cancel_all(view, intents)


@inline_kernel
def _score(view: View, params: Rows, state: Rows) -> None:
    """Bring every signal to now and add them up; not ready without a market."""
    i, now, total, ready = params[0]["instrument"], view.now[0], 0.0, 1
    if not usable(view, i, params[0]["max_age_ns"]):
        state[0]["ready"] = 0
        return
    for k in range(4):
        value = _value(k, view, params, state)
        z = zscore_update(state, k, now, value, params[0]["tau_ns"], params[0]["floor"][k])
        if params[0]["weight_e6"][k] == 0:
            continue
        if np.isnan(z):
            ready = 0
            continue
        most = params[0]["z_max"]
        total += float(params[0]["weight_e6"][k]) * min(max(z, -most), most)
    state[0]["ready"] = ready
    state[0]["score_e6"] = np.int64(np.floor(total + 0.5))


@inline_kernel
def _value(k: Int, view: View, params: Rows, state: Rows) -> float:
    """Return a signal's own value, NaN while it has none."""
    i = params[0]["instrument"]
    bid, ask = float(view.top[i]["bid"]), float(view.top[i]["ask"])
    bid_qty, ask_qty = float(view.top[i]["bid_qty"]), float(view.top[i]["ask_qty"])
    middle, leaning = (bid + ask) / 2.0, (bid_qty - ask_qty) / (bid_qty + ask_qty)
    if k == MICROPRICE:
        return leaning * (ask - bid) / 2.0 / middle * 1e4
    if k == IMBALANCE:
        return leaning
    if k == FLOW:
        return flow_imbalance(state, 0, view.now[0], params[0]["flow_tau_ns"])
    passed = view.now[0] - state[0]["average_ns"]
    if state[0]["average_ns"] == 0:
        state[0]["average"] = middle
    elif passed > 0:
        share = 1.0 - exp(-float(passed) / float(params[0]["momentum_ns"]))
        state[0]["average"] += share * (middle - state[0]["average"])
    state[0]["average_ns"] = view.now[0]
    return (middle / state[0]["average"] - 1.0) * 1e4


@kernel
def _hold(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Turn the score into a target, mind band and costs, and order what is missing."""
    i = params[0]["instrument"]
    held = held_base(view, i)
    if state[0]["ready"] == 0 or held == OVERFLOW:
        return aim(view, params, state, intents, i, held)
    wish = wished(params, state[0]["score_e6"])
    band = params[0]["dead_band_e8"]
    target: Int = held
    if wish > held + band:
        target = wish - band
    elif wish < held - band:
        target = wish + band
    if abs(target) > abs(held) or target * held < 0:
        gain = abs(state[0]["score_e6"]) * params[0]["edge_e8"] // WHOLE_E6
        if gain < cost_e8(view, params):
            state[0]["too_dear"] += 1
            target = held if target * held >= 0 else np.int64(0)
    state[0]["target_e8"] = target
    return aim(view, params, state, intents, i, target)


@inline_kernel
def wished(params: Rows, score_e6: Int) -> Int:
    """Return the base that a score asks for, within the inventory bound."""
    most = params[0]["inventory_max_e8"]
    wish = mul_div_checked(params[0]["qty_base_e8"], score_e6, WHOLE_E6, TRUNCATE)
    if wish == OVERFLOW:
        return most if score_e6 > 0 else -most
    return min(max(wish, -most), most)


@inline_kernel
def cost_e8(view: View, params: Rows) -> Int:
    """Return what a way in costs, as 10^-8 of the price: half the spread, fee and margin."""
    i = params[0]["instrument"]
    bid, ask = view.top[i]["bid"], view.top[i]["ask"]
    half = mul_div_checked(ask - bid, WHOLE_E8, max(ask + bid, 1), TRUNCATE)
    return half + view.instruments[i]["taker_fee_e8"] + params[0]["margin_e8"]
