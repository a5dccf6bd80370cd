"""Opening a link for a loop: what a handshake must be, and what is said when it is not."""

import asyncio
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError, VenueError
from alephtx.net.loop_link import connect_loop
from alephtx.net.upgrade import accept_of, check_answer, upgrade_request
from alephtx.net.wake import Wake
from tests.net.pump import CLOCK, Got
from tests.net.servers import raw_server

SECOND = 1_000_000_000


async def refused(base, **options):
    wake = Wake()
    try:
        with pytest.raises(VenueError) as caught:
            await connect_loop(
                base, Got(), clock=CLOCK, wake=wake, **{"timeout_ns": 2 * SECOND, **options}
            )
    finally:
        wake.close()
    return caught.value


async def test_refused_port_names_the_reason_but_no_query():
    error = await refused("ws://127.0.0.1:1/ws?listenKey=hush")
    assert not error.sent
    assert "refused" in str(error)
    assert "hush" not in str(error)


async def test_http_error_instead_of_a_handshake_is_named():
    async def serve(peer):
        peer.writer.write(b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(serve, handshake=False) as base:
        assert (await refused(base + "/ws")).code == 429


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: /\r\n\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000,
    ],
)
async def test_handshake_that_is_none_is_an_error(answer):
    async def serve(peer):
        peer.writer.write(answer)

    async with raw_server(serve, handshake=False) as base:
        await refused(base)


async def test_silent_server_times_out_and_a_cancelled_handshake_cuts():
    gone = asyncio.Event()

    async def serve(peer):
        await peer.reader.read()
        gone.set()

    async with raw_server(serve, handshake=False) as base:
        error = await refused(base, timeout_ns=SECOND // 10)
        assert "within 0.1 s" in str(error)
        await asyncio.wait_for(gone.wait(), 5)
        gone.clear()
        wake = Wake()
        task = asyncio.create_task(connect_loop(base, Got(), clock=CLOCK, wake=wake))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)
        wake.close()


async def test_proxy_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    wake = Wake()
    with pytest.raises(ConfigError, match="NO_PROXY") as caught:
        await connect_loop("wss://venue.invalid/ws?k=hush", Got(), clock=CLOCK, wake=wake)
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError, match="ws://"):
        await connect_loop("http://venue.invalid", Got(), clock=CLOCK, wake=wake)
    wake.close()


URL = urlsplit("wss://venue.example:9443/ws?listenKey=k")


def test_request_is_what_the_rfc_asks_for():
    head = upgrade_request(URL, "dGhlIHNhbXBsZSBub25jZQ==", [("X-Key", "v")])
    assert head == (
        b"GET /ws?listenKey=k HTTP/1.1\r\nHost: venue.example:9443\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Key: v\r\n\r\n"
    )
    # The example of RFC 6455, 1.3.
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    for url, host in (
        ("wss://a.b/", b"a.b"), ("ws://a.b:80", b"a.b"), ("ws://[::1]:443/", b"[::1]:443"),
    ):  # fmt: skip
        assert b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n" in upgrade_request(urlsplit(url), "k")


@pytest.mark.parametrize(
    "headers", [[("a", "b\r\nc: d")], [("a\n", "b")], [("", "b")], [("a b", "c")], [("a", "é")]]
)
def test_header_that_would_be_two_is_refused(headers):
    with pytest.raises(ConfigError, match="cannot be sent"):
        upgrade_request(URL, "k", headers)


def test_path_that_no_url_has_is_refused():
    with pytest.raises(ConfigError, match="characters"):
        upgrade_request(URL._replace(path="/a b"), "k")


GOOD = [
    b"HTTP/1.1 101 Switching Protocols", b"Upgrade: WebSocket",
    b"Connection: keep-alive, Upgrade", b"Sec-WebSocket-Accept: " + accept_of("k").encode(),
]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {0: b"HTTP/1.0 101 S"}, {0: b"HTTP/1.1 1010"}, {1: b"Upgrade: h2c"}, {1: b"X: y"},
        {2: b"Connection: close"}, {3: b"Sec-WebSocket-Accept: x"}, {2: b"no colon"},
        {4: b"Sec-WebSocket-Extensions: permessage-deflate"}, {4: b"Sec-WebSocket-Protocol: p"},
        {4: GOOD[3]}, {4: b" folded: line"},
    ],
)  # fmt: skip
def test_answer_to_another_question_is_refused(changed):
    lines = dict(enumerate(GOOD))
    check_answer(b"\r\n".join(lines.values()), "k", "here")
    with pytest.raises(VenueError):
        check_answer(b"\r\n".join({**lines, **changed}.values()), "k", "here")


@given(st.binary(max_size=300))
def test_any_answer_is_an_error_and_nothing_else(head):
    with pytest.raises(VenueError):
        check_answer(head, "k", "here")
    with pytest.raises(VenueError):
        check_answer(GOOD[0] + b"\r\n" + head, "k", "here")
