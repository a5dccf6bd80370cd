"""The step's other source: a recorded market and a simulated venue, in event time. Compiled.

Strategies, gate, order table, positions and journal are the functions the live step runs; only the
clock (`F_NOW` is the event's time), the source (`sim.tape`) and the venue (`sim.lane`) differ. What
happens next is decided by time; at one time in this order: what we hear of the market, reports
of our orders, the market itself, our orders' arrival, timers. So a decision sees what was heard
up to its own time and nothing else.

xs holds a row of packed engine words per lane: one for a run, a hundred for a sweep in one pass.
`replay` returns after about `budget` rows and is called again, like `step`.
"""

import numpy as np

from alephtx.core.atomics import load_relaxed
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import FIELD_WORDS, field
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.core.words import CANCEL, CANCEL_ALL, RESYNCING, TOP, TRADE
from alephtx.engine.context import (
    A_ECHO,
    A_LEGS,
    A_OUTBOX,
    A_UPDATE,
    EVENTS,
    F_ADDRESSES,
    F_CONTROL,
    F_EVENT,
    F_INPUTS,
    F_LANES,
    F_LEVELS,
    F_NOW,
    F_SLOT,
    F_STRATEGIES,
    F_TOP,
    F_UPDATE,
    I1,
    I2,
    I3,
    I4,
    INTENTS,
    RING_ECHO,
    S_ENABLED,
    S_ON_START,
    S_ON_STOP,
    S_ON_TIMER,
    S_ON_UPDATE,
    S_TIMER_NEXT,
    S_TIMER_NS,
    TOPS,
    UPDATES,
    X_INPUT_SEQ,
    X_LANES_OPEN,
    X_UPDATE_STRATEGY,
)
from alephtx.engine.leg_lanes import rearm_lanes
from alephtx.engine.step import deliver, enter_stage, run_timers, slot_to_event
from alephtx.engine.updates import room_left, take_update
from alephtx.matrix.crc32c import crc_word
from alephtx.matrix.inputlog import input_append
from alephtx.matrix.spsc import spsc_pop
from alephtx.sim import bottle as b
from alephtx.sim.arrivals import arrive
from alephtx.sim.due import venue_acts
from alephtx.sim.flight import NEVER, flight_next, flight_send, flight_take
from alephtx.sim.latency import CANCEL as CANCEL_PATH
from alephtx.sim.latency import ENTRY, delay_of
from alephtx.sim.levels import Levels, levels_read
from alephtx.sim.tape import local_next, run_exchange, run_local
from alephtx.sim.told import log_next, log_take, reflag

# What replay returns.
R_MORE, R_END, R_GROW, R_OVERFLOW, R_ROOM = 0, 1, 2, 3, 4

INTENT_WORDS, UPDATE_WORDS = 16, 20
HEAR_AT_ONCE = 256
LEGS_NS = 1_000_000
"""How often the leg guard looks at open legs when nothing else happens."""


@kernel
def fold(digest: Int, address: Int, words: Int) -> int:
    """Fold words at an address into a CRC-32C: runs that did the same have the same digest."""
    for k in range(words):
        digest = crc_word(digest, load_relaxed(address + 8 * k))
    return digest


@inline_kernel
def _set_now(x: Rows, now: Int) -> None:
    clock = field(x, F_NOW, I1)
    clock[0], clock[3] = now, now


@kernel
def _ship(z: Rows, x: Rows, j: Int, now: Int) -> None:
    """Send what the gate let through on its way to the venue."""
    addresses, clock = field(x, F_ADDRESSES, I1), field(z, b.Z_CLOCK, I1)
    digest, intents = field(z, b.Z_DIGEST, I1), field(z, b.Z_INTENT, INTENTS)
    address: Int = z[b.Z_INTENT * FIELD_WORDS]
    rows: Rows = field(z, b.Z_UP_ROWS, INTENTS)
    place, ring = field(z, b.Z_UP_PLACE, I1), field(z, b.Z_UP_RING, I2)
    while spsc_pop(addresses[A_OUTBOX], address) == 1:
        stream = field(z, b.Z_STREAMS, I2)[np.int64(intents[0]["instrument"])]
        venue, op = stream[b.T_VENUE], np.int64(intents[0]["op"])
        path = CANCEL_PATH if op == CANCEL or op == CANCEL_ALL else ENTRY
        model, load = field(z, b.Z_LATENCY, I3)[venue, path], field(z, b.Z_LOAD, I2)[venue]
        points, last = field(z, b.Z_POINTS, I2), field(z, b.Z_LAST, I3)[j, venue]
        delay = delay_of(model, points, now, stream[b.T_FEED_NS], load[1] + load[2])
        last[0] = max(now + delay, last[0])
        slot = flight_send(
            place, ring, field(z, b.Z_UP_FREE, I1), field(z, b.Z_UP_LANE, I1), last[0], j
        )
        rows[slot] = intents[0]
        digest[j] = fold(digest[j], address, INTENT_WORDS)
    if place[2] < clock[b.K_UP_ROOM]:
        clock[b.K_GROW] = b.K_GROW_UP


