"""One account's way to its venue: orders out, the venue's words back, and the truth after any doubt.

Runs on the engine process's asyncio thread. The compiled loop hands intents over through a ring,
already journaled; everything the venue says goes back through the account's lossless update ring, in
one order, so the loop stays the only writer of state.

Rules: an outcome that was not proven is AMBIGUOUS and is queried, never resent. While the private
link is down the account is between RESYNC_BEGIN and RESYNC_END; RESYNC_END comes only after open
orders, every order of ours in doubt, and the fills since the last known one were asked for and
pushed. A fill that names only the venue's order id waits until the id is known.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import (
    OrderRejected,
    Throttled,
    TransportError,
    Unauthorized,
    VenueError,
    WouldCross,
)
from alephtx.core.log import logger
from alephtx.core.ports import (
    Balance,
    Batch,
    Codec,
    Control,
    Holding,
    Link,
    Request,
    Rows,
    What,
)
from alephtx.core.records import UPDATE

log = logger("gateway")

GRACE_NS = 2_000_000_000
"""How long after sending an order may still appear at the venue before NOT_FOUND is believed."""

FILLS_OVERLAP_NS = 60_000_000_000
ORPHAN_NS = 5_000_000_000
PAGES_MAX = 50


class Wire(Protocol):
    """What the gateway needs of the network; `engine.session` builds it from `net`."""

    async def fetch(self, request: Request) -> tuple[int, Any, bytes]:
        """Do an HTTP request; TransportError with `.sent` when no answer came."""
        ...

    def send(self, role: str, frame: bytes) -> bool:
        """Send a frame on the trade or private link; False when it is down."""
        ...

    async def take(self, request: Request, *, urgent: bool) -> None:
        """Wait for the request's rate budget."""
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


class LiveOrder(msgspec.Struct):
    """The gateway's note of an order that is not known to be over."""

    order_id: int
    instrument: int
    sent_ns: int
    venue_order_id: int = 0
    doubt: bool = False
    known: bool = False
    misses: int = 0


