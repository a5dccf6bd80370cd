"""Depth where a tape has none: best prices alone, or trades alone. A stated model, not a record.

The touch is as recorded. Of trades alone it is what they tell: a buyer traded at the ask, and the
bid is the usual spread below (a seller: the other way round). Behind the touch there is a level
each step, `levels` of them, and each holds the usual size, times growth for each step away.

What is usual is what was seen so far, at every message; nothing later is looked at. The usual size
is the average of all best quantities so far (of trades alone: of what was traded at a price before
it changed). Levels are stated anew when that average has moved by a quarter of what they say: else
every message would restate all of them. The usual spread follows the middle one of the changes of
price between neighbouring trades of opposite sides: the first of them, then a step towards each.
So the first message stands on itself: its own quantities, and a spread of one step. A gap forgets
the book and the last trade, not the averages. That a tape has no best prices at all is known from
its beginning: it is what was recorded.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.records import EVENT
from alephtx.core.words import BUY, CLEAR, DELTA, GAP, LAST_IN_MESSAGE, SELL, SNAPSHOT, TOP, TRADE

Rows = np.ndarray[Any, Any]


LOTS_MAX = 1 << 60
RESTATE = 4
"""Levels are stated anew when the average has moved by one part in so many."""

# Words of what was seen so far.
_SIZE, _SIZE_REST, _SIZES, _SPREAD, _PRICE, _SIDE, _RUN, _BASE, _WORDS = range(9)


def deepen(rows: Rows, levels: int, *, step: int = 1, growth: float = 1.0) -> Rows:
    """Return EVENT rows with levels instead of best prices; other rows stay as they are.

    rows: of one instrument, with best prices or trades and no levels. step: ticks between levels.
    """
    terms = np.array([step, int((rows["kind"] == TOP).any())], np.int64)
    with np.errstate(over="ignore"):  # what is beyond all measure is LOTS_MAX
        growths = np.minimum(float(growth) ** np.arange(1, levels + 1), float(LOTS_MAX))
    count = _deepen(rows, terms, growths, *_seen(levels), np.zeros(0, EVENT))
    out = np.zeros(count, EVENT)
    _deepen(rows, terms, growths, *_seen(levels), out)
    return out


def _seen(levels: int) -> tuple[Rows, Rows]:
    """Return the memory of a run: the averages, and the sizes of the levels before and now."""
    return np.zeros(_WORDS, np.int64), np.zeros((2, levels), np.int64)


@inline_kernel
def _average(seen: Rows, qty: Int) -> None:
    """Take one more quantity into the average, exactly and without a sum that could overflow."""
    seen[_SIZES] += 1
    more = qty - seen[_SIZE] + seen[_SIZE_REST]
    seen[_SIZE] += more // seen[_SIZES]
    seen[_SIZE_REST] = more % seen[_SIZES]


@inline_kernel
def _take_trade(seen: Rows, side: Int, price: Int, qty: Int, step: Int) -> None:
    """Learn the usual spread, and what is traded at a price before it changes."""
    if seen[_SIDE] != 0 and (price != seen[_PRICE] or side != seen[_SIDE]):
        turn = abs(price - seen[_PRICE]) if side != seen[_SIDE] else 0
        if turn > 0 and seen[_SPREAD] == 0:
            seen[_SPREAD] = turn
        elif turn > 0:
            seen[_SPREAD] += min(max(turn - seen[_SPREAD], -step), step)
        _average(seen, seen[_RUN])
        seen[_RUN] = 0
    seen[_SIDE], seen[_PRICE] = side, price
    seen[_RUN] = min(seen[_RUN] + qty, LOTS_MAX)


@inline_kernel
def _restate(seen: Rows, sizes: Rows, growths: Rows) -> Int:
    """Bring the levels' sizes up to the average where it has moved away; 1 if that changed any."""
    for k in range(sizes.shape[1]):
        sizes[0, k] = sizes[1, k]
    size = max(seen[_SIZE] if seen[_SIZES] > 0 else seen[_RUN], 1)
    if abs(size - seen[_BASE]) <= (seen[_BASE] - 1) // RESTATE:
        return 0
    seen[_BASE] = size
    for k in range(sizes.shape[1]):
        lots: Int = np.int64(min(float(size) * growths[k] + 0.5, float(LOTS_MAX)))
        sizes[1, k] = max(lots, 1)
    return 1


