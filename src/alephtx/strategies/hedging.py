"""Two legs out at once, and back to even; for strategies that hold one coin long and short.

A strategy that uses it has the PARAMS `instruments`, `price_mul`, `instrument_count`, `cross_e8`,
`leg_deadline_ns`, `max_age_ns` and `hedges_max`, and the STATE of `LEG_FIELDS`. All its instruments
are of one coin, so what it holds adds up to nothing when its legs are even.

Nothing about a trade is remembered that could be wrong. While orders are live it waits (past
`leg_deadline_ms` it cancels); with none live, the net base position over all its instruments must
be zero but for less than the smallest order a venue takes. If it is not, a leg is open: the
missing side is re-sent crossing further, `hedges_max` times, then the filled side is flattened, as
often, and then it stops itself and says so in STATE.alarm. Partial fills, rejections, late fills
and restarts all end in that one rule. While an order's outcome is unproven it only waits: a hedge
of what may have happened is a bet.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import multiply_wide
from alephtx.core.exposure import base_value, middle
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import (
    CEIL,
    FLOOR,
    NEAREST,
    OVERFLOW,
    TRUNCATE,
    mul_div_checked,
    round_price,
)
from alephtx.core.view import View
from alephtx.core.words import (
    BUY,
    CANCEL,
    DENIED,
    HEDGE,
    IOC,
    LIMIT,
    PENDING_CANCEL,
    PLACE,
    SELL,
    UNKNOWN,
)
from alephtx.strategies.legs import held_base, order_fits, trade_base, trade_lots, usable

Rows = np.ndarray[Any, Any]

LEG_FIELDS = [
    ("alarm", "i8"),  # ALARM_, the last one raised
    ("halted", "i8"),  # 1: stopped itself
    ("hedges", "i8"),
    ("flattens", "i8"),
    ("denied", "i8"),
    ("net_e8", "i8"),  # net base position when last looked at
    ("group", "i8"),
    ("sent_ns", "i8"),
    ("attempts", "i8"),  # hedges of the present open leg
    ("heard", "i8"),  # a venue spoke about the last group
    ("hedging", "i8"),  # 1: the last group was a hedge
    ("quiet", "i8"),  # hedges in a row that never left
    ("leg_sell", "i8"),  # instrument + 1, 0 none
    ("leg_buy", "i8"),
]

ALARM_LEG_OPEN = 1  # hedging failed; halted with an open leg
ALARM_UNPROVEN = 2  # an order's outcome is unproven past the deadline
ALARM_HEDGE_DENIED = 3  # the gate keeps denying hedges
ALARM_NO_PRICE = 4  # a leg is open and no instrument has a usable price

DENIALS_ALARM = 10
WHOLE_E8 = 100_000_000


@inline_kernel
def rearm(state: Rows) -> None:
    """Begin anew: enabling a strategy that halted itself is a person's word to go on."""
    state[0]["halted"], state[0]["alarm"], state[0]["attempts"] = 0, 0, 0


@inline_kernel
def hear(update: Rows, state: Rows) -> None:
    """Note who spoke about the last group."""
    if update[0]["group_id"] == state[0]["group"]:
        if update[0]["order_status"] == DENIED:
            state[0]["denied"] += 1
        else:
            state[0]["heard"] = 1


