"""Level changes that meet nothing of ours: nearly all rows of a tape, so a loop of their own.

A message of a venue is a few dozen level changes; of these `plain_rows` takes the ones in a row
that need nothing but their store in a book: no order of ours at the level or reached by it, nothing
taken from its side, not the last of a message, no flag. Everything else it leaves to `sim.tape`,
which does the same for a plain row, in a loop that knows all kinds and is three times as slow.
"""

import numpy as np

from alephtx.core.atomics import stay_apart
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.words import DELTA
from alephtx.sim.bottle import (
    EVENTS,
    I2,
    I3,
    REACH_BEST,
    REACH_TAKEN,
    REACH_WORST,
    T_BASE,
    T_COUNT,
    T_QTY_UNIT,
    T_UNIT,
    TICKS,
    Z_BITS,
    Z_LOCAL_BITS,
    Z_LOCAL_LOTS,
    Z_LOCAL_MARKS,
    Z_LOTS,
    Z_MARKS,
    Z_REACH,
    Z_ROWS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.levels import BASE, BEST, COUNT, LOW, SET, Levels, index_below


@inline_kernel
def _run(z: Rows, rows: Rows, i: Int, k: Int, levels: Levels, local: bool) -> Int:
    """Take the plain rows from k on that are of the message of row k - 1; see `plain_rows`."""
    stream, reach = field(z, Z_STREAMS, I2)[i], field(z, Z_REACH, I3)[i]
    base, unit, qty_unit = stream[T_BASE], stream[T_UNIT], stream[T_QTY_UNIT]
    n, span = stream[T_COUNT], levels.lots.shape[2]
    ts, recv = rows[k - 1]["ts_event"], rows[k - 1]["ts_recv"]
    if levels.marks[i, 0, SET] == 0 or levels.marks[i, 1, SET] == 0:
        return k
    while k < n:
        row = rows[k]
        if np.int64(row["kind"]) != DELTA or np.int64(row["flags"]) != 0:
            break
        if row["ts_event"] != ts or row["ts_recv"] != recv:
            break
        side = np.int64(row["side"])
        key = side * (base + np.int64(row["price"]) * unit)
        qty = np.int64(row["qty"]) * qty_unit
        s = 0 if side > 0 else 1
        marks, other = levels.marks[i, s], levels.marks[i, 1 - s]
        at = key - marks[BASE]
        if at < 0 or at >= span:
            break
        if not local:
            if reach[s, REACH_WORST] <= key <= reach[s, REACH_BEST] or reach[s, REACH_TAKEN] > 0:
                break
            if reach[1 - s, REACH_BEST] + key >= 0:
                break
        best, w, bit = marks[BEST], at >> 5, 1 << (at & 31)
        # No branch asks for what stood there: it comes late, from beyond the first cache.
        was = levels.lots[i, s, at]
        if qty > 0:
            if at > best and other[BEST] >= 0 and key + other[BASE] + other[BEST] >= 0:
                break  # it crosses the other side, which is trimmed
            levels.lots[i, s, at] = qty
            levels.bits[i, s, w] |= bit
            marks[COUNT] += 1 if was == 0 else 0
            marks[LOW], marks[BEST] = min(marks[LOW], at), max(best, at)
        else:
            levels.lots[i, s, at] = 0
            levels.bits[i, s, w] &= ~bit
            marks[COUNT] -= 1 if was != 0 else 0
            if at == best:
                marks[BEST] = index_below(levels.bits[i, s], at, marks[LOW])
        k += 1
    return k


@kernel
def plain_rows(z: Rows, i: Int, k: Int) -> int:
    """Take plain rows of TICK from k on into the exchange's book; returns the first it did not.

    Only rows with the times of row k - 1, which is of the same message.
    """
    stay_apart()
    levels = Levels(field(z, Z_LOTS, I3), field(z, Z_BITS, I3), field(z, Z_MARKS, I3))
    return _run(z, field(z, Z_ROWS + i, TICKS), i, k, levels, local=False)


@kernel
def plain_rows_wide(z: Rows, i: Int, k: Int) -> int:
    """Take plain rows of EVENT; see `plain_rows`."""
    stay_apart()
    levels = Levels(field(z, Z_LOTS, I3), field(z, Z_BITS, I3), field(z, Z_MARKS, I3))
    return _run(z, field(z, Z_ROWS + i, EVENTS), i, k, levels, local=False)


@kernel
def plain_rows_here(z: Rows, i: Int, k: Int) -> int:
    """Take plain rows of TICK into our late copy, which no order of ours is in."""
    stay_apart()
    levels = Levels(
        field(z, Z_LOCAL_LOTS, I3), field(z, Z_LOCAL_BITS, I3), field(z, Z_LOCAL_MARKS, I3)
    )
    return _run(z, field(z, Z_ROWS + i, TICKS), i, k, levels, local=True)


@kernel
def plain_rows_here_wide(z: Rows, i: Int, k: Int) -> int:
    """Take plain rows of EVENT into our late copy."""
    stay_apart()
    levels = Levels(
        field(z, Z_LOCAL_LOTS, I3), field(z, Z_LOCAL_BITS, I3), field(z, Z_LOCAL_MARKS, I3)
    )
    return _run(z, field(z, Z_ROWS + i, EVENTS), i, k, levels, local=True)
