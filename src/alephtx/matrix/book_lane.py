"""One side of one instrument's book, by address: a window of ticks at the touch, chunks below it.

Keys are prices for bids and negated prices for asks, so the best is always the highest. The best
level is always in the window and every spilled key is below the window; when the touch leaves the
window, or comes near its deep end, the window moves, and levels are pushed to or popped from the
end of the spill. A bitmap tells the occupied ticks, 32 to a word, so that no word is ever negative;
in a word the highest tick has the lowest bit, which is the one that takes least time to find and to
step over.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import highest_bit
from alephtx.core.atomics import load_relaxed as get
from alephtx.core.atomics import store_relaxed as put
from alephtx.core.digits import lowest_bit
from alephtx.core.kernel import Int, kernel
from alephtx.core.words import DELTA
from alephtx.matrix.spill import (
    CHUNK,
    spill_check,
    spill_clear,
    spill_find,
    spill_level_qty,
    spill_pop,
    spill_push,
    spill_room,
    spill_set,
)

Rows = np.ndarray[Any, Any]

WINDOW = 32768
PRICE_LIMIT = 1 << 61

# Where in an EVENT row they are; behind the instrument come kind, side and flags, all in one word.
_PRICE, _QTY, _INSTRUMENT = 24, 32, 40
_NO_FLAGS = (1 << 48) - 1

_ABOVE = WINDOW // 4  # ticks kept free above the touch when the window moves
_TOUCH = WINDOW - _ABOVE - 1
_WORDS = WINDOW // 32
_GROUPS = WINDOW // 1024
RESERVE = WINDOW // CHUNK + 2  # chunks one row can need: the whole window spills, and a split

# Words of a lane; then occupied words, occupied ticks, and lots by tick.
BASE, BEST, IN_SPILL, DIRECTORY, POOL, MOVES = 0, 8, 24, 32, 40, 48
_SUMMARY = 64
_BITS = _SUMMARY + 8 * max(_GROUPS, 8)
_LOTS = _BITS + 8 * _WORDS
LANE_BYTES = _LOTS + 8 * WINDOW


@kernel
def lane_lots(lane: Int, offset: Int) -> int:
    """Return the lots at an offset of the window."""
    return get(lane + _LOTS + 8 * offset)


@kernel
def lane_below(lane: Int, offset: Int) -> int:
    """Return the highest occupied offset below the given one, or -1."""
    word = offset >> 5
    found = get(lane + _BITS + 8 * word) & -(2 << (~offset & 31))
    if found != 0:
        return (word << 5) + 31 - lowest_bit(found)
    group = word >> 5
    found = get(lane + _SUMMARY + 8 * group) & ((1 << (word & 31)) - 1)
    while found == 0:
        group -= 1
        if group < 0:
            return -1
        found = get(lane + _SUMMARY + 8 * group)
    word = (group << 5) + highest_bit(found)
    return (word << 5) + 31 - lowest_bit(get(lane + _BITS + 8 * word))


@kernel
def lane_levels(lane: Int, sign: Int, out: Rows, s: Int) -> int:
    """Write the window's best levels as (sign * key, lots) into out[s]; returns how many."""
    best, n, depth = get(lane + BEST), 0, out.shape[1]
    if best < 0:
        return 0
    word = best >> 5
    while n < depth:
        found, low = get(lane + _BITS + 8 * word), word << 5
        top, lots = get(lane + BASE) + low + 31, lane + _LOTS + 8 * (low + 31)
        while found != 0 and n < depth:
            bit = lowest_bit(found)
            found &= found - 1
            out[s, n, 0], out[s, n, 1] = sign * (top - bit), get(lots - 8 * bit)
            n += 1
        below = lane_below(lane, low)
        if below < 0:
            break
        word = below >> 5
    return n


@kernel
def _above(lane: Int, offset: Int) -> int:
    """Return the lowest occupied offset above the given one (-1: the lowest of all), or -1."""
    word, found = offset >> 5, 0
    if offset >= 0:
        found = get(lane + _BITS + 8 * word) & ((1 << (~offset & 31)) - 1)
    while found == 0:
        word += 1
        if word == _WORDS:
            return -1
        found = get(lane + _BITS + 8 * word)
    return (word << 5) + 31 - highest_bit(found)


