"""The thread of a feeder, small enough for plain Python: it turns, keeps near, sleeps, ends."""

import ctypes
import os
import select
import threading
import time

import numpy as np
import pytest

from alephtx.core.kernel import entry
from alephtx.core.near import LINE, N_AT, Near
from alephtx.core.packed import FIELD_WORDS, pack_fields
from alephtx.core.stages import stage_address
from alephtx.core.syscalls import READABLE
from alephtx.feed import spinner as s
from alephtx.feed.lane import W_BATON
from alephtx.matrix.baton import Baton
from alephtx.net import link_words as w

pytestmark = pytest.mark.kernel

TURNS, BUSY = 0, 1
FIRST = 10_000_000  # an address to be asked for; nothing need be there


def count_turn(lane, a, b):
    """Count a turn in the second field's words; tell whether messages came."""
    lane[TURNS + FIELD_WORDS * 2] += 1
    return lane[BUSY + FIELD_WORDS * 2]


class Thread:
    """A thread over a lane of one link that counts its turns."""

    def __init__(self, *, sleeps=False, busy=False):
        self.links = np.zeros(1, np.int64)
        words = np.zeros(4, np.int64)
        self.baton = Baton(lambda: True)
        words[W_BATON] = self.baton.address
        self.baton.run()
        self.words_of_lane = words
        self.lane = np.concatenate([pack_fields([words, self.links]), np.zeros(4, np.int64)])
        self.counts = self.lane[FIELD_WORDS * 2 :]
        self.counts[BUSY] = busy
        self.words = np.zeros(s.WORDS, np.int64)
        self.polled = np.zeros(s.POLLED_MAX, np.int64)
        self.words[s.W_STAGE], self.owner = stage_address(count_turn)
        self.words[s.W_LANE], self.words[s.W_LANE_WORDS] = self.lane.ctypes.data, len(self.lane)
        self.words[s.W_SLEEPS], self.words[s.W_POLLED] = sleeps, self.polled.ctypes.data
        self.address = int(self.words.ctypes.data)
        self.near = Near(self.address + 8 * s.W_NEAR)
        self.near.keep([(FIRST, 3 * LINE)])
        self.returned = []
        drive = entry(s.drive_lane, 0)
        s.ask_to_leave(self.address, 0)  # compiled before the thread waits for it
        self.thread = threading.Thread(target=lambda: self.returned.append(drive(self.address)))
        self.thread.start()

    def turned(self, more=100):
        """Wait for more turns."""
        wanted = self.counts[TURNS] + more
        self.until(lambda: self.counts[TURNS] >= wanted)

    def until(self, true):
        """Wait for something to become true while the thread turns."""
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end, f"in vain, {self.counts[TURNS]} turns"
            time.sleep(0.0002)

    def near_at(self):
        """Return what is asked for next; FIRST at the beginning."""
        return ctypes.c_int64.from_address(int(self.words[s.W_NEAR]) + 8 * N_AT).value

    def leave(self):
        s.ask_to_leave(self.address, 1)
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.returned == [self.counts[TURNS]]
        return self.returned[0]


def test_it_turns_until_asked_to_leave_and_keeps_near_what_it_will_need():
    thread = Thread()
    thread.turned()
    turns = thread.leave()
    lines = turns * 8 % 3 or 3  # the last of a span is followed by the first at the next look
    assert thread.near_at() == FIRST + LINE * lines
    time.sleep(0.01)
    assert thread.counts[TURNS] == turns


def test_it_asks_for_nothing_while_messages_come():
    thread = Thread(busy=True)
    thread.turned()
    thread.leave()
    assert thread.near_at() == FIRST


def test_asleep_it_waits_for_bytes_of_its_open_links_or_a_moment():
    reads, writes = os.pipe()
    link = np.zeros(w.LINK_WORDS, np.int64)
    link[w.FD], link[w.STATE] = reads, w.LIVE
    thread = Thread(sleeps=True)
    try:
        thread.turned()  # no link at all: it looks again after a moment
        thread.links[0] = link.ctypes.data
        begin, slept = thread.counts[TURNS], 0.05
        time.sleep(slept)
        assert thread.counts[TURNS] - begin < 2 * (s.RARELY + 1) * slept * 1000 / s.SLEEP_MS
        thread.turned()
        assert thread.polled[0] == reads | READABLE
        os.write(writes, b"x")
        thread.until(lambda: thread.polled[0] >> 48 & select.POLLIN)
        link[w.STATE] = w.PARKED  # Python's: nothing of it may be looked at
        thread.turned()
        thread.polled[0] = 0
        thread.turned()
        assert thread.polled[0] == 0
    finally:
        thread.leave()
        os.close(reads)
        os.close(writes)
    assert thread.near_at() == FIRST


def test_bytes_that_only_python_may_take_do_not_wake_it():
    """Else, with a priority above Python's, it would keep Python from ever taking them."""
    reads, writes = os.pipe()
    os.write(writes, b"x")
    link = np.zeros(w.LINK_WORDS, np.int64)
    link[w.FD], link[w.STATE] = reads, w.LIVE
    thread, slept = Thread(sleeps=True), 0.1
    most = 2 * (s.RARELY + 1) * slept * 1000 / s.SLEEP_MS

    def turns():
        thread.turned(s.RARELY + 2)
        begin = thread.counts[TURNS]
        time.sleep(slept)
        return thread.counts[TURNS] - begin

    try:
        thread.links[0] = link.ctypes.data
        assert turns() > most  # ours: here nobody reads it
        for word in (w.PAUSED, w.HELD):
            link[word] = 1
            assert turns() < most
            link[word] = 0
        with thread.baton:
            assert turns() < most
        assert turns() > most
    finally:
        thread.leave()
        os.close(reads)
        os.close(writes)
