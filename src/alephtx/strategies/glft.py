"""Optimal market making: Gueant-Lehalle-Fernandez-Tapia, or Avellaneda-Stoikov.

Around the fair price s, with inventory q in units of qty_base, volatility sigma in ticks per root
second, risk aversion gamma per tick, and orders that reach d ticks A e^(-k d) times a second:

glft                 c1 = ln(1 + gamma/k) / gamma
                     c2 = sqrt(gamma / (2 A k) (1 + gamma/k)^(1 + k/gamma))
                     bid = s - c1 - (2q + 1)/2 sigma c2    ask = s + c1 - (2q - 1)/2 sigma c2
avellaneda_stoikov   r = s - q gamma sigma^2 T, T = horizon_s, always ahead
                     half = gamma sigma^2 T / 2 + ln(1 + gamma/k) / gamma
                     bid = r - half    ask = r + half

so both are s - q skew -+ half. Sources: O. Gueant, C.-A. Lehalle, J. Fernandez-Tapia, "Dealing with
the inventory risk" (Mathematics and Financial Economics 7(4), 2013), its asymptotic quotes; M.
Avellaneda, S. Stoikov, "High-frequency trading in a limit order book" (Quantitative
Finance 8(3), 2008), its approximate quotes.

sigma is measured by `signals.realised_vol` (fast scale), A and k by `strategies.intensity`; both
are fitted anew every `fit_ms`, and half and skew become integers of 1/256 tick there, so that what
decides between fits is exact. Until all are known nothing is quoted. The models know no fees:
`edge_bps` is added to half.
"""

import math
from typing import Any

import numpy as np

from alephtx.core.exposure import base_lots, middle
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import CEIL, NEAREST, OVERFLOW, mul_div_checked, price_grid, round_price
from alephtx.core.view import Needs, View
from alephtx.core.words import BUY, FILL, SELL, TRADE
from alephtx.signals import realised_vol
from alephtx.signals.elementary import exp, log
from alephtx.signals.realised_vol import vol_read, vol_update
from alephtx.strategies.intensity import FIELDS, intensity_fit, intensity_trade
from alephtx.strategies.legs import held_base, usable
from alephtx.strategies.quoting import pull, quote_side
from alephtx.strategies.sections import reading

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, trades=True, timer_ns=50_000_000)

GLFT, AVELLANEDA_STOIKOV = 0, 1
MODELS = ("glft", "avellaneda_stoikov")

PARAMS = np.dtype([
    ("instrument", "i8"),
    ("model", "i8"),
    ("gamma_per_tick", "f8"),
    ("horizon_s", "f8"),
    ("edge_e8", "i8"),
    ("half_max_e8", "i8"),
    ("requote_e8", "i8"),
    ("qty_base_e8", "i8"),
    ("inventory_max_e8", "i8"),
    ("bucket_ticks", "i8"),
    ("sample_ns", "i8"),
    ("tau_ns", "i8", (3,)),  # of the volatility's scales; all are vol_tau here
    ("flow_tau_ns", "i8"),
    ("fit_ns", "i8"),
    ("max_age_ns", "i8"),
    ("rest_ns", "i8"),
])  # fmt: skip

STATE = np.dtype([
    ("half_fine", "i8"),  # 1/256 tick, without edge_bps; 0 not known
    ("skew_fine", "i8"),  # 1/256 tick for one unit of inventory
    ("fit_ns", "i8"),  # when they were last fitted
    ("fits", "i8"),
    ("placed_ns", "i8", (2,)),
    ("quotes", "i8"),
    ("requotes", "i8"),
    ("pulled", "i8"),
    ("fills", "i8"),
    ("held_back", "i8"),
    *FIELDS,
    *realised_vol.fields(1),
])  # fmt: skip

