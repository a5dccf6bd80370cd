"""The life of one engine process: recover, open accounts, trade, cancel all, reconcile.

The main thread is asyncio and owns sockets, ledger, status and commands; the loop thread owns
orders and positions. They meet in rings. Anything unexpected ends the process: the supervisor
starts it again and the journal says where it was.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.clock import MachineClock, seeded
from alephtx.core.config_schema import Config
from alephtx.core.errors import AlephError, VenueError
from alephtx.core.histogram import make_histogram
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger
from alephtx.core.near import Near
from alephtx.core.records import INTENT
from alephtx.engine import accounts, leg_guard, truth
from alephtx.engine import context as c
from alephtx.engine.accounts import AnyGateway
from alephtx.engine.assemble import Engine, assemble
from alephtx.engine.epoch import next_epoch
from alephtx.engine.halts import Halts
from alephtx.engine.host import Host
from alephtx.engine.layers import Layers
from alephtx.engine.ledger_watch import LedgerWatch
from alephtx.engine.limit_commands import LimitDesk
from alephtx.engine.loop import Loop
from alephtx.engine.near import spans_of
from alephtx.engine.opening import opening_of, take_up
from alephtx.engine.placement import place_loop
from alephtx.engine.pump import Pump
from alephtx.engine.python_strategies import PythonStrategies
from alephtx.engine.recovery import Recovered, fold
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.share_desk import ShareDesk, pool_of
from alephtx.engine.status import status_of
from alephtx.engine.swap_desk import SwapDesk
from alephtx.engine.swap_door import in_force
from alephtx.engine.updates import ROOM_BYTES, ROOM_ROWS
from alephtx.execution.gateway import LiveOrder
from alephtx.execution.orders import OUTCOME
from alephtx.ledger.book import Ledger
from alephtx.matrix.ahead import PagesAhead
from alephtx.matrix.inputlog import InputLog, input_room
from alephtx.matrix.journal import (
    BALANCES,
    COMMAND,
    EPOCH,
    RECONCILED,
    Journal,
    JournalHeader,
    journal_room,
    tail,
)
from alephtx.matrix.ring import ring_head
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read

if TYPE_CHECKING:
    from alephtx.engine.direct import Direct
    from alephtx.feed.feeder import Feeder

log = logger("engine")

READY_SECONDS = 20.0
CANCEL_SECONDS = 12.0  # an order in doubt is given up after `resync.HORIZON_NS`
SETTLE_SECONDS = 5.0
READ_MAX = 4096
PYTHON_EVERY_NS = 1_000_000


class Session:
    """One engine process."""

    def __init__(
        self,
        config: Config,
        run: RunDirectory,
        matrix: Matrix,
        instruments: Instruments,
        host: Host | None = None,
    ) -> None:
        self.host = host or Host(MachineClock(matrix.clock_offset_ns), seeded())
        self.config, self.run_directory = config, run
        self.matrix, self.instruments = matrix, instruments
        self.clock, self.random = self.host.clock, self.host.source
        self.ledger = Ledger(instruments)
        self.gateways: list[AnyGateway] = []
        self.ack_latency = make_histogram()
        self.reconciled: dict[str, list[str]] = {}
        self.stop_asked = asyncio.Event()
        self.epoch = 0
        self.alarms: list[str] = []
        self.fault: BaseException | None = None
        self.loop_thread: Loop | None = None
        self._no_room: AlephError | None = None
        self._loop_asked = False
        self.halts = Halts(self)
        self.placed = dict(self.host.placed)
        self._near: Near | None = None
        self._journal_tail: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    # -- set-up ----------------------------------------------------------------------------

    def open(self) -> None:
        """Open journal and input log, recover state, place strategies. No network yet."""
        config, run = self.config, self.run_directory
        header = JournalHeader(
            node=config.node.name,
            engine=config.node.engine,
            instruments=self.instruments.to_json(),
            accounts=msgspec.json.encode(list(config.accounts)),
        )
        self.journal = Journal.open(
            run.journal, header=header, durability=config.node.durability, **self.host.journal
        )
        self.inputs = InputLog.open(run.inputs)
        self.pages = PagesAhead(self.journal.front, self.inputs.front)
        self.engine: Engine = assemble(
            in_force(config, run), self.instruments, self.matrix, self.journal.map, self.inputs.map
        )
        self.ctx = self.engine.ctx
        self.layers = Layers(
            self.ctx, [s.name for s in self.engine.strategies],
            measure=self.host.measure, live=config.node.mode == "live",
        )  # fmt: skip
        self.limits = LimitDesk(config, run.path, self.clock, self.ctx, self.instruments)
        self.shares = ShareDesk(config, self.clock, self.ctx, self.engine.rings.commands.push)
        self.shares.alarm = self.alarms.append

        def replay(payload: memoryview) -> None:
            self.limits.replay(payload)
            self.shares.replay(payload)

        self.recovered: Recovered = fold(run.journal, self.ctx, self.instruments, replay)
        self.python = PythonStrategies(
            config, self.instruments, self.matrix, self.engine, self.clock
        )
        self.python.on_called = self.layers.called
        self._journal_tail = tail(run.journal)
        self.watch = LedgerWatch(
            self.ledger, self.ctx, self.clock, self.command, self.alarms.append
        )
        self.watch.recover(self.python.watch(self._records()))
        self.pump = Pump(self)
        self.direct = self._open_direct()
        self.feeders = self._host_feeders()
        self.epoch = next_epoch(run.path.parent, config.node.engine, self.recovered.epoch + 1)
        self.ctx.control[c.X_NEXT_ORDER] = first_order_id(config.node.engine, self.epoch) + 1
        self._write(EPOCH, np.array([self.epoch], np.int64).tobytes())
        self.swaps = SwapDesk(self, self.spawn)
        for entry in self.swaps.begin():
            self._write(COMMAND, entry)
        self.journal.sync()
        if self.recovered.records:
            live = sum(len(rows) for rows in self.recovered.live.values())
            log.info("journal_recovered", records=self.recovered.records, live_orders=live)

    def _open_direct(self) -> "Direct | None":
        if not self.config.direct_venues and not self._loop_accounts():
            return None
        from alephtx.engine.direct import Direct  # with the feeder's half, which others run

        return Direct(self)

    def _host_feeders(self) -> "list[Feeder]":
        if not self.config.hosted_venues and not self.config.outdone_venues:
            return []
        from alephtx.engine.hosted import host_feeders

        return host_feeders(self)

    def _records(self) -> Any:
        while found := self._journal_tail.poll(READ_MAX):
            yield from found

    def _write(self, kind: int, payload: bytes) -> None:
        """Append a record from the main thread; only while the loop does not run."""
        self.journal.append(kind, payload, ts=self.clock.now())

    def _loop_accounts(self) -> list[str]:
        """Accounts whose orders leave from the loop; only live ones leave at all."""
        return self.config.loop_accounts if self.config.node.mode == "live" else []

    def open_accounts(self) -> None:
        """Give every account the gateway its mode asks for."""
        self.gateways += accounts.open_accounts(self)

    def follow_journal(self) -> None:
        """Take up what the journal has got since."""
        self.watch.follow(self.python.watch(self._records()))

    def note_sent(self, op: int, order_id: int, now_ns: int) -> None:
        """Count how long an order, amend or cancel took to the wire."""
        self.layers.sent(op, order_id, now_ns)

    # -- running ---------------------------------------------------------------------------

    async def run(self) -> int:
        """Trade until asked to stop; returns the exit code."""
        self.open()
        try:
            self.open_accounts()
            await self._begin()
            await self.stop_asked.wait()
            return await self._finish()
        finally:
            await self._close()

    async def _begin(self) -> None:
        """Agree with every venue, then let the loop and the strategies go."""
        loop = asyncio.get_running_loop()
        for gateway in self.gateways:
            await gateway.start()
        await self._wait_ready()
        self._open_ledger()
        if self.host.measure:
            self.pages.start()
        self.loop_thread = self.host.drive(
            self.ctx,
            wait=self.config.node.wait,
            offset_ns=self.clock.offset_ns,
            on_outbox=self.pump,
            make_room=self._make_room,
            on_end=lambda error: loop.call_soon_threadsafe(self._loop_ended, error),
        )
        self._join_market()
        self.loop_thread.start()
        self.placed |= place_loop(self.config, getattr(self.loop_thread, "native_id", None))
        if self.config.node.main_wait == "spin":
            self.ctx.addresses[c.A_WAKE] = 0  # nobody sleeps who would be woken
            self.pump.spin()
        if self.direct is not None:
            self.direct.start()
        if self.host.measure and self.config.node.wait == "spin":
            self._near = Near(self.ctx.addresses.ctypes.data + 8 * c.A_NEAR)
        for feeder in self.feeders:
            self.spawn(feeder.run())
        self.spawn(self._housekeep())  # a venue that refuses a leftover's cancel may take seconds
        await self._clear_leftovers()
        await truth.agree(self.gateways)
        self.host.settled()
        for strategy in self.engine.strategies:
            warm = self.clock.monotonic() + strategy.needs.warmup_ns
            self.ctx.gate.warm_until[strategy.index] = warm
            self.command(c.COMMAND_ENABLE, strategy.index)
        if self.config.shared is not None:
            self.spawn(self.shares.run(pool_of(self.config, self.epoch)))
        if self.python:
            self.python.start()
            self.spawn(self._run_python())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task of the main thread; one that fails ends the process."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    async def _close(self) -> None:
        """Let everything go, however it ended; the loop first, because it works on the rest."""
        self.pump.rest()
        if self.direct is not None:
            self.direct.halt()
        self._stop_loop()
        if self.direct is not None:
            self.direct.take_links()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for gateway in self.gateways:
            await gateway.close()
        if self.direct is not None:
            self.direct.close()
        self.pages.stop()
        self.journal.close()
        self.inputs.close()

    def _join_market(self) -> None:
        """Begin with the market as it is now: the tops, and what comes after the rings' heads."""
        for venue in range(len(self.instruments.venues)):
            self.ctx.next_slot[venue] = int(ring_head(self.matrix.map, venue)) + 1
        for i in range(len(self.instruments)):
            top_read(self.matrix.map, i, self.ctx.top[i : i + 1])

    async def _wait_ready(self) -> None:
        """Wait until every account agrees with its venue; never trade on half a truth."""
        ready = asyncio.gather(*(gateway.ready.wait() for gateway in self.gateways))
        stop = asyncio.ensure_future(self.stop_asked.wait())
        both: set[asyncio.Future[Any]] = {ready, stop}
        await asyncio.wait(both, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        agreed = ready.done()
        for waiting in both:
            waiting.cancel()
        await asyncio.gather(ready, stop, return_exceptions=True)
        if agreed:
            return
        late = [self.engine.account_names[g.account] for g in self.gateways if not g.ready.is_set()]
        when = "before we were stopped" if self.stop_asked.is_set() else f"in {READY_SECONDS:g} s"
        raise VenueError(
            f"no agreement with the venue of {', '.join(late)} {when}",
            remedy="see engine.log for what the venue said",
        )

    def _open_ledger(self) -> None:
        """Write the opening of accounts that have none yet; later starts go on from there."""
        for gateway in self.gateways:
            if gateway.account in self.recovered.opened_ns:
                continue
            payload = opening_of(gateway)
            self._write(BALANCES, payload)
            take_up(payload, self.ctx, self.instruments)
        self.follow_journal()

    async def _clear_leftovers(self) -> None:
        """Cancel orders of an earlier life: no strategy remembers why they are there."""
        for gateway in self.gateways:
            for order in list(gateway.live.values()):
                log.info("leftover_cancelled", order_id=order.order_id)
                self.cancel_order(gateway, order)
        await self._until_no_orders(CANCEL_SECONDS)

    def cancel_order(self, gateway: AnyGateway, order: LiveOrder) -> None:
        """Send a cancel from the main thread; for leftovers, stop and kill."""
        row = np.zeros(1, INTENT)
        row["op"], row["target_order_id"] = words.CANCEL, order.order_id
        row["instrument"], row["account"] = order.instrument, gateway.account
        gateway.submit(row)

    async def _until_no_orders(self, seconds: float) -> bool:
        deadline = self.clock.monotonic() + int(seconds * 1e9)
        while any(g.live for g in self.gateways) or leg_guard.closes(self.ctx):
            if self.clock.monotonic() > deadline:
                return False
            await self.clock.sleep(5_000_000)
        return True

    def calm(self) -> bool:
        """Tell whether nothing left for a venue lately, so that a pause of ours delays no order."""
        return self.pump.calm()

    def command(self, kind: int, argument: int = 0) -> None:
        """Hand a command to the loop."""
        row = np.zeros(8, np.int64)
        row[0], row[1] = kind, argument
        self.engine.rings.commands.push(row)

    def _make_room(self) -> bool:
        """Roll the journal and grow the input log; called by the loop thread."""
        try:
            if input_room(self.inputs.map) < ROOM_ROWS:
                self.inputs.grow()
            if journal_room(self.journal.map) < ROOM_BYTES:
                self.journal.roll()
        except AlephError as error:
            self._no_room = error
            return False
        return True

    def _loop_ended(self, error: BaseException | None) -> None:
        """End for what ended the loop; what it had open, asyncio has now: cancels go on."""
        if error := error or self._no_room:
            self.failed(error)
        if self.direct is not None and not self._loop_asked:
            self.direct.hand_back()
        self.stop_asked.set()

    def _stop_loop(self) -> None:
        self._loop_asked = True
        if self.loop_thread is not None:
            self.loop_thread.stop()

    def failed(self, error: BaseException) -> None:
        """End for a fault of ours, with cancels; the supervisor starts us again."""
        log.error("engine_failed", error=repr(error))
        self.alarms.append(f"engine failed: {error!r}")
        self.fault = self.fault or error
        self.stop_asked.set()

    # -- the main thread's rounds ----------------------------------------------------------

    async def _housekeep(self) -> None:
        """Follow the journal, answer the loop's asks, publish the status."""
        next_status = 0
        while True:
            await self.clock.sleep(self.host.round_ns)
            self.follow_journal()
            self._answer_asks()
            self.limits.poll(self.engine.rings.commands.push)
            if self.direct is not None:
                self.direct.look_after()
            self.halts.obey()
            self.swaps.poll()
            if self._near is not None:
                self._near.look(self.clock.monotonic(), partial(spans_of, self))
            now = self.clock.monotonic()
            if now >= next_status:
                next_status = now + self.host.status_ns
                self.publish_status()

    async def _run_python(self) -> None:
        """Let the uncompiled strategies see what is new."""
        while True:
            await self.clock.sleep(PYTHON_EVERY_NS)
            self.follow_journal()
            self.python.round()

    def cancel_everything(self) -> None:
        """Send a cancel for every order of ours that is not known to be over."""
        for gateway in self.gateways:
            for order in list(gateway.live.values()):
                self.cancel_order(gateway, order)

    def _answer_asks(self) -> None:
        """Act on what the order table found odd: ask the venue, and say so."""
        row = np.zeros(1, OUTCOME)
        while self.engine.rings.asks.pop(row):
            gateway = self.gateways[int(row[0]["account"])]
            code, order_id = int(row[0]["code"]), int(row[0]["order_id"])
            log.warning("order_questioned", order_id=order_id, code=code, account=gateway.account)
            if text := truth.answer(gateway, row[0]):
                self.alarms.append(text)

    def publish_status(self) -> None:
        """Write status.json: what the terminal view, `alephtx status` and the report read."""
        self.run_directory.show_json(self.run_directory.status, status_of(self))

    # -- the end ---------------------------------------------------------------------------

    async def _finish(self) -> int:
        """Stop strategies, cancel every order, reconcile with every venue, sum up."""
        self.python.stop()
        self.command(c.COMMAND_STOP)
        await self.clock.sleep(50_000_000)
        deadline = self.clock.monotonic() + int(CANCEL_SECONDS * 1e9)
        while self.clock.monotonic() < deadline:
            for gateway in self.gateways:
                for order in list(gateway.live.values()):
                    if not order.doubt:
                        self.cancel_order(gateway, order)
            if await self._until_no_orders(1.0):
                break
        left = [order.order_id for gateway in self.gateways for order in gateway.live.values()]
        if left:
            log.error("orders_left_open", orders=left)
            self.alarms.append(f"orders left open: {left}")
        await self._reconcile()
        self._stop_loop()
        self.follow_journal()
        self.publish_status()
        agreed = not any(self.reconciled.values()) and not left
        self._write(RECONCILED, msgspec.json.encode(self.reconciled))
        self.run_directory.show_json(
            self.run_directory.path / "engine.json",
            {"reconciled": agreed, "differences": self.reconciled, "left_open": left},
        )
        if self.fault is not None:
            return 1
        return 0 if agreed else 6

    async def _reconcile(self) -> None:
        """Compare ledger and venue until equal, SETTLE_SECONDS at most; keep the differences."""
        for gateway in self.gateways:
            name = self.engine.account_names[gateway.account]
            deadline = self.clock.monotonic() + int(SETTLE_SECONDS * 1e9)
            while True:
                try:
                    await gateway.synchronise()
                    self.follow_journal()
                    found = self.ledger.compare(gateway.account, gateway.balances, gateway.holdings)
                    differences = [str(difference) for difference in found]
                except VenueError as error:
                    differences = [f"the venue did not answer: {error}"]
                self.reconciled[name] = differences
                if not differences or self.clock.monotonic() > deadline:
                    break
                await self.clock.sleep(200_000_000)
            if differences:
                log.error("account_not_reconciled", account=name, differences=differences[:5])
            else:
                log.info("account_reconciled", account=name)
