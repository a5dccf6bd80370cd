"""One WebSocket, as a client: whole messages in, frames out, and why it ended.

Over picows (Cython parser, 2-3 us a frame less than the pure ones). No compression is offered: it
costs latency and memory. Ping frames are answered here rather than in picows, because they
count as proof of life for the watchdog.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import picows
from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport

from alephtx.core.clock import Clock
from alephtx.core.errors import TransportError
from alephtx.net.proxy import proxy_for
from alephtx.net.tcp import connect_tcp

MESSAGE_MAX = 16 << 20
QUEUE_MAX = 1 << 20
CONNECT_TIMEOUT_NS = 10_000_000_000
CLOSE_TIMEOUT_NS = 1_000_000_000
ABNORMAL = 1006
_TOO_BIG = 1009
_PROTOCOL_ERROR = 1002

# picows logs every connection itself, with addresses; we report what matters in our own words.
_quiet = logging.getLogger("alephtx.net.picows")
_quiet.setLevel(logging.CRITICAL + 1)
_quiet.propagate = False

OnFrame = Callable[[bytes, int], None]


class Closed(NamedTuple):
    """How a socket ended: a close code (1006 when none came), its reason, and who closed."""

    code: int
    reason: str
    by_peer: bool


def _code(value: Any) -> int:
    """Return a close code as a plain int; picows' own type says Enum, but it is an IntEnum."""
    return int(value)


class _Listener(picows.WSListener):
    """Assembles messages and stamps them. on_frame must not keep picows objects: it gets bytes."""

    def __init__(self, on_frame: OnFrame, clock: Clock, message_max: int) -> None:
        self._on_frame = on_frame
        self._now = clock.now
        self._monotonic = clock.monotonic
        self._message_max = message_max
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._open_message = False
        self.last_ns = clock.monotonic()
        self.messages = 0
        self.bytes_in = 0
        self.closed: Closed | None = None
        self.error: Exception | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        ts_recv = self._now()
        self.last_ns = self._monotonic()
        if self.closed is not None:
            return
        kind = frame.msg_type
        if kind == WSMsgType.TEXT or kind == WSMsgType.BINARY:
            if frame.fin and not self._open_message and not frame.rsv1:
                self.messages += 1
                payload = frame.get_payload_as_bytes()
                self.bytes_in += len(payload)
                self._on_frame(payload, ts_recv)
            elif self._open_message or frame.rsv1 or frame.rsv2 or frame.rsv3:
                self._fail(transport, _PROTOCOL_ERROR, "a frame that was not agreed on")
            else:
                self._open_message = True
                self._add_part(transport, frame.get_payload_as_bytes())
        elif kind == WSMsgType.CONTINUATION:
            self._continue(transport, frame, ts_recv)
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            code = _code(frame.get_close_code()) or 1000
            self.closed = Closed(code, frame.get_close_reason() or "", by_peer=True)
            if not transport.is_close_frame_sent:
                transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def _continue(self, transport: WSTransport, frame: WSFrame, ts_recv: int) -> None:
        if not self._open_message:
            self._fail(transport, _PROTOCOL_ERROR, "a continuation of nothing")
            return
        self._add_part(transport, frame.get_payload_as_bytes())
        if frame.fin and self.closed is None:
            payload = b"".join(self._parts)
            self._parts.clear()
            self._parts_bytes = 0
            self._open_message = False
            self.messages += 1
            self.bytes_in += len(payload)
            self._on_frame(payload, ts_recv)

    def _add_part(self, transport: WSTransport, part: bytes) -> None:
        self._parts_bytes += len(part)
        if self._parts_bytes > self._message_max:
            self._parts.clear()
            self._fail(transport, _TOO_BIG, f"a message above {self._message_max} bytes")
        else:
            self._parts.append(part)

    def _fail(self, transport: WSTransport, code: int, reason: str) -> None:
        self.closed = Closed(code, reason, by_peer=False)
        transport.send_close(WSCloseCode(code), reason.encode())
        transport.disconnect()

    def pause_writing(self) -> None:
        """Nothing to do: `WebSocket.send` looks at the queue itself."""

    def resume_writing(self) -> None:
        """Nothing to do."""


