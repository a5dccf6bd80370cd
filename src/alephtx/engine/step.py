"""The compiled heart: inputs in one total order, strategies, gate, journal, orders out.

`step` returns after at most `budget` inputs. Order of service: commands, updates of all accounts
(money before prices), market events round robin over venues, timers, the leg guard. Every input is
numbered in the input log before it is looked at; every intent and update is in the journal before
it has an effect outside. The step reads no clock: F_NOW is set by the loop or by the simulated
world.

The same function serves live, shadow, paper and twins; only what fills the rings and what drains
the outbox differ.
"""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.core.words import (
    CLEAR,
    DELTA,
    GAP,
    LAPPED,
    RETOLD_NS,
    STALE,
    STATUS,
    TOP,
    TRADE,
    UNTRADEABLE_MASK,
)
from alephtx.engine.context import (
    A_COMMAND,
    A_COMMANDS,
    A_ECHO,
    A_EMIT,
    A_ENTER,
    A_INTENTS,
    A_LEGS,
    A_PYTHON,
    A_UPDATE,
    C_BAD_ROWS,
    C_EVENTS,
    C_LAPPED,
    C_TRADES,
    COMMAND_DISABLE,
    COMMAND_ENABLE,
    COMMAND_HALT,
    COMMAND_LIMIT,
    COMMAND_RESUME,
    COMMAND_STOP,
    COMMAND_SWAP,
    EVENTS,
    F_ADDRESSES,
    F_BEATS,
    F_COMMAND,
    F_CONTROL,
    F_COUNTERS,
    F_DEPTH_WANTED,
    F_EVENT,
    F_GATE_MARKET,
    F_INPUTS,
    F_INTENTS,
    F_JOURNAL,
    F_LANES,
    F_LEVELS,
    F_MAP,
    F_NEXT_SLOT,
    F_NOW,
    F_ROUTES,
    F_SLOT,
    F_STRATEGIES,
    F_TOP,
    F_UPDATE,
    F_UPDATE_RINGS,
    F_VENUE_OF,
    I1,
    I2,
    I3,
    I4,
    INTENTS,
    R_BUSY,
    R_COMMAND,
    R_IDLE,
    R_JOURNAL,
    RING_COMMAND,
    RING_ECHO,
    RING_LAPPED,
    RING_PYTHON,
    RING_STALE,
    RING_TIMER,
    S_ENABLED,
    S_EVENTS,
    S_ON_EVENT,
    S_ON_START,
    S_ON_STOP,
    S_ON_TIMER,
    S_ON_UPDATE,
    S_TIMER_NEXT,
    S_TIMER_NS,
    S_TRADES,
    TOPS,
    UPDATES,
    X_BEATS_AT,
    X_COMMAND_COUNT,
    X_DIRTY,
    X_HALTED,
    X_HALTS,
    X_INPUT_SEQ,
    X_LANES_OPEN,
    X_REASON,
    X_STOPPING,
    X_UPDATE_STRATEGY,
)
from alephtx.engine.leg_lanes import rearm_lanes
from alephtx.engine.limit_apply import apply_change
from alephtx.engine.swap_apply import apply_swap
from alephtx.engine.updates import pop_update, room_left
from alephtx.matrix.inputlog import input_append
from alephtx.matrix.levels import levels_read
from alephtx.matrix.ring import ring_head, ring_news, ring_read
from alephtx.matrix.spsc import spsc_pop, spsc_waits
from alephtx.matrix.tops import top_read
from alephtx.matrix.writers import halt_read, last_beat, venue_writer
from alephtx.risk.status import forget_status, note_market

INTENT_BYTES = 128
BEAT_STALE_NS = 500_000_000
"""A feeder beats every 50 ms; ten missed beats are death."""
BEAT_LOOK_NS = 1_000_000
"""How often an engine looks at them: five hundred times as often as they can matter."""


