"""Which files of an instrument follow one another, and which lie side by side.

Files of the same kinds of rows are one lane, read one behind the other. A file that begins before
another ends needs a lane of its own, and may have it where the two hold different kinds of rows: a
book beside its trades. `store.weaving` makes one stream of the lanes. Two tellings of the same are
refused: nobody can say which of them is right.
"""

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core.instruments import Instrument
from alephtx.core.words import (
    BAR,
    CLEAR,
    DELTA,
    FUNDING,
    GAP,
    INDEX,
    LIQUIDATION,
    MARK,
    ORDER_ADD,
    ORDER_FILL,
    STATUS,
    TOP,
    TRADE,
)
from alephtx.store.damage import DataError

Rows = np.ndarray[Any, Any]

BOOK_KINDS = (DELTA, CLEAR, *range(ORDER_ADD, ORDER_FILL + 1))
BOOK, TOPS = 1 << DELTA, 1 << TOP
NAMES = {
    DELTA: "a book", TOP: "best prices", TRADE: "trades", BAR: "bars", FUNDING: "funding",
    MARK: "marks", INDEX: "index prices", STATUS: "a trading status", LIQUIDATION: "liquidations",
}  # fmt: skip


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of the catalogue says of itself. number: its place among its source's files.

    kinds: a bit for each kind of its rows, 0 in files of before that was kept. Of a file that was
    made of several (`store.compacting`): replaces are their names, sources theirs, and joint says
    the first one's source and number and the last one's.
    """

    version: str
    source: str
    file: str
    number: int
    rows: int
    messages: int
    first_event_ns: int
    last_event_ns: int
    first_recv_ns: int
    last_recv_ns: int
    kinds: int = 0
    replaces: list[str] = []
    sources: list[str] = []
    joint: tuple[str, int, str, int] | None = None

    @property
    def begins(self) -> tuple[str, int]:
        """Source and number that it begins with."""
        return self.joint[:2] if self.joint else (self.source, self.number)

    @property
    def ends(self) -> tuple[str, int]:
        """Source and number that it ends with."""
        return self.joint[2:] if self.joint else (self.source, self.number)


class Piece(msgspec.Struct):
    """A file in its lane.

    holds: bits of what it holds; told: of what its source does, all days together. gap: a GAP row
    stands before it. deaf: its own GAP rows say nothing of the book, which another source tells.
    """

    path: Path
    instrument: Instrument
    part: Part
    holds: int = 0
    told: int = 0
    gap: bool = False
    deaf: bool = False


class Lane(msgspec.Struct):
    """Files that follow one another, and what they hold together."""

    pieces: list[Piece]
    holds: int = 0


def kinds_in(kinds: Iterable[int]) -> int:
    """Return kinds of rows as bits."""
    return sum(1 << kind for kind in set(kinds))


def _holds(kinds: int) -> int:
    """Return what rows of these kinds tell: a book's kinds are one thing, a gap is none."""
    book = sum(1 << kind for kind in BOOK_KINDS)
    return (kinds & ~book & ~(1 << GAP)) | (BOOK if kinds & book else 0)


def describe(pieces: list[Piece], kinds_of: Callable[[Path], int]) -> int:
    """Note what each file and its source hold; returns what tells the book, as `lanes_of` takes it.

    kinds_of: reads a file for its kinds, where it does not say them itself.
    """
    if len(pieces) < 2:
        return -1
    told = defaultdict[str, int](int)
    for piece in pieces:
        piece.holds = _holds(piece.part.kinds or kinds_of(piece.path))
        for source in piece.part.sources or [piece.part.source]:
            told[source] |= piece.holds
    for piece in pieces:
        for source in piece.part.sources or [piece.part.source]:
            piece.told |= told[source]
    held = set(told.values())
    for level in (BOOK, TOPS):
        if any(one & level for one in held):
            return level
    return -1 if len(held) == 1 else 0


