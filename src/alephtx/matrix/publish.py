"""From a message's rows to what readers see: book, ring slots, top, levels - one call a message.

The latest top of an instrument may come from its book or, sooner, from the venue's own top-of-book
stream (TOP rows); both carry the same sequence numbers, and the newer one wins. What was published
last is read back from our own record, so flags set by `top_flag` in between are seen.

Order: where a strategy reads depth, levels come first, so that the slot finds them there; then the
slot, then the top record, whose line may be far away; then levels for anybody else. Slots that
make a reader look at the record (GAP, CLEAR, STATUS) come after it instead.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.atomics import load_relaxed as get
from alephtx.core.atomics import store_relaxed as put
from alephtx.core.kernel import Int, kernel
from alephtx.core.words import (
    BUY,
    CLEAR,
    CROSSED,
    DELTA,
    EMPTY_SIDE,
    EPOCH_SHIFT,
    GAP,
    LIQUIDATION,
    NOT_TRADING,
    RESYNCING,
    SELL,
    SEQ,
    SNAPSHOT,
    STALE,
    STATUS,
    TOP,
    TRADE,
    TRADING,
    UNTRADEABLE_MASK,
)
from alephtx.matrix.book import (
    Books,
    book_apply,
    book_forget,
    book_instruments,
    book_levels,
    book_run,
    book_top,
)
from alephtx.matrix.layout import (
    HEAD_BYTES,
    HEAD_EPOCH,
    MAP_HEADS,
    MAP_INSTRUMENTS,
    MAP_TOPS,
    MAP_VENUES,
    TOP_BYTES,
)
from alephtx.matrix.levels import levels_publish
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.matrix.tops import top_publish

Rows = np.ndarray[Any, Any]

DEPTH = 32

# Words of an instrument, by byte.
_SEQ_TOP = 0  # sequence number of what the top shows
_SEQ_BOOK = 8  # of what the book shows
_WORST_BID, _WORST_ASK = 16, 24  # keys (price, -price) of the deepest levels shown
_WANTS_DEPTH = 32  # a strategy reads levels: a change of them is worth a slot
_CLEARED, _FILLED = 40, 48  # what this message's rows did to the book
_TOUCHED = 56  # 1 = a change within the levels shown
_DROPPED = 64  # TOP pairs that were older than what is shown
_TS_EVENT, _TS_RECV = 72, 80
_NEXT = 88  # of the instruments this message changes: the next one plus 1
_LATE = 96  # STALE while what comes is too old to be traded on, else 0
_BYTES = 128
_NO_WORST = -(1 << 62)  # fewer levels than shown: every change is within them

# Words of PublishState.map.
_WORDS_AT, _INSTRUMENTS = 0, 1


class PublishState(NamedTuple):
    """What a feeder remembers between messages; I = instruments.

    map: int64 (2,). words: int64 (I, 16), reached by address; never move it. levels: int64
    (2, depth, 2), scratch. top: int64 (4,), scratch.
    """

    map: Rows
    words: Rows
    levels: Rows
    top: Rows


def make_publish_state(
    instruments: int, *, depth: int = DEPTH, wants_depth: bool = True
) -> PublishState:
    """Return the state of a feeder that has published nothing yet.

    depth: levels a side to publish, best that of the matrix. wants_depth: a change of levels that
    leaves the top as it was still makes a DELTA slot; `set_wants_depth` says it by instrument.
    """
    count = max(1, instruments)
    words = np.zeros((count, _BYTES // 8), np.int64)
    words[:, [_WORST_BID // 8, _WORST_ASK // 8]] = _NO_WORST
    words[:, _WANTS_DEPTH // 8] = int(wants_depth)
    found = np.array([words.ctypes.data, count], np.int64)
    return PublishState(found, words, np.zeros((2, depth, 2), np.int64), np.zeros(4, np.int64))


def set_wants_depth(state: PublishState, instrument: int, *, wanted: bool) -> None:
    """Say whether changes below the top of an instrument are worth a slot."""
    state.words[instrument, _WANTS_DEPTH // 8] = int(wanted)


def dropped_tops(state: PublishState, instrument: int) -> int:
    """Return how many TOP pairs of an instrument came too late to be shown."""
    return int(state.words[instrument, _DROPPED // 8])


@kernel
def set_late(state: PublishState, i: Int, late: Int) -> None:
    """Say whether what is published of an instrument from now on is too old: it is flagged STALE.

    Otherwise a change of its book takes that flag away.
    """
    put(state.map[_WORDS_AT] + i * _BYTES + _LATE, STALE if late else 0)


@kernel
def _aux(matrix: Rows, i: Int) -> int:
    """Return the flags of the record as we left it."""
    return get(matrix[MAP_TOPS] + i * TOP_BYTES + 56) & UNTRADEABLE_MASK


@kernel
def _epoch(matrix: Rows, venue: Int) -> int:
    return get(matrix[MAP_HEADS] + venue * HEAD_BYTES + HEAD_EPOCH) << EPOCH_SHIFT


@kernel
def _reflag(matrix: Rows, venue: Int, i: Int, ts_event: Int, ts_recv: Int, flags: Int) -> None:
    """Publish the record with the prices it has and other flags."""
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    top_publish(
        matrix,
        i,
        ts_event,
        ts_recv,
        get(record + 24),
        get(record + 32),
        get(record + 40),
        get(record + 48),
        flags | _epoch(matrix, venue),
    )


@kernel
def publish_flags(
    matrix: Rows, venue: Int, i: Int, set_mask: Int, clear_mask: Int, ts_recv: Int
) -> int:
    """Change an instrument's flags and tell the ring's readers, too, with a TOP slot.

    For what no row says: a silent link (STALE). Returns the slot's k, 0 when nothing changed.
    """
    before = _aux(matrix, i)
    flags = (before & ~clear_mask) | set_mask
    if flags == before:
        return 0
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    ts_event = get(record + 8)
    bid, bid_qty = get(record + 24), get(record + 32)
    ask, ask_qty = get(record + 40), get(record + 48)
    aux = slot_aux(i, TOP, flags, 0)
    k = ring_publish(matrix, venue, ts_event, ts_recv, bid, bid_qty, ask, ask_qty, aux)
    _reflag(matrix, venue, i, ts_event, ts_recv, flags)
    return k


@kernel
def _show(
    matrix: Rows,
    venue: Int,
    i: Int,
    me: Int,
    flags: Int,
    deeper: Int,
    bid: Int,
    bid_qty: Int,
    ask: Int,
    ask_qty: Int,
) -> None:
    """Publish a top that differs from what is shown; deeper = 1: levels below it changed."""
    if bid_qty == 0 or ask_qty == 0:
        flags |= EMPTY_SIDE
    elif bid >= ask:
        flags |= CROSSED
    record = matrix[MAP_TOPS] + i * TOP_BYTES
    same = (
        get(record + 24) == bid
        and get(record + 32) == bid_qty
        and get(record + 40) == ask
        and get(record + 48) == ask_qty
        and get(record + 56) & UNTRADEABLE_MASK == flags
    )
    if same and (deeper == 0 or get(me + _WANTS_DEPTH) == 0):
        return
    ts_event, ts_recv = get(me + _TS_EVENT), get(me + _TS_RECV)
    aux = slot_aux(i, DELTA if same else TOP, flags, 0)
    ring_publish(matrix, venue, ts_event, ts_recv, bid, bid_qty, ask, ask_qty, aux)
    aux = flags | _epoch(matrix, venue)
    top_publish(matrix, i, ts_event, ts_recv, bid, bid_qty, ask, ask_qty, aux)


@kernel
def _show_levels(matrix: Rows, books: Books, i: Int, me: Int, levels: Rows) -> None:
    """Publish the best levels and remember how deep they reach."""
    book_levels(books, i, levels)
    levels_publish(matrix, i, levels, get(me + _SEQ_BOOK))
    last = levels.shape[1] - 1
    put(me + _WORST_BID, levels[0, last, 0] if levels[0, last, 1] > 0 else _NO_WORST)
    put(me + _WORST_ASK, -levels[1, last, 0] if levels[1, last, 1] > 0 else _NO_WORST)


@kernel
def _show_nothing(matrix: Rows, venue: Int, books: Books, i: Int, me: Int, levels: Rows) -> None:
    """Show that a book was forgotten and no image came with it: RESYNCING until one does."""
    ts_event, ts_recv = get(me + _TS_EVENT), get(me + _TS_RECV)
    aux = _aux(matrix, i) & NOT_TRADING | RESYNCING | EMPTY_SIDE | _epoch(matrix, venue)
    top_publish(matrix, i, ts_event, ts_recv, 0, 0, 0, 0, aux)
    _show_levels(matrix, books, i, me, levels)
    ring_publish(matrix, venue, ts_event, ts_recv, 0, 0, 0, 0, slot_aux(i, CLEAR, 0, 0))
    put(me + _SEQ_TOP, 0)


@kernel
def _settle(matrix: Rows, venue: Int, books: Books, i: Int, me: Int, state: PublishState) -> None:
    """Show what a message's DELTA and CLEAR rows have made of an instrument's book."""
    levels, top = state.levels, state.top
    cleared, filled, touched = get(me + _CLEARED), get(me + _FILLED), get(me + _TOUCHED)
    put(me + _CLEARED, 0)
    put(me + _FILLED, 0)
    put(me + _TOUCHED, 0)
    if cleared == 1 and filled == 0:
        _show_nothing(matrix, venue, books, i, me, levels)
        return
    early = touched == 1 and get(me + _WANTS_DEPTH) == 1
    if early:
        _show_levels(matrix, books, i, me, levels)
    flags = _aux(matrix, i) & (RESYNCING | NOT_TRADING) | get(me + _LATE)
    if cleared == 1 and flags & RESYNCING != 0:
        # Recovered. The record still says RESYNCING to a reader whom this slot sends there.
        ts_event, ts_recv = get(me + _TS_EVENT), get(me + _TS_RECV)
        ring_publish(matrix, venue, ts_event, ts_recv, 0, 0, 0, 0, slot_aux(i, CLEAR, 0, 0))
        flags &= ~RESYNCING
    if get(me + _SEQ_BOOK) >= get(me + _SEQ_TOP):
        put(me + _SEQ_TOP, get(me + _SEQ_BOOK))
        book_top(books, i, top)
        _show(matrix, venue, i, me, flags, touched, top[0], top[1], top[2], top[3])
    else:  # the venue's top stream is ahead of the book: keep its top
        at = matrix[MAP_TOPS] + i * TOP_BYTES + 24
        bid, ask = get(at), get(at + 16)
        _show(matrix, venue, i, me, flags, touched, bid, get(at + 8), ask, get(at + 24))
    if touched == 1 and not early:
        _show_levels(matrix, books, i, me, levels)


@kernel
def _take_top(matrix: Rows, venue: Int, i: Int, me: Int, rows: Rows, first: Int, n: Int) -> int:
    """Show a TOP pair unless something newer is shown. Returns the index of its last row."""
    at = matrix[MAP_TOPS] + i * TOP_BYTES + 24
    bid, bid_qty, ask, ask_qty = get(at), get(at + 8), get(at + 16), get(at + 24)
    opening: Any = rows[first]
    seq, last = opening["seq"], first
    for k in range(first, min(first + 2, n)):
        row = rows[k]
        if np.int64(row["kind"]) != TOP or np.int64(row["instrument"]) != i or row["seq"] != seq:
            break
        if np.int64(row["side"]) == BUY:
            bid, bid_qty = row["price"], row["qty"]
        elif np.int64(row["side"]) == SELL:
            ask, ask_qty = row["price"], row["qty"]
        last = k
    if seq != 0 and seq < get(me + _SEQ_TOP):
        put(me + _DROPPED, get(me + _DROPPED) + 1)
        return last
    put(me + _SEQ_TOP, seq)
    closing: Any = rows[last]
    put(me + _TS_EVENT, closing["ts_event"])
    put(me + _TS_RECV, closing["ts_recv"])
    flags = _aux(matrix, i) & (RESYNCING | NOT_TRADING) | get(me + _LATE)
    _show(matrix, venue, i, me, flags, 0, bid, bid_qty, ask, ask_qty)
    return last


@kernel
def _note_clear(me: Int, seq: Int, flags: Int) -> None:
    """Remember a CLEAR row; one flagged SNAPSHOT is a whole image even when no level follows."""
    put(me + _CLEARED, 1)
    put(me + _TOUCHED, 1)
    put(me + _FILLED, 1 if flags & SNAPSHOT else 0)
    if seq != 0:
        put(me + _SEQ_BOOK, seq)


@kernel
def _note_delta(me: Int, seq: Int, side: Int, price: Int) -> None:
    """Remember a DELTA row, and whether it is among the levels shown."""
    put(me + _FILLED, 1)
    if seq != 0:
        put(me + _SEQ_BOOK, seq)
    if side == BUY:
        if price >= get(me + _WORST_BID):
            put(me + _TOUCHED, 1)
    elif price <= -get(me + _WORST_ASK):
        put(me + _TOUCHED, 1)


@kernel
def _tell(matrix: Rows, venue: Int, i: Int, me: Int, rows: Rows, k: Int) -> None:
    """Put a row that is not about levels into the ring; GAP and STATUS change the flags first."""
    row = rows[k]
    kind, ts_event, ts_recv = np.int64(row["kind"]), row["ts_event"], row["ts_recv"]
    if kind == GAP:
        put(me + _SEQ_TOP, 0)
        put(me + _SEQ_BOOK, 0)
        _reflag(matrix, venue, i, ts_event, ts_recv, _aux(matrix, i) | RESYNCING)
    elif kind == STATUS:
        flags = _aux(matrix, i)
        flags = flags & ~NOT_TRADING if row["price"] == TRADING else flags | NOT_TRADING
        _reflag(matrix, venue, i, ts_event, ts_recv, flags)
    aux = slot_aux(i, kind, np.int64(row["flags"]), np.int64(row["side"]))
    ring_publish(matrix, venue, ts_event, ts_recv, row["price"], row["qty"], row["seq"], 0, aux)


@kernel
def _first_of(words: Int, changed: Int, i: Int, row: Any) -> int:
    """Begin with the changes of an instrument. Returns the head of the list of the changed ones."""
    me = words + i * _BYTES
    put(me + _TS_EVENT, row["ts_event"])
    put(me + _TS_RECV, row["ts_recv"])
    return _join_changed(words, changed, i)


@kernel
def _take_changes(
    books: Books, rows: Rows, n: Int, words: Int, instruments: Int
) -> tuple[int, int, int]:
    """Apply and note in one pass what only changes books, up to the first row of another kind.

    Almost always that is the whole message. Returns the index of the row it ended before, which may
    also be one that the books do not take, the head of the list of changed instruments, and which
    of them changed last, -1 none.
    """
    changed, current, k = 0, np.int64(-1), 0
    while k < n:
        row: Any = rows[k]
        kind, i, seq = np.int64(row["kind"]), np.int64(row["instrument"]), row["seq"]
        if i >= instruments or (kind != SEQ and kind != DELTA and kind != CLEAR):
            break
        me = words + i * _BYTES
        if kind == SEQ:
            put(me + _SEQ_BOOK, seq)
            k += 1
            continue
        if kind == CLEAR:
            book_forget(books, i)
            _note_clear(me, seq, np.int64(row["flags"]))
            after = k + 1
        else:
            worst_bid, worst_ask = get(me + _WORST_BID), get(me + _WORST_ASK)
            after, near = book_run(books, i, rows, k, n, worst_bid, worst_ask)
            if after == k:
                break
            put(me + _FILLED, 1)
            if near == 1:
                put(me + _TOUCHED, 1)
            last = after
            while last > k:  # the newest number; rows without one do not tell
                last -= 1
                if rows[last]["seq"] != 0:
                    put(me + _SEQ_BOOK, rows[last]["seq"])
                    break
        if i != current:
            current = i
            changed = _first_of(words, changed, i, row)
        k = after
    return k, changed, int(current)


@kernel
def _take_rest(
    matrix: Rows,
    venue: Int,
    rows: Rows,
    k: Int,
    n: Int,
    state: PublishState,
    changed: Int,
    current: Int,
) -> int:
    """Note and tell rows from k on, whose changes are in the books. Returns as `_first_of`."""
    words, instruments = state.map[_WORDS_AT], min(state.map[_INSTRUMENTS], matrix[MAP_INSTRUMENTS])
    while k < n:
        row: Any = rows[k]
        kind, i = np.int64(row["kind"]), np.int64(row["instrument"])
        me = words + i * _BYTES
        if i >= instruments:
            k += 1
            continue
        if kind in (DELTA, CLEAR):
            if i != current:
                current = i
                changed = _first_of(words, changed, i, row)
            if kind == DELTA:
                _note_delta(me, row["seq"], np.int64(row["side"]), row["price"])
            else:
                _note_clear(me, row["seq"], np.int64(row["flags"]))
        elif kind == SEQ:
            put(me + _SEQ_BOOK, row["seq"])
        elif kind == TOP:
            k = _take_top(matrix, venue, i, me, rows, k, n)
        elif TRADE <= kind <= LIQUIDATION:
            _tell(matrix, venue, i, me, rows, k)
        k += 1
    return changed


@kernel
def publish(matrix: Rows, venue: Int, books: Books, rows: Rows, n: Int, state: PublishState) -> int:
    """Publish the n EVENT rows of one message. Returns the rows applied: n, or fewer.

    Fewer: the books ran out of room. Nothing is shown then but RESYNCING on the instrument; call
    `grow_books` and publish the same message again. -1: no such venue. Rows of instruments that are
    not are counted by the books and passed over. Slots of other kinds than TOP and DELTA carry the
    row: bid = price, bid_qty = qty, ask = seq.
    """
    if venue < 0 or venue >= matrix[MAP_VENUES]:
        return -1
    words, instruments = state.map[_WORDS_AT], min(state.map[_INSTRUMENTS], matrix[MAP_INSTRUMENTS])
    instruments = min(instruments, book_instruments(books))
    k, changed, current = _take_changes(books, rows, n, words, instruments)
    if k < n:
        applied = k + book_apply(books, rows, k, n)
        if applied < n:
            i = np.int64(rows[applied]["instrument"])
            publish_flags(matrix, venue, i, RESYNCING, 0, rows[applied]["ts_recv"])
            return applied
        changed = _take_rest(matrix, venue, rows, k, n, state, changed, current)
    while changed > 0:
        me = words + (changed - 1) * _BYTES
        _settle(matrix, venue, books, changed - 1, me, state)
        changed = get(me + _NEXT)
        put(me + _NEXT, 0)
    return n


@kernel
def _join_changed(words: Int, changed: Int, i: Int) -> int:
    """Note an instrument that the message changes, once. Returns the head of their list, plus 1."""
    at = changed
    while at > 0:
        if at - 1 == i:
            return changed
        at = get(words + (at - 1) * _BYTES + _NEXT)
    put(words + i * _BYTES + _NEXT, changed)
    return i + 1