@kernel
def enter_stage(x: Rows, s: Int, hook: Int) -> int:
    """Enter a strategy by one of its hooks and emit what it wants; see `emit.enter`."""
    return call_stage(field(x, F_ADDRESSES, I1)[A_ENTER], x, s, hook)


@kernel
def _drain_updates(x: Rows, budget: Int) -> int:
    """Take the updates of every account and tell the strategies; returns how many."""
    update_rings, control = field(x, F_UPDATE_RINGS, I1), field(x, F_CONTROL, I1)
    addresses, update = field(x, F_ADDRESSES, I1), field(x, F_UPDATE, UPDATES)
    inputs, now = field(x, F_INPUTS, I1), field(x, F_NOW, I1)
    done = 0
    while done < budget and spsc_pop(addresses[A_ECHO], addresses[A_UPDATE]) == 1:
        s = np.int64(update[0]["strategy"])
        control[X_INPUT_SEQ] = input_append(inputs, RING_ECHO, s, now[0])
        enter_stage(x, s, S_ON_UPDATE)
        done += 1
    for account in range(len(update_rings)):
        while done < budget and pop_update(x, account) == 1:
            done += 1
            if control[X_UPDATE_STRATEGY] >= 0:
                enter_stage(x, control[X_UPDATE_STRATEGY], S_ON_UPDATE)
    return done


@kernel
def deliver(x: Rows, instrument: Int, is_trade: Int) -> None:
    """Give the event in the context to every strategy routed to the instrument."""
    strategies, routes = field(x, F_STRATEGIES, I2), field(x, F_ROUTES, I2)
    for s in range(len(strategies)):
        if routes[instrument, s] == 0 or strategies[s, S_ENABLED] == 0:
            continue
        if is_trade and strategies[s, S_TRADES] == 0:
            continue
        strategies[s, S_EVENTS] += 1
        enter_stage(x, s, S_ON_EVENT)


@kernel
def _set_event(x: Rows, i: Int, kind: Int, seq: Int, qty: Int) -> None:
    """Write an event of the engine's own about an instrument: LAPPED or GAP."""
    event, top, now = field(x, F_EVENT, EVENTS), field(x, F_TOP, TOPS), field(x, F_NOW, I1)
    event[0]["ts_event"], event[0]["ts_recv"] = top[i]["ts_event"], now[0]
    event[0]["seq"], event[0]["price"], event[0]["qty"] = seq, 0, qty
    event[0]["instrument"], event[0]["kind"] = i, kind
    event[0]["side"], event[0]["flags"] = 0, 0


@kernel
def slot_to_event(x: Rows) -> int:
    """Turn the ring slot in F_SLOT into the event in F_EVENT; its instrument, -1 for one unknown.

    The slot of a book event carries the touch, which goes into the view.
    """
    slot, event = field(x, F_SLOT, TOPS), field(x, F_EVENT, EVENTS)
    top, counters = field(x, F_TOP, TOPS), field(x, F_COUNTERS, I1)
    aux = slot[0]["aux"]
    instrument, kind = aux & 0xFFFFFFFF, (aux >> 32) & 0xFF
    if instrument >= len(top):
        counters[C_BAD_ROWS] += 1
        return -1
    event[0]["ts_event"], event[0]["ts_recv"] = slot[0]["ts_event"], slot[0]["ts_recv"]
    event[0]["seq"] = slot[0]["word"] >> 1
    event[0]["price"], event[0]["qty"] = slot[0]["bid"], slot[0]["bid_qty"]
    event[0]["instrument"], event[0]["kind"] = instrument, kind
    event[0]["flags"] = (aux >> 40) & 0xFFFF
    event[0]["side"] = ((aux >> 56) & 0xFF) - 1
    if kind not in (TOP, DELTA):
        now = field(x, F_NOW, I1)
        note_market(field(x, F_GATE_MARKET, I2), instrument, kind, slot[0]["bid"], now[3])
    else:
        top[instrument] = slot[0]
        top[instrument]["aux"] = (aux >> 40) & 0xFF
    counters[C_TRADES if kind == TRADE else C_EVENTS] += 1
    return instrument


