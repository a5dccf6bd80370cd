"""The scanner of ITCH against struct, message by message."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.store import order_flow as flow
from alephtx.store.importers import itch
from tests.store.formats import itch_message

pytestmark = pytest.mark.kernel

U4, U8 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 63) - 1)
STOCK = b"AAPL    "
KINDS = st.sampled_from("AFECXDUPQHSR")
MESSAGES = st.lists(st.tuples(KINDS, U8, U8, U4, U4, st.booleans(), st.integers(0, 86_399)),
                    max_size=12)  # fmt: skip


def body_of(kind, a, b, shares, price, flag):
    side, printable = b"B" if flag else b"S", b"Y" if flag else b"N"
    bodies = {
        "A": lambda: struct.pack(">QcI8sI", a, side, shares, STOCK, price),
        "F": lambda: struct.pack(">QcI8sI4s", a, side, shares, STOCK, price, b"MPID"),
        "E": lambda: struct.pack(">QIQ", a, shares, b),
        "C": lambda: struct.pack(">QIQcI", a, shares, b, printable, price),
        "X": lambda: struct.pack(">QI", a, shares),
        "D": lambda: struct.pack(">Q", a),
        "U": lambda: struct.pack(">QQII", a, b, shares, price),
        "P": lambda: struct.pack(">QcI8sIQ", a, side, shares, STOCK, price, b),
        "Q": lambda: struct.pack(">Q8sIQc", a, STOCK, price, b, b"O"),
        "H": lambda: STOCK + (b"T" if flag else b"H") + b"     ",
        "S": lambda: b"O",
        "R": lambda: STOCK + bytes(20),
    }
    return bodies[kind]()


def plain(kind, a, b, shares, price, flag):
    """Return (op, order, other, price, qty, side), None for what is not kept."""
    side = 1 if flag else -1
    return {
        "A": (flow.ADD, a, 0, price, shares, side), "F": (flow.ADD, a, 0, price, shares, side),
        "E": (flow.EXECUTE, a, 0, 0, shares, 0),
        "C": (flow.EXECUTE if flag else flow.FILL, a, 0, price, shares, 0),
        "X": (flow.REDUCE, a, 0, 0, shares, 0), "D": (flow.REMOVE, a, 0, 0, 0, 0),
        "U": (flow.REPLACE, a, b, price, shares, 0), "P": (flow.PRINT, None, 0, price, shares, 0),
        "Q": (flow.PRINT, None, 0, price, a, 0) if a > 0 else None,
        "H": (flow.SAY, None, 0, 1 if flag else 2, 0, 0),
    }.get(kind)  # fmt: skip


@given(MESSAGES, st.integers(1, 5))
def test_operations_are_those_that_struct_reads(drawn, room):
    data = [itch_message("R", 7, 0, STOCK + bytes(20))]
    expected = []
    for kind, a, b, shares, price, flag, second in drawn:
        ns = second * 1_000_000_000
        data.append(itch_message(kind, 7, ns, body_of(kind, a, b, shares, price, flag)))
        op = plain(kind, a, b, shares, price, flag)
        if op is not None:
            expected.append((*op, ns))
    view = np.frombuffer(b"".join(data), np.uint8)
    symbol = np.frombuffer(STOCK, np.uint8)
    state, ops = np.zeros(itch.STATE_WORDS, np.int64), np.zeros((room, flow.OP_WORDS), np.int64)
    state[itch.LOCATE] = -1
    found, done = [], 0
    while not done:
        state[itch.OPERATIONS] = 0
        done = itch.scan_itch(view, len(view), 1, symbol, 0, state, ops)
        found += ops[: state[itch.OPERATIONS]].tolist()
    assert state[itch.LOST] == 0
    assert len(found) == len(expected)
    for row, (op, order, other, price, qty, side, ns) in zip(found, expected, strict=True):
        assert row[flow.OP] == op
        assert row[flow.ORDER] == (order or 0)
        assert [row[flow.OTHER], row[flow.PRICE_AT], row[flow.QTY_AT]] == [other, price, qty]
        assert row[flow.SIDE_AT] == side
        assert row[flow.EVENT_NS] == ns
