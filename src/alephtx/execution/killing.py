"""One account's part of a kill: cancel what is ours at the venue, and look until nothing is there.

Works without the engine: what may be open comes from its journal, what is open from the venue. An
order counts as gone when a look that began after the cancels does not show it, and no order is so
young that it may still be on its way (`resync.HORIZON_NS`). Everything travels over HTTP: there is
no link to wait for.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import Throttled, VenueError
from alephtx.core.identity import split_order_id
from alephtx.core.log import logger
from alephtx.core.ports import Balance, Batch, Codec, Holding, Request, Rows, What
from alephtx.execution.open_orders import OpenOrder
from alephtx.execution.resync import HORIZON_NS
from alephtx.net.clocksync import venue_offset
from alephtx.net.clockwatch import ask_time

log = logger("kill")

Fetch = Callable[[Request], Awaitable[tuple[int, Any, bytes]]]

CANCELLING = (What.CANCEL_ALL, What.CANCEL_OURS)
PAUSE_NS, PAUSE_MAX_NS = 50_000_000, 1_000_000_000
ROWS_MAX = 8_192


class AccountReport(msgspec.Struct):
    """What came of a kill at one account.

    cancels: orders that a cancel was sent for. requests: how many requests that took. sent_ns: when
    the last of the first round left, after the kill was asked for. open: what the venue still
    shows. unproven: orders that may still arrive there. confirmed: nothing of ours is open.
    positions: what is left after flattening, by instrument key.
    """

    account: str
    venue: str
    cancels: int = 0
    requests: int = 0
    sent_ns: int = 0
    confirmed_ns: int = 0
    open: list[str] = []
    unproven: int = 0
    confirmed: bool = False
    flat: bool | None = None
    positions: dict[str, str] = {}
    error: str = ""


class AccountKill:
    """Kills at one account. fetch: does an HTTP request, its rate budget paid.

    orders(): what the journal holds open now. engine: our number, by which orders are ours.
    exclusive: nobody else trades here, so everything may go, in one request an instrument.
    """

    def __init__(
        self,
        name: str,
        codec: Codec,
        fetch: Fetch,
        clock: Clock,
        orders: Callable[[], list[OpenOrder]],
        *,
        engine: int,
        exclusive: bool,
    ) -> None:
        self.name, self.codec, self.clock = name, codec, clock
        self.exclusive = exclusive
        self.report = AccountReport(name, codec.spec.name)
        self.holdings: list[Holding] = []
        self.balances: list[Balance] = []
        self.left_ns = 0
        self.on_limits: Callable[[dict[str, int]], None] = lambda used: None
        self._fetch, self._orders, self._engine = fetch, orders, engine
        self._strangers: dict[int, list[int]] = {}  # instrument -> the venue's order ids
        self._ahead_ns = 0  # the venue's clock, where it refused ours
        self._asking_time = False

    def leaving(self, request: Request) -> None:
        """Note that a request's bytes leave now."""
        if request.what in CANCELLING:
            self.left_ns = self.clock.monotonic()

    # -- the kill --------------------------------------------------------------------------

    async def kill(self, asked_ns: int, deadline_ns: int) -> AccountReport:
        """Cancel and look until nothing of ours is open, or until the deadline; monotonic ns."""
        report = self.report = AccountReport(self.name, self.codec.spec.name)
        known: list[tuple[int, int]] = [(o.instrument, o.order_id) for o in self._orders()]
        pause = PAUSE_NS
        first, everything = True, self.exclusive
        while True:
            await self._cancel(known, everything=everything)
            if first:
                report.sent_ns = max(0, self.left_ns - asked_ns) if self.left_ns else 0
                first = False
            looked = self.clock.now()
            try:
                seen = await self._look()
            except VenueError as error:
                report.error = str(error)
                log.warning("kill_look_failed", account=self.name, error=str(error))
                known = [(o.instrument, o.order_id) for o in self._orders()]
                pause = PAUSE_MAX_NS if isinstance(error, Throttled) else pause
            else:
                report.error = ""
                young = [o for o in self._orders() if not o.proven and looked - o.ts < HORIZON_NS]
                self._note(seen, young)
                everything = self.exclusive and bool(self._strangers)
                known = [*seen, *((o.instrument, o.order_id) for o in young)]
                if report.confirmed:
                    report.confirmed_ns = self.clock.monotonic() - asked_ns
                    return report
            if self.clock.monotonic() >= deadline_ns:
                return report
            await self.clock.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_NS)

    def _note(self, seen: list[tuple[int, int]], young: list[OpenOrder]) -> None:
        instruments = self.codec.instruments
        named = [f"{order_id} on {instruments[i].key}" for i, order_id in seen]
        if self.exclusive:
            named += [
                f"somebody else's {venue_id} on {instruments[i].key}"
                for i, ids in self._strangers.items()
                for venue_id in ids
            ]
        self.report.open = named
        self.report.unproven = len(young)
        self.report.confirmed = not self.report.open and not young

    async def _cancel(self, known: Iterable[tuple[int, int]], *, everything: bool) -> None:
        """Send every cancel at once; one that fails is seen at the next look."""
        orders: dict[int, list[int]] = defaultdict(list)
        for instrument, order_id in known:
            orders[instrument].append(order_id)
        requests: list[Request] = []
        for instrument, ids in orders.items():
            self.report.cancels += len(ids)
            requests += self._ask(What.CANCEL_OURS, instrument=instrument, order_ids=ids)
        if everything:
            bulk = [
                request
                for i in self.codec.instruments.of_venue(self.codec.spec.name)
                for request in self._ask(
                    What.CANCEL_ALL, instrument=i, venue_order_ids=self._strangers.get(i, ())
                )
            ]
            if self.codec.spec.bulk_cancel:  # one request for all of an instrument's orders
                requests = []
            requests += bulk
        self.report.requests += len(requests)
        await asyncio.gather(*(self._send(request) for request in requests))

    def _ask(self, what: What, **args: Any) -> list[Request]:
        return self.codec.request(what, self.venue_now(), **args)

    def venue_now(self) -> int:
        """Return the venue's time in ns, ours until it objected to that."""
        return self.clock.now() + self._ahead_ns

    async def _mind_clock(self) -> None:
        """Ask for the venue's time, which refused ours: what is asked next carries its own."""
        if self._asking_time:  # 500 cancels are refused at once
            return
        self._asking_time = True
        try:
            sample = await ask_time(self.codec, self._fetch, self.clock)
        except VenueError as error:
            log.warning("kill_time_failed", account=self.name, error=str(error))
            return
        finally:
            self._asking_time = False
        if sample is not None:
            self._ahead_ns = venue_offset([sample]).shift_ns

    async def _send(self, request: Request) -> None:
        try:
            await self.read(request)
        except VenueError as error:
            self.report.error = str(error)
            log.every(1).warning("kill_cancel_failed", account=self.name, error=str(error))

    # -- looking ---------------------------------------------------------------------------

    async def _look(self) -> list[tuple[int, int]]:
        """Return (instrument, order id) of what is ours and open; notes what is a stranger's."""
        strangers: dict[int, list[int]] = defaultdict(list)
        found = []
        for request in self._ask(What.ORDERS):
            for row in await self.read(request):
                order_id, i = int(row["order_id"]), int(row["instrument"])
                if order_id and split_order_id(order_id)[0] == self._engine:
                    found.append((i, order_id))
                else:
                    strangers[i].append(int(row["venue_order_id"]))
        self._strangers = strangers
        return found

    async def read(self, request: Request) -> Rows:
        """Do a request, return its answer's rows; holdings and balances are kept."""
        status, headers, body = await self._fetch(request)
        batch = Batch(events=16_384 if request.what is What.SNAPSHOT else 16, updates=ROWS_MAX)
        try:
            self.codec.reply(request, status, headers, body, batch)
        except VenueError as error:
            if error.reason == words.REASON_CLOCK:
                await self._mind_clock()
            raise
        for control in batch.controls:
            if control.kind == "positions":
                self.holdings = list(control.value)
            elif control.kind == "balances":
                self.balances = list(control.value)
            elif control.kind == "limits":
                self.on_limits(control.value)
        if request.what is What.SNAPSHOT:
            return batch.events[: batch.event_count]
        return batch.updates[: batch.update_count]

    async def ask(self, what: What, **args: Any) -> list[Rows]:
        """Ask the venue for something; the rows of each answer."""
        return [await self.read(request) for request in self._ask(what, **args)]


def touch_of(events: Rows) -> tuple[int, int]:
    """Return best bid and ask in ticks of a book's EVENT rows; 0 where a side is empty."""
    levels = events[(events["kind"] == words.DELTA) & (events["qty"] > 0)]
    bids = levels["price"][levels["side"] == words.BUY]
    asks = levels["price"][levels["side"] == words.SELL]
    return (int(bids.max()) if len(bids) else 0, int(asks.min()) if len(asks) else 0)
