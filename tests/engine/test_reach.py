"""Ctrl-C, the kill switch and a swap reach the loop in the round that follows, however busy it is.

Nothing is timed here: the loop looks at its stop word, the halt word and its commands in every
round, a round takes only so much, and no nap comes near ten milliseconds.
"""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.packed import field
from alephtx.core.stages import call_stage, stage_address
from alephtx.engine import context as c
from alephtx.engine import loop
from alephtx.engine.loop import ask_to_leave, spin
from alephtx.engine.swap_apply import APPLIED
from alephtx.engine.swap_load import make_switch
from alephtx.feed.lane import MESSAGES_MAX
from alephtx.matrix.ring import ring_head, ring_publish, slot_aux
from alephtx.matrix.spsc import spsc_push
from alephtx.matrix.writers import halt_set
from tests.engine.bench import Bench
from tests.engine.direct_bench import CLOCK, DirectSide, framed
from tests.engine.test_direct import recording

pytestmark = pytest.mark.kernel

LEAVE, HALT, COMMAND = range(3)
AT, LAST = 5, 9
"""The round in which somebody asks, and one that no loop should get to that was asked to leave."""

ROUND, WHAT, ROW, LINKS, FLOOD, HALTED, STOPPING, SERVED = range(8)
WORDS = 8
AUX = slot_aux(0, words.TOP, 0, 0)


def meanwhile(x, a, b):
    """Begin a round: note what the one before saw, flood, and ask when it is time. A stage."""
    own = x[len(x) - WORDS :]
    control = field(x, c.F_CONTROL, c.I1)
    own[ROUND] += 1
    if own[ROUND] == AT + 1:
        own[HALTED], own[STOPPING] = control[c.X_HALTED], control[c.X_STOPPING]
        own[SERVED] = control[c.X_COMMAND_COUNT]
    if own[ROUND] == AT:
        if own[WHAT] == LEAVE:
            ask_to_leave(x, 1)
        elif own[WHAT] == HALT:
            halt_set(field(x, c.F_MAP, c.I1), 2)
        else:
            spsc_push(field(x, c.F_ADDRESSES, c.I1)[c.A_COMMANDS], own[ROW])
    if own[ROUND] == LAST:
        ask_to_leave(x, 1)
    now = field(x, c.F_NOW, c.I1)[0]
    for k in range(own[FLOOD]):
        ring_publish(field(x, c.F_MAP, c.I1), 0, now, now, 6_000_000 + k, 10, 6_000_100, 10, AUX)
    return call_stage(own[LINKS], x, 0, 0) if own[LINKS] != 0 else 0


class Watched:
    """The real `spin` of an engine, with somebody who asks for something in round AT."""

    def __init__(self, ctx, packed, *, links=0, flood=0):
        self.ctx, self.row = ctx, np.zeros(8, np.int64)
        self.x = np.concatenate([packed, np.zeros(WORDS, np.int64)])
        self.own = self.x[-WORDS:]
        self.own[ROW], self.own[LINKS], self.own[FLOOD] = self.row.ctypes.data, links, flood
        ctx.addresses[c.A_LINKS], self.owner = stage_address(meanwhile)

    def run(self, what):
        self.own[WHAT] = what
        ask_to_leave(self.x, 0)
        spin(self.x, 1 << 62, int(self.ctx.now[0] - self.ctx.now[3]))
        return self.own


@pytest.fixture
def split(tmp_path):
    """An engine whose feeder writes faster than it reads."""
    bench = Bench(tmp_path, ring_slots=4_096, live_max=0)
    bench.step()
    bench.waiting = lambda: int(ring_head(bench.matrix.map, 0)) - int(bench.ctx.next_slot[0])
    bench.watched = Watched(bench.ctx, bench.packed, flood=2 * loop.BUDGET)
    yield bench
    bench.close()


@pytest.fixture
def direct(tmp_path):
    """An engine whose sockets hold more than it takes in that many rounds."""
    side = DirectSide(tmp_path / "direct", live_max=0)
    snapshot, frames = recording(300)
    side.seed(snapshot)
    side.step(CLOCK.now())
    side.market.setblocking(False)
    side.market.sendall(b"".join(framed(frame) for frame in frames))
    side.waiting = lambda: len(frames) - side.lane.frames
    side.watched = Watched(side.ctx, side.packed, links=side.serving)
    yield side
    side.close()


@pytest.fixture(params=["split", "direct"])
def engine(request):
    return request.getfixturevalue(request.param)


def test_request_to_end_is_seen_before_the_next_round(engine):
    own = engine.watched.run(LEAVE)
    assert own[ROUND] == AT
    assert engine.waiting() > 0, "the market was over first"


def test_halt_word_is_seen_in_the_round_that_follows(engine):
    own = engine.watched.run(HALT)
    assert (own[ROUND], own[HALTED]) == (LAST, 1)
    assert engine.waiting() > 0, "the market was over first"


def test_stop_command_is_obeyed_in_the_round_that_follows(engine):
    engine.watched.row[0] = c.COMMAND_STOP
    own = engine.watched.run(COMMAND)
    assert (own[STOPPING], own[SERVED]) == (1, 1)
    assert engine.ctx.strategies[0, c.S_ENABLED] == 0
    assert engine.waiting() > 0, "the market was over first"


def test_switch_is_done_in_the_round_that_follows(engine):
    target = np.zeros(1, np.int64)
    switch = make_switch({target.ctypes.data: 7})
    engine.watched.row[:3] = c.COMMAND_SWAP, switch.ctypes.data, len(switch)
    own = engine.watched.run(COMMAND)
    assert (own[SERVED], switch[0], target[0]) == (1, APPLIED, 7)
    assert engine.waiting() > 0, "the market was over first"


def test_a_round_takes_only_so_much_of_a_flood(split, direct):
    """What comes between two looks is bounded, however much lies in a ring or in a socket."""
    before = int(split.ctx.counters[c.C_EVENTS])
    split.watched.run(LEAVE)
    assert int(split.ctx.counters[c.C_EVENTS]) - before == AT * loop.BUDGET
    direct.watched.run(LEAVE)
    assert 0 < direct.lane.frames <= AT * MESSAGES_MAX


def test_no_nap_and_no_round_comes_near_ten_milliseconds():
    assert max(*loop.NAP_NS.values(), loop.QUIET_NAP_NS) <= 1_000_000
    assert MESSAGES_MAX <= loop.BUDGET <= 64
    assert set(loop.NAP_NS) == set(loop.ROUNDS) == {"spin", "adaptive", "sleep"}
