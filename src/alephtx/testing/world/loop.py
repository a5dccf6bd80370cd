"""An asyncio loop whose time is a number, with connections in memory.

Nothing waits: when no callback is ready the clock jumps to the next timer. Callbacks run in one
order, so a seed decides everything. The real HTTP and WebSocket clients and servers run on it
unchanged: `create_connection`, `create_server` and `sock_connect` lead into `network.Network`.

Every callback belongs to the process (`network.Process`) in whose context it was made. Of a killed
process nothing runs any more - no `finally`, no farewell - as with kill -9.
"""

import asyncio
import heapq
import selectors
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from alephtx.core.errors import SimulationError
from alephtx.testing.world.network import Network, running

SECOND = 1_000_000_000


class _NoSelector(selectors.BaseSelector):
    """Takes the descriptors that the loop's own plumbing registers; it is never waited on."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, -1, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, -1, 0, None)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)


class WorldLoop(asyncio.SelectorEventLoop):
    """See the module. after_turn: called after every round of callbacks.

    Timers and rounds are its own: asyncio's compare timers in Python and look at the kernel once a
    round, which was a quarter of a world's time.
    """

    _ready: deque[asyncio.Handle]
    running: asyncio.Handle

    def __init__(self) -> None:
        super().__init__(_NoSelector())
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_made = 0
        self._now_ns = 0
        self.network: Network | None = None
        self.after_turn: Callable[[], None] = lambda: None
        self.turns = 0
        self._dialled: dict[int, tuple[str, int]] = {}

    @property
    def now_ns(self) -> int:
        """Virtual ns since the world began."""
        return self._now_ns

    def time(self) -> float:
        return self._now_ns / SECOND

    def _run_once(self) -> None:
        """Run what is ready, or jump to the next timer and run what is due then."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not ready:
            if not timers:
                raise SimulationError("the world stands still: nothing is ready, no timer is set")
            self._now_ns = max(self._now_ns, -int(-timers[0][0] * SECOND // 1))
        due = (self._now_ns + 1) / SECOND  # a float of seconds may be a hair beyond its nanosecond
        while timers and timers[0][0] <= due:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                self.running = handle
                handle._run()  # noqa: SLF001 - as asyncio's own loop does
        self.turns += 1
        self.after_turn()

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector, so nobody has to be woken."""

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        """Put callbacks at the end of the queue; of a stopped process, which goes on."""
        self._ready.extend(handles)

    # -- processes -------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        callback, args = self._owned(callback, args, context)
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        callback, args = self._owned(callback, args, context)
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_made += 1  # timers of one moment are taken in the order they were set
        heapq.heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    @staticmethod
    def _owned(callback: Any, args: Any, context: Any) -> tuple[Any, Any]:
        process = running.get() if context is None else context.get(running)
        if process is None:
            return callback, args
        return process.run, (callback, *args)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Run it here and now; a world has one thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
            future.set_exception(error)
        return future

    # -- the network -----------------------------------------------------------------------

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        await self._net().knock(address[1], running.get())
        self._dialled[sock.fileno()] = address

    async def create_connection(
        self,
        protocol_factory: Any,
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        **_: Any,
    ) -> Any:
        address = (host, port) if sock is None else self._dialled.pop(sock.fileno())
        protocol = protocol_factory()
        return self._net().connect(address[1], protocol, sock, running.get()), protocol

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        return self._net().listen(port or 0, protocol_factory, running.get())

    def _net(self) -> Network:
        assert self.network is not None
        return self.network
