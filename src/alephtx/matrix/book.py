"""The full private book of a feeder, also of simulators: every level the venue has told of.

Most changes touch a few ticks around the touch, so each side keeps a window of ticks there, indexed
by tick, with a bitmap of the occupied ones (`book_lane`); everything deeper is in sorted chunks
(`spill`). A book grows without bound: address space is reserved and touched when needed, and
`grow_books` doubles it should `book_apply` ever stop short.

Bad case: a touch that jumps to and fro by more than a window costs 10 ns a level of the window.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.atomics import load_relaxed as get
from alephtx.core.kernel import Int, kernel
from alephtx.core.words import BUY, CLEAR, DELTA, SELL
from alephtx.matrix.book_lane import (
    BASE,
    BEST,
    DIRECTORY,
    IN_SPILL,
    LANE_BYTES,
    MOVES,
    POOL,
    PRICE_LIMIT,
    RESERVE,
    WINDOW,
    lane_below,
    lane_check,
    lane_count,
    lane_forget,
    lane_levels,
    lane_lots,
    lane_qty,
    lane_run,
)
from alephtx.matrix.spill import (
    CAPACITY,
    CHUNK_BYTES,
    CHUNKS_AT,
    FREE_AT,
    FRESH,
    POOL_BYTES,
    ROOM,
    directory_bytes,
    spill_find,
    spill_level_qty,
)

Rows = np.ndarray[Any, Any]

# Words of Books.map.
_LANES, _INSTRUMENTS, _BAD, _POOL = 0, 1, 2, 3
_NO_KEY = 1 << 62  # above every key


class Books(NamedTuple):
    """map: int64 (8,), addresses and counters. memory: int64, everything else; never move it.

    Lanes are 2 * instrument + (0 bid | 1 ask). Keep the value alive while kernels use it.
    """

    map: Rows
    memory: Rows


def make_books(instruments: int, *, directory: int = 4096, pool: int = 1 << 16) -> Books:
    """Return empty books of instruments 0 .. instruments - 1.

    directory: chunks of 64 deep levels one side can have; pool: chunks of all sides together. The
    defaults hold 4 million deep levels and take 34 KiB per side plus what the levels need; the rest
    is address space only.
    """
    directory, pool = max(directory, 2 * RESERVE), max(pool, 2 * RESERVE)
    lanes = 2 * max(1, instruments)
    sizes = (
        POOL_BYTES,
        lanes * LANE_BYTES,
        lanes * directory_bytes(directory),
        8 * pool,
        CHUNK_BYTES * pool,
    )
    memory = np.zeros(sum(sizes) // 8, np.int64)
    starts = [int(memory.ctypes.data) + sum(sizes[:n]) for n in range(len(sizes))]
    at_pool, at_lanes, at_directories, at_free, at_chunks = starts
    words = memory[: POOL_BYTES // 8]
    words[CAPACITY // 8], words[FREE_AT // 8], words[CHUNKS_AT // 8] = pool, at_free, at_chunks
    for lane in range(lanes):
        at = (at_lanes - at_pool + lane * LANE_BYTES) // 8
        home = at_directories + lane * directory_bytes(directory)
        memory[at + BEST // 8] = -1
        memory[at + DIRECTORY // 8], memory[at + POOL // 8] = home, at_pool
        memory[(home - at_pool + ROOM) // 8] = directory
    found = np.zeros(8, np.int64)
    found[_LANES], found[_INSTRUMENTS], found[_POOL] = at_lanes, lanes // 2, at_pool
    return Books(found, memory)


def grow_books(books: Books) -> Books:
    """Return the same books with twice the room for deep levels; the old ones are spent."""
    lanes = 2 * int(books.map[_INSTRUMENTS])
    old, word = books.memory, POOL_BYTES // 8
    pool, fresh = int(old[CAPACITY // 8]), int(old[FRESH // 8])
    lane_words = LANE_BYTES // 8
    home = word + lanes * lane_words
    room = int(old[home + ROOM // 8])
    grown = make_books(lanes // 2, directory=2 * room, pool=2 * pool)
    new = grown.memory
    new[: CAPACITY // 8] = old[: CAPACITY // 8]
    for lane in range(lanes):
        at = word + lane * lane_words
        kept = new[at + DIRECTORY // 8], new[at + POOL // 8]
        new[at : at + lane_words] = old[at : at + lane_words]
        new[at + DIRECTORY // 8], new[at + POOL // 8] = kept
    before, after = directory_bytes(room) // 8, directory_bytes(2 * room) // 8
    for lane in range(lanes):
        source, target = home + lane * before, home + lane * after
        new[target : target + before] = old[source : source + before]
        new[target + ROOM // 8] = 2 * room
    source, target = home + lanes * before, home + lanes * after
    new[target : target + pool] = old[source : source + pool]
    size = fresh * CHUNK_BYTES // 8
    source, target = source + pool, target + 2 * pool
    new[target : target + size] = old[source : source + size]
    grown.map[_BAD] = books.map[_BAD]
    return grown


@kernel
def book_instruments(books: Books) -> int:
    """Return how many instruments there are books of."""
    return books.map[_INSTRUMENTS]


@kernel
def _lane(books: Books, i: Int, side: Int) -> int:
    return books.map[_LANES] + (2 * i + (0 if side == BUY else 1)) * LANE_BYTES


@kernel
def book_run(
    books: Books, i: Int, rows: Rows, k: Int, n: Int, worst_bid: Int, worst_ask: Int
) -> tuple[int, int]:
    """Apply the DELTA rows of instrument i from rows[k] on, up to any other row.

    i: one of the books'. worst_bid, worst_ask: keys, price and -price. Returns the index of the row
    it ended before - another, or one that cannot be, or that there is no room for - and 1 if a
    level changed whose key is not below its side's worst one, else 0.
    """
    lane, near = books.map[_LANES] + 2 * i * LANE_BYTES, 0
    while k < n:
        side, before, one = np.int64(rows[k]["side"]), k, 0
        if side == BUY:
            k, one = lane_run(lane, BUY, rows, k, n, i, worst_bid)
        elif side == SELL:
            k, one = lane_run(lane + LANE_BYTES, SELL, rows, k, n, i, worst_ask)
        near |= one
        if k == before:
            break
    return k, near


@kernel
def _can_be(row: Any) -> bool:
    """Say whether a row of an instrument that is has a side, a price and a quantity."""
    price, side = row["price"], np.int64(row["side"])
    return -PRICE_LIMIT <= price <= PRICE_LIMIT and row["qty"] >= 0 and side * side == 1


@kernel
def book_apply(books: Books, rows: Rows, first: Int, n: Int) -> int:
    """Apply the DELTA and CLEAR rows among rows[first:n]; other kinds are passed over.

    rows: (N,) EVENT. Returns how many rows were consumed: n - first, or fewer when the room ran low
    (`grow_books`, then go on, or again from the start: quantities are absolute). Rows that cannot
    be (no such instrument, side or price, negative quantity) are counted and passed over. Crossed
    input is kept as it came. About 4 ns a level in the window, 40 ns deep in the spill; 6 to 8 ns
    on recordings of Binance, where one level in twenty is in the spill.
    """
    instruments, k = books.map[_INSTRUMENTS], first
    while k < n:
        row: Any = rows[k]
        kind, i = np.int64(row["kind"]), np.int64(row["instrument"])
        if kind == DELTA or kind == CLEAR:
            if i >= instruments:
                books.map[_BAD] += 1
            elif kind == CLEAR:
                book_forget(books, i)
            else:
                after, _ = book_run(books, i, rows, k, n, _NO_KEY, _NO_KEY)
                if after > k:
                    k = after
                    continue
                if _can_be(row):
                    return k - first
                books.map[_BAD] += 1
        k += 1
    return n - first


@kernel
def book_forget(books: Books, i: Int) -> None:
    """Empty an instrument's book. i: one of the books'."""
    lane = books.map[_LANES] + 2 * i * LANE_BYTES
    lane_forget(lane)
    lane_forget(lane + LANE_BYTES)


@kernel
def book_top(books: Books, i: Int, out: Rows) -> int:
    """Write the best bid and ask into out, int64 (4,): bid, lots, ask, lots; 0 for an empty side.

    Returns the sides that are there: 1 bid | 2 ask.
    """
    sides = 0
    for s in range(2):
        lane = books.map[_LANES] + (2 * i + s) * LANE_BYTES
        best = get(lane + BEST)
        out[2 * s], out[2 * s + 1] = 0, 0
        if best >= 0:
            key = get(lane + BASE) + best
            out[2 * s] = key if s == 0 else -key
            out[2 * s + 1] = lane_lots(lane, best)
            sides |= 1 << s
    return sides


@kernel
def _levels_of(lane: Int, sign: Int, out: Rows, s: Int) -> int:
    """Write one side's best levels; returns how many there were."""
    n, depth = lane_levels(lane, sign, out, s), out.shape[1]
    key = get(lane + BASE) - 1
    while n < depth and get(lane + IN_SPILL) > 0:
        level = spill_find(get(lane + POOL), get(lane + DIRECTORY), key)
        if level == 0:
            break
        key = get(level)
        out[s, n, 0], out[s, n, 1] = sign * key, spill_level_qty(level)
        key -= 1
        n += 1
    for rest in range(n, depth):
        out[s, rest, 0], out[s, rest, 1] = 0, 0
    return n


