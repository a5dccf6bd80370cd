"""A backtest: recorded rows, the engine's own stages, simulated venues; as fast as it goes.

    with Backtest(config, tapes) as test:
        result = test.run()

tapes: one per instrument, in the order of their table: rows of TICK or EVENT (see core.records).
Several lanes run side by side over one pass of the market, each with its own strategies' params,
orders, positions and gate.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from alephtx.core.config_schema import Config
from alephtx.core.errors import SimulationError
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import entry
from alephtx.core.packed import FIELD_WORDS
from alephtx.core.records import EVENT, TICK
from alephtx.core.words import TICK_EXCHANGE, TICK_LOCAL
from alephtx.engine import context as c
from alephtx.engine import replay as r
from alephtx.engine.assemble import lay_out, place_stages, place_strategies
from alephtx.engine.context import Rows, pack
from alephtx.matrix.inputlog import null_inputs
from alephtx.matrix.journal_append import null_journal
from alephtx.matrix.layout import Geometry
from alephtx.sim import bottle as b
from alephtx.sim.latency import CANCEL, CONSTANT, ENTRY, FEED, L_DELAY, L_KIND, RESPONSE
from alephtx.sim.levels import SPAN

BATCH_ROWS = 1 << 20
REMEMBERED = 256
"""Orders and fills that a report may still be about: nothing comes twice here, only late."""


class Tape(msgspec.Struct, frozen=True):
    """The recorded rows of one instrument: TICK with the file's base and units, or EVENT."""

    rows: Any
    base: int = 0
    unit: int = 1
    qty_unit: int = 1


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """How a simulated venue behaves; times in ns. See `sim.latency` and `sim.queue`."""

    entry_ns: int = 0
    cancel_ns: int | None = None  # None: as entry_ns
    response_ns: int = 0
    feed_ns: int | None = None  # None: as recorded
    queue: int = 0
    fill: int = 0
    power: float = 2.0


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
    """See the module. words: the bottle's, for kernels of `sim`. bottle: its arrays."""

    def __init__(
        self,
        configs: Sequence[Config],
        instruments: Instruments,
        tapes: Sequence[Tape],
        *,
        venue: Venue | None = None,
        journal: Rows | None = None,
        span: int = SPAN,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        if len(tapes) != len(instruments):
            raise SimulationError(
                f"{len(tapes)} tapes for {len(instruments)} instruments",
                remedy="give one of each, in the order of the table",
            )
        for tape, instrument in zip(tapes, instruments, strict=True):
            _check_tape(tape, instrument.key)
        self.instruments = instruments
        self._batch = batch_rows
        self._journal = null_journal() if journal is None else journal
        self.lanes = [self._lane(config) for config in configs]
        first = self.lanes[0].ctx
        self._two_books = [
            bool(first.depth_wanted[i]) or _overtaken(tape) for i, tape in enumerate(tapes)
        ]
        intents = c.INTENTS_MAX * max(1, len(configs[0].strategies))
        self.bottle = b.make_bottle(
            instruments, lanes=len(configs), span=span, intents_max=intents,
            lagged=any(self._two_books), taken_max=256 if len(configs) == 1 else 64,
            orders_max=max(16, configs[0].risk.open_orders_max),
        )  # fmt: skip
        self._rows = [tape.rows for tape in tapes]
        for i, tape in enumerate(tapes):
            b.load_tape(
                self.bottle, i, tape.rows, base=tape.base, unit=tape.unit, qty_unit=tape.qty_unit
            )
        self._behave(venue or Venue())
        self._listen()
        self._share_views()
        self._start()

    # -- making ----------------------------------------------------------------------------

    def _lane(self, config: Config) -> Lane:
        matrix = _NoMatrix(np.zeros(64, np.int64), Geometry(signals_max=1))
        ctx, rings = lay_out(config, self.instruments, matrix, self._journal, null_inputs())  # type: ignore[arg-type]
        owners = place_stages(ctx)
        strategies = place_strategies(config, self.instruments, ctx)
        ctx.strategies[:, c.S_ENABLED] = 1
        ctx.control[c.X_NEXT_ORDER] = first_order_id(1, 1) + 1
        return Lane(ctx, (rings, owners), strategies, pack(ctx))

    def _behave(self, venue: Venue) -> None:
        latency = self.bottle.latency
        cancel = venue.entry_ns if venue.cancel_ns is None else venue.cancel_ns
        for path, delay in (
            (ENTRY, venue.entry_ns),
            (CANCEL, cancel),
            (RESPONSE, venue.response_ns),
        ):
            latency[:, path, L_KIND], latency[:, path, L_DELAY] = CONSTANT, delay
        if venue.feed_ns is not None:
            latency[:, FEED, L_KIND], latency[:, FEED, L_DELAY] = CONSTANT, venue.feed_ns
        self.bottle.model[:, 0], self.bottle.model[:, 1] = venue.queue, venue.fill
        self.bottle.model[:, 2] = round(venue.power * 1e6)

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
        self.started_ns = min(starts, default=0)
        bottle.clock[r.K_EVENTS] = int(bottle.streams[:, b.T_EVENTS].any())
        bottle.clock[r.K_JOURNALED] = int(self._journal[5] == 0)
        bottle.clock[r.K_TIMER] = r.next_timer(self._xs, self.started_ns)
        self._go = entry(r.replay, self.words, self._xs, 1)

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

    def step(self) -> bool:
        """Run a batch; False at the end."""
        reason = self._go(self.words, self._xs, self._batch)
        if reason == r.R_GROW:
            self._grow(int(self.bottle.clock[b.K_GROW]))
        elif reason == r.R_ROOM:
            raise SimulationError("the journal is full")
        return bool(reason != r.R_END)

    def _grow(self, what: int) -> None:
        """Make room for more slots, orders or reports under way."""
        raise SimulationError(f"room {what} ran out")


def _overtaken(tape: Tape) -> bool:
    """Say whether messages of a tape overtook each other: only a second book can follow."""
    apart = TICK_EXCHANGE | TICK_LOCAL
    return bool((tape.rows["flags"] & apart).any()) if len(tape.rows) else False


def _check_tape(tape: Tape, key: str) -> None:
    if tape.rows.dtype not in (TICK, EVENT):
        raise SimulationError(f"{key}: rows of {tape.rows.dtype}", remedy="use TICK or EVENT rows")
