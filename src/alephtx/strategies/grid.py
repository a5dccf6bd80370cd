"""Grid: resting orders on even levels around a reference, one unit of inventory a level.

Level j stands for holding j units of qty_base; its price is centre - (j - held at the centre) x
step. At level j the strategy bids for what is missing to j units, or offers what it has above j
units, never both: with h held, bid min(j x unit - h, unit), offer min(h - j x unit, unit). So a
bid filled at one level is offered one level higher, a part of a fill moves a part, and what
should rest follows from the position alone: nothing is remembered that a restart could lose, but
the centre.

The centre is the middle when the first usable touch is seen, or `centre_quote` for a grid that is
never moved. With `recentre_bps` above 0 it moves to the middle when the middle is that far away;
inventory is then offered above the new centre, at a loss if need be.
"""

from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core.exposure import base_lots, middle
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import FLOOR, NEAREST, OVERFLOW, mul_div_checked, price_grid, round_price
from alephtx.core.view import Needs, View
from alephtx.core.words import (
    BUY,
    CANCEL,
    FILL,
    GTC,
    LIMIT,
    NEW,
    PARTIALLY_FILLED,
    PLACE,
    POST_ONLY,
    REJECT,
    SELL,
)
from alephtx.strategies.legs import held_base, order_fits, trade_base, usable
from alephtx.strategies.sections import reading

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=50_000_000)

LEVELS_MAX = 16
UNITS_MAX = 1_000
WHOLE_E8 = 100_000_000
PRICE_MAX = 1 << 48

PARAMS = np.dtype([
    ("instrument", "i8"),
    ("centre", "i8"),  # ticks; 0: the middle when first seen
    ("recentre_e8", "i8"),  # 0: never
    ("step_e8", "i8"),
    ("levels", "i8"),
    ("unit_e8", "i8"),  # base coin a level
    ("inventory_max_e8", "i8"),
    ("max_age_ns", "i8"),
    ("rest_ns", "i8"),
])  # fmt: skip

STATE = np.dtype([
    ("centre", "i8"),  # ticks, 0 none yet
    ("units", "i8"),  # what was held when it was set: the level that stands at the centre
    ("hold_until_ns", "i8"),  # nothing is placed before, a venue or the gate refused
    ("quotes", "i8"),
    ("fills", "i8"),
    ("refused", "i8"),
    ("moved", "i8"),  # times the centre moved
    ("pulled", "i8"),  # cancels because the touch was not usable
])  # fmt: skip


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: one. step_bps of the centre between levels, `levels` a side that rest at a time.
    qty_base a level and inventory_max_base, a multiple of it. centre_quote (0: the middle when
    started) in the quote currency, recentre_bps (0: never). max_age_ms of the touch; rest_ms after
    a refusal.
    """
    with reading(section, "grid") as read:
        row = np.zeros(1, PARAMS)
        (i,) = read.instruments(instruments, 1, 1)
        row["instrument"] = i
        scale = instruments[i].price_scale
        row["centre"] = read.scaled("centre_quote", "0", "0", "1000000000", scale)
        row["recentre_e8"] = read.bps("recentre_bps", "0", "0")
        if row[0]["centre"] > 0 and row[0]["recentre_e8"] > 0:
            raise read.fail("recentre_bps", "is given beside centre_quote", "keep one")
        row["step_e8"] = read.bps("step_bps", "10", "0.01", "1000")
        row["levels"] = read.count("levels", 4, 1, LEVELS_MAX)
        row["unit_e8"] = read.base("qty_base")
        row["inventory_max_e8"] = read.base("inventory_max_base")
        units = Decimal(int(row[0]["inventory_max_e8"])) / int(row[0]["unit_e8"])
        if units != units.to_integral_value() or not 1 <= units <= UNITS_MAX:
            raise read.fail(
                "inventory_max_base", f"is not 1 to {UNITS_MAX} times qty_base",
                "every level holds one qty_base",
            )  # fmt: skip
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
        row["rest_ns"] = read.milliseconds("rest_ms", 1_000, 0, 600_000)
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Keep the grid when its instrument moved."""
    if params[0]["instrument"] != np.int64(event[0]["instrument"]):
        return 0
    return _keep(view, params, state, intents)


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Note fills and refusals, and put back what is missing."""
    state[0]["fills"] += 1 if update[0]["kind"] == FILL else 0
    if update[0]["kind"] == REJECT:
        state[0]["refused"] += 1
        state[0]["hold_until_ns"] = view.now[0] + params[0]["rest_ns"]
    return _keep(view, params, state, intents)


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Pull the grid from a market that went quiet, and put it back."""
    return _keep(view, params, state, intents)


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel every level."""
    n = 0
    for k in range(view.open_count[0]):
        n = _cancel(view, k, intents, n)
    return n


@kernel
def _keep(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel what should not rest, place what should; returns intents written."""
    i = params[0]["instrument"]
    held = held_base(view, i)
    high = max(view.top[i]["bid"], view.top[i]["ask"])
    n: Int = 0
    if not usable(view, i, params[0]["max_age_ns"]) or high >= PRICE_MAX or held == OVERFLOW:
        for k in range(view.open_count[0]):
            n = _cancel(view, k, intents, n)
        state[0]["pulled"] += n
        return n
    _centre(view, params, state, held)
    for k in range(view.open_count[0]):
        row = view.orders[k]
        side, j = np.int64(row["side"]), np.int64(row["tag"])
        wrong = row["price"] != level_price(view, params, state, j, side)
        wrong = wrong or wanted_base(params, held, j, side) == 0
        if wrong or not _near(params, held, j, side):
            n = _cancel(view, k, intents, n)
    if view.now[0] < state[0]["hold_until_ns"]:
        return n
    for way in (BUY, SELL):
        for away in range(params[0]["levels"]):
            at = nearest(params, held, way) + way * away
            n = _place(view, params, state, intents, n, held, at, way)
    return n