FINE = 256
"""Half and skew are kept in 1/256 tick."""
FINE_MAX = float(1 << 50)
PRICE_MAX, BASE_UNIT_MAX = 1 << 48, 1 << 20
WHOLE_E8 = 100_000_000


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: one. model; gamma_per_tick, and horizon_s of avellaneda_stoikov. edge_bps is added
    to the half spread, half_max_bps bounds it. qty_base per quote and inventory_max_base.
    bucket_ticks: the width of the 16 distances at which orders are counted. sample_ms and
    vol_tau_ms of the volatility, flow_tau_ms of the intensity, fit_ms between fits. requote_bps,
    max_age_ms of the touch, rest_ms between two quotes of a side.
    """
    with reading(section, "glft") as read:
        row = np.zeros(1, PARAMS)
        (row["instrument"],) = read.instruments(instruments, 1, 1)
        row["model"] = read.choice("model", MODELS)
        row["gamma_per_tick"] = float(read.number("gamma_per_tick", "0.05", "0.000001", "1000"))
        row["horizon_s"] = float(read.number("horizon_s", "10", "0.001", "86400"))
        row["edge_e8"] = read.bps("edge_bps", "0", "0", "1000")
        row["half_max_e8"] = read.bps("half_max_bps", "100", "0.01", "1000")
        row["requote_e8"] = read.bps("requote_bps", "0.1", "0", "1000")
        row["qty_base_e8"] = read.base("qty_base")
        row["inventory_max_e8"] = read.base("inventory_max_base")
        if row[0]["inventory_max_e8"] < row[0]["qty_base_e8"]:
            raise read.fail("inventory_max_base", "is less than qty_base")
        if row[0]["inventory_max_e8"] > BASE_UNIT_MAX * row[0]["qty_base_e8"]:
            raise read.fail("inventory_max_base", f"is above {BASE_UNIT_MAX} times qty_base")
        row["bucket_ticks"] = read.count("bucket_ticks", 1, 1, 1_000_000)
        row["sample_ns"] = read.milliseconds("sample_ms", 100, 1, 60_000)
        row["tau_ns"] = read.milliseconds("vol_tau_ms", 30_000, 1, 86_400_000)
        if row[0]["sample_ns"] > row[0]["tau_ns"][0]:
            raise read.fail("sample_ms", "is above vol_tau_ms", "sample more often")
        row["flow_tau_ns"] = read.milliseconds("flow_tau_ms", 30_000, 1, 86_400_000)
        row["fit_ns"] = read.milliseconds("fit_ms", 1_000, 1, 3_600_000)
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
        row["rest_ns"] = read.milliseconds("rest_ms", 100, 0, 600_000)
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Measure what happened, and quote."""
    i = params[0]["instrument"]
    if i != np.int64(event[0]["instrument"]):
        return 0
    if np.int64(event[0]["kind"]) == TRADE:
        _take_trade(event, view, params, state)
        return 0
    return _quote(view, params, state, intents)


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Quote again what was filled, cancelled or refused."""
    state[0]["fills"] += 1 if update[0]["kind"] == FILL else 0
    return _quote(view, params, state, intents)


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Fit when it is time; pull quotes from a market that went quiet."""
    return _quote(view, params, state, intents)


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel both quotes."""
    return pull(params[0]["instrument"], view, intents, 0)


@inline_kernel
def _take_trade(event: Rows, view: View, params: Rows, state: Rows) -> None:
    """Count a trade by its distance from the middle that stands."""
    i = params[0]["instrument"]
    if not usable(view, i, params[0]["max_age_ns"]):
        return
    side = np.int64(event[0]["side"])
    far2 = (2 * event[0]["price"] - view.top[i]["bid"] - view.top[i]["ask"]) * side
    intensity_trade(
        state, event[0]["ts_event"], view.now[0], side, max(far2, 0), params[0]["bucket_ticks"],
        params[0]["flow_tau_ns"],
    )  # fmt: skip


@kernel
def _quote(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Measure the volatility, fit when it is time, and bring both quotes to where they belong."""
    i = params[0]["instrument"]
    top = view.top[i]
    sound = usable(view, i, params[0]["max_age_ns"]) and max(top["bid"], top["ask"]) < PRICE_MAX
    price = float(top["bid"] + top["ask"]) / 2.0 if sound else np.nan
    vol_update(state, 0, view.now[0], price, params[0]["sample_ns"], params[0]["tau_ns"])
    if sound and view.now[0] - state[0]["fit_ns"] >= params[0]["fit_ns"]:
        state[0]["fit_ns"] = view.now[0]
        _fit(view.now[0], price, params, state)
    if not sound or state[0]["half_fine"] == 0:
        n = pull(i, view, intents, 0)
        state[0]["pulled"] += n
        return n
    n = 0
    for side in (BUY, SELL):
        aim, lots = target(view, params, state, side), quote_lots(view, params, side)
        n = quote_side(0, i, side, aim, lots, view, params, state, intents, n)
    return n


