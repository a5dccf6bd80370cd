"""Strategies that say COMPILED = False: plain Python, run by the main thread on their own view.

They may use any library and take their time: compiled strategies never wait for them. What they see
is a replica: books from the matrix rings, read with a cursor of their own; orders and positions
folded from the journal by the very kernels that the engine's step uses, so an update is seen only
after it is kept. Book changes that came while a strategy was busy are told once, the last one;
trades and updates are all told. Their intents enter the step through a ring, a whole batch at a
time, with the input that they had seen, and pass the same gate.

A hook that raises stops its strategy, cancels its orders and raises an alarm; the engine goes on.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.config_schema import Config
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger
from alephtx.core.plugins import raised_at
from alephtx.core.records import EVENT, INTENT, UPDATE
from alephtx.engine import context as c
from alephtx.engine.assemble import Engine, Loaded, lay_out
from alephtx.engine.context import pack, view_of
from alephtx.engine.recovery import apply_record
from alephtx.engine.step import check_beats, lapped, take_slot
from alephtx.execution.orders import OUTCOME, orders_denied
from alephtx.matrix.inputlog import null_inputs
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import Record, null_journal
from alephtx.matrix.ring import ring_head, ring_read
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read

log = logger("python_strategy")

SLOTS_MAX = 2048
"""Ring slots one round takes, so that a busy market leaves the thread to others."""

SLOW_NS = 50_000_000
"""A hook that holds the main thread this long keeps orders of others waiting: it is logged."""


class PythonStrategies:
    """The uncompiled strategies of one engine and the replica they look at; none costs nothing."""

    def __init__(
        self, config: Config, instruments: Instruments, matrix: Matrix, engine: Engine, clock: Clock
    ) -> None:
        self.strategies = [loaded for loaded in engine.strategies if not loaded.compiled]
        self.alarms: list[str] = []
        self._engine, self._instruments, self._clock = engine, instruments, clock
        self._running: dict[int, Loaded] = {}
        self._stopping = False
        self.on_called: Callable[[int, int], None] = lambda index, took_ns: None
        self.beside: dict[int, Any] = {}  # see `swap_python`
        if self.strategies:
            self._make_replica(config, matrix)

    def __bool__(self) -> bool:
        return bool(self.strategies)

    def _make_replica(self, config: Config, matrix: Matrix) -> None:
        """Lay out a second context over the same matrix; its journal and inputs keep nothing."""
        self.ctx, self._rings = lay_out(
            config, self._instruments, matrix, null_journal(), null_inputs()
        )
        self.ctx.addresses[c.A_APPLY] = self._engine.ctx.addresses[c.A_APPLY]
        self.ctx.depth_wanted[:] = self._engine.ctx.depth_wanted
        self._packed = pack(self.ctx)
        self._views = {s.index: view_of(self.ctx, s.index) for s in self.strategies}
        self._timers = {s.index: s.needs.timer_ns for s in self.strategies if s.needs.timer_ns}
        self._watched = {
            i: [s.index for s in self.strategies if i in s.instruments]
            for i in range(len(self._instruments))
        }
        self._intents = np.zeros(c.INTENTS_MAX, INTENT)
        self._denial = np.zeros(1, UPDATE)
        self._asked = np.zeros(1, OUTCOME)
        check_beats(self._packed)  # compiles or loads what the rounds need, before the market runs
        take_slot(self._packed)
        lapped(self._packed, 0)
        self.ctx.next_slot[:] = 1

    @property
    def base(self) -> c.Context:
        """What a canary works on: the replica, with the engine's gate and accounts."""
        engine = self._engine.ctx
        return self.ctx._replace(gate=engine.gate, account_of=engine.account_of)

    def replace(self, new: Loaded, beside: Any) -> None:
        """Let another version of a strategy go on in its place, watched by beside (None: not)."""
        index = new.index
        self.strategies[:] = [new if s.index == index else s for s in self.strategies]
        self._engine.strategies[index] = new
        if index in self._running:
            self._running[index] = new
        self._timers.pop(index, None)
        if new.needs.timer_ns:
            self._timers[index] = new.needs.timer_ns
        self.beside.pop(index, None)
        if beside is not None:
            self.beside[index] = beside

    # -- the journal's side ----------------------------------------------------------------

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """Take every record on its way to somebody else."""
        for record in records:
            self.take(record)
            yield record

    def take(self, record: Record) -> None:
        """Apply one journal record to the replica and tell the strategy that it concerns."""
        if not self.strategies:
            return
        told = apply_record(record, self.ctx, self._packed, self._instruments)
        while self._rings.asks.pop(self._asked):
            pass  # the engine's own table asks the venue
        if not self._running:
            return
        self._look_at_clock()
        if record.kind == UPDATE_RECORD and told in self._running:
            self._call(told, "on_update", self.ctx.update)
        elif record.kind == INTENT_RECORD:
            row = np.frombuffer(record.payload, INTENT, count=1)
            denied = row[0]["verdict"] != words.PASS and row[0]["op"] == words.PLACE
            if denied and int(row[0]["strategy"]) in self._running:
                orders_denied(row, record.ts, self._denial)
                self._call(int(row[0]["strategy"]), "on_update", self._denial)

    # -- the market's side -----------------------------------------------------------------

    def start(self) -> None:
        """Begin with the market as it is now and let the strategies go."""
        if not self.strategies:
            return
        matrix = self.ctx.map
        for venue in range(len(self.ctx.next_slot)):
            self.ctx.next_slot[venue] = int(ring_head(matrix, venue)) + 1
        for i in range(len(self._instruments)):
            top_read(matrix, i, self.ctx.top[i : i + 1])
        self._look_at_clock()
        for strategy in self.strategies:
            self._running[strategy.index] = strategy
            self._call(strategy.index, "on_start")

    def stop(self) -> None:
        """Let every strategy say its last intents; it still hears what becomes of its orders."""
        self._stopping = True
        for index in list(self._running):
            self._call(index, "on_stop")

    def round(self) -> None:
        """Tell what the market did since the last round, then run the timers that are due."""
        if not self._running or self._stopping:
            return
        self._look_at_clock()
        changed: dict[int, Any] = {}
        for venue in range(len(self.ctx.next_slot)):
            self._drain(venue, changed)
        self._look_at_beats()
        for i, event in changed.items():
            for index in self._watched[i]:
                self._call(index, "on_event", event)
        now = int(self.ctx.now[0])
        for index, every in self._timers.items():
            row = self._engine.ctx.strategies[index]
            due = int(row[c.S_TIMER_NEXT])
            if not due or now >= due:
                row[c.S_TIMER_NEXT] = now + every
            if due and now >= due:
                self._call(index, "on_timer", now)

    def _drain(self, venue: int, changed: dict[int, Any]) -> None:
        """Take the slots of one venue: trades and losses are told at once, books in the end."""
        ctx = self.ctx
        for _ in range(SLOTS_MAX):
            k = int(ctx.next_slot[venue])
            got = ring_read(ctx.map, venue, k, ctx.slot)
            if got == 0:
                return
            if got < 0:
                lapped(self._packed, venue)
                self._tell_all(venue, words.LAPPED)
                continue
            ctx.next_slot[venue] = k + 1
            take_slot(self._packed)
            i, event = int(ctx.event[0]["instrument"]), ctx.event.copy()
            if event[0]["kind"] != words.TRADE:
                changed.pop(i, None)  # told in the order of the last changes
                changed[i] = event
                continue
            for index in self._watched.get(i, ()):
                if index in self._running and self._running[index].needs.trades:
                    self._call(index, "on_event", event)

    def _look_at_beats(self) -> None:
        before = self.ctx.beats.copy()
        if check_beats(self._packed):
            for venue in np.flatnonzero(self.ctx.beats > before):
                self._tell_all(int(venue), words.GAP)

    def _tell_all(self, venue: int, kind: int) -> None:
        """Tell an event of the engine's own about every instrument of a venue."""
        for i in np.flatnonzero(self.ctx.venue_of == venue):
            event = np.zeros(1, EVENT)
            event["instrument"], event["kind"] = i, kind
            event["ts_event"], event["ts_recv"] = self.ctx.top[i]["ts_event"], self.ctx.now[0]
            for index in self._watched[int(i)]:
                self._call(index, "on_event", event)

    # -- calls -----------------------------------------------------------------------------

    def _look_at_clock(self) -> None:
        self.ctx.now[0], self.ctx.now[3] = self._clock.now(), self._clock.monotonic()
        self.ctx.now[1] = self._engine.ctx.control[c.X_INPUT_SEQ]

    def _call(self, index: int, hook: str, *first: Any) -> None:
        """Call one hook and hand its intents to the step; what it raises is its own end."""
        strategy = self._running.get(index)
        function = getattr(strategy.module, hook, None) if strategy else None
        beside = self.beside.get(index)
        if strategy is None or function is None:
            if strategy is not None and beside is not None:
                beside.heard(hook, first, 0)
            return
        self._intents[:] = np.zeros((), INTENT)
        self.ctx.now[2] = index
        self._engine.ctx.strategies[index, c.S_EVENTS] += int(hook == "on_event")
        begun = self._clock.monotonic()
        try:
            n = function(*first, self._views[index], strategy.params, strategy.state, self._intents)
            if not 0 <= n <= c.INTENTS_MAX:
                raise ValueError(f"{hook} returned {n!r}, not a number of rows written")
        except Exception as error:  # noqa: BLE001 - a user's code raises anything
            if beside is None or not beside.raised(strategy, hook, error):
                self._fail(strategy, hook, error)
            return
        took = self._clock.monotonic() - begun
        self.on_called(index, took)
        if took > SLOW_NS:
            log.every(60).warning(
                "strategy_slow", strategy=strategy.name, hook=hook, ms=took // 1_000_000
            )
        if beside is not None:
            beside.heard(hook, first, took)
        if self._stopping and hook == "on_update":
            n = self._only_cancels(n)
        if n:
            measured = bool(self._engine.ctx.control[c.X_MEASURE])
            if hook == "on_event" or (hook == "on_update" and measured):
                self._intents["ts_input"][:n] = first[0][0]["ts_recv"]
            self._send(strategy, int(n))

    def _only_cancels(self, n: int) -> int:
        """Keep the cancels of n intents, as the step does for a strategy that was stopped."""
        rows = self._intents[:n]
        kept = rows[rows["op"] == words.CANCEL]
        self._intents[: len(kept)] = kept
        return len(kept)

    def _send(self, strategy: Loaded, n: int) -> None:
        """Push one batch, as a whole: the legs of a group pass the gate together or not at all."""
        self._intents["strategy"], self._intents["input_seq"] = strategy.index, self.ctx.now[1]
        self._intents[0]["rule"] = n
        if not self._engine.rings.python_intents.push(self._intents):
            self.alarms.append(f"strategy {strategy.name}: the engine does not take its intents")
            log.error("intents_lost", strategy=strategy.name, intents=n)

    def _fail(self, strategy: Loaded, hook: str, error: Exception) -> None:
        """End a strategy for good, with its orders."""
        at = raised_at(strategy.module, hook, error)
        log.error("strategy_failed", strategy=strategy.name, hook=hook, error=repr(error), at=at)
        self.alarms.append(f"strategy {strategy.name} stopped: {hook} raised {error!r} at {at}")
        self._running.pop(strategy.index, None)
        self._engine.ctx.strategies[strategy.index, c.S_ENABLED] = 0
        view = self._views[strategy.index]
        live = view.orders[: int(view.open_count[0])]
        for start in range(0, len(live), c.INTENTS_MAX):
            orders = live[start : start + c.INTENTS_MAX]
            self._intents[:] = np.zeros((), INTENT)
            rows = self._intents[: len(orders)]
            rows["op"], rows["instrument"] = words.CANCEL, orders["instrument"]
            rows["target_order_id"] = orders["order_id"]
            self._send(strategy, len(orders))
