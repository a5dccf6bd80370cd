"""The venues' own dead-man timers: they cancel everything when nobody renews them in time.

Kept up by the killer, not by the engine, and only while the engine stirs: an engine that hangs lets
them run out as a dead machine does. They take whatever is open on an instrument, so only accounts
that nobody else trades on have them.
"""

from collections.abc import Callable, Iterable

from alephtx.core.clock import Clock
from alephtx.core.errors import VenueError
from alephtx.core.log import logger
from alephtx.core.ports import What
from alephtx.execution.killing import AccountKill
from alephtx.execution.open_orders import OpenOrder

log = logger("kill")

TICK_NS = 1_000_000_000
REFUSED_PAUSE_NS = 600_000_000_000


class DeadMan:
    """One account's timers. orders(): what may be open, by which instruments are chosen."""

    def __init__(
        self,
        account: AccountKill,
        clock: Clock,
        timeout_ns: int,
        orders: Callable[[], Iterable[OpenOrder]],
    ) -> None:
        self._account, self._clock, self._timeout_ns = account, clock, timeout_ns
        self._orders = orders
        self._armed: dict[int, int] = {}  # instrument, -1 for all -> when, monotonic
        self._resting_until = 0

    @property
    def armed(self) -> list[int]:
        """Instruments whose timer runs, -1 where one timer stands for all."""
        return sorted(self._armed)

    async def tick(self) -> None:
        """Arm the timers of instruments with open orders, and renew those that run."""
        now = self._clock.monotonic()
        if now < self._resting_until:
            return
        due = now - self._timeout_ns // 3
        done: set[int] = set()
        for i in sorted({order.instrument for order in self._orders()}):
            for request in self._account.codec.request(
                What.DEADMAN, self._account.venue_now(), timeout_ns=self._timeout_ns, instrument=i
            ):
                timer = request.instrument
                if timer in done or self._armed.get(timer, due) > due:
                    continue
                done.add(timer)
                try:
                    await self._account.read(request)
                except VenueError as error:
                    log.warning("deadman_not_armed", account=self._account.name, error=str(error))
                    if not error.retryable:
                        self._resting_until = now + REFUSED_PAUSE_NS
                        return
                else:
                    self._armed[timer] = now

    async def disarm(self) -> None:
        """Stop every timer, so that it takes no order that a person places afterwards."""
        for timer in self.armed:
            args = {} if timer < 0 else {"instrument": timer}
            for request in self._account.codec.request(
                What.DEADMAN, self._account.venue_now(), timeout_ns=0, **args
            ):
                try:
                    await self._account.read(request)
                    self._armed.pop(timer, None)
                except VenueError as error:
                    log.warning(
                        "deadman_not_disarmed", account=self._account.name, error=str(error)
                    )
