"""Servers on loopback that behave, and servers that do not: raw frames over a plain TCP socket."""

import asyncio
import base64
import hashlib
import struct
from contextlib import asynccontextmanager

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(payload, opcode=1, *, fin=True, rsv=0):
    """Return one server frame, as wrong as asked."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return head + bytes([126]) + struct.pack(">H", len(payload)) + payload
    return head + bytes([127]) + struct.pack(">Q", len(payload)) + payload


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader, writer, path):
        self.reader, self.writer, self.path = reader, writer, path

    async def send(self, *frames):
        self.writer.write(b"".join(frames))
        await self.writer.drain()

    async def receive(self):
        """Return (opcode, payload) of the next client frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        assert second & 0x80, "a client must mask"
        mask = await self.reader.readexactly(4)
        body = await self.reader.readexactly(size)
        return first & 0xF, bytes(b ^ mask[i % 4] for i, b in enumerate(body))


@asynccontextmanager
async def raw_server(serve, *, handshake=True, ssl=None):
    """Yield the base URL of a server that runs `serve(peer)` for each connection."""
    tasks = set()

    async def accept(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ")[1].decode()
            if handshake:
                key = next(
                    line.split(b": ")[1]
                    for line in request.split(b"\r\n")
                    if line.lower().startswith(b"sec-websocket-key")
                )
                accept_key = base64.b64encode(hashlib.sha1(key + _GUID).digest())
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept_key + b"\r\n\r\n"
                )
            await serve(Peer(reader, writer, path))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            tasks.discard(asyncio.current_task())
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=ssl)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'wss' if ssl else 'ws'}://127.0.0.1:{port}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def until(condition, seconds=10.0):
    """Wait until a condition holds; fail when it does not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, "waited in vain"
        await asyncio.sleep(0.002)
