"""Append to a journal, compiled; bytes as in `journal_format`, the map is `Journal.map`."""

import numpy as np

from alephtx.core.atomics import load_acquire, load_relaxed, store_relaxed, store_release
from alephtx.core.kernel import kernel
from alephtx.core.memory import fetch_line
from alephtx.core.ports import Rows
from alephtx.matrix.crc32c import START, crc_word
from alephtx.matrix.journal_format import GRAIN, RECORD_HEADER

FULL, HALTED, UNFIT = -1, -2, -3
"""What `journal_append` returns in place of a seq."""

LINE, AHEAD = 64, 256
"""Bytes of a cache line, and how many behind a record are fetched for the next: an UPDATE's."""

# Words of the journal's map. ADDRESS: of the next record; SELF: of the map; NULL: count only;
# LARGEST: bytes of the largest record that fits an empty segment.
J_ADDRESS, J_END, J_SEQ, J_HALTED, J_FAILED, J_NULL, J_SELF, J_LARGEST = 0, 1, 2, 3, 4, 5, 6, 7
JOURNAL_WORDS = 8


@kernel
def journal_append(
    jmap: Rows,
    kind: int,
    version: int,
    input_seq: int,
    ts: int,
    payload_address: int,
    payload_bytes: int,
) -> int:
    """Append a record and return its seq; FULL: call roll and again; HALTED; UNFIT: it never fits.

    The payload lies at an address that is a multiple of 8. The head is stored last, with release:
    whoever sees it sees the record, and a writer killed before it has written nothing. About 30 ns
    for an INTENT row.
    """
    if load_acquire(jmap[J_SELF] + 8 * J_HALTED) != 0:
        return HALTED
    size = (RECORD_HEADER + payload_bytes + GRAIN - 1) // GRAIN * GRAIN
    if payload_bytes < 0 or size > jmap[J_LARGEST] or kind <= 0 or kind > 0xFFFF:
        return UNFIT
    if version < 0 or version > 0x7FFF:
        return UNFIT
    seq = jmap[J_SEQ] + 1
    if jmap[J_NULL] != 0:
        jmap[J_SEQ] = seq
        return seq
    address = jmap[J_ADDRESS]
    if address + size > jmap[J_END]:
        return FULL
    head = payload_bytes | kind << 32 | version << 48
    crc = crc_word(crc_word(START, head), 0)
    crc = crc_word(crc_word(crc_word(crc, seq), input_seq), ts)
    store_relaxed(address + 16, seq)
    store_relaxed(address + 24, input_seq)
    store_relaxed(address + 32, ts)
    at = address + RECORD_HEADER
    for k in range(payload_bytes // 8):
        word = load_relaxed(payload_address + 8 * k)
        store_relaxed(at, word)
        crc = crc_word(crc, word)
        at += 8
    rest = payload_bytes & 7
    if rest:
        word = load_relaxed(payload_address + payload_bytes - rest) & ((1 << 8 * rest) - 1)
        store_relaxed(at, word)
        crc = crc_word(crc, word)
        at += 8
    while at < address + size:  # the file is zeros already
        crc = crc_word(crc, 0)
        at += 8
    store_relaxed(address + 8, crc ^ START)
    store_release(address, head)
    jmap[J_ADDRESS] = address + size
    store_release(jmap[J_SELF] + 8 * J_SEQ, seq)
    # Nobody has touched the next record's lines: fetched when it is written, they would hold up all
    # stores behind them.
    for line in range(address + size, address + size + AHEAD, LINE):
        fetch_line(line)
    return seq


@kernel
def journal_room(jmap: Rows) -> int:
    """Return the bytes left in the current segment; an INTENT takes 192, an UPDATE 256."""
    return jmap[J_END] - jmap[J_ADDRESS]


@kernel
def journal_failed(jmap: Rows) -> int:
    """Return 1 when the journal can no longer promise what it should: no new risk may be taken."""
    return load_acquire(jmap[J_SELF] + 8 * J_FAILED)


def make_map() -> Rows:
    """Return a map that leads nowhere yet."""
    jmap = np.zeros(JOURNAL_WORDS, np.int64)
    jmap[J_SELF] = jmap.ctypes.data
    return jmap


def null_journal() -> Rows:
    """Return a map whose appends only count; for backtests, where the input is the record."""
    jmap = make_map()
    jmap[J_NULL], jmap[J_END], jmap[J_LARGEST] = 1, 1 << 62, 1 << 62
    return jmap
