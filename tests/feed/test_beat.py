"""A lane's heartbeat in the loop: as `Outlet.look_after`, some books a turn."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import MachineClock
from alephtx.core.instruments import Instruments
from alephtx.core.ports import JoinRule
from alephtx.feed import beat as b
from alephtx.feed import intake as columns
from alephtx.feed.beat import BOOKS_A_TURN, ROUNDS_KEPT, Beat, keep_beat
from alephtx.feed.outlet import Outlet
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import last_beat
from tests.feed.test_outlet import snapshot, top_of
from tests.feed.toy_venue import instrument, spec

pytestmark = pytest.mark.kernel

COUNT = 2 * BOOKS_A_TURN + 5
EVERY, CROSSED_MAX = 1_000, 500


@pytest.fixture
def outlet(tmp_path):
    table = Instruments([instrument(f"S{k}") for k in range(COUNT)])
    with Matrix.create(tmp_path / "m", table, Geometry(instruments_max=128, depth=4)) as matrix:
        made = Outlet(matrix, spec(JoinRule.SPOT), 0, 0, MachineClock(matrix.clock_offset_ns))
        made.intake.terms[columns.STALE_AFTER] = 1 << 60
        yield made
        matrix.unlink()


@pytest.fixture
def beat(outlet):
    return Beat(outlet, EVERY, CROSSED_MAX)


def seed(outlet, i, bid, ask):
    outlet.seed(i, snapshot(i, 10, (1, bid, 5), (-1, ask, 5)), 10)


def a_round(outlet, beat, now):
    """Every book of the venue once: so many turns."""
    for _ in range(3):
        keep_beat(beat.packed, outlet.packed, now)


def test_a_round_takes_its_turns_and_rests_until_it_is_due(outlet, beat):
    now = MachineClock().monotonic()
    keep_beat(beat.packed, outlet.packed, now)
    assert last_beat(outlet.map, outlet.writer) == now
    assert (beat.words[b.W_NEXT], beat.words[b.W_DUE]) == (BOOKS_A_TURN, 0)
    keep_beat(beat.packed, outlet.packed, now + 1)
    keep_beat(beat.packed, outlet.packed, now + 2)
    assert (beat.words[b.W_NEXT], beat.words[b.W_DUE]) == (0, now + 2 + EVERY)
    keep_beat(beat.packed, outlet.packed, now + 1 + EVERY)
    assert last_beat(outlet.map, outlet.writer) == now + 2, "it was not time"
    keep_beat(beat.packed, outlet.packed, now + 2 + EVERY)
    assert last_beat(outlet.map, outlet.writer) == now + 2 + EVERY


def test_the_silent_are_flagged_wherever_they_stand(outlet, beat):
    for i in (0, COUNT - 1):
        seed(outlet, i, 99, 101)
    outlet.intake.terms[columns.STALE_AFTER] = 1_000_000
    now = int(outlet.intake.seen_ns[COUNT - 1]) + 500_000
    outlet.intake.seen_ns[0] = now - 2_000_000
    a_round(outlet, beat, now)
    assert top_of(outlet.matrix, 0) == ([99, 5, 101, 5], words.STALE)
    assert top_of(outlet.matrix, COUNT - 1) == ([99, 5, 101, 5], 0)


def test_crossed_books_are_kept_until_they_are_taken(outlet, beat):
    for i in (3, COUNT - 1):
        seed(outlet, i, 99, 98)
    now = MachineClock().monotonic()
    a_round(outlet, beat, now)
    assert beat.crossed() == []
    a_round(outlet, beat, now + EVERY + CROSSED_MAX)
    assert beat.crossed() == [3, COUNT - 1]
    assert beat.crossed() == []


def test_crossed_books_that_nobody_takes_do_not_run_over(outlet, beat):
    for i in range(COUNT):
        seed(outlet, i, 99, 98)
    now, most = MachineClock().monotonic(), ROUNDS_KEPT * COUNT
    counts = []
    for k in range(3 * ROUNDS_KEPT):
        outlet.intake.crossed_ns[:] = 1
        a_round(outlet, beat, now + k * EVERY)
        counts.append(int(beat.words[b.W_FOUND]))
    assert counts[:ROUNDS_KEPT] == [COUNT * (k + 1) for k in range(ROUNDS_KEPT)]
    assert max(counts) <= most
    assert set(beat.crossed()) <= set(range(COUNT))


def test_a_venue_without_instruments_beats(tmp_path):
    table = Instruments([instrument("AAA")])
    with Matrix.create(tmp_path / "m", table, Geometry(instruments_max=4, depth=4)) as matrix:
        other = Outlet(matrix, spec(JoinRule.SPOT), 0, 0, MachineClock(matrix.clock_offset_ns))
        other.instruments = []
        beat = Beat(other, EVERY, CROSSED_MAX)
        keep_beat(beat.packed, other.packed, 7)
        assert (last_beat(matrix.map, 0), int(beat.words[b.W_DUE])) == (7, 7 + EVERY)
        assert np.count_nonzero(beat.words[b.W_NEXT :][:1]) == 0
        matrix.unlink()
