"""Shares of one limit: what a pool may grant, and what an engine asks for, with plain numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.risk.shares import Ask, Grant, settle, wanted

pytestmark = pytest.mark.kernel

CHARTER = (1, 2, 3)


def asked(held, want, others, total=1_000):
    """Engine 1 asks; returns what it holds then, and the grant."""
    after, grant = settle(others, Ask(1, held, want, total, CHARTER))
    assert {**after, 1: 0} == {**others, 1: 0}, "others keep what they hold"
    assert after[1] == grant.cents
    return grant


@pytest.mark.parametrize(
    ("held", "want", "others", "cents"),
    [
        (0, 400, {2: 0, 3: 0}, 400),
        (0, 1_001, {2: 0, 3: 0}, 1_000),
        (100, 900, {2: 300, 3: 250}, 450),
        (100, 450, {2: 300, 3: 250}, 450),
        (100, 451, {2: 300, 3: 250}, 450),
        (100, 101, {2: 300, 3: 600}, 100),  # nothing is free
        (100, 900, {2: 900, 3: 900}, 100),  # less than nothing
        (100, 100, {2: 0, 3: 0}, 100),
        (100, 40, {2: 0, 3: 0}, 100),  # who wants less says so by what it holds
        (0, 400, {2: 500, 3: 0, 4: 9_999}, 400),  # 4 is not in the charter
    ],
)
def test_what_is_free_is_granted(held, want, others, cents):
    granted = cents + others[2] + others[3]
    assert asked(held, want, others) == Grant(cents, granted, ())


@pytest.mark.parametrize(("others", "missing"), [({}, (2, 3)), ({2: 5}, (3,)), ({3: 0}, (2,))])
def test_nothing_is_granted_before_everybody_has_spoken(others, missing):
    assert asked(7, 400, others) == Grant(7, 7 + sum(others.values()), missing)


def test_what_an_engine_says_it_holds_replaces_what_was_known():
    after, grant = settle({1: 600, 2: 100, 3: 0}, Ask(1, 200, 2_000, 1_000, CHARTER))
    assert after == {1: 900, 2: 100, 3: 0}
    assert grant == Grant(900, 1_000, ())


@pytest.mark.parametrize(
    ("use", "held", "pressed", "want"),
    [
        # A whole of 1,200 over three engines: a quarter of a fair part is 100.
        (0, 0, False, 150),  # the local share is more
        (100, 0, False, 200),
        (499, 0, False, 599),
        (505, 0, False, 606),  # a fifth of the use is more than a quarter of a part
        (100, 0, True, 500),
        (505, 0, True, 909),
        (1_150, 0, False, 1_200),  # never more than the whole
        (100, 200, False, 200),
        (100, 399, False, 399),
        (100, 400, False, 400),  # twice as much is kept
        (100, 401, False, 200),  # more is given back
        (100, 199, False, 200),
        (100, 201, False, 201),
    ],
)
def test_engine_wants_its_use_and_room(use, held, pressed, want):
    assert wanted(use, held, 150, 1_200, CHARTER, pressed=pressed) == want


@given(
    st.lists(st.tuples(st.sampled_from(CHARTER), st.integers(0, 1_500)), max_size=20),
    st.integers(1, 1_000),
)
def test_grants_never_exceed_the_whole(asks, total):
    held: dict[int, int] = {}
    for engine, want in asks:
        keeps = min(held.get(engine, 0), want)
        held, grant = settle(held, Ask(engine, keeps, want, total, CHARTER))
        assert sum(held.values()) == grant.granted <= total
        assert keeps <= grant.cents <= max(keeps, want)
