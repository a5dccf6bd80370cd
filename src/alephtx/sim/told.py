"""What we are told of the market: a log of slots as our feeder would publish them, and when.

The slots of a book carry its touch and its flags, those of other kinds the row: bid = price,
bid_qty = qty. Behind a gap nothing is told of the book until its next image, as by a live feeder.
"""

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.words import (
    CLEAR,
    CROSSED,
    DELTA,
    EMPTY_SIDE,
    GAP,
    NOT_TRADING,
    RESYNCING,
    RETOLD_NS,
    STATUS,
    TOP,
    TRADING,
)
from alephtx.matrix.ring import slot_aux
from alephtx.sim.bottle import (
    I2,
    I3,
    SLOTS,
    T_ASK,
    T_ASK_QTY,
    T_BID,
    T_BID_QTY,
    T_CHANGED,
    T_DEEP,
    T_FEED_NS,
    T_FLAGS,
    T_HEAD,
    T_RARE,
    T_SLOT,
    T_STAMP,
    T_TAIL,
    T_TOLD,
    T_VENUE,
    Z_LATENCY,
    Z_LOAD,
    Z_LOG,
    Z_POINTS,
    Z_STREAMS,
    Rows,
)
from alephtx.sim.flight import NEVER
from alephtx.sim.latency import FEED, L_DELAY, L_KIND, RECORDED, delay_of
from alephtx.sim.levels import NO_LEVEL, Levels, levels_best, levels_qty

IMAGED = 1 << 8
"""Bit of T_FLAGS beside the book's own: an image has begun, the next touch ends the gap."""


@kernel
def stamp_of(z: Rows, i: Int, ts_event: Int, ts_recv: Int) -> int:
    """Return when we hear a message, by the feed's model; never before the one before it."""
    stream = field(z, Z_STREAMS, I2)[i]
    model = field(z, Z_LATENCY, I3)[stream[T_VENUE], FEED]
    if model[L_KIND] == RECORDED:
        stamp = ts_recv + model[L_DELAY]
    else:
        load = field(z, Z_LOAD, I2)[stream[T_VENUE]]
        points = field(z, Z_POINTS, I2)
        stamp = ts_event + delay_of(model, points, ts_event, 0, load[1] + load[2])
    stamp = max(stamp, stream[T_STAMP], ts_event)
    stream[T_STAMP] = stamp
    return stamp


@kernel
def write_slot(
    z: Rows, i: Int, ts_event: Int, stamp: Int, kind: Int, flags: Int, side: Int, a: Int, b: Int,
    c: Int, d: Int,
) -> None:  # fmt: skip
    """Write a slot of the log, as a feeder would publish it into its ring."""
    stream, log = field(z, Z_STREAMS, I2)[i], field(z, Z_LOG, SLOTS)
    row = log[i, stream[T_TAIL] & (log.shape[1] - 1)]
    stream[T_TAIL] += 1
    stream[T_SLOT] += 1
    row["word"], row["ts_event"], row["ts_recv"] = 2 * stream[T_SLOT], ts_event, stamp
    row["bid"], row["bid_qty"], row["ask"], row["ask_qty"] = a, b, c, d
    row["aux"] = slot_aux(i, kind, flags, side)


@kernel
def tell_touch(z: Rows, levels: Levels, i: Int, ts_event: Int, ts_recv: Int) -> None:
    """Write the touch after a message: another one, or one that the engine wants told again.

    The engine's rule for an unchanged one is in `engine.step.take_slot`.
    """
    stream = field(z, Z_STREAMS, I2)[i]
    bid, ask = levels_best(levels, i, 0), -levels_best(levels, i, 1)
    bid_qty = levels_qty(levels, i, 0, bid) if bid != NO_LEVEL else 0
    ask_qty = levels_qty(levels, i, 1, -ask) if ask != -NO_LEVEL else 0
    bid, ask = bid if bid_qty > 0 else 0, ask if ask_qty > 0 else 0
    same = (
        bid == stream[T_BID]
        and bid_qty == stream[T_BID_QTY]
        and ask == stream[T_ASK]
        and ask_qty == stream[T_ASK_QTY]
    )
    stream[T_CHANGED] = 0
    if stream[T_FLAGS] & RESYNCING != 0:
        if stream[T_FLAGS] & IMAGED == 0:
            return
        same = False
        _recovered(z, i, ts_event, ts_recv)
    if same and stream[T_DEEP] == 0 and abs(ts_event - stream[T_TOLD]) < RETOLD_NS:
        return
    stream[T_TOLD] = ts_event
    stream[T_BID], stream[T_BID_QTY], stream[T_ASK], stream[T_ASK_QTY] = bid, bid_qty, ask, ask_qty
    flags = EMPTY_SIDE if bid_qty == 0 or ask_qty == 0 else CROSSED if bid >= ask else 0
    flags |= stream[T_FLAGS]
    kind = DELTA if same else TOP
    stamp = stamp_of(z, i, ts_event, ts_recv)
    write_slot(z, i, ts_event, stamp, kind, flags, 0, bid, bid_qty, ask, ask_qty)