@kernel
def _settle(z: Rows, x: Rows, j: Int, now: Int) -> None:
    """After a lane did something: ship its orders, tell it of denials, let the leg guard look."""
    addresses, control = field(x, F_ADDRESSES, I1), field(x, F_CONTROL, I1)
    _ship(z, x, j, now)
    while spsc_pop(addresses[A_ECHO], addresses[A_UPDATE]) == 1:
        s = np.int64(field(x, F_UPDATE, UPDATES)[0]["strategy"])
        control[X_INPUT_SEQ] = input_append(field(x, F_INPUTS, I1), RING_ECHO, s, now)
        enter_stage(x, s, S_ON_UPDATE)
        _ship(z, x, j, now)
    if control[X_LANES_OPEN] != 0:
        call_stage(addresses[A_LEGS], x, 0, 0)
        _ship(z, x, j, now)


@kernel
def _show_depth(z: Rows, x: Rows, i: Int) -> None:
    """Copy the best levels of our late book into the view; behind a gap they stay as they were."""
    stream = field(z, b.Z_STREAMS, I2)[i]
    if stream[b.T_LAGGED] != 0 and stream[b.T_FLAGS] & RESYNCING == 0:
        levels = Levels(
            field(z, b.Z_LOCAL_LOTS, I3),
            field(z, b.Z_LOCAL_BITS, I3),
            field(z, b.Z_LOCAL_MARKS, I3),
        )
        levels_read(levels, i, field(x, F_LEVELS, I4)[i])


@kernel
def _hear_rare(z: Rows, xs: Rows, i: Int, fresh: Int) -> None:
    """Take a slot where some of those told are no touch: each lane's gate hears of it.

    fresh: 1 = the slot taken before is not in the view yet.
    """
    first = xs[0]
    slot, top = field(first, F_SLOT, TOPS), field(first, F_TOP, TOPS)
    if fresh != 0:
        slot_to_event(first)
    log_take(z, i, slot)
    rare = (slot[0]["aux"] >> 32) & 0xFF > TOP
    for j in range(xs.shape[0] if rare else 1):
        field(xs[j], F_SLOT, TOPS)[0] = slot[0]
        kept = field(xs[j], F_NOW, I1)[0]
        _set_now(xs[j], slot[0]["ts_recv"])
        slot_to_event(xs[j])
        _set_now(xs[j], kept)
    reflag(z, i, slot, top[i : i + 1])
    _show_depth(z, first, i)


@kernel
def _hear_all(z: Rows, xs: Rows, now: Int) -> None:
    """Bring the view up to now, for instruments whose news enters no strategy.

    The view's tops and levels are one memory for all lanes.
    """
    x = xs[0]
    streams, slot = field(z, b.Z_STREAMS, I2), field(x, F_SLOT, TOPS)
    for i in range(streams.shape[0]):
        if streams[i, b.T_HEARD] == 0 or streams[i, b.T_EVENTS] != 0:
            continue
        heard, fresh = HEAR_AT_ONCE, 0
        while heard == HEAR_AT_ONCE:
            heard = run_local(z, i, now, HEAR_AT_ONCE) if streams[i, b.T_LAGGED] != 0 else 0
            while log_next(z, i) <= now:
                if streams[i, b.T_RARE] != 0:
                    _hear_rare(z, xs, i, fresh)
                    fresh = 0
                    continue
                log_take(z, i, slot)
                fresh = 1
        if fresh != 0:
            slot_to_event(x)
            _show_depth(z, x, i)


