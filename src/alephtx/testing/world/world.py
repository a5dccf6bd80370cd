"""The whole stack in one process and in virtual time, from one seed.

Twins, feeders, the engine with its gateways, strategies, gate, ledger and journal are the real
ones; only the clock, the network, the machine's randomness and the thread that drives the step are
the world's. See docs/simulation.md for what is and what is not simulated.
"""

import asyncio
import contextlib
import fcntl
import gc
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core import log
from alephtx.core.clock import MachineClock
from alephtx.core.config_schema import (
    Account,
    Config,
    MatrixConfig,
    Node,
    Risk,
    Strategy,
    VenueConfig,
)
from alephtx.core.instruments import Instruments
from alephtx.engine import context as c
from alephtx.engine.context import Context, pack
from alephtx.engine.host import Host
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import READY_SECONDS, Session
from alephtx.engine.step import step
from alephtx.engine.venues import load_venue
from alephtx.execution import gateway as gateway_module
from alephtx.feed.feeder import Feeder, FeederOptions
from alephtx.feed.main import endpoints_of
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.testing.world.checks import Checker
from alephtx.testing.world.faults import Planned, plan, play
from alephtx.testing.world.loop import WorldLoop
from alephtx.testing.world.market import SymbolMarket, Underlying
from alephtx.testing.world.network import Network, Process, running
from alephtx.twins.main import make_twin
from alephtx.twins.options import TwinOptions
from alephtx.twins.server import TwinServer, VenueTwin

SECOND, MS = 1_000_000_000, 1_000_000
EPOCH_NS = 1_700_000_000 * SECOND
BUDGET = 256
VENUES = {"binance_spot": "spot", "binance_usdm": "usdm"}
KEYS = ("binance_spot:BTC-USDT", "binance_usdm:BTC-USDT-PERP")
PORTS = {"binance_spot": 20_001, "binance_usdm": 20_002}
RESTART_NS = 300 * MS


class WorldClock(MachineClock):
    """The world's time as every process of it sees it."""

    def __init__(self, loop: WorldLoop) -> None:
        super().__init__(EPOCH_NS)
        self._loop = loop

    def now(self) -> int:
        return self._loop.now_ns + EPOCH_NS

    def monotonic(self) -> int:
        return self._loop.now_ns


class Stepper:
    """Drives the compiled step between two turns of the loop, in place of `engine.loop.Loop`."""

    world: "World"

    def __init__(
        self,
        ctx: Context,
        *,
        wait: str,
        offset_ns: int,
        on_outbox: Callable[[], Any],
        make_room: Callable[[], bool],
        on_end: Callable[[BaseException | None], Any],
    ) -> None:
        self.ctx, self.packed, self.offset_ns = ctx, pack(ctx), offset_ns
        self.on_outbox, self.make_room, self.on_end = on_outbox, make_room, on_end
        self.process = running.get()
        self.running = False

    def start(self) -> None:
        self.running = True
        self.world.steppers.append(self)

    def stop(self, seconds: float = 5.0) -> None:
        self.running = False
        if self in self.world.steppers:
            self.world.steppers.remove(self)

    def turn(self, now_ns: int) -> None:
        """Step until nothing is left to do."""
        self.ctx.now[0], self.ctx.now[3] = now_ns + self.offset_ns, now_ns
        while self.running and (reason := step(self.packed, BUDGET)):
            if reason & c.R_OUTBOX:
                self.on_outbox()
            if reason & c.R_JOURNAL and not self.make_room():
                self.stop()
                self.on_end(None)


