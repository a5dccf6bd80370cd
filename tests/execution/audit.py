"""Recompute what the order table keeps incrementally."""

import numpy as np

from alephtx.core import words
from alephtx.execution.index import ABSENT, index_get
from alephtx.execution.table import OrderTable


def audit_orders(table: OrderTable) -> list[str]:
    """Return every broken invariant of an order table, in words; empty when it is sound.

    Reads all rows: milliseconds. Between two steps only, never during one.
    """
    faults = []
    strategies, open_max = table.orders.shape
    by_strategy = np.zeros_like(table.open_strategy)
    by_account = np.zeros_like(table.open_account)
    live = np.zeros_like(table.account_orders)
    for strategy in range(strategies):
        for slot in range(int(table.open_count[strategy, 0])):
            row = table.orders[strategy, slot]
            name = f"order {row['order_id']}"
            if row["status"] in words.TERMINAL:
                faults.append(f"{name} is over but among the live ones")
            if index_get(table.index, row["order_id"], 0) != strategy * open_max + slot:
                faults.append(f"{name} is not where the index says")
            if row["leaves_qty"] < 0:
                faults.append(f"{name} has negative leaves")
            column = 0 if row["side"] > 0 else 1
            by_strategy[strategy, row["instrument"], column] += row["leaves_qty"]
            by_account[row["account"], row["instrument"], column] += row["leaves_qty"]
            live[row["account"]] += 1
        for slot in range(int(table.open_count[strategy, 0]), open_max):
            order_id = table.orders[strategy, slot]["order_id"]
            if order_id:
                faults.append(f"row {slot} of strategy {strategy} still holds order {order_id}")
    for at, row in enumerate(table.closed):
        if row["order_id"] == 0:
            continue
        if row["status"] not in words.TERMINAL or row["leaves_qty"] != 0:
            faults.append(f"order {row['order_id']} is among the closed ones but open")
        if index_get(table.index, row["order_id"], 0) == ABSENT:
            faults.append(f"closed order {row['order_id']} in ring row {at} cannot be found")
    for name, kept, counted in (
        ("open_strategy", table.open_strategy, by_strategy),
        ("open_account", table.open_account, by_account),
        ("account_orders", table.account_orders, live),
    ):
        if not np.array_equal(kept, counted):
            faults.append(f"{name} differs from its recount")
    return faults
