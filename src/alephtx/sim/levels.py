"""A private book for matching: lots by tick, a bitmap of the occupied ones, the best level known.

One flat array per instrument and side, indexed by key = side x price, so that the best level of
either side is the highest occupied index. A level is one store, and near the touch everything is in
the cache. The array is address space: only pages that levels fall into become memory, so a span of
16 million ticks costs what the venue quotes of it. What lies below the window is not kept; a touch
that leaves it moves the window.

Our own orders never change these levels: what takers took is noted beside them, by `sim.state`.
"""

import mmap
from typing import Any, NamedTuple

import numpy as np

from alephtx.core.atomics import highest_bit
from alephtx.core.kernel import Int, inline_kernel, kernel

Rows = np.ndarray[Any, Any]

BID, ASK = 0, 1
SPAN = 1 << 24
"""Ticks an instrument's window covers unless told otherwise."""

NO_LEVEL = -(1 << 62)
"""Less than every key."""

# Columns of `marks`.
BEST, LOW, BASE, COUNT, SET = 0, 1, 2, 3, 4
MARKS = 8


class Levels(NamedTuple):
    """The books of I instruments.

    lots: int64 (I, 2, span). bits: int64 (I, 2, span / 32 + 1), 32 a word so that none
    is negative.
    marks: int64 (I, 2, MARKS): the best index (-1 none), a bound below which nothing is occupied,
    the key of index 0, how many levels there are, 1 when the window has its place.
    """

    lots: Rows
    bits: Rows
    marks: Rows


_MAP_NORESERVE = 0x4000  # Linux's; Python names it from 3.13 on


def make_levels(instruments: int, span: int = SPAN) -> Levels:
    """Return empty books; span: ticks, a multiple of 1,024."""
    if span % 1024 or span < 1024:
        raise ValueError(f"a window of {span} ticks: use a multiple of 1,024")
    lots = reserve(instruments * 2 * span).reshape(instruments, 2, span)
    width = span // 32 + 1  # one more: a search may start just above the last index
    bits = reserve(instruments * 2 * width).reshape(instruments, 2, width)
    marks = np.zeros((instruments, 2, MARKS), np.int64)
    marks[:, :, BEST] = -1
    return Levels(lots, bits, marks)