@inline_kernel
def _put(out: Rows, m: Int, row: Rows, kind: Int, side: Int, price: Int, qty: Int) -> Int:
    if m < out.shape[0]:
        out[m]["ts_event"], out[m]["ts_recv"] = row["ts_event"], row["ts_recv"]
        out[m]["seq"], out[m]["instrument"] = row["seq"], row["instrument"]
        out[m]["kind"], out[m]["side"], out[m]["price"], out[m]["qty"] = kind, side, price, qty
        out[m]["flags"] = np.int64(row["flags"]) & ~(LAST_IN_MESSAGE | SNAPSHOT)
    return m + 1


@inline_kernel
def _lots(touch: Int, qty: Int, side: Int, price: Int, step: Int, sizes: Rows) -> Int:
    """Return what a side with this touch holds at a price."""
    away = side * (touch - price)
    if touch <= 0 or away < 0 or away % step != 0 or away // step > sizes.shape[0]:
        return 0
    return qty if away == 0 else sizes[away // step - 1]


@kernel
def _side(
    out: Rows, m: Int, row: Rows, side: Int, old: Int, old_qty: Int, new: Int, new_qty: Int,
    step: Int, sizes: Rows,
) -> int:  # fmt: skip
    """Write what makes one side's levels of the old touch those of the new."""
    for k in range(sizes.shape[1] + 1):
        price = old - side * k * step
        if old > 0 and price > 0 and _lots(new, new_qty, side, price, step, sizes[1]) == 0:
            m = _put(out, m, row, DELTA, side, price, 0)
    for k in range(sizes.shape[1] + 1):
        price = new - side * k * step
        lots = _lots(new, new_qty, side, price, step, sizes[1])
        was = _lots(old, old_qty, side, price, step, sizes[0])
        if price > 0 and lots > 0 and lots != was:
            m = _put(out, m, row, DELTA, side, price, lots)
    return m


@kernel
def _deepen(
    rows: Rows, terms: Rows, growths: Rows, seen: Rows, sizes: Rows, out: Rows
) -> int:  # fmt: skip
    """Write as many rows as there is room for; returns how many there are."""
    step, tops = terms[0], terms[1]
    bid, bid_qty, ask, ask_qty, blank = 0, 0, 0, 0, 1
    was_bid, was_bid_qty, was_ask, was_ask_qty, m = 0, 0, 0, 0, 0
    for k in range(rows.shape[0]):
        row = rows[k]
        kind, side, last = np.int64(row["kind"]), np.int64(row["side"]), np.int64(row["flags"]) & 1
        price, qty = row["price"], row["qty"]
        if kind != TOP:
            m = _put(out, m, row, kind, side, price, qty)
            if m <= out.shape[0]:
                out[m - 1]["flags"] = row["flags"]
        elif qty > 0:
            _average(seen, qty)
        if kind == TOP and side == BUY:
            bid, bid_qty = price if qty > 0 else 0, qty
        elif kind == TOP:
            ask, ask_qty = price if qty > 0 else 0, qty
        elif kind == TRADE and tops == 0 and side != 0:
            _take_trade(seen, side, price, qty, step)
            spread = max(seen[_SPREAD] // step * step, step)
            bid, ask = (price - spread, price) if side > 0 else (price, price + spread)
        elif kind == CLEAR or kind == GAP:
            bid, bid_qty, ask, ask_qty, blank = 0, 0, 0, 0, 1
            was_bid, was_bid_qty, was_ask, was_ask_qty = 0, 0, 0, 0
            seen[_SIDE], seen[_RUN] = 0, 0
        if last == 0 or (bid == 0 and ask == 0 and was_bid == 0 and was_ask == 0):
            continue
        anew = _restate(seen, sizes, growths)
        if tops == 0:
            bid_qty, ask_qty = seen[_BASE], seen[_BASE]
        same = bid == was_bid and bid_qty == was_bid_qty and anew == 0
        if same and ask == was_ask and ask_qty == was_ask_qty:
            continue
        if blank != 0:
            m, blank = _put(out, m, row, CLEAR, 0, 0, 0), 0
        m = _side(out, m, row, BUY, was_bid, was_bid_qty, bid, bid_qty, step, sizes)
        m = _side(out, m, row, SELL, was_ask, was_ask_qty, ask, ask_qty, step, sizes)
        if m <= out.shape[0]:
            out[m - 1]["flags"] = np.int64(out[m - 1]["flags"]) | LAST_IN_MESSAGE
        was_bid, was_bid_qty, was_ask, was_ask_qty = bid, bid_qty, ask, ask_qty
    return m
