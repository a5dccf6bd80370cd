"""Orders out: encoded, paid for at the rate limits, sent once, and every end of it made an update.

Nothing is ever sent twice. What surely did not leave, or was refused, is REJECT or CANCEL_REJECT;
what may have arrived is AMBIGUOUS and asked for. A cancel waits for a link that is down. An order
that waits for its rate budget is stale after PLACE_WAIT_NS and is refused by ourselves; one that is
cancelled meanwhile is never sent. Nor is one that a halt found on its way here: the gate's verdict
may be a moment old, or a minute where the process was stopped.

What is plain and has nothing to wait for leaves at once, written by the venue's compiled stages
(`staged`), before anything is noted of it: no answer can be read meanwhile. Where the compiled loop
has a trade link of its own, it sends what it can and says so in the row (`ts_sent`); then only the
answer is awaited here.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import (
    OrderRejected,
    ProtocolError,
    Throttled,
    TransportError,
    VenueError,
)
from alephtx.core.log import logger
from alephtx.core.ports import Batch, Codec, Control, Request, Rows, What
from alephtx.core.records import INTENT, blank, copied
from alephtx.execution.inbox import Inbox, LiveOrder
from alephtx.execution.intents import (
    INSTRUMENT,
    OP,
    ORDER_ID,
    TARGET,
    TS_SENT,
    Count,
    Values,
    picked,
    values_of,
)
from alephtx.execution.reasons import reason_of
from alephtx.execution.resync import Truth
from alephtx.execution.staged import Writer
from alephtx.net.clockwatch import ClockWatch

if TYPE_CHECKING:
    from alephtx.execution.gateway import Wire

log = logger("gateway")

PLACE_WAIT_NS = 250_000_000
"""How long a new order may wait for its rate budget; the market it was meant for is gone then."""

AGAIN_NS, AGAIN_MAX_NS = 25_000_000, 1_000_000_000
"""Pause before an order's next cancel after a refused one; it doubles each time, up to a second."""

FRESH_NS = 1_000_000_000
"""A cancel that waited longer is signed anew: venues refuse what was signed seconds ago."""

ROOM_NS, KEPT_FOR_CANCELS = 2_000_000, 10
"""How long to wait before looking again whether a venue that takes so many unanswered requests at a
time has room, and how much of it new orders leave."""

UPDATES_MAX = 2_048

PLAIN = (words.PLACE, words.CANCEL)
"""What leaves at once where nothing is in its way."""


