"""The HTTP client against servers that answer late, wrongly, too much or not at all."""

import asyncio
import zlib

import pytest
from aiohttp import web

from alephtx.core.errors import OrderRejected, TransportError
from alephtx.core.ports import Request, What
from alephtx.net.http import CONNECTIONS, HttpClient
from alephtx.net.proxy import is_loopback, proxy_for
from tests.net.servers import until


def ask(path="/x?signature=hush", **fields):
    return Request(what=What.ORDER, path=path, **fields)


class Server:
    def __init__(self, handler):
        self.handler = handler

    async def __aenter__(self):
        self.server = web.Server(self.handler)
        self.runner = web.ServerRunner(self.server, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def __aexit__(self, *_):
        await self.runner.cleanup()


@pytest.mark.smoke
async def test_request_travels_exactly_as_signed():
    seen = []

    async def handler(request):
        body = await request.read()
        seen.append((request.method, request.raw_path, dict(request.headers), body))
        return web.Response(status=418, body=b"tea", headers={"Retry-After": "3"})

    async with Server(handler) as base, HttpClient(base) as client:
        status, headers, body = await client.fetch(
            ask(
                "/a%2Fb?x=%E4%BD%A0&y=a+b",
                method="POST",
                headers=(("X-MBX-APIKEY", "k"),),
                body=b"p=1",
            )
        )
    assert (status, headers["retry-after"], body) == (418, "3", b"tea")
    method, path, sent, data = seen[0]
    assert (method, path, data) == ("POST", "/a%2Fb?x=%E4%BD%A0&y=a+b", b"p=1")
    assert sent["X-MBX-APIKEY"] == "k"
    assert "Content-Type" not in sent


async def test_request_that_may_not_leave_any_more_is_not_sent_and_its_connection_goes_on():
    """Connections take time, in which a halt may come; the pool must not lose one by it."""
    seen = []

    async def handler(request):
        seen.append(request.path)
        return web.Response()

    def refuse(request):
        if request.path == "/order":
            raise OrderRejected("halted")

    async with Server(handler) as base, HttpClient(base) as client:
        client.on_leaving = refuse
        for _ in range(CONNECTIONS + 1):
            with pytest.raises(OrderRejected, match="halted"):
                await client.fetch(ask("/order"))
        await client.fetch(ask("/cancel"))
        connections = len(client._session.connector._conns)
    assert seen == ["/cancel"]
    assert connections == 1


async def test_refused_connection_has_not_left():
    async with HttpClient("http://127.0.0.1:1", venue="v") as client:
        with pytest.raises(TransportError) as caught:
            await client.fetch(ask())
    assert (caught.value.sent, caught.value.retryable, caught.value.venue) == (False, True, "v")
    assert "hush" not in str(caught.value)
    assert client.failures == 1


async def test_late_answer_may_have_left():
    async def handler(request):
        await asyncio.sleep(5)

    async with Server(handler) as base, HttpClient(base) as client:
        with pytest.raises(TransportError, match=r"no answer within 0\.1 s") as caught:
            await client.fetch(ask(timeout_ns=100_000_000))
    assert caught.value.sent
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_lost_connection_may_have_left_and_is_never_repeated(method):
    """The second request meets a kept-alive connection that the server cuts."""
    seen = []

    async def accept(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        seen.append(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n")
        seen.append(2)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with HttpClient(base) as client:
        assert (await client.fetch(ask(method=method)))[2] == b"ok"
        with pytest.raises(TransportError) as caught:
            await client.fetch(ask(method=method))
        assert caught.value.sent
    await until(lambda: seen == [1, 2])
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nX: " + b"h" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_broken_answers_are_transport_errors(answer):
    async def accept(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with HttpClient(base) as client:
        with pytest.raises(TransportError) as caught:
            await client.fetch(ask())
    assert caught.value.sent
    server.close()
    await server.wait_closed()


async def test_body_is_bounded_also_when_it_unpacks_to_more():
    async def handler(request):
        if request.path == "/zip":
            packed = zlib.compressobj(wbits=31)
            data = packed.compress(b"0" * 3_000_000) + packed.flush()
            return web.Response(body=data, headers={"Content-Encoding": "gzip"})
        return web.Response(body=b"0" * 3_000_000)

    async with Server(handler) as base, HttpClient(base, body_max=1_000_000) as client:
        for path in ("/zip", "/plain"):
            with pytest.raises(TransportError, match="above 1000000 bytes"):
                await client.fetch(ask(path))


async def test_redirect_is_not_followed():
    async def handler(request):
        raise web.HTTPFound("/elsewhere")

    async with Server(handler) as base, HttpClient(base) as client:
        assert (await client.fetch(ask()))[0] == 302


async def test_cancelled_request_lets_the_client_go_on():
    async def handler(request):
        if request.path == "/slow":
            await asyncio.sleep(5)
        return web.Response(body=b"ok")

    async with Server(handler) as base, HttpClient(base) as client:
        task = asyncio.create_task(client.fetch(ask("/slow")))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.fetch(ask("/fast")))[2] == b"ok"


@pytest.fixture
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_proxies_come_from_the_environment_but_never_for_loopback(environment):
    assert proxy_for("https://a.example/x") is None
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", "b.example")
    assert proxy_for("https://a.example/x") == "http://proxy.example:3128"
    assert proxy_for("wss://a.example:9443/x") == "http://proxy.example:3128"
    assert proxy_for("ws://a.example/x") is None
    assert proxy_for("https://b.example/x") is None
    assert proxy_for("https://127.0.0.1:1/x") is None
    assert proxy_for("wss://[::1]:1/x") is None
    assert proxy_for("wss://localhost:1/x") is None
    environment.setenv("ALL_PROXY", "socks5://s.example")
    assert proxy_for("http://a.example") == "socks5://s.example"


def test_loopback_is_told_from_the_rest():
    assert all(map(is_loopback, ["localhost", "127.0.0.2", "::1", "[::1]", "a.localhost"]))
    assert not any(map(is_loopback, ["10.0.0.1", "localhost.example", "", "api.example"]))


async def test_request_goes_through_the_proxy_with_its_credentials(environment):
    seen = []

    async def handler(request):
        seen.append((request.raw_path, request.headers.get("Proxy-Authorization", "")))
        return web.Response(body=b"via")

    async with Server(handler) as base:
        environment.setenv("HTTP_PROXY", base.replace("//", "//user:pass@"))
        async with HttpClient("http://venue.example") as client:
            assert (await client.fetch(ask("/t")))[2] == b"via"
    assert seen[0][0] == "http://venue.example/t"
    assert seen[0][1].startswith("Basic ")
