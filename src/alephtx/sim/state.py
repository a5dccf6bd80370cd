"""State of the matching engine and what both its sides share; see `sim.matching`."""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.words import MAKER
from alephtx.sim.levels import (
    NO_LEVEL,
    SPAN,
    Levels,
    levels_below,
    levels_best,
    levels_qty,
    levels_set,
    make_levels,
)
from alephtx.sim.queue import MODEL_WORDS, PARTIAL, Q_FILL, queue_changed

Rows = np.ndarray[Any, Any]

WOULD_CROSS, UNFILLED, FULL, BAD_ORDER = -1, -2, -3, -4
FILLED_ROW, EXPIRED_SELF, REDUCED_SELF = 1, 2, 3
STP_NONE, STP_EXPIRE_TAKER, STP_EXPIRE_MAKER, STP_EXPIRE_BOTH, STP_DECREMENT = 0, 1, 2, 3, 4
STP_NAMES = {
    "none": STP_NONE, "newest": STP_EXPIRE_TAKER, "oldest": STP_EXPIRE_MAKER,
    "both": STP_EXPIRE_BOTH, "decrement": STP_DECREMENT,
}  # fmt: skip
FAR = 1 << 62  # the limit key of an order without a limit

SIM_ORDER = np.dtype(
    [
        ("order_id", "i8"),
        ("price", "i8"),
        ("qty", "i8"),
        ("ahead", "f8"),  # lots before us in the queue: an estimate, whole lots in most models
        ("traded", "f8"),  # lots printed at our price since; of FIFO: arrivals before ours
        ("instrument", "i8"),
        ("account", "i8"),
        ("side", "i8"),
        ("type", "i8"),
        ("tif", "i8"),
        ("flags", "i8"),
        ("stp", "i8"),
        ("resting", "i8"),
        ("whole", "i8"),  # the quantity asked for, less what self-trade prevention took of it
        ("expires_ns", "i8"),  # of GTD; 0 = never
    ],
    align=True,
)
FILL_ROW = np.dtype(
    [
        ("order_id", "i8"),
        ("price", "i8"),
        ("qty", "i8"),
        ("left", "i8"),
        ("match", "i8"),
        ("instrument", "i8"),
        ("account", "i8"),
        ("side", "i8"),
        ("liquidity", "i8"),
        ("event", "i8"),
    ],
    align=True,
)


class Exchange(NamedTuple):
    """State of the matching engine over I instruments.

    Of the market: levels; seq (I,), the newest level message; top_seq (I,) and top_key (I, 2), the
    newest best prices. Ours: orders SIM_ORDER (I, 2, orders_max), best price first, then arrival;
    live int64 (I, 2); match (1,), the last match number; taken int64 (I, 2, taken_max, 2) of (key,
    lots) and taken_count (I, 2), what our takers took of levels the venue has not stated since.
    model: int64 (I, MODEL_WORDS), see `sim.queue`.
    """

    levels: Levels
    seq: Rows
    top_seq: Rows
    top_key: Rows
    orders: Rows
    live: Rows
    match: Rows
    taken: Rows
    taken_count: Rows
    model: Rows


def make_exchange(
    instruments: int, orders_max: int = 256, levels_max: int = 4096, span: int = SPAN
) -> Exchange:
    """Return an exchange with empty books. levels_max: levels takers can have emptied a side."""
    return Exchange(
        levels=make_levels(instruments, span),
        seq=np.zeros(instruments, np.int64),
        top_seq=np.full(instruments, -1, np.int64),
        top_key=np.zeros((instruments, 2), np.int64),
        orders=np.zeros((instruments, 2, orders_max), SIM_ORDER),
        live=np.zeros((instruments, 2), np.int64),
        match=np.zeros(1, np.int64),
        taken=np.zeros((instruments, 2, levels_max, 2), np.int64),
        taken_count=np.zeros((instruments, 2), np.int64),
        model=np.zeros((instruments, MODEL_WORDS), np.int64),
    )


def make_fills(rows: int = 4096) -> Rows:
    """Return the array that kernels write fills to; it must hold the longest walk."""
    return np.zeros(rows, FILL_ROW)


@inline_kernel
def word(value: Int) -> Int:
    """Return a small or unsigned field as int64: mixed arithmetic would turn into floats."""
    return np.int64(value)


@inline_kernel
def side_index(side: Int) -> Int:
    """Return 0 for the buying side, 1 for the selling one."""
    return 0 if side > 0 else 1


@kernel
def emit(
    fills: Rows, n: int, order: Rows, k: int, price: int, qty: int, match: int, role: int
) -> int:
    """Write one fill row for orders[k], whose qty is already what is left."""
    source, row = order[k], fills[n]
    row["order_id"] = source["order_id"]
    row["price"] = price
    row["qty"] = qty
    row["left"] = source["qty"]
    row["match"] = match
    row["instrument"] = source["instrument"]
    row["account"] = source["account"]
    row["side"] = source["side"]
    row["liquidity"] = role
    row["event"] = FILLED_ROW if qty > 0 else EXPIRED_SELF
    return n + 1


@inline_kernel
def next_match(x: Exchange) -> Int:
    """Return a fresh match number."""
    x.match[0] += 1
    return x.match[0]


