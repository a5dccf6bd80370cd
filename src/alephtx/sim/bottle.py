"""Everything a simulated venue works on, as words for kernels.

One market, several lanes: a lane is one engine's orders at the simulated venues. Lanes share the
recorded book, which no order of ours moves, so a hundred parameter sets cost one pass over it; and
none sees another, so each fares as it would alone.

For Python it is `Bottle`, a namedtuple of arrays; kernels get `pack_bottle` and take what they need
with `field(z, Z_LIVE, I3)`. The recorded rows come last, one array per instrument.
"""

from typing import Any, NamedTuple

import numpy as np

from alephtx.core.backtest_schema import TIERS_MAX
from alephtx.core.instruments import Instruments
from alephtx.core.packed import pack_fields
from alephtx.core.records import EVENT, INSTRUMENT, INTENT, TICK, TOP_ROW, UPDATE
from alephtx.sim.flight import NEVER, Flight, grow_flight, make_flight
from alephtx.sim.latency import L_KIND, LATENCY_WORDS, PATHS, RECORDED
from alephtx.sim.levels import SPAN, make_levels
from alephtx.sim.queue import MODEL_WORDS
from alephtx.sim.resting import grow_resting, make_resting
from alephtx.sim.state import FAR, FILL_ROW, SIM_ORDER, STP_EXPIRE_TAKER

Rows = np.ndarray[Any, Any]

# Columns of `streams`: the recorded rows of an instrument, and what we have heard of them.
T_NEXT, T_COUNT, T_TS = 0, 1, 2  # next row on the exchange's side, rows, its time
T_BASE, T_UNIT, T_QTY_UNIT, T_WIDE = 3, 4, 5, 6  # of Tick rows; 1 = Event rows
T_VENUE, T_HEARD, T_TRADES, T_DEEP = 7, 8, 9, 10  # wanted by a strategy: tops, trades, depth
T_LOCAL, T_STAMP, T_LAGGED = 11, 12, 13  # next row on our side, newest stamp; 1 = two books
T_HEAD, T_TAIL = 14, 15  # of the log
T_BID, T_BID_QTY, T_ASK, T_ASK_QTY = 16, 17, 18, 19  # the touch last told
T_IMAGE, T_CHANGED, T_FEED_NS, T_SLOT = 20, 21, 22, 23
T_EVENTS = 24  # 1 = a strategy is entered at each slot, not by timers only
T_ODD = 25  # ODD_* bits: why an order takes the long way, see sim.desk
T_STATUS = 26  # what the venue said last, 0 = nothing
T_FLAGS, T_RARE = 27, 28  # flags of what we are told; rare slots in the log, see sim.rare
T_MARK, T_RATE, T_FUND_AT = 29, 30, 31  # mark in ticks, funding rate x 1e12 and when it is paid
T_TOLD = 38  # when the venue sent what last told us the touch
T_CHANGED_HERE = 39  # as T_CHANGED, of our late copy
T_TOPS, T_IMAGES = 32, 33  # 1 = best prices alone; images so far, of the exchange's side and ours
STREAM_WORDS = 40

ODD_BLIND, ODD_STATUS, ODD_RULES, ODD_STOPS = 1, 2, 4, 8
"""Bits of T_ODD: behind a gap, not trading, rules of the venue that each order must pass, and stops
that wait for their trigger."""

# Columns of `reach`, by side: our worst and best resting key over all lanes, levels taken from.
REACH_WORST, REACH_BEST, REACH_TAKEN = 0, 1, 2

# Words of `clock`.
K_NOW, K_ROWS, K_GROW, K_LOAD_ON = 0, 1, 2, 3
K_ROOM, K_UP_ROOM = 4, 5  # the reports that one row, the orders that one moment can bring
K_GROW_LOG, K_GROW_UP, K_GROW_DOWN, K_GROW_RESTING = 1, 2, 3, 4  # what K_GROW asks room for
K_OVERFLOW = 6  # 1 = a fee or value was too large for money
K_TIMER = 8  # when the loop must look at timers: the lanes' or the venue's own
K_EVENTS, K_OVER = 9, 10  # 1 where news enters strategies; 1 when the tapes are over
K_DUE, K_LANES = 11, 12  # when the venue acts by itself; the lanes' next timer
K_STP, K_MOVED = 13, 14  # self-trade prevention; movements of money so far
K_MARK_NS = 15  # how often the venue looks at margins, 0 = never
K_RESTING = 16  # recorded orders of the exchange's side and of ours, see sim.fifo
K_BEGUN, K_JOURNALED = 17, 18  # 1 when strategies have begun; 1 where lane 0 keeps a journal
CLOCK_WORDS = 24