@kernel
def _put(lane: Int, offset: Int, qty: Int) -> None:
    """Occupy a free offset."""
    word = offset >> 5
    put(lane + _LOTS + 8 * offset, qty)
    put(lane + _BITS + 8 * word, get(lane + _BITS + 8 * word) | (1 << (~offset & 31)))
    group = lane + _SUMMARY + 8 * (word >> 5)
    put(group, get(group) | (1 << (word & 31)))


@kernel
def _take(lane: Int, offset: Int) -> None:
    """Free an occupied offset."""
    word = offset >> 5
    put(lane + _LOTS + 8 * offset, 0)
    rest = get(lane + _BITS + 8 * word) & ~(1 << (~offset & 31))
    put(lane + _BITS + 8 * word, rest)
    if rest == 0:
        group = lane + _SUMMARY + 8 * (word >> 5)
        put(group, get(group) & ~(1 << (word & 31)))


@kernel
def _move(lane: Int, touch: Int) -> None:
    """Move the window so that the key `touch`, not below any level's, lies near its upper end."""
    pool, directory = get(lane + POOL), get(lane + DIRECTORY)
    before, base = get(lane + BASE), touch - _TOUCH
    shift, spilled = base - before, get(lane + IN_SPILL)
    if shift > 0:  # upwards: the deep end spills, deepest first; the rest slides down
        offset = _above(lane, -1)
        while offset >= 0:
            qty = lane_lots(lane, offset)
            _take(lane, offset)
            if offset < shift:
                spill_push(pool, directory, before + offset, qty)
                spilled += 1
            else:
                _put(lane, offset - shift, qty)
            offset = _above(lane, offset)
    else:  # downwards: slide up from the top, then take what the window now covers
        offset = get(lane + BEST)
        while offset >= 0:
            qty = lane_lots(lane, offset)
            _take(lane, offset)
            _put(lane, offset - shift, qty)
            offset = lane_below(lane, offset)
        level = spill_find(pool, directory, PRICE_LIMIT)
        while level != 0 and get(level) >= base:
            _put(lane, get(level) - base, spill_level_qty(level))
            spill_pop(pool, directory)
            spilled -= 1
            level = spill_find(pool, directory, PRICE_LIMIT)
    put(lane + BASE, base)
    put(lane + IN_SPILL, spilled)
    put(lane + MOVES, get(lane + MOVES) + 1)
    put(lane + BEST, lane_below(lane, WINDOW - _ABOVE))  # the touch or less; nothing is above it


@kernel
def lane_run(
    lane: Int, side: Int, rows: Rows, k: Int, n: Int, i: Int, worst: Int
) -> tuple[int, int]:
    """Set the levels of rows[k:n], EVENT, while they are DELTAs of instrument i and this side.

    Ends also before a row that cannot be, and where RESERVE chunks are not free for one that needs
    some. Returns the index of that row, and 1 if the key of one before it was `worst` or better.
    """
    base, best, near = get(lane + BASE), get(lane + BEST), 0
    # By address, and instrument, kind and side in one look: as fields of rows[k] they are half of
    # what a level takes. An offset that is the best one is rare, a quantity of zero is not: asked
    # in the other order, the processor guesses wrong for one level in five.
    at, step = np.int64(rows.ctypes.data) + k * rows.strides[0], rows.strides[0]
    told = i | DELTA << 32 | (side & 0xFF) << 40
    while k < n:
        price, qty = get(at + _PRICE), get(at + _QTY)
        if (get(at + _INSTRUMENT) ^ told) & _NO_FLAGS != 0:
            break
        if price > PRICE_LIMIT or price < -PRICE_LIMIT or qty < 0:
            break
        at += step
        key = side * price
        offset = key - base
        if offset < 0 or offset >= WINDOW or (offset == best and qty == 0):
            put(lane + BEST, best)
            if _set_apart(lane, key, qty) == 0:
                break
            base, best = get(lane + BASE), get(lane + BEST)
        else:
            # Without a branch for each of a new level, a changed and a removed one: they come in no
            # order, and to guess which is next is to guess wrong.
            there, word = 1 + ((qty - 1) >> 63), offset >> 5
            put(lane + _LOTS + 8 * offset, qty)
            bits = lane + _BITS + 8 * word
            had = get(bits)
            left = had & ~(1 << (~offset & 31)) | there << (~offset & 31)
            put(bits, left)
            if had == 0 or left == 0:
                group, one = lane + _SUMMARY + 8 * (word >> 5), 1 << (word & 31)
                put(group, get(group) | one if left != 0 else get(group) & ~one)
            best = max(best, offset + WINDOW * (there - 1))
        near |= 1 if key >= worst else 0
        k += 1
    put(lane + BEST, best)
    return k, near


