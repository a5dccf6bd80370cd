"""Hyperliquid, perpetuals. Prices have 6 - szDecimals decimals and five significant figures.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api (read 2026-11-21)

Books come whole with every message, so nothing is ever resynced. Private streams need no login: the
state of every address is public, and orders are authorised by their signature alone. The first
message of userFills and userFundings after each subscription is a snapshot of old entries; it makes
no rows, because FILLS_SINCE and FUNDING_SINCE say the same and are asked after every reconnect.

Orders and cancels travel as posts over a WebSocket of their own, whose answers come in any order
and name the request; `spec.transport = "http"` is the other way, for who has no link (the killer).
An order costs a weight of one at least, so its bucket keeps us below 2,000 messages a minute, too.
Everything else is asked over HTTP.

There is no market order (an IOC with the engine's price stands for it), no FOK and no GTD. An
instrument's `venue_index` is the asset number of actions. A twin is addressed as a testnet: actions
are signed with source "b" unless bound with mainnet=True.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from alephtx.core import words
from alephtx.core.errors import ConfigError, ProtocolError, UnitError
from alephtx.core.identity import to_cloid
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.nonce import drawer
from alephtx.core.ports import (
    Batch,
    Bucket,
    Control,
    Endpoints,
    JoinRule,
    Link,
    OrderStages,
    Request,
    Rows,
    Signer,
    Stage,
    VenueSpec,
    What,
)
from alephtx.core.units import SIGNIFICANT_FIGURES
from alephtx.venues import hyperliquid_wire as wire
from alephtx.venues.hyperliquid_entry import market_stage, order_stages
from alephtx.venues.hyperliquid_orders import OrderWriter
from alephtx.venues.hyperliquid_replies import ReplyReader
from alephtx.venues.hyperliquid_rows import MS, RowWriter
from alephtx.venues.hyperliquid_scan import make_scan_state, scan_market
from alephtx.venues.level_texts import prepare

MARKET_CHANNELS = ("l2Book", "bbo", "trades", "activeAssetCtx")
USER_CHANNELS = ("orderUpdates", "userFills", "userFundings", "userEvents")
GREETING = b"Websocket connection established."
PING = b'{"method":"ping"}'
SECOND = 1_000_000_000
INFLIGHT_MAX = 100
TRADE_PING_NS = 15 * SECOND
"""A link that carries orders is asked more often than one that brings something by itself."""

_DECODER = msgspec.json.Decoder(wire.Message)
_ENCODER = msgspec.json.Encoder()

SPEC = VenueSpec(
    name=wire.NAME,
    join=JoinRule.FULL,
    endpoints={
        "mainnet": Endpoints(
            http="https://api.hyperliquid.xyz",
            market="wss://api.hyperliquid.xyz",
            private="wss://api.hyperliquid.xyz",
            trade="wss://api.hyperliquid.xyz",
        ),
        "testnet": Endpoints(
            http="https://api.hyperliquid-testnet.xyz",
            market="wss://api.hyperliquid-testnet.xyz",
            private="wss://api.hyperliquid-testnet.xyz",
            trade="wss://api.hyperliquid-testnet.xyz",
        ),
    },
    buckets=(Bucket(wire.WEIGHT, 1200, 60 * SECOND),),
    signer="evm",
    transport="trade",
    inflight_max=INFLIGHT_MAX,
    deadman=True,
    snapshot_limit=20,
    money_currency=wire.SETTLE,
)


def _info(what: What, weight: int, instrument: int = -1, **question: Any) -> Request:
    """Make a POST /info request."""
    return Request(
        what=what,
        method="POST",
        path="/info",
        headers=wire.JSON_HEADERS,
        body=_ENCODER.encode(question),
        weights=((wire.WEIGHT, weight),),
        instrument=instrument,
    )


_TIME = _info(What.TIME, 2, type="exchangeStatus")


def _instrument(asset: wire.Asset, index: int) -> Instrument:
    """Make the instrument of one entry of meta's universe.

    The venue states no largest price or size; ours are 10^(3 + szDecimals) and 10^(9 - szDecimals),
    twelve digits of notional in any case, so that ticks x lots stays below 2^62.
    """
    scale = asset.sz_decimals
    if not 0 <= scale <= 6:
        raise ProtocolError(f"{asset.name}: szDecimals {scale} is not 0..6", venue=wire.NAME)
    return Instrument(
        key=f"{wire.NAME}:{asset.name}-USD-PERP",
        venue=wire.NAME,
        symbol=asset.name,
        base=asset.name,
        quote="USD",
        settle=wire.SETTLE,
        contract=words.LINEAR,
        price_scale=6 - scale,
        qty_scale=scale,
        tick_size=Decimal(1).scaleb(scale - 6),
        tick_rule=SIGNIFICANT_FIGURES,
        significant_figures=5,
        lot_size=Decimal(1).scaleb(-scale),
        qty_min=Decimal(1).scaleb(-scale),
        qty_max=Decimal(10) ** (9 - scale),
        price_min=Decimal(1).scaleb(scale - 6),
        price_max=Decimal(10) ** (3 + scale),
        notional_min=Decimal(10),
        maker_fee=Decimal("0.00015"),
        taker_fee=Decimal("0.00045"),
        status=words.DELISTED if asset.is_delisted else words.TRADING,
        venue_index=index,
    )


class Hyperliquid:
    """The venue plugin."""

    spec = SPEC

    def request(self, what: What, now_ns: int) -> list[Request]:
        """Return the question for INSTRUMENTS or TIME."""
        if what is What.TIME:
            return [_TIME]
        return [_info(what, 20, type="meta")] if what is What.INSTRUMENTS else []

    def parse_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """Decode the answer to meta for the wanted coins, in their order, or for all.

        Raises ProtocolError for a malformed answer, ConfigError for a coin that is not listed.
        """
        try:
            universe = msgspec.json.decode(body, type=wire.Meta).universe
        except wire.BAD_JSON as error:
            raise ProtocolError(f"meta is malformed: {error}", venue=wire.NAME) from None
        places = {asset.name: place for place, asset in enumerate(universe)}
        found = []
        for symbol in symbols or places:
            if symbol not in places:
                like = [name for name in places if name.lower() == symbol[: len(name)].lower()]
                hint = like or list(places)[:12]
                raise ConfigError(
                    f"{wire.NAME} lists no perpetual {symbol!r}", remedy=f"known: {hint}"
                )
            found.append(_instrument(universe[places[symbol]], places[symbol]))
        return found

    def bind(
        self,
        instruments: Instruments,
        signer: Signer | None,
        account: int,
        *,
        mainnet: bool = False,
        user: str = "",
    ) -> "HyperliquidCodec":
        """Return the codec.

        user: the account's address where signer is an API wallet that trades for it; otherwise the
        signer's own.
        """
        if signer is not None and not (hasattr(signer, "sign_l1") and hasattr(signer, "address")):
            raise ConfigError(
                f"{wire.NAME} cannot use signer {type(signer).__name__}", remedy="use evm"
            )
        return HyperliquidCodec(instruments, signer, account, mainnet, user)


class HyperliquidCodec:
    """Bytes in, rows out, and back, for one symbol table and account."""

    spec = SPEC

    def __init__(
        self,
        instruments: Instruments,
        signer: Any,
        account: int,
        mainnet: bool = False,
        user: str = "",
    ) -> None:
        self.instruments = instruments
        self.user = (user or (signer.address if signer is not None else "")).lower()
        self._rows = RowWriter(instruments, account)
        self._replies = ReplyReader(instruments, self._rows)
        self._orders = OrderWriter(instruments, signer, mainnet, self._replies.posted)
        self._state = make_scan_state(instruments, wire.NAME)
        self._stages: OrderStages | None = None

    # -- questions ---------------------------------------------------------------------------

    def links(self, role: str, login: str = "") -> list[Link]:
        """Return the one link of market, private or trade; there is no login."""
        every_ns = 50 * SECOND
        if role == "market":
            coins = [self.instruments[i].symbol for i in self.instruments.of_venue(wire.NAME)]
            topics = [{"type": kind, "coin": coin} for coin in coins for kind in MARKET_CHANNELS]
            # Books are pushed twice a second whether they change or not.
            stall_ns = 10 * SECOND
        elif role == "private" and self.user:
            topics = [{"type": kind, "user": self.user} for kind in USER_CHANNELS]
            stall_ns = 65 * SECOND  # a quiet account hears only pongs
        elif role == "trade" and self.user:
            topics, every_ns, stall_ns = [], TRADE_PING_NS, 3 * TRADE_PING_NS
        else:
            return []
        frames = tuple(
            _ENCODER.encode({"method": "subscribe", "subscription": topic}) for topic in topics
        )
        return [
            Link(
                name=f"{wire.NAME} {role}",
                role=role,  # type: ignore[arg-type]
                path="/ws",
                frames=frames,
                ping=PING,
                ping_every_ns=every_ns,
                stall_ns=stall_ns,
                frames_per_s=20,
            )
        ]

    def request(self, what: What, now_ns: int, **args: Any) -> list[Request]:
        """Return the requests that ask for something; none where the venue has no such thing.

        CANCEL_ALL needs `venue_order_ids` (from an ORDERS answer): the venue cancels by name only.
        DEADMAN: timeout_ns of at least 5 s, 0 = off; the venue grants it to large traders only.
        """
        if what is What.INSTRUMENTS:
            return [_info(what, 20, type="meta")]
        if what is What.TIME:
            return [_TIME]
        if what is What.SNAPSHOT:
            i = int(args["instrument"])
            return [_info(what, 2, i, type="l2Book", coin=self.instruments[i].symbol)]
        if what is What.CANCEL_ALL:
            named = args.get("venue_order_ids", ())
            return self._orders.cancel_named(now_ns, int(args["instrument"]), named)
        if what is What.CANCEL_OURS:
            ours = args.get("order_ids", ())
            return self._orders.cancel_ours(now_ns, int(args["instrument"]), ours)
        if what is What.DEADMAN:
            return [self._orders.deadman(now_ns, int(args["timeout_ns"]))]
        if not self.user:
            return []
        if what is What.ORDERS:
            return [_info(what, 20, type="frontendOpenOrders", user=self.user)]
        if what is What.ORDER:
            i, oid = int(args["instrument"]), to_cloid(int(args["order_id"]))
            asked = _info(what, 2, i, type="orderStatus", user=self.user, oid=oid)
            return [msgspec.structs.replace(asked, order_ids=(int(args["order_id"]),))]
        if what in (What.POSITIONS, What.BALANCES):
            return [_info(what, 2, type="clearinghouseState", user=self.user)]
        kinds = {What.FILLS_SINCE: "userFillsByTime", What.FUNDING_SINCE: "userFunding"}
        if what not in kinds:
            return []
        since_ms = max(int(args["since_ns"]), 0) // MS
        i = int(args.get("instrument", -1))
        return [_info(what, 20, i, type=kinds[what], user=self.user, startTime=since_ms)]

    def encode(self, intents: Rows, now_ns: int, nonce: int) -> list[Request]:
        """Return signed requests for INTENT rows; see OrderWriter.encode. About 100 us an order."""
        return self._orders.encode(intents, nonce, posts=self.spec.transport == "trade")

    def sent(self, intents: Rows) -> list[Request]:
        """Return the requests, without bodies, of rows that the loop sent, by their nonces.

        To be called before their answers are decoded: an answer does not say which orders it is
        about.
        """
        return self._orders.sent(intents)

    def market_stage(self) -> Stage:
        """Return a scanner of market frames for one loop; see `ports`."""
        prepare()  # for what the scanner declines
        return market_stage(self.instruments)

    def order_stages(self) -> OrderStages | None:
        """Return what writes orders without Python; None without a signer or a link.

        From then on every nonce of this codec is drawn from the stages' word.
        """
        if not self._orders.can_sign or self.spec.transport != "trade":
            return None
        if self._stages is None:
            self._stages = order_stages(self.instruments, self._orders.last_nonce)
            self._orders.draw = drawer(self._stages)
        return self._stages

    def signing_stage(self) -> Stage:
        """Return the signer's stage for what `order_stages` has signed: an action and its nonce."""
        return self._orders.signing_stage()

    @property
    def nonce_pool(self) -> Any:
        """The signer's prepared nonces, None where it has none."""
        return self._orders.nonce_pool

    def reply(self, request: Request, status: int, headers: Any, body: bytes, out: Batch) -> None:
        """Decode an HTTP answer; see ReplyReader.read for the errors. Rows have ts_recv 0."""
        if request.what is What.INSTRUMENTS and status == 200:
            wanted = [self.instruments[i].symbol for i in self.instruments.of_venue(wire.NAME)]
            listed = Hyperliquid().parse_instruments(body, wanted)
            out.controls.append(Control("instruments", listed))
            return
        self._replies.read(request, status, body, out)

    # -- frames ------------------------------------------------------------------------------

    def decode(self, channel: str, frame: bytes | memoryview, ts_recv: int, out: Batch) -> int:
        """Append what a frame says; return the number of rows, -1 when it was not understood.

        A book of 2 x 20 levels costs about 4 us, all in.
        """
        data = frame if type(frame) is bytes else bytes(frame)
        if channel == "market":
            count: int = scan_market(data, self._state, out.events, out.event_count, ts_recv)
            if count > 0:
                out.event_count += count
                return count
        return self.decode_slow(channel, data, ts_recv, out)

    def decode_slow(self, channel: str, frame: bytes | memoryview, ts_recv: int, out: Batch) -> int:
        """Decode without the compiled scanner: private frames, unusual ones, and the oracle."""
        before = out.event_count, out.update_count, len(out.controls)
        try:
            message = _DECODER.decode(frame)
        except wire.BAD_JSON as error:
            if bytes(frame) == GREETING:
                return 0
            said = f"a {channel} frame cannot be read: {error}: {bytes(frame)[:120]!r}"
            out.controls.append(Control("error", ProtocolError(said, venue=wire.NAME)))
            return -1
        try:
            self._take(message, ts_recv, out)
        except (UnitError, ProtocolError) as error:
            out.event_count, out.update_count = before[:2]
            del out.controls[before[2] :]
            out.controls.append(Control("error", error))
            return -1
        return out.event_count - before[0] + out.update_count - before[1]

    def _take(self, message: wire.Message, ts_recv: int, out: Batch) -> None:
        match message:
            case wire.BookMessage(data=book):
                self._rows.book(book, ts_recv, out)
            case wire.BboMessage(data=bbo):
                self._rows.bbo(bbo, ts_recv, out)
            case wire.TradesMessage(data=trades):
                self._rows.trades(trades, ts_recv, out)
            case wire.ContextMessage(data=context):
                self._rows.context(context, ts_recv, out)
            case wire.OrdersMessage(data=updates):
                self._rows.order_updates(updates, ts_recv, out)
            case wire.FillsMessage(data=fills):
                if not fills.is_snapshot:
                    self._rows.fills(fills.fills, ts_recv, out)
            case wire.FundingsMessage(data=fundings):
                if not fundings.is_snapshot:
                    self._rows.fundings(fundings.fundings, ts_recv, out)
            case wire.UserMessage(data=events):
                self._rows.own_cancels(events.non_user_cancel, ts_recv, out)
                if events.liquidation is not None:
                    said = f"the account was liquidated: {str(events.liquidation)[:200]}"
                    out.controls.append(Control("forced", said))
            case wire.PostMessage(data=post):
                self._replies.post(post, out)
            case wire.SubscribedMessage(data=subscribed):
                out.controls.append(Control("subscribed", subscribed))
            case wire.ErrorMessage(data=text):
                # Asking twice for a subscription is answered so, and harmless.
                if not text.startswith("Already subscribed"):
                    out.controls.append(Control("error", wire.refusal(text)))
            case wire.PongMessage():
                pass
