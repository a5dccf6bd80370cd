"""The truth after any doubt: ask the venue until everything about our orders is proven.

An outcome that was not proven is asked for, never sent again. That the venue does not know an order
is believed only when it was said twice, the order's time to arrive is over, and a cancel by its
client id went ahead of the last question: a late order then meets its cancel. One that comes even
after that is taken up again and cancelled (`inbox`). Fills are asked for before the states that
they explain, with the venue's ids learnt first, so that no fill is taken for somebody else's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import TransportError, VenueError
from alephtx.core.identity import split_order_id
from alephtx.core.log import logger
from alephtx.core.ports import Balance, Batch, Codec, Control, Holding, Request, Rows, What
from alephtx.execution.inbox import Inbox, LiveOrder
from alephtx.net.clockwatch import ClockWatch

log = logger("gateway")

GRACE_NS = 2_000_000_000
"""How long after sending an order's ordinary answer may still be under way."""

HORIZON_NS = 6_000_000_000
"""How long after sending an order may still arrive; longer than the window in which a venue that
has one accepts it (Binance's recvWindow as we send it: 5 s). NOT_FOUND proves nothing before."""

OVERLAP_NS = 60_000_000_000
"""How much further back than proven we ask: the venue's clock is not ours."""

PAUSE_NS, PAUSE_MAX_NS = 100_000_000, 2_000_000_000
PAGES_MAX = 200
LOST_ASKED_AT_ONCE = 16
ASK_TRIES = 8


class _SharedFetch:
    """One question for an instrument's fills that has not begun, and who waits for it."""

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.over = asyncio.Event()
        self.error: VenueError | None = None


