"""Structures that kernels build from the packed context."""

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.view import View
from alephtx.engine.context import (
    CLOSED,
    F_GATE,
    F_INSTRUMENTS,
    F_LEVELS,
    F_NOW,
    F_POSITIONS,
    F_SIGNALS,
    F_TABLE,
    F_TOP,
    I1,
    I2,
    I3,
    I4,
    INSTRUMENTS,
    ORDERS,
    POSITIONS,
    SIGNALS,
    TOPS,
)
from alephtx.execution.orders import OrderTable
from alephtx.risk.limits import GateState


@inline_kernel
def view_for(x: Rows, s: Int) -> View:
    """Build one strategy's view; the same memory for all but positions and orders."""
    return View(
        field(x, F_NOW, I1),
        field(x, F_TOP, TOPS),
        field(x, F_LEVELS, I4),
        field(x, F_SIGNALS, SIGNALS),
        field(x, F_POSITIONS, POSITIONS)[s],
        field(x, F_TABLE, ORDERS)[s],
        field(x, F_TABLE + 1, I2)[s],
        field(x, F_INSTRUMENTS, INSTRUMENTS),
    )


@inline_kernel
def table_of(x: Rows) -> OrderTable:
    """Build the order table, fields in its own order."""
    return OrderTable(
        field(x, F_TABLE, ORDERS),
        field(x, F_TABLE + 1, I2),
        field(x, F_TABLE + 2, CLOSED),
        field(x, F_TABLE + 3, I1),
        field(x, F_TABLE + 4, I2),
        field(x, F_TABLE + 5, I2),
        field(x, F_TABLE + 6, I2),
        field(x, F_TABLE + 7, I1),
        field(x, F_TABLE + 8, I3),
        field(x, F_TABLE + 9, I3),
        field(x, F_TABLE + 10, I1),
    )


@inline_kernel
def gate_of(x: Rows) -> GateState:
    """Build the gate's state, fields in its own order."""
    return GateState(
        field(x, F_GATE, I2),
        field(x, F_GATE + 1, I2),
        field(x, F_GATE + 2, I2),
        field(x, F_GATE + 3, I2),
        field(x, F_GATE + 4, I1),
        field(x, F_GATE + 5, I1),
        field(x, F_GATE + 6, I1),
        field(x, F_GATE + 7, I1),
        field(x, F_GATE + 8, I1),
        field(x, F_GATE + 9, I1),
        field(x, F_GATE + 10, I1),
        field(x, F_GATE + 11, I1),
        field(x, F_GATE + 12, I2),
        field(x, F_GATE + 13, I1),
        field(x, F_GATE + 14, I2),
        field(x, F_GATE + 15, I1),
        field(x, F_GATE + 16, I2),
        field(x, F_GATE + 17, I2),
        field(x, F_GATE + 18, I1),
        field(x, F_GATE + 19, I3),
        field(x, F_GATE + 20, I2),
        field(x, F_GATE + 21, I2),
        field(x, F_GATE + 22, I2),
        field(x, F_GATE + 23, I2),
        field(x, F_GATE + 24, I1),
        field(x, F_GATE + 25, I1),
        field(x, F_GATE + 26, I3),
        field(x, F_GATE + 27, I2),
        field(x, F_GATE + 28, I1),
    )
