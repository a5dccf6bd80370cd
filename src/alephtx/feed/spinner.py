"""A feeder in compiled code: a thread receives and publishes; asyncio does what is rare.

As in the engine's direct path (`lane`), but in the feeder's own process: what the engine sees is
the matrix, whoever wrote it.
"""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np

from alephtx.core.atomics import load_acquire, pause, store_relaxed, store_release
from alephtx.core.kernel import Int, entry, kernel
from alephtx.core.log import logger
from alephtx.core.near import Near, Span, code_spans, keep_near, memory_of
from alephtx.core.packed import FIELD_WORDS, field, rows_at
from alephtx.core.ports import Codec, Rows
from alephtx.core.stages import call_stage
from alephtx.core.syscalls import READABLE, poll
from alephtx.feed.feeder import Feeder
from alephtx.feed.lane import L_LINKS, L_WORDS, RARELY, W_BATON, Lane
from alephtx.matrix.baton import baton_mine
from alephtx.net import link_words as w
from alephtx.net.wake import Wake

W_LEAVE, W_NEAR, W_STAGE, W_LANE, W_LANE_WORDS, W_SLEEPS, W_POLLED = range(7)
WORDS = 16
POLLED_MAX = 256
"""Links that a sleeping thread waits for; of the others it hears when it looks again."""

SLEEP_MS = 1
"""After it the thread looks whether Python asks for the lane, or opened a link."""
JOIN_S = 5.0
_I1 = np.zeros(1, np.int64)


@kernel
def drive_lane(words: Int) -> int:
    """Make turns of a lane until asked to leave; words: the address of a spinner's."""
    own = rows_at(words, WORDS, _I1)
    lane = rows_at(own[W_LANE], own[W_LANE_WORDS], _I1)
    turns = idle = 0
    while load_acquire(words + 8 * W_LEAVE) == 0:
        turns += 1
        if call_stage(own[W_STAGE], lane, 0, 0) != 0:
            idle = 0
            continue
        idle += 1
        if own[W_SLEEPS] == 0:
            keep_near(words + 8 * W_NEAR)
            pause()
        elif idle > RARELY:  # all links have been looked at
            _sleep(lane, own[W_POLLED])
            idle = 0
    return turns


@kernel
def _sleep(lane: Rows, polled: Int) -> None:
    """Sleep until a link has something for us to read, or a moment.

    While Python has the lane, or a link's messages, bytes that wait are no news: to come back for
    them at once would, with a priority above its, never let it finish.
    """
    count = 0
    if baton_mine(field(lane, L_WORDS, _I1)[W_BATON]) != 0:
        links = field(lane, L_LINKS, _I1)
        for k in range(min(len(links), POLLED_MAX)):
            link = load_acquire(lane[L_LINKS * FIELD_WORDS] + 8 * k)
            if link == 0 or load_acquire(link + 8 * w.STATE) != w.LIVE:
                continue
            words = rows_at(link, w.LINK_WORDS, w.WORDS)
            if words[w.HELD] == 0 and load_acquire(link + 8 * w.PAUSED) == 0:
                store_relaxed(polled + 8 * count, words[w.FD] | READABLE)
                count += 1
    poll(polled, count, SLEEP_MS)


@kernel
def ask_to_leave(words: Int, asked: Int) -> None:
    """Ask the thread to end; any thread."""
    store_release(words + 8 * W_LEAVE, asked)


class Spinner:
    """The thread of one feeder. Everything here but the thread's own loop runs on asyncio's.

    sleeps: it waits in the system for bytes, and its core is free meanwhile.
    """

    def __init__(self, *, sleeps: bool = False) -> None:
        self.wake = Wake()
        self._polled = np.zeros(POLLED_MAX, np.int64)
        self._memory: Rows = np.zeros(WORDS, np.int64)
        self._memory[W_SLEEPS], self._memory[W_POLLED] = sleeps, self._polled.ctypes.data
        self._words: int = self._memory.ctypes.data
        self._near = Near(self._words + 8 * W_NEAR)
        self._drive = entry(drive_lane, 0)
        self._feeder: Feeder | None = None
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)
        self._failed: asyncio.Future[None] | None = None

    def lane_of(self, codec: Codec) -> Lane | None:
        """Make the lane by which the thread receives; None where the venue has no scanner."""
        if not hasattr(codec, "market_stage"):
            return None
        return Lane(codec, self._thread.is_alive, self.wake)

    def _run(self) -> None:
        self._drive(self._words)

    def start(self, feeder: Feeder) -> int:
        """Begin to receive for a feeder whose lane is ours; its `run` opens the links.

        Returns the thread's number for the system.
        """
        lane = feeder.lane
        assert lane is not None
        self._feeder = feeder
        memory = self._memory
        memory[W_STAGE], memory[W_LANE] = lane.stage, lane.packed.ctypes.data
        memory[W_LANE_WORDS] = len(lane.packed)
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        loop.add_reader(self.wake.fd, self._attend)
        self._thread.start()
        lane.baton.run()
        assert self._thread.native_id is not None
        return self._thread.native_id

    def _attend(self) -> None:
        self.wake.taken()
        assert self._feeder is not None
        assert self._failed is not None
        if self._failed.done():  # half done, it would give the lane back to the thread
            return
        try:
            self._feeder.attend()
        except Exception as error:  # noqa: BLE001 - asyncio would log it and go on
            self._failed.set_exception(error)

    async def watch(self) -> None:
        """Keep what the thread needs in its cache; raises what `attend` did, else never ends."""
        assert self._feeder is not None
        assert self._failed is not None
        while True:
            self._near.look(self._feeder.clock.monotonic(), self._spans)
            done, _ = await asyncio.wait([self._failed], timeout=1.0)
            if done:
                self._failed.result()

    def _spans(self) -> Iterator[Span]:
        feeder = self._feeder
        assert feeder is not None
        yield from code_spans()
        yield from memory_of(feeder.outlet.near)
        for link in feeder.lane.links if feeder.lane else ():
            yield from link.near

    def stop(self) -> None:
        """End, after the feeder's `run`: until then its links have to be served."""
        ask_to_leave(self._words, 1)
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        lane = self._feeder.lane if self._feeder else None
        if lane is not None:
            lane.baton.halt()
            asyncio.get_running_loop().remove_reader(self.wake.fd)
            for link in lane.links:
                link.take()
            assert self._feeder is not None
            logger("feed", venue=self._feeder.name).info("thread_stopped", **lane.told())
        self.wake.close()
