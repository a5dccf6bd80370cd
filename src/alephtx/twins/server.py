"""Host venue twins on loopback: HTTP and WebSocket, bounded client queues, faults, journal, truth.

A venue twin subclasses `VenueTwin` and answers `http` and `websocket`; this file owns sockets. All
state changes happen synchronously in one asyncio loop, so a twin needs no locks. Control endpoints
(no keys: the server binds loopback only):

POST /_twin/fault    order a fault, see `faults`
GET  /_twin/stats    counters of frames, clients, requests, faults done, replay
GET  /_twin/journal  every order accepted, fill and end, in order, with ids and client ids
GET  /_twin/account  balances, positions and open orders of every account, exact
POST /_twin/funding  {"symbol", "rate"}: settle funding now
POST /_twin/money    {"asset", "amount", "type", "told"}: let money come or go now; type is one of
                     the venue's own (TRANSFER, COMMISSION_REBATE, ...), told "no": not streamed
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Self

import msgspec
from aiohttp import WSMsgType, web

from alephtx.core.clock import Clock, MachineClock
from alephtx.core.errors import SimulationError
from alephtx.core.log import logger
from alephtx.twins.exchange import Exchange, Refused
from alephtx.twins.faults import Fault, FaultRefused, Faults, parse_fault
from alephtx.twins.mangle import mangled
from alephtx.twins.replay import Replay, Track

CLIENT_QUEUE_MAX = 20_000  # frames; a client that lags further is disconnected
BODY_MAX = 1 << 20
LOOPBACK = "127.0.0.1"


def to_json(value: Any) -> bytes:
    """Encode to JSON; a Decimal becomes its plain string."""
    return msgspec.json.encode(value)


PARTNER_S = 1.0
"""How long a frame that is to change places waits for the next one."""


class Client:
    """One WebSocket client: frames queue here and leave in order, shaped by the faults in force."""

    def __init__(self, twin: "VenueTwin", ws: web.WebSocketResponse, role: str) -> None:
        self.twin = twin
        self.ws = ws
        self.role = role
        self.carries = {role}  # a trade link may also carry private frames
        self.account: Any = None
        self.subscriptions: set[str] = set()
        self.combined = False
        self.closing: tuple[int, str] | None = None
        self._queue: deque[bytes] = deque()
        self._swap: bytes | None = None
        self._wake = asyncio.Event()

    @property
    def backlog(self) -> int:
        """Frames that wait to be sent."""
        return len(self._queue)

    def send(self, frame: bytes, role: str = "") -> None:
        """Queue one text frame; a client that lags too far is cut. role: what faults see it as."""
        if self.closing:
            return
        faults = self.twin.faults
        if faults.quiet and self._swap is None:
            self._queue.append(frame)
        else:
            self._send_shaped(frame, faults, role or self.role)
        if len(self._queue) > self.twin.queue_max:
            self.twin.stats["slow_clients_cut"] += 1
            self._queue.clear()
            self.close(1008, "too slow")
        self._wake.set()

    def _send_shaped(self, frame: bytes, faults: Faults, role: str) -> None:
        if self._swap is not None:
            self._queue.append(frame)
            self._queue.append(self._swap)
            self._swap = None
        elif faults.take("gap", role, frame):
            return
        elif faults.take("reorder", role, frame):
            self._swap = frame
            asyncio.get_running_loop().call_later(PARTNER_S, self._send_alone, frame)
        elif faults.take("duplicate", role, frame):
            self._queue.append(frame)
            self._queue.append(frame)
        elif fault := faults.take("mangle", role, frame):
            self._queue.append(mangled(frame, fault.how))
        else:
            self._queue.append(frame)

    def _send_alone(self, frame: bytes) -> None:
        """Send a frame that was to change places and found no partner."""
        if self._swap is frame:
            self._swap = None
            self._queue.append(frame)
            self._wake.set()

    def close(self, code: int = 1001, reason: str = "") -> None:
        """Close the link after what is queued."""
        self.closing = self.closing or (code, reason)
        self._wake.set()

    def abort(self) -> None:
        """Cut the link at once, without a closing handshake."""
        self.closing = self.closing or (1006, "")
        self._queue.clear()
        if (transport := self.ws._req.transport if self.ws._req else None) is not None:  # noqa: SLF001
            transport.abort()
        self._wake.set()

    async def write(self) -> None:
        """Send what is queued until the link closes."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                if not self.twin.faults.quiet:
                    held = max(self.twin.faults.delay_ns(role) for role in self.carries)
                    if held:
                        await asyncio.sleep(held / 1e9)
                        if not self._queue:
                            break
                await self.ws.send_frame(self._queue.popleft(), WSMsgType.TEXT)
                self.twin.stats[f"frames_sent_{self.role}"] += 1
            if self.closing:
                await self.ws.close(code=self.closing[0], message=self.closing[1].encode())
                return