@inline_kernel
def settle(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Serve live orders and open legs; returns intents written, 0 free to trade, -1 not free."""
    if view.open_count[0] > 0:
        return wait_legs(view, params, state, intents)
    net = net_base(view, params)
    state[0]["net_e8"] = net
    if state[0]["halted"] != 0:
        return -1
    if net == OVERFLOW:
        state[0]["halted"], state[0]["alarm"] = 1, ALARM_LEG_OPEN
        return -1
    return _hedge(view, params, state, intents, net)


@inline_kernel
def wait_legs(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel what is live past its deadline; what has no proven outcome is only alarmed."""
    state[0]["heard"] = 1  # it left: the gate did not deny it
    if view.now[0] - state[0]["sent_ns"] < params[0]["leg_deadline_ns"]:
        return -1
    state[0]["sent_ns"] = view.now[0]
    n = cancel_legs(view, intents)
    if n < view.open_count[0]:
        state[0]["alarm"] = ALARM_UNPROVEN
    return n if n > 0 else -1


@inline_kernel
def cancel_legs(view: View, intents: Rows) -> int:
    """Write a CANCEL for every live order that has none under way."""
    n = 0
    for k in range(view.open_count[0]):
        status = view.orders[k]["status"]
        if status in (PENDING_CANCEL, UNKNOWN) or n >= intents.shape[0]:
            continue
        intents[n]["op"] = CANCEL
        intents[n]["target_order_id"] = view.orders[k]["order_id"]
        intents[n]["instrument"] = view.orders[k]["instrument"]
        n += 1
    return n


@inline_kernel
def net_base(view: View, params: Rows) -> Int:
    """Return the net base position over the strategy's instruments in 10^-8, or OVERFLOW."""
    net: Int = 0
    for k in range(params[0]["instrument_count"]):
        held = held_base(view, params[0]["instruments"][k])
        if held == OVERFLOW:
            return OVERFLOW
        net += held
    return net


@inline_kernel
def _hedge(view: View, params: Rows, state: Rows, intents: Rows, net: Int) -> int:
    """Close an open leg; 0 when there is none worth an order."""
    side = SELL if net > 0 else BUY
    first = state[0]["leg_sell"] if side == SELL else state[0]["leg_buy"]
    second = state[0]["leg_buy"] if side == SELL else state[0]["leg_sell"]
    if state[0]["attempts"] >= params[0]["hedges_max"]:  # completing failed: flatten
        first, second = second, first
    chosen, unpriced = -1, 0
    for leg in (first - 1, second - 1, _largest(view, params, -side)):
        if leg < 0 or chosen >= 0 or net == 0:
            continue
        if not usable(view, leg, params[0]["max_age_ns"]):
            unpriced += _hedge_fits(view, leg, side, net)
        elif _hedge_fits(view, leg, side, net):
            chosen = leg
    late = view.now[0] - state[0]["sent_ns"] >= params[0]["leg_deadline_ns"]
    if chosen >= 0:
        return _send_hedge(view, params, state, intents, chosen, side, net, late)
    if unpriced > 0:
        state[0]["alarm"] = ALARM_NO_PRICE if late else state[0]["alarm"]
        return -1
    state[0]["attempts"], state[0]["quiet"], state[0]["hedging"] = 0, 0, 0
    return 0


@inline_kernel
def _touch(view: View, i: Int, side: Int) -> Int:
    """Return the price a taker meets."""
    return view.top[i]["bid"] if side == SELL else view.top[i]["ask"]


@inline_kernel
def _hedge_fits(view: View, i: Int, side: Int, net: Int) -> int:
    """Return 1 when what would close the leg here is an order; without any price, it may be."""
    if middle(view.top, i) <= 0:
        return 1
    price = _touch(view, i, side)
    return 1 if order_fits(view, i, price, trade_lots(view, i, price, abs(net), side)) else 0


@inline_kernel
def _largest(view: View, params: Rows, sign: Int) -> int:
    """Return the instrument with the largest position of a sign, -1 when there is none."""
    best, found = 0, -1
    for k in range(params[0]["instrument_count"]):
        i = params[0]["instruments"][k]
        held = held_base(view, i) * sign
        if held > best:
            best, found = held, i
    return found


@inline_kernel
def _send_hedge(
    view: View, params: Rows, state: Rows, intents: Rows, i: Int, side: Int, net: Int, late: Int
) -> int:
    """Write one IOC that crosses further with every attempt; halt when all were in vain."""
    most = params[0]["hedges_max"]
    if state[0]["hedging"] != 0 and state[0]["heard"] == 0:  # the gate denied the last one
        if not late:
            return -1
        state[0]["quiet"] += 1
        if state[0]["quiet"] >= DENIALS_ALARM:
            state[0]["alarm"] = ALARM_HEDGE_DENIED
    elif state[0]["attempts"] >= 2 * most:
        state[0]["halted"], state[0]["alarm"] = 1, ALARM_LEG_OPEN
        return -1
    else:
        state[0]["attempts"] += 1
        state[0]["quiet"] = 0
        if state[0]["attempts"] > most:
            state[0]["flattens"] += 1
        else:
            state[0]["hedges"] += 1
    touch = _touch(view, i, side)
    crossing = mul_div_checked(
        touch, params[0]["cross_e8"] * state[0]["attempts"], WHOLE_E8, NEAREST
    )
    price = round_price(view.instruments[i : i + 1], touch + side * max(crossing, 1), side)
    _begin(view, state)
    state[0]["hedging"] = 1
    _place(intents, 0, state, i, side, price, trade_lots(view, i, touch, abs(net), side))
    intents[0]["flags"] = HEDGE
    return 1


@inline_kernel
def _begin(view: View, state: Rows) -> None:
    """Start a batch."""
    state[0]["group"] += 1
    state[0]["sent_ns"] = view.now[0]
    state[0]["heard"], state[0]["hedging"] = 0, 0


@inline_kernel
def _place(intents: Rows, k: Int, state: Rows, i: Int, side: Int, price: Int, lots: Int) -> None:
    intents[k]["op"], intents[k]["type"], intents[k]["tif"] = PLACE, LIMIT, IOC
    intents[k]["instrument"], intents[k]["side"] = i, side
    intents[k]["price"], intents[k]["qty"] = price, lots
    intents[k]["group_id"], intents[k]["tag"] = state[0]["group"], k


@inline_kernel
def edge_e8(view: View, params: Rows, a: Int, b: Int) -> int:
    """Return (bid of a - ask of b) / their middle in 10^-8; a and b are places in params."""
    bid = view.top[params[0]["instruments"][a]]["bid"] * params[0]["price_mul"][a]
    ask = view.top[params[0]["instruments"][b]]["ask"] * params[0]["price_mul"][b]
    return mul_div_checked(bid - ask, 2 * WHOLE_E8, bid + ask, FLOOR)


@inline_kernel
def _step(view: View, i: Int, price: Int) -> int:
    """Return what one lot step is worth in base."""
    return base_value(view.instruments, i, price, view.instruments[i]["lot_step"], CEIL)


@inline_kernel
def finer_step(view: View, dear: Int, cheap: Int) -> int:
    """Return the finer lot step of two legs in base."""
    return min(_step(view, dear, view.top[dear]["bid"]), _step(view, cheap, view.top[cheap]["ask"]))


@inline_kernel
def send_pair(view: View, state: Rows, intents: Rows, dear: Int, cheap: Int, most: Int) -> int:
    """Write both legs, equal in base up to one lot of the finer; 0 when too small to send."""
    bid, ask = view.top[dear]["bid"], view.top[cheap]["ask"]
    there = base_value(view.instruments, dear, bid, view.top[dear]["bid_qty"], TRUNCATE)
    here = base_value(view.instruments, cheap, ask, view.top[cheap]["ask_qty"], TRUNCATE)
    step_dear, step_cheap = _step(view, dear, bid), _step(view, cheap, ask)
    if OVERFLOW in (there, here, step_dear, step_cheap):
        return 0
    most = min(most, there, here)
    # The coarser leg is cut first; the finer one follows it and takes up what earlier trades left.
    if step_dear >= step_cheap:
        sell = trade_lots(view, dear, bid, most, SELL)
        exact = trade_base(view, dear, bid, sell, SELL) - state[0]["net_e8"]
        buy = trade_lots(view, cheap, ask, min(exact + step_cheap // 2, here), BUY)
    else:
        buy = trade_lots(view, cheap, ask, most, BUY)
        exact = trade_base(view, cheap, ask, buy, BUY) + state[0]["net_e8"]
        sell = trade_lots(view, dear, bid, min(exact + step_dear // 2, there), SELL)
    if not order_fits(view, dear, bid, sell) or not order_fits(view, cheap, ask, buy):
        return 0
    _begin(view, state)
    state[0]["leg_sell"], state[0]["leg_buy"] = dear + 1, cheap + 1
    _place(intents, 0, state, dear, SELL, bid, sell)
    _place(intents, 1, state, cheap, BUY, ask, buy)
    return 2


@inline_kernel
def sane(view: View, params: Rows, k: Int) -> bool:
    """Tell whether a place in params has a usable price that the arithmetic can bear."""
    i, mul = params[0]["instruments"][k], params[0]["price_mul"][k]
    # Its product with mul stays below 2^61, asked without a division: eight venues ask it at once.
    high, low = multiply_wide(max(view.top[i]["ask"], view.top[i]["bid"]) + 1, mul)
    fits = high == 0 and 0 <= low <= 1 << 61
    return bool(fits and usable(view, i, params[0]["max_age_ns"]))