# Columns of `terms`: fractions x 1e8; 1 where orders must pass the instrument's filters.
M_INITIAL, M_MAINTENANCE, M_LIQUIDATION, M_BAND, M_FILTERS = 0, 1, 2, 3, 4
M_IMPACT, M_IMPACT_NS = 5, 6  # ticks a lot x 1e8, 0 = none; see sim.impact
M_TRIGGER = 7  # what stops wait for
M_POOL, M_TIERS = 8, 9  # column of `cash` that its positions live on; tiers of its margin
M_ACTIVATION_NS, M_ACTIVATION_OF, M_AMEND = 10, 11, 12  # see sim.activation; what an amend keeps
TERM_WORDS = 13

# Columns of `tiers`: from which value on, then what is asked, see sim.tiers; fractions x 1e8.
TIER_ABOVE, TIER_RATE, TIER_DEDUCTION, TIER_INITIAL = 0, 1, 2, 3
TIER_WORDS = 4

TRIGGER_LAST, TRIGGER_MARK = 0, 1
TRIGGER_NAMES = {"last": TRIGGER_LAST, "mark": TRIGGER_MARK}

OF_ALL, OF_TAKERS = 0, 1
ACTIVATION_NAMES = {"all": OF_ALL, "takers": OF_TAKERS}

KEEPS_SMALLER, KEEPS_NOTHING = 0, 1
AMEND_NAMES = {"keeps_smaller": KEEPS_SMALLER, "keeps_nothing": KEEPS_NOTHING}


class Bottle(NamedTuple):
    """The arrays. I instruments, J lanes, V venues; see `pack_bottle` for kernels."""

    lots: Rows  # the exchange's books, see sim.levels
    bits: Rows
    marks: Rows
    local_lots: Rows  # our late copies, where a strategy reads depth
    local_bits: Rows
    local_marks: Rows
    seq: Rows  # of the market, see sim.state.Exchange
    top_seq: Rows
    top_key: Rows
    orders: Rows  # SIM_ORDER (J, I, 2, orders)
    live: Rows  # int64 (J, I, 2)
    match: Rows  # int64 (J, 1)
    taken: Rows  # int64 (J, I, 2, taken, 2)
    taken_count: Rows  # int64 (J, I, 2)
    model: Rows  # int64 (I, MODEL_WORDS)
    near: Rows  # int64 (I, 2, 3, J): each lane's worst and best resting key, levels it took from
    reach: Rows  # int64 (I, 2, 3), see REACH_*
    streams: Rows  # int64 (I, STREAM_WORDS)
    log: Rows  # TOP_ROW (I, slots): what was told and not yet heard; a power of two
    fills: Rows  # FILL_ROW (fills,)
    order: Rows  # SIM_ORDER (1,), scratch
    intent: Rows  # INTENT (1,), scratch
    instruments: Rows  # INSTRUMENT (I,)
    latency: Rows  # int64 (V, PATHS, LATENCY_WORDS)
    points: Rows  # int64 (n, 2)
    load: Rows  # int64 (V, 3): bucket, rows in it, rows in the one before
    last: Rows  # int64 (J, V, 2): newest arrival at the venue and at ours
    digest: Rows  # int64 (J,): of all orders and reports, see engine.replay
    clock: Rows  # int64 (CLOCK_WORDS,)
    up_place: Rows  # orders under way, see sim.flight
    up_ring: Rows
    up_free: Rows
    up_lane: Rows
    up_rows: Rows  # INTENT
    down_place: Rows  # reports under way
    down_ring: Rows
    down_free: Rows
    down_lane: Rows
    down_rows: Rows  # UPDATE
    held: Rows  # int64 (J, accounts, I): lots, as the venue knows them
    cash: Rows  # int64 (J, accounts, pools): money in and out, see sim.books
    terms: Rows  # int64 (I, TERM_WORDS)
    tiers: Rows  # int64 (I, TIERS_MAX, TIER_WORDS): as many as M_TIERS says
    pushed: Rows  # float64 (J, I, 2): lots that still push a price, and since when
    resting: Rows  # int64 (2, orders, words), see sim.resting
    stops: Rows  # SIM_ORDER (J, I, orders): waiting for their trigger, see sim.stops
    stop_at: Rows  # int64 (J, I, orders): the trigger of each
    stop_count: Rows  # int64 (J, I)