def reserve(words: int) -> Rows:
    """Return int64 zeros that become memory page by page, as they are touched."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, max(words, 1) * 8, flags=flags), np.int64)


@inline_kernel
def levels_best(levels: Levels, i: Int, s: Int) -> Int:
    """Return the key of the best level, NO_LEVEL without one."""
    best = levels.marks[i, s, BEST]
    return levels.marks[i, s, BASE] + best if best >= 0 else NO_LEVEL


@kernel
def levels_worst(levels: Levels, i: int, s: int) -> int:
    """Return the key of the worst level kept, NO_LEVEL without one."""
    marks, at = levels.marks[i, s], levels.marks[i, s, LOW]
    while at <= marks[BEST] and levels.lots[i, s, at] == 0:
        at += 1
    if at > marks[BEST]:
        return NO_LEVEL
    marks[LOW] = at
    return marks[BASE] + at


@inline_kernel
def levels_qty(levels: Levels, i: Int, s: Int, key: Int) -> Int:
    """Return the lots at a level, 0 where there is none."""
    at = key - levels.marks[i, s, BASE]
    return levels.lots[i, s, at] if 0 <= at < levels.lots.shape[2] else 0


@kernel
def index_below(bits: Rows, at: Int, low: Int) -> int:
    """Return the highest occupied index below `at` and not below `low`, or -1."""
    if at <= low:
        return -1
    w = at >> 5
    found = bits[w] & ((1 << (at & 31)) - 1)
    last = low >> 5
    while found == 0:
        w -= 1
        if w < last:
            return -1
        found = bits[w]
    return (w << 5) + highest_bit(found)


@inline_kernel
def levels_below(levels: Levels, i: Int, s: Int, key: Int) -> Int:
    """Return the key of the next level worse than a key, NO_LEVEL without one."""
    base = levels.marks[i, s, BASE]
    at = min(max(key - base, 0), levels.marks[i, s, BEST] + 1)
    at = index_below(levels.bits[i, s], at, levels.marks[i, s, LOW])
    return base + at if at >= 0 else NO_LEVEL


@inline_kernel
def levels_set(levels: Levels, i: Int, s: Int, key: Int, qty: Int) -> Int:
    """Set the absolute lots of a level, 0 or less removes it; returns what was there."""
    marks = levels.marks[i, s]
    at = key - marks[BASE]
    if marks[SET] == 0 or at < 0 or at >= levels.lots.shape[2]:
        at = _place_window(levels.lots[i, s], levels.bits[i, s], marks, key, qty)
        if at < 0:
            return 0
    # No branch asks for what stood there: it comes late, from beyond the first cache.
    before, w, bit = levels.lots[i, s, at], at >> 5, 1 << (at & 31)
    if qty > 0:
        levels.lots[i, s, at] = qty
        levels.bits[i, s, w] |= bit
        marks[COUNT] += 1 if before == 0 else 0
        marks[LOW], marks[BEST] = min(marks[LOW], at), max(marks[BEST], at)
    else:
        levels.lots[i, s, at] = 0
        levels.bits[i, s, w] &= ~bit
        marks[COUNT] -= 1 if before != 0 else 0
        if at == marks[BEST]:
            marks[BEST] = index_below(levels.bits[i, s], at, marks[LOW])
    return before


@kernel
def _place_window(lots: Rows, bits: Rows, marks: Rows, key: Int, qty: Int) -> int:
    """Move the window so that a better key fits; returns its index, -1 for one far below."""
    span = lots.shape[0]
    if qty <= 0 or (marks[SET] != 0 and key < marks[BASE]):
        return -1
    base = key - span // 2
    if marks[SET] != 0:
        _slide(lots, bits, marks, base - marks[BASE])
    else:
        marks[LOW] = span - 1
    marks[BASE], marks[SET] = base, 1
    return span // 2


@kernel
def _slide(lots: Rows, bits: Rows, marks: Rows, shift: Int) -> None:
    """Move all levels down by `shift` > 0 indices; those that fall out are forgotten."""
    best, low, kept = -1, lots.shape[0] - 1, 0
    at = marks[LOW]
    while at <= marks[BEST]:
        qty = lots[at]
        if qty != 0:
            lots[at] = 0
            bits[at >> 5] &= ~(1 << (at & 31))
            new = at - shift
            if new >= 0:
                lots[new] = qty
                bits[new >> 5] |= 1 << (new & 31)
                best, low, kept = new, min(low, new), kept + 1
        at += 1
    marks[BEST], marks[LOW], marks[COUNT] = best, low, kept


@kernel
def _forget(lots: Rows, bits: Rows, marks: Rows, above: Int) -> None:
    """Remove every level above an index; -1 removes all."""
    at = marks[BEST]
    while at > above:
        lots[at] = 0
        bits[at >> 5] &= ~(1 << (at & 31))
        marks[COUNT] -= 1
        at = index_below(bits, at, marks[LOW])
    marks[BEST] = at
    if at < 0:
        marks[LOW] = lots.shape[0] - 1


@inline_kernel
def levels_clear(levels: Levels, i: Int, s: Int) -> None:
    """Forget a side."""
    _forget(levels.lots[i, s], levels.bits[i, s], levels.marks[i, s], -1)


@inline_kernel
def levels_trim(levels: Levels, i: Int, s: Int, key: Int) -> None:
    """Remove every level that is better than the key."""
    marks = levels.marks[i, s]
    above = max(key - marks[BASE], -1)
    if marks[BEST] > above:
        _forget(levels.lots[i, s], levels.bits[i, s], marks, above)


@kernel
def levels_read(levels: Levels, i: Int, out: Rows) -> int:
    """Write the best levels of both sides, int64 (2, depth, 2) as (ticks, lots), zeros where none.

    Returns how many there were.
    """
    count = 0
    for s in range(2):
        sign, base, n = 1 - 2 * s, levels.marks[i, s, BASE], 0
        at = levels.marks[i, s, BEST]
        while at >= 0 and n < out.shape[1]:
            out[s, n, 0], out[s, n, 1] = sign * (base + at), levels.lots[i, s, at]
            at = index_below(levels.bits[i, s], at, levels.marks[i, s, LOW])
            n += 1
        count += n
        for rest in range(n, out.shape[1]):
            out[s, rest, 0], out[s, rest, 1] = 0, 0
    return count
