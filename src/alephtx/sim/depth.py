"""Depth where a tape has none: best prices alone, or trades alone. A stated model, not a record.

The touch is as recorded. Of trades alone it is what they tell: a buyer traded at the ask, and the
bid is the usual spread below (a seller: the other way round); the usual spread is the median change
of price between neighbouring trades of opposite sides, the touch holds what is usually traded at a
price before it changes. Behind the touch there is a level each step, `levels` of them, and each
holds what the touch holds on average over the tape, times growth for each step away.

So a calibrated tape knows its own future's averages: sizes and spread are those of all of it.
"""

from typing import Any

import msgspec
import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.records import EVENT
from alephtx.core.words import BUY, CLEAR, DELTA, GAP, LAST_IN_MESSAGE, SELL, SNAPSHOT, TOP, TRADE

Rows = np.ndarray[Any, Any]


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """step, spread: ticks. touch: lots, of trades alone. sizes: lots of the levels behind."""

    step: int
    spread: int
    touch: int
    sizes: tuple[int, ...]


def calibrate(rows: Rows, levels: int, *, step: int = 1, growth: float = 1.0) -> Depth:
    """Return the depth that the module describes, from EVENT rows of one instrument."""
    tops = rows[(rows["kind"] == TOP) & (rows["qty"] > 0)]
    trades = rows[(rows["kind"] == TRADE) & (rows["side"] != 0)]
    spread, touch = step, 1
    if len(trades) > 1:
        turns = np.abs(np.diff(trades["price"]))[np.diff(trades["side"]) != 0]
        turns = turns[turns > 0]
        spread = max(step, int(np.median(turns)) // step * step) if len(turns) else step
    if len(trades):
        new = np.append(True, (np.diff(trades["price"]) != 0) | (np.diff(trades["side"]) != 0))
        runs = np.add.reduceat(trades["qty"], np.flatnonzero(new))
        touch = max(1, round(float(runs.mean())))
    size = max(1, round(float(tops["qty"].mean()))) if len(tops) else touch
    sizes = tuple(max(1, round(size * growth**k)) for k in range(1, levels + 1))
    return Depth(step=step, spread=spread, touch=touch, sizes=sizes)


def deepen(rows: Rows, depth: Depth) -> Rows:
    """Return EVENT rows with levels instead of best prices; other rows stay as they are."""
    tops = int((rows["kind"] == TOP).any())
    terms = np.array([depth.step, depth.spread, depth.touch, tops], np.int64)
    sizes = np.array(depth.sizes, np.int64)
    count = _deepen(rows, terms, sizes, np.zeros(0, EVENT))
    out = np.zeros(count, EVENT)
    _deepen(rows, terms, sizes, out)
    return out


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
    for k in range(sizes.shape[0] + 1):
        price = old - side * k * step
        if old > 0 and price > 0 and _lots(new, new_qty, side, price, step, sizes) == 0:
            m = _put(out, m, row, DELTA, side, price, 0)
    for k in range(sizes.shape[0] + 1):
        price = new - side * k * step
        lots = _lots(new, new_qty, side, price, step, sizes)
        was = _lots(old, old_qty, side, price, step, sizes)
        if price > 0 and lots > 0 and lots != was:
            m = _put(out, m, row, DELTA, side, price, lots)
    return m


@kernel
def _deepen(rows: Rows, terms: Rows, sizes: Rows, out: Rows) -> int:
    """Write as many rows as there is room for; returns how many there are."""
    step, spread, touch, tops = terms[0], terms[1], terms[2], terms[3]
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
        if kind == TOP and side == BUY:
            bid, bid_qty = price if qty > 0 else 0, qty
        elif kind == TOP:
            ask, ask_qty = price if qty > 0 else 0, qty
        elif kind == TRADE and tops == 0 and side != 0:
            bid, ask = (price - spread, price) if side > 0 else (price, price + spread)
            bid_qty, ask_qty = touch, touch
        elif kind == CLEAR or kind == GAP:
            bid, bid_qty, ask, ask_qty, blank = 0, 0, 0, 0, 1
            was_bid, was_bid_qty, was_ask, was_ask_qty = 0, 0, 0, 0
        same = bid == was_bid and bid_qty == was_bid_qty
        if last == 0 or (same and ask == was_ask and ask_qty == was_ask_qty):
            continue
        if blank != 0:
            m, blank = _put(out, m, row, CLEAR, 0, 0, 0), 0
        m = _side(out, m, row, BUY, was_bid, was_bid_qty, bid, bid_qty, step, sizes)
        m = _side(out, m, row, SELL, was_ask, was_ask_qty, ask, ask_qty, step, sizes)
        if m <= out.shape[0]:
            out[m - 1]["flags"] = np.int64(out[m - 1]["flags"]) | LAST_IN_MESSAGE
        was_bid, was_bid_qty, was_ask, was_ask_qty = bid, bid_qty, ask, ask_qty
    return m