class VenueTwin:
    """Base of a venue simulator; a venue fills in the wire.

    Set `name`; override `http`, `websocket`, `prime`, `feed`, `seam`, and `track` for a recording.
    `now_ms` is the venue's clock: the machine's plus `skew_ms`.
    """

    name = "twin"
    always_loops = False
    """True where the recording is too short to be an end: it loops even when others do not."""

    def __init__(self, exchange: Exchange, *, clock: Clock | None = None, skew_ms: int = 0) -> None:
        self.clock: Clock = clock or MachineClock()
        self.skew_ms = skew_ms
        self.exchange = exchange
        exchange.now_ms = self.now_ms
        self.faults = Faults(self.clock.monotonic)
        self.stats: Counter[str] = Counter()
        self.clients: dict[Client, None] = {}  # in the order in which they came
        self.queue_max = CLIENT_QUEUE_MAX
        self.replay: Replay | None = None
        self.log = logger().bind(twin=self.name)

    def now_ms(self) -> int:
        """Return the venue's time in ms."""
        return self.clock.now() // 1_000_000 + self.skew_ms

    # -- what a venue overrides ----------------------------------------------------------------

    def track(self) -> Track | None:
        """Return the recording to replay, or None."""
        return None

    def prime(self, channel: str, raw: bytes) -> None:
        """Take a recorded line before the origin."""

    def feed(self, channel: str, raw: bytes, now_ns: int) -> None:
        """Take a recorded line that is due: update the book, match, publish to subscribers."""

    def seam(self) -> None:
        """Cut the market links and clear the books; the recording starts again."""
        self.disconnect("market")
        self.exchange.clear_books()

    async def http(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Answer one HTTP request of the venue's API."""
        return web.Response(status=404)

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket of the venue, usually by `serve_client`."""
        return web.Response(status=404)

    # -- what a venue uses ---------------------------------------------------------------------

    def congested(self) -> bool:
        """Say whether some client's queue is half full."""
        return any(client.backlog > self.queue_max // 2 for client in self.clients)

    def disconnect(self, role: str, *, abort: bool = False) -> int:
        """Close all links of a role and return how many there were."""
        hit = [client for client in self.clients if role in client.carries]
        for client in hit:
            if abort:
                client.abort()
            else:
                client.close()
        return len(hit)

    async def serve_client(
        self,
        request: web.Request,
        role: str,
        on_text: Callable[[Client, str], None],
        *,
        on_open: Callable[[Client], None] | None = None,
        heartbeat_s: float | None = 20.0,
        idle_s: float | None = None,
    ) -> web.StreamResponse:
        """Run one WebSocket client until it closes; on_text is called for every text frame.

        heartbeat_s: the server's ping frames. idle_s: cut a client that sends nothing for so long.
        """
        ws = web.WebSocketResponse(heartbeat=heartbeat_s, compress=False, max_msg_size=BODY_MAX)
        await ws.prepare(request)
        client = Client(self, ws, role)
        self.clients[client] = None
        self.stats[f"links_opened_{role}"] += 1
        if on_open:
            on_open(client)
        writer = asyncio.create_task(client.write())
        try:
            while client.closing is None:
                message = await ws.receive(timeout=idle_s)
                if message.type is WSMsgType.TEXT:
                    on_text(client, message.data)
                elif message.type is not WSMsgType.BINARY:  # closed, closing, or a broken frame
                    break
        except TimeoutError:
            self.stats["idle_clients_cut"] += 1
        finally:
            self.clients.pop(client, None)
            self.on_gone(client)
            client.close()
            # The peer may be gone in the middle of a frame: that is its right, not our failure.
            with contextlib.suppress(ConnectionError, asyncio.CancelledError, RuntimeError):
                await asyncio.wait_for(writer, 1.0)
            writer.cancel()
        return ws

    def on_gone(self, client: Client) -> None:
        """Forget a client that left."""

    async def shaped_http(self, request: web.Request) -> web.StreamResponse:
        """Apply the faults of `http` around the venue's own answer."""
        self.stats["http_requests"] += 1
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413, text="request too large")
        held = self.faults.delay_ns("http")
        if held:
            await asyncio.sleep(held / 1e9)
        for kind in ("429", "418", "5xx"):
            fault = self.faults.take(kind, "http", request.path)
            if fault:
                return self.faulty_answer(kind, fault)
        return await self.http(request, body)

    def faulty_answer(self, kind: str, fault: Fault) -> web.Response:
        """Return the answer of an ordered HTTP failure; a venue may word it."""
        if kind == "5xx":
            return web.Response(status=fault.status, text="service unavailable")
        return web.Response(status=int(kind), headers={"Retry-After": "1"}, text="rate limited")

    def abort_request(self, request: web.Request) -> web.Response:
        """Cut the connection of a request whose answer must be lost."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def each_second(self) -> None:
        """Do what the venue does once a second, e.g. publish mark prices."""

    def settle_funding(self, symbol: str, rate: str) -> int:
        """Pay funding now; return how many positions paid or received."""
        return self.exchange.fund(symbol, rate)

    def funding_rate(self, symbol: str) -> str:
        """Return the rate that scheduled funding uses."""
        return "0.0001"

    def settle_all_funding(self) -> None:
        """Settle funding of every perpetual at its current rate."""
        for market in self.exchange.markets:
            if not market.spot and self.exchange.mark(market):
                self.settle_funding(market.symbol, self.funding_rate(market.symbol))


class TwinServer:
    """Several venue twins in one loop, each on its own loopback port.

    `async with TwinServer({twin: port}) as server:` (port 0: any free one), then `server.ports`.
    start_at_ns: wall time at which every replay begins; None: at once.
    """

    def __init__(
        self,
        twins: dict[VenueTwin, int],
        *,
        start_at_ns: int | None = None,
        speed: float = 1.0,
        loop: bool = True,
        funding_every_s: int = 0,
    ) -> None:
        self.twins = twins
        self.funding_every_s = funding_every_s
        self.start_at_ns = start_at_ns
        self.speed = speed
        self.loop = loop
        self.ports: dict[str, int] = {}
        self._runners: list[web.AppRunner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Prime the books, open the ports and start the replays."""
        try:
            for twin, port in self.twins.items():
                self.ports[twin.name] = await self._host(twin, port)
        except OSError as error:
            await self.stop()
            raise SimulationError(f"cannot open a loopback port: {error}") from error
        for twin in self.twins:
            if twin.replay is not None:
                if self.start_at_ns is None:
                    twin.replay.start_at_ns = twin.clock.now()
                self._tasks.append(asyncio.create_task(twin.replay.run(), name=twin.name))
        self._tasks.append(asyncio.create_task(self._tick(), name="seconds"))

    async def _tick(self) -> None:
        seconds = 0
        while True:
            await asyncio.sleep(1.0)
            seconds += 1
            for twin in self.twins:
                twin.each_second()
                if self.funding_every_s and seconds % self.funding_every_s == 0:
                    twin.settle_all_funding()

    async def _host(self, twin: VenueTwin, port: int) -> int:
        twin.exchange.warm()
        track = twin.track()
        if track is not None:
            start = twin.clock.now() if self.start_at_ns is None else self.start_at_ns
            twin.replay = Replay(
                track,
                twin.clock,
                start_at_ns=start,
                speed=self.speed,
                loop=self.loop or twin.always_loops,
            )
            twin.replay.prime()
        runner = web.AppRunner(_application(twin), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """End the replays, cut the clients and close the ports."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for twin in self.twins:
            for client in list(twin.clients):
                client.close(1001, "twin stops")
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    def check(self) -> None:
        """Raise what ended a replay, if something did."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error


def _add_money(app: web.Application, twin: "VenueTwin") -> None:
    """Add the endpoints that move money."""

    async def funding(request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=dict[str, str])
            paid = twin.settle_funding(asked.get("symbol", ""), asked.get("rate", ""))
        except (msgspec.MsgspecError, Refused) as error:
            return web.Response(status=400, text=str(error))
        return web.json_response({"positions": paid})

    async def money(request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=dict[str, str])
            moved = [asked.get(name, "") for name in ("asset", "amount", "type")]
            told = asked.get("told", "yes") == "yes"
            twin.exchange.move(twin.exchange.accounts[0], *moved, told=told)
        except (msgspec.MsgspecError, Refused) as error:
            return web.Response(status=400, text=str(error))
        return web.json_response({"moved": moved})

    app.router.add_post("/_twin/funding", funding)
    app.router.add_post("/_twin/money", money)


def _application(twin: VenueTwin) -> web.Application:
    app = web.Application(client_max_size=BODY_MAX)

    async def fault(request: web.Request) -> web.Response:
        try:
            ordered = parse_fault(await request.read())
        except FaultRefused as error:
            return web.Response(status=400, text=str(error))
        if ordered.kind == "disconnect":
            hit = twin.disconnect(ordered.target, abort=True)
            twin.faults.done[f"disconnect:{ordered.target}"] += 1
            return web.json_response({"links": hit})
        twin.faults.order(ordered)
        return web.json_response({"ordered": ordered.kind})

    async def stats(_: web.Request) -> web.Response:
        replay = twin.replay
        body = {
            "counts": dict(twin.stats),
            "clients": dict(Counter(client.role for client in twin.clients)),
            "faults": dict(twin.faults.done),
            "replay": {
                "fed": replay.fed,
                "laps": replay.laps,
                "lag_ns_max": replay.lag_ns_max,
                "finished": replay.finished.is_set(),
            }
            if replay
            else {},
        }
        return web.Response(body=to_json(body), content_type="application/json")

    async def journal(_: web.Request) -> web.Response:
        return web.Response(
            body=to_json(list(twin.exchange.journal)), content_type="application/json"
        )

    async def account(_: web.Request) -> web.Response:
        return web.Response(body=to_json(twin.exchange.truth()), content_type="application/json")

    async def venue(request: web.Request) -> web.StreamResponse:
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await twin.websocket(request)
            return await twin.shaped_http(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - a twin outlives its own faults, and says so
            twin.stats["internal_errors"] += 1
            twin.log.error("request_failed", path=request.path, error=repr(error))
            return web.Response(status=500, text="the twin failed; see its log")

    app.router.add_post("/_twin/fault", fault)
    app.router.add_get("/_twin/stats", stats)
    app.router.add_get("/_twin/journal", journal)
    app.router.add_get("/_twin/account", account)
    _add_money(app, twin)
    app.router.add_route("*", "/{path:.*}", venue)
    return app
