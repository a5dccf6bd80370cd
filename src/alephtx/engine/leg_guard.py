"""The leg guard: no grouped order leaves a leg open beyond its deadline, whoever sent it. Compiled.

A strategy has the first half of `risk.leg_deadline_ms` to itself. Then, or at once when nobody is
in charge (disabled, stopped, restarted), the guard closes the lane: it lets the strategy send no
more into it, cancels what is live, waits until every order's outcome is proven, and sends one order
at a time that can only bring the lane nearer to flat: first where the strategy holds too much, then
elsewhere, each crossing further. What is not closed when the second half is over is left as it is:
the strategy is halted, and a person hears of it. An order in doubt is never hedged.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.core.units import NEAREST, mul_div_checked, round_price
from alephtx.core.view import View
from alephtx.core.words import (
    BUY,
    CANCEL,
    DENY_BAND,
    DENY_COLLAR,
    HEDGE,
    IOC,
    LEG_GROUP,
    LIMIT,
    PENDING_CANCEL,
    PLACE,
    SELL,
    UNKNOWN,
)
from alephtx.engine.context import (
    A_EMIT,
    C_LEG_CLOSINGS,
    C_LEG_HALTS,
    C_LEG_ORDERS,
    F_ACCOUNT_OF,
    F_ADDRESSES,
    F_CONTROL,
    F_COUNTERS,
    F_GATE_RESYNC,
    F_GATE_STALE,
    F_INPUTS,
    F_INTENTS,
    F_LANES,
    F_LEGS,
    F_NOW,
    F_STRATEGIES,
    F_VENUE_OF,
    I1,
    I2,
    I3,
    INTENTS,
    INTENTS_MAX,
    L_CROSS,
    L_NET,
    L_NEXT,
    L_SINCE,
    L_STAGE,
    L_TRIES,
    L_UNTIL,
    L_WHY,
    LANE_BROKEN,
    LANE_CLOSING,
    LANE_OPEN,
    LANE_REST,
    RING_LEGS,
    S_ENABLED,
    S_LEG_NS,
    X_DIRTY,
    X_GUARDING,
    X_HALTED,
    X_INPUT_SEQ,
    Context,
)
from alephtx.engine.fields import view_for
from alephtx.engine.leg_lanes import (
    BROKEN_NET,
    any_broken,
    closing_lots,
    lane_settles,
    touch_price,
    touches,
)
from alephtx.matrix.inputlog import input_append
from alephtx.strategies.legs import usable

TRIES = 16
"""How many times the guard may try in its half of the deadline."""

CROSS_BPS, CROSS_MAX = 10, 10
"""Each order crosses 10 bps further than the last one, up to 100; the band's denial starts over."""

WHY_UNPROVEN, WHY_OPEN, WHY_OVERFLOW = range(3)
WHY_TEXT = {
    WHY_UNPROVEN: "an order's outcome is unproven or its cancel unanswered",
    WHY_OPEN: "no venue took what would close it",
    WHY_OVERFLOW: "its size is beyond arithmetic",
}


def closes(ctx: Context) -> bool:
    """Tell whether the guard has legs to close still; read by the main thread at start and end."""
    stages = ctx.lanes[:, :, L_STAGE]
    under_way = (stages == LANE_OPEN) | (stages == LANE_CLOSING)
    return bool(under_way.any()) and not ctx.control[X_HALTED]


def guard_legs(x: Rows, a: Int, b: Int) -> int:
    """Look at every lane that is not at rest; a stage of the step. Returns 0 when nothing moved."""
    lanes = field(x, F_LANES, I3)
    moved = 0
    for s in range(len(lanes)):
        for u in range(len(lanes[s])):
            if lanes[s, u, L_STAGE] != LANE_REST:
                moved += _look(x, s, u)
    return moved


@kernel
def _look(x: Rows, s: Int, u: Int) -> int:
    """Move one lane on; returns 0 when nothing was sent and no stage changed."""
    lanes, legs = field(x, F_LANES, I3)[s], field(x, F_LEGS, I2)[s]
    control, now = field(x, F_CONTROL, I1), field(x, F_NOW, I1)[0]
    strategies, counters = field(x, F_STRATEGIES, I2), field(x, F_COUNTERS, I1)
    lane, half, view = lanes[u], strategies[s, S_LEG_NS] >> 1, view_for(x, s)
    live = lane_settles(view, lanes, legs, control, u)
    if lane[L_STAGE] == LANE_REST:
        return 0
    if lane[L_SINCE] == 0:
        lane[L_SINCE] = now
    moved = 0
    if lane[L_STAGE] == LANE_OPEN:
        if strategies[s, S_ENABLED] != 0 and now - lane[L_SINCE] < half:
            return 0
        lane[L_STAGE], lane[L_UNTIL], lane[L_NEXT] = LANE_CLOSING, now + half, now
        lane[L_TRIES], lane[L_CROSS] = 0, 0
        counters[C_LEG_CLOSINGS] += 1
        moved = 1
    if lane[L_STAGE] == LANE_CLOSING and (now >= lane[L_UNTIL] or lane[L_NET] == BROKEN_NET):
        lane[L_STAGE], strategies[s, S_ENABLED] = LANE_BROKEN, 0
        lane[L_WHY] = WHY_UNPROVEN if live > 0 else WHY_OPEN
        if lane[L_NET] == BROKEN_NET:
            lane[L_WHY] = WHY_OVERFLOW
        counters[C_LEG_HALTS] += 1
        moved = 1
    if now < lane[L_NEXT] or control[X_HALTED] != 0:
        return moved  # whoever halted the engine cancels
    lane[L_NEXT] = now + half // TRIES
    if live > 0:
        return moved + _cancel(x, s, u, view)
    return moved if any_broken(lanes) else moved + _close(x, s, u, view)