@inline_kernel
def remove(x: Exchange, i: Int, s: Int, k: Int) -> None:
    """Take the k-th order of a side off, keeping the others in place."""
    n = x.live[i, s] - 1
    for m in range(k, n):
        x.orders[i, s, m] = x.orders[i, s, m + 1]
    x.live[i, s] = n


@inline_kernel
def find(x: Exchange, i: Int, order_id: Int) -> tuple[Int, Int]:
    """Return (side, position) of a resting order, (-1, -1) without one."""
    for s in range(2):
        for k in range(x.live[i, s]):
            if x.orders[i, s, k]["order_id"] == order_id:
                return s, k
    return -1, -1


@inline_kernel
def taken_at(x: Exchange, i: Int, s: Int, key: Int) -> Int:
    """Return the place of a level among those our takers took from, -1 when it is not there."""
    for k in range(x.taken_count[i, s]):
        if x.taken[i, s, k, 0] == key:
            return k
    return -1


@inline_kernel
def shown(x: Exchange, i: Int, s: Int, key: Int) -> Int:
    """Return the lots displayed at a level, less what our takers took of them."""
    qty = levels_qty(x.levels, i, s, key)
    if x.taken_count[i, s] > 0:
        k = taken_at(x, i, s, key)
        if k >= 0:
            qty = max(0, qty - x.taken[i, s, k, 1])
    return qty


@inline_kernel
def best_shown(x: Exchange, i: Int, s: Int) -> Int:
    """Return the key of the best level with something left, NO_LEVEL without one."""
    key = levels_best(x.levels, i, s)
    if x.taken_count[i, s] > 0:
        while key != NO_LEVEL and shown(x, i, s, key) == 0:
            key = levels_below(x.levels, i, s, key)
    return key


@inline_kernel
def deplete(x: Exchange, i: Int, s: Int, key: Int, lots: Int) -> None:
    """Note that takers took lots from the front of a level: our own orders there move up."""
    k = taken_at(x, i, s, key)
    if k < 0:
        k = x.taken_count[i, s]
        if k == x.taken.shape[2]:
            k = _worst_taken(x.taken[i, s])
        else:
            x.taken_count[i, s] = k + 1
        x.taken[i, s, k, 0], x.taken[i, s, k, 1] = key, 0
    x.taken[i, s, k, 1] += lots
    for m in range(x.live[i, s]):
        if (1 - 2 * s) * x.orders[i, s, m]["price"] == key:
            x.orders[i, s, m]["ahead"] = max(0.0, x.orders[i, s, m]["ahead"] - float(lots))


@kernel
def _worst_taken(taken: Rows) -> int:
    worst = 0
    for k in range(1, taken.shape[0]):
        if taken[k, 0] < taken[worst, 0]:
            worst = k
    return worst


@inline_kernel
def forget_taken(x: Exchange, i: Int, s: Int, key: Int) -> None:
    """Forget what was taken of a level that the venue states anew."""
    k = taken_at(x, i, s, key)
    if k >= 0:
        last = x.taken_count[i, s] - 1
        x.taken[i, s, k, 0], x.taken[i, s, k, 1] = x.taken[i, s, last, 0], x.taken[i, s, last, 1]
        x.taken_count[i, s] = last


@inline_kernel
def set_level(x: Exchange, i: Int, s: Int, key: Int, qty: Int) -> None:
    """Set a displayed level and move our queue places there by the queue model."""
    before = levels_set(x.levels, i, s, key, qty)
    if x.taken_count[i, s] > 0:
        forget_taken(x, i, s, key)
    if x.live[i, s] > 0:
        move_queue(x, i, s, key, before, max(qty, 0))


@inline_kernel
def move_queue(x: Exchange, i: Int, s: Int, key: Int, before: Int, qty: Int) -> None:
    """Tell our orders at a level that its displayed lots changed."""
    for k in range(x.live[i, s]):
        own = (1 - 2 * s) * x.orders[i, s, k]["price"]
        if own < key:
            return
        if own == key:
            ahead, traded = x.orders[i, s, k]["ahead"], x.orders[i, s, k]["traded"]
            x.orders[i, s, k]["ahead"] = queue_changed(x.model[i], ahead, traded, before, qty)
            x.orders[i, s, k]["traded"] = 0.0


@inline_kernel
def match_crossed(x: Exchange, i: Int, fills: Rows, n: Int) -> Int:
    """Fill our resting orders that the displayed opposite side has reached."""
    for s in range(2):
        other = 1 - s
        sign = 1 - 2 * s
        k = 0
        while k < x.live[i, s]:
            best = best_shown(x, i, other)
            # Keys of the two sides have opposite signs: they meet where their sum is not negative.
            own = sign * x.orders[i, s, k]["price"]
            if best == NO_LEVEL or own + best < 0 or n >= fills.shape[0]:
                break
            take = x.orders[i, s, k]["qty"]
            if x.model[i, Q_FILL] == PARTIAL:
                take = min(take, shown(x, i, other, best))
                deplete(x, i, other, best, take)
            x.orders[i, s, k]["qty"] -= take
            price = x.orders[i, s, k]["price"]
            n = emit(fills, n, x.orders[i, s], k, price, take, next_match(x), MAKER)
            if x.orders[i, s, k]["qty"] == 0:
                remove(x, i, s, k)
    return n
