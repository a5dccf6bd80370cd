"""The gate: every intent passes here or does not leave. Compiled.

Rules run in a fixed order and the first denial wins; the verdict and the rule's number are written
into the intent. Cancels pass always when they name a live order: no limit may keep risk on a book.
What provably only reduces (`reduce`) passes the rules that hold back new risk, and no others.
Intents of one group (the legs of one trade) pass together or not at all.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import View
from alephtx.core.words import (
    AMEND,
    CANCEL,
    CANCEL_ALL,
    DENY_HALTED,
    DENY_OVERFLOW,
    PASS,
    PLACE,
)
from alephtx.risk.allowed import check_allowed
from alephtx.risk.band import check_band
from alephtx.risk.collar import check_collar
from alephtx.risk.drawdown import check_breakers, latch_drawdown, value_accounts
from alephtx.risk.duplicate import check_duplicate, remember_order
from alephtx.risk.exposure import activate, check_exposure, find_cells, is_limited, survey
from alephtx.risk.fat_finger import check_fat_finger, learn_size
from alephtx.risk.grid import check_grid
from alephtx.risk.halted import check_halted, check_resync, check_warmup
from alephtx.risk.hours import check_hours
from alephtx.risk.known import check_known
from alephtx.risk.leverage import check_leverage
from alephtx.risk.messages import check_messages, pay_for_cancel
from alephtx.risk.notional import check_notional
from alephtx.risk.order_ratio import check_order_ratio, count_order, count_trade
from alephtx.risk.position import check_open_orders, check_position
from alephtx.risk.rate import check_rate, give_back
from alephtx.risk.reduce import reduces
from alephtx.risk.self_trade import check_self_trade
from alephtx.risk.shape import check_shape
from alephtx.risk.size import check_size
from alephtx.risk.stale import check_stale
from alephtx.risk.state import (
    RESCAN,
    RULE_ALLOWED,
    RULE_BAND,
    RULE_COLLAR,
    RULE_DRAWDOWN,
    RULE_DUPLICATE,
    RULE_EXPOSURE,
    RULE_FAT_FINGER,
    RULE_GRID,
    RULE_GROUP,
    RULE_HALTED,
    RULE_HOURS,
    RULE_KNOWN,
    RULE_LEVERAGE,
    RULE_MESSAGES,
    RULE_NOTIONAL,
    RULE_OPEN_ORDERS,
    RULE_ORDER_RATIO,
    RULE_POSITION,
    RULE_RATE,
    RULE_RESYNC,
    RULE_SELF_TRADE,
    RULE_SHAPE,
    RULE_SIZE,
    RULE_STALE,
    RULE_STATUS,
    RULE_WARMUP,
    GateState,
    Rows,
)
from alephtx.risk.status import check_status


@inline_kernel
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
    POSITION (accounts, instruments). halted: the halt word. For the cost see docs/risk.md.
    """
    if gate.firm[RESCAN] != 0:
        find_cells(gate.cells, gate.firm, account_positions, table.open_account)
    value_accounts(
        view.now[3], view.top, view.instruments, gate.firm, gate.accounts, gate.cells,
        gate.market, gate.rate_e8, account_positions,
    )  # fmt: skip
    for k in range(n):
        if intents[k]["verdict"] == PASS:
            verdict, rule = _judge(intents, k, view, gate, table, account_positions, halted)
            intents[k]["verdict"], intents[k]["rule"] = verdict, rule
    _bind_groups(intents, n, gate.buckets, gate.messages)
    passed = 0
    for k in range(n):
        if intents[k]["verdict"] == PASS:
            passed += 1
            _count(intents, k, view, gate)
    return passed


@inline_kernel
def _count(intents: Rows, k: Int, view: View, gate: GateState) -> None:
    """Let the rules that remember take note of an intent that leaves."""
    op, account = np.int64(intents[k]["op"]), np.int64(intents[k]["account"])
    if op == PLACE or op == AMEND:
        count_order(gate.accounts, account)
        learn_size(intents, k, gate.typical)
        instrument, count = np.int64(intents[k]["instrument"]), gate.rate_e8.shape[0]
        activate(gate.cells, gate.firm, account, instrument, count)
    if op == PLACE:
        remember_order(intents, k, view.now[3], gate.recent)
    if op == CANCEL or op == CANCEL_ALL:
        pay_for_cancel(intents, k, view.now[3], gate.messages)


