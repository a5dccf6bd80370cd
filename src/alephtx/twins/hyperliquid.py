"""Twin of Hyperliquid perpetuals: POST /info, POST /exchange, WebSocket /ws.

Written from the venue's documents. Not simulated, and answered with an honest error: spot pairs,
builder dexes, trigger orders, TWAP, isolated margin, vaults, transfers, aggregated books. A modify
takes the old order off first and puts a new one with a new number; as observed at the venue it can
only rest. Addresses that may sign: the accounts' own and their API wallets.
"""

from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from alephtx.core.clock import Clock
from alephtx.twins.accounts import Account
from alephtx.twins.extract import HYPERLIQUID
from alephtx.twins.faults import Fault
from alephtx.twins.hyperliquid_actions import BadRequest, NotSimulated, batch_size, read_request
from alephtx.twins.hyperliquid_body import FUNDING_RATE
from alephtx.twins.hyperliquid_exchange import (
    HyperliquidExchange,
    default_account,
    default_markets,
)
from alephtx.twins.hyperliquid_feed import HyperliquidFeed
from alephtx.twins.hyperliquid_info import InfoDesk
from alephtx.twins.hyperliquid_ledger import Users
from alephtx.twins.hyperliquid_signing import MAINNET_SOURCE, TESTNET_SOURCE
from alephtx.twins.hyperliquid_streams import ECHO_MAX, Refusal, Streams, frame_of
from alephtx.twins.hyperliquid_trading import ActionRefused, TradingDesk
from alephtx.twins.limits import Limits, Window
from alephtx.twins.options import TwinOptions
from alephtx.twins.replay import Recording, Track
from alephtx.twins.server import Client, VenueTwin, to_json

GREETING = b"Websocket connection established."
RECORDINGS = Path(__file__).parent / "recordings"
LOCAL = "127.0.0.1"  # whose limits a socket's requests count against


class Frame(msgspec.Struct):
    """A message of a WebSocket client."""

    method: str
    subscription: dict[str, Any] | None = None
    id: int | None = None
    request: "PostRequest | None" = None


class PostRequest(msgspec.Struct):
    """A query or an action sent over the socket."""

    type: str
    payload: msgspec.Raw


_frame = msgspec.json.Decoder(Frame)


