"""What the venue's words make of our orders; compiled.

Reports come late, twice and out of order, over more than one channel. So state moves by a table
(`transitions`), a fill counts once by (account, instrument, trade id) whatever the order's state,
and what is not proven stays open exposure: an UNKNOWN order keeps its leaves, and an order that the
venue calls over with more filled than we have seen stays live until those fills came.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import MAX_VALUE, OVERFLOW, TRUNCATE, mul_div_checked
from alephtx.core.words import (
    ACK,
    CANCEL_REJECT,
    CANCELED,
    DENIED,
    EXPIRE,
    EXPIRED,
    FILL,
    FILLED,
    NEW,
    NOT_FOUND,
    ORDER_STATE,
    PARTIALLY_FILLED,
    PENDING_NEW,
    PENDING_REPLACE,
    REJECT,
    REJECTED,
    REPLACE_ACK,
    SENT,
    UNKNOWN,
)
from alephtx.execution.index import ABSENT, index_get
from alephtx.execution.table import (
    OrderTable,
    Rows,
    close_order,
    make_order_table,
    order_is_over,
    orders_cancelling,
    orders_find,
    orders_place,
    orders_read,
    orders_replacing,
    orders_sent,
    remember_trade,
    reopen_order,
    set_leaves,
)
from alephtx.execution.transitions import BY_FILLS, CLASH, SAME, STALE, STATES, TRANSITIONS

__all__ = [
    "APPLIED",
    "CONTRADICTION",
    "DUPLICATE",
    "INVALID",
    "LATE_FILL",
    "MISSING_FILLS",
    "NOTHING",
    "NOT_FOUND_KNOWN",
    "OUTCOME",
    "OVERFILL",
    "OVERFILLED",
    "RESURRECTED",
    "STALE_REPORT",
    "UNKNOWN_ORDER",
    "OrderTable",
    "make_order_table",
    "order_is_over",
    "orders_apply",
    "orders_cancelling",
    "orders_denied",
    "orders_find",
    "orders_place",
    "orders_read",
    "orders_replacing",
    "orders_sent",
]

# What orders_apply returns.
APPLIED = 0
DUPLICATE = 1  # known already; nothing moved
UNKNOWN_ORDER = 2  # no such order here: foreign, or older than the history
STALE_REPORT = 3  # older than, or against, what is known; nothing moved
OVERFILL = 4  # a fill beyond the order's quantity: counted, because it is money, and alarmed
INVALID = 5  # a row that cannot be meant for this order; nothing moved

# OUTCOME.code: what the engine should do beside.
NOTHING = 0
MISSING_FILLS = 1  # the venue counts more filled than we do: ask for the fills
NOT_FOUND_KNOWN = 2  # the venue does not know an order that it had confirmed: alarm, ask
CONTRADICTION = 3  # the report is against what is proven: alarm, ask
RESURRECTED = 4  # an order held for never-arrived is alive: alarm
LATE_FILL = 5  # a fill of an order that was over; counted
OVERFILLED = 6

OUTCOME = np.dtype(
    [
        ("fill_qty", "i8"),
        ("fill_price", "i8"),
        ("order_id", "i8"),
        ("strategy", "i8"),
        ("account", "i8"),
        ("instrument", "i8"),
        ("side", "i8"),
        ("old_status", "i8"),
        ("new_status", "i8"),
        ("slot", "i8"),
        ("code", "i8"),
        ("tag", "i8"),
        ("group_id", "i8"),
        ("filled_qty", "i8"),
        ("leaves_qty", "i8"),
        ("kind", "i8"),
    ]
)
"""What one update came to; 128 bytes, int64 only. fill_* are what is new to us; slot is the row in
orders[strategy] after the update, -1 when the order is over."""


@inline_kernel
def orders_apply(table: OrderTable, update: Rows, out: Rows) -> int:
    """Apply one report of the venue or the gateway. update: UPDATE (1,); out: OUTCOME (1,).

    Idempotent, and right in whatever order reports come. Returns APPLIED, DUPLICATE, UNKNOWN_ORDER,
    STALE_REPORT, OVERFILL (applied too) or INVALID; out is filled in all cases, fill_qty with what
    is new. Writes tag, group_id, filled_qty, leaves_qty, order_status and strategy into the update,
    so that `on_update` sees what the update came to. About 100 ns.
    """
    order_id, kind = update[0]["order_id"], np.int64(update[0]["kind"])
    _blank_outcome(out, order_id, kind)
    place = index_get(table.index, order_id, 0)
    if place == ABSENT:
        return UNKNOWN_ORDER
    if kind < SENT or kind > NOT_FOUND:
        return INVALID
    if place >= 0:
        rows, k = table.orders[place // table.orders.shape[1]], place % table.orders.shape[1]
    else:
        rows, k = table.closed, -1 - place
    old = np.int64(rows[k]["status"])
    _describe(rows, k, out)
    if kind == FILL:
        result = _apply_fill(table, rows, k, update, out)
    else:
        result = _apply_report(table, rows, k, update, out)
    if result in (APPLIED, OVERFILL):
        rows[k]["ts_last"] = max(rows[k]["ts_last"], update[0]["ts_recv"])
        if rows[k]["venue_order_id"] == 0:
            rows[k]["venue_order_id"] = update[0]["venue_order_id"]
    _annotate(rows, k, update, out)
    new = np.int64(rows[k]["status"])
    out[0]["new_status"] = new
    slot = k
    if place >= 0:
        if order_is_over(new):
            close_order(table, rows, k)
            slot = -1
    elif order_is_over(new):
        slot = -1
    else:
        slot = _bring_back(table, k, old, out)
    out[0]["slot"] = slot
    return result


@inline_kernel
def _blank_outcome(out: Rows, order_id: Int, kind: Int) -> None:
    out[0]["fill_qty"], out[0]["fill_price"], out[0]["order_id"] = 0, 0, order_id
    out[0]["strategy"], out[0]["account"], out[0]["instrument"] = -1, -1, -1
    out[0]["side"], out[0]["old_status"], out[0]["new_status"] = 0, 0, 0
    out[0]["slot"], out[0]["code"], out[0]["kind"] = -1, NOTHING, kind
    out[0]["tag"], out[0]["group_id"] = 0, 0
    out[0]["filled_qty"], out[0]["leaves_qty"] = 0, 0


@inline_kernel
def _describe(rows: Rows, k: Int, out: Rows) -> None:
    out[0]["strategy"], out[0]["account"] = rows[k]["strategy"], rows[k]["account"]
    out[0]["instrument"], out[0]["side"] = rows[k]["instrument"], rows[k]["side"]
    out[0]["old_status"], out[0]["tag"] = rows[k]["status"], rows[k]["tag"]
    out[0]["group_id"] = rows[k]["group_id"]


@inline_kernel
def _annotate(rows: Rows, k: Int, update: Rows, out: Rows) -> None:
    out[0]["filled_qty"], out[0]["leaves_qty"] = rows[k]["filled_qty"], rows[k]["leaves_qty"]
    update[0]["filled_qty"], update[0]["leaves_qty"] = rows[k]["filled_qty"], rows[k]["leaves_qty"]
    update[0]["tag"], update[0]["group_id"] = rows[k]["tag"], rows[k]["group_id"]
    update[0]["order_status"], update[0]["strategy"] = rows[k]["status"], rows[k]["strategy"]


@inline_kernel
def _bring_back(table: OrderTable, k: Int, old: Int, out: Rows) -> int:
    """Make a closed order live again; without room it stays closed, its code alarms."""
    waiting = table.closed[k]["next"] >= 0
    filled = table.closed[k]["filled_qty"]
    leaves = table.closed[k]["spare"] if waiting else table.closed[k]["qty"] - filled
    table.closed[k]["spare"] = 0
    slot = reopen_order(table, k, leaves)
    if slot < 0:
        table.closed[k]["status"] = old
        out[0]["new_status"] = old
    else:
        out[0]["leaves_qty"] = leaves
    return slot


@inline_kernel
def _apply_fill(table: OrderTable, rows: Rows, k: Int, update: Rows, out: Rows) -> int:
    """Count a fill once, whatever the order's state."""
    qty, price, trade_id = update[0]["qty"], update[0]["price"], update[0]["trade_id"]
    account, instrument = np.int64(rows[k]["account"]), np.int64(rows[k]["instrument"])
    side = np.int64(update[0]["side"])
    if qty <= 0 or qty >= MAX_VALUE or price <= 0 or price >= MAX_VALUE or trade_id == 0:
        return INVALID
    if update[0]["account"] != account or update[0]["instrument"] != instrument:
        return INVALID
    if side != 0 and side != rows[k]["side"]:
        return INVALID
    filled = rows[k]["filled_qty"] + qty
    if filled >= MAX_VALUE:
        return INVALID
    if not remember_trade(table, account, instrument, trade_id):
        return DUPLICATE
    old = np.int64(rows[k]["status"])
    live = not order_is_over(old)
    whole = max(rows[k]["qty"], rows[k]["spare"]) if live else rows[k]["qty"]
    _count_fill(rows, k, qty, price)
    out[0]["fill_qty"], out[0]["fill_price"] = qty, price
    if live:
        waiting = rows[k]["next"] >= 0
        left = rows[k]["leaves_qty"] - qty if waiting else whole - filled
        set_leaves(table, rows, k, max(left, 0))
        if filled >= whole:
            rows[k]["status"] = FILLED
        elif not waiting:
            rows[k]["status"] = TRANSITIONS[old, FILL]
        elif left <= 0:
            rows[k]["status"] = rows[k]["next"]
    else:
        out[0]["code"] = LATE_FILL
        if old in (REJECTED, DENIED):
            out[0]["code"] = RESURRECTED if rows[k]["spare"] != 0 else CONTRADICTION
        rows[k]["status"] = FILLED if filled >= whole else TRANSITIONS[old, FILL]
    if update[0]["cum_qty"] > filled:
        out[0]["code"] = MISSING_FILLS
    if filled > whole:
        out[0]["code"] = OVERFILLED
        return OVERFILL
    return APPLIED