@kernel
def half_and_skew(
    model: Int, sigma: Any, gamma: Any, k: Any, arrival: Any, horizon_s: Any
) -> tuple[float, float]:
    """Return the half spread and the skew for one unit of inventory, in ticks.

    sigma: ticks per root second; gamma, k: per tick; arrival: per second, all above 0.
    """
    apart = log(1.0 + gamma / k)
    if model == AVELLANEDA_STOIKOV:
        skew = gamma * sigma * sigma * horizon_s
        return skew / 2.0 + apart / gamma, skew
    power = exp((1.0 + k / gamma) * apart)
    skew = sigma * math.sqrt(gamma / (2.0 * arrival * k) * power)
    return apart / gamma + skew / 2.0, skew


@inline_kernel
def _fit(now: Int, price: Any, params: Rows, state: Rows) -> None:
    """Fit the model to what was measured; half 0 when that is not enough, or no number."""
    state[0]["half_fine"], state[0]["skew_fine"] = 0, 0
    known = intensity_fit(state, now, params[0]["bucket_ticks"], params[0]["flow_tau_ns"])
    sigma = price * vol_read(state, 0, 0, params[0]["sample_ns"], params[0]["tau_ns"])
    if known == 0 or not sigma >= 0.0:
        return
    half, skew = half_and_skew(
        params[0]["model"], sigma, params[0]["gamma_per_tick"], state[0]["decay_per_tick"],
        state[0]["arrival_per_s"], params[0]["horizon_s"],
    )  # fmt: skip
    if half * FINE < FINE_MAX and skew * FINE < FINE_MAX:
        state[0]["half_fine"] = max(np.int64(half * FINE + 0.5), 1)
        state[0]["skew_fine"] = np.int64(skew * FINE + 0.5)
        state[0]["fits"] += 1


@inline_kernel
def target(view: View, params: Rows, state: Rows, side: Int) -> Int:
    """Return where a side should be quoted, in ticks on the grid and never crossing; 0 nowhere."""
    i = params[0]["instrument"]
    bid, ask = view.top[i]["bid"], view.top[i]["ask"]
    fair = (bid + ask) * (FINE // 2)
    edge = mul_div_checked(fair, params[0]["edge_e8"], WHOLE_E8, CEIL)
    most = mul_div_checked(fair, params[0]["half_max_e8"], WHOLE_E8, CEIL)
    held = held_base(view, i)
    if held == OVERFLOW:
        return 0
    lean = mul_div_checked(state[0]["skew_fine"], held, params[0]["qty_base_e8"], NEAREST)
    if lean == OVERFLOW:
        return 0
    exact = fair - min(max(lean, -most), most) - side * (min(state[0]["half_fine"], most) + edge)
    price = exact // FINE if side == BUY else -(-exact // FINE)
    row = view.instruments[i : i + 1]
    if side == BUY:
        price = min(price, ask - price_grid(row, ask))
    else:
        price = max(price, bid + price_grid(row, bid))
    return max(round_price(row, price, side), 0)


@inline_kernel
def quote_lots(view: View, params: Rows, side: Int) -> Int:
    """Return the lots to quote: qty_base, less where inventory_max leaves less."""
    i = params[0]["instrument"]
    held = held_base(view, i)
    if held == OVERFLOW:
        return 0
    room = min(params[0]["inventory_max_e8"] - side * held, params[0]["qty_base_e8"])
    if room <= 0:
        return 0
    return max(base_lots(view.instruments, i, middle(view.top, i), room), 0)