class Truth:
    """Asks about one account. since_ns: everything up to it is known.

    on_control: who takes what answers say beside rows. engine: our number; open orders of ours that
    no journal knows are `strays`, handed to `on_stray`. spawn: runs a coroutine beside.
    """

    def __init__(
        self,
        codec: Codec,
        inbox: Inbox,
        venue_clock: ClockWatch,
        clock: Clock,
        fetch: Callable[[Request], Awaitable[tuple[int, Any, bytes]]],
        *,
        traded: list[int],
        engine: int,
        spawn: Callable[[Any], Any],
        on_control: Callable[[Control], None],
        on_stray: Callable[[int, int], None],
    ) -> None:
        self.codec = codec
        self.inbox = inbox
        self.venue_clock = venue_clock
        self.clock = clock
        self.traded = traded
        self.since_ns = clock.now()
        self.balances: list[Balance] = []
        self.holdings: list[Holding] = []
        self.on_unanswered: Callable[[], None] = lambda: None
        self._fetch = fetch
        self._fetching = asyncio.Lock()
        self._next_fetch: dict[int, _SharedFetch] = {}
        self._engine = engine
        self._spawn = spawn
        self._on_control = on_control
        self._on_stray = on_stray

    # -- questions -------------------------------------------------------------------------

    async def ask(self, request: Request) -> tuple[list[Rows], dict[str, Any] | None]:
        """Ask over HTTP; return the answer's rows, not yet accepted, and how to ask for more."""
        if request.transport == "trade":
            raise TransportError(f"{request.what.value} cannot travel on the trade link")
        status, headers, body = await self._fetch(request)
        batch = Batch(events=16, updates=2_048)
        more = None
        try:
            self.codec.reply(request, status, headers, body, batch)
        except VenueError as error:
            if error.reason == words.REASON_CLOCK:
                self.venue_clock.doubt()
            raise
        for control in batch.controls:
            if control.kind == "balances":
                self.balances = list(control.value)
            elif control.kind == "positions":
                self.holdings = list(control.value)
            elif control.kind == "more":
                more = dict(control.value)
            else:
                self._on_control(control)
        return [batch.updates[k : k + 1].copy() for k in range(batch.update_count)], more

    async def query(self, what: What, **args: Any) -> list[Rows]:
        """Ask for something, page by page; VenueError when there is no end to the pages."""
        rows: list[Rows] = []
        for _ in range(PAGES_MAX):
            following = None
            for request in self.codec.request(what, self.venue_clock.now(), **args):
                found, more = await self.ask(request)
                rows.extend(found)
                following = more or following
            if following is None:
                return rows
            args = {**args, **following}
        raise VenueError(f"{what.value} did not end within {PAGES_MAX} pages")

    async def fetch_fills(self, instruments: list[int], since_ns: int) -> None:
        """Accept an account's fills since a time; those known already change nothing."""
        since = since_ns - OVERLAP_NS
        for instrument in instruments:
            for row in await self.query(What.FILLS_SINCE, instrument=instrument, since_ns=since):
                self.inbox.accept(row)

    async def fetch_funding(self) -> None:
        """Accept funding payments since the last known moment."""
        since = self.since_ns - OVERLAP_NS
        for row in await self.query(What.FUNDING_SINCE, since_ns=since):
            self.inbox.accept(row)

    def fetch_fills_soon(self, instrument: int) -> None:
        """Ask for an instrument's fills: the venue counts more than we saw."""
        self._spawn(self._quietly(self.fetch_fills([instrument], self.since_ns)))

    def fetch_funding_soon(self) -> None:
        """Ask for funding: the stream said that some was paid, and not for what."""
        self._spawn(self._quietly(self.fetch_funding()))

    async def _quietly(self, work: Awaitable[None]) -> None:
        """Do what an audit does anyway; where the venue does not answer, one comes soon."""
        try:
            await work
        except VenueError as error:
            log.warning("query_failed", account=self.inbox.account, error=str(error))
            self.on_unanswered()

    # -- one order -------------------------------------------------------------------------

    def resolve_soon(self, order_id: int) -> None:
        """Ask for one order until it is proven, beside everything else."""
        order = self.inbox.live.get(order_id)
        if order is not None and not order.doubt:
            self._spawn(self.resolve(order))

    def question(self, order_id: int, instrument: int) -> None:
        """Ask for an order whose reports contradict each other, over or not by our count."""
        if order_id not in self.inbox.live:
            named = (v for v, known in self.inbox.by_venue_id.items() if known == order_id)
            order = LiveOrder(order_id, instrument, self.since_ns, next(named, 0))
            order.heard_ns = self.clock.now()
            self.inbox.live[order_id] = order
        self.resolve_soon(order_id)

    async def resolve(self, order: LiveOrder) -> None:
        """Ask for one order until its state is proven; backs off to one question in two seconds."""
        order.doubt, order.misses = True, 0
        pause = PAUSE_NS
        try:
            while order.order_id in self.inbox.live:
                try:
                    if await self._query_order(order):
                        return
                except VenueError as error:
                    log.warning("order_query_failed", account=self.inbox.account, error=str(error))
                await self.clock.sleep(pause)
                pause = min(pause * 2, PAUSE_MAX_NS)
        finally:
            order.doubt = False

    async def _query_order(self, order: LiveOrder) -> bool:
        """Ask for one order; True when the answer proves something."""
        known = order.venue_order_id
        rows = await self.query(What.ORDER, instrument=order.instrument, order_id=order.order_id)
        for row in rows:
            if row[0]["kind"] == words.NOT_FOUND:
                if not self._surely_missing(order):
                    continue
                await self._fetch_fills_of(order)
                if order.venue_order_id != known:
                    order.misses = 0  # it came while we asked: the answer is older
                    continue
                self._give_up(order, row)
                return True
            if known and row[0]["status"] == words.REJECTED:
                # It was on the book: refused afterwards means taken off it, fills and all.
                row["kind"], row["status"] = words.CANCEL_ACK, words.CANCELED
            self.inbox.learn(row)
            if row[0]["status"] in words.TERMINAL or row[0]["cum_qty"] > 0:
                await self._fetch_fills_of(order)
            self.inbox.accept(row)
            # Those of an earlier run were not counted here: the lookout would ask again and again.
            order.filled = max(order.filled, int(row[0]["cum_qty"]))
            return True
        return False

    def _surely_missing(self, order: LiveOrder) -> bool:
        """Tell whether one more NOT_FOUND is proof; sends the cancel that must come before it."""
        order.misses += 1
        late = self.clock.now() - max(order.sent_ns, order.heard_ns) >= HORIZON_NS
        if order.misses < 2 or not order.sent_ns or not late:
            return False
        if order.taken_back:
            return True
        order.taken_back = True
        self._on_stray(order.order_id, order.instrument)
        return False

    def _give_up(self, order: LiveOrder, row: Rows) -> None:
        """Tell of an order that is not there: it never came, or is so long over that it is gone."""
        row["order_id"], row["instrument"] = order.order_id, order.instrument
        if order.order_id not in self.inbox.live:
            return  # its end came meanwhile
        if order.venue_order_id:
            log.warning("confirmed_order_gone", account=self.inbox.account, order_id=order.order_id)
            row["kind"], row["status"] = words.CANCEL_ACK, words.CANCELED
            row["reason"], row["cum_qty"] = words.REASON_UNKNOWN_ORDER, -1
            self.inbox.accept(row)
        else:
            self.inbox.give_up(order, row)

    async def _fetch_fills_of(self, order: LiveOrder) -> None:
        """Accept an order's fills; orders in doubt together share a question that begins after."""
        since = min(order.sent_ns or self.since_ns, self.since_ns)
        shared = self._next_fetch.get(order.instrument)
        if shared is None:
            shared = self._next_fetch[order.instrument] = _SharedFetch(since)
            self._spawn(self._fetch_shared(order.instrument, shared))
        shared.since_ns = min(shared.since_ns, since)
        await shared.over.wait()
        if shared.error is not None:
            raise shared.error

    async def _fetch_shared(self, instrument: int, shared: "_SharedFetch") -> None:
        async with self._fetching:
            del self._next_fetch[instrument]
            try:
                await self.fetch_fills([instrument], shared.since_ns)
            except VenueError as error:
                shared.error = error
            shared.over.set()

    # -- everything ------------------------------------------------------------------------

    async def synchronise(self, *, settled: bool = False) -> None:
        """Ask for everything: open orders, fills, funding, orders in doubt, positions, balances.

        settled: leave out orders sent just now, which the ordinary way still answers for. When it
        returns, everything up to the moment of the call is known and in the ring, and since_ns says
        so. VenueError: ask again.
        """
        started, asked_ns = self.clock.now(), self.venue_clock.now()
        rows, strays = self._sort_out(await self.query(What.ORDERS))
        seen = {int(row[0]["order_id"]) for row in rows}
        for row in rows:
            self.inbox.learn(row)
        await self.fetch_fills(self.traded, self.since_ns)
        await self._explain_orphans()
        await self.fetch_funding()
        for row in rows:
            self.inbox.accept(row)
        unseen = [
            order
            for order in self.inbox.live.values()
            if order.order_id not in seen
            and order.sent_ns
            and not (settled and started - order.sent_ns < GRACE_NS)
        ]
        await asyncio.gather(*(self.resolve(order) for order in unseen))
        if strays:
            self._refuse(strays)
        await self.refresh()
        self.since_ns = asked_ns

    async def _explain_orphans(self) -> None:
        """Ask whether fills that nobody claims are of orders given up: one came late and filled."""
        started = self.clock.monotonic()
        self.inbox.explaining = True
        try:
            lost = list(reversed(self.inbox.lost.values()))
            for first in range(0, len(lost), LOST_ASKED_AT_ONCE):
                there = self.inbox.orphaned()
                asked = lost[first : first + LOST_ASKED_AT_ONCE]
                await asyncio.gather(*(self._ask_again(o) for o in asked if o.instrument in there))
            self.inbox.explained_ns = started
        finally:
            self.inbox.explaining = False

    def explain_soon(self) -> None:
        """Ask whose the unclaimed fills are, before they are held for somebody else's."""
        self.inbox.explaining = True
        self._spawn(self._quietly(self._explain_orphans()))

    async def _ask_again(self, order: LiveOrder) -> None:
        """Ask for an order that was given up; VenueError when there is no answer."""
        asked = {"instrument": order.instrument, "order_id": order.order_id}
        for tries_left in reversed(range(ASK_TRIES)):
            try:
                rows = await self.query(What.ORDER, **asked)
            except VenueError:
                if not tries_left:
                    raise
                await self.clock.sleep(PAUSE_NS)
                continue
            for row in rows:
                if row[0]["kind"] != words.NOT_FOUND:
                    self.inbox.accept(row)
            return

    def _sort_out(self, rows: list[Rows]) -> tuple[list[Rows], list[Rows]]:
        """Tell open orders of ours that we never heard of from all others; returns (known, strays).

        Strays are of a run whose journal is not this one, or of a journal that lost its end. An
        order that is over by our count and open by the venue's is cancelled; most often the answer
        is only older than the end.
        """
        known: list[Rows] = []
        strays: list[Rows] = []
        for row in rows:
            order_id, venue_id = int(row[0]["order_id"]), int(row[0]["venue_order_id"])
            ours = bool(order_id) and split_order_id(order_id)[0] == self._engine
            alive = order_id in self.inbox.live or order_id in self.inbox.lost
            heard = alive or venue_id in self.inbox.by_venue_id
            if ours and heard and not alive:
                self._on_stray(order_id, int(row[0]["instrument"]))
            (strays if ours and not heard else known).append(row)
        return known, strays

    def _refuse(self, strays: list[Rows]) -> None:
        for row in strays:
            order_id = int(row[0]["order_id"])
            log.warning("stray_order_cancelled", account=self.inbox.account, order_id=order_id)
            self._on_stray(order_id, int(row[0]["instrument"]))
        raise VenueError(f"{len(strays)} orders of another run are open; cancelling them")

    async def refresh(self) -> None:
        """Ask for balances and positions."""
        await self.query(What.BALANCES)
        if not self.inbox.opened_ns:
            self.inbox.opened_ns = self.venue_clock.now()
        await self.query(What.POSITIONS)