@inline_kernel
def _count_fill(rows: Rows, k: Int, qty: Int, price: Int) -> None:
    """Add to filled quantity and value; the value (ticks x lots) stays at its bound once there."""
    rows[k]["filled_qty"] += qty
    rows[k]["fills"] = min(np.int64(rows[k]["fills"]) + 1, 65535)
    value = mul_div_checked(price, qty, 1, TRUNCATE)
    if value == OVERFLOW or rows[k]["filled_value"] >= MAX_VALUE - value:
        rows[k]["filled_value"] = MAX_VALUE
    else:
        rows[k]["filled_value"] += value


@inline_kernel
def _apply_report(table: OrderTable, rows: Rows, k: Int, update: Rows, out: Rows) -> int:
    """Move the state by a report that is not a fill."""
    kind, old = np.int64(update[0]["kind"]), np.int64(rows[k]["status"])
    said, cum, filled = np.int64(update[0]["status"]), update[0]["cum_qty"], rows[k]["filled_qty"]
    if kind == SENT:
        if rows[k]["ts_sent"] != 0:
            return DUPLICATE
        rows[k]["ts_sent"] = max(update[0]["ts_recv"], 1)
        return APPLIED
    target = TRANSITIONS[old, kind]
    if kind == ORDER_STATE:
        if said >= STATES.shape[1]:
            return INVALID
        target = STATES[old, said]
        if said == FILLED:
            cum = max(cum, rows[k]["qty"])
    if cum > filled:
        out[0]["code"] = MISSING_FILLS
    proven = rows[k]["ts_ack"] != 0 or filled > 0 or rows[k]["venue_order_id"] != 0
    learnt = DUPLICATE
    alive = kind in (ACK, REPLACE_ACK) or (
        kind == ORDER_STATE and said != 0 and not order_is_over(said)
    )
    if alive and rows[k]["ts_ack"] == 0 and (not order_is_over(old) or rows[k]["spare"] != 0):
        rows[k]["ts_ack"] = max(update[0]["ts_recv"], 1)
        learnt = APPLIED
    if target == REJECTED and proven and old != REJECTED:
        target = CLASH
    if target == SAME:
        return learnt
    if target == STALE:
        return STALE_REPORT
    if target == CLASH:
        return _clash(rows, k, kind, said, cum, out)
    return _move(table, rows, k, update, target, cum, proven, out)


