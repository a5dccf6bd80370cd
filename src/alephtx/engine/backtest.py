"""A backtest: recorded rows, the engine's own stages, simulated venues; as fast as it goes.

    test = Backtest([config], instruments, tapes, venue=Venue(entry=Delay(ns=5_000_000))).run()
    test.lanes[0].ctx.positions

tapes: one per instrument, in the order of their table: rows of TICK or EVENT (see core.records).
Several configs run side by side over one pass of the market, a lane each, with its own strategies'
params, orders, positions and gate. What is simulated, and how: docs/simulation-market.md; rows that
are not are refused with the tape, not passed over.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from alephtx.core.config_schema import Config
from alephtx.core.errors import SimulationError
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import entry
from alephtx.core.packed import FIELD_WORDS
from alephtx.engine import context as c
from alephtx.engine import replay as r
from alephtx.engine.arena import Arena
from alephtx.engine.assemble import lay_out, place_stages, place_strategies
from alephtx.engine.context import Rows, pack
from alephtx.engine.margins import any_isolated
from alephtx.engine.replay_python import host_python, raising
from alephtx.engine.state_hash import inputs_hash, lane_hash
from alephtx.engine.tape_check import Seen, check_tape
from alephtx.engine.tapes import (
    Delay,
    Tape,
    Venue,
    Ways,
    check_queue,
    check_venue,
    deepened,
    feeds_of,
    paths_of,
    points_of,
    rule,
)
from alephtx.matrix.inputlog import null_inputs
from alephtx.matrix.journal import Journal
from alephtx.matrix.journal_append import null_journal
from alephtx.matrix.layout import Geometry
from alephtx.risk.state import STOPS
from alephtx.sim import bottle as b
from alephtx.sim.latency import L_AT, L_COUNT, L_DELAY, L_FIRST, L_KIND, L_RATIO_E6
from alephtx.sim.latency import NAMES as LATENCIES
from alephtx.sim.levels import SPAN
from alephtx.sim.queue import FIFO, Q_FILL, Q_POWER_E6, Q_QUEUE
from alephtx.sim.queue import NAMES as QUEUES

__all__ = ["Backtest", "Delay", "Tape", "Venue", "Ways"]

BATCH_ROWS = 1 << 20
REMEMBERED, REMEMBERED_BY_MANY, MANY = 256, 64, 8
"""Ended orders that a late report may still be about; fewer where many lanes share the cache."""

TRADES = 16
"""Trades remembered: no venue here says one twice."""


class _NoMatrix(NamedTuple):
    """What stands in for shared memory: a backtest has none."""

    map: Rows
    geometry: Geometry


class Lane(NamedTuple):
    """One engine among those that share the market."""

    ctx: c.Context
    rings: Any
    strategies: list[Any]
    words: Rows


class Backtest:
    """See the module. words: the bottle's, for kernels of `sim`. bottle: its arrays.

    journal: keeps the first config's intents and reports, as a live engine's does. start_ns: when
    strategies begin; the market before it runs without them. remembered: ended orders that a late
    report may be about. alarms: what ended a strategy in plain Python, a line each.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        instruments: Instruments,
        tapes: Sequence[Tape],
        *,
        venue: Venue | None = None,
        span: int = SPAN,
        batch_rows: int = BATCH_ROWS,
        remembered: int = 0,
        journal: Journal | None = None,
        start_ns: int = 0,
    ) -> None:
        if len(tapes) != len(instruments):
            raise SimulationError(
                f"{len(tapes)} tapes for {len(instruments)} instruments",
                remedy="give one of each, in the order of the table",
            )
        venue = venue or Venue()
        check_venue(venue, instruments.venues)
        tapes, seen = list(tapes), list[Seen]()
        feeds = feeds_of(venue, instruments, tapes, stated=configs[0].backtest is not None)
        for i, (instrument, feed) in enumerate(zip(instruments, feeds, strict=True)):
            first = check_tape(tapes[i].rows, instrument.key, feed)
            whole = deepened(tapes[i], first, venue, instrument)
            same = whole is tapes[i]
            seen.append(first if same else check_tape(whole.rows, instrument.key, feed))
            tapes[i] = whole
        check_queue(venue, [instrument.key for instrument in instruments], seen)
        self.instruments, self.seen = instruments, seen
        self._batch, self._journal, self._start_ns = batch_rows, journal, start_ns
        self._remembered = remembered or (REMEMBERED_BY_MANY if len(configs) > MANY else REMEMBERED)
        self._arena = Arena()
        self.lanes = [self._lane(number, config) for number, config in enumerate(configs)]
        self.alarms: list[str] = []
        self._python = host_python(self.lanes, self.alarms)
        wanted = self.lanes[0].ctx.depth_wanted
        self._two_books = [bool(wanted[i]) or one.overtaken for i, one in enumerate(seen)]
        intents = c.INTENTS_MAX * max(1, len(configs[0].strategies))
        self.bottle = b.make_bottle(
            instruments, lanes=len(configs), span=span, intents_max=intents,
            lagged=any(self._two_books), taken_max=256 if len(configs) == 1 else 64,
            orders_max=max(16, configs[0].risk.open_orders_max),
            points=points_of(venue, instruments.venues),
            accounts=max(1, *(len(config.accounts) for config in configs)),
            isolated=any_isolated(venue),
        )  # fmt: skip
        self._tapes, self._rows = tapes, [tape.rows for tape in tapes]
        for i, tape in enumerate(tapes):
            b.load_tape(
                self.bottle,
                i,
                tape.rows,
                base=tape.base,
                unit=tape.unit,
                qty_unit=tape.qty_unit,
                tops=seen[i].tops_alone,
            )
            if seen[i].by_order:
                self.bottle.model[i, Q_QUEUE] = FIFO
        self._behave(venue)
        rule(self.bottle, venue, instruments)
        self._listen()
        self._share_views()
        self._start()

    # -- making ----------------------------------------------------------------------------

    def _lane(self, number: int, config: Config) -> Lane:
        matrix = _NoMatrix(np.zeros(64, np.int64), Geometry(signals_max=1))
        journal = self._journal.map if self._journal and not number else null_journal()
        ctx, rings = lay_out(
            config, self.instruments, matrix, journal, null_inputs(),  # type: ignore[arg-type]
            history=self._remembered, trades=TRADES,
            outbox=1 << (c.INTENTS_MAX * (len(config.strategies) + 1) - 1).bit_length(),
        )  # fmt: skip
        moved: dict[int, int] = {}
        ctx.gate.market[:, STOPS] = 1  # the simulated venues take them
        ctx = self._arena.gather(ctx, moved, leave=("map", "journal", "inputs"))
        ctx.addresses[:] = [moved.get(int(word), int(word)) for word in ctx.addresses]
        owners = place_stages(ctx)
        strategies = place_strategies(config, self.instruments, ctx)
        ctx.control[c.X_NEXT_ORDER] = first_order_id(1, 1) + 1
        return Lane(ctx, (rings, owners), strategies, pack(ctx))

    def _behave(self, venue: Venue) -> None:
        """Set the models of every venue and instrument."""
        first = 0
        for v, name in enumerate(self.instruments.venues):
            for path, delay in paths_of(venue, name):
                row = self.bottle.latency[v, path]
                row[L_KIND], row[L_DELAY] = LATENCIES[delay.kind], delay.ns
                row[L_RATIO_E6] = round(delay.ratio * 1e6)
                row[L_FIRST], row[L_COUNT], row[L_AT] = first, len(delay.points), first
                first += len(delay.points)
                self.bottle.clock[b.K_LOAD_ON] |= int(delay.kind == "loaded")
        model = self.bottle.model
        model[model[:, Q_QUEUE] != FIFO, Q_QUEUE] = QUEUES[venue.queue]
        model[:, Q_FILL] = int(venue.whole_fills)
        model[:, Q_POWER_E6] = round(venue.power * 1e6)

    def _listen(self) -> None:
        """Note which instruments' news are wanted, and whether they enter strategies."""
        streams = self.bottle.streams
        for lane in self.lanes:
            ctx = lane.ctx
            for i in range(len(self.instruments)):
                for s in np.flatnonzero(ctx.routes[i]):
                    enters = bool(ctx.strategies[s, c.S_ON_EVENT])
                    streams[i, b.T_HEARD] = 1
                    streams[i, b.T_EVENTS] |= int(enters)
                    streams[i, b.T_TRADES] |= int(enters and bool(ctx.strategies[s, c.S_TRADES]))
                    streams[i, b.T_DEEP] |= int(bool(ctx.strategies[s, c.S_DEPTH]))
                streams[i, b.T_LAGGED] = int(self._two_books[i])

    def _share_views(self) -> None:
        """Let all lanes see one memory of tops and levels: they hear the same feed."""
        first = self.lanes[0].words
        for lane in self.lanes[1:]:
            for number in (c.F_TOP, c.F_LEVELS):
                at = number * FIELD_WORDS
                lane.words[at : at + FIELD_WORDS] = first[at : at + FIELD_WORDS]

    def _start(self) -> None:
        bottle = self.bottle
        self.words = b.pack_bottle(bottle, self._rows)
        self._xs = np.stack([lane.words for lane in self.lanes])
        starts = [
            min(int(rows[0]["ts_event"]), int(rows[0]["ts_recv"]))
            for rows in self._rows
            if len(rows)
        ]
        self.started_ns = max(min(starts, default=0), self._start_ns)
        ends = [int(rows[-1]["ts_event"]) for rows in self._rows if len(rows)]
        self.ended_ns = max(ends, default=self.started_ns)
        bottle.clock[b.K_EVENTS] = int(bottle.streams[:, b.T_EVENTS].any())
        if bottle.clock[b.K_MARK_NS] != 0:
            bottle.clock[b.K_DUE] = self.started_ns
        bottle.clock[b.K_JOURNALED] = int(self._journal is not None)
        bottle.clock[b.K_LANES] = self.started_ns
        bottle.clock[b.K_TIMER] = min(bottle.clock[b.K_LANES], bottle.clock[b.K_DUE])
        go = entry(r.replay, self.words, self._xs, 1)
        self._go = raising(go) if self._python else go

    def state_hashes(self) -> list[str]:
        """Return 16 digits of all that a lane was given, did and has, for each; `state_hash`."""
        inputs = inputs_hash(self._tapes, self.bottle.streams)
        return [lane_hash(self, inputs, lane) for lane in range(len(self.lanes))]

    # -- running ---------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Return how many rows have run."""
        return int(self.bottle.clock[b.K_ROWS])

    def run(self, on_batch: Callable[[int], Any] | None = None) -> "Backtest":
        """Run to the end of the tapes. on_batch: called with the rows done so far."""
        while self.step():
            if on_batch is not None:
                on_batch(self.rows)
        return self

    def step(self, rows: int = 0, *, drained: bool = False) -> bool:
        """Run a batch, or about so many rows; False at the end.

        drained: the caller empties the log of what is heard after each step, so it need not grow.
        """
        clock = self.bottle.clock
        reason = self._go(self.words, self._xs, rows or self._batch)
        if reason == r.R_GROW and drained and clock[b.K_GROW] == b.K_GROW_LOG:
            clock[b.K_GROW] = 0
        elif reason == r.R_GROW:
            self.bottle = b.grow_bottle(self.bottle, int(self.bottle.clock[b.K_GROW]))
            self.words[:] = b.pack_bottle(self.bottle, self._rows)
        elif reason == r.R_ROOM:
            assert self._journal is not None
            self._journal.roll()
        elif reason == r.R_OVERFLOW:
            raise SimulationError(
                f"value or fee of a fill at {int(self.bottle.clock[b.K_NOW])} ns is beyond money",
                remedy="check the prices of the tape, and the instrument's scales and fees",
            )
        elif reason == r.R_END:
            self._check_end()
        return bool(reason != r.R_END)

    def _check_end(self) -> None:
        """Refuse a result that lost a report: an order had ended too many orders before it."""
        for number, lane in enumerate(self.lanes):
            if lost := int(lane.ctx.counters[c.C_BAD_ROWS]):
                raise SimulationError(
                    f"lane {number}: {lost} reports were about orders no longer remembered",
                    remedy=f"give remembered={8 * self._remembered} (it is {self._remembered})",
                )
