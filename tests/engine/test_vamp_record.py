"""The VAMP that fills met: what a book of dicts says just before each of them."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.instruments import Instruments
from alephtx.engine import vamp_recorder
from alephtx.engine.tapes import Delay, Tape, Venue
from alephtx.engine.vamp_record import vamp_before
from alephtx.signals.vamp import vamp
from tests.engine.bottling import events
from tests.engine.test_replay_views import Book

ROWS = 4_000


@pytest.fixture(scope="module")
def market():
    rows, instrument = events(ROWS)
    return rows, Instruments([instrument])


def by_hand(rows, moments):
    """Return the VAMP of five levels after the last message before each moment."""
    book, said, times = Book(), [], []
    levels = np.zeros((1, 2, 5, 2), np.int64)
    for row in rows:
        if row["kind"] != w.TRADE:
            book.take(row)
        if row["flags"] & w.LAST_IN_MESSAGE:
            levels[0] = np.array(book.levels(5)).reshape(2, 5, 2)
            times.append(int(row["ts_event"]))
            said.append(vamp(levels, 0, 5))
    at = np.searchsorted(times, moments, side="left") - 1
    return np.where(at < 0, np.nan, np.array(said)[np.maximum(at, 0)])


def moments_of(rows):
    """Return times on, just before and just after messages, some of them twice."""
    ts = rows["ts_event"][::37]
    first, last = int(rows["ts_event"][0]), int(rows["ts_event"][-1])
    return np.sort(np.concatenate([ts, ts, ts - 1, ts + 1, [first - 5, last + 5, last + 9]]))


@pytest.mark.kernel
@pytest.mark.parametrize("late_ns", [0, 10**9])
def test_what_stood_just_before_is_what_a_book_of_dicts_says(market, late_ns):
    """However late we heard of it: fills are the venue's."""
    rows, table = market
    moments = moments_of(rows)
    venue = Venue(feed=Delay(ns=late_ns))
    found = vamp_before(table, Tape(rows), venue, moments)
    wanted = by_hand(rows, moments)
    assert np.array_equal(found, wanted, equal_nan=True)
    assert np.isfinite(found).sum() > 100
    assert len(np.unique(found)) > 50


def test_more_moments_than_there_is_room_for(market, monkeypatch):
    rows, table = market
    moments = moments_of(rows)
    monkeypatch.setattr(vamp_recorder, "ROOM", 100)
    found = vamp_before(table, Tape(rows), Venue(), moments)
    assert np.array_equal(found, by_hand(rows, moments), equal_nan=True)
