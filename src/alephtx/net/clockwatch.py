"""Asks a venue for its time now and then, and at once when its clock seems to have been set.

Without the venue's clock a late message cannot be told from a young one, and where ours is off by
more than a second it takes no signed request. That clock may be set, too; then everything looks
late, or comes from the future, or is refused, until it is measured anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from alephtx.core.clock import Clock
from alephtx.core.errors import VenueError
from alephtx.core.log import logger
from alephtx.core.ports import Batch, Codec, Request, What
from alephtx.net.clocksync import AGREED, Offset, Sample, VenueClock

MS = 1_000_000
PERIOD_NS = 60_000 * MS
AGAIN_NS = 5_000 * MS
"""At least so long between two doubts that are looked into: each costs requests."""
TOLD_NS = 500 * MS
"""A clock that differs by more is worth a warning: orders are refused from a second on."""

Fetch = Callable[[Request], Awaitable[tuple[int, Any, bytes]]]


async def ask_time(codec: Codec, fetch: Fetch, clock: Clock) -> Sample | None:
    """Ask a venue for its time. None: it tells none. VenueError: no answer."""
    sample = None
    for request in codec.request(What.TIME, clock.now()):
        batch = Batch(events=1, updates=1)
        sent_ns = clock.now()
        status, headers, body = await fetch(request)
        received_ns = clock.now()
        codec.reply(request, status, headers, body, batch)
        for control in batch.controls:
            if control.kind == "time":
                sample = Sample(sent_ns, received_ns, control.value * MS)
    return sample


class ClockWatch:
    """One venue's clock, for whoever talks to it. period_ns: 0 = never ask.

    fetch: does a request, its rate budget paid. measured: called with each new offset. who: for the
    log.
    """

    def __init__(
        self,
        codec: Codec,
        fetch: Fetch,
        clock: Clock,
        *,
        who: str,
        period_ns: int = PERIOD_NS,
        measured: Callable[[Offset], None] = lambda offset: None,
    ) -> None:
        self.venue = VenueClock()
        self._codec, self._fetch, self._clock = codec, fetch, clock
        self._period_ns, self._measured = period_ns, measured
        self._doubted = asyncio.Event()
        self._log = logger(who, venue=codec.spec.name)

    @property
    def offset(self) -> Offset:
        """By how much the venue's clock is ahead of ours, as far as it is known."""
        return self.venue.offset

    def now(self) -> int:
        """Return the venue's time in ns, for requests that carry it; ours until it is known."""
        return self._clock.now() + self.offset.shift_ns

    def doubt(self) -> None:
        """Say that the venue's clock is not what was measured; call it as often as you like."""
        self._doubted.set()

    async def run(self) -> None:
        """Measure until cancelled; ends at once for a venue that tells no time."""
        asks = 1
        while self._period_ns and self._codec.request(What.TIME, self._clock.now()):
            self._doubted.clear()
            told = await self._measure(asks)
            pause = min(AGAIN_NS, self._period_ns)
            await self._clock.sleep(pause)
            if not told:
                continue
            try:
                async with asyncio.timeout((self._period_ns - pause) / 1e9):
                    await self._doubted.wait()
                asks = AGREED
            except TimeoutError:
                asks = 1

    async def _measure(self, asks: int) -> bool:
        """Ask so many times; tell whether all were answered."""
        before, told, asked = self.offset.least_ns, 0, 0
        # One answer that contradicts what was measured says little, three say that a clock was set.
        while asked < asks or (self.venue.contradicted and asked < asks + AGREED):
            asked += 1
            try:
                sample = await ask_time(self._codec, self._fetch, self._clock)
            except VenueError as error:
                self._log.every(60).warning("venue_time_failed", reason=str(error))
                continue
            if sample is not None:
                self._measured(self.venue.add(sample))
                told += 1
        least = self.offset.least_ns
        if abs(least - before) > TOLD_NS:
            said = "orders carry the venue's time"
            if self.offset.shift_ns != least:
                said = "too much to make good for: set this machine's clock and start again"
            self._log.warning(
                "clocks_differ",
                venue_ahead_ms=self.offset.offset_ns // MS,
                within_ms=self.offset.error_ns // MS,
                so=said,
            )
        return told == asked
