"""The whole stack in one process and in virtual time, from one seed.

Twins, feeders, the engine with its gateways, strategies, gate, ledger and journal are the real
ones; only the clock, the network, the machine's randomness and the thread that drives the step are
the world's. See docs/simulation.md for what is and what is not simulated.
"""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.instruments import Instruments
from alephtx.engine.host import Host
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import Session
from alephtx.engine.venues import load_venue
from alephtx.feed.endpoints import endpoints_of
from alephtx.feed.feeder import Feeder, FeederOptions
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import halt_set
from alephtx.testing.world.checks import Checker
from alephtx.testing.world.hard import OFFICERS, POOLS
from alephtx.testing.world.host import (
    EPOCH_NS,
    MS,
    SECOND,
    Stepper,
    WorldClock,
    abandon,
    fast_folder,
    logging,
    retime,
    slower_rounds,
)
from alephtx.testing.world.layout import POOL, PORTS, VENUES, config_of
from alephtx.testing.world.loop import WorldLoop
from alephtx.testing.world.market import SymbolMarket, Underlying
from alephtx.testing.world.network import Network, Process, running
from alephtx.testing.world.plans import Planned, plan, play
from alephtx.testing.world.pool import PoolHost, redis_program
from alephtx.twins.main import make_twin
from alephtx.twins.options import TwinOptions
from alephtx.twins.server import TwinServer

