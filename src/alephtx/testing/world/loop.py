"""An asyncio loop whose time is a number, with connections in memory.

Nothing waits: when no callback is ready the clock jumps to the next timer. Callbacks run in one
order, so a seed decides everything. The real HTTP and WebSocket clients and servers run on it
unchanged: `create_connection`, `create_server` and `sock_connect` lead into `network.Network`.

Every callback belongs to the process (`network.Process`) in whose context it was made. Of a killed
process nothing runs any more - no `finally`, no farewell - as with kill -9.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

from alephtx.core.errors import SimulationError
from alephtx.testing.world.network import Network, running

SECOND = 1_000_000_000


class _NoSelector(selectors.BaseSelector):
    """Has nothing to wait for; waiting moves the clock."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.end_ns = 1 << 62

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise SimulationError("the world stands still: nothing is ready and no timer is set")
        self.now_ns += -int(-timeout * SECOND // 1)
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
    """See the module. after_turn: called after every round of callbacks."""

    def __init__(self) -> None:
        self._fake = _NoSelector()
        super().__init__(self._fake)
        self._clock_resolution = 1e-9
        self.network: Network | None = None
        self.after_turn: Callable[[], None] = lambda: None
        self.turns = 0
        self._dialled: dict[int, tuple[str, int]] = {}

    @property
    def now_ns(self) -> int:
        """Virtual ns since the world began."""
        return self._fake.now_ns

    def time(self) -> float:
        return self._fake.now_ns / SECOND

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self.turns += 1
        self.after_turn()

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector, so nobody has to be woken."""

    # -- processes -------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        callback, args = self._owned(callback, args, context)
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        callback, args = self._owned(callback, args, context)
        return super().call_at(when, callback, *args, context=context)

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