def lanes_of(pieces: list[Piece], level: int) -> list[Lane]:
    """Return the lanes of an instrument's files, which come by their first times.

    level: bits of the rows that tell the book: where a file that holds such does not join the one
    before it, the book is lost (-1: any rows do). In the order of the lanes stands what is as old
    on both clocks: trades before the best prices and the book that they change, as venues tell
    them.
    """
    lanes: list[Lane] = []
    for piece in pieces:
        lane = _place(piece, lanes)
        lane.pieces.append(piece)
        lane.holds |= piece.holds
    before = ""  # the source that told the book last
    reached: dict[str, int] = {}
    for piece in pieces:
        (source, number), (last, upto) = piece.part.begins, piece.part.ends
        piece.deaf = level > 0 and not piece.told & level
        if level == -1 or piece.holds & level:
            joins = number == 0 if source not in reached else reached[source] == number - 1
            piece.gap = not joins or before not in ("", source)
            before = last
        reached[last] = upto
    return sorted(lanes, key=lambda lane: (lane.holds & BOOK, lane.holds & TOPS, lane.holds))


def _follows(piece: Piece, before: Piece) -> bool:
    source, number = before.part.ends
    return piece.part.begins == (source, number + 1)


def _overlap(piece: Piece, before: Piece) -> bool:
    """Say whether a file begins, on either clock, before the one that began first ends."""
    if _follows(piece, before):
        return False
    begins, ends = piece.part, before.part
    return begins.first_event_ns < ends.last_event_ns or begins.first_recv_ns < ends.last_recv_ns


def _place(piece: Piece, lanes: list[Lane]) -> Lane:
    """Return the lane that a file belongs to: of its kinds, a new one where none has room.

    What is as old as a row of another lane stands by the kinds of the lanes, so these are not mixed
    where a file happens to end before another begins.
    """
    free = []
    for lane in lanes:
        last = lane.pieces[-1]
        if _follows(piece, last):
            return lane
        if not _overlap(piece, last):
            free += [lane] if lane.holds & piece.holds else []
        elif shared := piece.holds & last.holds:
            told = " and ".join(NAMES.get(k, f"rows of kind {k}") for k in range(62)
                                if shared >> k & 1)  # fmt: skip
            raise DataError(
                f"{piece.path} ({piece.part.file}) begins before {last.path} ({last.part.file}) "
                f"ends, and both hold {told}",
                remedy=f"keep one of the two: rm {shlex.quote(str(piece.path))}",
            )
    if not free:
        lanes.append(Lane([]))
        return lanes[-1]
    return max(free, key=lambda lane: (lane.holds & piece.holds).bit_count())


def factors(instrument: Instrument, finer: Instrument) -> tuple[int, int]:
    """Return by what ticks and lots of an instrument's rules become those of finer ones."""
    return (
        10 ** (finer.price_scale - instrument.price_scale),
        10 ** (finer.qty_scale - instrument.qty_scale),
    )


def finest(instruments: list[Instrument]) -> Instrument:
    """Return the newest rules (the last) on the finest scales that any of an instrument's have.

    Where the scales are those that files show, a file of trades may need more decimals than one of
    the book.
    """
    newest = instruments[-1]
    prices = max(one.price_scale for one in instruments)
    sizes = max(one.qty_scale for one in instruments)
    if (prices, sizes) == (newest.price_scale, newest.qty_scale):
        return newest
    return msgspec.structs.replace(
        newest, price_scale=prices, qty_scale=sizes,
        tick_size=min(one.tick_size for one in instruments),
        lot_size=min(one.lot_size for one in instruments),
    )  # fmt: skip


PRICED = tuple(
    kind in (DELTA, TRADE, TOP, MARK, INDEX, BAR, LIQUIDATION) or ORDER_ADD <= kind <= ORDER_FILL
    for kind in range(256)
)
SIZED = tuple(kind not in (MARK, INDEX) and priced for kind, priced in enumerate(PRICED))
LIMIT = 1 << 62


def rescaled(rows: Rows, by: tuple[int, int], path: Path) -> Rows:
    """Return rows in finer ticks and lots; DataError where a number does not fit 62 bits then."""
    for name, factor, which in (("price", by[0], PRICED), ("qty", by[1], SIZED)):
        if factor == 1:
            continue
        values = rows[name]
        meant = np.array(which)[rows["kind"]]
        if (np.abs(values[meant]) > (LIMIT - 1) // factor).any():
            raise DataError(
                f"{path}: a {name} does not fit 62 bits on the scales of the other sources",
                remedy="import it anew with --price-scale and --qty-scale that all can have",
            )
        rows[name] = np.where(meant, values * factor, values)
    return rows