@inline_kernel
def _centre(view: View, params: Rows, state: Rows, held: Int) -> None:
    """Set the centre when there is none, or move it when the middle has gone too far."""
    now = middle(view.top, params[0]["instrument"])
    centre = state[0]["centre"]
    if params[0]["centre"] > 0:
        state[0]["centre"] = params[0]["centre"]
        return
    reach = mul_div_checked(centre, params[0]["recentre_e8"], WHOLE_E8, FLOOR)
    if centre == 0 or (params[0]["recentre_e8"] > 0 and abs(now - centre) > reach):
        state[0]["moved"] += 1 if centre > 0 else 0
        state[0]["centre"] = now
        unit = params[0]["unit_e8"]
        state[0]["units"] = (held + unit // 2) // unit


@inline_kernel
def level_price(view: View, params: Rows, state: Rows, j: Int, side: Int) -> Int:
    """Return the price of level j in ticks on the grid, on the safe side."""
    row = view.instruments[params[0]["instrument"] : params[0]["instrument"] + 1]
    centre = state[0]["centre"]
    step = mul_div_checked(centre, params[0]["step_e8"], WHOLE_E8, NEAREST)
    step = max(step, price_grid(row, centre))
    return max(round_price(row, centre - (j - state[0]["units"]) * step, side), 0)


@inline_kernel
def nearest(params: Rows, held: Int, side: Int) -> Int:
    """Return the level whose order would be filled first."""
    unit = params[0]["unit_e8"]
    return held // unit + 1 if side == BUY else -(-held // unit) - 1


@inline_kernel
def _near(params: Rows, held: Int, j: Int, side: Int) -> bool:
    """Tell whether level j is among those that rest."""
    away = (j - nearest(params, held, side)) * side
    return bool(0 <= away < params[0]["levels"])


@inline_kernel
def wanted_base(params: Rows, held: Int, j: Int, side: Int) -> Int:
    """Return how much base should rest at level j on a side; 0 beyond the inventory bound."""
    unit = params[0]["unit_e8"]
    if abs(j) * unit > params[0]["inventory_max_e8"]:
        return 0
    return min(max((j * unit - held) * side, 0), unit)


@inline_kernel
def _place(
    view: View, params: Rows, state: Rows, intents: Rows, n: Int, held: Int, j: Int, side: Int
) -> Int:
    """Write the order of a level, if it is missing, passive, and all live ones leave room."""
    i = params[0]["instrument"]
    price = level_price(view, params, state, j, side)
    passive = price < view.top[i]["ask"] if side == BUY else price > view.top[i]["bid"]
    wanted = wanted_base(params, held, j, side)
    if not passive or price <= 0 or wanted == 0:
        return n
    room = params[0]["inventory_max_e8"] - side * held
    for k in range(view.open_count[0]):
        row = view.orders[k]
        if row["side"] == side:
            if row["tag"] == j:
                return n
            room -= trade_base(view, i, row["price"], row["leaves_qty"], side)
        elif (row["price"] - price) * side <= 0:
            return n  # our own order on the other side is still there: wait for its cancel
    live: Int = view.open_count[0]
    for k in range(n):
        live += 1 if intents[k]["op"] == PLACE else 0
        if intents[k]["op"] == PLACE and intents[k]["side"] == side:
            room -= trade_base(view, i, intents[k]["price"], intents[k]["qty"], side)
    lots = base_lots(view.instruments, i, price, min(wanted, room))
    full = n >= intents.shape[0] or live >= view.orders.shape[0]
    if full or not order_fits(view, i, price, lots):
        return n
    state[0]["quotes"] += 1
    intents[n]["op"], intents[n]["type"], intents[n]["tif"] = PLACE, LIMIT, GTC
    intents[n]["flags"], intents[n]["side"], intents[n]["instrument"] = POST_ONLY, side, i
    intents[n]["price"], intents[n]["qty"], intents[n]["tag"] = price, lots, j
    return n + 1


@inline_kernel
def _cancel(view: View, k: Int, intents: Rows, n: Int) -> Int:
    """Write a CANCEL for a live order, unless it is in flight."""
    row = view.orders[k]
    if row["status"] not in (NEW, PARTIALLY_FILLED) or n >= intents.shape[0]:
        return n
    intents[n]["op"], intents[n]["target_order_id"] = CANCEL, row["order_id"]
    intents[n]["instrument"] = row["instrument"]
    return n + 1
