"""Open a WebSocket on a socket that stays ours: connect, TLS, upgrade; then nothing reads it.

`websocket.connect` hands its socket to asyncio for good. A link that a compiled loop serves needs
the bare descriptor, so here asyncio only says when it is ready.
"""

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from alephtx.core.errors import ConfigError, ProtocolError, TransportError
from alephtx.core.syscalls import SO_TIMESTAMPNS
from alephtx.net.proxy import proxy_for
from alephtx.net.tcp import connect_tcp
from alephtx.net.tls import DONE, WANT_WRITE, TlsSession, context_like
from alephtx.net.upgrade import HEAD_MAX, check_answer, upgrade_request

_PIECE = 4096
_SO_BUSY_POLL = 46


class Dialled(NamedTuple):
    """An open WebSocket: its socket, TLS where spoken, and what came behind the handshake.

    stamped: the kernel stamps what it receives.
    """

    socket: socket.socket
    tls: TlsSession | None
    early: bytes
    stamped: bool


async def ready(fd: int, *, write: bool = False) -> None:
    """Wait until a descriptor can be read, or written."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def note() -> None:
        if not done.done():
            done.set_result(None)

    if write:
        loop.add_writer(fd, note)
    else:
        loop.add_reader(fd, note)
    try:
        await done
    finally:
        if write:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)


class _Wire:
    """A socket and its TLS while they are being opened."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.tls: TlsSession | None = None

    async def speak_tls(self, host: str, where: str, given: ssl.SSLContext | None) -> None:
        fd = self.socket.fileno()
        self.tls = TlsSession(context_like(given), fd, host, where)
        while (want := self.tls.handshake()) != DONE:
            await ready(fd, write=want == WANT_WRITE)

    async def write(self, data: bytes) -> None:
        if self.tls is None:
            await asyncio.get_running_loop().sock_sendall(self.socket, data)
            return
        while data:
            done, want = self.tls.write(data)
            data = data[done:]
            if want != DONE:
                await ready(self.socket.fileno(), write=want == WANT_WRITE)

    async def read(self) -> bytes:
        if self.tls is None:
            return await asyncio.get_running_loop().sock_recv(self.socket, _PIECE)
        while isinstance(got := self.tls.read(_PIECE), int):
            await ready(self.socket.fileno(), write=got == WANT_WRITE)
        return got

    def cut(self) -> None:
        if self.tls is not None:
            self.tls.free()
        self.socket.close()


async def dial(
    url: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    ssl_context: ssl.SSLContext | None = None,
    busy_poll_us: int = 0,
) -> Dialled:
    """Open a WebSocket; whoever calls bounds the time, and owns what is returned.

    VenueError when it cannot be opened, without the URL's query; OSError from the system.
    ssl_context: whose authorities to trust, None: the system's.
    """
    where, parts = url.partition("?")[0], urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"{where}: no address of a WebSocket", remedy="it begins ws:// or wss://")
    if proxy_for(url) is not None:
        raise ConfigError(
            f"{where}: the direct path goes through no proxy, and the environment names one",
            remedy='add the host to NO_PROXY, or use path = "split"',
        )
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    wire = _Wire(await connect_tcp(parts.hostname, port))
    try:
        stamped = _tuned(wire.socket, busy_poll_us)
        if parts.scheme == "wss":
            await wire.speak_tls(parts.hostname, where, ssl_context)
        key = base64.b64encode(os.urandom(16)).decode()
        await wire.write(upgrade_request(parts, key, headers))
        early = await _answer(wire, key, where)
    except BaseException:
        wire.cut()
        raise
    return Dialled(wire.socket, wire.tls, early, stamped and wire.tls is None)


def _tuned(opened: socket.socket, busy_poll_us: int) -> bool:
    """Set a socket's options; tell whether the kernel stamps what it receives."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if busy_poll_us > 0:
        with suppress(OSError):  # a right that not every process has; it only saves time
            opened.setsockopt(socket.SOL_SOCKET, _SO_BUSY_POLL, busy_poll_us)
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


async def _answer(wire: _Wire, key: str, where: str) -> bytes:
    """Read and check the answer's head; return what came behind it."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > HEAD_MAX:
            raise ProtocolError(
                f"{where}: the answer's head is above {HEAD_MAX} bytes", retryable=True
            )
        piece = await wire.read()
        if not piece:
            raise TransportError(f"{where}: the server hung up during the handshake")
        data += piece
    check_answer(data[:end], key, where)
    return data[end + 4 :]