(
    Z_LOTS, Z_BITS, Z_MARKS, Z_LOCAL_LOTS, Z_LOCAL_BITS, Z_LOCAL_MARKS, Z_SEQ, Z_TOP_SEQ, Z_TOP_KEY,
    Z_ORDERS, Z_LIVE, Z_MATCH, Z_TAKEN, Z_TAKEN_COUNT, Z_MODEL, Z_NEAR, Z_REACH, Z_STREAMS, Z_LOG,
    Z_FILLS, Z_ORDER, Z_INTENT, Z_INSTRUMENTS, Z_LATENCY, Z_POINTS, Z_LOAD, Z_LAST, Z_DIGEST,
    Z_CLOCK, Z_UP_PLACE, Z_UP_RING, Z_UP_FREE, Z_UP_LANE, Z_UP_ROWS, Z_DOWN_PLACE, Z_DOWN_RING,
    Z_DOWN_FREE, Z_DOWN_LANE, Z_DOWN_ROWS, Z_HELD, Z_CASH, Z_TERMS, Z_TIERS,
    Z_PUSHED, Z_RESTING, Z_STOPS, Z_STOP_AT, Z_STOP_COUNT, Z_ROWS,
) = range(49)  # fmt: skip

# Samples for `field`: they give dtype and dimensions, their content is never read.
I1, I2, I3 = np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.zeros((1, 1, 1), np.int64)
F3 = np.zeros((1, 1, 1))
I4, I5 = np.zeros((1, 1, 1, 1), np.int64), np.zeros((1, 1, 1, 1, 1), np.int64)
LANE_ORDERS, ONE_ORDER = np.zeros((1, 1, 1, 1), SIM_ORDER), np.zeros(1, SIM_ORDER)
LANE_STOPS = np.zeros((1, 1, 1), SIM_ORDER)
FILLS, SLOTS = np.zeros(1, FILL_ROW), np.zeros((1, 1), TOP_ROW)
INTENTS, UPDATES, INSTRUMENTS = np.zeros(1, INTENT), np.zeros(1, UPDATE), np.zeros(1, INSTRUMENT)
TICKS, EVENTS = np.zeros(1, TICK), np.zeros(1, EVENT)


def make_bottle(
    instruments: Instruments,
    *,
    lanes: int = 1,
    span: int = SPAN,
    lagged: bool = False,
    orders_max: int = 256,
    taken_max: int = 256,
    log_slots: int = 4096,
    intents_max: int = 64,
    accounts: int = 1,
    isolated: bool = False,
    points: Rows | None = None,
) -> Bottle:
    """Return an empty bottle. isolated: with a pool of its own for each instrument.

    lagged: hold late copies of the books, for who reads depth. intents_max: orders a lane's
    strategies can send at one moment. taken_max: levels a side whose depletion is remembered.
    """
    count, venues = len(instruments), max(1, len(instruments.venues))
    market, local = make_levels(count, span), make_levels(count if lagged else 1, span)
    fills, clock = taken_max + orders_max, _clock()
    clock[K_ROOM] = lanes * count * 3 * (orders_max + accounts) + count * fills + 16
    clock[K_UP_ROOM] = lanes * intents_max
    up = make_flight(INTENT, 4 * int(clock[K_UP_ROOM]))
    down = make_flight(UPDATE, 2 * int(clock[K_ROOM]))
    rows = instruments.rows()
    reach, near, streams = _far(rows, lanes)
    latency = np.zeros((venues, PATHS, LATENCY_WORDS), np.int64)
    latency[:, 0, L_KIND] = RECORDED
    pools = len(instruments.currencies) + (count if isolated else 0)
    return Bottle(
        *market,
        *local,
        seq=np.zeros(count, np.int64),
        top_seq=np.full(count, -1, np.int64),
        top_key=np.zeros((count, 2), np.int64),
        orders=np.zeros((lanes, count, 2, orders_max), SIM_ORDER),
        live=np.zeros((lanes, count, 2), np.int64),
        match=np.zeros((lanes, 1), np.int64),
        taken=np.zeros((lanes, count, 2, taken_max, 2), np.int64),
        taken_count=np.zeros((lanes, count, 2), np.int64),
        model=np.zeros((count, MODEL_WORDS), np.int64),
        near=near,
        reach=reach,
        streams=streams,
        log=np.zeros((count, log_slots), TOP_ROW),
        fills=np.zeros(fills, FILL_ROW),
        order=np.zeros(1, SIM_ORDER),
        intent=np.zeros(1, INTENT),
        instruments=rows,
        latency=latency,
        points=np.zeros((1, 2), np.int64) if points is None else points,
        load=np.zeros((venues, 3), np.int64),
        last=np.zeros((lanes, venues, 2), np.int64),
        digest=np.zeros(lanes, np.int64),
        clock=clock,
        up_place=up.place, up_ring=up.ring, up_free=up.free, up_lane=up.lane, up_rows=up.rows,
        down_place=down.place, down_ring=down.ring, down_free=down.free, down_lane=down.lane,
        down_rows=down.rows,
        held=np.zeros((lanes, accounts, count), np.int64),
        cash=np.zeros((lanes, accounts, pools), np.int64),
        terms=_terms(rows),
        tiers=np.zeros((count, TIERS_MAX, TIER_WORDS), np.int64),
        pushed=np.zeros((lanes, count, 2)),
        resting=make_resting(),
        stops=np.zeros((lanes, count, orders_max), SIM_ORDER),
        stop_at=np.zeros((lanes, count, orders_max), np.int64),
        stop_count=np.zeros((lanes, count), np.int64),
    )  # fmt: skip


