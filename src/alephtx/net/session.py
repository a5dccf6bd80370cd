"""Keep one link open: connect, subscribe, ping, watch, reopen.

A link is dropped when it closes, when nothing at all came for stall_ns (a half-open connection says
nothing, for ever), when it grows too old, or when somebody asks. Failures back off with jitter;
a planned reopening does not wait.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from alephtx.core.clock import Clock
from alephtx.core.errors import TransportError, VenueError
from alephtx.core.ports import Link
from alephtx.net import websocket
from alephtx.net.backoff import Backoff

LINK_QUEUE_MAX = 4096
LIFETIME_SPREAD = 0.05


class LinkCounts(msgspec.Struct):
    """What a link lived through."""

    connects: int = 0
    failures: int = 0
    drops: int = 0
    stalls: int = 0
    frames: int = 0
    bytes_in: int = 0
    unsent: int = 0


class OpenSocket(Protocol):
    """What a runner needs of a WebSocket; `websocket.WebSocket` says what each means."""

    @property
    def last_ns(self) -> int:
        """Return the monotonic time when something last came."""
        ...

    @property
    def messages(self) -> int:
        """Return how many whole messages came."""
        ...

    @property
    def bytes_in(self) -> int:
        """Return how many payload bytes came."""
        ...

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing more can be sent."""
        ...

    def send(self, payload: bytes) -> None:
        """Queue one message; TransportError when closed or full."""
        ...

    def abort(self) -> None:
        """Cut the connection now."""
        ...

    async def wait_closed(self) -> websocket.Closed:
        """Wait for the end."""
        ...

    async def close(self, code: int = 1000, timeout_ns: int = 0) -> websocket.Closed:
        """Say goodbye, wait that long for the answer, then cut."""
        ...


class Connect(Protocol):
    """A way to open a WebSocket: `websocket.connect`, or one that a compiled loop serves."""

    def __call__(
        self,
        url: str,
        on_frame: websocket.OnFrame,
        *,
        clock: Clock,
        timeout_ns: int,
        ssl_context: ssl.SSLContext | None,
    ) -> Awaitable[OpenSocket]:
        """Return an open socket; VenueError when there is none in time."""
        ...