@kernel
def _set_apart(lane: Int, key: Int, qty: Int) -> int:
    """Set a level outside the window, or remove the best. Returns 1, or 0: the room is short."""
    offset = key - get(lane + BASE)
    if 0 <= offset < WINDOW:
        _take(lane, offset)
        _lower_best(lane, offset)
        return 1
    below = offset < 0 and get(lane + BEST) >= 0
    if not below and qty == 0:
        return 1
    pool, directory = get(lane + POOL), get(lane + DIRECTORY)
    if spill_room(pool, directory) < RESERVE:
        return 0
    if below:
        put(lane + IN_SPILL, get(lane + IN_SPILL) + spill_set(pool, directory, key, qty))
        return 1
    _move(lane, key)
    offset = key - get(lane + BASE)
    if lane_lots(lane, offset) == 0:
        _put(lane, offset, qty)
    put(lane + _LOTS + 8 * offset, qty)
    put(lane + BEST, max(get(lane + BEST), offset))
    return 1


@kernel
def _lower_best(lane: Int, offset: Int) -> None:
    """Find the next best after the best was removed; fetch from the spill when it runs low."""
    best = lane_below(lane, offset)
    put(lane + BEST, best)
    if best < _ABOVE and get(lane + IN_SPILL) > 0:
        if best >= 0:
            _move(lane, get(lane + BASE) + best)
        else:
            level = spill_find(get(lane + POOL), get(lane + DIRECTORY), PRICE_LIMIT)
            _move(lane, get(level))


@kernel
def lane_forget(lane: Int) -> None:
    """Empty the lane."""
    offset = get(lane + BEST)
    while offset >= 0:
        _take(lane, offset)
        offset = lane_below(lane, offset)
    put(lane + BEST, -1)
    put(lane + IN_SPILL, 0)
    spill_clear(get(lane + POOL), get(lane + DIRECTORY))


@kernel
def lane_count(lane: Int) -> int:
    """Return how many levels the lane has. Counts the window's, which takes a microsecond."""
    count = get(lane + IN_SPILL)
    for word in range(_WORDS):
        bits = get(lane + _BITS + 8 * word)
        while bits != 0:
            bits &= bits - 1
            count += 1
    return count


@kernel
def lane_qty(lane: Int, key: Int) -> int:
    """Return the lots at a key, 0 where there is no level."""
    offset = key - get(lane + BASE)
    if offset >= WINDOW:
        return 0
    if offset >= 0:
        return lane_lots(lane, offset)
    level = spill_find(get(lane + POOL), get(lane + DIRECTORY), key)
    return spill_level_qty(level) if level != 0 and get(level) == key else 0


@kernel
def lane_check(lane: Int) -> int:
    """Return 0 when the lane keeps its invariants, else which one is broken; for tests."""
    levels, best = 0, -1
    for offset in range(WINDOW):
        present = (get(lane + _BITS + 8 * (offset >> 5)) >> (~offset & 31)) & 1
        lots = lane_lots(lane, offset)
        if lots < 0 or present != (1 if lots > 0 else 0):
            return 1
        if present == 1:
            levels += 1
            best = offset
    for word in range(_WORDS):
        present = (get(lane + _SUMMARY + 8 * (word >> 5)) >> (word & 31)) & 1
        if present != (1 if get(lane + _BITS + 8 * word) != 0 else 0):
            return 2
    if best != get(lane + BEST):
        return 3
    spilled = spill_check(get(lane + POOL), get(lane + DIRECTORY), get(lane + BASE))
    if spilled < 0 or spilled != get(lane + IN_SPILL):
        return 4
    return 5 if spilled > 0 and levels == 0 else 0
