"""The WebSocket client against real sockets, well-behaved and not."""

import asyncio
import os
import struct
import subprocess
import sys
import time

import pytest
import uvloop

from alephtx.core.clock import MachineClock
from alephtx.core.errors import TransportError
from alephtx.net import websocket
from tests.net.servers import frame, raw_server, until

CLOCK = MachineClock()
SECOND = 1_000_000_000


class Got(list):
    def __call__(self, payload, ts_recv):
        self.append((payload, ts_recv))

    @property
    def payloads(self):
        return [payload for payload, _ in self]


async def opened(base, got, **options):
    return await websocket.connect(
        base + "/ws", got, clock=CLOCK, **{"timeout_ns": 2 * SECOND, **options}
    )


@pytest.mark.smoke
async def test_messages_arrive_whole_and_stamped():
    async def serve(peer):
        await peer.send(frame(b"one"), frame(b"two", 2), frame(b"x" * 70_000))
        assert await peer.receive() == (1, b"hello")
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base:
        before = CLOCK.now()
        ws = await opened(base, got)
        ws.send(b"hello")
        await until(lambda: len(got) == 3)
        assert got.payloads == [b"one", b"two", b"x" * 70_000]
        assert all(before <= ts <= CLOCK.now() for _, ts in got)
        assert (ws.messages, ws.bytes_in) == (3, 70_006)
        await ws.close()


async def test_fragments_are_joined_around_control_frames():
    async def serve(peer):
        await peer.send(
            frame(b"a", fin=False), frame(b"p", 9), frame(b"b", 0, fin=False), frame(b"c", 0)
        )
        assert await peer.receive() == (10, b"p")
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base:
        ws = await opened(base, got)
        await until(lambda: got)
        assert got.payloads == [b"abc"]
        await ws.close()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(b"a", 0)], 1002),
        ([frame(b"a", fin=False), frame(b"b")], 1002),
        ([frame(b"a", rsv=4)], 1002),
        ([frame(b"a", 3)], 1002),
        ([frame(b"z" * 100, fin=False), frame(b"z" * 100, 0)], 1009),
        ([b"\x81\x7f" + struct.pack(">Q", 1 << 40)], 1009),
        ([b"\x81\x7f" + struct.pack(">Q", 1 << 63)], 1002),
        ([b"\x81\x85mask12345"], 1002),
    ],
)
async def test_frames_that_break_the_rules_close_the_socket(frames, code):
    seen = []

    async def serve(peer):
        await peer.send(*frames)
        seen.append(await peer.receive())

    got = Got()
    async with raw_server(serve) as base:
        ws = await opened(base, got, message_max=150)
        closed = await asyncio.wait_for(ws.wait_closed(), 3)
        assert (closed.code, closed.by_peer) == (code, False)
        await until(lambda: seen)
        assert seen[0][0] == 8
        assert struct.unpack(">H", seen[0][1][:2]) == (code,)
        assert got.payloads == []


async def test_close_code_and_reason_of_the_server_are_kept():
    async def serve(peer):
        await peer.send(frame(struct.pack(">H", 4001) + b"kicked", 8))
        assert (await peer.receive())[0] == 8

    async with raw_server(serve) as base:
        ws = await opened(base, Got())
        assert await ws.wait_closed() == websocket.Closed(4001, "kicked", by_peer=True)
        with pytest.raises(TransportError) as caught:
            ws.send(b"late")
        assert not caught.value.sent


async def test_cut_without_a_close_frame_is_1006():
    async def serve(peer):
        peer.writer.transport.abort()

    async with raw_server(serve) as base:
        ws = await opened(base, Got())
        assert (await ws.wait_closed()).code == websocket.ABNORMAL


