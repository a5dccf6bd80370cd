"""The killer: a process beside the engine that can do without it.

    python -m alephtx.engine.killer_main RUN SUPERVISOR  stands by while the run or its engine goes
    python -m alephtx.engine.killer_main RUN --once      does what is asked now, and ends

It is warm: the journal followed to its end, codecs bound, keys read. A request at the door
(`kill_door`), a kill file or SIGUSR1 makes it cancel at every venue at once; see
`execution.killing`. In between it keeps the venues' dead-man timers. In a session of its own, so
neither a Ctrl-C nor the death of its supervisor ends it while the engine lives.
"""

import asyncio
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core import garbage
from alephtx.core import log as logs
from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.config_schema import Account, Config
from alephtx.core.errors import AlephError, ConfigError, JournalError, Throttled
from alephtx.core.identity import killers_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import prefer_stored
from alephtx.core.ports import Request, What
from alephtx.engine import kill_door
from alephtx.engine.deadman import TICK_NS, DeadMan
from alephtx.engine.kill_engine import STIR_NS, engine_pid, see_to_engine
from alephtx.engine.kill_words import KillReport, KillRequest
from alephtx.engine.outside import owner_of, status_of
from alephtx.engine.placement import place_process
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.venues import bind_account
from alephtx.execution.flatten import Flatten, lots_to_close
from alephtx.execution.killing import AccountKill, AccountReport
from alephtx.execution.open_orders import OpenOrders
from alephtx.ledger.book import Ledger
from alephtx.matrix.journal import read, tail
from alephtx.net.buckets import Buckets
from alephtx.net.http import HttpClient, wait_asked_ns

log = logs.logger("kill")

ROUND_NS, ALONE_ROUNDS = 20_000_000, 10
SIGNAL_EVERY_NS = 2_000_000_000
"""How often a signal kills anew; a full disk makes whoever asks send it again and again."""

READ_MAX = 4_096
TIMEOUT_NS = 3_000_000_000
"""How long one request may hang; what it was about is seen at the next look."""


class Bound:
    """One account as the killer holds it: its kill, its wire, its rate budget."""

    def __init__(self, name: str, index: int, config: Config, killer: "Killer") -> None:
        section = config.accounts[name]
        codec, endpoints = bind_account(config, section, index, killer.instruments)
        codec.spec = msgspec.structs.replace(codec.spec, transport="http")
        self.index, self.section = index, section
        self.http = HttpClient(endpoints.http, venue=section.venue)
        self.buckets = Buckets(codec.spec.buckets, killer.clock)
        self.kill = AccountKill(
            name, codec, self.fetch, killer.clock, lambda: killer.open_orders.of(index),
            engine=config.node.engine, exclusive=section.exclusive,
        )  # fmt: skip
        self.kill.on_limits = self.buckets.learn
        self.http.on_leaving = self.kill.leaving
        self.deadman = _deadman(self.kill, section, killer, index)

    async def fetch(self, request: Request) -> tuple[int, Any, bytes]:
        """Do a request, with the share of the rate budget that is kept for cancels.

        A venue that asked us to wait is not asked meanwhile: Throttled, at once, so that a kill
        goes on looking and says in time what it could not do.
        """
        if held_ns := self.buckets.held_ns:
            said = f"the venue asked us to send nothing for {held_ns / 1e9:.0f} s more"
            raise Throttled(said, venue=self.section.venue, retryable=True)
        await self.buckets.take(request.weights, cancel=True)
        answer = await self.http.fetch(msgspec.structs.replace(request, timeout_ns=TIMEOUT_NS))
        if wait_ns := wait_asked_ns(answer[0], answer[1]):
            self.buckets.hold(wait_ns)
        return answer


def _config_of(run: RunDirectory) -> tuple[Config, str]:
    """Return a run's config and mode; keys that are not to be found are a matter of accounts."""
    try:
        config = load_config(run.config)
    except ConfigError as error:
        config = load_config(run.config, mode="paper")  # which is the mode that needs no keys
        log.error("config_incomplete", run=run.id, error=str(error))
        return config, "live"
    return config, config.node.mode


def _deadman(kill: AccountKill, section: Account, killer: "Killer", index: int) -> DeadMan | None:
    if not (section.exclusive and section.deadman_s and kill.codec.spec.deadman):
        return None
    timeout_ns = section.deadman_s * 1_000_000_000
    return DeadMan(kill, killer.clock, timeout_ns, lambda: killer.open_orders.of(index))


