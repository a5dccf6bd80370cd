"""What grouped orders left open: one lane for each strategy and underlying. Compiled.

A lane's net is the base coin that fills of grouped orders brought, signed, in 10^-8. An inverse
contract counts with its cost in coin, as in `strategies.legs`. A spot market quoted in a coin that
the strategy also trades moves that coin's lane too, so the legs of a triangle add up. A lane rests
when its net is dust (no leg's venue takes an order that small) and none of its orders is live.

Nothing here is remembered that the journal does not give back: recovery calls the same kernels.
"""

import numpy as np

from alephtx.core.exposure import middle, quote_value
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.ports import Rows
from alephtx.core.units import NEAREST, OVERFLOW
from alephtx.core.view import View
from alephtx.core.words import (
    AMEND,
    BUY,
    DENY_LEGS,
    HEDGE,
    INVERSE,
    LEG_GROUP,
    PASS,
    PLACE,
    SELL,
    SPOT,
    UNTRADEABLE_MASK,
)
from alephtx.engine.context import (
    L_NET,
    L_RISK,
    L_SINCE,
    L_STAGE,
    LANE_BROKEN,
    LANE_CLOSING,
    LANE_OPEN,
    LANE_REST,
    X_GUARDING,
    X_LANES_OPEN,
)
from alephtx.risk.state import RULE_LEGS
from alephtx.strategies.legs import BASE_MAX, order_fits, trade_lots

BROKEN_NET = OVERFLOW
"""L_NET of a lane whose exposure went beyond arithmetic; only a person gets on from there."""


@kernel
def lane_opened(lane: Rows, control: Rows, now: Int) -> None:
    """Note that a grouped order is about to leave, or that a fill moved the lane."""
    if lane[L_STAGE] == LANE_REST:
        lane[L_STAGE], lane[L_SINCE] = LANE_OPEN, now
        control[X_LANES_OPEN] += 1


@inline_kernel
def lane_rests(lane: Rows, control: Rows) -> None:
    """Note that all is even and nothing is live."""
    lane[L_STAGE] = LANE_REST
    control[X_LANES_OPEN] -= 1


@inline_kernel
def lane_moved(lane: Rows, control: Rows, base: Int, now: Int) -> None:
    """Add base coin to a lane."""
    if lane[L_NET] == BROKEN_NET or base == OVERFLOW or abs(lane[L_NET] + base) >= BASE_MAX:
        lane[L_NET] = BROKEN_NET
    else:
        lane[L_NET] += base
    lane_opened(lane, control, now)


@inline_kernel
def fill_moves(
    lanes: Rows, control: Rows, instrument: Rows, side: Int, price: Int, qty: Int, base: Int,
    now: Int,
) -> None:  # fmt: skip
    """Move one strategy's lanes by a fill. instrument: INSTRUMENT (1,); base: what it brought."""
    underlying, quote = np.int64(instrument[0]["underlying"]), np.int64(instrument[0]["quote"])
    lane_moved(lanes[underlying], control, base, now)
    if instrument[0]["contract"] == SPOT and quote != underlying and lanes[quote, L_RISK] != 0:
        paid = quote_value(instrument, 0, price, qty, NEAREST)
        lane_moved(lanes[quote], control, OVERFLOW if paid == OVERFLOW else -side * paid, now)


@inline_kernel
def any_broken(lanes: Rows) -> bool:
    """Tell whether the guard halted the strategy whose lanes these are."""
    broken = 0
    for u in range(lanes.shape[0]):
        broken += 1 if lanes[u, L_STAGE] == LANE_BROKEN else 0
    return broken > 0