@kernel
def stands(x: Rows) -> bool:
    """Tell whether the slot in F_SLOT says only that a touch stands which nobody doubts yet."""
    slot, top = field(x, F_SLOT, TOPS), field(x, F_TOP, TOPS)
    aux = slot[0]["aux"]
    instrument = aux & 0xFFFFFFFF
    if (aux >> 32) & 0xFF != DELTA or instrument >= len(top):
        return False
    if field(x, F_DEPTH_WANTED, I1)[instrument] != 0:
        return False
    if (top[instrument]["aux"] ^ (aux >> 40)) & UNTRADEABLE_MASK != 0:
        return False
    # A clock that was set back must not keep a touch from being told until it has caught up.
    return bool(abs(slot[0]["ts_event"] - top[instrument]["ts_event"]) < RETOLD_NS)


@kernel
def take_slot(x: Rows) -> None:
    """Turn the ring slot in F_SLOT into an event, refresh the private view and deliver it.

    Where no strategy reads depth, a change of it is news only every RETOLD_NS.
    """
    if stands(x):
        return
    instrument = slot_to_event(x)
    if instrument < 0:
        return
    kind = np.int64(field(x, F_EVENT, EVENTS)[0]["kind"])
    is_trade = kind == TRADE
    if not is_trade:
        top, matrix = field(x, F_TOP, TOPS), field(x, F_MAP, I1)
        if kind in (CLEAR, GAP, STATUS):  # these leave the book to the matrix
            top_read(matrix, instrument, top[instrument : instrument + 1])
        if field(x, F_DEPTH_WANTED, I1)[instrument]:
            levels_read(matrix, instrument, field(x, F_LEVELS, I4)[instrument])
    deliver(x, instrument, is_trade)


@kernel
def lapped(x: Rows, venue: Int) -> None:
    """Reread every top of a venue whose ring overran us and go on from the ring's head."""
    matrix = field(x, F_MAP, I1)
    next_slot = field(x, F_NEXT_SLOT, I1)
    control = field(x, F_CONTROL, I1)
    inputs = field(x, F_INPUTS, I1)
    now = field(x, F_NOW, I1)
    counters = field(x, F_COUNTERS, I1)
    venue_of = field(x, F_VENUE_OF, I1)
    top = field(x, F_TOP, TOPS)
    head = ring_head(matrix, venue)
    lost: Int = head - next_slot[venue]
    control[X_INPUT_SEQ] = input_append(inputs, RING_LAPPED + venue, lost, now[0])
    counters[C_LAPPED] += lost
    next_slot[venue] = max(1, head - 1)
    for i in range(len(venue_of)):
        if venue_of[i] != venue:
            continue
        top_read(matrix, i, top[i : i + 1])
        forget_status(field(x, F_GATE_MARKET, I2), i)
        _set_event(x, i, LAPPED, head, lost)
        deliver(x, i, False)


@kernel
def _drain_events(x: Rows, budget: Int) -> int:
    """Take market events round robin; returns how many."""
    next_slot = field(x, F_NEXT_SLOT, I1)
    matrix = field(x, F_MAP, I1)
    slot = field(x, F_SLOT, TOPS)
    control = field(x, F_CONTROL, I1)
    inputs = field(x, F_INPUTS, I1)
    now = field(x, F_NOW, I1)
    done = 0
    while done < budget:
        before = done
        venue = ring_news(matrix, next_slot, 0)
        while venue < len(next_slot):
            k = next_slot[venue]
            got = ring_read(matrix, venue, k, slot)
            if got < 0:
                lapped(x, venue)
            elif got == 1:
                control[X_INPUT_SEQ] = input_append(inputs, venue, k, now[0])
                next_slot[venue] = k + 1
                take_slot(x)
            done += 1 if got != 0 else 0
            venue = ring_news(matrix, next_slot, venue + 1)
        if done == before:
            break
    return done