class WebSocket:
    """An open client socket. Not thread-safe; call it from its own loop."""

    def __init__(self, transport: WSTransport, listener: _Listener, queue_max: int) -> None:
        self._transport = transport
        self._listener = listener
        self._queue_max = queue_max

    @property
    def last_ns(self) -> int:
        """Return the monotonic time of the last frame of any kind."""
        return self._listener.last_ns

    @property
    def messages(self) -> int:
        """Return how many whole messages came."""
        return self._listener.messages

    @property
    def bytes_in(self) -> int:
        """Return how many payload bytes came."""
        return self._listener.bytes_in

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing more can be sent."""
        return bool(self._transport.is_disconnected or self._transport.is_close_frame_sent)

    def send(self, payload: bytes, *, binary: bool = False) -> None:
        """Queue one message. TransportError, sent=False, when closed or the queue is full."""
        if self.is_closed:
            raise TransportError("the WebSocket is closed")
        queued = self._transport.underlying_transport.get_write_buffer_size()
        if queued + len(payload) > self._queue_max:
            raise TransportError(
                f"{queued} bytes wait to be sent; the queue's bound is {self._queue_max}",
                remedy="the peer does not read; the link will be reopened",
            )
        self._transport.send(WSMsgType.BINARY if binary else WSMsgType.TEXT, payload)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping frame."""
        if not self.is_closed:
            self._transport.send_ping(payload)

    def pause_reading(self) -> None:
        """Stop reading, so that the peer feels our backlog."""
        self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._transport.underlying_transport.resume_reading()

    async def close(self, code: int = 1000, timeout_ns: int = CLOSE_TIMEOUT_NS) -> Closed:
        """Say goodbye, wait that long for the answer, then cut; safe to repeat."""
        if not self.is_closed:
            self._transport.send_close(WSCloseCode(code))
        try:
            async with asyncio.timeout(timeout_ns / 1e9):
                return await self.wait_closed()
        except TimeoutError:
            self.abort()
            return await self.wait_closed()

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.disconnect(graceful=False)

    async def wait_closed(self) -> Closed:
        """Wait for the end; an error in on_frame is raised here."""
        try:
            await self._transport.wait_disconnected()
        except picows.WSProtocolError as error:
            # picows refused a frame: (code, text).
            return Closed(int(error.args[0]), str(error.args[1]), by_peer=False)
        if self._listener.closed is not None:
            return self._listener.closed
        handshake = self._transport.close_handshake
        if handshake is not None and handshake.sent is not None:
            return Closed(_code(handshake.sent.code), handshake.sent.reason or "", by_peer=False)
        return Closed(ABNORMAL, "the connection was cut", by_peer=True)


class _Dialer:
    """Connects the TCP socket itself, so that a cancelled handshake can be cut at once."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    async def __call__(self, url: Any) -> socket.socket:
        self._socket = made = await connect_tcp(url.host, url.port)
        return made

    def cut(self) -> None:
        """Make the transport that owns the socket see its end."""
        if self._socket is not None and self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):  # already disconnected: what we want
                self._socket.shutdown(socket.SHUT_RDWR)


def tls_context() -> ssl.SSLContext:
    """Return a context that verifies certificate and host name."""
    return ssl.create_default_context()


async def connect(
    url: str,
    on_frame: OnFrame,
    *,
    clock: Clock,
    headers: Iterable[tuple[str, str]] = (),
    timeout_ns: int = CONNECT_TIMEOUT_NS,
    message_max: int = MESSAGE_MAX,
    queue_max: int = QUEUE_MAX,
    ssl_context: ssl.SSLContext | None = None,
) -> WebSocket:
    """Open a WebSocket; on_frame(payload, ts_recv) gets every whole message with its wall ns.

    The stamp is `clock.now()` at the frame's callback (of the last fragment). TransportError when
    it cannot be opened in time; the message never contains the URL's query.
    """
    where = url.partition("?")[0]
    listener = _Listener(on_frame, clock, message_max)
    dialer = _Dialer()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_ns / 1e9):
            transport, made = await picows.ws_connect(
                lambda: listener,
                url,
                ssl_context=(ssl_context or tls_context()) if url.startswith("wss:") else None,
                websocket_handshake_timeout=None,
                logger_name=_quiet,
                enable_auto_pong=False,
                max_frame_size=message_max,
                extra_headers=tuple(headers),
                max_redirects=0,
                proxy=proxy_for(url),
                socket_factory=dialer,
                read_buffer_init_size=1 << 18,
                # A simulated world's connections are not the kernel's: its loop says so.
                use_aiofastnet=None if not hasattr(loop, "network") else False,
            )
    except TimeoutError:
        dialer.cut()
        raise TransportError(f"{where}: no WebSocket within {timeout_ns / 1e9:g} s") from None
    except asyncio.CancelledError:
        dialer.cut()
        raise
    except picows.WSHandshakeError as error:
        status = getattr(error.response, "status", 0) if error.response else 0
        raise TransportError(
            f"{where}: the server refused the WebSocket with HTTP {int(status)}", code=int(status)
        ) from None
    except ssl.SSLError as error:
        raise TransportError(
            f"{where}: TLS failed: {error.reason or type(error).__name__}",
            retryable=False,
            remedy="check the host name and the machine's certificates",
        ) from None
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise TransportError(f"{where}: cannot connect: {text}") from None
    if made is None:
        raise TransportError(f"{where}: the server hung up during the handshake")
    return WebSocket(transport, listener, queue_max)
