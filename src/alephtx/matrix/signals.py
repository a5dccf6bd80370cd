"""Named numbers about instruments, from kernels, models and agents: a seqlock record each.

A row has one writer; which row means what is the business of who sets the rows up.
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
from alephtx.core.kernel import Int, kernel
from alephtx.matrix.layout import MAP_SIGNAL_COUNT, MAP_SIGNALS, SIGNAL_BYTES
from alephtx.matrix.tops import READ_RETRIES

Rows = np.ndarray[Any, Any]


@kernel
def signal_publish(
    matrix: Rows,
    i: Int,
    value: Any,
    ts: Int,
    expires_ns: Int,
    instrument: Int,
    name: Int,
    source: Int,
) -> int:
    """Publish row i. Returns 0, or -2 for a row that is not. instrument, name, source: 32 bits."""
    if i < 0 or i >= matrix[MAP_SIGNAL_COUNT]:
        return -2
    record = matrix[MAP_SIGNALS] + i * SIGNAL_BYTES
    word = load_relaxed(record) | 1
    store_relaxed(record, word)
    fence_release()
    bits: Any = np.float64(value).view(np.int64)
    store_relaxed(record + 8, bits)
    store_relaxed(record + 16, ts)
    store_relaxed(record + 24, expires_ns)
    store_relaxed(record + 32, (instrument & 0x7FFFFFFF) | ((name & 0x7FFFFFFF) << 32))
    store_relaxed(record + 40, source & 0x7FFFFFFF)
    store_release(record, word + 1)
    return 0


@kernel
def signal_read(matrix: Rows, i: Int, out: Rows) -> int:
    """Copy row i into out, SIGNAL_ROW (1,). Returns 0, or -1 and out untouched."""
    if i < 0 or i >= matrix[MAP_SIGNAL_COUNT]:
        return -1
    record = matrix[MAP_SIGNALS] + i * SIGNAL_BYTES
    for _ in range(READ_RETRIES):
        word = load_acquire(record)
        if word & 1:
            pause()
            continue
        value, ts = load_relaxed(record + 8), load_relaxed(record + 16)
        expires, names = load_relaxed(record + 24), load_relaxed(record + 32)
        source = load_relaxed(record + 40)
        fence_acquire()
        if load_relaxed(record) == word:
            row = out[0]
            row["word"], row["value"] = word, np.int64(value).view(np.float64)
            row["ts"], row["expires_ns"] = ts, expires
            row["instrument"], row["name"] = names & 0xFFFFFFFF, names >> 32
            row["source"] = source
            return 0
    return -1
