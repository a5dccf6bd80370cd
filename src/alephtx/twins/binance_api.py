"""What the Binance twins share: parameters, keys and signatures, errors, limits, dispatch, streams.

An operation is a method `(account, params) -> JSON value`, reached by REST path or by WS API name.
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.twins.accounts import Account, Market
from alephtx.twins.binance_market import MarketFeed
from alephtx.twins.binance_params import (
    NUMBER,
    OPEN,
    SIGNED,
    ApiError,
    Operation,
    Params,
    WsRequest,
    api_answer,
    flat_params,
    integer,
    mandatory,
)
from alephtx.twins.binance_signing import is_signed
from alephtx.twins.exchange import Exchange, Refused, TwinOrder
from alephtx.twins.extract import BINANCE, load_window
from alephtx.twins.faults import Fault
from alephtx.twins.limits import Limits, Window
from alephtx.twins.replay import Recording, Track
from alephtx.twins.server import Client, VenueTwin, to_json

_SIGNATURE = re.compile(r"(?:^|&)signature=[^&]*")
FUNDING_MS = 8 * 3_600_000
RECORDINGS = Path(__file__).parent / "recordings"


class BinanceTwin(VenueTwin):
    """Base of the three Binance twins."""

    client_id_pattern = re.compile(r"^[a-zA-Z0-9-_]{1,36}$")
    weights = (Window("1M", 6000, 60),)
    order_limits = (Window("10S", 100, 10), Window("1D", 200_000, 86_400))
    stream_prefixes: tuple[str, ...] = ("",)
    trade_path = ""
    refusals: ClassVar[dict[str, tuple[int, str]]] = {}
    ping_seconds = 20.0

    def __init__(
        self,
        exchange: Exchange,
        *,
        clock: Clock | None = None,
        skew_ms: int = 0,
        recordings: dict[str, Path] | None = None,
    ) -> None:
        super().__init__(exchange, clock=clock, skew_ms=skew_ms)
        self.market_feed = MarketFeed(exchange, self.now_ms)
        self._recordings = recordings
        self.weight_limits = Limits(self.weights, self.clock.monotonic)
        self.order_counts = Limits(self.order_limits, self.clock.monotonic)
        self.rest: dict[tuple[str, str], Operation] = {}
        self.ws_api: dict[str, Operation] = {}
        self._next_client_id = 0
        self.caller: Client | None = None
        exchange.listeners.append(self.on_report)
        self.define()

    # -- to be filled in by the venue ----------------------------------------------------------

    def define(self) -> None:
        """Fill `rest` and `ws_api`."""
        raise NotImplementedError

    def on_report(self, report: Any) -> None:
        """Tell the account's private links."""
        raise NotImplementedError

    def known_listen_key(self, key: str) -> bool:
        """Say whether a link opened under this name is a private one."""
        return False

    def private_link(self, client: Client, key: str) -> None:
        """Join a market link opened with a listen key to its account."""

    # -- recording -----------------------------------------------------------------------------

    def track(self) -> Track | None:
        """Return the shipped recordings, or those given, between the window's two ends."""
        if self._recordings is None:
            files = {s: RECORDINGS / f"{stem}.zst" for s, stem in BINANCE[self.name].items()}
        else:
            files = self._recordings
        if not files:
            return None
        window = load_window()
        wanted = [Recording(path, s) for s, path in files.items() if s in self.exchange.by_symbol]
        return Track(self, wanted, window.origin_ns, window.end_ns)

    def prime(self, channel: str, raw: bytes) -> None:
        """Keep the books only."""
        self.market_feed.take(channel, raw, live=False)

    def feed(self, channel: str, raw: bytes, now_ns: int) -> None:
        """Keep the books, match, publish."""
        self.market_feed.take(channel, raw, live=True)

    def each_second(self) -> None:
        """Publish mark prices and tickers."""
        rates = {m.symbol: self.funding_rate(m.symbol) for m in self.exchange.markets}
        self.market_feed.each_second(rates, self.next_funding_ms())

    def next_funding_ms(self) -> int:
        """Return the next settlement on the eight-hour grid."""
        return (self.now_ms() // FUNDING_MS + 1) * FUNDING_MS

    def seam(self) -> None:
        """Cut the market links and forget the books."""
        super().seam()
        self.market_feed.clear()

    # -- HTTP ----------------------------------------------------------------------------------

    async def http(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Answer a REST call."""
        who = request.remote or "?"
        operation = self.rest.get((request.method, request.path))
        banned = self.weight_limits.banned_seconds(who)
        if banned:
            return self._error(
                ApiError(-1003, f"Way too much request weight used; IP banned until {banned}", 418),
                {"Retry-After": str(banned)},
            )
        if operation is None:
            return self._error(ApiError(-5000, f"Path {request.path} is invalid", 404), {})
        if not self.weight_limits.charge(who, operation.weight):
            return self._error(
                ApiError(-1003, "Too much request weight used; please use WebSocket Streams.", 429),
                {"Retry-After": str(self.weight_limits.seconds_left())},
            )
        headers = {
            f"X-MBX-USED-WEIGHT-{label}": str(used)
            for label, used in self.weight_limits.used(who).items()
        }
        try:
            query, text = request.rel_url.raw_query_string, body.decode()
            params = dict(parse_qsl(query, keep_blank_values=True))
            params.update(parse_qsl(text, keep_blank_values=True))
            payload = _SIGNATURE.sub("", query) + _SIGNATURE.sub("", text)
            key = request.headers.get("X-MBX-APIKEY", "")
            self.caller = None
            account = self.admit_caller(operation, key, params, payload)
            result = self.run(operation, account, params)
        except ApiError as error:
            return self._error(error, headers)
        except UnicodeDecodeError:
            return self._error(ApiError(-1100, "Illegal characters found in a parameter."), headers)
        if account is not None and operation.orders:
            for label, used in self.order_counts.used(account.name).items():
                headers[f"X-MBX-ORDER-COUNT-{label}"] = str(used)
        if operation.orders and self.faults.take("ambiguous", "http", request.path):
            return self.abort_request(request)
        return web.Response(body=to_json(result), headers=headers, content_type="application/json")

    @staticmethod
    def _error(error: ApiError, headers: dict[str, str]) -> web.Response:
        body = to_json({"code": error.code, "msg": error.message})
        return web.Response(
            status=error.status, body=body, headers=headers, content_type="application/json"
        )

    def faulty_answer(self, kind: str, fault: Fault) -> web.Response:
        """Word the ordered failures as the venue does."""
        if kind == "5xx":
            error = ApiError(-1000, "An unknown error occurred while processing the request.")
            error.status = fault.status
            return self._error(error, {})
        return self._error(ApiError(-1003, "Too many requests.", int(kind)), {"Retry-After": "1"})

    # -- keys, signatures, dispatch ------------------------------------------------------------

    def admit_caller(
        self, operation: Operation, key: str, params: Params, payload: str
    ) -> Account | None:
        """Check key, clock and signature as far as the operation asks for them."""
        if operation.access == OPEN:
            return None
        if not key:
            raise ApiError(-2014, "API-key format invalid.", 401)
        account = self.exchange.by_key.get(key)
        if account is None:
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if operation.access == SIGNED:
            self._check_time(params)
            given = mandatory(params, "signature")
            if not is_signed(account.secret, payload.encode(), given):
                raise ApiError(-1022, "Signature for this request is not valid.")
        return account

    def _check_time(self, params: Params) -> None:
        stamp = integer(params, "timestamp")
        window = params.get("recvWindow") or "5000"
        if not NUMBER.match(window) or Decimal(window) > 60_000:
            raise ApiError(-1131, "recvWindow must be less than 60000")
        now = self.now_ms()
        if stamp >= now + 1000:
            raise ApiError(
                -1021, "Timestamp for this request was 1000ms ahead of the server's time."
            )
        if now - stamp > Decimal(window):
            raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")

    def run(self, operation: Operation, account: Account | None, params: Params) -> Any:
        """Count against the order limits and run; a refusal becomes the venue's error."""
        charged = account.name if account is not None and operation.orders else ""
        if charged and not self.order_counts.charge(charged, operation.orders):
            raise ApiError(-1015, "Too many new orders; please slow down.", 429)
        try:
            return operation.handler(account, params)
        except Refused as refused:
            raise self.worded(refused) from None

    def worded(self, refused: Refused) -> ApiError:
        """Return the venue's code and text for a refusal."""
        code, text = self.refusals.get(refused.reason, (-1000, f"{refused}"))
        return ApiError(code, text.replace("{detail}", refused.detail))

    # -- WebSocket -----------------------------------------------------------------------------

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """Serve market streams, listen keys and the WS API by path."""
        path = request.path
        if self.trade_path and path == self.trade_path:
            return await self.serve_client(
                request, "trade", self.on_api_text, heartbeat_s=self.ping_seconds
            )
        for prefix in self.stream_prefixes:
            rest = path.removeprefix(prefix)
            if path.startswith(prefix) and (rest in ("/ws", "/stream") or rest.startswith("/ws/")):
                return await self._serve_streams(request, rest, prefix)
        return web.Response(status=404)

    async def _serve_streams(
        self, request: web.Request, rest: str, prefix: str
    ) -> web.StreamResponse:
        names = [name for name in rest.removeprefix("/ws").split("/") if name]
        if rest == "/stream":
            names = [name for name in request.query.get("streams", "").split("/") if name]
        key = request.query.get("listenKey", "")
        if len(names) == 1 and "@" not in names[0] and not names[0].startswith("!"):
            key, names = names[0], []

        def open_streams(client: Client) -> None:
            client.combined = rest == "/stream"
            for name in names:
                self.market_feed.subscribe(client, name)
            if key:
                self.private_link(client, key)

        private = prefix == "/private" or self.known_listen_key(key)
        role = "private" if private else "market"
        return await self.serve_client(
            request,
            role,
            self.on_stream_text,
            on_open=open_streams,
            heartbeat_s=self.ping_seconds,
        )

    def on_gone(self, client: Client) -> None:
        """Take a client off its streams."""
        self.market_feed.forget(client)

    def on_stream_text(self, client: Client, text: str) -> None:
        """Answer SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
        try:
            asked = msgspec.json.decode(text, type=WsRequest)
        except msgspec.MsgspecError as error:
            client.send(
                to_json({"error": {"code": 3, "msg": f"Invalid JSON: {error}"}, "id": None})
            )
            return
        if asked.method == "LIST_SUBSCRIPTIONS":
            listed = msgspec.json.encode(sorted(client.subscriptions))
            client.send(b'{"result":%b,"id":%b}' % (listed, bytes(asked.id)))
            return
        if asked.method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            text = f"Invalid request: unknown variant `{asked.method}`"
            self._stream_error(client, asked, 2, text)
            return
        try:
            names = msgspec.json.decode(asked.params, type=list[str])
        except msgspec.MsgspecError:
            self._stream_error(
                client, asked, 2, "Invalid request: params must be a list of strings"
            )
            return
        if len(client.subscriptions) + len(names) > 1024:
            self._stream_error(client, asked, 3, "Too many subscriptions")
            return
        for name in names:
            if asked.method == "SUBSCRIBE":
                self.market_feed.subscribe(client, name)
            else:
                self.market_feed.unsubscribe(client, name)
        client.send(b'{"result":null,"id":%b}' % bytes(asked.id))

    @staticmethod
    def _stream_error(client: Client, asked: WsRequest, code: int, text: str) -> None:
        error = msgspec.json.encode({"code": code, "msg": text})
        client.send(b'{"error":%b,"id":%b}' % (error, bytes(asked.id)))

    def on_api_text(self, client: Client, text: str) -> None:
        """Answer one WS API request."""
        try:
            asked = msgspec.json.decode(text, type=WsRequest)
            params = flat_params(bytes(asked.params))
        except (msgspec.MsgspecError, ValueError):
            error = ApiError(-1000, "Malformed request")
            client.send(api_answer(b"null", error.status, error=error))
            return
        identity = bytes(asked.id)
        for kind in ("429", "418", "5xx"):
            fault = self.faults.take(kind, "trade", asked.method)
            if fault:
                status = fault.status if kind == "5xx" else int(kind)
                code = -1000 if kind == "5xx" else -1003
                data = self._retry_after(1) if kind != "5xx" else None
                error = ApiError(code, "Ordered failure.", status, data)
                client.send(api_answer(identity, status, error=error))
                return
        operation = self.ws_api.get(asked.method)
        try:
            self.caller = client
            result = self._run_api(operation, asked.method, params)
        except ApiError as error:
            client.send(api_answer(identity, error.status, error=error))
            return
        ordered = operation is not None and operation.orders
        if ordered and self.faults.take("ambiguous", "trade", asked.method):
            client.abort()
            return
        client.send(api_answer(identity, 200, result=result))

    def _retry_after(self, seconds: int) -> dict[str, Any]:
        now_ms = self.now_ms()
        return {"serverTime": now_ms, "retryAfter": now_ms + 1000 * seconds}

    def _run_api(self, operation: Operation | None, method: str, params: Params) -> Any:
        if operation is None:
            raise ApiError(-1000, f"Unknown method '{method}'")
        if not self.weight_limits.charge("ws-api", operation.weight):
            data = self._retry_after(self.weight_limits.seconds_left())
            said = "Too much request weight used; current limit exceeded."
            raise ApiError(-1003, said, 429, data)
        names = sorted(name for name in params if name != "signature")
        payload = "&".join(f"{name}={params[name]}" for name in names)
        account = self.admit_caller(operation, params.get("apiKey", ""), params, payload)
        return self.run(operation, account, params)

    # -- orders --------------------------------------------------------------------------------

    def market_of(self, params: Params) -> Market:
        """Return the market of parameter `symbol`."""
        return self.exchange.market(mandatory(params, "symbol"))

    def client_id(self, params: Params, name: str = "newClientOrderId") -> str:
        """Return the client's id, checked, or one of our own making."""
        given = params.get(name)
        if not given:
            self._next_client_id += 1
            return f"twin{self._next_client_id:018d}"
        if not self.client_id_pattern.match(given):
            raise ApiError(
                -1100,
                f"Illegal characters found in parameter '{name}'; "
                f"legal range is '{self.client_id_pattern.pattern}'.",
            )
        return given

    def found_order(self, account: Account, params: Params, code: int) -> TwinOrder:
        """Return the order named by orderId or origClientOrderId; `code` when there is none."""
        order_id, client_id = params.get("orderId"), params.get("origClientOrderId", "")
        if not order_id and not client_id:
            raise ApiError(
                -1102,
                "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
            )
        market = self.market_of(params)
        text = "Unknown order sent." if code == -2011 else "Order does not exist."
        try:
            return self.exchange.find(
                account,
                market.symbol,
                order_id=integer(params, "orderId") if order_id else 0,
                client_id=client_id,
            )
        except Refused:
            raise ApiError(code, text) from None

    def side(self, params: Params) -> int:
        """Return the side word."""
        text = mandatory(params, "side")
        if text not in ("BUY", "SELL"):
            raise ApiError(-1117, "Invalid side.")
        return words.BUY if text == "BUY" else words.SELL