class LinkRunner:
    """Runs one Link until cancelled.

    link: the Link, or a coroutine function that makes it anew for every connection (a private
    link needs a fresh login). on_up() is called when all frames were sent; on_down(reason) once
    after each on_up or broken opening; on_frame(payload, ts_recv) for every message from the
    moment the socket is open, which may be before on_up. connect: how to open a socket.
    """

    def __init__(
        self,
        link: Link | Callable[[], Awaitable[Link]],
        base: str,
        *,
        on_frame: websocket.OnFrame,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        clock: Clock,
        source: random.Random,
        backoff: Backoff | None = None,
        connect_timeout_ns: int = websocket.CONNECT_TIMEOUT_NS,
        ssl_context: ssl.SSLContext | None = None,
        connect: Connect = websocket.connect,
    ) -> None:
        self._connect = connect
        self._make = link
        self._base = base.rstrip("/")
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._clock = clock
        self._random = source
        self._backoff = backoff or Backoff(source)
        self._connect_timeout_ns = connect_timeout_ns
        self._ssl = ssl_context
        self._socket: OpenSocket | None = None
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._drop_reason = ""
        self.counts = LinkCounts()

    @property
    def is_up(self) -> bool:
        """Tell whether the socket is open."""
        return self._socket is not None and not self._socket.is_closed

    def send(self, payload: bytes) -> None:
        """Send at once, past the pacing; TransportError, sent=False, when the link is down."""
        if self._socket is None:
            self.counts.unsent += 1
            raise TransportError("the link is down")
        self._socket.send(payload)

    def queue(self, payload: bytes) -> None:
        """Send at the link's pace, while this connection lasts; dropped when it is down."""
        if self._socket is None or len(self._queue) >= LINK_QUEUE_MAX:
            self.counts.unsent += 1
            return
        self._queue.append(payload)
        self._wake.set()

    def drop(self, reason: str) -> None:
        """Close this connection and open a new one at once."""
        self._drop_reason = self._drop_reason or reason
        if self._socket is not None:
            self._socket.abort()

    async def run(self) -> None:
        """Open, keep and reopen the link until cancelled."""
        while True:
            planned = await self._once()
            if not planned:
                await self._clock.sleep(self._backoff.next())

    async def _once(self) -> bool:
        """Run one connection; True when its end was planned, so that no wait is due."""
        self._drop_reason = ""
        self._queue.clear()
        try:
            link = self._make if isinstance(self._make, Link) else await self._make()
            opened = await self._connect(
                self._base + link.path,
                self._on_frame,
                clock=self._clock,
                timeout_ns=self._connect_timeout_ns,
                ssl_context=self._ssl,
            )
        except VenueError as error:
            self.counts.failures += 1
            self._on_down(str(error))
            return False
        self._socket = opened
        self.counts.connects += 1
        since_ns = self._clock.monotonic()
        reason = "cancelled"
        try:
            reason = await self._keep(link, opened)
        finally:
            self._socket = None
            self.counts.drops += 1
            self.counts.frames += opened.messages
            self.counts.bytes_in += opened.bytes_in
            self._on_down(reason)
            # Says goodbye where the peer still listens; never waits long for a dead one.
            await opened.close(1001, timeout_ns=200_000_000)
        lived_ns = self._clock.monotonic() - since_ns
        if lived_ns > self._backoff.cap_ns // 3:
            self._backoff.reset()
        # A link that is dropped again and again at once must not be reopened in a tight loop.
        return bool(self._drop_reason) and lived_ns > self._backoff.base_ns

    async def _keep(self, link: Link, opened: OpenSocket) -> str:
        """Serve one open connection to its end and return why it ended."""
        tasks = (
            asyncio.create_task(self._write(link, opened)),
            asyncio.create_task(self._watch(link, opened)),
        )
        end = asyncio.create_task(opened.wait_closed())
        try:
            await asyncio.wait([*tasks, end], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and (error := task.exception()) is not None:
                    if not isinstance(error, TransportError):
                        raise error
                    return str(error)
            if self._drop_reason:
                return self._drop_reason
            closed = await end
            who = "the venue" if closed.by_peer else "we"
            return f"{who} closed: {closed.code} {closed.reason}".strip()
        finally:
            await _stop(*tasks, end)

    async def _write(self, link: Link, opened: OpenSocket) -> None:
        """Send the subscriptions, then the queue, never faster than the link allows."""
        pause_ns = 1_000_000_000 // max(1, link.frames_per_s)
        self._queue.extendleft(reversed(link.frames))
        left = len(link.frames)
        if left == 0:
            self._on_up()
        while True:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
            opened.send(self._queue.popleft())
            left -= 1
            if left == 0:
                self._on_up()
            await self._clock.sleep(pause_ns)

    async def _watch(self, link: Link, opened: OpenSocket) -> None:
        """Ping when due; drop the link when it is silent or too old. Returns when dropped."""
        born_ns = pinged_ns = self._clock.monotonic()
        spread = 1 - LIFETIME_SPREAD * self._random.random()
        dies_ns = born_ns + int(link.lifetime_ns * spread)
        pings = link.ping is not None and link.ping_every_ns > 0
        step_ns = min(link.stall_ns // 4, link.ping_every_ns if pings else link.stall_ns)
        step_ns = max(1_000_000, min(step_ns, link.lifetime_ns // 4, 1_000_000_000))
        while True:
            await self._clock.sleep(step_ns)
            now_ns = self._clock.monotonic()
            if pings and link.ping is not None and now_ns - pinged_ns >= link.ping_every_ns:
                pinged_ns = now_ns
                self.queue(link.ping)
            if now_ns - opened.last_ns > link.stall_ns:
                self.counts.stalls += 1
                self.drop(f"nothing came for {link.stall_ns / 1e9:g} s")
                return
            if now_ns > dies_ns:
                self.drop("its lifetime is over")
                return


async def _stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them; what they failed with was seen or no longer matters."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
