"""Latches: what they are called, and how a start finds them again in the journal."""

from collections.abc import Iterator, Sequence

from alephtx.core.words import DENY_HALTED, DENY_ORDER_RATIO
from alephtx.risk.state import (
    FIRM_LATCHED,
    LATCHED,
    ORDERS,
    ORDERS_BEFORE,
    RATIO_LATCHED,
    RULE_ACCOUNT_DRAWDOWN,
    RULE_DRAWDOWN,
    RULE_FIRM_DRAWDOWN,
    GateState,
    Rows,
)

DRAWDOWN, ORDER_RATIO = "drawdown", "order_ratio"
LATCHED_TEXT, ARMED_TEXT = "latched", "armed"


def relatch(gate: GateState, row: Rows) -> None:
    """Set the latch that a journaled denial tells of. row: INTENT (1,) with a verdict."""
    rule, verdict = int(row[0]["rule"]), int(row[0]["verdict"])
    if verdict == DENY_ORDER_RATIO:
        gate.accounts[row[0]["account"], RATIO_LATCHED] = 1
    elif verdict == DENY_HALTED and rule == RULE_DRAWDOWN:
        gate.latched[row[0]["strategy"]] = 1
    elif verdict == DENY_HALTED and rule == RULE_ACCOUNT_DRAWDOWN:
        gate.accounts[row[0]["account"], LATCHED] = 1
    elif verdict == DENY_HALTED and rule == RULE_FIRM_DRAWDOWN:
        gate.firm[FIRM_LATCHED] = 1


Place = tuple[str, tuple[int, ...]]
"""An element of the gate: the array's name and the index."""


def latches(accounts: Sequence[str], strategies: Sequence[str]) -> Iterator[tuple[str, str, Place]]:
    """Iterate over (kind, scope, place) of every latch; scope "" is the firm."""
    yield DRAWDOWN, "", ("firm", (FIRM_LATCHED,))
    for s, name in enumerate(strategies):
        yield DRAWDOWN, f"strategies.{name}", ("latched", (s,))
    for a, name in enumerate(accounts):
        yield DRAWDOWN, f"accounts.{name}", ("accounts", (a, LATCHED))
        yield ORDER_RATIO, f"accounts.{name}", ("accounts", (a, RATIO_LATCHED))


def clearing(place: Place) -> list[tuple[Place, int]]:
    """Return the stores that clear a latch; a ratio's count begins anew, or it would fall again."""
    name, index = place
    stores = [(place, 0)]
    if name == "accounts" and index[1] == RATIO_LATCHED:
        stores += [((name, (index[0], column)), 0) for column in (ORDERS, ORDERS_BEFORE)]
    return stores
