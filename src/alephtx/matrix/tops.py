"""The latest best bid and ask of every instrument: one 64-byte seqlock record each.

The word is odd while the record is written. A reader copies, then looks again; a record that stays
odd or keeps changing for READ_RETRIES looks is given up, so a writer that died inside never hangs
it. One writer per instrument.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import (
    fence_acquire,
    fence_release,
    load_acquire,
    load_relaxed,
    pause,
    store_relaxed,
    store_release,
)
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.words import STALE
from alephtx.matrix.layout import MAP_INSTRUMENTS, MAP_TOPS, TOP_BYTES

Rows = np.ndarray[Any, Any]

READ_RETRIES = 2_000
"""About 80 us of looking: far longer than a write, short against a trader's time-outs."""


NO_TOUCH = (0, 0)
"""Of `touch_read`: a write was under way, or there is no such instrument."""


@kernel
def top_publish(
    matrix: Rows,
    i: Int,
    ts_event: Int,
    ts_recv: Int,
    bid: Int,
    bid_qty: Int,
    ask: Int,
    ask_qty: Int,
    aux: Int,
) -> int:
    """Publish instrument i's top. Returns 0, or -2 for an instrument that is not. About 4 ns."""
    if i < 0 or i >= matrix[MAP_INSTRUMENTS]:
        return -2
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    word = load_relaxed(record) | 1  # odd already: the writer before us died inside
    store_relaxed(record, word)
    fence_release()
    store_relaxed(record + 8, ts_event)
    store_relaxed(record + 16, ts_recv)
    store_relaxed(record + 24, bid)
    store_relaxed(record + 32, bid_qty)
    store_relaxed(record + 40, ask)
    store_relaxed(record + 48, ask_qty)
    store_relaxed(record + 56, aux)
    store_release(record, word + 1)
    return 0


@kernel
def top_read(matrix: Rows, i: Int, out: Rows) -> int:
    """Copy instrument i's top into out, TOP_ROW (1,). Returns 0, or -1 when it cannot be had.

    On -1 (its writer died or sleeps inside, or there is no such instrument) out keeps its prices
    and is flagged STALE, so that a caller who forgets to look does not trade on it.
    """
    row = out[0]
    if i < 0 or i >= matrix[MAP_INSTRUMENTS]:
        row["aux"] = row["aux"] | STALE
        return -1
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    for _ in range(READ_RETRIES):
        word = load_acquire(record)
        if word & 1:
            pause()
            continue
        ts_event, ts_recv = load_relaxed(record + 8), load_relaxed(record + 16)
        bid, bid_qty = load_relaxed(record + 24), load_relaxed(record + 32)
        ask, ask_qty = load_relaxed(record + 40), load_relaxed(record + 48)
        aux = load_relaxed(record + 56)
        fence_acquire()
        if load_relaxed(record) == word:
            row["word"], row["ts_event"], row["ts_recv"] = word, ts_event, ts_recv
            row["bid"], row["bid_qty"], row["ask"], row["ask_qty"] = bid, bid_qty, ask, ask_qty
            row["aux"] = aux
            return 0
    row["aux"] = row["aux"] | STALE
    return -1


@inline_kernel
def touch_read(matrix: Rows, i: Int) -> tuple[int, int]:
    """Return bid and ask of instrument i, of one moment; a third of what `top_read` costs.

    For a first look at many: NO_TOUCH where the record cannot be had. It asks 0, so it seems to
    cross whatever is bid, and whoever compares goes on to read it whole, with its flags and times.
    """
    if i < 0 or i >= matrix[MAP_INSTRUMENTS]:
        return NO_TOUCH
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    word = load_acquire(record)
    bid, ask = load_relaxed(record + 24), load_relaxed(record + 40)
    fence_acquire()
    return (bid, ask) if load_relaxed(record) == word and not word & 1 else NO_TOUCH


@kernel
def top_flag(matrix: Rows, i: Int, set_mask: Int, clear_mask: Int) -> int:
    """Set and clear bits of the aux word; prices stay. Returns the new aux, or -2. Writer only."""
    if i < 0 or i >= matrix[MAP_INSTRUMENTS]:
        return -2
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    aux = (load_relaxed(record + 56) & ~clear_mask) | set_mask
    word = load_relaxed(record) | 1
    store_relaxed(record, word)
    fence_release()
    store_relaxed(record + 56, aux)
    store_release(record, word + 1)
    return aux


@kernel
def top_is_torn(matrix: Rows, i: Int) -> int:
    """Return 1 when the record's word is odd."""
    return load_acquire(matrix[MAP_TOPS] + i * TOP_BYTES) & 1
