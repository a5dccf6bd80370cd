"""Everything the step works on.

For Python it is `Context`, a namedtuple of arrays. Kernels get `pack(ctx)`: one int64 array that
says where each array is, and take what they need with `field(x, F_TOP, TOPS)`. All memory is the
engine's own except what `map` (matrix), `journal` and `inputs` address; nothing here is read or
written by another thread while a step runs, except the rings, which are made for it.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.histogram import make_histogram
from alephtx.core.instruments import Instruments
from alephtx.core.packed import FIELD_WORDS, pack_fields
from alephtx.core.records import (
    EVENT,
    INSTRUMENT,
    INTENT,
    ORDER,
    POSITION,
    SIGNAL_ROW,
    TOP_ROW,
    UPDATE,
)
from alephtx.core.view import View
from alephtx.execution.orders import OUTCOME, OrderTable
from alephtx.risk.limits import GateState

Rows = np.ndarray[Any, Any]

INTENTS_MAX = 64
"""Intents one call of a strategy may write."""

# Columns of `strategies`.
S_ON_EVENT, S_ON_UPDATE, S_ON_TIMER, S_ON_START, S_ON_STOP = 0, 1, 2, 3, 4
S_ENABLED, S_TIMER_NS, S_TIMER_NEXT, S_TRADES, S_DEPTH, S_WARM_UNTIL = 5, 6, 7, 8, 9, 10
S_EVENTS, S_INTENTS, S_DENIED, S_LEG_NS = 11, 12, 13, 14
S_LAYER, S_BUDGET_NS, S_OVER, S_DECISIONS = 15, 16, 17, 18  # see `layers`
S_CANARY, S_ERRORS = 19, 20  # the packed context of `swap_canary`, 0 = none; errors so far
STRATEGY_WORDS = 32

# Words of `control`.
X_NEXT_ORDER, X_HALTED, X_REASON, X_UPDATE_COUNT, X_COMMAND_COUNT, X_JOURNAL_FULL = 0, 1, 2, 3, 4, 5
X_INPUTS_FULL, X_INPUT_SEQ, X_STOPPING, X_UPDATE_STRATEGY = 6, 7, 8, 9
X_LANES_OPEN, X_GUARDING, X_DIRTY = 10, 11, 12  # X_DIRTY: rows of intents to wipe
X_MEASURE = 13  # 1 = stages may read the clock to measure themselves; 0 in a simulated world
X_HALTS = 14  # halts by the halt word that the step obeyed by itself; see `Halts.obey`
X_BEATS_AT = 30  # monotonic ns of the last look at the feeders' beats
CONTROL_WORDS = 32

# Words of `counters`.
C_EVENTS, C_TRADES, C_UPDATES, C_INTENTS, C_DENIED, C_ORDERS, C_FILLS, C_LAPPED = range(8)
C_STRATEGY_ERRORS, C_OVERFLOWS, C_BAD_ROWS, C_ALARMS, C_STALE = 8, 9, 10, 11, 12
C_LEG_CLOSINGS, C_LEG_ORDERS, C_LEG_HALTS = 13, 14, 15
C_DENIED_BY = 16  # + verdict code, up to 32
COUNTER_WORDS = 64

# Rows of `histograms`.
HIST_MATRIX_TO_INTENT, HIST_STEP = 0, 1
HISTOGRAMS = 2

# What step returns: a set of bits.
R_IDLE, R_BUSY, R_OUTBOX, R_JOURNAL, R_COMMAND, R_ASK = 0, 1, 2, 4, 8, 16

# Ring numbers in the input log: venues come first.
RING_UPDATES, RING_COMMAND, RING_TIMER, RING_PYTHON, RING_STALE = 64, 128, 129, 130, 131
RING_ECHO = 132  # a denial told back to its strategy
RING_LEGS = 133  # the leg guard acts for a strategy
RING_LAPPED = 160  # + venue

# Words of a lane; stages.
L_NET, L_STAGE, L_SINCE, L_UNTIL, L_NEXT, L_TRIES, L_CROSS, L_RISK, L_WHY = range(9)
LANE_WORDS = 12
LANE_REST, LANE_OPEN, LANE_CLOSING, LANE_BROKEN = 0, 1, 2, 3

# Commands: int64 (8,): kind, argument, ...
COMMAND_HALT, COMMAND_RESUME, COMMAND_ENABLE, COMMAND_DISABLE, COMMAND_STOP = 1, 2, 3, 4, 5
COMMAND_LIMIT = 16  # see limit_apply
COMMAND_SWAP = 32  # see swap_apply
COMMAND_BYTES = 64


class Context(NamedTuple):
    """The step's world. S strategies, I instruments, V venues, A accounts."""

    map: Rows  # the matrix, see matrix.layout
    journal: Rows  # the journal's map
    inputs: Rows  # the input log's map
    now: Rows  # int64 (4,), see View.now
    top: Rows  # TOP_ROW (I,)
    levels: Rows  # int64 (I, 2, depth, 2)
    signals: Rows  # SIGNAL_ROW (signals,)
    instruments: Rows  # INSTRUMENT (I,)
    positions: Rows  # POSITION (S, I)
    account_positions: Rows  # POSITION (A, I)
    strategies: Rows  # int64 (S, STRATEGY_WORDS)
    data: Rows  # int64 (S, 4): addresses and sizes of params and state
    routes: Rows  # int64 (I, S): 1 = the strategy trades or watches the instrument
    account_of: Rows  # int64 (S, V): the account a strategy uses at a venue, -1 none
    venue_of: Rows  # int64 (I,)
    depth_wanted: Rows  # int64 (I,)
    next_slot: Rows  # int64 (V,)
    beats: Rows  # int64 (V,): 1 while a venue is held stale because its feeder is silent
    update_rings: Rows  # int64 (A,): addresses
    control: Rows  # int64 (CONTROL_WORDS,)
    counters: Rows  # int64 (COUNTER_WORDS,)
    histograms: Rows  # int64 (HISTOGRAMS, buckets)
    slot: Rows  # scratch from here: TOP_ROW (1,)
    event: Rows  # EVENT (1,)
    update: Rows  # UPDATE (1,)
    denial: Rows  # UPDATE (1,): what a denied order's strategy hears
    intents: Rows  # INTENT (INTENTS_MAX,)
    outcome: Rows  # OUTCOME (1,)
    realized: Rows  # int64 (1,)
    command: Rows  # int64 (8,)
    addresses: Rows  # int64 (ADDRESS_WORDS,): of scratch rows, rings and stages, see A_*
    lanes: Rows  # int64 (S, currencies, LANE_WORDS): what grouped orders left open, see leg_lanes
    legs: Rows  # int64 (S, I): 1 = the leg guard may close the strategy's legs here
    direct: Rows  # int64: packed fields of the direct path, see `direct`
    table: OrderTable
    gate: GateState