@kernel
def _hear_one(z: Rows, xs: Rows, i: Int, now: Int) -> None:
    """Hear the next slot of an instrument and enter the strategies that want it."""
    first = xs[0]
    if log_next(z, i) > now:
        run_local(z, i, now, 1)
        if log_next(z, i) > now:  # a message that told nothing new
            return
    _hear_all(z, xs, now)
    log_take(z, i, field(first, F_SLOT, TOPS))
    if field(z, b.Z_STREAMS, I2)[i, b.T_RARE] != 0:
        reflag(z, i, field(first, F_SLOT, TOPS), field(first, F_TOP, TOPS)[i : i + 1])
    _show_depth(z, first, i)
    venue = field(z, b.Z_STREAMS, I2)[i, b.T_VENUE]
    for j in range(xs.shape[0]):
        x = xs[j]
        slot = field(x, F_SLOT, TOPS)
        slot[0] = field(first, F_SLOT, TOPS)[0]
        _set_now(x, now)
        control = field(x, F_CONTROL, I1)
        control[X_INPUT_SEQ] = input_append(
            field(x, F_INPUTS, I1), venue, slot[0]["word"] >> 1, now
        )
        if slot_to_event(x) >= 0:
            deliver(x, i, np.int64(field(x, F_EVENT, EVENTS)[0]["kind"]) == TRADE)
        _settle(z, x, j, now)


@kernel
def _report(z: Rows, xs: Rows, now: Int) -> None:
    """Let the next report come home."""
    place, ring = field(z, b.Z_DOWN_PLACE, I1), field(z, b.Z_DOWN_RING, I2)
    slot = flight_take(place, ring, field(z, b.Z_DOWN_FREE, I1))
    j, digest = field(z, b.Z_DOWN_LANE, I1)[slot], field(z, b.Z_DIGEST, I1)
    x = xs[j]
    update = field(x, F_UPDATE, UPDATES)
    update[0] = field(z, b.Z_DOWN_ROWS, UPDATES)[slot]
    _set_now(x, now)
    take_update(x, np.int64(update[0]["account"]))
    digest[j] = fold(digest[j], field(x, F_ADDRESSES, I1)[A_UPDATE], UPDATE_WORDS)
    if field(z, b.Z_CLOCK, I1)[b.K_OVER] != 0:
        return
    s = field(x, F_CONTROL, I1)[X_UPDATE_STRATEGY]
    if s >= 0 and field(x, F_STRATEGIES, I2)[s, S_ON_UPDATE] != 0:
        _hear_all(z, xs, now)
        enter_stage(x, s, S_ON_UPDATE)
    _settle(z, x, j, now)


@kernel
def _arrival(z: Rows, now: Int) -> None:
    """Let the next order of ours reach the venue."""
    place, ring = field(z, b.Z_UP_PLACE, I1), field(z, b.Z_UP_RING, I2)
    slot = flight_take(place, ring, field(z, b.Z_UP_FREE, I1))
    field(z, b.Z_CLOCK, I1)[b.K_NOW] = now
    arrive(z, field(z, b.Z_UP_LANE, I1)[slot], slot)


@kernel
def next_timer(xs: Rows, now: Int) -> int:
    """Return when the next timer of any lane is due, NEVER without one; open legs are looked at."""
    first = NEVER
    for j in range(xs.shape[0]):
        strategies = field(xs[j], F_STRATEGIES, I2)
        for s in range(strategies.shape[0]):
            every, on = strategies[s, S_TIMER_NS], strategies[s, S_ENABLED]
            if every == 0 or on == 0 or strategies[s, S_ON_TIMER] == 0:
                continue
            if strategies[s, S_TIMER_NEXT] == 0:
                strategies[s, S_TIMER_NEXT] = now + every
            first = min(first, strategies[s, S_TIMER_NEXT])
        if field(xs[j], F_CONTROL, I1)[X_LANES_OPEN] != 0:
            first = min(first, now + LEGS_NS)
    return first


@kernel
def _begin(z: Rows, xs: Rows, now: Int) -> None:
    """Enable every strategy, as the engine's command does."""
    for j in range(xs.shape[0]):
        x = xs[j]
        strategies = field(x, F_STRATEGIES, I2)
        _set_now(x, now)
        for s in range(strategies.shape[0]):
            strategies[s, S_ENABLED] = 1
            rearm_lanes(field(x, F_LANES, I3)[s], now)
            enter_stage(x, s, S_ON_START)
        _settle(z, x, j, now)