class Outbox:
    """Sends one account's orders.

    on_sent(op, order_id, ns): bytes left; on_control takes what is not an answer. halted(): whether
    a new order must not leave any more. next_nonce(least, n): the first of n numbers of ours, at
    least `least`, that were never used and grow; by default from a count of our own. writer: the
    venue's compiled stages, None where every request is for the codec's `encode`.
    """

    def __init__(
        self,
        account: int,
        codec: Codec,
        wire: "Wire",
        venue_clock: ClockWatch,
        clock: Clock,
        inbox: Inbox,
        truth: Truth,
        spawn: Callable[[Any], Any],
    ) -> None:
        self.account = account
        self.codec = codec
        self.wire = wire
        self.venue_clock = venue_clock
        self.clock = clock
        self.inbox = inbox
        self.truth = truth
        self.counts = {"sent": 0, "rejected": 0, "ambiguous": 0}
        self.on_sent: Callable[[int, int, int], None] = lambda op, order_id, ns: None
        self.on_control: Callable[[Control, str], None] = lambda control, role: None
        self.halted: Callable[[], bool] = lambda: False
        self.next_nonce: Callable[[int, int], int] = Count()
        self.writer: Writer | None = None
        self._spawn = spawn
        self._batch = Batch(events=16, updates=UPDATES_MAX)
        self._pending: dict[str, tuple[Request, asyncio.TimerHandle]] = {}
        self._waiting = 0  # requests on their way to being sent, which none may overtake
        self._unsent: dict[int, int] = {}  # cancels to send when the link is up: id -> instrument

    # -- intents ---------------------------------------------------------------------------

    def write_with(self, writer: Writer) -> None:
        """Let plain requests leave at once; the stages' count gives every number from now on."""
        self.writer, self.next_nonce = writer, writer.staged.next_nonce

    def submit(self, intents: Rows) -> None:
        """Send INTENT rows of this account; called with rows already journaled."""
        raw = intents.tobytes()
        rows = values_of(raw)
        for row in rows:
            if row[OP] == words.PLACE:
                self.inbox.live[row[ORDER_ID]] = LiveOrder(row[ORDER_ID], row[INSTRUMENT], 0)
        left = [k for k, row in enumerate(rows) if row[TS_SENT]]
        if left:
            self._await_answers(picked(raw, left))
        kept = [k for k, row in enumerate(rows) if not row[TS_SENT] and not self._withdraw(row)]
        if len(kept) < len(rows):
            kept = [k for k in kept if not self._was_withdrawn(rows[k])]
        if len(kept) < len(rows):
            raw, rows = picked(raw, kept).tobytes(), [rows[k] for k in kept]
        at = self._leave_at_once(raw, rows) if self.writer is not None else 0
        if at < len(rows):
            self._encode(picked(raw, range(at, len(rows))))

    def _leave_at_once(self, raw: bytes, rows: list[Values]) -> int:
        """Send rows, as long as nothing makes one wait or Python write it; returns how many left.

        raw: the same rows as bytes. Several that one request can carry leave in one.
        """
        writer, k = self.writer, 0
        assert writer is not None
        while k < len(rows) and not self._waiting:
            op, end = rows[k][OP], k
            if op not in PLAIN or not self._has_room(op):
                break
            while (
                end < len(rows)
                and end - k < writer.rows_max
                and (rows[end][OP], rows[end][INSTRUMENT]) == (op, rows[k][INSTRUMENT])
                and self._may_leave(rows[end])
            ):
                end += 1
            part = raw[k * INTENT.itemsize : end * INTENT.itemsize]
            now_ns, mono_ns = self.venue_clock.now(), self.clock.monotonic()
            if end == k or not (frame := writer.write(part, op, now_ns, mono_ns)):
                break
            sent = self.wire.send("trade", frame)
            left = writer.rows[: end - k]
            left["ts_sent"] = self.clock.now()
            self._await_answers(left, sent=sent)
            k = end
        return k

    def _may_leave(self, row: Values) -> bool:
        """Tell whether nothing speaks against sending a plain row at this moment."""
        if row[OP] == words.PLACE:
            order = self.inbox.live.get(row[ORDER_ID])
            return order is not None and not order.withdrawn and not self.halted()
        return self._pause_ns((row[TARGET],)) <= 0

    def _await_answers(self, intents: Rows, *, sent: bool = True) -> None:
        """Take up what left without a request: paid for, and on the wire since `ts_sent`.

        sent: False where its link turned out to be down.
        """
        codec: Any = self.codec
        for request in codec.sent(intents):
            self.counts["sent"] += 1
            if not sent:
                self._link_was_down(request)
                continue
            self._await(request)
            ids = intents["target_order_id" if request.op != words.PLACE else "order_id"]
            self._mark_sent(request, int(intents["ts_sent"][ids == request.order_ids[0]][0]))

    def cancel(self, order_id: int, instrument: int) -> None:
        """Send a cancel that no strategy asked for: of leftovers, strays, at the end."""
        self.submit(self._cancels(instrument, order_id))

    def _cancels(self, instrument: int, *order_ids: int) -> Rows:
        rows = blank(INTENT, len(order_ids))
        rows["op"], rows["target_order_id"] = words.CANCEL, order_ids
        rows["instrument"], rows["account"] = instrument, self.account
        return rows

    def _withdraw(self, row: Values) -> bool:
        """Take back an order that has not been sent; True when its cancel has nothing to do."""
        if row[OP] != words.CANCEL:
            return False
        order = self.inbox.live.get(row[TARGET])
        if order is None or order.sent_ns:
            return False
        order.withdrawn = True
        return True

    def _was_withdrawn(self, row: Values) -> bool:
        """Refuse a new order that its own call takes back, before others share its request."""
        order = self.inbox.live.get(row[ORDER_ID]) if row[OP] == words.PLACE else None
        if order is None or not order.withdrawn:
            return False
        self._refuse(row, OrderRejected("cancelled before it was sent"))
        return True

    def _encode(self, intents: Rows) -> None:
        try:
            requests = self._encoded(intents)
        except VenueError as error:
            self._not_encoded(intents, error)
            return
        for request in requests:
            self._waiting += 1
            self._spawn(self._send(request))

    def _encoded(self, intents: Rows) -> list[Request]:
        """Encode intents with the venue's time and a number of ours that was never used."""
        nonce = self.next_nonce(self.clock.now() // 1_000_000, len(intents))
        return self.codec.encode(intents, self.venue_clock.now(), nonce)

    def _not_encoded(self, intents: Rows, error: VenueError) -> None:
        """Refuse what the venue cannot express; alone each, so that one bad row spoils no other."""
        if len(intents) > 1:
            for k in range(len(intents)):
                self._encode(intents[k : k + 1])
            return
        self._refuse(values_of(intents.tobytes())[0], error)

    def _refuse(self, row: Values, error: VenueError) -> None:
        """Refuse one intent of which no request was made."""
        order_id = row[ORDER_ID if row[OP] == words.PLACE else TARGET]
        request = Request(
            what=What.INTENT, op=row[OP], order_ids=(order_id,), instrument=row[INSTRUMENT]
        )
        self._refused(request, error)

    # -- sending ---------------------------------------------------------------------------

    async def _send(self, request: Request) -> None:
        """Send one encoded intent; whatever goes wrong ends as an update."""
        try:
            ready = await self._may_send(request)
        except VenueError as error:
            self._refused(request, error)
            return
        finally:
            self._waiting -= 1
        if ready is None:
            return
        request = ready
        self.counts["sent"] += 1
        if request.transport == "trade":
            self._send_frame(request)
            return
        self._mark_sent(request, self.clock.now())
        try:
            status, headers, body = await self.wire.fetch(request)
        except TransportError as error:
            if error.sent:
                self._doubt(request, str(error))
            else:
                self._refused(request, error)
            return
        except OrderRejected as error:
            self._refused(request, error)
            return
        self._answer(request, status, headers, body)

    async def _may_send(self, request: Request) -> Request | None:
        """Wait for whatever a request has to wait for; returns what is to be sent, None: nothing.

        VenueError when it is refused here.
        """
        begun = self.clock.monotonic()
        if request.op == words.CANCEL and not await self._may_cancel(request):
            return None
        await self._take(request)
        self.check_leaving(request)
        if request.op == words.CANCEL and self.clock.monotonic() - begun > FRESH_NS:
            (request,) = self._encoded(self._cancels(request.instrument, *request.order_ids))
        return request

    async def _may_cancel(self, request: Request) -> bool:
        """Let a cancel wait that was refused before; tell whether its orders still live then.

        Who cancels again as soon as it is refused would go round as fast as the venue answers,
        until our whole rate budget is gone.
        """
        if (wait_ns := self._pause_ns(request.order_ids)) <= 0:
            return True
        await self.clock.sleep(wait_ns)
        return any(order_id in self.inbox.live for order_id in request.order_ids)

    def _pause_ns(self, order_ids: Iterable[int]) -> int:
        """Return how long the next cancel of orders has to wait; nothing or less: not at all."""
        orders = [self.inbox.live.get(order_id) for order_id in order_ids]
        at_ns = max((order.cancel_at_ns for order in orders if order is not None), default=0)
        return at_ns - self.clock.monotonic()

    async def _take(self, request: Request) -> None:
        """Wait for the rate budget: cancels as long as it takes, new orders a moment only."""
        if request.op != words.PLACE:
            await self.wire.take(request, urgent=True)
            await self._await_room(request)
            return
        try:
            async with asyncio.timeout(PLACE_WAIT_NS / 1e9):
                await self.wire.take(request, urgent=False)
                await self._await_room(request)
        except TimeoutError:
            raise Throttled("no rate budget for a new order", retryable=True) from None

    async def _await_room(self, request: Request) -> None:
        """Wait while the venue owes us as many answers as it lets anybody wait for."""
        while request.transport == "trade" and not self._has_room(request.op):
            await self.clock.sleep(ROOM_NS)

    def _has_room(self, op: int) -> bool:
        """Tell whether one more answer on the trade link may be waited for."""
        most = self.codec.spec.inflight_max
        return not most or len(self._pending) < most - KEPT_FOR_CANCELS * (op == words.PLACE)

    @property
    def is_full(self) -> bool:
        """Tell whether the loop is to leave new orders to us: it counts no answers itself.

        At half of what the venue allows, because it hears of it only a few ms later.
        """
        most = self.codec.spec.inflight_max
        return bool(most) and len(self._pending) >= most // 2

    def check_leaving(self, request: Request) -> None:
        """Refuse a new order that nobody wants any more; asked when its bytes are about to leave.

        Over HTTP it is asked twice: a connection may take long to come (`HttpClient.on_leaving`).
        """
        if request.op not in (words.PLACE, words.AMEND):
            return
        if self.halted():
            error = OrderRejected("halted before it was sent")
            error.reason = words.REASON_HALTED
            raise error
        orders = [self.inbox.live.get(order_id) for order_id in request.order_ids]
        if request.op == words.PLACE and all(o is None or o.withdrawn for o in orders):
            raise OrderRejected("cancelled before it was sent")

    def _send_frame(self, request: Request) -> None:
        timer = self._await(request)
        if self.wire.send("trade", request.body):
            self._mark_sent(request, self.clock.now())
            return
        timer.cancel()
        del self._pending[request.key]
        self._link_was_down(request)

    def _link_was_down(self, request: Request) -> None:
        """Keep a cancel until the trade link is up again; refuse what else did not leave."""
        if request.op in (words.CANCEL, words.CANCEL_ALL):
            # A refusal would be answered with another cancel at once, and again, without end.
            self._unsent.update(dict.fromkeys(request.order_ids, request.instrument))
            return
        self._refused(request, TransportError("trade link is down", retryable=True))

    def _await(self, request: Request) -> asyncio.TimerHandle:
        """Expect the answer to a request on the trade link, for so long as it allows."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(request.timeout_ns / 1e9, self._timed_out, request.key)
        self._pending[request.key] = (request, timer)
        return timer

    def link_up(self) -> None:
        """Send the cancels that waited for the trade link, of orders that still live."""
        unsent, self._unsent = self._unsent, {}
        for order_id, instrument in unsent.items():
            if order_id in self.inbox.live:
                self.cancel(order_id, instrument)

    def _mark_sent(self, request: Request, now: int) -> None:
        for order_id in request.order_ids:
            self.on_sent(request.op, order_id, now)
            if request.op == words.PLACE:
                order = self.inbox.live.get(order_id)
                if order is not None:
                    order.sent_ns = now
                self.inbox.push(self.inbox.blank(words.SENT, order_id, request.instrument))
                if order is not None and order.withdrawn:  # it left with others of its request
                    order.withdrawn = False
                    self.cancel(order_id, request.instrument)

    # -- answers ---------------------------------------------------------------------------

    def digest_frame(self, role: str, frame: bytes | memoryview, ts_recv: int) -> int:
        """Digest a frame of the private or trade link; negative when it was not understood."""
        self._batch.clear()
        understood = self.codec.decode(role, frame, ts_recv, self._batch)
        self._digest(role)
        return understood

    def _digest(self, role: str) -> None:
        updates = self._batch.updates
        rows = [copied(updates[k : k + 1]) for k in range(self._batch.update_count)]
        for control in list(self._batch.controls):
            self._control(control, role)
        for row in rows:
            self.inbox.accept(row)

    def _control(self, control: Control, role: str) -> None:
        """Settle the request that an answer or an error on a link belongs to."""
        if control.kind not in ("answer", "error") or control.key not in self._pending:
            self.on_control(control, role)
            return
        request, timer = self._pending.pop(control.key)
        timer.cancel()
        if control.kind == "error":
            if control.value.wait_ns:
                self.wire.hold(control.value.wait_ns)
            self._failed(request, control.value)

    def _answer(self, request: Request, status: int, headers: Any, body: bytes) -> None:
        """Digest an HTTP answer to an order."""
        self._batch.clear()
        try:
            self.codec.reply(request, status, headers, body, self._batch)
        except VenueError as error:
            self._failed(request, error)
        else:
            self._digest("http")

    def _failed(self, request: Request, error: VenueError) -> None:
        """Tell what the venue refused from what nobody knows the end of."""
        if isinstance(error, TransportError | ProtocolError):
            self._doubt(request, str(error))
        else:
            self._refused(request, error)

    def _timed_out(self, key: str) -> None:
        pending = self._pending.pop(key, None)
        if pending is not None:
            self._doubt(pending[0], "no answer in time")

    def link_lost(self, why: str) -> None:
        """Put in doubt whatever waits for an answer on the trade link, which broke."""
        pending, self._pending = self._pending, {}
        for request, timer in pending.values():
            timer.cancel()
            self._doubt(request, f"trade link lost: {why}")

    def _refused(self, request: Request, error: VenueError) -> None:
        """Pass on a proven refusal: the venue said no, or the bytes never left."""
        kind = words.REJECT if request.op == words.PLACE else words.CANCEL_REJECT
        reason = reason_of(error)
        log.info("order_refused", account=self.account, op=request.op, error=str(error))
        self.counts["rejected"] += 1
        if reason == words.REASON_CLOCK:
            self.venue_clock.doubt()
        for order_id in request.order_ids:
            row = self.inbox.blank(kind, order_id, request.instrument)
            row["reason"] = reason
            row["code"] = error.code if isinstance(error.code, int) else 0
            self.inbox.push(row)
            if kind == words.REJECT:
                self.inbox.live.pop(order_id, None)
            elif reason == words.REASON_UNKNOWN_ORDER:
                self.truth.resolve_soon(order_id)
            if request.op == words.CANCEL:
                self._slow_down(order_id)

    def _slow_down(self, order_id: int) -> None:
        """Let an order's next cancel wait, longer with every refusal."""
        order = self.inbox.live.get(order_id)
        if order is not None:
            order.refusals += 1
            pause = min(AGAIN_MAX_NS, AGAIN_NS << min(order.refusals - 1, 16))
            order.cancel_at_ns = self.clock.monotonic() + pause

    def _doubt(self, request: Request, why: str) -> None:
        """Say that an outcome is unproven, and ask until it is proven."""
        log.warning("outcome_unproven", account=self.account, op=request.op, why=why)
        self.counts["ambiguous"] += 1
        for order_id in request.order_ids:
            if order_id in self.inbox.live:  # else something proved it already
                self.inbox.push(self.inbox.blank(words.AMBIGUOUS, order_id, request.instrument))
                self.truth.resolve_soon(order_id)

    def close(self) -> None:
        """Forget what waits for an answer."""
        for _, timer in self._pending.values():
            timer.cancel()
        self._pending.clear()
