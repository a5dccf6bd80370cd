"""State of the matching engine and what both its sides share; see `sim.matching`."""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.kernel import kernel
from alephtx.core.words import MAKER
from alephtx.sim.ladder import Ladder, ladder_set, make_ladder

Rows = np.ndarray[Any, Any]

WOULD_CROSS, UNFILLED, FULL, BAD_ORDER = -1, -2, -3, -4
FILLED_ROW, EXPIRED_SELF = 1, 2
STP_NONE, STP_EXPIRE_TAKER, STP_EXPIRE_MAKER, STP_EXPIRE_BOTH = 0, 1, 2, 3
FAR = 1 << 62  # the limit key of an order without a limit

SIM_ORDER = np.dtype(
    [
        ("order_id", "i8"),
        ("price", "i8"),
        ("qty", "i8"),
        ("ahead", "i8"),
        ("instrument", "i8"),
        ("account", "i8"),
        ("side", "i8"),
        ("type", "i8"),
        ("tif", "i8"),
        ("flags", "i8"),
        ("stp", "i8"),
        ("resting", "i8"),
    ]
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
    ]
)


class Exchange(NamedTuple):
    """State of the matching engine.

    orders: SIM_ORDER (instruments, 2, orders_max), best price first, then arrival; live int64
    (instruments, 2). top_seq (instruments,) and top_key (instruments, 2): the newest best prices.
    seq (instruments,): the newest level message. match (1,): the last match number.
    """

    ladder: Ladder
    orders: Rows
    live: Rows
    seq: Rows
    top_seq: Rows
    top_key: Rows
    match: Rows


def make_exchange(instruments: int, orders_max: int = 256, levels_max: int = 4096) -> Exchange:
    """Return an exchange with empty books."""
    return Exchange(
        make_ladder(instruments, levels_max),
        np.zeros((instruments, 2, orders_max), SIM_ORDER),
        np.zeros((instruments, 2), np.int64),
        np.zeros(instruments, np.int64),
        np.full(instruments, -1, np.int64),
        np.zeros((instruments, 2), np.int64),
        np.zeros(1, np.int64),
    )


def make_fills(rows: int = 4096) -> Rows:
    """Return the array that kernels write fills to; it must hold the longest walk."""
    return np.zeros(rows, FILL_ROW)


@kernel
def word(value: int) -> int:
    """Return a small or unsigned field as int64: mixed arithmetic would turn into floats."""
    return np.int64(value)  # type: ignore[return-value]


@kernel
def side_index(side: int) -> int:
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


@kernel
def next_match(x: Exchange) -> int:
    """Return a fresh match number."""
    x.match[0] += 1
    return x.match[0]


@kernel
def remove(x: Exchange, i: int, s: int, k: int) -> None:
    """Take the k-th order of a side off, keeping the others in place."""
    orders = x.orders[i, s]
    n = x.live[i, s] - 1
    for m in range(k, n):
        orders[m] = orders[m + 1]
    x.live[i, s] = n


@kernel
def find(x: Exchange, i: int, order_id: int) -> tuple[int, int]:
    """Return (side, position) of a resting order, (-1, -1) without one."""
    for s in range(2):
        for k in range(x.live[i, s]):
            if x.orders[i, s, k]["order_id"] == order_id:
                return s, k
    return -1, -1


@kernel
def clamp(x: Exchange, i: int, s: int, key: int, qty: int) -> None:
    """Pull the queue place of our orders at a level down to what is displayed."""
    sign = 1 - 2 * s
    for k in range(x.live[i, s]):
        order = x.orders[i, s, k]
        own = sign * order["price"]
        if own < key:
            return
        if own == key and order["ahead"] > qty:
            order["ahead"] = qty


@kernel
def set_level(x: Exchange, i: int, s: int, key: int, qty: int) -> None:
    """Set a displayed level and pull our queue places down to it."""
    ladder_set(x.ladder, i, s, key, qty)
    if x.live[i, s] > 0:
        clamp(x, i, s, key, max(qty, 0))


@kernel
def match_crossed(x: Exchange, i: int, fills: Rows, n: int) -> int:
    """Fill our resting orders that the displayed opposite side has reached."""
    ladder = x.ladder
    for s in range(2):
        other = 1 - s
        sign = 1 - 2 * s
        k = 0
        while k < x.live[i, s]:
            best = ladder.sizes[i, other] - 1
            if best < 0 or n >= fills.shape[0]:
                break
            order = x.orders[i, s, k]
            # Keys of the two sides have opposite signs: they meet where their sum is not negative.
            if sign * order["price"] + ladder.keys[i, other, best] < 0:
                break
            take = min(order["qty"], ladder.qtys[i, other, best])
            order["qty"] -= take
            n = emit(fills, n, x.orders[i, s], k, order["price"], take, next_match(x), MAKER)
            key = ladder.keys[i, other, best]
            set_level(x, i, other, key, ladder.qtys[i, other, best] - take)
            if x.orders[i, s, k]["qty"] == 0:
                remove(x, i, s, k)
    return n