@kernel
def _end(z: Rows, xs: Rows) -> None:
    """Stop every strategy, as the engine's command does; what it sends now still arrives."""
    market = field(z, b.Z_CLOCK, I1)[b.K_NOW]
    for j in range(xs.shape[0]):
        x = xs[j]
        strategies, now = field(x, F_STRATEGIES, I2), max(market, field(x, F_NOW, I1)[0])
        _set_now(x, now)
        for s in range(strategies.shape[0]):
            if strategies[s, S_ENABLED] != 0:
                enter_stage(x, s, S_ON_STOP)
                strategies[s, S_ENABLED] = 0
        _settle(z, x, j, now)


@kernel
def _timers(z: Rows, xs: Rows, now: Int) -> None:
    """Let the venue do what is due, then the lanes."""
    clock = field(z, b.Z_CLOCK, I1)
    if clock[b.K_DUE] <= now:
        venue_acts(z, now)
    if clock[b.K_LANES] > now:
        clock[b.K_TIMER] = min(clock[b.K_LANES], clock[b.K_DUE])
        return
    _hear_all(z, xs, now)
    if clock[b.K_BEGUN] == 0:
        clock[b.K_BEGUN] = 1
        _begin(z, xs, now)
    for j in range(xs.shape[0]):
        _set_now(xs[j], now)
        run_timers(xs[j])
        _settle(z, xs[j], j, now)
    clock[b.K_LANES] = next_timer(xs, now)
    clock[b.K_TIMER] = min(clock[b.K_LANES], clock[b.K_DUE])


@kernel
def _next_heard(z: Rows) -> tuple[int, int]:
    """Return (time, instrument) of the next slot that enters strategies."""
    streams, first, at = field(z, b.Z_STREAMS, I2), NEVER, 0
    for i in range(streams.shape[0]):
        if streams[i, b.T_EVENTS] != 0:
            time = min(log_next(z, i), local_next(z, i))
            if time < first:
                first, at = time, i
    return first, at


@kernel
def replay(z: Rows, xs: Rows, budget: Int) -> int:
    """Go on until about `budget` rows more have run; R_MORE, R_END, or what Python must do first.

    R_GROW: enlarge what clock[K_GROW] names and call again. R_ROOM: roll lane 0's journal and call
    again. R_OVERFLOW: a fill's money did not fit. After the last row strategies are stopped; what
    is under way still arrives and is reported, but none is entered any more: it would see a market
    that stands still, and could go on for ever.
    """
    clock, streams = field(z, b.Z_CLOCK, I1), field(z, b.Z_STREAMS, I2)
    up_place, up_ring = field(z, b.Z_UP_PLACE, I1), field(z, b.Z_UP_RING, I2)
    down_place, down_ring = field(z, b.Z_DOWN_PLACE, I1), field(z, b.Z_DOWN_RING, I2)
    last_row, count = clock[b.K_ROWS] + budget, streams.shape[0]
    while clock[b.K_ROWS] < last_row:
        if clock[b.K_GROW] != 0:
            return R_GROW
        if clock[b.K_OVERFLOW] != 0:
            return R_OVERFLOW
        if clock[b.K_JOURNALED] != 0 and room_left(xs[0]) == 0:
            return R_ROOM
        heard, hears = NEVER, 0
        if clock[b.K_EVENTS] != 0:
            heard, hears = _next_heard(z)
        market, at, other = streams[0, b.T_TS], 0, NEVER
        for i in range(1, count):
            if streams[i, b.T_TS] < market:
                other, market, at = market - 1, streams[i, b.T_TS], i
            else:
                other = min(other, streams[i, b.T_TS])
        up, down = flight_next(up_place, up_ring), flight_next(down_place, down_ring)
        first = min(market, up, down, heard)
        if market == NEVER and heard == NEVER:
            clock[b.K_TIMER] = NEVER
            if clock[b.K_OVER] == 0:
                clock[b.K_OVER] = 1
                _end(z, xs)
                continue
            if first == NEVER:
                return R_END
        first = min(first, clock[b.K_TIMER])
        if clock[b.K_BEGUN] == 0 and first >= clock[b.K_LANES]:  # before all else of that moment
            _timers(z, xs, clock[b.K_LANES])
        elif heard == first:
            _hear_one(z, xs, hears, first)
        elif down == first:
            _report(z, xs, first)
        elif market == first:
            upto = min(up, clock[b.K_TIMER], other)
            run_exchange(z, at, min(heard, down), upto)
        elif up == first:
            _arrival(z, first)
        else:
            _timers(z, xs, first)
    return R_MORE