@kernel
def book_levels(books: Books, i: Int, out: Rows) -> int:
    """Write the best levels of both sides into out, int64 (2, depth, 2), zeros where none are.

    Returns how many levels were written, both sides together.
    """
    lane = books.map[_LANES] + 2 * i * LANE_BYTES
    return _levels_of(lane, 1, out, 0) + _levels_of(lane + LANE_BYTES, -1, out, 1)


@kernel
def book_qty(books: Books, i: Int, side: Int, price: Int) -> int:
    """Return the lots at a price, 0 where there is no level. side: BUY or SELL."""
    if price > PRICE_LIMIT or price < -PRICE_LIMIT:
        return 0
    return lane_qty(_lane(books, i, side), side * price)


@kernel
def book_count(books: Books, i: Int, side: Int) -> int:
    """Return how many levels a side has."""
    lane = _lane(books, i, side)
    return lane_count(lane)


@kernel
def book_next(books: Books, i: Int, side: Int, price: Int, out: Rows) -> int:
    """Find the best level strictly worse than a price: out[0] its price, out[1] its lots.

    Returns 1, or 0 when there is none. For walks: start with `book_top`, go on with this.
    """
    lane = _lane(books, i, side)
    price = min(PRICE_LIMIT + 1, max(-PRICE_LIMIT - 1, price))
    base = get(lane + BASE)
    offset = side * price - base
    found = -1
    if offset >= WINDOW:
        found = get(lane + BEST)
    elif offset > 0:
        found = lane_below(lane, offset)
    if found >= 0:
        out[0], out[1] = side * (base + found), lane_lots(lane, found)
        return 1
    level = spill_find(get(lane + POOL), get(lane + DIRECTORY), base + min(offset, 0) - 1)
    if level == 0:
        return 0
    out[0], out[1] = side * get(level), spill_level_qty(level)
    return 1


@kernel
def book_nth(books: Books, i: Int, side: Int, n: Int, out: Rows) -> int:
    """Find the n-th best level, 0 = the best: out[0] its price, out[1] its lots.

    Returns 1, or 0 when there is none. Costs n steps; to walk, use `book_next`.
    """
    if n < 0 or book_next(books, i, side, side * (PRICE_LIMIT + 1), out) == 0:
        return 0
    for _ in range(n):
        if book_next(books, i, side, out[0], out) == 0:
            return 0
    return 1


@kernel
def book_bad_rows(books: Books) -> int:
    """Return how many rows could not be and were passed over."""
    return books.map[_BAD]


@kernel
def book_moves(books: Books, i: Int) -> int:
    """Return how often the windows of an instrument have moved."""
    return get(_lane(books, i, BUY) + MOVES) + get(_lane(books, i, SELL) + MOVES)


@kernel
def book_check(books: Books, i: Int) -> int:
    """Return 0 when instrument i's book keeps its invariants, else what is broken; for tests."""
    bids = lane_check(_lane(books, i, BUY))
    return bids if bids != 0 else 10 * lane_check(_lane(books, i, SELL))
