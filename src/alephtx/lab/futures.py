"""Other futures of a tape: the same rows up to a moment, and something else from there on."""

from collections.abc import Sequence
from math import lcm
from typing import Any, Literal

import numpy as np

from alephtx.core.instruments import Instrument
from alephtx.core.records import EVENT
from alephtx.core.units import from_decimal
from alephtx.core.words import (
    DELTA,
    FUNDING,
    INDEX,
    LAST_IN_MESSAGE,
    LIQUIDATION,
    MARK,
    ORDER_ADD,
    ORDER_CHANGE,
    ORDER_DELETE,
    ORDER_FILL,
    TOP,
    TRADE,
)
from alephtx.engine.tapes import Tape

Rows = np.ndarray[Any, Any]
Future = Literal["up", "down", "silent"]

FUTURES: dict[Future, str] = {
    "up": "prices 2 % higher, sizes threefold, half of the trades gone",
    "down": "prices 2 % lower, sizes twofold, half of the trades gone",
    "silent": "nothing more happens",
}
_SIZED = (DELTA, TRADE, TOP, ORDER_ADD, ORDER_CHANGE, ORDER_FILL, LIQUIDATION)
_PRICED = (*_SIZED, ORDER_DELETE, MARK, INDEX)


def other_future(tape: Tape, instrument: Instrument, cut_ns: int, future: Future) -> Tape:
    """Return a tape whose rows of ts_event at or after a moment are others; times stay."""
    later = tape.rows["ts_event"] >= cut_ns
    rows = _silent(tape.rows, later) if future == "silent" else np.array(tape.rows)
    if future != "silent" and later.any():
        part = rows[later]
        _distort(part, _shift(tape, instrument, future), 3 if future == "up" else 2)
        rows[later] = part
    return Tape(rows, tape.base, tape.unit, tape.qty_unit)


def wide(tape: Tape) -> Rows:
    """Return a tape's rows as EVENT."""
    rows = tape.rows
    if rows.dtype == EVENT:
        return np.array(rows)
    out = np.zeros(len(rows), EVENT)
    for name in ("ts_event", "ts_recv", "kind", "side", "flags"):
        out[name] = rows[name]
    out["seq"] = rows["message"]
    out["price"] = tape.base + rows["price"].astype(np.int64) * tape.unit
    out["qty"] = rows["qty"].astype(np.int64) * tape.qty_unit
    return out


def _silent(rows: Rows, later: Rows) -> Rows:
    """Leave out what comes later; one row that moves nothing keeps the clock going."""
    kept = rows[~later]
    if not later.any():
        return kept
    end = np.array(rows[-1:])
    end["ts_event"], end["ts_recv"] = rows["ts_event"].max(), rows["ts_recv"].max()
    end["kind"], end["flags"], end["qty"], end["side"] = INDEX, LAST_IN_MESSAGE, 0, 0
    return np.concatenate([kept, end])


def _shift(tape: Tape, instrument: Instrument, future: Future) -> int:
    """Return by how much the field `price` moves: about 2 %, in whole ticks of the instrument."""
    priced = tape.rows["price"][_of(tape.rows, _PRICED)]
    if not len(priced):
        return 0
    level = tape.base + int(np.median(priced)) * tape.unit
    tick = max(1, from_decimal(instrument.tick_size, instrument.price_scale))
    grain = lcm(tick, tape.unit)
    moved = max(1, level // 50 // grain) * grain // tape.unit
    highest = int(np.iinfo(tape.rows["price"].dtype).max)
    return min(moved, highest - int(priced.max())) if future == "up" else -moved


def _distort(rows: Rows, shift: int, times: int) -> None:
    """Move prices, multiply sizes, turn funding round, take every other trade out."""
    priced, sized = _of(rows, _PRICED), _of(rows, _SIZED)
    price, qty = rows["price"], rows["qty"]
    price[priced & (price + shift > 0)] += shift
    most = int(np.iinfo(qty.dtype).max) // times
    qty[sized & (qty <= most)] *= times
    funding = rows["kind"] == FUNDING
    price[funding] = -price[funding]
    gone = np.flatnonzero(rows["kind"] == TRADE)[::2]
    for name, value in (("kind", INDEX), ("qty", 0), ("side", 0)):
        rows[name][gone] = value


def _of(rows: Rows, kinds: Sequence[int]) -> Rows:
    found: Rows = np.isin(rows["kind"], kinds)
    return found
