"""Orders that rest and of which nothing was heard for a while: the venue is asked for them.

A venue may lose a report while every link stays up, and nothing that follows need tell of it: a
quote that suits its strategy is not touched again. An audit would find it, once a minute. So the
order that was silent longest is looked at, one in 700 ms and account: a question of one order, the
cheapest there is (Binance futures: weight 1 of 2,400 a minute; spot 4 of 6,000).
"""

from collections.abc import Awaitable, Callable
from typing import Any

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import VenueError
from alephtx.core.log import logger
from alephtx.core.ports import What
from alephtx.execution.inbox import Inbox, LiveOrder
from alephtx.execution.resync import Truth

log = logger("gateway")

SILENT_NS = 1_000_000_000
"""How long an order may rest without a word before it is looked at."""

EVERY_NS, AFTER_ERROR_NS = 700_000_000, 5_000_000_000


class Lookout:
    """Asks for one account's silent orders. spawn: runs a coroutine beside."""

    def __init__(
        self,
        truth: Truth,
        inbox: Inbox,
        clock: Clock,
        spawn: Callable[[Awaitable[None]], Any],
    ) -> None:
        self._truth, self._inbox, self._clock, self._spawn = truth, inbox, clock, spawn
        self._due_ns = 0
        self._asking = False

    def sweep(self) -> None:
        """Look at the order that was silent longest, when the time has come."""
        now = self._clock.monotonic()
        if self._asking or now < self._due_ns:
            return
        self._due_ns = now + EVERY_NS
        resting = (
            order
            for order in self._inbox.live.values()
            if order.heard_ns and not order.doubt and not order.withdrawn
        )
        order = min(resting, key=lambda order: order.heard_ns, default=None)
        if order is not None and self._clock.now() - order.heard_ns >= SILENT_NS:
            self._asking = True
            self._spawn(self._look(order))

    async def _look(self, order: LiveOrder) -> None:
        account = self._inbox.account
        try:
            rows = await self._truth.query(
                What.ORDER, instrument=order.instrument, order_id=order.order_id
            )
        except VenueError as error:
            log.warning("order_query_failed", account=account, error=str(error))
            self._due_ns = self._clock.monotonic() + AFTER_ERROR_NS
            return
        finally:
            self._asking = False
        for row in rows:
            over = row[0]["kind"] == words.NOT_FOUND or row[0]["status"] in words.TERMINAL
            if over or row[0]["cum_qty"] > order.filled:
                log.info("order_moved_unheard", account=account, order_id=order.order_id)
                self._truth.resolve_soon(order.order_id)
            else:
                order.heard_ns = self._clock.now()
