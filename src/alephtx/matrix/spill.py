"""Sorted levels of any number: chunks of 64 from one pool, found through a directory per lane.

A lane is one side of one instrument; keys rise towards its touch. The far end of a book lives here,
so most traffic is a search; a moving touch pushes and pops at the end, where it is cheapest. Chunks
are never merged, only given back when empty.

Everything is reached by address (`book` lays it out): arrays handed from kernel to kernel cost a
reference count each time, which made this fifty times slower (measured).
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import load_relaxed as get
from alephtx.core.atomics import store_relaxed as put
from alephtx.core.kernel import Int, kernel

Rows = np.ndarray[Any, Any]

CHUNK = 64
CHUNK_BYTES = 8 * (8 + 2 * CHUNK)  # levels, spare, keys, quantities
_KEYS, _QTYS = 64, 64 + 8 * CHUNK

# Words of the pool: chunks from FRESH on were never used, FREED of them were given back since.
FRESH, FREED, CAPACITY = 0, 8, 16
CHUNKS_AT, FREE_AT = 24, 32
POOL_BYTES = 64

# Words of a lane's directory; then (lowest key, chunk) pairs in order.
COUNT, ROOM = 0, 8
_ENTRIES = 16


def directory_bytes(chunks: int) -> int:
    """Return the size of a directory of so many chunks."""
    return _ENTRIES + 16 * chunks


@kernel
def spill_room(pool: Int, lane: Int) -> int:
    """Return how many more chunks this lane can surely take."""
    fresh = get(pool + CAPACITY) - get(pool + FRESH) + get(pool + FREED)
    return min(fresh, get(lane + ROOM) - get(lane + COUNT))


@kernel
def _chunk(pool: Int, lane: Int, at: Int) -> int:
    """Return the address of a lane's chunk."""
    return get(pool + CHUNKS_AT) + get(lane + _ENTRIES + 16 * at + 8) * CHUNK_BYTES


@kernel
def _chunk_of(lane: Int, key: Int) -> int:
    """Return the position of the last chunk whose lowest key is not above key, or -1."""
    left = get(lane + COUNT)
    if left == 0 or get(lane + _ENTRIES) > key:
        return -1
    entry = lane + _ENTRIES
    while left > 1:  # as in `_place_in`
        half = left >> 1
        entry += (16 * half) & ((get(entry + 16 * half) - key - 1) >> 63)
        left -= half
    return (entry - lane - _ENTRIES) >> 4


@kernel
def _place_in(chunk: Int, key: Int) -> int:
    """Return the first place in a chunk whose key is not below key."""
    left = get(chunk)
    if left == 0:
        return 0
    at = chunk + _KEYS
    while left > 1:  # halving by the sign of a difference: branches here would be guesses
        half = left >> 1
        at += (8 * half) & ((get(at + 8 * half - 8) - key) >> 63)
        left -= half
    return ((at - chunk - _KEYS) >> 3) - ((get(at) - key) >> 63)


@kernel
def _open_chunk(pool: Int, lane: Int, at: Int, key: Int) -> int:
    """Put an empty chunk into the lane's directory at a position; return its address."""
    freed = get(pool + FREED)
    if freed > 0:
        put(pool + FREED, freed - 1)
        number = get(get(pool + FREE_AT) + 8 * (freed - 1))
    else:
        number = get(pool + FRESH)
        put(pool + FRESH, number + 1)
    count = get(lane + COUNT)
    for n in range(count, at, -1):
        entry = lane + _ENTRIES + 16 * n
        put(entry, get(entry - 16))
        put(entry + 8, get(entry - 8))
    put(lane + _ENTRIES + 16 * at, key)
    put(lane + _ENTRIES + 16 * at + 8, number)
    put(lane + COUNT, count + 1)
    chunk = _chunk(pool, lane, at)
    put(chunk, 0)
    return chunk


@kernel
def _give_back(pool: Int, lane: Int, at: Int) -> None:
    freed = get(pool + FREED)
    put(get(pool + FREE_AT) + 8 * freed, get(lane + _ENTRIES + 16 * at + 8))
    put(pool + FREED, freed + 1)


@kernel
def _close_chunk(pool: Int, lane: Int, at: Int) -> None:
    """Take an empty chunk out of the lane's directory."""
    _give_back(pool, lane, at)
    count = get(lane + COUNT) - 1
    put(lane + COUNT, count)
    for n in range(at, count):
        entry = lane + _ENTRIES + 16 * n
        put(entry, get(entry + 16))
        put(entry + 8, get(entry + 24))


@kernel
def _insert(chunk: Int, place: Int, key: Int, qty: Int) -> None:
    """Put a level into a chunk that is not full."""
    fill = get(chunk)
    for n in range(fill, place, -1):
        at = chunk + 8 * n
        put(at + _KEYS, get(at + _KEYS - 8))
        put(at + _QTYS, get(at + _QTYS - 8))
    put(chunk + _KEYS + 8 * place, key)
    put(chunk + _QTYS + 8 * place, qty)
    put(chunk, fill + 1)