(
    F_MAP, F_JOURNAL, F_INPUTS, F_NOW, F_TOP, F_LEVELS, F_SIGNALS, F_INSTRUMENTS, F_POSITIONS,
    F_ACCOUNT_POSITIONS, F_STRATEGIES, F_DATA, F_ROUTES, F_ACCOUNT_OF, F_VENUE_OF, F_DEPTH_WANTED,
    F_NEXT_SLOT, F_BEATS, F_UPDATE_RINGS, F_CONTROL, F_COUNTERS, F_HISTOGRAMS, F_SLOT, F_EVENT,
    F_UPDATE, F_DENIAL, F_INTENTS, F_OUTCOME, F_REALIZED, F_COMMAND, F_ADDRESSES, F_LANES,
    F_LEGS, F_DIRECT, F_TABLE,
) = range(35)  # fmt: skip
F_GATE = F_TABLE + len(OrderTable._fields)
F_GATE_RESYNC, F_GATE_FIRM, F_GATE_ACCOUNTS, F_GATE_CELLS, F_GATE_MARKET, F_GATE_STALE = (
    F_GATE + GateState._fields.index(name)
    for name in ("resync", "firm", "accounts", "cells", "market", "stale_ns")
)
"""Numbers of the packed arrays: Context's order, table and gate flattened at the end."""

# Samples for `field`: they give dtype and dimensions, their content is never read.
I1, I2, I4 = np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.zeros((1, 1, 1, 1), np.int64)
I3 = np.zeros((1, 1, 1), np.int64)
TOPS, EVENTS, UPDATES = np.zeros(1, TOP_ROW), np.zeros(1, EVENT), np.zeros(1, UPDATE)
INTENTS, OUTCOMES, SIGNALS = np.zeros(1, INTENT), np.zeros(1, OUTCOME), np.zeros(1, SIGNAL_ROW)
INSTRUMENTS, CLOSED = np.zeros(1, INSTRUMENT), np.zeros(1, ORDER)
POSITIONS, ORDERS = np.zeros((1, 1), POSITION), np.zeros((1, 1), ORDER)

