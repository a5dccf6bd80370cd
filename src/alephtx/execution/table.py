"""The order table: rows, index and open exposure, and what the engine itself does to an order.

Live orders are compact per strategy (swap-remove), so a strategy's view is rows 0..count-1. The
last `history` orders that are over stay known, so that late reports find them; the last `trades`
trade ids stay known, so only a fill older than that many fills could count twice.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.records import ORDER
from alephtx.core.units import MAX_VALUE
from alephtx.core.words import (
    CANCELED,
    DENIED,
    EXPIRED,
    FILLED,
    NEW,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_NEW,
    PENDING_REPLACE,
    REJECTED,
    UNKNOWN,
)
from alephtx.execution.index import ABSENT, index_delete, index_get, index_put, make_index

Rows = np.ndarray[Any, Any]


class OrderTable(NamedTuple):
    """All orders. One writer: the engine's step.

    orders: ORDER (strategies, open_max), live ones first. open_count: int64 (strategies, 1).
    closed: ORDER (history,), a ring; closed_count: int64 (1,), ever closed. index: order id ->
    strategy * open_max + slot, or -1 - ring row. trades: (account | instrument, trade id) seen;
    trade_ring: int64 (trades, 2) and trade_count: int64 (1,) forget the oldest. open_strategy:
    int64 (strategies, instruments, 2) and open_account: int64 (accounts, instruments, 2): lots
    still open, [..., 0] bids, [..., 1] asks. account_orders: int64 (accounts,): live orders.
    """

    orders: Rows
    open_count: Rows
    closed: Rows
    closed_count: Rows
    index: Rows  # type: ignore[assignment]  # shadows tuple.index, which nobody calls here
    trades: Rows
    trade_ring: Rows
    trade_count: Rows
    open_strategy: Rows
    open_account: Rows
    account_orders: Rows


def make_order_table(
    strategies: int,
    open_max: int,
    history: int = 4096,
    *,
    instruments: int = 256,
    accounts: int = 16,
    trades: int = 65_536,
) -> OrderTable:
    """Return an empty table. history: orders remembered after their end; trades: fills deduped."""
    sizes = (strategies, open_max, history, instruments, accounts, trades)
    if min(sizes) < 1:
        raise ValueError(f"an order table needs sizes of 1 and more, not {sizes}")
    return OrderTable(
        orders=np.zeros((strategies, open_max), ORDER),
        open_count=np.zeros((strategies, 1), np.int64),
        closed=np.zeros(history, ORDER),
        closed_count=np.zeros(1, np.int64),
        index=make_index(strategies * open_max + history + 1),
        trades=make_index(trades + 1),
        trade_ring=np.zeros((trades, 2), np.int64),
        trade_count=np.zeros(1, np.int64),
        open_strategy=np.zeros((strategies, instruments, 2), np.int64),
        open_account=np.zeros((accounts, instruments, 2), np.int64),
        account_orders=np.zeros(accounts, np.int64),
    )


@inline_kernel
def orders_place(table: OrderTable, intent: Rows, now: Int) -> int:
    """Enter an order that is about to be sent: PENDING_NEW, its whole quantity open exposure.

    intent: INTENT (1,) with its order_id filled in. Returns 0; -1 the strategy's rows are full; -2
    the id is known already; -3 strategy, account, instrument, side or quantity is out of range.
    """
    strategy, account = np.int64(intent[0]["strategy"]), np.int64(intent[0]["account"])
    instrument, side = np.int64(intent[0]["instrument"]), np.int64(intent[0]["side"])
    qty, order_id = intent[0]["qty"], intent[0]["order_id"]
    if strategy >= table.orders.shape[0] or account >= table.open_account.shape[0]:
        return -3
    if instrument >= table.open_account.shape[1] or side not in (1, -1):
        return -3
    if qty <= 0 or qty >= MAX_VALUE or order_id <= 0:
        return -3
    if index_get(table.index, order_id, 0) != ABSENT:
        return -2
    k = table.open_count[strategy, 0]
    if k >= table.orders.shape[1]:
        return -1
    rows = table.orders[strategy]
    _blank(rows, k)
    rows[k]["order_id"], rows[k]["parent_id"] = order_id, intent[0]["parent_id"]
    rows[k]["group_id"], rows[k]["tag"] = intent[0]["group_id"], intent[0]["tag"]
    rows[k]["price"], rows[k]["qty"] = intent[0]["price"], qty
    rows[k]["ts_intent"], rows[k]["ts_last"] = intent[0]["ts_intent"], now
    rows[k]["expires_ns"], rows[k]["flags"] = intent[0]["expires_ns"], intent[0]["flags"]
    rows[k]["instrument"], rows[k]["account"] = instrument, account
    rows[k]["strategy"], rows[k]["side"] = strategy, side
    rows[k]["tif"], rows[k]["type"] = intent[0]["tif"], intent[0]["type"]
    rows[k]["status"] = PENDING_NEW
    table.open_count[strategy, 0] = k + 1
    table.account_orders[account] += 1
    index_put(table.index, order_id, 0, strategy * table.orders.shape[1] + k)
    set_leaves(table, rows, k, qty)
    return 0


@inline_kernel
def _blank(rows: Rows, k: Int) -> None:
    """Clear what `orders_place` does not set: the row may hold an order that moved away."""
    rows[k]["venue_order_id"], rows[k]["filled_qty"], rows[k]["leaves_qty"] = 0, 0, 0
    rows[k]["filled_value"], rows[k]["ts_sent"], rows[k]["ts_ack"] = 0, 0, 0
    rows[k]["reason"], rows[k]["fills"], rows[k]["code"] = 0, 0, 0
    rows[k]["next"], rows[k]["spare"] = -1, 0


@inline_kernel
def set_leaves(table: OrderTable, rows: Rows, k: Int, leaves: Int) -> None:
    """Change an order's leaves and the two sums of open exposure with it."""
    delta = leaves - rows[k]["leaves_qty"]
    if delta == 0:
        return
    rows[k]["leaves_qty"] = leaves
    column = 0 if rows[k]["side"] > 0 else 1
    instrument = np.int64(rows[k]["instrument"])
    table.open_strategy[np.int64(rows[k]["strategy"]), instrument, column] += delta
    table.open_account[np.int64(rows[k]["account"]), instrument, column] += delta


