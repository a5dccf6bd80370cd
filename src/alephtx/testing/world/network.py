"""Connections in memory: bytes with latency, in order, until something breaks.

A connection is two transports, one at each end. What one writes reaches the other's protocol after
the link's delay. Faults act on the links between a process and a port: refuse, reset, stall (bytes
are held), drop (half-open: bytes vanish), latency, trickle. TCP keeps order and loses nothing
within a living connection, so these are all that a network can do to it.
"""

import asyncio
import contextvars
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

MS = 1_000_000
FIRST_PORT = 20_000
PIECE = 64 << 10


class HoldingLoop(Protocol):
    """A loop that says which callback runs, and takes back what did not."""

    running: asyncio.Handle

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        """Let callbacks have their turn once more; one that is cancelled before it has none."""
        ...


def _loop() -> HoldingLoop:
    return cast("HoldingLoop", asyncio.get_running_loop())


class Process:
    """What dies together: callbacks run under its name only while it lives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.transports: dict[MemoryTransport, None] = {}  # in order: a set has none to rely on
        self._held: list[asyncio.Handle] | None = None

    @property
    def stopped(self) -> bool:
        """True between SIGSTOP and SIGCONT."""
        return self._held is not None

    def run(self, callback: Callable[..., Any], *args: Any) -> None:
        """Run a callback of this process if it lives, later if it is stopped."""
        if self._held is not None:
            self._held.append(_loop().running)
        elif self.alive:
            callback(*args)

    def stop(self) -> None:
        """Do as SIGSTOP does: what should run waits, what comes from outside piles up."""
        self._held = self._held or []

    def go_on(self) -> None:
        """Do as SIGCONT does."""
        held, self._held = self._held or [], None
        if held:
            _loop().run_again(held)

    def kill(self) -> None:
        """End it at once: nothing of it runs again, its connections are reset."""
        self.alive = False
        for transport in list(self.transports):
            transport.reset(quiet=True)


running: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Link:
    """The state of the way between one process and one port, both directions.

    delay_ns and jitter_ns: each way. stalled: 1 outward, 2 inward, 3 both. dropped: likewise, bytes
    vanish. trickle: bytes a piece, 0 off. refuse: new connections fail.
    """

    def __init__(self) -> None:
        self.delay_ns, self.jitter_ns = MS, MS // 2
        self.stalled = self.dropped = self.trickle = 0
        self.refuse = False
        self.ends: dict[MemoryTransport, None] = {}

    @property
    def calm(self) -> bool:
        """True when nothing is wrong with it."""
        wrong = self.stalled or self.dropped or self.trickle or self.refuse
        return not wrong and self.delay_ns <= 20 * MS

    def heal(self) -> None:
        """Go back to an ordinary way; what was held arrives at once.

        A connection of which bytes have vanished cannot go on: its ends are reset.
        """
        lossy = self.dropped
        self.delay_ns, self.jitter_ns = MS, MS // 2
        self.stalled = self.dropped = self.trickle = 0
        self.refuse = False
        for end in list(self.ends):
            if lossy:
                end.reset()
            else:
                end.flush()
                end.hear()


class MemoryTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(
        self, network: "Network", link: Link, outward: bool, protocol: Any, owner: Process | None
    ) -> None:
        super().__init__()
        self.network, self.link, self.outward, self.owner = network, link, outward, owner
        self.peer: MemoryTransport = self
        self._protocol = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol) or hasattr(
            protocol, "get_buffer"
        )
        self._queue: deque[tuple[int, bytes | None]] = deque()  # due ns, bytes or the end
        self._queued = 0
        self._last_due = 0
        self._timer: Any = None
        self.end_comes: Any = None  # the call that tells this end of the other's reset
        self._paused = False
        self._inbox: deque[bytes | None] = deque()
        self.closing = self.closed = False
        self.socket: Any = None
        self.extra: dict[str, Any] = {}
        link.ends[self] = None
        if owner is not None:
            owner.transports[self] = None

    # -- what protocols ask ----------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object" and self._buffered:
            return self  # keeps picows from sending past us, straight into the socket
        return self.extra.get(name, default)

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self._queued

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
        """Take them; pressure is not simulated, the bound of the senders is."""

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        while self._inbox and not self._paused and not self.closed:
            self._give(self._inbox.popleft())

    def is_reading(self) -> bool:
        return not self._paused

    # -- sending ---------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if self.closing or not data:
            return
        data = bytes(data)
        step = self.link.trickle or PIECE
        for start in range(0, len(data), step):
            self._post(data[start : start + step])

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        """Send what is queued, then the end."""
        if not self.closing:
            self.closing = True
            self._post(None)
            self.network.loop.call_soon(self.lost, None)

    def abort(self) -> None:
        self.reset()

    def reset(self, *, quiet: bool = False) -> None:
        """Cut both ends now; quiet: this end is dead and hears nothing."""
        if self.closed:
            return
        self.closing = True
        error = ConnectionResetError("connection reset")
        if quiet:
            self._forget()
        else:
            self.network.loop.call_soon(self.lost, None)
        other = self.peer
        if not other.closed:
            other.closing = True
            other.end_comes = self.network.call_in(other, self._delay(), other.lost, error)

    def _delay(self) -> int:
        link = self.link
        return link.delay_ns + (
            self.network.source.randrange(link.jitter_ns) if link.jitter_ns else 0
        )

    def _blocked(self) -> bool:
        return bool(self.link.stalled & (1 if self.outward else 2))

    def _post(self, data: bytes | None) -> None:
        if self.link.dropped & (1 if self.outward else 2):
            return
        now = self.network.loop.now_ns
        pace = 40 * MS if self.link.trickle else 0
        due = max(self._last_due + pace, now + self._delay())
        self._last_due = due
        self._queue.append((due, data))
        self._queued += len(data or b"")
        if self._timer is None and not self._blocked():
            self._arm()

    def _arm(self) -> None:
        wait = max(0, self._queue[0][0] - self.network.loop.now_ns)
        self._timer = self.network.call_in(self.peer, wait, self._deliver)

    def hear(self) -> None:
        """Let what the other end sent before it was gone, and that it is, come without delay."""
        if self.peer.closed:
            self.peer.flush()
        if self.end_comes is not None:
            self.end_comes.cancel()
            error = ConnectionResetError("connection reset")
            self.end_comes = self.network.call_in(self, self._delay(), self.lost, error)

    def flush(self) -> None:
        """Deliver what a stall or a trickle held."""
        if not self._queue:
            return
        if self._timer is not None:
            self._timer.cancel()
        now = self.network.loop.now_ns
        self._queue = deque((min(due, now + self._delay()), data) for due, data in self._queue)
        self._last_due = max(due for due, _ in self._queue)
        self._arm()

    def _deliver(self) -> None:
        self._timer = None
        now = self.network.loop.now_ns
        while self._queue and self._queue[0][0] <= now:
            if self._blocked():
                return
            _, data = self._queue.popleft()
            self._queued -= len(data or b"")
            self.peer.receive(data)
        if self._queue and not self._blocked():
            self._arm()

    # -- receiving -------------------------------------------------------------------------

    def receive(self, data: bytes | None) -> None:
        """Take bytes, or the peer's end."""
        if self.closed or (self.owner is not None and not self.owner.alive):
            return
        if self._paused or self._inbox:
            self._inbox.append(data)
        else:
            self._give(data)

    def _give(self, data: bytes | None) -> None:
        if data is None:
            self._protocol.eof_received()
            if not self.closing:
                self.closing = True
                self.network.loop.call_soon(self.lost, None)
            return
        if not self._buffered:
            self._protocol.data_received(data)
            return
        view = memoryview(data)
        while view and not self.closed:
            room = self._protocol.get_buffer(-1)
            n = min(len(room), len(view))
            room[:n] = view[:n]
            self._protocol.buffer_updated(n)
            view = view[n:]

    def lost(self, error: Exception | None) -> None:
        if self.closed:
            return
        self._forget()
        if self.owner is None or self.owner.alive:
            self._protocol.connection_lost(error)

    def _forget(self) -> None:
        self.closed = self.closing = True
        self.link.ends.pop(self, None)
        if self.owner is not None:
            self.owner.transports.pop(self, None)
        if self.socket is not None:
            self.socket.close()