class Gateway:
    """The gateway of one account.

    push: appends one UPDATE row to the account's ring, False when full. resumed: orders that were
    not over when the engine last stopped, and since: the last fill's time, both from the journal.
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
        on_sent: Callable[[int, int], None] = lambda order_id, ns: None,
    ) -> None:
        self.account = account
        self.codec = codec
        self.wire = wire
        self.clock = clock
        self.traded = traded
        self.live: dict[int, LiveOrder] = {}
        self.by_venue_id: dict[int, int] = {}
        self.since_ns = clock.now() - FILLS_OVERLAP_NS
        self.ready = asyncio.Event()
        self.balances: list[Balance] = []
        self.holdings: list[Holding] = []
        self.foreign = 0
        self.counts = {"sent": 0, "rejected": 0, "ambiguous": 0, "resyncs": 0, "fills": 0}
        self._push_row = push
        self._on_sent = on_sent
        self._batch = Batch(events=64)
        self._pending: dict[str, tuple[Request, asyncio.TimerHandle]] = {}
        self._orphans: deque[tuple[int, Rows]] = deque()
        self._backlog: deque[Rows] = deque()
        self._links_up: set[str] = set()
        self._needed: set[str] = set()
        self._login = ""
        self._nonce = 0
        self._confirmations = 0
        self._more: dict[str, Any] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._resync_task: asyncio.Task[None] | None = None
        self._in_resync = True
        self._closing = False

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the links; the resync begins by itself once they are up."""
        self._push(self._blank(words.RESYNC_BEGIN))
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

    async def _private_link(self) -> Link:
        """Make the private link anew, with a fresh login, for every connection."""
        frames: tuple[bytes, ...] = ()
        for request in self.codec.request(What.LOGIN, self.clock.now()):
            if request.transport == "http":
                await self.ask(request)
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
        for _, timer in self._pending.values():
            timer.cancel()
        await self.wire.close()

    # -- orders out ------------------------------------------------------------------------

    def submit(self, intents: Rows) -> None:
        """Send INTENT rows of this account; called with rows already journaled."""
        now = self.clock.now()
        for k in range(len(intents)):
            if intents[k]["op"] == words.PLACE:
                order_id = int(intents[k]["order_id"])
                self.live[order_id] = LiveOrder(order_id, int(intents[k]["instrument"]), now)
        self._nonce = max(self._nonce + 1, now // 1_000_000)
        try:
            requests = self.codec.encode(intents, now, self._nonce)
        except VenueError as error:
            self._not_encoded(intents, error)
            return
        for request in requests:
            self._spawn(self._send(request))

    def _not_encoded(self, intents: Rows, error: VenueError) -> None:
        """Refuse what the venue cannot express; alone each, so that one bad row spoils no other."""
        if len(intents) > 1:
            for k in range(len(intents)):
                self.submit(intents[k : k + 1])
            return
        placing = intents[0]["op"] == words.PLACE
        order_id = int(intents[0]["order_id" if placing else "target_order_id"])
        request = Request(
            what=What.INTENT, op=int(intents[0]["op"]), order_ids=(order_id,),
            instrument=int(intents[0]["instrument"]),
        )  # fmt: skip
        self._refused(request, error)

    async def _send(self, request: Request) -> None:
        """Send one encoded intent; whatever goes wrong ends as an update."""
        urgent = request.op in (words.CANCEL, words.CANCEL_ALL)
        try:
            await self.wire.take(request, urgent=urgent)
        except VenueError as error:
            self._refused(request, error)
            return
        self.counts["sent"] += 1
        if request.transport == "trade":
            deadline = request.timeout_ns / 1e9
            loop = asyncio.get_running_loop()
            timer = loop.call_later(deadline, self._timed_out, request.key)
            self._pending[request.key] = (request, timer)
            if not self.wire.send("trade", request.body):
                timer.cancel()
                del self._pending[request.key]
                self._refused(request, TransportError("trade link is down", retryable=True))
                return
            self._mark_sent(request)
            return
        self._mark_sent(request)
        try:
            status, headers, body = await self.wire.fetch(request)
        except TransportError as error:
            if error.sent:
                self._doubt(request, str(error))
            else:
                self._refused(request, error)
            return
        self._answer(request, status, headers, body)

    def _mark_sent(self, request: Request) -> None:
        now = self.clock.now()
        for order_id in request.order_ids:
            self._on_sent(order_id, now)
            if request.op == words.PLACE:
                self._push(self._blank(words.SENT, order_id, request.instrument))

    def _answer(self, request: Request, status: int, headers: Any, body: bytes) -> None:
        """Digest an HTTP answer to an order."""
        self._batch.clear()
        try:
            self.codec.reply(request, status, headers, body, self._batch)
        except TransportError as error:
            self._doubt(request, str(error))
        except VenueError as error:
            self._refused(request, error)
        else:
            self._digest()

    def _timed_out(self, key: str) -> None:
        pending = self._pending.pop(key, None)
        if pending is not None:
            self._doubt(pending[0], "no answer in time")

    def _refused(self, request: Request, error: VenueError) -> None:
        """The venue said no, or the bytes never left: a proven outcome."""
        kind = words.REJECT if request.op == words.PLACE else words.CANCEL_REJECT
        reason = _reason(error)
        log.info("order_refused", account=self.account, op=request.op, error=str(error))
        self.counts["rejected"] += 1
        for order_id in request.order_ids:
            row = self._blank(kind, order_id, request.instrument)
            row["reason"] = reason
            row["code"] = error.code if isinstance(error.code, int) else 0
            self._push(row)
            if kind == words.REJECT:
                self.live.pop(order_id, None)
            elif reason == words.REASON_UNKNOWN_ORDER:
                self._resolve_soon(order_id)

    def _doubt(self, request: Request, why: str) -> None:
        """The outcome is unproven: say so and ask until it is proven."""
        log.warning("outcome_unproven", account=self.account, op=request.op, why=why)
        self.counts["ambiguous"] += 1
        for order_id in request.order_ids:
            self._push(self._blank(words.AMBIGUOUS, order_id, request.instrument))
            self._resolve_soon(order_id)

    def _resolve_soon(self, order_id: int) -> None:
        order = self.live.get(order_id)
        if order is not None and not order.doubt:
            order.doubt = True
            self._spawn(self._resolve(order))

    async def _resolve(self, order: LiveOrder) -> None:
        """Query one order until its state is proven; backs off to one question in two seconds."""
        pause = 100_000_000
        while order.order_id in self.live and order.doubt and not self._closing:
            try:
                await self._query_order(order)
            except VenueError as error:
                log.warning("order_query_failed", account=self.account, error=str(error))
            if order.doubt:
                await self.clock.sleep(pause)
                pause = min(pause * 2, 2_000_000_000)

    async def _query_order(self, order: LiveOrder) -> None:
        """Ask for one order; NOT_FOUND counts only after the grace and when said twice."""
        requests = self.codec.request(
            What.ORDER, self.clock.now(), instrument=order.instrument, order_id=order.order_id
        )
        for request in requests:
            rows = await self.ask(request)
            for row in rows:
                if row[0]["kind"] != words.NOT_FOUND:
                    order.doubt = False
                    if row[0]["status"] in words.TERMINAL:
                        await self._fetch_fills([order.instrument])
                    self._accept(row)
                    continue
                order.misses += 1
                old_enough = self.clock.now() - order.sent_ns > GRACE_NS
                if order.misses >= 2 and old_enough:
                    order.doubt = False
                    await self._fetch_fills([order.instrument])
                    row["order_id"], row["instrument"] = order.order_id, order.instrument
                    self._accept(row)
                    self.live.pop(order.order_id, None)

    # -- questions -------------------------------------------------------------------------

    async def ask(self, request: Request) -> list[Rows]:
        """Ask something over HTTP or the trade link; return the answer's update rows, not pushed.

        Balances, positions and logins of the answer are kept on the gateway.
        """
        await self.wire.take(request, urgent=False)
        if request.transport == "trade":
            raise TransportError(f"{request.what.value} cannot travel on the trade link")
        status, headers, body = await self.wire.fetch(request)
        batch = Batch(events=1024, updates=4096)
        self.codec.reply(request, status, headers, body, batch)
        for control in batch.controls:
            self._control(control)
        rows = [batch.updates[k : k + 1].copy() for k in range(batch.update_count)]
        for row in rows:
            row["account"] = self.account
        return rows

    async def query(self, what: What, **args: Any) -> list[Rows]:
        """Ask for something and return the update rows of all answers."""
        rows: list[Rows] = []
        for _ in range(PAGES_MAX):
            self._more = None
            for request in self.codec.request(what, self.clock.now(), **args):
                rows.extend(await self.ask(request))
            if self._more is None:
                break
            args = {**args, **self._more}
        return rows

    async def _fetch_fills(self, instruments: list[int]) -> None:
        since = self.since_ns - FILLS_OVERLAP_NS
        for instrument in instruments:
            for row in await self.query(What.FILLS_SINCE, instrument=instrument, since_ns=since):
                self._accept(row)

    async def _fetch_funding(self) -> None:
        since = self.since_ns - FILLS_OVERLAP_NS
        for row in await self.query(What.FUNDING_SINCE, since_ns=since):
            self._accept(row)

    def fetch_fills_soon(self, instrument: int) -> None:
        """Ask for an instrument's recent fills: the venue counts more than we saw."""
        self._spawn(self._fetch_fills([instrument]))

    # -- the venue's words -----------------------------------------------------------------

    def on_frame(self, role: str, frame: bytes | memoryview, ts_recv: int) -> None:
        """Digest a frame of the private or trade link."""
        self._batch.clear()
        self.codec.decode(role, frame, ts_recv, self._batch)
        self._digest(role)

    def _digest(self, role: str = "trade") -> None:
        for control in list(self._batch.controls):
            self._control(control, role)
        for k in range(self._batch.update_count):
            self._accept(self._batch.updates[k : k + 1].copy())

    def _control(self, control: Control, role: str = "trade") -> None:
        kind = control.kind
        if kind in ("answer", "error") and control.key in self._pending:
            request, timer = self._pending.pop(control.key)
            timer.cancel()
            if kind == "error":
                error = control.value
                if isinstance(error, TransportError):
                    self._doubt(request, str(error))
                else:
                    self._refused(request, error)
        elif kind == "error":
            log.warning("venue_error", account=self.account, error=str(control.value))
        elif kind == "send":
            self.wire.send(role, control.value)
        elif kind == "login":
            self._login = str(control.value)
        elif kind == "balances":
            self.balances = list(control.value)
        elif kind == "positions":
            self.holdings = list(control.value)
        elif kind == "subscribed":
            self._confirmations -= 1
            self._maybe_resync()
        elif kind == "more":
            self._more = dict(control.value)
        elif kind == "funding":
            self._spawn(self._fetch_funding())
        elif kind in ("login_expired", "reconnect"):
            log.info("private_link_renewed", account=self.account, why=kind)
            self.wire.drop(role, kind)
        elif kind == "foreign":
            self.foreign += 1
            log.warning("foreign_order_seen", account=self.account, what=control.value)

    def _accept(self, row: Rows) -> None:
        """Give a row its order id and pass it on; fills of unknown orders wait."""
        row["account"] = self.account
        order_id, venue_id = int(row[0]["order_id"]), int(row[0]["venue_order_id"])
        if order_id and venue_id and venue_id not in self.by_venue_id:
            self.by_venue_id[venue_id] = order_id
            self._adopt(venue_id)
        if not order_id and venue_id:
            order_id = self.by_venue_id.get(venue_id, 0)
            row["order_id"] = order_id
            if not order_id and row[0]["kind"] == words.FILL:
                self._orphans.append((self.clock.monotonic(), row))
                return
        if row[0]["kind"] == words.FILL:
            self.counts["fills"] += 1
            self.since_ns = max(self.since_ns, int(row[0]["ts_event"]))
        order = self.live.get(order_id)
        if order is not None:
            order.known = True
            order.venue_order_id = venue_id or order.venue_order_id
            if row[0]["status"] in words.TERMINAL or row[0]["kind"] in _ENDING:
                self.live.pop(order_id, None)
        if order_id or row[0]["kind"] in _WITHOUT_ORDER:
            self._push(row)

    def _adopt(self, venue_id: int) -> None:
        """Release the fills that waited for this venue id."""
        waiting, self._orphans = self._orphans, deque()
        for since, row in waiting:
            if row[0]["venue_order_id"] == venue_id:
                self._accept(row)
            else:
                self._orphans.append((since, row))

    # -- links and resync ------------------------------------------------------------------

    def on_up(self, role: str) -> None:
        """A link is open and its frames are sent."""
        self._links_up.add(role)
        self._maybe_resync()

    def _maybe_resync(self) -> None:
        """Resync once every link is up and the private one has confirmed what it sends us."""
        if self._needed <= self._links_up and self._confirmations <= 0 and self._in_resync:
            self._resync()

    def on_down(self, role: str, why: str) -> None:
        """A link broke: what was under way on it is unproven."""
        self._links_up.discard(role)
        if role == "trade":
            pending, self._pending = self._pending, {}
            for request, timer in pending.values():
                timer.cancel()
                self._doubt(request, f"trade link lost: {why}")
        self._begin_resync(f"{role} link lost: {why}")

    def _begin_resync(self, why: str) -> None:
        if not self._in_resync:
            log.warning("account_resync_began", account=self.account, why=why)
            self._in_resync = True
            self.ready.clear()
            self._push(self._blank(words.RESYNC_BEGIN))
        if self._resync_task is not None:
            self._resync_task.cancel()
            self._resync_task = None

    def _resync(self) -> None:
        if self._resync_task is None or self._resync_task.done():
            self._resync_task = self._spawn(self._run_resync())

    async def _run_resync(self) -> None:
        """Ask until everything about our orders is known, then open the account for new risk."""
        pause = 200_000_000
        while not self._closing:
            try:
                await self.synchronise()
            except VenueError as error:
                log.warning("account_resync_failed", account=self.account, error=str(error))
                await self.clock.sleep(pause)
                pause = min(pause * 2, 5_000_000_000)
                continue
            self._in_resync = False
            self.counts["resyncs"] += 1
            self._push(self._blank(words.RESYNC_END))
            self.ready.set()
            log.info("account_resynced", account=self.account, live=len(self.live))
            return

    async def synchronise(self) -> None:
        """Ask for open orders, every order of ours in doubt, fills, positions and balances."""
        await self._fetch_funding()
        rows = await self.query(What.ORDERS)
        seen = {int(row[0]["order_id"]) for row in rows}
        await self._fetch_fills(self.traded)
        for row in rows:
            self._accept(row)
        for order in list(self.live.values()):
            if order.order_id not in seen:
                await self._resolve_now(order)
        await self.refresh()

    async def _resolve_now(self, order: LiveOrder) -> None:
        order.doubt = True
        await self._resolve(order)

    async def refresh(self) -> None:
        """Ask for balances and positions."""
        await self.query(What.BALANCES)
        await self.query(What.POSITIONS)

    async def _housekeep(self) -> None:
        """Push the backlog, give up on orphans, keep the login alive."""
        last_keepalive = self.clock.monotonic()
        while not self._closing:
            await self.clock.sleep(5_000_000)
            while self._backlog and self._push_row(self._backlog[0]):
                self._backlog.popleft()
            now = self.clock.monotonic()
            while self._orphans and now - self._orphans[0][0] > ORPHAN_NS:
                _, row = self._orphans.popleft()
                self.foreign += 1
                log.warning(
                    "foreign_fill_seen",
                    account=self.account,
                    venue_order_id=int(row[0]["venue_order_id"]),
                )
            if self._login and now - last_keepalive > 30 * 60 * 1_000_000_000:
                last_keepalive = now
                try:
                    await self.query(What.KEEPALIVE, key=self._login)
                except VenueError as error:
                    log.warning("keepalive_failed", account=self.account, error=str(error))

    # -- small things ----------------------------------------------------------------------

    def _blank(self, kind: int, order_id: int = 0, instrument: int = 0) -> Rows:
        row = np.zeros(1, UPDATE)
        row["kind"], row["order_id"], row["cum_qty"] = kind, order_id, -1
        row["account"], row["instrument"] = self.account, max(instrument, 0)
        row["ts_recv"] = self.clock.now()
        return row

    def _push(self, row: Rows) -> None:
        if self._backlog or not self._push_row(row):
            self._backlog.append(row)

    def _spawn(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("gateway_task_failed", account=self.account, error=repr(error))


_ENDING = (words.CANCEL_ACK, words.EXPIRE, words.REJECT)
_WITHOUT_ORDER = (words.FUNDING_PAID, words.RESYNC_BEGIN, words.RESYNC_END)


def _reason(error: VenueError) -> int:
    """Map an error class to a reason where the venue file gave none."""
    given = getattr(error, "reason", 0)
    if given:
        return int(given)
    if isinstance(error, WouldCross):
        return words.REASON_WOULD_CROSS
    if isinstance(error, Unauthorized):
        return words.REASON_AUTH
    if isinstance(error, Throttled):
        return words.REASON_THROTTLED
    if isinstance(error, OrderRejected):
        return words.REASON_OTHER
    return words.REASON_OTHER