@inline_kernel
def log_next(z: Rows, i: Int) -> Int:
    """Return when the oldest slot of the log is heard, NEVER without one."""
    stream, log = field(z, Z_STREAMS, I2)[i], field(z, Z_LOG, SLOTS)
    if stream[T_HEAD] == stream[T_TAIL]:
        return NEVER
    return log[i, stream[T_HEAD] & (log.shape[1] - 1)]["ts_recv"]


@kernel
def local_stamp(z: Rows, i: Int, ts_event: Int, ts_recv: Int) -> int:
    """Return when we shall hear a message, without noting it."""
    stream = field(z, Z_STREAMS, I2)[i]
    kept = stream[T_STAMP]
    stamp = stamp_of(z, i, ts_event, ts_recv)
    stream[T_STAMP] = kept
    return stamp


@inline_kernel
def log_take(z: Rows, i: Int, out: Rows) -> None:
    """Take the oldest slot into out, TOP_ROW (1,), and note the delay it had."""
    stream, log = field(z, Z_STREAMS, I2)[i], field(z, Z_LOG, SLOTS)
    out[0] = log[i, stream[T_HEAD] & (log.shape[1] - 1)]
    stream[T_HEAD] += 1
    stream[T_FEED_NS] = out[0]["ts_recv"] - out[0]["ts_event"]


@kernel
def _recovered(z: Rows, i: Int, ts_event: Int, ts_recv: Int) -> None:
    """End a gap as a feeder does: a CLEAR slot, then the touch without the flag."""
    stream = field(z, Z_STREAMS, I2)[i]
    stream[T_FLAGS] &= ~(RESYNCING | IMAGED)
    stream[T_RARE] += 1
    write_slot(z, i, ts_event, stamp_of(z, i, ts_event, ts_recv), CLEAR, 0, 0, 0, 0, 0, 0)


@kernel
def note_image(stream: Rows) -> None:
    """Note that a whole book begins: what is behind a gap is known again at its end."""
    if stream[T_FLAGS] & RESYNCING != 0:
        stream[T_FLAGS] |= IMAGED


@kernel
def tell_rare(
    z: Rows, i: Int, kind: Int, ts_event: Int, ts_recv: Int, flags: Int, side: Int, price: Int,
    qty: Int,
) -> None:  # fmt: skip
    """Tell a row that is neither of the book nor a print; GAP and STATUS change the flags."""
    stream = field(z, Z_STREAMS, I2)[i]
    if kind == GAP:
        stream[T_FLAGS] = (stream[T_FLAGS] | RESYNCING) & ~IMAGED
    elif kind == STATUS:
        trades = price == TRADING
        stream[T_FLAGS] &= ~NOT_TRADING
        stream[T_FLAGS] |= 0 if trades else NOT_TRADING
    stream[T_RARE] += 1
    stamp = stamp_of(z, i, ts_event, ts_recv)
    write_slot(z, i, ts_event, stamp, kind, flags, side, price, qty, 0, 0)


@kernel
def reflag(z: Rows, i: Int, slot: Rows, top: Rows) -> None:
    """Let a slot that was just taken, if it is a rare one, change the flags of the view's top.

    slot: TOP_ROW (1,); top: TOP_ROW (1,), the instrument's. A live reader finds them in the matrix.
    """
    kind = (slot[0]["aux"] >> 32) & 0xFF
    if kind <= TOP:
        return
    field(z, Z_STREAMS, I2)[i, T_RARE] -= 1
    if kind != GAP and kind != STATUS:
        return
    top[0]["ts_event"], top[0]["ts_recv"] = slot[0]["ts_event"], slot[0]["ts_recv"]
    if kind == GAP:
        top[0]["aux"] |= RESYNCING
    elif slot[0]["bid"] == TRADING:
        top[0]["aux"] &= ~NOT_TRADING
    else:
        top[0]["aux"] |= NOT_TRADING