@kernel
def note_fill(
    cells: Rows, firm: Rows, accounts: Rows, account: Int, instrument: Int, now: Int
) -> None:
    """Tell the gate of a fill, whoever ordered it; now: monotonic ns. Arrays of GateState."""
    activate(cells, firm, account, instrument, cells.shape[0] // accounts.shape[0])
    count_trade(accounts, account, now)


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
    hedge = 1 if reduces(intents, k, view, table) else 0
    verdict, rule = _judge_moment(intents, k, view, gate, halted, hedge)
    if verdict != PASS:
        return verdict, rule
    verdict, rule = _judge_order(intents, k, view, gate)
    if verdict != PASS:
        return verdict, rule
    verdict, rule = _judge_sums(intents, k, view, gate, table, account_positions, hedge)
    if verdict != PASS:
        return verdict, rule
    return _judge_pace(intents, k, view.now[3], gate.accounts, gate.buckets, gate.messages, hedge)


@inline_kernel
def _judge_moment(
    intents: Rows, k: Int, view: View, gate: GateState, halted: Int, hedge: Int
) -> tuple[int, int]:
    """Ask whether this is a moment to trade at all. hedge: 1 when the intent only reduces."""
    verdict = check_halted(halted)
    if verdict != PASS:
        return verdict, RULE_HALTED
    lost = latch_drawdown(view, gate, np.int64(intents[k]["strategy"]))
    if lost != 0 and hedge == 0:
        return DENY_HALTED if lost == 1 else DENY_OVERFLOW, RULE_DRAWDOWN
    verdict, rule = check_breakers(gate.firm, gate.accounts[np.int64(intents[k]["account"])])
    if verdict != PASS and hedge == 0:
        return verdict, rule
    verdict = check_warmup(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_WARMUP
    verdict = check_resync(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_RESYNC
    verdict = check_allowed(intents, k, gate.allowed, gate.account_allowed)
    if verdict != PASS and hedge == 0:
        return verdict, RULE_ALLOWED
    verdict = check_hours(intents, k, view.now[0], gate.hours)
    if verdict != PASS and hedge == 0:
        return verdict, RULE_HOURS
    verdict = check_status(intents, k, gate.market)
    if verdict != PASS:
        return verdict, RULE_STATUS
    return check_stale(intents, k, view, gate), RULE_STALE


@inline_kernel
def _judge_order(intents: Rows, k: Int, view: View, gate: GateState) -> tuple[int, int]:
    """Ask whether this is an order we would send, by itself."""
    verdict = check_grid(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_GRID
    verdict = check_band(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_BAND
    verdict = check_collar(intents, k, view, gate.collar_bps, gate.market)
    if verdict != PASS:
        return verdict, RULE_COLLAR
    verdict = check_size(intents, k, view, gate)
    if verdict != PASS:
        return verdict, RULE_SIZE
    verdict = check_notional(intents, k, view, gate)
    return verdict, RULE_NOTIONAL


@inline_kernel
def _judge_sums(
    intents: Rows,
    k: Int,
    view: View,
    gate: GateState,
    table: Any,
    account_positions: Rows,
    hedge: Int,
) -> tuple[int, int]:
    """Ask what it comes to with what is held and open already."""
    verdict = check_fat_finger(intents, k, gate.fat_multiple, gate.typical, hedge)
    if verdict != PASS:
        return verdict, RULE_FAT_FINGER
    verdict = check_duplicate(intents, k, view.now[3], gate.duplicate_ns, gate.recent)
    if verdict != PASS:
        return verdict, RULE_DUPLICATE
    verdict = check_self_trade(intents, k, gate.firm, table)
    if verdict != PASS:
        return verdict, RULE_SELF_TRADE
    verdict = check_position(intents, k, view, gate, table, account_positions, hedge)
    if verdict != PASS:
        return verdict, RULE_POSITION
    base = view.instruments[np.int64(intents[k]["instrument"])]["underlying"]
    account = np.int64(intents[k]["account"])
    limited = is_limited(gate.firm_gross_max, gate.base_max, gate.accounts, account, base)
    if hedge == 0 and limited:
        unknown = survey(
            intents, k, view, gate.cells, gate.firm, gate.market, gate.rate_e8,
            table.open_account, account_positions,
        )  # fmt: skip
        if unknown != 0:
            return DENY_OVERFLOW, RULE_EXPOSURE
        verdict, rule = check_exposure(gate.firm, gate.base_max[base], gate.firm_gross_max)
        if verdict != PASS:
            return verdict, rule
        verdict = check_leverage(gate.accounts[account], gate.firm)
        if verdict != PASS:
            return verdict, RULE_LEVERAGE
    return check_open_orders(intents, k, view, gate), RULE_OPEN_ORDERS


@inline_kernel
def _judge_pace(
    intents: Rows, k: Int, now: Int, accounts: Rows, buckets: Rows, messages: Rows, hedge: Int
) -> tuple[int, int]:
    """Ask whether it is one too many; the last questions, so that only what passes pays."""
    verdict = check_order_ratio(intents, k, now, accounts, hedge)
    if verdict != PASS:
        return verdict, RULE_ORDER_RATIO
    verdict = check_rate(intents, k, now, buckets, hedge)
    if verdict != PASS:
        return verdict, RULE_RATE
    verdict = check_messages(intents, k, now, messages, hedge)
    if verdict != PASS:
        give_back(intents, k, buckets)
        return verdict, RULE_MESSAGES
    return PASS, 0


@inline_kernel
def _bind_groups(intents: Rows, n: Int, buckets: Rows, messages: Rows) -> None:
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
                give_back(intents, j, buckets)
                give_back(intents, j, messages)


@kernel
def rearm(gate: GateState, s: Int) -> None:
    """Clear a strategy's drawdown latch; a person's decision."""
    gate.latched[s] = 0