@inline_kernel
def _send(x: Rows, s: Int, n: Int) -> int:
    """Emit the n intents in the context as the guard's own input; returns how many left."""
    control, inputs = field(x, F_CONTROL, I1), field(x, F_INPUTS, I1)
    control[X_INPUT_SEQ] = input_append(inputs, RING_LEGS, s, field(x, F_NOW, I1)[0])
    control[X_GUARDING] = 1
    left = call_stage(field(x, F_ADDRESSES, I1)[A_EMIT], x, s, n)
    control[X_GUARDING] = 0
    return left


@kernel
def _cancel(x: Rows, s: Int, u: Int, view: View) -> int:
    """Cancel the live orders of a lane, again when it stays unanswered; returns how many."""
    intents, n, now = field(x, F_INTENTS, INTENTS), 0, field(x, F_NOW, I1)[0]
    patience = field(x, F_STRATEGIES, I2)[s, S_LEG_NS] >> 3
    for k in range(view.open_count[0]):
        row = view.orders[k]
        i, status = np.int64(row["instrument"]), np.int64(row["status"])
        if row["group_id"] == 0 or not touches(view, i, u) or n >= INTENTS_MAX:
            continue
        asked = status == PENDING_CANCEL and now - row["ts_last"] < patience
        ends = row["tif"] == IOC and now - row["ts_intent"] < patience  # by itself
        if asked or ends or status == UNKNOWN:
            continue
        intents[n] = INTENTS[0]
        intents[n]["op"], intents[n]["instrument"] = CANCEL, i
        intents[n]["target_order_id"] = row["order_id"]
        n += 1
    if n > 0:
        _send(x, s, n)
        control = field(x, F_CONTROL, I1)
        control[X_DIRTY] = max(control[X_DIRTY], n)
    return n


@inline_kernel
def closing_side(net: Int) -> Int:
    """Return the side that brings a net, which is not zero, nearer to flat."""
    return SELL if net > 0 else BUY


@inline_kernel
def _candidate(x: Rows, s: Int, u: Int, i: Int, view: View, net: Int) -> bool:
    """Tell whether an order that brings a lane nearer to flat could be sent here and now."""
    if field(x, F_LEGS, I2)[s, i] == 0 or np.int64(view.instruments[i]["underlying"]) != u:
        return False
    account = field(x, F_ACCOUNT_OF, I2)[s, field(x, F_VENUE_OF, I1)[i]]
    if account < 0 or field(x, F_GATE_RESYNC, I1)[account] != 0:
        return False
    if not usable(view, i, field(x, F_GATE_STALE, I1)[i]):
        return False
    return closing_lots(view, i, closing_side(net), abs(net)) > 0


@kernel
def _choose(x: Rows, s: Int, u: Int, view: View) -> int:
    """Return where to send: what holds too much first, the next one after two tries; -1 nowhere."""
    lane = field(x, F_LANES, I3)[s, u]
    net, side, count = lane[L_NET], closing_side(lane[L_NET]), 0
    for i in range(len(view.instruments)):
        if _candidate(x, s, u, i, view, net):
            count += 1
    before = (lane[L_TRIES] >> 1) % max(count, 1)
    for reduces in (True, False):
        for i in range(len(view.instruments)):
            held = view.positions[i]["qty"]
            if (held * side < 0) != reduces or not _candidate(x, s, u, i, view, net):
                continue
            if before == 0:
                return i
            before -= 1
    return -1


@kernel
def _close(x: Rows, s: Int, u: Int, view: View) -> int:
    """Send one order that brings a lane nearer to flat; 1 when one was written."""
    i = _choose(x, s, u, view)
    if i < 0:
        return 0
    lane, intents = field(x, F_LANES, I3)[s, u], field(x, F_INTENTS, INTENTS)
    net, counters = lane[L_NET], field(x, F_COUNTERS, I1)
    side = closing_side(net)
    touch, steps = touch_price(view, i, side), min(lane[L_CROSS] + 1, CROSS_MAX)
    crossing = max(mul_div_checked(touch, CROSS_BPS * steps, 10_000, NEAREST), 1)
    price = round_price(view.instruments[i : i + 1], touch + side * crossing, side)
    intents[0] = INTENTS[0]
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, IOC
    intents[0]["instrument"], intents[0]["side"] = i, side
    intents[0]["price"], intents[0]["flags"] = price, HEDGE
    intents[0]["qty"] = closing_lots(view, i, side, abs(net))
    intents[0]["group_id"] = LEG_GROUP
    lane[L_TRIES] += 1
    lane[L_CROSS] += 1
    counters[C_LEG_ORDERS] += _send(x, s, 1)
    if np.int64(intents[0]["verdict"]) in (DENY_BAND, DENY_COLLAR):
        lane[L_CROSS] = 0
    return 1