@kernel
def spill_push(pool: Int, lane: Int, key: Int, qty: Int) -> None:
    """Append a level whose key is above all others of the lane; the caller has checked the room."""
    at = get(lane + COUNT) - 1
    if at >= 0:
        chunk = _chunk(pool, lane, at)
        if get(chunk) < CHUNK:
            _insert(chunk, get(chunk), key, qty)
            return
    _insert(_open_chunk(pool, lane, at + 1, key), 0, key, qty)


@kernel
def spill_pop(pool: Int, lane: Int) -> None:
    """Drop the level with the highest key of a lane that has one."""
    at = get(lane + COUNT) - 1
    chunk = _chunk(pool, lane, at)
    fill = get(chunk) - 1
    put(chunk, fill)
    if fill == 0:
        _close_chunk(pool, lane, at)


@kernel
def _split(pool: Int, lane: Int, at: Int) -> None:
    """Move the upper half of a full chunk into a new one behind it."""
    chunk = _chunk(pool, lane, at)
    half = CHUNK // 2
    other = _open_chunk(pool, lane, at + 1, get(chunk + _KEYS + 8 * half))
    for n in range(CHUNK - half):
        put(other + _KEYS + 8 * n, get(chunk + _KEYS + 8 * (n + half)))
        put(other + _QTYS + 8 * n, get(chunk + _QTYS + 8 * (n + half)))
    put(chunk, half)
    put(other, CHUNK - half)


@kernel
def _remove(pool: Int, lane: Int, at: Int, place: Int) -> None:
    chunk = _chunk(pool, lane, at)
    fill = get(chunk) - 1
    for n in range(place, fill):
        level = chunk + 8 * n
        put(level + _KEYS, get(level + _KEYS + 8))
        put(level + _QTYS, get(level + _QTYS + 8))
    put(chunk, fill)
    if fill == 0:
        _close_chunk(pool, lane, at)
    elif place == 0:
        put(lane + _ENTRIES + 16 * at, get(chunk + _KEYS))


@kernel
def spill_set(pool: Int, lane: Int, key: Int, qty: Int) -> int:
    """Set a level's quantity, 0 removes it. Returns how the number of levels changed: 1, 0 or -1.

    Needs room for one chunk.
    """
    if get(lane + COUNT) == 0:
        if qty == 0:
            return 0
        spill_push(pool, lane, key, qty)
        return 1
    at = max(0, _chunk_of(lane, key))
    chunk = _chunk(pool, lane, at)
    place, fill = _place_in(chunk, key), get(chunk)
    if place < fill and get(chunk + _KEYS + 8 * place) == key:
        if qty > 0:
            put(chunk + _QTYS + 8 * place, qty)
            return 0
        _remove(pool, lane, at, place)
        return -1
    if qty == 0:
        return 0
    if fill == CHUNK:
        if place == CHUNK and at == get(lane + COUNT) - 1:
            spill_push(pool, lane, key, qty)
            return 1
        _split(pool, lane, at)
        if place > CHUNK // 2:
            place -= CHUNK // 2
            at += 1
            chunk = _chunk(pool, lane, at)
    _insert(chunk, place, key, qty)
    if place == 0:
        put(lane + _ENTRIES + 16 * at, key)
    return 1


@kernel
def spill_find(pool: Int, lane: Int, key: Int) -> int:
    """Return the address of the level with the highest key not above the given one, 0 when none.

    The level's key is there, its quantity at `spill_level_qty`.
    """
    at = _chunk_of(lane, key)
    if at < 0:
        return 0
    chunk = _chunk(pool, lane, at)
    return chunk + _KEYS + 8 * (_place_in(chunk, key + 1) - 1)


@kernel
def spill_level_qty(level: Int) -> int:
    """Return the quantity of a level that `spill_find` found."""
    return get(level + _QTYS - _KEYS)


@kernel
def spill_clear(pool: Int, lane: Int) -> None:
    """Forget a lane."""
    for at in range(get(lane + COUNT)):
        _give_back(pool, lane, at)
    put(lane + COUNT, 0)


@kernel
def spill_check(pool: Int, lane: Int, below: Int) -> int:
    """Return the levels of a sound lane whose keys are all below a bound; negative when broken."""
    total, last = 0, -(1 << 62)
    for at in range(get(lane + COUNT)):
        chunk = _chunk(pool, lane, at)
        fill = get(chunk)
        if fill < 1 or fill > CHUNK or get(lane + _ENTRIES + 16 * at + 8) >= get(pool + FRESH):
            return -1
        if get(lane + _ENTRIES + 16 * at) != get(chunk + _KEYS):
            return -2
        for n in range(fill):
            if get(chunk + _KEYS + 8 * n) <= last:
                return -3
            if get(chunk + _QTYS + 8 * n) <= 0:
                return -4
            last = get(chunk + _KEYS + 8 * n)
        total += fill
    return total if total == 0 or last < below else -5
