"""One connection to the exchange: TCP or TLS 1.3, WebSocket or HTTP, read by hand.

Sockets are the process's own and blocking; what is timed goes through `ttt_compiled` on the same
descriptor. Kernel stamps are those of the packet that completed the message.
"""

import base64
import ctypes
import hashlib
import select
import socket
import ssl
import struct
import time
from typing import Any

import numpy as np
from ttt_compiled import HAS_TLS

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TIMESTAMPNS = 35  # SO_TIMESTAMPNS and its control message
BUFFER = 1 << 20
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NAME = "localhost"


class Gone(Exception):
    """The peer has closed."""


class Tls:
    """libssl by ctypes: handshakes, and what is rare."""

    def __init__(self) -> None:
        assert HAS_TLS, "no libssl.so.3 here: leave the TLS rows out"
        lib = ctypes.CDLL("libssl.so.3")
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        for name, result, arguments in (
            ("SSL_new", pointer, (pointer,)), ("SSL_set_fd", number, (pointer, number)),
            ("SSL_accept", number, (pointer,)), ("SSL_connect", number, (pointer,)),
            ("SSL_read", number, (pointer, pointer, number)),
            ("SSL_write", number, (pointer, text, number)),
            ("SSL_set1_host", number, (pointer, text)), ("SSL_free", None, (pointer,)),
            ("SSL_ctrl", ctypes.c_long, (pointer, number, ctypes.c_long, text)),
            ("SSL_get_error", number, (pointer, number)),
            ("SSL_get_version", text, (pointer,)),
        ):  # fmt: skip
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        self.lib = lib

    def wrap(self, sock: socket.socket, context: ssl.SSLContext, *, server: bool) -> int:
        """Do the handshake; returns the SSL's address. A client verifies chain and host name."""
        # The first field after the object's head is the SSL_CTX of a context.
        held = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
        handle = self.lib.SSL_new(held)
        self.lib.SSL_set_fd(handle, sock.fileno())
        if server:
            done = self.lib.SSL_accept(handle)
        else:
            self.lib.SSL_set1_host(handle, NAME.encode())
            self.lib.SSL_ctrl(handle, 55, 0, NAME.encode())  # the server's name, for SNI
            done = self.lib.SSL_connect(handle)
        if done != 1:
            raise Gone(f"the TLS handshake failed: {self.lib.SSL_get_error(handle, done)}")
        assert self.lib.SSL_get_version(handle) == b"TLSv1.3"
        return int(handle)