@kernel
def judge_groups(intents: Rows, n: Int, lanes: Rows, control: Rows, instruments: Rows) -> None:
    """Deny what a strategy sends into a lane that the guard is closing; before the gate.

    lanes: the strategy's. A strategy that the guard halted sends nothing, in no lane. A hedge
    without a group gets LEG_GROUP, so that its fills are counted.
    """
    broken = control[X_LANES_OPEN] != 0 and any_broken(lanes)
    for k in range(n):
        op, i = np.int64(intents[k]["op"]), np.int64(intents[k]["instrument"])
        if op not in (PLACE, AMEND) or i >= instruments.shape[0]:
            continue
        if np.int64(intents[k]["flags"]) & HEDGE and intents[k]["group_id"] == 0:
            intents[k]["group_id"] = LEG_GROUP
        shut = broken or lanes[np.int64(instruments[i]["underlying"]), L_STAGE] == LANE_CLOSING
        if instruments[i]["contract"] == SPOT:  # what it is paid with is a leg too
            shut |= lanes[np.int64(instruments[i]["quote"]), L_STAGE] == LANE_CLOSING
        if shut and control[X_GUARDING] == 0 and intents[k]["verdict"] == PASS:
            intents[k]["verdict"], intents[k]["rule"] = DENY_LEGS, RULE_LEGS


@inline_kernel
def live_legs(view: View, u: Int) -> tuple[int, int]:
    """Return how many grouped orders of an underlying are live, and since when one is."""
    count, oldest = 0, view.now[0]
    for k in range(view.open_count[0]):
        row = view.orders[k]
        if row["group_id"] == 0 or not touches(view, np.int64(row["instrument"]), u):
            continue
        oldest = min(oldest, row["ts_intent"])
        count += 1
    return count, oldest


@inline_kernel
def touches(view: View, i: Int, u: Int) -> bool:
    """Tell whether fills of an instrument move the lane of an underlying."""
    row = view.instruments[i]
    return bool(row["underlying"] == u or (row["contract"] == SPOT and row["quote"] == u))


@inline_kernel
def touch_price(view: View, i: Int, side: Int) -> Int:
    """Return the price a taker meets."""
    return view.top[i]["bid"] if side == SELL else view.top[i]["ask"]


@inline_kernel
def closing_lots(view: View, i: Int, side: Int, base: Int) -> Int:
    """Return the lots of an order that closes at most so much base (positive); 0 when none fits.

    Where it reduces a position it does not cross flat, unless only a larger order fits.
    """
    price, held = touch_price(view, i, side), view.positions[i]["qty"]
    row, most = view.instruments[i], trade_lots(view, i, price, base, side)
    if row["qty_max"] > 0 and most > row["qty_max"] and row["lot_step"] > 0:
        most = row["qty_max"] // row["lot_step"] * row["lot_step"]
    if held * side < 0 and most > abs(held) and order_fits(view, i, price, abs(held)):
        most = abs(held)
    return most if order_fits(view, i, price, most) else 0


@inline_kernel
def is_dust(view: View, legs: Rows, u: Int, net: Int) -> bool:
    """Tell whether no leg's venue takes an order as small as a net; legs: the strategy's row.

    An instrument without a price to trust may take one, unless its smallest quantity says no.
    """
    if net == 0:
        return True
    if net == BROKEN_NET:
        return False
    side = SELL if net > 0 else BUY
    for i in range(legs.shape[0]):
        if legs[i] == 0 or np.int64(view.instruments[i]["underlying"]) != u:
            continue
        if middle(view.top, i) > 0 and view.top[i]["aux"] & UNTRADEABLE_MASK == 0:
            if closing_lots(view, i, side, abs(net)) > 0:
                return False
            continue
        if view.instruments[i]["contract"] == INVERSE:
            return False
        lots = trade_lots(view, i, 0, abs(net), side)
        if lots > 0 and lots >= view.instruments[i]["qty_min"]:
            return False
    return True


@kernel
def lane_settles(view: View, lanes: Rows, legs: Rows, control: Rows, u: Int) -> int:
    """Let a lane rest if it can; returns the number of its live orders.

    While it is even, its time counts from its oldest live order: each trade has its own deadline.
    """
    lane = lanes[u]
    live, oldest = live_legs(view, u)
    if lane[L_STAGE] == LANE_BROKEN or not is_dust(view, legs, u, lane[L_NET]):
        return live
    if live == 0:
        lane_rests(lane, control)
    else:
        lane[L_SINCE] = max(lane[L_SINCE], oldest)
    return live


@kernel
def rearm_lanes(lanes: Rows, now: Int) -> None:
    """Give a strategy's broken lanes another deadline: whoever enables it says so."""
    for u in range(lanes.shape[0]):
        if lanes[u, L_STAGE] == LANE_BROKEN:
            lanes[u, L_STAGE], lanes[u, L_SINCE] = LANE_OPEN, now
