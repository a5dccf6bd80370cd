"""HTTP requests with deadlines, and honest words about whether they may have taken effect.

Over aiohttp. No redirects (a signed request goes where it was signed for), no silent second try
(aiohttp repeats GET, PUT and DELETE on a lost keep-alive connection by default: an amend must
not be), no cookies, bodies bounded, and neither query nor header in any error.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from yarl import URL

from alephtx.core.errors import TransportError
from alephtx.core.ports import Request
from alephtx.net.proxy import proxy_for

BODY_MAX = 32 << 20
CONNECTIONS = 64

WAIT_NS_MAX = 3600 * 1_000_000_000

Answer = tuple[int, Mapping[str, str], bytes]


def wait_asked_ns(status: int, headers: Mapping[str, str]) -> int:
    """Return how long an answer asks us to send nothing (429 and 418 with Retry-After), else 0.

    A limit on orders comes as 429 without that header: it does not concern cancels.
    """
    after = headers.get("Retry-After", "") if status in (418, 429) else ""
    if not (after.isascii() and after.isdecimal() and len(after) < 10):
        return 0
    return min(WAIT_NS_MAX, int(after) * 1_000_000_000)


def _trace() -> aiohttp.TraceConfig:
    """Mark the moment from which bytes may have left: when the request got its connection."""

    async def connected(session: Any, context: SimpleNamespace, params: Any) -> None:
        context.trace_request_ctx.sent = True

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(connected)
    return config


_leaves: ContextVar[Callable[[], None]] = ContextVar("leaves", default=lambda: None)


class _Connector(aiohttp.TCPConnector):
    """Asks again whether a request may leave, once it has its connection: that can take long."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*args, **kwargs)
        try:
            _leaves.get()()
        except BaseException:
            connection.release()
            raise
        return connection


def _proxy(url: str) -> tuple[URL | None, dict[str, str]]:
    """Return the proxy for a URL, without its credentials, and the header that carries them."""
    proxy = proxy_for(url)
    if proxy is None:
        return None, {}
    parsed = URL(proxy if "://" in proxy else f"http://{proxy}")
    if parsed.user is None:
        return parsed, {}
    login = aiohttp.encode_basic_auth(parsed.user, parsed.password or "")
    return parsed.with_user(None), {"Proxy-Authorization": login}


class HttpClient:
    """One venue's HTTP endpoint. Made in a running loop or before; closed with `close`.

    on_leaving(request): called when its bytes are about to leave; what it raises is fetch's end.
    """

    def __init__(
        self,
        base: str,
        *,
        venue: str = "",
        body_max: int = BODY_MAX,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.venue = venue
        self._body_max = body_max
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self.on_leaving: Callable[[Request], None] = lambda request: None
        self.requests = 0
        self.failures = 0

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(
                    limit=CONNECTIONS, ssl=self._ssl if self._ssl is not None else True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_trace()],
                auto_decompress=True,
                headers={"User-Agent": "alephtx"},
                skip_auto_headers=("Content-Type",),
            )
            self._session._retry_connection = False  # noqa: SLF001 - there is no public switch
        return self._session

    async def fetch(self, request: Request) -> Answer:
        """Send a request and return (status, headers, body), whatever the status is.

        TransportError when there is no whole answer in request.timeout_ns: `sent` False means
        that surely nothing left; True that the outcome of a write is unknown.
        """
        self.requests += 1
        url = self.base + request.path
        context = SimpleNamespace(sent=False)
        token = _leaves.set(lambda: self.on_leaving(request))
        try:
            async with asyncio.timeout(request.timeout_ns / 1e9):
                return await self._fetch(url, request, context)
        except TimeoutError:
            self.failures += 1
            seconds = request.timeout_ns / 1e9
            raise self._error(request, f"no answer within {seconds:g} s", context) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.failures += 1
            raise self._error(request, _describe(error), context) from None
        except TransportError:
            self.failures += 1
            raise
        finally:
            _leaves.reset(token)

    async def _fetch(self, url: str, request: Request, context: SimpleNamespace) -> Answer:
        proxy, login = _proxy(url)
        # aiohttp sends proxy_headers only with CONNECT; a plain request carries the login itself.
        plain = tuple(login.items()) if url.startswith("http:") else ()
        async with self._open().request(
            request.method,
            URL(url, encoded=True),
            data=request.body or None,
            headers=(*request.headers, *plain),
            allow_redirects=False,
            proxy=proxy,
            proxy_headers=login,
            timeout=aiohttp.ClientTimeout(total=None),
            trace_request_ctx=context,
        ) as response:
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > self._body_max:
                    response.close()
                    raise self._error(request, f"an answer above {self._body_max} bytes", context)
                chunks.append(chunk)
            return response.status, response.headers, b"".join(chunks)

    def _error(self, request: Request, what: str, context: SimpleNamespace) -> TransportError:
        return TransportError(f"{request!r}: {what}", sent=context.sent, venue=self.venue)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _describe(error: Exception) -> str:
    """Name a failure without the URL that aiohttp puts into its texts."""
    cause = getattr(error, "os_error", error)
    text = getattr(cause, "strerror", None)
    return f"{type(error).__name__}: {text}" if isinstance(text, str) else type(error).__name__