class HyperliquidTwin(VenueTwin):
    """See the module.

    agents: API wallet address -> the account it signs for. accept_mainnet: also take signatures for
    the mainnet. idle_s: a link whose client sends nothing for so long is cut.
    """

    name = "hyperliquid"
    always_loops = True
    exchange: HyperliquidExchange

    def __init__(
        self,
        exchange: HyperliquidExchange,
        *,
        clock: Clock | None = None,
        skew_ms: int = 0,
        agents: dict[str, Account] | None = None,
        accept_mainnet: bool = False,
        idle_s: float = 60.0,
        recordings: dict[str, Path] | None = None,
        weight_per_minute: int = 1_200,
    ) -> None:
        super().__init__(exchange, clock=clock, skew_ms=skew_ms)
        self.users = Users(exchange, agents or {})
        self.market_feed = HyperliquidFeed(exchange, self.now_ms)
        self.streams = Streams(self.users, self.market_feed)
        self.desk = InfoDesk(self.users, self.market_feed)
        sources = (TESTNET_SOURCE, MAINNET_SOURCE) if accept_mainnet else (TESTNET_SOURCE,)
        self.trading = TradingDesk(self.users, sources)
        self.idle_s = idle_s
        self.weights = Limits(
            (Window("1M", weight_per_minute, 60),), self.clock.monotonic, banned_after=1 << 30
        )
        self.messages = Limits(
            (Window("1M", 2_000, 60),), self.clock.monotonic, banned_after=1 << 30
        )
        self._recordings = (
            {"BTC": RECORDINGS / f"{HYPERLIQUID}.zst"} if recordings is None else recordings
        )

    # -- recording -----------------------------------------------------------------------------

    def track(self) -> Track | None:
        """Return the recordings; the first frame of each primes its book."""
        wanted = [Recording(path, coin) for coin, path in self._recordings.items()]
        stamps = [[line[0] for line in recording.lines()] for recording in wanted]
        if not stamps:
            return None
        origin = max(times[0] for times in stamps) + 1
        return Track(self, wanted, origin, max(times[-1] for times in stamps))

    def prime(self, channel: str, raw: bytes) -> None:
        """Keep the book only."""
        self.market_feed.take(channel, raw, live=False)

    def feed(self, channel: str, raw: bytes, now_ns: int) -> None:
        """Keep the book, match, publish."""
        self.market_feed.take(channel, raw, live=True)

    def seam(self) -> None:
        """Go on without a cut: the next book replaces the last, as it always does."""
        self.market_feed.laps += 1

    def each_second(self) -> None:
        """Publish mids and contexts; run the dead-man switches."""
        self.users.trigger_scheduled()
        self.streams.each_second()

    # -- funding -------------------------------------------------------------------------------

    def funding_rate(self, symbol: str) -> str:
        """Return the hourly rate."""
        return FUNDING_RATE

    def settle_funding(self, symbol: str, rate: str) -> int:
        """Pay funding now and remember the rate."""
        paid = super().settle_funding(symbol, rate)
        row = {"coin": symbol, "fundingRate": rate, "premium": "0.0", "time": self.now_ms()}
        self.users.funding_rates.append(row)
        return paid

    # -- HTTP ----------------------------------------------------------------------------------

    async def http(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Answer POST /info and POST /exchange."""
        if request.path not in ("/info", "/exchange"):
            return web.Response(status=404)
        if request.method != "POST":
            return web.Response(status=405)
        who = request.remote or "?"
        try:
            if request.path == "/info":
                return _json(self.ask(who, body))
            answer = self.act(who, body)
        except BadRequest as error:
            return web.Response(status=error.status, text=error.text)
        if self.faults.take("ambiguous", "http", request.path):
            return self.abort_request(request)
        return _json(answer)

    def faulty_answer(self, kind: str, fault: Fault) -> web.Response:
        """Word the ordered failures as the venue does: no body to speak of."""
        if kind == "5xx":
            return web.Response(status=fault.status, text="")
        return web.Response(status=429, text="null", content_type="application/json")

    def _charge(self, who: str, weight: int) -> None:
        if not self.weights.charge(who, weight):
            raise BadRequest(429, "null")

    def ask(self, who: str, body: bytes) -> Any:
        """Answer a query; BadRequest when it cannot be read or is one too many."""
        fields = self.desk.read(body)
        self._charge(who, self.desk.weight(fields))
        return self.desk.answer(fields)

    def act(self, who: str, body: bytes) -> dict[str, Any]:
        """Run a signed action and return the venue's answer, which is HTTP 200 even for errors."""
        try:
            envelope, action = read_request(body)
            self._charge(who, 1 + batch_size(action) // 40)
            return {"status": "ok", "response": self.trading.act(envelope, action)}
        except NotSimulated as error:
            return _refusal(f"Action {error} is not simulated by this twin.")
        except ActionRefused as error:
            return _refusal(str(error))

    # -- WebSocket -----------------------------------------------------------------------------

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """Serve /ws; the venue sends no ping frames and cuts silent clients."""
        if request.path != "/ws":
            return web.Response(status=404)
        return await self.serve_client(
            request,
            "market",
            self.on_text,
            on_open=lambda client: client.send(GREETING),
            heartbeat_s=None,
            idle_s=self.idle_s,
        )

    def on_gone(self, client: Client) -> None:
        """Take a client off everything."""
        self.streams.forget(client)

    def on_text(self, client: Client, text: str) -> None:
        """Answer one message of a client."""
        try:
            self._serve(client, text)
        except Refusal as refusal:
            client.send(frame_of("error", str(refusal)))
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            client.send(frame_of("error", _unreadable(text)))

    def _serve(self, client: Client, text: str) -> None:
        if not self.messages.charge(LOCAL, 1):
            raise Refusal("Too many messages: at most 2000 per minute.")
        frame = _frame.decode(text)
        if frame.method == "ping":
            client.send(b'{"channel":"pong"}')
        elif frame.method == "post" and frame.id is not None and frame.request is not None:
            self._post(client, frame.id, frame.request)
        elif frame.method == "subscribe" and frame.subscription is not None:
            self.streams.subscribe(client, frame.subscription)
        elif frame.method == "unsubscribe" and frame.subscription is not None:
            self.streams.unsubscribe(client, frame.subscription)
        else:
            raise Refusal(_unreadable(text))

    def _post(self, client: Client, identity: int, asked: PostRequest) -> None:
        """Run a query or an action that came over the socket."""
        self.streams.mark_posting(client)
        try:
            response = {"type": asked.type, "payload": self._posted(asked)}
        except BadRequest as error:
            response = {"type": "error", "payload": f"{error.status}: {error.text}"}
        if asked.type == "action" and self.faults.take("ambiguous", "trade"):
            client.abort()
            return
        client.send(frame_of("post", {"id": identity, "response": response}), "trade")

    def _posted(self, asked: PostRequest) -> dict[str, Any]:
        for kind in ("429", "418", "5xx"):
            fault = self.faults.take(kind, "trade")
            if fault:
                raise BadRequest(fault.status if kind == "5xx" else 429, "Ordered failure.")
        body = bytes(asked.payload)
        if asked.type == "info":
            data = self.ask(LOCAL, body)
            return {"type": self.desk.read(body)["type"], "data": data}
        if asked.type == "action":
            return self.act(LOCAL, body)
        raise BadRequest(422, "Failed to deserialize the JSON body into the target type")


def _unreadable(text: str) -> str:
    echo = text[:ECHO_MAX].encode(errors="replace").decode()
    return f"Error parsing JSON into valid websocket request: {echo}"


def _json(value: Any) -> web.Response:
    return web.Response(body=to_json(value), content_type="application/json")


def _refusal(text: str) -> dict[str, Any]:
    return {"status": "err", "response": text}


def make_hyperliquid(account: Account | None = None, **options: Any) -> HyperliquidTwin:
    """Return a twin with the recorded perpetual and one account."""
    exchange = HyperliquidExchange(
        default_markets(),
        [account or default_account()],
        first_order_id=77_000_000_001,
        first_trade_id=500_000_000_000_001,
    )
    return HyperliquidTwin(exchange, **options)


def twin_of(options: TwinOptions) -> HyperliquidTwin:
    """Return the Hyperliquid twin of a twin process."""
    fees = options.fees_of("hyperliquid", "0.00015", "0.00045")
    return make_hyperliquid(default_account(fees), skew_ms=options.skew_ms)