class Link:
    """A connection: `path` of a WebSocket, "" of plain HTTP; buffer of what has come."""

    def __init__(self, sock: socket.socket, tls: Tls | None = None, handle: int = 0) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.fd, self.tls, self.ssl = sock, sock.fileno(), tls, handle
        self.path = ""
        self.upstream: socket.socket | None = None
        self.buf = np.zeros(BUFFER, np.uint8)
        self.buf_at = self.buf.ctypes.data
        self.have = 0
        self.stamp_ns = 0
        self.stamped = False
        if handle:  # a read that finds nothing must not wait
            sock.setblocking(False)

    def stamp(self) -> None:
        """Let the kernel say when packets came."""
        self.sock.setsockopt(socket.SOL_SOCKET, TIMESTAMPNS, 1)
        self.stamped = True

    def read(self, timeout_s: float = 5.0) -> None:
        """Read once; raises Gone at the end, TimeoutError when nothing comes."""
        until = time.monotonic() + timeout_s
        while True:
            if self.ssl:
                n = self._read_secret()
            elif select.select([self.sock], [], [], timeout_s)[0]:
                n = self._read_plain()
            else:
                n = 0
            if n:
                self.have += n
                return
            if time.monotonic() > until:
                raise TimeoutError

    def _read_plain(self) -> int:
        room = BUFFER - self.have
        try:
            data, told, _, _ = self.sock.recvmsg(room, 64)
        except ConnectionError:
            raise Gone("reset") from None
        if not data:
            raise Gone("end")
        self.buf[self.have : self.have + len(data)] = np.frombuffer(data, np.uint8)
        for level, kind, body in told:
            if level == socket.SOL_SOCKET and kind == TIMESTAMPNS:
                seconds, nanos = struct.unpack("qq", body[:16])
                self.stamp_ns = seconds * 1_000_000_000 + nanos
        return len(data)

    def _read_secret(self) -> int:
        assert self.tls is not None
        n = self.tls.lib.SSL_read(self.ssl, self.buf_at + self.have, BUFFER - self.have)
        if n > 0:
            return int(n)
        why = self.tls.lib.SSL_get_error(self.ssl, n)
        if why not in (2, 3):  # wants to read or to write
            raise Gone(f"TLS error {why}")
        select.select([self.sock], [], [], 0.05)
        return 0

    def take(self, n: int) -> bytes:
        """Take n bytes off the buffer."""
        data = self.buf[:n].tobytes()
        left = self.have - n
        self.buf[:left] = self.buf[n : self.have].copy()
        self.have = left
        return data

    def send(self, data: bytes) -> None:
        """Send all, waiting for room."""
        try:
            while data:
                if self.ssl:
                    assert self.tls is not None
                    n = self.tls.lib.SSL_write(self.ssl, data, len(data))
                    n = max(n, 0)
                else:
                    n = self.sock.send(data)
                data = data[n:]
        except ConnectionError:
            raise Gone("reset") from None

    def send_frame(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send one frame as a server does."""
        self.send(server_frame(payload, opcode))

    def close(self) -> None:
        """Cut the connection."""
        if self.upstream is not None:
            self.upstream.close()
        self.sock.close()


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a server's frame."""
    n = len(payload)
    if n < 126:
        return bytes((0x80 | opcode, n)) + payload
    if n < 1 << 16:
        return bytes((0x80 | opcode, 126)) + struct.pack(">H", n) + payload
    return bytes((0x80 | opcode, 127)) + struct.pack(">Q", n) + payload


def client_frame(payload: bytes, mask: bytes = b"\x11\x22\x33\x44") -> bytes:
    """Return a client's masked text frame."""
    n = len(payload)
    head = bytes((0x81, 0x80 | n)) if n < 126 else b"\x81\xfe" + struct.pack(">H", n)
    key = np.frombuffer(mask * (n // 4 + 1), np.uint8)[:n]
    return head + mask + (np.frombuffer(payload, np.uint8) ^ key).tobytes()


def opened(frame: bytes) -> tuple[int, bytes]:
    """Return opcode and payload of one whole frame, unmasked."""
    length, head = frame[1] & 0x7F, 2
    if length == 126:
        head = 4
    elif length == 127:
        head = 10
    if not frame[1] & 0x80:
        return frame[0] & 15, frame[head:]
    mask, body = frame[head : head + 4], np.frombuffer(frame[head + 4 :], np.uint8)
    key = np.frombuffer(mask * (len(body) // 4 + 1), np.uint8)[: len(body)]
    return frame[0] & 15, (body ^ key).tobytes()


def http_size(data: bytes) -> int:
    """Return how long the first HTTP message is, 0 while it is not all there."""
    head, found, _ = data.partition(b"\r\n\r\n")
    if not found:
        return 0
    length = 0
    chunked = False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        chunked |= name.lower() == b"transfer-encoding" and b"chunked" in value
    if chunked:
        end = data.find(b"0\r\n\r\n", len(head) + 4)
        return end + 5 if end >= 0 else 0
    total = len(head) + 4 + length
    return total if total <= len(data) else 0


def accepted(request: bytes) -> bytes:
    """Return the answer that upgrades a request to a WebSocket."""
    key = b""
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = value.strip()
    proof = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


def connect(port: int, path: str, context: Any = None) -> Link:
    """Open a WebSocket as a client: the yardstick's own."""
    sock = socket.create_connection(("127.0.0.1", port))
    tls = Tls() if context is not None else None
    link = Link(sock, tls, tls.wrap(sock, context, server=False) if tls else 0)
    link.send(
        f"GET {path} HTTP/1.1\r\nHost: {NAME}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    while not (n := http_size(link.buf[: link.have].tobytes())):
        link.read()
    answer = link.take(n)
    assert b" 101 " in answer.partition(b"\r\n")[0], answer
    return link