@kernel
def run_timers(x: Rows) -> int:
    """Run the timers that are due; a timer that fell behind runs once."""
    strategies = field(x, F_STRATEGIES, I2)
    now = field(x, F_NOW, I1)
    control = field(x, F_CONTROL, I1)
    inputs = field(x, F_INPUTS, I1)
    done = 0
    for s in range(len(strategies)):
        every = strategies[s, S_TIMER_NS]
        if every == 0 or strategies[s, S_ENABLED] == 0 or strategies[s, S_ON_TIMER] == 0:
            continue
        if strategies[s, S_TIMER_NEXT] == 0:
            strategies[s, S_TIMER_NEXT] = now[0] + every
        if now[0] < strategies[s, S_TIMER_NEXT]:
            continue
        strategies[s, S_TIMER_NEXT] = now[0] + every
        control[X_INPUT_SEQ] = input_append(inputs, RING_TIMER, s, now[0])
        enter_stage(x, s, S_ON_TIMER)
        done += 1
    return done


@kernel
def check_beats(x: Rows) -> int:
    """Hold a venue's instruments stale while its feeder gives no sign of life; tell strategies."""
    next_slot = field(x, F_NEXT_SLOT, I1)
    matrix = field(x, F_MAP, I1)
    now = field(x, F_NOW, I1)
    beats = field(x, F_BEATS, I1)
    control = field(x, F_CONTROL, I1)
    inputs = field(x, F_INPUTS, I1)
    venue_of = field(x, F_VENUE_OF, I1)
    top = field(x, F_TOP, TOPS)
    done = 0
    for venue in range(len(next_slot)):
        writer = venue_writer(matrix, venue)
        if writer < 0:
            continue
        dead = 1 if now[3] - last_beat(matrix, writer) > BEAT_STALE_NS else 0
        if dead == beats[venue]:
            continue
        beats[venue] = dead
        control[X_INPUT_SEQ] = input_append(inputs, RING_STALE, venue << 1 | dead, now[0])
        for i in range(len(venue_of)):
            if venue_of[i] != venue or dead == 0:
                continue
            top[i]["aux"] |= STALE
            _set_event(x, i, GAP, 0, 0)
            deliver(x, i, False)
        done += 1
    return done


@kernel
def _resume(control: Rows, matrix: Rows) -> None:
    """Trade again, unless a halt stands; that one counts as obeyed, since its lift resumes too."""
    if halt_read(matrix) == 0:
        control[X_HALTED] = 0
        return
    control[X_HALTED] = 1
    control[X_HALTS] += 1


@kernel
def _drain_commands(x: Rows) -> int:
    """Obey commands from the main thread, and take the intents of uncompiled strategies."""
    addresses = field(x, F_ADDRESSES, I1)
    control = field(x, F_CONTROL, I1)
    inputs = field(x, F_INPUTS, I1)
    now = field(x, F_NOW, I1)
    command = field(x, F_COMMAND, I1)
    strategies = field(x, F_STRATEGIES, I2)
    intents = field(x, F_INTENTS, INTENTS)
    counters = field(x, F_COUNTERS, I1)
    done = 0
    while spsc_pop(addresses[A_COMMANDS], addresses[A_COMMAND]) == 1:
        control[X_COMMAND_COUNT] += 1
        control[X_INPUT_SEQ] = input_append(inputs, RING_COMMAND, control[X_COMMAND_COUNT], now[0])
        kind, argument = command[0], command[1]
        if kind == COMMAND_HALT:
            control[X_HALTED] = 1
        elif kind == COMMAND_RESUME:
            _resume(control, field(x, F_MAP, I1))
        elif kind == COMMAND_ENABLE:
            strategies[argument, S_ENABLED] = 1
            rearm_lanes(field(x, F_LANES, I3)[argument], now[0])
            enter_stage(x, argument, S_ON_START)
        elif kind == COMMAND_DISABLE:
            enter_stage(x, argument, S_ON_STOP)
            strategies[argument, S_ENABLED] = 0
        elif kind == COMMAND_LIMIT:
            apply_change(field(x, F_JOURNAL, I1), command, control[X_INPUT_SEQ], now[0])
        elif kind == COMMAND_SWAP:
            apply_swap(x, command)
        elif kind == COMMAND_STOP:
            for s in range(len(strategies)):
                if strategies[s, S_ENABLED]:
                    enter_stage(x, s, S_ON_STOP)
                    strategies[s, S_ENABLED] = 0
            control[X_STOPPING] = 1
        control[X_REASON] |= R_COMMAND
        done += 1
    while spsc_pop(addresses[A_PYTHON], addresses[A_INTENTS]) == 1:
        source: Int = np.int64(intents[0]["strategy"])
        seen = intents[0]["input_seq"]
        n: Int = np.int64(intents[0]["rule"])
        control[X_DIRTY] = len(intents)
        control[X_INPUT_SEQ] = input_append(inputs, RING_PYTHON, seen, now[0])
        if source < len(strategies) and 1 <= n <= len(intents):
            call_stage(addresses[A_EMIT], x, source, n)
        else:
            counters[C_BAD_ROWS] += 1
        done += 1
    return done