class _Address:
    """Looks like a listening socket to whoever asks for its port."""

    family = socket.AF_INET

    def __init__(self, port: int) -> None:
        self.port = port

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self.port


class MemoryServer(asyncio.AbstractServer):
    """A port that takes connections."""

    def __init__(self, network: "Network", port: int, factory: Any, owner: Process | None) -> None:
        self.network, self.port, self.factory, self.owner = network, port, factory, owner
        self.sockets = (_Address(port),)

    def close(self) -> None:
        self.network.servers.pop(self.port, None)

    async def wait_closed(self) -> None:
        """It is closed at once."""

    async def start_serving(self) -> None:
        """It serves from the start."""

    def get_loop(self) -> Any:
        return self.network.loop

    async def serve_forever(self) -> None:
        await asyncio.Event().wait()

    def is_serving(self) -> bool:
        return self.port in self.network.servers


class Network:
    """All ports and links of a world. source decides jitter."""

    def __init__(self, loop: Any, source: random.Random) -> None:
        self.loop, self.source = loop, source
        self.servers: dict[int, MemoryServer] = {}
        self.links: dict[tuple[str, int], Link] = {}
        self.connections = 0

    def link(self, process: Process | None, port: int) -> Link:
        """Return the way between a process and a port."""
        key = (process.name if process else "", port)
        if key not in self.links:
            self.links[key] = Link()
        return self.links[key]

    def call_in(self, end: MemoryTransport, wait_ns: int, callback: Any, *args: Any) -> Any:
        """Call later, on behalf of the process at that end."""
        context = context_of(end.owner)
        return self.loop.call_at(
            (self.loop.now_ns + wait_ns) / 1e9, callback, *args, context=context
        )

    def listen(self, port: int, factory: Any, owner: Process | None) -> MemoryServer:
        """Open a port; 0: the next free one."""
        port = port or FIRST_PORT + len(self.servers)
        server = self.servers[port] = MemoryServer(self, port, factory, owner)
        return server

    async def knock(self, port: int, process: Process | None) -> None:
        """Wait for a TCP handshake; ConnectionRefusedError, or never while packets vanish."""
        link = self.link(process, port)
        while link.stalled or link.dropped:
            await asyncio.sleep(0.25)
        await asyncio.sleep(2 * link.delay_ns / 1e9)
        if link.refuse or port not in self.servers:
            raise ConnectionRefusedError(111, "Connection refused")

    def connect(self, port: int, protocol: Any, sock: Any, process: Process | None) -> Any:
        """Join a client's protocol and a server's; returns the client's transport."""
        server = self.servers.get(port)
        if server is None:
            raise ConnectionRefusedError(111, "Connection refused")
        self.connections += 1
        link = self.link(process, port)
        near = MemoryTransport(self, link, True, protocol, process)
        far_protocol = context_of(server.owner).run(server.factory)
        far = MemoryTransport(self, link, False, far_protocol, server.owner)
        near.peer, far.peer = far, near
        near.socket = sock
        near.extra = {"socket": sock, "peername": ("127.0.0.1", port), "sockname": ("127.0.0.1", 1)}
        far.extra = {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", port)}
        self.call_in(far, 0, far_protocol.connection_made, far)
        protocol.connection_made(near)
        return near


def context_of(process: Process | None) -> contextvars.Context:
    """Return a context in which a process runs."""
    context = contextvars.Context()
    context.run(running.set, process)
    return context