def _clock() -> Rows:
    """Return the clock's words before anything was asked for."""
    clock = np.zeros(CLOCK_WORDS, np.int64)
    clock[K_DUE] = clock[K_LANES] = NEVER
    clock[K_STP] = STP_EXPIRE_TAKER
    return clock


def _terms(rows: Rows) -> Rows:
    """Return the terms of instruments, all on the pool of their settle currency."""
    terms = np.zeros((len(rows), TERM_WORDS), np.int64)
    terms[:, M_POOL] = rows["settle"]
    return terms


def _far(rows: Rows, lanes: int) -> tuple[Rows, Rows, Rows]:
    """Return reach, near and streams of instruments of which nothing is known yet."""
    count = len(rows)
    reach = np.zeros((count, 2, 3), np.int64)
    reach[:, :, REACH_WORST], reach[:, :, REACH_BEST] = FAR, -FAR
    near = np.zeros((count, 2, 3, lanes), np.int64)
    near[:, :, 0], near[:, :, 1] = FAR, -FAR
    streams = np.zeros((count, STREAM_WORDS), np.int64)
    streams[:, T_UNIT] = streams[:, T_QTY_UNIT] = 1
    streams[:, T_TS], streams[:, T_VENUE] = NEVER, rows["venue"]
    return reach, near, streams


def pack_bottle(bottle: Bottle, tapes: list[Rows]) -> Rows:
    """Return the words for kernels. tapes: the recorded rows of every instrument, TICK or EVENT."""
    assert len(bottle) == Z_ROWS
    return pack_fields([*bottle, *tapes])


def load_tape(
    bottle: Bottle, i: int, rows: Rows, *, base: int = 0, unit: int = 1, qty_unit: int = 1,
    tops: bool = False,
) -> None:  # fmt: skip
    """Put the rows of an instrument before the exchange's and our side. tops: see T_TOPS."""
    stream = bottle.streams[i]
    stream[T_COUNT], stream[T_WIDE] = len(rows), int(rows.dtype == EVENT)
    stream[T_TOPS] = int(tops)
    stream[T_BASE], stream[T_UNIT], stream[T_QTY_UNIT] = base, unit, qty_unit
    stream[T_TS] = rows[0]["ts_event"] if len(rows) else NEVER


def grow_bottle(bottle: Bottle, what: int) -> Bottle:
    """Return the bottle with twice the room for what clock[K_GROW] names."""
    bottle.clock[K_GROW] = 0
    if what == K_GROW_LOG:
        instruments, n = bottle.log.shape
        log = np.zeros((instruments, 2 * n), TOP_ROW)
        for i, stream in enumerate(bottle.streams):
            for at in range(int(stream[T_HEAD]), int(stream[T_TAIL])):
                log[i, at & (2 * n - 1)] = bottle.log[i, at & (n - 1)]
        return bottle._replace(log=log)
    if what == K_GROW_RESTING:
        images = bottle.streams[:, T_IMAGES : T_IMAGES + 2]
        counts = bottle.clock[K_RESTING : K_RESTING + 2]
        return bottle._replace(resting=grow_resting(bottle.resting, images, counts))
    way = "up" if what == K_GROW_UP else "down"
    names = [f"{way}_{part}" for part in Flight._fields]
    grown = grow_flight(Flight(*(getattr(bottle, name) for name in names)))
    return bottle._replace(**dict(zip(names, grown, strict=True)))
