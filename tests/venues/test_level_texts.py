"""Texts of levels to the rows of a book message: exact, or nothing."""

from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import AlephError
from alephtx.core.kernel import JIT
from alephtx.core.ports import Batch
from alephtx.core.units import parse_scaled
from alephtx.core.words import BUY, CLEAR, DELTA, LAST_IN_MESSAGE, SELL, SEQ
from alephtx.venues.binance_wire import truncated
from alephtx.venues.level_texts import DIGITS_MAX, NO_ROW, Terms, put_book

TS, RECV, NUMBER, OPENING, BEFORE = 11, 12, 13, 14, -1
TEXTS = st.one_of(
    st.from_regex(r"[0-9]{1,9}(\.[0-9]{0,9})?", fullmatch=True),
    st.text('0123456789.,-+e \x80"\\{}[]:', max_size=22),
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=4)


class Named(msgspec.Struct):
    """A level as Hyperliquid writes it, with a text behind that looks like its end."""

    price: str
    size: str = msgspec.field(name="a longer name")
    n: int = 3
    odd: str = "}]],["


def named(px, sz):
    return Named(px, sz)


def listed(px, sz):
    """A level as OKX writes it."""
    return (px, sz, "0]", 4)


def bare(px, sz):
    """A level as Binance writes it."""
    return (px, sz)


def sides_of(shape, bids, asks):
    return tuple([shape(px, sz) for px, sz in side] for side in (bids, asks))


def value_of(read, text, scale):
    try:
        value = read(text, scale)
    except AlephError:
        return None
    return value if value >= 0 else None


def put(out, terms, sides):
    return put_book(out, terms, sides, TS, RECV, NUMBER, OPENING, BEFORE)


def rows_of(terms, pairs, values, bids):
    """What the rows must be."""
    rows = []
    if terms.seq_flags != NO_ROW:
        rows.append([TS, RECV, NUMBER, OPENING, BEFORE, terms.i, SEQ, 0, terms.seq_flags])
    if terms.clear_flags != NO_ROW:
        rows.append([TS, RECV, NUMBER, 0, 0, terms.i, CLEAR, 0, terms.clear_flags])
    for k, value in enumerate(values):
        side = BUY if k < bids else SELL
        rows.append([TS, RECV, NUMBER, *value, terms.i, DELTA, side, terms.flags])
    if rows:
        rows[-1][-1] |= LAST_IN_MESSAGE
    return [tuple(row) for row in rows]


@pytest.mark.kernel
@settings(max_examples=500 if JIT else 80, deadline=None)
@given(
    shape=st.sampled_from([named, listed, bare]),
    bids=PAIRS,
    asks=PAIRS,
    scales=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    cut=st.booleans(),
    heads=st.sampled_from(list(product((NO_ROW, 1), (NO_ROW, 8)))),
)
def test_a_message_is_exact_or_none(shape, bids, asks, scales, cut, heads):
    out, pairs = Batch(events=24), [*bids, *asks]
    out.event_count = 2
    terms = Terms(3, *scales, int(cut), *heads, 5)
    reads = parse_scaled, truncated if cut else parse_scaled
    values = [tuple(map(value_of, reads, pair, scales)) for pair in pairs]
    sound = not any(None in value for value in values)
    wanted = rows_of(terms, pairs, values, len(bids)) if sound else []
    if put(out, terms, sides_of(shape, bids, asks)):
        assert sound
        assert out.events[2 : out.event_count].tolist() == wanted
    else:
        assert out.event_count == 2
        few = all(
            len(text.partition(".")[0]) + scale <= DIGITS_MAX and text[:1].isdigit()
            for pair in pairs
            for text, scale in zip(pair, scales, strict=True)
        )
        assert not wanted or not few
    assert not out.events[:2].view(np.int64).any()  # what was there is as it was


@pytest.mark.kernel
@pytest.mark.parametrize("shape", [named, listed, bare])
def test_a_message_without_room_is_none(shape):
    sides, terms = sides_of(shape, [("1", "2")], [("3", "4")]), Terms(0, 0, 0, 0, 1, 1, 5)
    out = Batch(events=5)
    assert put(out, terms, sides)
    assert out.event_count == 4
    for first in (2, 3, 4, 5):
        out.event_count = first
        assert not put(out, terms, sides)
        assert out.event_count == first


@pytest.mark.kernel
@pytest.mark.parametrize(
    "sides",
    [
        ([("1", "2"), None], []),
        ([("1",)], []),
        ([("1", 2)], []),
        ([(1, "2")], []),
        ([()], []),
        ([["1", "2", []]], []),
        ([{}], []),
        ([{"px": "1"}], []),
        ([{"px": "1", "sz": "2", "more": {"a": 1}}], []),
        ([], [("1", "2"), "3"]),
        ([("1", "2")],),
        ([], [], []),
        (None, []),
        ("1", "2"),
        [],
        "12",
        7,
        None,
    ],
)
def test_what_is_no_book_is_none(sides):
    """Whatever a decoder's author hands over is read to its end at most."""
    out = Batch(events=9)
    assert not put(out, Terms(0, 0, 0, 0, 1, 1, 5), sides)
    assert out.event_count == 0


@pytest.mark.kernel
def test_more_digits_than_a_word_holds_are_none():
    """2^64 wraps around to nothing: it is not taken for it."""
    out = Batch(events=9)
    for text in ("18446744073709551616", "18446744073709551617.0", "1" + "0" * 64):
        assert not put(out, Terms(0, 0, 0, 0, 1, 1, 5), ([(text, "1")], []))
    assert put(out, Terms(0, 0, 0, 0, 1, 1, 5), ([("9" * 18, "0")], []))
    assert out.events[2]["price"] == 10**18 - 1
