"""Funding carry: hold a coin in one market and be short of it in another, while funding pays.

Cash and carry: long spot, short perpetual, as much of the one as of the other. A rise of the price
is nobody's business; the short is paid the funding, and when it was opened above spot, the basis.
Of two perpetuals the one that pays more is sold against the other; spot is never sold short.

Every hour is worth the rates of the short leg less those of the long one, each the mean of the
last `rates_averaged` intervals, the running one among them (FUNDING events; the rate last told is
the running interval's). It goes in when

    carry x horizon_h + basis - both spreads' halves at the end - four taker fees >= margin_bps

basis: what the short is sold for above what the long costs, at the touch. It goes out when the
carry over a day is at most `exit_bps`, when the rates are older than `rate_age_ms` (a venue that
says nothing pays nothing), or when the basis has turned so far that going out earns `unwind_bps`.
A pair of one coin has one net, which the leg guard watches; how a leg that is open is closed
stands in `hedging`. It has no timer, so that years of bars are soon replayed: legs are looked
after at every event of either market, and where both are silent it is the guard that closes them.

Sources: J. Hull, "Options, Futures, and Other Derivatives", chapter 5, for cash and carry; S. He,
A. Manela, O. Ross, V. von Wachter, "Fundamentals of Perpetual Futures" (arXiv 2212.06888, 2022) for
trading the funding and the costs that it must pay. Integers throughout.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import FLOOR, OVERFLOW, mul_div_checked
from alephtx.core.view import Needs, View
from alephtx.core.words import FUNDING, SPOT
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
NEEDS = Needs(depth=0)

RATES_MAX = 64
"""Intervals whose rates are remembered."""

PARAMS = np.dtype([
    ("instruments", "i8", (INSTRUMENTS_MAX,)),
    ("price_mul", "i8", (INSTRUMENTS_MAX,)),  # brings prices to one scale
    ("instrument_count", "i8"),
    ("is_spot", "i8", (2,)),
    ("interval_ns", "i8", (2,)),  # between two payments
    ("rates_averaged", "i8"),
    ("rate_age_ns", "i8"),
    ("horizon_ns", "i8"),
    ("margin_e8", "i8"),
    ("exit_e8", "i8"),  # a day
    ("unwind_e8", "i8"),
    ("qty_base_e8", "i8"),
    ("position_max_e8", "i8"),
    ("cross_e8", "i8"),
    ("cooldown_ns", "i8"),
    ("leg_deadline_ns", "i8"),
    ("max_age_ns", "i8"),
    ("hedges_max", "i8"),
])  # fmt: skip

STATE = np.dtype([
    *LEG_FIELDS,
    ("rates_e12", "i8", (2, RATES_MAX)),  # a ring: the running interval's is the last
    ("rate_count", "i8", (2,)),
    ("rate_next_ns", "i8", (2,)),  # when the last one told is paid
    ("rate_told_ns", "i8", (2,)),
    ("started_ns", "i8"),
    ("carry_e8", "i8"),  # of a day, first leg long; when last looked at
    ("entries", "i8"),
    ("exits", "i8"),
    ("unwinds", "i8"),
    ("too_dear", "i8"),  # looks at which funding was positive and did not pay the costs
])  # fmt: skip

WHOLE_E8 = 100_000_000
HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
E12_TO_E8 = 10_000
RATE_MAX_E12 = 10**12
"""A rate of 1 or more an interval is a mistake, and not taken."""


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: two of one coin, spot and perpetual or two perpetuals. funding_hours: between two
    payments, second_funding_hours: of the second instrument, where it differs. rates_averaged: 1 to
    64 intervals; rate_age_ms. horizon_h: for how long the carry is counted. margin_bps, exit_bps (a
    day), unwind_bps. qty_base a trade, position_max_base. assume_parity, cross_bps, cooldown_ms,
    leg_deadline_ms, max_age_ms, hedges_max: as in arbitrage.
    """
    with reading(section, "funding_carry") as read:
        row = np.zeros(1, PARAMS)
        indices = read.instruments(instruments, 2, 2)
        if not one_coin(instruments, indices):
            raise read.fail("instruments", "are not of one coin")
        spots = [int(instruments[i].contract == SPOT) for i in indices]
        if all(spots):
            raise read.fail("instruments", "are both spot", "one must pay funding")
        read.parity(instruments, indices)
        put_instruments(row, indices)
        put_price_scale(row, instruments, indices)
        row[0]["is_spot"] = spots
        hours = read.count("funding_hours", 8, 1, 168)
        second = read.count("second_funding_hours", hours, 1, 168)
        row[0]["interval_ns"] = [hours * HOUR_NS, second * HOUR_NS]
        row["rates_averaged"] = read.count("rates_averaged", 1, 1, RATES_MAX)
        row["rate_age_ns"] = read.milliseconds("rate_age_ms", 32_400_000, 1, 7 * 86_400_000)
        row["horizon_ns"] = read.count("horizon_h", 168, 1, 8_760) * HOUR_NS
        row["margin_e8"] = read.bps("margin_bps", "0", "0", "1000")
        row["exit_e8"] = read.bps("exit_bps", "0", "-1000", "1000")
        row["unwind_e8"] = read.bps("unwind_bps", "100", "-1000", "10000")
        row["qty_base_e8"] = read.base("qty_base")
        row["position_max_e8"] = read.base(
            "position_max_base", str(read.number("qty_base", "1", "0", "1e9"))
        )
        if row[0]["position_max_e8"] < row[0]["qty_base_e8"]:
            raise read.fail("position_max_base", "is less than qty_base")
        row["cross_e8"] = read.bps("cross_bps", "5", "0.01", "500")
        row["cooldown_ns"] = read.milliseconds("cooldown_ms", 1_000, 0, 86_400_000)
        row["leg_deadline_ns"] = read.milliseconds("leg_deadline_ms", 500, 1, 60_000)
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
        row["hedges_max"] = read.count("hedges_max", 3, 1, 20)
    return row