@inline_kernel
def _clash(rows: Rows, k: Int, kind: Int, said: Int, cum: Int, out: Rows) -> int:
    """Handle a report against what is proven: only an inferred rejection gives way.

    An order held for rejected by inference has no fills: a fill proves that it lived.
    """
    if rows[k]["status"] != REJECTED or rows[k]["spare"] == 0:
        out[0]["code"] = NOT_FOUND_KNOWN if kind == NOT_FOUND else CONTRADICTION
        return STALE_REPORT
    if kind == ACK or (kind == ORDER_STATE and not order_is_over(said)):
        rows[k]["status"] = NEW
    elif cum > 0:  # it lived, filled and is over; wait for its fills
        rows[k]["status"], rows[k]["spare"] = UNKNOWN, cum
        expired = kind == EXPIRE or said == EXPIRED
        rows[k]["next"] = FILLED if said == FILLED else EXPIRED if expired else CANCELED
    else:  # it lived and is over without a fill: nothing is open
        return STALE_REPORT
    out[0]["code"] = RESURRECTED
    return APPLIED


@inline_kernel
def _move(
    table: OrderTable,
    rows: Rows,
    k: Int,
    update: Rows,
    target: Int,
    cum: Int,
    proven: Int,
    out: Rows,
) -> int:
    """Take a live order to its new status."""
    kind, old, filled = update[0]["kind"], rows[k]["status"], rows[k]["filled_qty"]
    waiting = rows[k]["next"] >= 0
    over = target > 0 and order_is_over(target)
    if waiting and not over:
        return STALE_REPORT  # it is over at the venue; only its fills are missing
    if over and cum > filled:
        left = min(cum, max(rows[k]["qty"], rows[k]["spare"])) - filled
        if waiting and left <= rows[k]["leaves_qty"]:
            return DUPLICATE
        rows[k]["status"], rows[k]["next"] = UNKNOWN, target
        set_leaves(table, rows, k, max(left, 0))
        return APPLIED
    if waiting:
        return DUPLICATE
    replaced = False
    if kind == REPLACE_ACK:
        if update[0]["qty"] <= 0 or update[0]["qty"] >= MAX_VALUE or update[0]["price"] <= 0:
            return INVALID
        replaced = rows[k]["qty"] != update[0]["qty"] or rows[k]["price"] != update[0]["price"]
        rows[k]["qty"], rows[k]["price"] = update[0]["qty"], update[0]["price"]
    if kind == REPLACE_ACK or (kind == CANCEL_REJECT and old == PENDING_REPLACE) or over:
        rows[k]["spare"] = 0
        set_leaves(table, rows, k, 0 if over else max(rows[k]["qty"] - filled, 0))
    if target == BY_FILLS:
        target = _by_fills(rows, k, kind == CANCEL_REJECT and not proven)
    if target == REJECTED and kind == NOT_FOUND:
        rows[k]["spare"] = 1  # inferred, not said
    if over:
        rows[k]["reason"] = min(np.int64(update[0]["reason"]), 255)
        rows[k]["code"] = update[0]["code"]
    if target == old and not replaced:
        return DUPLICATE
    rows[k]["status"] = target
    return APPLIED