# What a step without news asks, in place: each question is a load or two, while a call of the part
# that answers it saves registers and looks up a dozen arrays first (8 to 20 ns, measured).


@inline_kernel
def _commands_wait(x: Rows) -> bool:
    addresses = field(x, F_ADDRESSES, I1)
    return spsc_waits(addresses[A_COMMANDS]) or spsc_waits(addresses[A_PYTHON])


@inline_kernel
def _updates_wait(x: Rows) -> bool:
    update_rings = field(x, F_UPDATE_RINGS, I1)
    waits = spsc_waits(field(x, F_ADDRESSES, I1)[A_ECHO])
    for account in range(len(update_rings)):
        waits = waits or spsc_waits(update_rings[account])
    return waits


@inline_kernel
def _events_wait(x: Rows) -> bool:
    next_slot = field(x, F_NEXT_SLOT, I1)
    return ring_news(field(x, F_MAP, I1), next_slot, 0) < len(next_slot)


@inline_kernel
def _beats_due(x: Rows) -> bool:
    """Tell whether the feeders' beats are worth a look; a clock that was set back makes it so."""
    control, now = field(x, F_CONTROL, I1), field(x, F_NOW, I1)
    if 0 <= now[3] - control[X_BEATS_AT] < BEAT_LOOK_NS:
        return False
    control[X_BEATS_AT] = now[3]
    return True


@inline_kernel
def _timers_due(x: Rows) -> bool:
    strategies, now = field(x, F_STRATEGIES, I2), field(x, F_NOW, I1)
    due = False
    for s in range(len(strategies)):
        due = due or (strategies[s, S_TIMER_NS] != 0 and strategies[s, S_TIMER_NEXT] <= now[0])
    return due


@kernel
def step(x: Rows, budget: Int) -> int:
    """Serve at most about `budget` inputs; returns a set of R_ bits, R_IDLE when nothing came.

    Returns R_JOURNAL without consuming anything when journal or input log lack room for a whole
    step: the caller makes room and calls again.
    """
    control = field(x, F_CONTROL, I1)
    matrix = field(x, F_MAP, I1)
    if room_left(x) == 0:
        return R_JOURNAL
    control[X_REASON] = R_IDLE
    if halt_read(matrix) != 0 and control[X_HALTED] == 0:
        control[X_HALTED] = 1
        control[X_HALTS] += 1
    done = _drain_commands(x) if _commands_wait(x) else 0
    if _updates_wait(x):
        done += _drain_updates(x, budget)
    if _events_wait(x):
        done += _drain_events(x, budget)
    if _beats_due(x):
        done += check_beats(x)
    if _timers_due(x):
        done += run_timers(x)
    if control[X_LANES_OPEN] != 0:
        done += call_stage(field(x, F_ADDRESSES, I1)[A_LEGS], x, 0, 0)
    if done:
        control[X_REASON] |= R_BUSY
    return control[X_REASON]