RESTART_NS = 300 * MS
AGREED_NS = 60 * SECOND


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
        self.steps = self.lives = 0
        self.messages = 0
        self.ending = self.funded = self.over = False
        self.under_way: set[str] = set()  # faults of the wide catalogue that are not over
        self.trouble = 0  # of these, those after which books may differ
        self.halts: list[list[int]] = []  # from, to; to is 0 while it stands
        self.closed: list[tuple[int, int, int]] = []  # account, from, to
        self.foreign: set[str] = set()  # client ids of orders that are not ours
        self.on_intent: list[Callable[[], None]] = []
        self.fell: list[str] = []  # engines that ended by themselves
        self.pool: PoolHost | None = None
        self.ended_at = (0, 0, 0)
        self.engine_process: Process | None = None
        self.engine_task: Any = None

    # -- set-up ----------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Play the world to its end."""
        self.folder = Path(tempfile.mkdtemp(prefix="aleph-world-", dir=fast_folder()))
        self.loop = WorldLoop()
        self.network = self.loop.network = Network(self.loop, random.Random(self.seed + 1))  # noqa: S311
        self.clock = WorldClock(self.loop)
        self.loop.after_turn = self._turn
        self.checker = Checker(self)
        self.stepper = type("SeededStepper", (Stepper,), {"world": self})
        with slower_rounds(), logging(self.clock, self.verbose):
            try:
                asyncio.set_event_loop(self.loop)
                self.loop.run_until_complete(self._play())
            finally:
                self.over = True
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
        if self.pool is not None:
            self.pool.end()
        matrix = getattr(self, "matrix", None)
        if matrix is not None:
            matrix.unlink()
            matrix.close()
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _play(self) -> None:
        venues = self.venues = Process("venues")
        await self._as(venues, self._open_venues())
        await self._open_pool()
        self.config = config_of(self.folder, OFFICERS, POOL if self.pool else None)
        self.instruments = self._list()
        geometry = Geometry(
            instruments_max=4, venues_max=2, depth=4, ring_slots=4096, signals_max=4, writers_max=64
        )
        self.matrix = Matrix.create(
            self.folder / "matrix", self.instruments, geometry, clock_offset_ns=EPOCH_NS
        )
        halt_set(self.matrix.map, 0)  # loaded now: later there may be no descriptor for it
        self.run_directory = RunDirectory.create(self.folder / "runs", "world", self.config.dump())
        self.run_directory.instruments.write_bytes(self.instruments.to_json())
        self.feeders: dict[str, Process] = {}
        self.feeding: dict[str, Feeder] = {}
        for venue in VENUES:
            self.start_feeder(venue)
        self.start_engine()
        for planned in self.plan:
            self.spawn(None, play(self, planned))
        self.spawn(None, self.checker.watch()).add_done_callback(self._watch_ended)
        await asyncio.sleep(self.seconds)
        await self._faults_over()
        await self._end()
        self.checker.judge()

    def _watch_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.violate(f"nobody looks any more: {error!r}")

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
            retime(twin, self.clock)
            twin._recordings = {}  # noqa: SLF001 - its market is ours
            made = SymbolMarket(twin.exchange.market("BTCUSDT"), underlying, self.source)
            self.markets[venue] = made
            twin.prime("BTCUSDT", made.snapshot())
            self.checker.touched(venue, *made.touch)
        self.server = TwinServer({twin: PORTS[venue] for venue, twin in self.twins.items()})
        await self.server.start()
        for venue in VENUES:
            self.spawn(self.venues, self._trade(venue))

    async def _open_pool(self) -> None:
        """Start what shared limits need, where the plan has a fault of it."""
        program = redis_program()
        if program and not POOLS.isdisjoint(planned.name for planned in self.plan):
            self.pool = PoolHost(self, program)
            await self.pool.start()

    async def _trade(self, venue: str) -> None:
        """Let one venue's market happen, a third of a second's messages at a time at most."""
        twin, market = self.twins[venue], self.markets[venue]
        rate = self.rate_hz / len(VENUES) / 2.25  # frames a step of the market
        while True:
            await asyncio.sleep(self.source.expovariate(rate))
            if not market.market.trading:
                continue
            for raw in market.frames():
                twin.feed("BTCUSDT", raw, self.clock.now())
                self.messages += 1
            self.checker.touched(venue, *market.touch)

    def start_feeder(self, venue: str) -> None:
        """Start (again) what feeds a venue."""
        process = self.feeders[venue] = Process(f"feeder:{venue}")
        self.spawn(process, self._feed(venue))

    async def _feed(self, venue: str) -> None:
        plugin, process = load_venue(venue), self.feeders[venue]
        try:
            feeder = Feeder(
                plugin.bind(self.instruments, None, 0), self.matrix,
                self.instruments.venues.index(venue), self.clock,
                endpoints_of(plugin, self.config.venues[venue]),
                source=random.Random(self.source.random()),  # noqa: S311
                options=FeederOptions(stale_ns=3 * SECOND, beat_ns=200 * MS),
            )  # fmt: skip
            self.kept.append(feeder)
            self.feeding[venue] = feeder
            await feeder.run()
        except Exception as error:  # noqa: BLE001 - a supervisor starts another
            self.note(f"feeder of {venue} ended: {error!r}")
        if not self.ending and self.feeders[venue] is process:
            self.spawn(None, self._feed_again(venue, process))

    async def _feed_again(self, venue: str, process: Process) -> None:
        process.kill()
        await asyncio.sleep(RESTART_NS / SECOND)
        if not self.ending and self.feeders[venue] is process:
            self.start_feeder(venue)

    def start_engine(self) -> None:
        """Start (again) the engine process."""
        self.lives += 1
        process = self.engine_process = Process("engine")
        self.engine_task = self.spawn(process, self._engine())

    async def _engine(self) -> None:
        host = Host(
            self.clock, random.Random(self.source.random()), self.stepper,  # noqa: S311
            {"segment_bytes": 8 << 20, "background": False}, 100 * MS, 10 * SECOND, measure=False,
        )  # fmt: skip
        session: Session | None = None
        try:
            session = Session(self.config, self.run_directory, self.matrix, self.instruments, host)
            self.sessions.append(session)
            self.exit_codes.append(await session.run())
        except Exception as error:  # noqa: BLE001 - judged below, as a supervisor would
            self.note(f"engine ended: {error!r}")
            self._dead()
        if session is not None and session.fault is not None and not self.over:
            self.fell.append(repr(session.fault))
        if not self.ending:
            self.spawn(None, self._restart(self.lives))

    async def _restart(self, life: int) -> None:
        """Start the engine after this one, once: it may have ended just before it was killed."""
        await asyncio.sleep(RESTART_NS / SECOND)
        if not self.ending and self.lives == life:
            self.start_engine()

    def kill_engine(self) -> bool:
        """End the engine as kill -9 does; its supervisor starts another. False: none lived."""
        process = self.engine_process
        if process is None or not process.alive or self.ending:
            return False
        self.note("kill engine")
        process.kill()
        self.kept.append((self.sessions[-1], self.engine_task))
        self._dead()
        self.spawn(None, self._restart(self.lives))
        return True

    def _dead(self) -> None:
        """Do what the kernel does after a process."""
        self.steppers.clear()
        if self.sessions:
            abandon(self.sessions[-1])

    # -- the world's turns -----------------------------------------------------------------

    def note(self, what: str) -> None:
        """Keep what happened, for the trace; clearing away is no part of it."""
        if not self.over:
            self.events.append((self.loop.now_ns, what.replace(str(self.run_directory.path), "")))

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

    # -- what faults do to it --------------------------------------------------------------

    @staticmethod
    def port_of(venue: str) -> int:
        """Return where a venue listens."""
        return PORTS[venue]

    @property
    def is_halted(self) -> bool:
        """Tell whether the halt word is set."""
        return bool(self.halts) and self.halts[-1][1] == 0

    def halt(self, code: int) -> None:
        """Set the halt word as `alephtx kill` does, or lift it with 0."""
        halt_set(self.matrix.map, code)
        self.note(f"halt word {code}")
        if code:
            self.halts.append([self.loop.now_ns, 0])
        else:
            self.halts[-1][1] = self.loop.now_ns

    def standing(self, k: int) -> dict[str, str]:
        """Return why the engine that lives takes no new risk on an account."""
        process, gateways = self.engine_process, self.sessions[-1].gateways
        if process is None or not process.alive or len(gateways) <= k:
            return {}
        gateway: Any = gateways[k]
        return dict(gateway.standing.reasons)

    def audit(self, k: int) -> None:
        """Let the next audit of an account be due now; it is every minute."""
        for gateway in self.sessions[-1].gateways[k : k + 1]:
            asked: Any = gateway
            asked.audit_within(0)

    async def _faults_over(self) -> None:
        """Wait until everything that faults changed is put back."""
        until = self.loop.now_ns + 200 * SECOND
        while self.under_way:
            await asyncio.sleep(0.25)
            if self.loop.now_ns > until:
                self.violate(f"a fault does not end: {sorted(self.under_way)}")
                return

    async def _end(self) -> None:
        """Let the engine end as a user would, with everything healed."""
        self.ended_at = (self.loop.now_ns, self.loop.turns, self.messages)
        if self.engine_process is not None and self.engine_process.stopped:
            self.engine_process.go_on()
        for link in self.network.links.values():
            link.heal()
        for twin in self.twins.values():
            twin.faults.clear()
        await asyncio.sleep(3)
        await self._until_agreed()
        self.ending = True
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

        What a killed engine may or may not have sent is proven missing after the horizon and two
        more questions. Stopped sooner, the engine ends with an error, rightly.
        """
        until = self.loop.now_ns + AGREED_NS
        while self.loop.now_ns < until and not self.checker.connected():
            await asyncio.sleep(0.25)
