"""A venue's market data received by the engine's compiled loop, without a feeder process between.

The loop reads the links' sockets, scans each message with the venue's own market stage and takes it
in - join, books, ring, tops - exactly as a feeder does (`intake.take_in`). What that leaves - a
message the scanner declines, a gap, a delta before its snapshot, books that are full - it hands
over with the whole lane, so that nothing overtakes it, and `Feeder` does on the asyncio thread what
it always does. Between them stands a baton.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from alephtx.core.atomics import load_acquire, monotonic_ns
from alephtx.core.errors import ConfigError
from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import FIELD_WORDS, field, pack_fields, rows_at
from alephtx.core.ports import Codec, Rows
from alephtx.core.stages import stage_address
from alephtx.feed.beat import BEAT_FIELDS, W_FOUND, Beat, keep_beat
from alephtx.feed.frame_in import I1, rows_of, take_frame
from alephtx.matrix.baton import Baton, baton_hand_over, baton_mine
from alephtx.net import link_words as w
from alephtx.net.frames import link_hand, link_next, link_poll
from alephtx.net.loop_link import LoopLink, connect_loop
from alephtx.net.sending import link_flush, link_serve
from alephtx.net.wake import Wake, wake_main
from alephtx.net.websocket import OnFrame

if TYPE_CHECKING:
    from alephtx.feed.outlet import Outlet

# Fields of a lane: its words, and its links' addresses.
L_WORDS, L_LINKS = 0, 1

# Words of L_WORDS.
W_BATON, W_WAKE, W_LINKS, W_OUTLET, W_OUTLET_WORDS = 0, 1, 2, 3, 4
W_FRAMES, W_BYTES, W_EVENTS, W_DECLINED = 8, 9, 10, 11
W_LEFT, W_LEFT_LINK, W_LEFT_ROWS = 12, 13, 14  # verdicts for Python on the outlet's rows
W_HOT, W_TURN = 5, 6  # the link that spoke last; turns so far
W_BEAT = 7  # address of the packed beat
LANE_WORDS = 16

RARELY = 8
"""A look at a silent socket costs a system call, as much as all the rest of a turn: links that did
not speak last are looked at every so many turns, some microseconds."""

MESSAGES_MAX = 16
"""Messages of one link that a turn takes; more wait for the next. A read may bring thousands, and
the loop looks at stop, halt and commands between two turns, and serves its strategies."""


@kernel
def _take_message(lane: Rows, number: Int, link: Int, size: Int) -> int:
    """Take in one message; 1 when it left something to Python, whose the lane is then."""
    own, words = field(lane, L_WORDS, I1), rows_at(link, w.LINK_WORDS, w.WORDS)
    outlet = rows_at(own[W_OUTLET], own[W_OUTLET_WORDS], I1)
    own[W_FRAMES] += 1
    left = take_frame(outlet, number, monotonic_ns(), words[w.MSG_AT], size, words[w.MSG_TS], 0, 0)
    if left < 0:
        own[W_DECLINED] += 1
        baton_hand_over(own[W_BATON])
        link_hand(link)
        return 1
    n = rows_of(outlet)
    own[W_BYTES] += size
    own[W_EVENTS] += n
    if left == 0:
        return 0
    own[W_LEFT], own[W_LEFT_LINK], own[W_LEFT_ROWS] = left, number, n
    baton_hand_over(own[W_BATON])
    wake_main(own[W_WAKE])
    return 1


def lane_turn(lane: Rows, a: int, b: int) -> int:
    """Serve every link of a lane once; returns how many messages came. A stage."""
    own = field(lane, L_WORDS, I1)
    if baton_mine(own[W_BATON]) == 0:
        return 0
    own[W_TURN] += 1
    if own[W_TURN] % RARELY == 0:
        outlet = rows_at(own[W_OUTLET], own[W_OUTLET_WORDS], I1)
        keep_beat(rows_at(own[W_BEAT], BEAT_FIELDS * FIELD_WORDS, I1), outlet, monotonic_ns())
    came = 0
    for number in range(own[W_LINKS]):
        if number != own[W_HOT] and own[W_TURN] % RARELY != 0:
            continue
        link = load_acquire(lane[L_LINKS * FIELD_WORDS] + 8 * number)
        if link == 0:
            continue
        link_poll(link)
        budget = MESSAGES_MAX
        while budget > 0:
            size = link_next(link)
            if size < 0:
                break
            budget -= 1
            came += 1
            own[W_HOT] = number
            if _take_message(lane, number, link, size) != 0:
                return came
        link_serve(link)
        link_flush(link)
    return came


def need_scanner(codec: Codec, who: str = "strategies on this venue") -> None:
    """Refuse a venue that cannot be received without Python, for the direct path of these."""
    if not hasattr(codec, "market_stage"):
        raise ConfigError(
            f"{codec.spec.name} has no compiled market stage, which the direct path needs",
            remedy=f'set path = "split" for {who}',
        )


class Lane:
    """One venue's lane, on the asyncio thread. The loop serves it from `run` to `halt`.

    alive(): whether the loop makes turns. wake: how the loop calls the asyncio thread, which then
    calls `attend`. ConfigError where the venue has no market stage.
    """

    def __init__(self, codec: Codec, alive: Callable[[], bool], wake: Wake) -> None:
        need_scanner(codec)
        self.baton = Baton(alive)
        self._wake = wake
        self._links: list[list[LoopLink]] = [[] for _ in codec.links("market")]
        self._addresses = np.zeros(max(1, len(self._links)), np.int64)
        self.words = np.zeros(LANE_WORDS, np.int64)
        self.packed = pack_fields([self.words, self._addresses])
        self.stage, self._owner = stage_address(lane_turn)
        self._taken = 0
        self._outlet: Outlet | None = None
        self._beat: Any = None

    def bind(self, outlet: "Outlet", every_ns: int, crossed_max_ns: int) -> None:
        """Let the loop write by this outlet, which was made with the venue's market stage.

        every_ns, crossed_max_ns: as `FeederOptions` has them.
        """
        assert len(outlet.frame_rows), "an outlet without a stage cannot scan"
        self._outlet = outlet
        words = self.words
        words[W_BATON], words[W_WAKE] = self.baton.address, self._wake.address
        words[W_OUTLET], words[W_OUTLET_WORDS] = outlet.packed.ctypes.data, len(outlet.packed)
        words[W_LINKS] = len(self._links)
        self._beat = Beat(outlet, every_ns, crossed_max_ns)
        words[W_BEAT] = self._beat.packed.ctypes.data

    def crossed(self) -> list[int]:
        """Take the instruments whose book the loop found crossed for too long; mostly none."""
        if not self._beat.words[W_FOUND]:
            return []
        with self.baton:
            return self._beat.crossed()

    @property
    def frames(self) -> int:
        """Return how many messages the loop took in, without those it declined."""
        return int(self.words[W_FRAMES] - self.words[W_DECLINED])

    @property
    def bytes_in(self) -> int:
        """Return their bytes."""
        return int(self.words[W_BYTES])

    @property
    def events(self) -> int:
        """Return the rows they made."""
        return int(self.words[W_EVENTS])

    def told(self) -> dict[str, int]:
        """Return what the loop took in, and what it left to Python."""
        declined = int(self.words[W_DECLINED])
        return {"messages": self.frames, "rows": self.events, "declined": declined}

    @property
    def links(self) -> list[LoopLink]:
        """Return the links that the loop may know, of each number the last."""
        return [link[-1] for link in self._links if link]

    def connector(self, number: int) -> Callable[..., Awaitable[LoopLink]]:
        """Return what opens link `number`; as `net.websocket.connect`."""

        async def connect(url: str, on_frame: OnFrame, **options: Any) -> LoopLink:
            def on_message(payload: bytes, ts_recv: int) -> None:
                self._taken += 1
                on_frame(payload, ts_recv)

            made = await connect_loop(url, on_message, wake=self._wake, **options)
            # The loop may still look at the one before: it lives until the next but one.
            self._links[number] = [*self._links[number][-1:], made]
            self._addresses[number] = made.address
            return made

        return connect

    def attend(self, think: Callable[[list[list[int]], Rows], None]) -> None:
        """Do what the loop left: messages it declined, then verdicts. think: `Feeder.think`."""
        for link in self.links:
            link.attend()
        if not self.baton.handed_over or self._taken != self.words[W_DECLINED]:
            return
        outlet, words = self._outlet, self.words
        assert outlet is not None
        with self.baton:
            if count := int(words[W_LEFT]):
                words[W_LEFT] = 0
                number, n = int(words[W_LEFT_LINK]), int(words[W_LEFT_ROWS])
                rows = outlet.frame_rows
                think(outlet.left_over(count, number, rows, n), rows)
            self.baton.attended()
