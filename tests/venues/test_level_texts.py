"""Texts of levels to rows: exact, or nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import UnitError
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from alephtx.core.units import parse_scaled
from alephtx.core.words import BUY, DELTA, SELL
from alephtx.venues.level_texts import DIGITS_MAX, put_levels

SHARED = (11, 12, 13, 3, 5)
TEXTS = st.one_of(
    st.from_regex(r"[0-9]{1,9}(\.[0-9]{0,9})?", fullmatch=True),
    st.text("0123456789.,-+e \x80", max_size=22),
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=4)


def sides_of(bids, asks):
    return tuple([SimpleNamespace(px=px, sz=sz) for px, sz in side] for side in (bids, asks))


def value_of(text, scale):
    try:
        return parse_scaled(text, scale)
    except UnitError:
        return None


@pytest.mark.kernel
@settings(max_examples=300 if JIT else 60, deadline=None)
@given(bids=PAIRS, asks=PAIRS, scales=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_levels_are_exact_or_none(bids, asks, scales):
    rows = np.zeros(16, EVENT)
    n = put_levels(sides_of(bids, asks), scales, rows, 2, SHARED)
    pairs = [*bids, *asks]
    values = [tuple(map(value_of, pair, scales)) for pair in pairs]
    if n:
        sides = [BUY] * len(bids) + [SELL] * len(asks)
        wanted = [
            (11, 12, 13, *value, 3, DELTA, side, 5)
            for value, side in zip(values, sides, strict=True)
        ]
        assert rows[2 : 2 + n].tolist() == wanted
    else:
        few = all(
            len(text.partition(".")[0]) + scale <= DIGITS_MAX and text[:1].isdigit()
            for pair in pairs
            for text, scale in zip(pair, scales, strict=True)
        )
        assert not pairs or not few or any(None in value for value in values)


@pytest.mark.kernel
def test_levels_without_room_or_levels_are_none():
    rows = np.zeros(3, EVENT)
    sides = sides_of([("1", "2")], [("3", "4")])
    assert put_levels(sides, (0, 0), rows, 1, SHARED) == 2
    assert put_levels(sides, (0, 0), rows, 2, SHARED) == 0
    assert put_levels(sides_of([], []), (0, 0), rows, 0, SHARED) == 0
