"""The gate: every intent passes here or does not leave. Compiled.

Rules run in a fixed order and the first denial wins; the verdict and the rule's number are written
into the intent. Cancels pass always when they name a live order: no limit may keep risk on a book.
Intents of one group (the legs of one trade) pass together or not at all.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import View
from alephtx.core.words import AMEND, CANCEL, CANCEL_ALL, DENY_HALTED, PASS, PLACE
from alephtx.risk.band import check_band
from alephtx.risk.drawdown import latch_drawdown
from alephtx.risk.grid import check_grid
from alephtx.risk.halted import check_halted, check_resync, check_warmup
from alephtx.risk.known import check_known
from alephtx.risk.limits import (
    RULE_BAND,
    RULE_DRAWDOWN,
    RULE_GRID,
    RULE_GROUP,
    RULE_HALTED,
    RULE_KNOWN,
    RULE_NOTIONAL,
    RULE_OPEN_ORDERS,
    RULE_POSITION,
    RULE_RATE,
    RULE_RESYNC,
    RULE_SHAPE,
    RULE_SIZE,
    RULE_STALE,
    RULE_WARMUP,
    GateState,
    Rows,
)
from alephtx.risk.notional import check_notional
from alephtx.risk.position import check_open_orders, check_position
from alephtx.risk.rate import check_rate, give_back
from alephtx.risk.reduce import reduces
from alephtx.risk.shape import check_shape
from alephtx.risk.size import check_size
from alephtx.risk.stale import check_stale


@kernel
def gate_check(
    intents: Rows,
    n: Int,
    view: View,
    gate: GateState,
    table: Any,
    account_positions: Rows,
    halted: Int,
) -> int:
    """Give n intents of one strategy their verdicts; returns how many passed.

    intents: INTENT (>= n,), account and strategy filled in; a row whose verdict is set already
    keeps it. view: that strategy's. table: the OrderTable (its open exposure). account_positions:
    POSITION (accounts, instruments). halted: the halt word. About 100 ns an order.
    """
    for k in range(n):
        if intents[k]["verdict"] == PASS:
            verdict, rule = _judge(intents, k, view, gate, table, account_positions, halted)
            intents[k]["verdict"], intents[k]["rule"] = verdict, rule
    _bind_groups(intents, n, gate)
    passed = 0
    for k in range(n):
        if intents[k]["verdict"] == PASS:
            passed += 1
    return passed


@inline_kernel
def _judge(
    intents: Rows,
    k: Int,
    view: View,
    gate: GateState,
    table: Any,
    account_positions: Rows,
    halted: Int,
) -> tuple[int, int]:
    """Return (verdict, rule) of one intent; the first denial wins."""
    verdict = check_shape(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_SHAPE
    op = np.int64(intents[k]["op"])
    if op == CANCEL_ALL:
        return PASS, 0
    if op in (CANCEL, AMEND):
        verdict = check_known(intents, k, view, gate)
        if verdict != PASS:
            return verdict, RULE_KNOWN
        if op == CANCEL:
            return PASS, 0
    verdict, rule = _judge_moment(intents, k, view, gate, table, halted)
    if verdict != PASS:
        return verdict, rule
    return _judge_order(intents, k, view, gate, table, account_positions)


@inline_kernel
def _judge_moment(
    intents: Rows, k: Int, view: View, gate: GateState, table: Any, halted: Int
) -> tuple[int, int]:
    """Ask whether this is a moment to trade at all."""
    verdict = check_halted(halted)
    if verdict != PASS:
        return verdict, RULE_HALTED
    s = np.int64(intents[k]["strategy"])
    if latch_drawdown(view, gate, s) != 0 and not reduces(intents, k, view, table):
        return DENY_HALTED, RULE_DRAWDOWN
    verdict = check_warmup(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_WARMUP
    verdict = check_resync(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_RESYNC
    return check_stale(intents, k, view, gate), RULE_STALE


@inline_kernel
def _judge_order(
    intents: Rows, k: Int, view: View, gate: GateState, table: Any, account_positions: Rows
) -> tuple[int, int]:
    """Ask whether this is an order we would send."""
    verdict = check_grid(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_GRID
    verdict = check_band(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_BAND
    verdict = check_size(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_SIZE
    verdict = check_notional(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_NOTIONAL
    verdict = check_position(intents, k, view, gate, table, account_positions)
    if verdict != PASS:
        return verdict, RULE_POSITION
    verdict = check_open_orders(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_OPEN_ORDERS
    hedge = 1 if reduces(intents, k, view, table) else 0
    verdict = check_rate(intents, k, view, gate, hedge)
    return verdict, RULE_RATE if verdict != PASS else 0


@inline_kernel
def _bind_groups(intents: Rows, n: Int, gate: GateState) -> None:
    """Deny every PLACE of a group of which one was denied, and give its token back."""
    for k in range(n):
        group, denied = intents[k]["group_id"], intents[k]["verdict"]
        if group == 0 or denied == PASS or intents[k]["op"] != PLACE:
            continue
        for j in range(n):
            if intents[j]["group_id"] != group or intents[j]["op"] != PLACE:
                continue
            if intents[j]["verdict"] == PASS:
                intents[j]["verdict"], intents[j]["rule"] = denied, RULE_GROUP
                give_back(intents, j, gate)


@kernel
def rearm(gate: GateState, s: Int) -> None:
    """Clear a strategy's drawdown latch; a person's decision."""
    gate.latched[s] = 0