def on_start(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Arm; the silence of the rates counts from here."""
    rearm(state)
    state[0]["started_ns"] = view.now[0]
    return 0


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Take in a rate; serve what is open; go in or out when a market of the pair moved."""
    i, k = np.int64(event[0]["instrument"]), -1
    for place in range(2):
        k = place if params[0]["instruments"][place] == i else k
    if k < 0:
        return 0
    if np.int64(event[0]["kind"]) == FUNDING:
        note_rate(view, params, state, k, event[0]["price"], event[0]["qty"])
    n = _serve(view, params, state, intents)
    return _decide(view, params, state, intents) if n == 0 else max(n, 0)


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Note who spoke, and see whether a leg is open."""
    hear(update, state)
    return max(_serve(view, params, state, intents), 0)


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel what is live; the pair stays."""
    return cancel_legs(view, intents)


@kernel
def _serve(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Serve live orders and open legs, see `hedging.settle`; called, not expanded: it is long."""
    return settle(view, params, state, intents)


@inline_kernel
def note_rate(view: View, params: Rows, state: Rows, k: Int, rate_e12: Int, at_ns: Int) -> None:
    """Take in a rate of a leg and when it is paid; another time begins another interval."""
    if abs(rate_e12) >= RATE_MAX_E12 or rate_e12 == OVERFLOW or params[0]["is_spot"][k] != 0:
        return
    if at_ns != state[0]["rate_next_ns"][k] or state[0]["rate_count"][k] == 0:
        state[0]["rate_count"][k] += 1
        state[0]["rate_next_ns"][k] = at_ns
    state[0]["rates_e12"][k][(state[0]["rate_count"][k] - 1) % RATES_MAX] = rate_e12
    state[0]["rate_told_ns"][k] = view.now[0]


@inline_kernel
def mean_rate(params: Rows, state: Rows, k: Int) -> int:
    """Return the mean rate of a leg's last intervals in 10^-12, 0 while none is known."""
    count = min(state[0]["rate_count"][k], params[0]["rates_averaged"])
    total: Any = np.int64(0)
    for back in range(count):
        total += state[0]["rates_e12"][k][(state[0]["rate_count"][k] - 1 - back) % RATES_MAX]
    return int(total // max(count, 1))


@inline_kernel
def carry_over(params: Rows, state: Rows, span_ns: Int) -> int:
    """Return what a span pays who is long of the first leg and short of the second, in 10^-8."""
    total: Any = np.int64(0)
    for k in range(2):
        every = params[0]["interval_ns"][k]
        paid = mul_div_checked(mean_rate(params, state, k), span_ns, every, FLOOR) // E12_TO_E8
        total += paid if k == 1 else -paid
    return int(total)


@inline_kernel
def _counted(params: Rows, state: Rows, wanted: Int) -> bool:
    """Tell whether every perpetual has told the rates of so many intervals."""
    short = 0
    for k in range(2):
        few = params[0]["is_spot"][k] == 0 and state[0]["rate_count"][k] < wanted
        short += 1 if few else 0
    return short == 0


@inline_kernel
def _silent(view: View, params: Rows, state: Rows) -> bool:
    """Tell whether a perpetual has told no rate for too long."""
    late = 0
    for k in range(2):
        since = max(state[0]["rate_told_ns"][k], state[0]["started_ns"])
        old = params[0]["is_spot"][k] == 0 and view.now[0] - since > params[0]["rate_age_ns"]
        late += 1 if old else 0
    return late > 0


@inline_kernel
def _decide(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Go out of what is held when it does not pay, or in where it does."""
    if not sane(view, params, 0) or not sane(view, params, 1):
        return 0
    state[0]["carry_e8"] = carry_over(params, state, DAY_NS)
    if view.now[0] - state[0]["sent_ns"] < params[0]["cooldown_ns"]:
        return 0
    side = _side(view, params)
    if side != 0:
        n = _leave(view, params, state, intents, side)
        if n > 0:
            return n
    if _silent(view, params, state) or not _counted(params, state, params[0]["rates_averaged"]):
        return 0
    toward = side
    if side == 0:
        toward = 1 if state[0]["carry_e8"] > 0 else -1
    return _enter(view, params, state, intents, toward)


@inline_kernel
def _side(view: View, params: Rows) -> int:
    """Return +1 where the first leg is held long, -1 where short, 0 where it is dust."""
    i = params[0]["instruments"][0]
    held = held_base(view, i)
    if held == OVERFLOW or held == 0:
        return 0
    price = view.top[i]["bid"] if held > 0 else view.top[i]["ask"]
    side = 1 if held > 0 else -1
    return side if order_fits(view, i, price, trade_lots(view, i, price, abs(held), -side)) else 0


@inline_kernel
def _leave(view: View, params: Rows, state: Rows, intents: Rows, side: Int) -> int:
    """Close the pair where it does not pay any more, or where closing it earns enough."""
    long, short = (0, 1) if side > 0 else (1, 0)
    unwind = edge_e8(view, params, long, short) >= params[0]["unwind_e8"]
    unpaid = _counted(params, state, 1) and side * state[0]["carry_e8"] <= params[0]["exit_e8"]
    if not (unwind or unpaid or _silent(view, params, state)):
        return 0
    dear, cheap = params[0]["instruments"][long], params[0]["instruments"][short]
    # A lot of the finer leg more, so that rounding leaves no contract of the coarser behind.
    most = min(held_base(view, dear), -held_base(view, cheap)) + finer_step(view, dear, cheap)
    n = send_pair(view, state, intents, dear, cheap, most)
    if n > 0:
        state[0]["unwinds"] += 1 if unwind else 0
        state[0]["exits"] += 0 if unwind else 1
    return n


@inline_kernel
def _enter(view: View, params: Rows, state: Rows, intents: Rows, side: Int) -> int:
    """Open the pair, or add to it, where funding pays for it."""
    long, short = (0, 1) if side > 0 else (1, 0)
    if params[0]["is_spot"][short] != 0 or side * state[0]["carry_e8"] <= params[0]["exit_e8"]:
        return 0  # spot is not sold short, and what would be left at once is not begun
    held = max(held_base(view, params[0]["instruments"][long]), 0)
    most = min(params[0]["qty_base_e8"], params[0]["position_max_e8"] - held)
    if most <= 0:
        return 0
    if gain_e8(view, params, state, long, short) < params[0]["margin_e8"]:
        state[0]["too_dear"] += 1
        return 0
    dear, cheap = params[0]["instruments"][short], params[0]["instruments"][long]
    n = send_pair(view, state, intents, dear, cheap, most)
    state[0]["entries"] += 1 if n > 0 else 0
    return n


@inline_kernel
def gain_e8(view: View, params: Rows, state: Rows, long: Int, short: Int) -> int:
    """Return what a pair opened now would earn over the horizon, as 10^-8 of its value."""
    carry = carry_over(params, state, params[0]["horizon_ns"])
    gain: Any = carry if long == 0 else -carry
    gain += edge_e8(view, params, short, long)
    for k in range(2):
        i = params[0]["instruments"][k]
        bid, ask = view.top[i]["bid"], view.top[i]["ask"]
        gain -= mul_div_checked(ask - bid, WHOLE_E8, ask + bid, FLOOR)
        gain -= 2 * view.instruments[i]["taker_fee_e8"]
    return int(gain)