async def test_close_of_a_deaf_server_is_bounded():
    async def serve(peer):
        await asyncio.sleep(30)

    async with raw_server(serve) as base:
        ws = await opened(base, Got())
        start = time.monotonic()
        closed = await ws.close(timeout_ns=SECOND // 10)
        assert time.monotonic() - start < 2
        assert closed == websocket.Closed(1000, "", by_peer=False)


async def test_send_queue_is_bounded():
    async def serve(peer):
        peer.writer.transport.pause_reading()
        await asyncio.sleep(30)

    async with raw_server(serve) as base:
        ws = await opened(base, Got(), queue_max=1 << 20)

        def flood():
            for _ in range(400):
                ws.send(b"y" * (1 << 16))

        with pytest.raises(TransportError, match="wait to be sent") as caught:
            flood()
        assert not caught.value.sent
        ws.abort()
        await ws.wait_closed()


async def test_error_in_the_callback_closes_and_is_raised():
    def broken(payload, ts_recv):
        raise RuntimeError("bug")

    async def serve(peer):
        await peer.send(frame(b"x"))
        await peer.receive()

    async with raw_server(serve) as base:
        ws = await opened(base, broken)
        with pytest.raises(RuntimeError, match="bug"):
            await ws.wait_closed()


async def test_paused_reading_delivers_nothing_until_resumed():
    release = asyncio.Event()

    async def serve(peer):
        await release.wait()
        await peer.send(frame(b"x"))
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base:
        ws = await opened(base, got)
        ws.pause_reading()
        release.set()
        await asyncio.sleep(0.05)
        assert not got
        ws.resume_reading()
        await until(lambda: got)
        await ws.close()


async def test_refused_port_names_the_reason_but_no_query():
    with pytest.raises(TransportError) as caught:
        await websocket.connect("ws://127.0.0.1:1/ws?listenKey=hush", Got(), clock=CLOCK)
    assert not caught.value.sent
    assert "refused" in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_http_error_instead_of_a_handshake_is_named():
    async def serve(peer):
        peer.writer.write(b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(serve, handshake=False) as base:
        with pytest.raises(TransportError) as caught:
            await opened(base, Got())
        assert caught.value.code == 429


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 302 F\r\nLocation: /\r\n\r\n"]
)
async def test_handshake_that_is_none_is_a_transport_error(answer):
    async def serve(peer):
        peer.writer.write(answer)

    async with raw_server(serve, handshake=False) as base:
        with pytest.raises(TransportError):
            await opened(base, Got())


async def test_silent_server_times_out():
    async def serve(peer):
        await asyncio.sleep(30)

    async with raw_server(serve, handshake=False) as base:
        with pytest.raises(TransportError, match=r"within 0\.1 s"):
            await opened(base, Got(), timeout_ns=SECOND // 10)


async def test_cancelled_handshake_leaves_no_connection():
    gone = asyncio.Event()

    async def serve(peer):
        await peer.reader.read()
        gone.set()

    async with raw_server(serve, handshake=False) as base:
        task = asyncio.create_task(opened(base, Got()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 2)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, made now by the openssl tool."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=loopback", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
        ],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


async def test_tls_needs_a_certificate_we_trust_and_then_works(certificate):
    import ssl

    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    async def serve(peer):
        await peer.send(frame(b"private"))
        await peer.receive()

    got = Got()
    async with raw_server(serve, ssl=server_side) as base:
        with pytest.raises(TransportError, match="TLS failed"):
            await opened(base, got)
        trusting = websocket.tls_context()
        trusting.load_verify_locations(certificate / "cert.pem")
        with pytest.raises(TransportError):
            await opened(base.replace("127.0.0.1", "localhost"), got, ssl_context=trusting)
        ws = await opened(base, got, ssl_context=trusting)
        await until(lambda: got)
        await ws.close()
    assert got.payloads == [b"private"]


def test_client_works_on_uvloop():
    async def serve(peer):
        await peer.send(frame(b"a", fin=False), frame(b"b", 0))
        await peer.receive()

    async def scene():
        got = Got()
        async with raw_server(serve) as base:
            ws = await opened(base, got)
            await until(lambda: got)
            await ws.close()
        return got.payloads

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scene()) == [b"ab"]


def test_nothing_is_printed_by_the_library(tmp_path):
    """A refused connection must not make picows write to stderr behind our logger's back."""
    code = (
        "import asyncio\nfrom alephtx.core.clock import MachineClock\n"
        "from alephtx.core.errors import TransportError\nfrom alephtx.net import websocket\n"
        "async def main():\n try:\n"
        "  await websocket.connect('ws://127.0.0.1:1/', print, clock=MachineClock())\n"
        " except TransportError: pass\nasyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=os.environ, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (b"", b"")
