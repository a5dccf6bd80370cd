"""Streams and instruments for the tests of this room."""

from decimal import Decimal
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.core.records import EVENT

INSTRUMENT = Instrument(
    key="toy:BTC-USD", venue="toy", symbol="BTCUSD", base="BTC", quote="USD", settle="USD",
    contract=words.SPOT, price_scale=2, qty_scale=3, tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
)  # fmt: skip
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SHARED = next(
    (found for up in (1, 2) if (found := ROOT.parents[up - 1] / "shared" / "data").is_dir()), None
)
"""The whole recordings, where they lie beside the project."""
T0 = 1_723_161_255_000_000_000
DATED = words.EXCHANGE_CLOCK


def rows_of(*fields):
    """Return EVENT rows of dicts; each row is a message unless `open=True`."""
    rows = np.zeros(len(fields), EVENT)
    for row, field in zip(rows, fields, strict=True):
        given = dict(field)
        flags = given.pop("flags", 0)
        row["flags"] = flags if given.pop("open", False) else flags | words.LAST_IN_MESSAGE
        for name, value in given.items():
            row[name] = value
    return rows


def trade(recv, event=0, **more):
    return {"kind": words.TRADE, "ts_recv": T0 + recv, "ts_event": T0 + event if event else 0,
            "price": 100, "qty": 1, "side": 1, "flags": DATED if event else 0, **more}  # fmt: skip


def numbered(rows):
    """Return the rows numbered as a stream's, in naive Python."""
    number = 0
    for row in rows:
        if row["kind"] < words.ORDER_ADD:
            row["seq"] = number
        number += int(bool(row["flags"] & words.LAST_IN_MESSAGE))
    return rows


PRICES, SIZES = st.integers(-(1 << 40), 1 << 40), st.integers(0, 1 << 40)


@st.composite
def streams(draw):
    """Draw a proper stream: a few messages of a few rows, times rising."""
    messages = draw(st.lists(st.integers(1, 4), min_size=1, max_size=8))
    made, clock = [], 0
    for length in messages:
        clock += draw(st.integers(0, 5))
        made += [
            {"kind": draw(st.sampled_from((words.DELTA, words.TRADE, words.TOP))),
             "price": draw(PRICES), "qty": draw(SIZES), "side": draw(st.sampled_from((1, -1))),
             "ts_event": T0 + clock, "ts_recv": T0 + clock + 7, "flags": DATED,
             "open": k < length - 1}
            for k in range(length)
        ]  # fmt: skip
    return numbered(rows_of(*made))
