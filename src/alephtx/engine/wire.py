"""The network of one account: links by role, HTTP, and the venue's rate limits."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from alephtx.core.clock import Clock
from alephtx.core.errors import TransportError
from alephtx.core.ports import Bucket, Endpoints, Request
from alephtx.net import websocket
from alephtx.net.buckets import Buckets
from alephtx.net.http import HttpClient, wait_asked_ns
from alephtx.net.session import Connect, LinkRunner

OnFrame = Callable[[str, bytes, int], None]


class AccountWire:
    """Implements `execution.gateway.Wire` over `net`; the gateway is attached after it is made."""

    def __init__(
        self,
        venue: str,
        endpoints: Endpoints,
        buckets: tuple[Bucket, ...],
        clock: Clock,
        source: random.Random,
    ) -> None:
        self.http = HttpClient(endpoints.http, venue=venue)
        self.buckets = Buckets(buckets, clock)
        self._bases = {"private": endpoints.private, "trade": endpoints.trade}
        self._clock = clock
        self._random = source
        self._runners: dict[str, list[LinkRunner]] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._up: dict[str, set[str]] = {}
        self.connects: dict[str, Connect] = {}  # by role, where it is not `websocket.connect`
        self.on_frame: OnFrame = lambda role, frame, ts_recv: None
        self.on_up: Callable[[str], None] = lambda role: None
        self.on_down: Callable[[str, str], None] = lambda role, why: None
        self.on_failed: Callable[[BaseException], None] = lambda error: None

    async def take(self, request: Request, *, urgent: bool) -> None:
        """Wait for the request's rate budget; cancels may use the reserved share."""
        await self.buckets.take(request.weights, cancel=urgent)

    def learn(self, used: dict[str, int]) -> None:
        """Take the venue's own count of our rate budgets where it is worse than ours."""
        self.buckets.learn(used)

    def hold(self, duration_ns: int) -> None:
        """Send nothing for that long: the venue asked for it."""
        self.buckets.hold(duration_ns)

    async def fetch(self, request: Request) -> tuple[int, Any, bytes]:
        """Do an HTTP request; what the venue says about waiting is heeded by those that follow."""
        status, headers, body = await self.http.fetch(request)
        if wait_ns := wait_asked_ns(status, headers):
            self.buckets.hold(wait_ns)
        return status, headers, body

    def send(self, role: str, frame: bytes) -> bool:
        """Send a frame on the role's first link; False when it is down."""
        runners = self._runners.get(role)
        if not runners or not runners[0].is_up:
            return False
        try:
            runners[0].send(frame)
        except TransportError:
            return False
        return True

    def open(self, role: str, links: list[Any]) -> None:
        """Open a role's links in place of those it had."""
        for task in self._tasks.pop(role, []):
            task.cancel()
        self._up[role] = set()
        self._runners[role] = [
            self._runner(role, f"{role}{k}", link, len(links)) for k, link in enumerate(links)
        ]
        self._tasks[role] = [asyncio.ensure_future(r.run()) for r in self._runners[role]]
        for task in self._tasks[role]:
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.on_failed(error)

    def _runner(self, role: str, name: str, link: Any, count: int) -> LinkRunner:
        def up() -> None:
            self._up[role].add(name)
            if len(self._up[role]) == count:
                self.on_up(role)

        def down(why: str) -> None:
            self._up[role].discard(name)
            self.on_down(role, why)

        return LinkRunner(
            link,
            self._bases[role],
            on_frame=lambda frame, ts_recv: self.on_frame(role, frame, ts_recv),
            on_up=up,
            on_down=down,
            clock=self._clock,
            source=self._random,
            connect=self.connects.get(role, websocket.connect),
        )

    def drop(self, role: str, reason: str) -> None:
        """Close a role's links; they are opened again at once."""
        for runner in self._runners.get(role, []):
            runner.drop(reason)

    async def close(self) -> None:
        """Close every link and the HTTP connections."""
        tasks = [task for role in self._tasks.values() for task in role]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        await self.http.close()