class Killer:
    """Stands by one run."""

    def __init__(self, run: RunDirectory) -> None:
        self.run, self.clock = run, MachineClock()
        self.config, mode = _config_of(run)
        owner = owner_of(run)
        self.mode = (owner.mode if owner is not None else "") or mode
        self.instruments: Instruments = run.load_instruments()
        self.open_orders = OpenOrders()
        self._tail: Any = None
        self._journal_trouble = ""
        self.accounts: list[Bound] = []
        self.unbound: list[AccountReport] = []
        if self.mode == "live":
            self._bind()
        self._numbers = 0
        self.stopping = self.signalled = False
        self._alone = self._next_signal = 0

    def _bind(self) -> None:
        """Bind every account that can be bound: one key that is missing must not spare the rest."""
        for index, (name, section) in enumerate(self.config.accounts.items()):
            try:
                self.accounts.append(Bound(name, index, self.config, self))
            except AlephError as error:
                log.error("account_not_bound", account=name, error=str(error))
                self.unbound.append(AccountReport(name, section.venue, error=str(error)))

    # -- standing by -----------------------------------------------------------------------

    async def stand_by(self, supervisor: int) -> None:
        """Serve the door until the run is over and no engine of it lives."""
        tasks = [
            asyncio.ensure_future(self._keep_deadmen()),
            asyncio.ensure_future(garbage.keep(self.clock, self._idle)),
        ]
        try:
            for request in kill_door.unfinished(self.run):
                await self.kill(request)
            while not self._over(supervisor):
                self.follow()
                kill_door.heed_files(self.run)
                await self.serve()
                await self.clock.sleep(ROUND_NS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()

    def _idle(self) -> bool:
        return not kill_door.unfinished(self.run)

    def _over(self, supervisor: int) -> bool:
        """Tell whether there is nothing left to stand by; a process that just begins may hide."""
        alone = os.getppid() != supervisor and not engine_pid(self.run)
        self._alone = self._alone + 1 if alone else 0
        return self.stopping or self._alone >= ALONE_ROUNDS

    def stop(self) -> None:
        """End after what is being done."""
        self.stopping = True

    async def serve(self) -> None:
        """Do what is asked, by signal or at the door."""
        now = self.clock.monotonic()
        if self.signalled and now >= self._next_signal:
            self.signalled, self._next_signal = False, now + SIGNAL_EVERY_NS
            request = KillRequest(f"{self.clock.now()}-signal", self.clock.now(), now, "SIGUSR1",
                                  "signal")  # fmt: skip
            kill_door.note_quietly(self.run, request.reason)
            await self.kill(request)
        while (taken := kill_door.take(self.run)) is not None:
            await self.kill(taken)

    def signal(self) -> None:
        """Kill at the next round; needs no disk."""
        self.signalled = True

    def follow(self) -> None:
        """Bring our view of open orders up to the journal's end, or as far as it can be read.

        What a damaged journal does not tell, the venue does.
        """
        try:
            if self._tail is None:
                if not any(self.run.journal.glob("*.seg")):
                    return
                self._tail = tail(self.run.journal)
            while records := self._tail.poll(READ_MAX):
                for record in records:
                    self.open_orders.take(record)
        except JournalError as error:
            if not self._journal_trouble:
                log.error("journal_not_followed", run=self.run.id, error=str(error))
            self._journal_trouble = str(error)

    async def _keep_deadmen(self) -> None:
        while True:
            if self._engine_stirs():
                timers = [bound.deadman.tick() for bound in self.accounts if bound.deadman]
                for result in await asyncio.gather(*timers, return_exceptions=True):
                    if isinstance(result, Exception):
                        log.error("deadman_failed", error=repr(result))
            await self.clock.sleep(TICK_NS)

    def _engine_stirs(self) -> bool:
        """Tell whether the engine spoke lately and trades; else the timers may run out."""
        try:
            status = status_of(self.run)
        except AlephError:
            return False
        return status is not None and not status.halted and self.clock.now() - status.ts < STIR_NS

    async def close(self) -> None:
        """Disarm the timers where the run ended with nothing open; let the connections go."""
        ended = self.run.read_json(self.run.path / "engine.json") or {}
        for bound in self.accounts:
            if bound.deadman and ended and not ended.get("left_open"):
                await bound.deadman.disarm()
            await bound.http.close()
        if self._tail is not None:
            self._tail.close()

    # -- the kill --------------------------------------------------------------------------

    async def kill(self, request: KillRequest) -> KillReport:
        """Cancel at every venue, close positions where that was asked, and report."""
        log.error("kill_begins", run=self.run.id, by=request.by, reason=request.reason)
        kill_door.block(self.run)
        self.follow()
        deadline = request.asked_ns + int(request.wait_s * 1e9)
        report = KillReport(self.run.id, request, halted=kill_door.is_halted(self.run))
        if self.mode == "feed":
            report.confirmed, report.live_orders = True, 0
            return self._finish(report, "market data only, nothing to stop")
        engine = asyncio.ensure_future(see_to_engine(self.run, self.clock, request.ts, deadline))
        kills = (self._kill_at(bound, request.asked_ns, deadline) for bound in self.accounts)
        report.accounts = [*await asyncio.gather(*kills), *self.unbound]
        if request.flatten:
            closing = (self._flatten(bound, deadline) for bound in self.accounts)
            await asyncio.gather(*closing)
        report.last_cancel_ns = max((account.sent_ns for account in report.accounts), default=0)
        report.engine = await engine
        report.halted = kill_door.is_halted(self.run)
        return self._finish(report, self._judge(report))

    async def _kill_at(self, bound: Bound, asked_ns: int, deadline: int) -> AccountReport:
        """Kill at one account; a fault of ours there must not spare the others."""
        try:
            return await bound.kill.kill(asked_ns, deadline)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other venues come first
            log.error("kill_failed", account=bound.kill.name, error=repr(error))
            bound.kill.report.error = f"a fault of ours: {type(error).__name__}"
            bound.kill.report.confirmed = False
            return bound.kill.report

    def _judge(self, report: KillReport) -> str:
        """Say what the accounts' reports and the engine's word come to."""
        if not report.accounts:
            report.confirmed = report.engine in ("", "was hung, and was started again")
            status = None if report.confirmed else status_of(self.run)
            report.live_orders = status.live_orders if status is not None else 0
            if report.engine == "is not there":
                report.confirmed, report.live_orders = True, 0
                return "nobody runs it, and its orders were simulated"
            return "halted, no order is open" if report.confirmed else f"its engine {report.engine}"
        report.confirmed = all(account.confirmed for account in report.accounts)
        shown = sum(len(account.open) + account.unproven for account in report.accounts)
        blind = any(account.error for account in report.accounts if not account.confirmed)
        report.live_orders = 0 if report.confirmed else -1 if blind else shown
        if report.request.flatten:
            report.flat = all(account.flat for account in report.accounts)
        if not report.confirmed:
            told = [a.account for a in report.accounts if not a.confirmed]
            return f"not confirmed at {', '.join(told)}: orders may be open"
        said = "halted, no order is open" if report.halted else "no order is open"
        if report.flat is not None:
            said += ", positions are closed" if report.flat else ", positions are left"
        return said + (f"; its engine {report.engine}" if report.engine else "")

    def _finish(self, report: KillReport, said: str) -> KillReport:
        report.said = said
        report.took_ns = self.clock.monotonic() - report.request.asked_ns
        kill_door.finish(self.run, report)
        log.error("kill_ends", run=self.run.id, confirmed=report.confirmed, said=said)
        return report

    # -- flattening ------------------------------------------------------------------------

    async def _flatten(self, bound: Bound, deadline: int) -> None:
        """Close an account's positions once nothing of ours is open there."""
        account = bound.kill.report
        if not account.confirmed:
            account.flat = False
            account.error = account.error or "not flattened: orders may be open"
            return
        flatten = Flatten(
            bound.kill, bound.index, self._next_id, self._record, bound.section.flatten_bps
        )
        try:
            left = await flatten.close(await self._held(bound), deadline)
            dust = {i for i, lots in left.items() if await flatten.order(i, lots) is None}
        except (AlephError, OSError) as error:  # OSError: an order that cannot be recorded
            account.error, account.flat = str(error), False
            return
        account.flat = set(left) <= dust
        account.positions = {self.instruments[i].key: str(lots) for i, lots in left.items()}

    async def _held(self, bound: Bound) -> dict[int, int]:
        """Return what to close, instrument -> signed lots, by our books and the venue's word."""
        ledger = Ledger(self.instruments)
        ledger.fold(read(self.run.journal))
        ours: dict[int, int] = {}
        for (account, _, i), position in ledger.strategies.items():
            if account == bound.index:
                ours[i] = ours.get(i, 0) + position.qty
        await bound.kill.ask(What.POSITIONS)
        await bound.kill.ask(What.BALANCES)
        at_venue = {holding.instrument: holding.qty for holding in bound.kill.holdings}
        free = {balance.currency: balance.free for balance in bound.kill.balances}
        held = {}
        for i in self.instruments.of_venue(bound.section.venue):
            instrument = self.instruments[i]
            lots = lots_to_close(
                instrument, ours.get(i, 0), at_venue.get(i, 0),
                free.get(instrument.base, Decimal(0)), exclusive=bound.section.exclusive,
            )  # fmt: skip
            if lots:
                held[i] = lots
        return held

    def _orders_file(self) -> Path:
        return kill_door.folder(self.run) / "orders.jsonl"

    def _next_id(self) -> int:
        """Return an order id that no killer of this run has used."""
        if not self._numbers:
            file = self._orders_file()
            self._numbers = len(file.read_bytes().splitlines()) if file.exists() else 0
        self._numbers += 1
        return killers_order_id(self.config.node.engine, self.open_orders.epoch, self._numbers)

    def _record(self, order: dict[str, Any]) -> None:
        """Keep an order on disk before it leaves."""
        with self._orders_file().open("ab") as file:
            file.write(msgspec.json.encode({"ts": self.clock.now(), **order}) + b"\n")
            file.flush()
            os.fsync(file.fileno())


async def stand_by(run: RunDirectory, supervisor: int, *, signalled: bool = False) -> None:
    """Stand by a run as its supervisor's child; SIGUSR1 kills, SIGTERM ends."""
    prefer_stored()
    killer = Killer(run)
    place_process("killer", killer.config.machine.killer_cpu)
    garbage.hold()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, killer.signal)
    killer.signalled = signalled
    loop.add_signal_handler(signal.SIGTERM, killer.stop)
    await killer.stand_by(supervisor)


async def once(run: RunDirectory) -> None:
    """Do what is asked at a run's door now."""
    killer = Killer(run)
    killer.follow()
    try:
        await killer.serve()
    finally:
        await killer.close()