class World:
    """One seed's world. `run` plays it and returns what went wrong, an empty list if nothing."""

    def __init__(
        self,
        seed: int,
        *,
        seconds: float = 60.0,
        rate_hz: float = 20.0,
        faults: list[Planned] | None = None,
        verbose: bool = False,
    ) -> None:
        self.verbose = verbose
        self.seed, self.seconds, self.rate_hz = seed, seconds, rate_hz
        self.source = random.Random(seed)  # noqa: S311 - a simulation, and it must be repeatable
        self.violations: list[str] = []
        self.events: list[tuple[int, str]] = []
        self.steppers: list[Stepper] = []
        self.sessions: list[Session] = []
        self.exit_codes: list[int] = []
        self.kept: list[Any] = []  # what died is not collected before the end: nothing of it runs
        self.plan = plan(seed, seconds) if faults is None else faults
        self.faults_done = 0
        self.steps = 0
        self.messages = 0
        self.ending = self.funded = False
        self.ended_at = (0, 0, 0)
        self.engine_process: Process | None = None
        self.engine_task: Any = None

    # -- set-up ----------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Play the world to its end."""
        self.folder = Path(tempfile.mkdtemp(prefix="aleph-world-", dir=_fast_folder()))
        self.loop = WorldLoop()
        self.network = self.loop.network = Network(self.loop, random.Random(self.seed + 1))  # noqa: S311
        self.clock = WorldClock(self.loop)
        self.loop.after_turn = self._turn
        self.checker = Checker(self)
        self.stepper = type("SeededStepper", (Stepper,), {"world": self})
        with _slower_rounds(), _logging(self.clock, self.verbose):
            try:
                asyncio.set_event_loop(self.loop)
                self.loop.run_until_complete(self._play())
            finally:
                self._clear()
        return self.violations

    def _clear(self) -> None:
        """Let the world go. What hangs in an `await` is closed, and what that says is not news."""
        # Once more for those that the closing of others made.
        for task in (task for _ in range(2) for task in asyncio.all_tasks(self.loop)):
            pending: Any = task
            pending._log_destroy_pending = False  # noqa: SLF001 - it was left pending on purpose
            with contextlib.suppress(BaseException):
                pending.get_coro().close()
        asyncio.set_event_loop(None)
        clients = [feeder.http for feeder in self.kept if isinstance(feeder, Feeder)]
        for session in self.sessions:
            gateways: list[Any] = list(session.gateways)
            clients += [gateway.wire.http for gateway in gateways]
            if session._journal_tail is not None:  # noqa: SLF001
                session._journal_tail.close()  # noqa: SLF001
        for client in clients:
            if (pool := client._session) is not None and pool.connector is not None:  # noqa: SLF001
                pool.connector._closed = True  # noqa: SLF001 - its connections went with the network
                pool.detach()
        for session in self.sessions:
            with contextlib.suppress(Exception):
                session.journal.close()
            with contextlib.suppress(Exception):
                session.inputs.close()
        matrix = getattr(self, "matrix", None)
        if matrix is not None:
            matrix.unlink()
            matrix.close()
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _play(self) -> None:
        venues = self.venues = Process("venues")
        await self._as(venues, self._open_venues())
        self.config = self._config()
        self.instruments = self._list()
        geometry = Geometry(
            instruments_max=4, venues_max=2, depth=4, ring_slots=4096, signals_max=4, writers_max=64
        )
        self.matrix = Matrix.create(
            self.folder / "matrix", self.instruments, geometry, clock_offset_ns=EPOCH_NS
        )
        self.run_directory = RunDirectory.create(self.folder / "runs", "world", self.config.dump())
        self.run_directory.instruments.write_bytes(self.instruments.to_json())
        self.feeders: dict[str, Process] = {}
        for venue in VENUES:
            self.start_feeder(venue)
        self.start_engine()
        for planned in self.plan:
            self.spawn(None, play(self, planned))
        self.spawn(None, self.checker.watch())
        await asyncio.sleep(self.seconds)
        await self._end()
        self.checker.judge()

    def _config(self) -> Config:
        venues = {}
        for venue, port in PORTS.items():
            address = f"127.0.0.1:{port}"
            venues[venue] = VenueConfig(
                symbols=("BTCUSDT",), environment="twin", http=f"http://{address}",
                market=f"ws://{address}", private=f"ws://{address}", trade=f"ws://{address}",
            )  # fmt: skip
        accounts = {
            name: Account(venue=venue, key="twin:key", secret="twin")  # noqa: S106 - the twins' own
            for venue, name in VENUES.items()
        }
        quotes = {"qty_base": "0.01", "inventory_max_base": "0.5", "half_spread_bps": "0.04",
                  "requote_bps": "0.06", "skew_bps": "0.02"}  # fmt: skip
        pair = {"qty_base": "0.01", "position_max_base": "0.5", "trigger_bps": "0.1",
                "unwind_bps": "-1", "assume_parity": True, "fee_aware": False,
                "cooldown_ms": 200}  # fmt: skip
        names = tuple(accounts)
        return Config(
            node=Node(name="world", mode="live", runs=str(self.folder / "runs")),
            matrix=MatrixConfig(path=str(self.folder / "matrix"), depth=4),
            risk=Risk(
                notional_max=Decimal(20_000), position_notional_max=Decimal(4_000),
                orders_per_s=20, stale_ms=3_000, drawdown_max=Decimal(5_000),
            ),
            venues=venues,
            accounts=accounts,
            strategies={
                "arb": Strategy(use="arbitrage", instruments=KEYS, accounts=names, own=pair),
                "mm": Strategy(use="market_maker", instruments=KEYS[1:], accounts=names[1:],
                               own=quotes),
            },
        )  # fmt: skip

    def _list(self) -> Instruments:
        """Take the instruments from the venues' own statement of their rules."""
        table = Instruments()
        for venue, twin in self.twins.items():
            rules = twin.info
            body = msgspec.json.encode(rules(None, {}))
            for instrument in load_venue(venue).parse_instruments(body, ["BTCUSDT"]):
                table.add(instrument)
        return table

    # -- processes -------------------------------------------------------------------------

    def spawn(self, process: Process | None, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run work as part of a process."""
        token = running.set(process)
        try:
            return self.loop.create_task(work)
        finally:
            running.reset(token)

    async def _as(self, process: Process, work: Coroutine[Any, Any, Any]) -> Any:
        return await self.spawn(process, work)

    async def _open_venues(self) -> None:
        options = TwinOptions(venues=tuple(VENUES))
        self.twins: dict[str, Any] = {venue: make_twin(venue, options) for venue in VENUES}
        underlying = Underlying(self.source, 600_000)
        self.markets = {}
        for venue, twin in self.twins.items():
            _retime(twin, self.clock)
            twin._recordings = {}  # noqa: SLF001 - its market is ours
            made = SymbolMarket(twin.exchange.market("BTCUSDT"), underlying, self.source)
            self.markets[venue] = made
            twin.prime("BTCUSDT", made.snapshot())
        self.server = TwinServer({twin: PORTS[venue] for venue, twin in self.twins.items()})
        await self.server.start()
        for venue in VENUES:
            self.spawn(self.venues, self._trade(venue))

    async def _trade(self, venue: str) -> None:
        """Let one venue's market happen, a third of a second's messages at a time at most."""
        twin, market = self.twins[venue], self.markets[venue]
        rate = self.rate_hz / len(VENUES) / 2.25  # frames a step of the market
        while True:
            await asyncio.sleep(self.source.expovariate(rate))
            for raw in market.frames():
                twin.feed("BTCUSDT", raw, self.clock.now())
                self.messages += 1
            self.checker.touched(venue, *market.touch)

    def start_feeder(self, venue: str) -> None:
        """Start (again) what feeds a venue."""
        process = self.feeders[venue] = Process(f"feeder:{venue}")
        self.spawn(process, self._feed(venue))

    async def _feed(self, venue: str) -> None:
        plugin = load_venue(venue)
        feeder = Feeder(
            plugin.bind(self.instruments, None, 0), self.matrix,
            self.instruments.venues.index(venue), self.clock,
            endpoints_of(plugin, self.config.venues[venue]),
            source=random.Random(self.source.random()),  # noqa: S311
            options=FeederOptions(stale_ns=3 * SECOND, beat_ns=200 * MS, clock_ns=0),
        )  # fmt: skip
        self.kept.append(feeder)
        await feeder.run()

    def start_engine(self) -> None:
        """Start (again) the engine process."""
        process = self.engine_process = Process("engine")
        self.engine_task = self.spawn(process, self._engine())

    async def _engine(self) -> None:
        host = Host(
            self.clock, random.Random(self.source.random()), self.stepper,  # noqa: S311
            {"segment_bytes": 8 << 20, "background": False}, 100 * MS, 10 * SECOND,
        )  # fmt: skip
        session = Session(self.config, self.run_directory, self.matrix, self.instruments, host)
        self.sessions.append(session)
        try:
            self.exit_codes.append(await session.run())
        except Exception as error:  # noqa: BLE001 - judged below, as a supervisor would
            self.note(f"engine ended: {error!r}")
        if not self.ending:
            self.spawn(None, self._restart())

    async def _restart(self) -> None:
        await asyncio.sleep(RESTART_NS / SECOND)
        if not self.ending:
            self.start_engine()

    def kill_engine(self) -> None:
        """End the engine as kill -9 does; its supervisor starts another."""
        process = self.engine_process
        if process is None or not process.alive or self.ending:
            return
        self.note("kill engine")
        process.kill()
        session = self.sessions[-1]
        self.kept.append((session, self.engine_task))
        self.steppers.clear()
        if hasattr(session, "inputs"):
            abandon(session)
        self.spawn(None, self._restart())

    # -- the world's turns -----------------------------------------------------------------

    def note(self, what: str) -> None:
        """Keep what happened, for the trace."""
        self.events.append((self.loop.now_ns, what))

    def violate(self, what: str) -> None:
        """Keep a broken invariant."""
        self.violations.append(f"{self.loop.now_ns / SECOND:.3f} s: {what}")

    def _turn(self) -> None:
        now = self.loop.now_ns
        for stepper in list(self.steppers):
            if stepper.process is not None and stepper.process.stopped:
                continue
            token = running.set(stepper.process)
            try:
                stepper.turn(now)
            finally:
                running.reset(token)
        self.steps += 1

    async def _end(self) -> None:
        """Let the engine end as a user would, with everything healed."""
        self.ending = True
        self.ended_at = (self.loop.now_ns, self.loop.turns, self.messages)
        if self.engine_process is not None and self.engine_process.stopped:
            self.engine_process.go_on()
        for link in self.network.links.values():
            link.heal()
        await asyncio.sleep(3)
        if self.engine_task.done() or not self.engine_process or not self.engine_process.alive:
            self.ending = False
            self.start_engine()
            self.ending = True
            await asyncio.sleep(5)
        await self._until_agreed()
        self.sessions[-1].stop_asked.set()
        try:
            async with asyncio.timeout(60):
                await self.engine_task
        except TimeoutError:
            self.violate("the engine does not end")
        for process in self.feeders.values():
            process.kill()
        await self._as(self.venues, self.server.stop())

    async def _until_agreed(self) -> None:
        """Wait for what a restart shortly before left to be asked.

        What a killed engine may or may not have sent is proven missing after the horizon
        and two more questions. Stopped sooner, the engine ends with an error, rightly.
        """
        until = self.loop.now_ns + int(READY_SECONDS * SECOND)
        while self.loop.now_ns < until and not self.engine_task.done():
            gateways = self.sessions[-1].gateways
            if gateways and all(gateway.ready.is_set() for gateway in gateways):
                return
            await asyncio.sleep(0.25)


def abandon(session: Session) -> None:
    """Give back what the kernel takes from a killed process: its locks. Files stay as they are."""
    for descriptor in (session.journal._lock, session.inputs._descriptor):  # noqa: SLF001
        if descriptor >= 0:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _retime(twin: VenueTwin, clock: WorldClock) -> None:
    """Give a twin the world's clock."""
    twin.clock = clock
    twin.exchange.now_ms = twin.now_ms
    twin.faults._monotonic = clock.monotonic  # noqa: SLF001


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a private folder below


@contextlib.contextmanager
def _logging(clock: WorldClock, verbose: bool) -> Iterator[None]:
    """Let the log tell the world's time, or nothing."""
    sink = log._sink  # noqa: SLF001 - the process has one, and it is put back
    before = (sink.clock, sink.level)
    sink.clock, sink.level = clock, sink.level if verbose else 100
    try:
        yield
    finally:
        sink.clock, sink.level = before


@contextlib.contextmanager
def _slower_rounds() -> Iterator[None]:
    """Look after things less often than live: each look costs as much here as a message."""
    before, gateway_module.HOUSEKEEP_NS = gateway_module.HOUSEKEEP_NS, 100 * MS
    gc.disable()
    try:
        yield
    finally:
        gateway_module.HOUSEKEEP_NS = before
        gc.enable()