@kernel
def orders_find(table: OrderTable, order_id: Int) -> int:
    """Return an order's slot in its strategy's live rows, -1 when it is over, -2 when not known."""
    place = index_get(table.index, order_id, 0)
    if place == ABSENT:
        return -2
    return place % table.orders.shape[1] if place >= 0 else -1


@kernel
def orders_read(table: OrderTable, order_id: Int, out: Rows) -> int:
    """Copy an order to out, ORDER (1,); 1 when live, 0 when over, -1 when not known."""
    place = index_get(table.index, order_id, 0)
    if place == ABSENT:
        return -1
    if place < 0:
        out[0] = table.closed[-1 - place]
        return 0
    out[0] = table.orders[place // table.orders.shape[1], place % table.orders.shape[1]]
    return 1


@kernel
def orders_sent(table: OrderTable, order_id: Int, now: Int) -> int:
    """Note that an order's bytes left; 0, or -1 when it is not live. Same as a SENT update."""
    place = index_get(table.index, order_id, 0)
    if place < 0:  # over, or ABSENT
        return -1
    rows = table.orders[place // table.orders.shape[1]]
    k = place % table.orders.shape[1]
    if rows[k]["ts_sent"] == 0:
        rows[k]["ts_sent"] = now
    return 0


@inline_kernel
def orders_cancelling(table: OrderTable, order_id: Int, now: Int) -> int:
    """Note that a cancel is about to be sent; 0, or -1 when the order is not live.

    An UNKNOWN order stays UNKNOWN: asking to cancel it proves nothing.
    """
    place = index_get(table.index, order_id, 0)
    if place < 0:  # over, or ABSENT
        return -1
    rows = table.orders[place // table.orders.shape[1]]
    k = place % table.orders.shape[1]
    if rows[k]["status"] != UNKNOWN:
        rows[k]["status"] = PENDING_CANCEL
    rows[k]["ts_last"] = now
    return 0


@kernel
def orders_replacing(table: OrderTable, order_id: Int, qty: Int, now: Int) -> int:
    """Note that an amend is about to be sent; open exposure becomes the larger of both quantities.

    Returns 0, -1 when the order is not on the book (NEW or PARTIALLY_FILLED), -3 bad quantity.
    """
    if qty <= 0 or qty >= MAX_VALUE:
        return -3
    place = index_get(table.index, order_id, 0)
    if place < 0:  # over, or ABSENT
        return -1
    rows = table.orders[place // table.orders.shape[1]]
    k = place % table.orders.shape[1]
    if rows[k]["status"] != NEW and rows[k]["status"] != PARTIALLY_FILLED:
        return -1
    rows[k]["status"], rows[k]["spare"], rows[k]["ts_last"] = PENDING_REPLACE, qty, now
    set_leaves(table, rows, k, max(rows[k]["qty"], qty) - rows[k]["filled_qty"])
    return 0


@inline_kernel
def order_is_over(status: Int) -> bool:
    """Tell whether nothing but a late fill can happen to an order any more."""
    return status in (FILLED, CANCELED, REJECTED, EXPIRED, DENIED)


@inline_kernel
def close_order(table: OrderTable, rows: Rows, k: Int) -> None:
    """Move an order that is over to the ring of closed ones; the last live row takes its place."""
    set_leaves(table, rows, k, 0)
    rows[k]["next"] = -1
    strategy = np.int64(rows[k]["strategy"])
    table.account_orders[np.int64(rows[k]["account"])] -= 1
    at = table.closed_count[0] % table.closed.shape[0]
    oldest = table.closed[at]["order_id"]
    if oldest != 0 and index_get(table.index, oldest, 0) == -1 - at:
        index_delete(table.index, oldest, 0)
    table.closed[at] = rows[k]
    table.closed_count[0] += 1
    index_put(table.index, rows[k]["order_id"], 0, -1 - at)
    last = table.open_count[strategy, 0] - 1
    if k != last:
        rows[k] = rows[last]
        index_put(table.index, rows[k]["order_id"], 0, strategy * table.orders.shape[1] + k)
    rows[last]["order_id"] = 0
    table.open_count[strategy, 0] = last


@inline_kernel
def reopen_order(table: OrderTable, k: Int, leaves: Int) -> int:
    """Move a closed order back among the live ones; its slot, or -1 when there is no room."""
    strategy = np.int64(table.closed[k]["strategy"])
    slot = table.open_count[strategy, 0]
    if slot >= table.orders.shape[1]:
        return -1
    rows = table.orders[strategy]
    rows[slot] = table.closed[k]
    table.closed[k]["order_id"] = 0
    table.open_count[strategy, 0] = slot + 1
    table.account_orders[np.int64(rows[slot]["account"])] += 1
    index_put(table.index, rows[slot]["order_id"], 0, strategy * table.orders.shape[1] + slot)
    set_leaves(table, rows, slot, leaves)
    return slot


@inline_kernel
def remember_trade(table: OrderTable, account: Int, instrument: Int, trade_id: Int) -> bool:
    """Note a trade id; False when it was seen before among the last `trades` fills."""
    key = (account << 32) | instrument
    if index_get(table.trades, key, trade_id) != ABSENT:
        return False
    at = table.trade_count[0] % table.trade_ring.shape[0]
    if table.trade_count[0] >= table.trade_ring.shape[0]:
        index_delete(table.trades, table.trade_ring[at, 0], table.trade_ring[at, 1])
    table.trade_ring[at, 0], table.trade_ring[at, 1] = key, trade_id
    table.trade_count[0] += 1
    index_put(table.trades, key, trade_id, 1)
    return True