A_UPDATE, A_INTENTS, A_COMMAND, A_OUTCOME = 0, 1, 2, 3
A_OUTBOX, A_COMMANDS, A_PYTHON, A_ASKS = 4, 5, 6, 7
A_EMIT, A_ENTER, A_APPLY = 8, 9, 10
A_ECHO, A_DENIAL, A_LEGS = 11, 12, 13
A_LINKS, A_SEND, A_WAKE = 14, 15, 16  # see `direct`; A_WAKE: an eventfd of the main thread
A_LAYERS, A_CANARY = 17, 18
A_JUDGE = 19  # see `emit.judge`
A_NEAR = 20  # what the loop keeps in the near cache, 0 = nothing; see `near`
ADDRESS_WORDS = 32


DIRECT_WORDS = 8 * FIELD_WORDS


def pack(ctx: Context) -> Rows:
    """Return the words by which kernels find every array of a context."""
    assert Context._fields[F_ADDRESSES] == "addresses"
    own: Any = ctx[:F_TABLE]
    return pack_fields([*own, *ctx.table, *ctx.gate])


def view_of(ctx: Context, strategy: int) -> View:
    """Return one strategy's view of the context; the same memory, from Python."""
    return View(
        ctx.now,
        ctx.top,
        ctx.levels,
        ctx.signals,
        ctx.positions[strategy],
        ctx.table.orders[strategy],
        ctx.table.open_count[strategy],
        ctx.instruments,
    )


def _flat(owner: str, owners: int, count: int) -> Rows:
    """Return the flat positions of every owner in every instrument."""
    positions = np.zeros((owners, count), POSITION)
    positions["instrument"] = np.arange(count)[None, :]
    positions[owner] = np.arange(owners)[:, None]
    return positions


def make_context(
    *,
    matrix_map: Rows,
    journal_map: Rows,
    inputs_map: Rows,
    instruments: Instruments,
    table: OrderTable,
    gate: GateState,
    strategies: int,
    accounts: int,
    depth: int,
    signals: int,
    update_rings: list[int],
    outbox: int,
    commands: int,
    python_intents: int,
    asks: int,
    echo: int,
) -> Context:
    """Allocate a context; routes, accounts, strategies and control are filled by the session."""
    count, venues = len(instruments), max(1, len(instruments.venues))
    rows = instruments.rows()
    update, intents = np.zeros(1, UPDATE), np.zeros(INTENTS_MAX, INTENT)
    command, outcome = np.zeros(8, np.int64), np.zeros(1, OUTCOME)
    scratch = (update, intents, command, outcome)
    rings = [outbox, commands, python_intents, asks]
    addresses = np.zeros(ADDRESS_WORDS, np.int64)
    addresses[:8] = [a.ctypes.data for a in scratch] + rings
    denial = np.zeros(1, UPDATE)
    addresses[A_ECHO], addresses[A_DENIAL] = echo, denial.ctypes.data
    return Context(
        map=matrix_map,
        journal=journal_map,
        inputs=inputs_map,
        now=np.zeros(4, np.int64),
        top=np.zeros(count, TOP_ROW),
        levels=np.zeros((count, 2, depth, 2), np.int64),
        signals=np.zeros(signals, SIGNAL_ROW),
        instruments=rows,
        positions=_flat("strategy", strategies, count),
        account_positions=_flat("account", max(1, accounts), count),
        table=table,
        gate=gate,
        strategies=np.zeros((strategies, STRATEGY_WORDS), np.int64),
        data=np.zeros((strategies, 4), np.int64),
        routes=np.zeros((count, strategies), np.int64),
        account_of=np.full((strategies, venues), -1, np.int64),
        venue_of=rows["venue"].astype(np.int64),
        depth_wanted=np.zeros(count, np.int64),
        next_slot=np.ones(venues, np.int64),
        update_rings=np.array(update_rings, np.int64),
        control=np.zeros(CONTROL_WORDS, np.int64),
        counters=np.zeros(COUNTER_WORDS, np.int64),
        histograms=np.stack([make_histogram() for _ in range(HISTOGRAMS)]),
        slot=np.zeros(1, TOP_ROW),
        event=np.zeros(1, EVENT),
        update=update,
        denial=denial,
        intents=intents,
        outcome=outcome,
        realized=np.zeros(1, np.int64),
        command=command,
        addresses=addresses,
        beats=np.zeros(venues, np.int64),
        lanes=np.zeros((strategies, len(instruments.currencies), LANE_WORDS), np.int64),
        legs=np.zeros((strategies, count), np.int64),
        direct=np.zeros(DIRECT_WORDS, np.int64),
    )
