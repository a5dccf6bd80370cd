"""One account's way to its venue: orders out, links up, and what a broken link means.

Runs on the engine process's asyncio thread. The compiled loop hands intents over through a ring,
already journaled; everything the venue says goes back through the account's lossless update ring,
in one order, so the loop stays the only writer of state (`inbox`).

An outcome that was not proven is AMBIGUOUS and is asked for, never sent again (`resync`). While a
link is down the account is between RESYNC_BEGIN and RESYNC_END: no new risk. RESYNC_END comes only
after open orders, orders in doubt, and fills since the last proven moment were asked for and
pushed; its ts_event is the moment up to which everything is known.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import msgspec

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import VenueError
from alephtx.core.log import logger
from alephtx.core.ports import Balance, Codec, Control, Holding, Link, Request, Rows, What
from alephtx.execution.inbox import Inbox, LiveOrder
from alephtx.execution.lookout import Lookout
from alephtx.execution.outbox import Outbox
from alephtx.execution.resync import Truth
from alephtx.execution.standing import FOR_A_PERSON, FORCED, FOREIGN, Standing
from alephtx.net.clockwatch import ClockWatch

__all__ = ["Gateway", "LiveOrder", "Wire"]

log = logger("gateway")

AUDIT_NS = 60_000_000_000
"""How often everything is asked for although nothing broke: a lost frame is found within it."""

REREAD_NS, REREADS_A_MINUTE = 1_000_000_000, 8
"""How soon a frame that was not understood makes us ask for everything, and how often: a venue that
sends nothing else is asked at the pace of RECHECK_NS, or its rate budget would be spent on it."""

RECHECK_NS = 5_000_000_000
"""How soon we ask for everything again where the venue did not answer."""

CONFIRM_NS = 10_000_000_000
"""How long a private link may take to confirm what it will send, before it is opened anew."""

KEEPALIVE_NS, KEEPALIVE_AGAIN_NS = 30 * 60_000_000_000, 60_000_000_000
HOUSEKEEP_NS = 5_000_000
PAUSE_NS, PAUSE_MAX_NS = 200_000_000, 5_000_000_000


async def _nothing_more() -> None:
    """Do nothing after an audit: where nobody keeps books."""


class Wire(Protocol):
    """What the gateway needs of the network; `engine.wire` builds it from `net`."""

    async def fetch(self, request: Request) -> tuple[int, Any, bytes]:
        """Do an HTTP request; TransportError with `.sent` when no answer came."""
        ...

    def send(self, role: str, frame: bytes) -> bool:
        """Send a frame on the trade or private link; False when it is down."""
        ...

    async def take(self, request: Request, *, urgent: bool) -> None:
        """Wait for the request's rate budget."""
        ...

    def learn(self, used: dict[str, int]) -> None:
        """Take the venue's own count of our rate budgets."""
        ...

    def hold(self, duration_ns: int) -> None:
        """Send nothing for that long: the venue asked for it."""
        ...

    def open(self, role: str, links: list[Any]) -> None:
        """Open (or replace) a role's links: Links, or coroutine functions that make one."""
        ...

    def drop(self, role: str, reason: str) -> None:
        """Close a role's links; they are opened again at once."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...


class Gateway:
    """The gateway of one account.

    push: appends one UPDATE row to the account's ring, False when full. traded: instruments whose
    fills are asked for. engine: our number, by which our orders are told. exclusive: nobody else
    may trade here, so a foreign order or fill lets no new risk through. on_sent(op, order_id,
    ns): the bytes of an order, amend or cancel left. on_failed(error): a fault of ours, after which
    nothing here can be trusted; the process ends.
    """

    def __init__(
        self,
        account: int,
        codec: Codec,
        wire: Wire,
        clock: Clock,
        push: Callable[[Rows], bool],
        *,
        traded: list[int],
        engine: int = -1,
        exclusive: bool = False,
        on_sent: Callable[[int, int, int], None] = lambda op, order_id, ns: None,
        on_failed: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.account = account
        self.codec = codec
        self.wire = wire
        self.clock = clock
        self.ready = asyncio.Event()
        self.inbox = Inbox(account, clock, push)
        self.clock_watch = ClockWatch(codec, self._fetch, clock, who="gateway")
        self.truth = Truth(
            codec, self.inbox, self.clock_watch, clock, self._fetch, traded=traded, engine=engine,
            spawn=self._spawn, on_control=self._control, on_stray=self._cancel_stray,
        )  # fmt: skip
        self.inbox.on_orphans = self.truth.explain_soon
        self.truth.on_unanswered = lambda: self.audit_within(RECHECK_NS)
        self.outbox = Outbox(
            account, codec, wire, self.clock_watch, clock, self.inbox, self.truth, self._spawn
        )
        self.lookout = Lookout(self.truth, self.inbox, clock, self._spawn)
        self.outbox.on_sent, self.outbox.on_control = on_sent, self._control
        self.inbox.on_revived, self.inbox.on_foreign = self._cancel_stray, self._foreign_seen
        self.inbox.engine, self.inbox.on_spoilt = engine, self._reread
        self.standing = Standing(account, self._standing_changed)
        self.on_audited: Callable[[], Awaitable[None]] = _nothing_more
        self.exclusive = exclusive
        self.resyncs = 0
        self._on_failed = on_failed
        self._links_up: set[str] = set()
        self._rereads: deque[int] = deque()  # when unreadable frames made us ask, or will
        self._needed: set[str] = set()
        self._login = ""
        self._confirmations = 0
        self._up_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._resync_task: asyncio.Task[None] | None = None
        self._audit_task: asyncio.Task[None] | None = None
        self._audit_due_ns = clock.monotonic() + AUDIT_NS
        self._in_resync = True
        self._closing = False

    # -- what the session reads ------------------------------------------------------------

    @property
    def live(self) -> dict[int, LiveOrder]:
        """Orders that are not known to be over."""
        return self.inbox.live

    @property
    def by_venue_id(self) -> dict[int, int]:
        """Venue's order id -> ours."""
        return self.inbox.by_venue_id

    @property
    def balances(self) -> list[Balance]:
        """Balances as the venue last stated them."""
        return self.truth.balances

    @property
    def holdings(self) -> list[Holding]:
        """Positions as the venue last stated them."""
        return self.truth.holdings

    @property
    def foreign(self) -> int:
        """Orders and fills that were not ours."""
        return self.inbox.foreign

    @property
    def counts(self) -> dict[str, int]:
        """What happened so far."""
        return {**self.outbox.counts, "resyncs": self.resyncs, "fills": self.inbox.fills}

    def resume(
        self,
        live: list[LiveOrder],
        venue_ids: dict[int, int],
        since_ns: int,
        foreign: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Take up what the journal knows: orders not over, ids, and until when all is known.

        foreign: instrument and trade id of fills of nobody's order, which are booked and told.
        """
        self.inbox.known(foreign)
        self.inbox.live.update((order.order_id, order) for order in live)
        self.inbox.by_venue_id.update(venue_ids)
        self.truth.since_ns = since_ns or self.truth.since_ns

    def closed(self, mask: int) -> None:
        """Take up what closed the account for a person when the engine before ended."""
        self.standing.restore(mask)

    def opened(self, since_ns: int) -> None:
        """Say since when the ledger counts this account."""
        self.inbox.opened_ns = since_ns

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the links; the resync begins by itself once they are up."""
        self._push_closed()
        trade = self.codec.links("trade")
        private = self.codec.links("private", "-")
        self._needed = {role for role, links in (("private", private), ("trade", trade)) if links}
        if private:
            self.wire.open("private", [self._private_link])
        if trade:
            self.wire.open("trade", trade)
        if not self._needed:
            self._resync()
        self._spawn(self._housekeep())
        self._spawn(self.clock_watch.run())

    async def _private_link(self) -> Link:
        """Make the private link anew, with a fresh login, for every connection."""
        frames: tuple[bytes, ...] = ()
        for request in self.codec.request(What.LOGIN, self.clock_watch.now()):
            if request.transport == "http":
                await self.truth.ask(request)
            else:
                frames += (request.body,)
        link = self.codec.links("private", self._login)[0]
        link = msgspec.structs.replace(link, frames=frames + link.frames)
        self._confirmations = len(link.frames)
        return link

    async def close(self) -> None:
        """Stop talking; orders are the caller's business."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.outbox.close()
        await self.wire.close()

    def submit(self, intents: Rows) -> None:
        """Send INTENT rows of this account; called with rows already journaled."""
        self.outbox.submit(intents)

    async def synchronise(self) -> None:
        """Ask for everything about this account; VenueError when the venue does not answer."""
        await self.truth.synchronise()

    def fetch_fills_soon(self, instrument: int) -> None:
        """Ask for an instrument's fills: the venue counts more than we saw."""
        self.truth.fetch_fills_soon(instrument)

    def question(self, order_id: int, instrument: int) -> None:
        """Ask for an order whose reports contradict each other."""
        self.truth.question(order_id, instrument)

    async def _fetch(self, request: Request) -> tuple[int, Any, bytes]:
        await self.wire.take(request, urgent=False)
        return await self.wire.fetch(request)

    def _cancel_stray(self, order_id: int, instrument: int) -> None:
        self.outbox.cancel(order_id, instrument)

    # -- the venue's words -----------------------------------------------------------------

    def on_frame(self, role: str, frame: bytes | memoryview, ts_recv: int) -> None:
        """Digest a frame of the private or trade link."""
        if self.outbox.digest_frame(role, frame, ts_recv) < 0:
            # It may have been a fill. What it was about is in the venue's answers in any case.
            log.warning("frame_not_understood", account=self.account, role=role)
            self._reread()

    def _reread(self) -> None:
        """Ask for everything soon: within a second, unless that happened often of late."""
        now = self.clock.monotonic()
        while self._rereads and now - self._rereads[0] > 60_000_000_000:
            self._rereads.popleft()
        if self._rereads and self._rereads[-1] > now:
            return  # it is due already
        pace = REREAD_NS if len(self._rereads) < REREADS_A_MINUTE else RECHECK_NS
        due = max(now + REREAD_NS // 4, self._rereads[-1] + pace if self._rereads else 0)
        self._rereads.append(due)
        self.audit_within(due - now)

    def _control(self, control: Control, role: str = "http") -> None:
        kind = control.kind
        if kind == "error":
            log.warning("venue_error", account=self.account, error=str(control.value))
            if role == "private" and self._confirmations > 0:
                self.wire.drop("private", "the venue refused our subscription")
        elif kind == "send":
            self.wire.send(role, control.value)
        elif kind == "login":
            self._login = str(control.value)
        elif kind == "subscribed":
            self._confirmations -= 1
            self._maybe_resync()
        elif kind == "limits":
            self.wire.learn(control.value)
        elif kind == "funding":
            self.truth.fetch_funding_soon()
        elif kind in ("login_expired", "reconnect"):
            log.info("link_renewed", account=self.account, why=kind)
            self.wire.drop("private" if kind == "login_expired" else role, kind)
        elif kind == "foreign":
            self.inbox.foreign += 1
            log.warning("foreign_order_seen", account=self.account, what=control.value)
            if control.key == "order":
                self._foreign_seen(str(control.value))
        elif kind == "forced":
            self.standing.block(FORCED, str(control.value))

    # -- links and resync ------------------------------------------------------------------

    def on_up(self, role: str) -> None:
        """Note that a link is open and its frames are sent."""
        self._links_up.add(role)
        self._up_ns = self.clock.monotonic()
        if role == "trade":
            self.outbox.link_up()
        self._maybe_resync()

    def _maybe_resync(self) -> None:
        """Resync once every link is up and the private one has confirmed what it sends us."""
        if self._needed <= self._links_up and self._confirmations <= 0 and self._in_resync:
            self._resync()

    def on_down(self, role: str, why: str) -> None:
        """Block new risk: what was under way is unproven, what the link would have said unheard."""
        if self._closing:
            return
        self._links_up.discard(role)
        if role == "trade":
            self.outbox.link_lost(why)
        if not self._in_resync:
            log.warning("account_resync_began", account=self.account, why=f"{role} lost: {why}")
            self._in_resync = True
            self.ready.clear()
            self._push_closed()
        if self._resync_task is not None:
            self._resync_task.cancel()
            self._resync_task = None

    def _resync(self) -> None:
        if self._resync_task is None or self._resync_task.done():
            self._resync_task = self._spawn(self._run_resync())

    async def _run_resync(self) -> None:
        """Ask until everything about our orders is known, then open the account for new risk."""
        pause = PAUSE_NS
        while not self._closing:
            # It answers what was asked for before it began; what is asked for meanwhile stands.
            self._audit_due_ns = self.clock.monotonic() + AUDIT_NS
            try:
                await self.truth.synchronise()
            except VenueError as error:
                log.warning("account_resync_failed", account=self.account, error=str(error))
                await self.clock.sleep(pause)
                pause = min(pause * 2, PAUSE_MAX_NS)
                continue
            self._in_resync = False
            self.resyncs += 1
            self._push_known()
            self.ready.set()
            log.info("account_resynced", account=self.account, live=len(self.live))
            return

    def _foreign_seen(self, what: str) -> None:
        if self.exclusive:
            self.standing.block(FOREIGN, what)

    def lift(self) -> None:
        """Take new risk again after a person looked at what foreigners or the venue did."""
        self.standing.lift(*FOR_A_PERSON)

    def _standing_changed(self) -> None:
        """Close the account at once, or open it when nothing else keeps it closed."""
        if self._in_resync or self.standing.blocked:
            self._push_closed()
        else:
            self._push_known()

    def _push_closed(self) -> None:
        """Say that the account takes no new risk, and what of it waits for a person."""
        row = self.inbox.blank(words.RESYNC_BEGIN)
        row["code"] = self.standing.mask
        self.inbox.push(row)

    def _push_known(self) -> None:
        """Say until when everything is known, and that the account is open where nothing blocks."""
        row = self.inbox.blank(words.RESYNC_END)
        row["ts_event"] = self.truth.since_ns
        row["flags"] = words.STILL_BLOCKED if self.standing.blocked else 0
        row["code"] = self.standing.mask
        self.inbox.push(row)

    def audit_within(self, duration_ns: int) -> None:
        """Ask for everything that soon, if it is not done sooner."""
        soon = self.clock.monotonic() + duration_ns
        self._audit_due_ns = min(self._audit_due_ns, soon)

    async def _audit(self) -> None:
        """Ask for everything although nothing seems to be missing; lost frames come to light."""
        try:
            await self.truth.synchronise(settled=True)
            if not self._in_resync:
                self._push_known()
                await self.on_audited()
        except VenueError as error:
            log.warning("account_audit_failed", account=self.account, error=str(error))
            self.audit_within(RECHECK_NS)

    async def _housekeep(self) -> None:
        """Push the backlog, audit, watch the private link's confirmation, keep the login alive."""
        keepalive_ns = self.clock.monotonic() + KEEPALIVE_NS
        while not self._closing:
            await self.clock.sleep(HOUSEKEEP_NS)
            self.inbox.sweep()
            if self.outbox.writer is not None:
                self.outbox.writer.prepare()
            now = self.clock.monotonic()
            auditing = self._audit_task is not None and not self._audit_task.done()
            # One that is asked for while another goes on is not answered by that.
            if now >= self._audit_due_ns and not self._in_resync and not auditing:
                self._audit_due_ns = now + AUDIT_NS
                self._audit_task = self._spawn(self._audit())
            if not self._in_resync and not auditing:
                self.lookout.sweep()
            unconfirmed = self._confirmations > 0 and "private" in self._links_up
            if unconfirmed and now - self._up_ns > CONFIRM_NS:
                self._up_ns = now
                self.wire.drop("private", "it did not confirm our subscription")
            if self._login and now >= keepalive_ns:
                keepalive_ns = now + await self._keepalive()

    async def _keepalive(self) -> int:
        """Keep the login alive; returns the ns until the next time."""
        try:
            await self.truth.query(What.KEEPALIVE, key=self._login)
        except VenueError as error:
            log.warning("keepalive_failed", account=self.account, error=str(error))
            return KEEPALIVE_AGAIN_NS
        return KEEPALIVE_NS

    # -- tasks -----------------------------------------------------------------------------

    def _spawn(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("gateway_task_failed", account=self.account, error=repr(error))
            self._on_failed(error)
