"""One side of one instrument's book, by address: a window of ticks at the touch, chunks below it.

Keys are prices for bids and negated prices for asks, so the best is always the highest. The best
level is always in the window and every spilled key is below the window; when the touch leaves the
window, or comes near its deep end, the window moves, and levels are pushed to or popped from the
end of the spill. A bitmap tells the occupied ticks, 32 to a word, so that no word is ever negative.
"""

from alephtx.core.atomics import highest_bit
from alephtx.core.atomics import load_relaxed as get
from alephtx.core.atomics import store_relaxed as put
from alephtx.core.kernel import Int, kernel
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

WINDOW = 32768
PRICE_LIMIT = 1 << 61

_ABOVE = WINDOW // 4  # ticks kept free above the touch when the window moves
_TOUCH = WINDOW - _ABOVE - 1
_WORDS = WINDOW // 32
_GROUPS = WINDOW // 1024
RESERVE = WINDOW // CHUNK + 2  # chunks one row can need: the whole window spills, and a split

# Words of a lane; then occupied words, occupied ticks, and lots by tick.
BASE, BEST, IN_WINDOW, IN_SPILL, DIRECTORY, POOL, MOVES = 0, 8, 16, 24, 32, 40, 48
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
    found = get(lane + _BITS + 8 * word) & ((1 << (offset & 31)) - 1)
    if found != 0:
        return (word << 5) + highest_bit(found)
    group = word >> 5
    found = get(lane + _SUMMARY + 8 * group) & ((1 << (word & 31)) - 1)
    while found == 0:
        group -= 1
        if group < 0:
            return -1
        found = get(lane + _SUMMARY + 8 * group)
    word = (group << 5) + highest_bit(found)
    return (word << 5) + highest_bit(get(lane + _BITS + 8 * word))


@kernel
def _above(lane: Int, offset: Int) -> int:
    """Return the lowest occupied offset above the given one (-1: the lowest of all), or -1."""
    word, found = offset >> 5, 0
    if offset >= 0:
        found = get(lane + _BITS + 8 * word) & ~((2 << (offset & 31)) - 1)
    while found == 0:
        word += 1
        if word == _WORDS:
            return -1
        found = get(lane + _BITS + 8 * word)
    return (word << 5) + highest_bit(found & -found)


@kernel
def _put(lane: Int, offset: Int, qty: Int) -> None:
    """Occupy a free offset."""
    word = offset >> 5
    put(lane + _LOTS + 8 * offset, qty)
    put(lane + _BITS + 8 * word, get(lane + _BITS + 8 * word) | (1 << (offset & 31)))
    group = lane + _SUMMARY + 8 * (word >> 5)
    put(group, get(group) | (1 << (word & 31)))
    put(lane + IN_WINDOW, get(lane + IN_WINDOW) + 1)


@kernel
def _take(lane: Int, offset: Int) -> None:
    """Free an occupied offset."""
    word = offset >> 5
    put(lane + _LOTS + 8 * offset, 0)
    rest = get(lane + _BITS + 8 * word) & ~(1 << (offset & 31))
    put(lane + _BITS + 8 * word, rest)
    if rest == 0:
        group = lane + _SUMMARY + 8 * (word >> 5)
        put(group, get(group) & ~(1 << (word & 31)))
    put(lane + IN_WINDOW, get(lane + IN_WINDOW) - 1)


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
def lane_set(lane: Int, key: Int, qty: Int) -> None:
    """Set the absolute quantity of a level; 0 removes it. Needs RESERVE chunks of room."""
    offset = key - get(lane + BASE)
    if offset < 0 or offset >= WINDOW:
        if offset < 0 and get(lane + IN_WINDOW) > 0:
            change = spill_set(get(lane + POOL), get(lane + DIRECTORY), key, qty)
            put(lane + IN_SPILL, get(lane + IN_SPILL) + change)
            return
        if qty == 0:
            return
        _move(lane, key)
        offset = key - get(lane + BASE)
    before, best = lane_lots(lane, offset), get(lane + BEST)
    if qty > 0:
        if before == 0:
            _put(lane, offset, qty)
            if offset > best:
                put(lane + BEST, offset)
        else:
            put(lane + _LOTS + 8 * offset, qty)
    elif before > 0:
        _take(lane, offset)
        if offset == best:
            _lower_best(lane, offset)


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
def lane_room(lane: Int) -> int:
    """Return how many more chunks the lane can surely take."""
    return spill_room(get(lane + POOL), get(lane + DIRECTORY))


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
        present = (get(lane + _BITS + 8 * (offset >> 5)) >> (offset & 31)) & 1
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
    if levels != get(lane + IN_WINDOW):
        return 3
    if best != get(lane + BEST):
        return 4
    spilled = spill_check(get(lane + POOL), get(lane + DIRECTORY), get(lane + BASE))
    if spilled < 0 or spilled != get(lane + IN_SPILL):
        return 5
    return 6 if spilled > 0 and levels == 0 else 0