@inline_kernel
def _by_fills(rows: Rows, k: Int, unproven: Int) -> int:
    """Return the status of an order that is on the book, from what it has filled."""
    if rows[k]["filled_qty"] >= rows[k]["qty"]:
        return FILLED
    if rows[k]["filled_qty"] > 0:
        return PARTIALLY_FILLED
    return PENDING_NEW if unproven else NEW


@kernel
def orders_denied(intent: Rows, now: Int, update: Rows) -> None:
    """Write the gate's denial of a PLACE as an update, so that its strategy hears of it.

    update: UPDATE (1,), kind REJECT, order_status DENIED, code = the gate's verdict, order_id 0.
    """
    update[0]["order_id"], update[0]["venue_order_id"], update[0]["trade_id"] = 0, 0, 0
    update[0]["price"], update[0]["qty"] = intent[0]["price"], intent[0]["qty"]
    update[0]["cum_qty"], update[0]["fee"], update[0]["realized"] = 0, 0, 0
    update[0]["ts_event"], update[0]["ts_recv"] = now, now
    update[0]["code"], update[0]["instrument"] = intent[0]["verdict"], intent[0]["instrument"]
    update[0]["account"], update[0]["strategy"] = intent[0]["account"], intent[0]["strategy"]
    update[0]["fee_currency"], update[0]["liquidity"] = 0, 0
    update[0]["reason"], update[0]["flags"] = 0, 0
    update[0]["kind"], update[0]["status"], update[0]["side"] = REJECT, DENIED, intent[0]["side"]
    update[0]["target_order_id"], update[0]["input_seq"] = 0, intent[0]["input_seq"]
    update[0]["tag"], update[0]["group_id"] = intent[0]["tag"], intent[0]["group_id"]
    update[0]["filled_qty"], update[0]["leaves_qty"] = 0, 0
    update[0]["order_status"] = DENIED
