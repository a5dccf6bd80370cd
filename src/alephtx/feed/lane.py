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
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import FIELD_WORDS, field, pack_fields, rows_at
from alephtx.core.ports import MARKET_ROWS, MARKET_TS_RECV, MARKET_WORDS, Codec, Rows, Stage
from alephtx.core.records import EVENT
from alephtx.core.stages import call_stage, stage_address
from alephtx.feed.intake import Intake, take_in
from alephtx.matrix.baton import Baton, baton_hand_over, baton_mine
from alephtx.matrix.book import Books
from alephtx.matrix.publish import PublishState
from alephtx.net import link_words as w
from alephtx.net.frames import link_hand, link_next, link_poll
from alephtx.net.loop_link import LoopLink, connect_loop
from alephtx.net.sending import link_flush, link_serve
from alephtx.net.wake import Wake, wake_main
from alephtx.net.websocket import OnFrame

if TYPE_CHECKING:
    from alephtx.feed.outlet import Outlet

I1, I2, EVENTS = np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.zeros(1, EVENT)
I3 = np.zeros((1, 1, 1), np.int64)

# Fields of a lane: its words, its links' addresses, then the arrays of its outlet.
L_WORDS, L_LINKS, L_MAP, L_BOOKS = 0, 1, 2, 3
L_STATE = L_BOOKS + len(Books._fields)
L_INTAKE = L_STATE + len(PublishState._fields)
LANE_FIELDS = L_INTAKE + len(Intake._fields)

# Words of L_WORDS.
W_BATON, W_SCAN, W_SCAN_AT, W_SCAN_WORDS = 0, 1, 2, 3
W_VENUE, W_RULE, W_OFFSET_NS = 4, 5, 6
W_FRAMES, W_BYTES, W_EVENTS, W_DECLINED = 8, 9, 10, 11
W_LEFT, W_LEFT_LINK, W_LEFT_ROWS = 12, 13, 14  # verdicts for Python on rows in MARKET_ROWS
W_WAKE, W_LINKS = 15, 16
LANE_WORDS = 24


@inline_kernel
def _books(lane: Rows) -> Books:
    return Books(field(lane, L_BOOKS, I1), field(lane, L_BOOKS + 1, I1))


@inline_kernel
def _state(lane: Rows) -> PublishState:
    return PublishState(
        field(lane, L_STATE, I1), field(lane, L_STATE + 1, I2), field(lane, L_STATE + 2, I3),
        field(lane, L_STATE + 3, I1),
    )  # fmt: skip


@inline_kernel
def _intake(lane: Rows) -> Intake:
    return Intake(
        field(lane, L_INTAKE, I2), field(lane, L_INTAKE + 1, I1), field(lane, L_INTAKE + 2, I1),
        field(lane, L_INTAKE + 3, I1), field(lane, L_INTAKE + 4, I1), field(lane, L_INTAKE + 5, I1),
        field(lane, L_INTAKE + 6, I1), field(lane, L_INTAKE + 7, I2), field(lane, L_INTAKE + 8, I1),
        field(lane, L_INTAKE + 9, I1),
    )  # fmt: skip


@kernel
def _take_message(lane: Rows, number: Int, link: Int, size: Int) -> int:
    """Take in one message; 1 when it left something to Python, whose the lane is then."""
    own, words = field(lane, L_WORDS, I1), rows_at(link, w.LINK_WORDS, w.WORDS)
    scanning = rows_at(own[W_SCAN_AT], own[W_SCAN_WORDS], I1)
    field(scanning, MARKET_WORDS, I1)[MARKET_TS_RECV] = words[w.MSG_TS]
    own[W_FRAMES] += 1
    n = call_stage(own[W_SCAN], scanning, words[w.MSG_AT], size)
    if n < 0:
        own[W_DECLINED] += 1
        baton_hand_over(own[W_BATON])
        link_hand(link)
        return 1
    own[W_BYTES] += size
    own[W_EVENTS] += n
    left = take_in(
        field(lane, L_MAP, I1), own[W_VENUE], own[W_RULE], number, own[W_OFFSET_NS],
        monotonic_ns(), _books(lane), _state(lane), _intake(lane),
        field(scanning, MARKET_ROWS, EVENTS), n,
    )  # fmt: skip
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
    came = 0
    for number in range(own[W_LINKS]):
        link = load_acquire(lane[L_LINKS * FIELD_WORDS] + 8 * number)
        if link == 0:
            continue
        link_poll(link)
        while True:
            size = link_next(link)
            if size < 0:
                break
            came += 1
            if _take_message(lane, number, link, size) != 0:
                return came
        link_serve(link)
        link_flush(link)
    return came


class Lane:
    """One venue's lane, on the asyncio thread. The loop serves it from `run` to `halt`.

    alive(): whether the loop makes turns. wake: how the loop calls the asyncio thread, which then
    calls `attend`. ConfigError where the venue has no market stage.
    """

    def __init__(self, codec: Codec, alive: Callable[[], bool], wake: Wake) -> None:
        make = getattr(codec, "market_stage", None)
        if make is None:
            raise ConfigError(
                f"{codec.spec.name} has no compiled market stage, which the direct path needs",
                remedy='set path = "split" for strategies on this venue',
            )
        self.baton = Baton(alive)
        self._wake = wake
        self._scan: Stage = make()
        self._links: list[list[LoopLink]] = [[] for _ in codec.links("market")]
        self._addresses = np.zeros(max(1, len(self._links)), np.int64)
        self.words = np.zeros(LANE_WORDS, np.int64)
        self.words[W_SCAN], scan_owner = stage_address(self._scan.function)
        self.stage, turn_owner = stage_address(lane_turn)
        self._owners = (scan_owner, turn_owner)
        self.packed: Rows = np.zeros(LANE_FIELDS * FIELD_WORDS, np.int64)
        self._taken = 0
        self._outlet: Outlet | None = None

    def bind(self, outlet: "Outlet") -> None:
        """Let the loop write by this outlet; books that grow are bound anew by themselves."""
        self._outlet = outlet
        words, scan = self.words, self._scan.state
        words[W_BATON], words[W_WAKE] = self.baton.address, self._wake.address
        words[W_SCAN_AT], words[W_SCAN_WORDS] = scan.ctypes.data, len(scan)
        words[W_VENUE], words[W_RULE] = outlet.venue, outlet.rule
        words[W_OFFSET_NS], words[W_LINKS] = outlet.offset_ns, len(self._links)
        outlet.on_grown = self._pack
        self._pack()

    def _pack(self) -> None:
        """Say where the outlet's arrays are; the caller has the baton."""
        outlet = self._outlet
        assert outlet is not None
        arrays = [self.words, self._addresses, outlet.map]
        self.packed[:] = pack_fields([*arrays, *outlet.books, *outlet.state, *outlet.intake])

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
                n = int(words[W_LEFT_ROWS])
                rows = field(self._scan.state, MARKET_ROWS, EVENTS)
                think(outlet.left_over(count, int(words[W_LEFT_LINK]), rows, n), rows)
            self.baton.attended()
