"""Binance: the codec that spot, USD-M and COIN-M share; each market's file adds its differences.

Private links. Futures: `request(LOGIN)` is an HTTP POST whose answer is a `login` control with the
listen key; `links("private", key)` embeds it; `request(KEEPALIVE)` every 30 minutes. Spot:
`request(LOGIN, now)` is one request of transport `trade` whose body is a freshly signed
`userDataStream.subscribe.signature` frame; the caller makes it anew for every connection of the
private link and sends it first. Its answer is `subscribed`.

A refusal is raised by `reply` and is an `error` control of `decode`, with the request's key; the
caller writes the REJECT row. A TransportError there means that the outcome is unproven. A full page
of fills or funding is followed by a `more` control with the arguments of the next question.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from alephtx.core import words
from alephtx.core.errors import ConfigError, ProtocolError, VenueError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import (
    Batch,
    Control,
    Link,
    OrderStages,
    Request,
    Rows,
    Signer,
    Stage,
    VenueSpec,
    What,
)
from alephtx.core.records import INTENT
from alephtx.venues.binance_account import (
    Account,
    AccountUpdate,
    BalanceUpdate,
    OrderState,
    OrderUpdate,
    Report,
)
from alephtx.venues.binance_entry import market_stage, order_stages
from alephtx.venues.binance_errors import error_of, wait_asked_ns
from alephtx.venues.binance_instruments import Fees, parse_exchange_info
from alephtx.venues.binance_money import put_balance
from alephtx.venues.binance_orders import (
    CANCEL_WEIGHTS,
    amend_params,
    answer_key,
    cancel_params,
    check_signer,
    need_signer,
    place_params,
    read_key,
    signed_call,
)
from alephtx.venues.binance_queries import (
    Asker,
    Dialect,
    usage_of_answer,
    usage_of_headers,
)
from alephtx.venues.binance_scan import make_scan_state, scan_market
from alephtx.venues.binance_wire import UNREADABLE, Head, put_market, read_head
from alephtx.venues.level_texts import prepare

STREAMS_IN_URL = 60  # beyond it the list travels in SUBSCRIBE frames
STREAMS_PER_LINK = 600
STREAMS_PER_FRAME = 100
PING_EVERY_NS = 15_000_000_000
QUIET_NS = 400_000_000_000

_ANSWERS = {words.PLACE: words.ACK, words.CANCEL: words.CANCEL_ACK, words.AMEND: words.REPLACE_ACK}
_METHODS = {words.PLACE: "order.place", words.CANCEL: "order.cancel", words.AMEND: "order.modify"}
_VERBS = {words.PLACE: "POST", words.CANCEL: "DELETE", words.AMEND: "PUT"}
_IGNORED = frozenset(
    ("TRADE_LITE", "ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL", "listStatus", "ALGO_UPDATE",
     "outboundAccountPosition", "STRATEGY_UPDATE", "GRID_UPDATE",
     "CONDITIONAL_ORDER_TRIGGER_REJECT")
)  # fmt: skip


_INTENT_NAMES = INTENT.names or ()


def _as_dict(row: Any) -> dict[str, int]:
    """Return a row as plain integers: one conversion instead of twenty slow field reads."""
    return dict(zip(_INTENT_NAMES, row.item(), strict=True))


class BinanceCodec:
    """One market of Binance bound to a symbol table and, for trading, to an account's signer.

    counters: frames the scanner declined, frames nobody understood, malformed frames.
    """

    def __init__(
        self,
        spec: VenueSpec,
        dialect: Dialect,
        instruments: Instruments,
        signer: Signer | None,
        account: int,
    ) -> None:
        self.spec = spec
        self.dialect = dialect
        self.instruments = instruments
        self.counters = {"declined": 0, "not_understood": 0, "malformed": 0}
        self._signer = check_signer(signer, spec.name)
        self._account = Account(instruments, spec.name, account)
        self._symbols = self._account.symbols
        self._ask = Asker(dialect, self._account, self._signer)
        self._scan = make_scan_state(instruments, spec.name)

    # -- links -----------------------------------------------------------------------------

    def links(self, role: str, login: str = "") -> list[Link]:
        """Return the links to open for `market`, `private` or `trade`; see the module for login."""
        if role == "market":
            return self._market_links()
        if role == "trade":
            path = self.dialect.trade_path
        elif role == "private":
            path = self.dialect.private_path.format(key=login)
            if self.dialect.futures and not login:
                raise ConfigError(f"{self.spec.name}: a private link needs a listen key")
        else:
            raise ConfigError(f"{self.spec.name}: unknown link role {role!r}")
        if not path:
            return []
        name = f"{self.spec.name}.{role}"
        if path == self.dialect.trade_path:  # the WS API is silent unless asked: ask
            return [
                Link(
                    name=name,
                    role=role,  # type: ignore[arg-type]
                    path=path,
                    ping=b'{"id":"ping","method":"ping"}',
                    ping_every_ns=PING_EVERY_NS,
                    stall_ns=3 * PING_EVERY_NS,
                )
            ]
        # A futures account may be silent for hours; the server's ping frames, every 3 min, are life
        return [Link(name=name, role=role, path=path, stall_ns=QUIET_NS)]  # type: ignore[arg-type]

    def _market_links(self) -> list[Link]:
        """Return the links of all streams, those of one path together."""
        dialect = self.dialect
        speed = f"@{dialect.depth_speed}" if dialect.depth_speed else ""
        kinds = {dialect.public_path: [f"depth{speed}", "bookTicker", "trade"]}
        if dialect.mark_path:
            kinds.setdefault(dialect.mark_path, []).append("markPrice@1s")
        every = [
            self.instruments[i].symbol.lower() for i in self.instruments.of_venue(self.spec.name)
        ]
        found: list[Link] = []
        for path, streams in kinds.items():
            names = [f"{symbol}@{stream}" for symbol in every for stream in streams]
            role = "mark" if found else "market"
            found += self._stream_links(path, names, role)
        return found

    def _stream_links(self, path: str, names: list[str], role: str) -> list[Link]:
        """Return the links that carry these streams: in the URL when they are few."""
        found = []
        for first in range(0, len(names), STREAMS_PER_LINK):
            part = names[first : first + STREAMS_PER_LINK]
            name = f"{self.spec.name}.{role}.{first // STREAMS_PER_LINK}"
            if len(part) <= STREAMS_IN_URL:
                where, frames = f"{path}?streams={'/'.join(part)}", []
            else:
                where = path
                frames = [
                    msgspec.json.encode(
                        {
                            "method": "SUBSCRIBE",
                            "params": part[k : k + STREAMS_PER_FRAME],
                            "id": k // STREAMS_PER_FRAME + 1,
                        }
                    )
                    for k in range(0, len(part), STREAMS_PER_FRAME)
                ]
            found.append(Link(name=name, role="market", path=where, frames=tuple(frames)))
        return found

    # -- questions -------------------------------------------------------------------------

    def request(self, what: What, now_ns: int, **args: Any) -> list[Request]:
        """Return the requests for a question; args as `What` says, instrument optional for most."""
        ask = self._ask
        if what is What.SNAPSHOT:
            return [ask.snapshot(args["instrument"], self.spec.snapshot_limit)]
        if what is What.TIME:
            return [ask.time()]
        if what is What.INSTRUMENTS:
            return [ask.info()]
        signer = need_signer(self._signer, self.spec.name)
        if what is What.LOGIN and not self.dialect.futures:
            key = f"login-{now_ns}"
            body = signed_call(signer, key, "userDataStream.subscribe.signature", {}, now_ns)
            weights = (("weight", 2),)
            return [Request(what=what, transport="trade", body=body, key=key, weights=weights)]
        if what in (What.LOGIN, What.KEEPALIVE):
            return ask.listen_key(what)
        args.pop("key", None)
        calls: dict[What, Callable[..., list[Request]]] = {
            What.ORDERS: ask.orders,
            What.ORDER: ask.order,
            What.FILLS_SINCE: ask.fills,
            What.FUNDING_SINCE: ask.funding,
            What.POSITIONS: ask.positions,
            What.BALANCES: ask.balances,
            What.CANCEL_ALL: ask.cancel_all,
            What.CANCEL_OURS: ask.cancel_ours,
            What.DEADMAN: ask.deadman,
        }
        if what not in calls:
            raise ConfigError(f"{self.spec.name} cannot be asked for {what.value}")
        return calls[what](now_ns, **args)

    def reply(self, request: Request, status: int, headers: Any, body: bytes, out: Batch) -> None:
        """Append what an HTTP answer says; raise VenueError when it is a refusal.

        A malformed answer is a ProtocolError. SNAPSHOT rows have ts_recv 0: it is the caller's.
        """
        used = usage_of_headers(headers)
        if used:
            out.controls.append(Control("limits", used))
        if not 200 <= status < 300:
            self._ask.refuse(request, status, body, out)
            return
        try:
            if request.what is What.INTENT:
                state = msgspec.json.decode(body, type=OrderState)
                kind = _ANSWERS[request.op]
                self._account.put_answer(state, kind, out, request.order_ids[0])
            else:
                self._ask.read(request, body, out)
        except UNREADABLE as error:
            self.counters["malformed"] += 1
            raise ProtocolError(
                f"the answer to {request.what.value} cannot be read: {error}", venue=self.spec.name
            ) from error
        if request.key:
            out.controls.append(Control("answer", key=request.key))

    # -- frames ----------------------------------------------------------------------------

    def decode(self, channel: str, frame: bytes | memoryview, ts_recv: int, out: Batch) -> int:
        """Append what a frame says; return the rows appended, or -1 when it was not understood."""
        data = frame if type(frame) is bytes else bytes(frame)
        if channel == "market":
            count = scan_market(data, len(data), self._scan, ts_recv, out.events, out.event_count)
            if count > 0:
                out.event_count += count
                return count
            self.counters["declined"] += 1
        before = out.update_count
        try:
            head, body = read_head(data)
            count = self._slow(channel, head, body, ts_recv, out)
        except UNREADABLE as error:
            out.update_count = before
            self.counters["malformed"] += 1
            text = f"a {channel} frame cannot be read: {error}: {data[:120]!r}"
            out.controls.append(Control("error", ProtocolError(text, venue=self.spec.name)))
            return -1
        if count < 0:
            self.counters["not_understood"] += 1
        return count

    def _slow(self, channel: str, head: Head, body: Any, ts_recv: int, out: Batch) -> int:
        """Read a frame by type; the head tells data, answers and notices apart."""
        if head.rate_limits:
            out.controls.append(Control("limits", usage_of_answer(head.rate_limits)))
        if head.id is not UNSET:
            return self._answered(channel, head, out)
        if head.e == "serverShutdown":
            out.controls.append(Control("reconnect", "the server is about to restart"))
            return 0
        if head.error is not None or head.code:
            out.controls.append(Control("error", self._error(head)))
            return 0
        if channel == "market":
            return put_market(head.e, body, self._symbols, ts_recv, out)
        return self._private(head.e, body, ts_recv, out)

    def _error(self, head: Head) -> VenueError:
        """Return the error that an answer carries, in either of the two shapes in use."""
        said = head.error if isinstance(head.error, dict) else {}
        code, message = said.get("code", head.code), said.get("msg", head.msg)
        if not isinstance(code, int):
            raise ProtocolError(f"an error without a code: {head.error!r}"[:200])
        error = error_of(self.spec.name, head.status, code, str(message))
        error.wait_ns = wait_asked_ns(said.get("data"))
        return error

    def _answered(self, channel: str, head: Head, out: Batch) -> int:
        """Read the answer to a request of ours on a WebSocket."""
        key = head.id if isinstance(head.id, str) else ""
        failed = head.error is not None or head.code < 0 or head.status >= 400
        if failed:
            out.controls.append(Control("error", self._error(head), key=key))
            return 0
        op, order_id = read_key(key)
        if not op:
            kind = "subscribed" if channel == "market" or key.startswith("login") else "answer"
            out.controls.append(Control(kind, key=key))
            return 0
        before = out.update_count
        state = msgspec.json.decode(head.result, type=OrderState)
        self._account.put_answer(state, _ANSWERS[op], out, order_id)
        out.controls.append(Control("answer", key=key))
        return out.update_count - before

    def _private(self, kind: str, body: Any, ts_recv: int, out: Batch) -> int:
        """Read an event of the private stream."""
        if kind == "executionReport":
            report = msgspec.json.decode(body, type=Report)
            return self._account.put_report(report, ts_recv, out)
        if kind == "ORDER_TRADE_UPDATE":
            update = msgspec.json.decode(body, type=OrderUpdate)
            return self._account.put_report(update.o, ts_recv, out)
        if kind == "ACCOUNT_UPDATE":
            change = msgspec.json.decode(body, type=AccountUpdate)
            return self._account.put_account(change, ts_recv, out)
        if kind in ("listenKeyExpired", "eventStreamTerminated"):
            out.controls.append(Control("login_expired", kind))
            return 0
        if kind == "balanceUpdate":
            moved = msgspec.json.decode(body, type=BalanceUpdate)
            return put_balance(self._account, moved, ts_recv, out)
        if kind == "externalLockUpdate":
            fields = msgspec.json.decode(body, type=dict[str, Any])
            locked = f"{str(fields.get('d', '?'))[:30]} {str(fields.get('a', '?'))[:12]}"
            out.controls.append(Control("foreign", f"{kind}: {locked}"))
            return 0
        return 0 if kind in _IGNORED else -1

    # -- orders ----------------------------------------------------------------------------

    def encode(self, intents: Rows, now_ns: int, nonce: int) -> list[Request]:
        """Return the signed requests of INTENT rows, one each; none at all when one is unfit.

        OrderRejected names the order that cannot be expressed here. nonce: grows with every call.
        """
        need_signer(self._signer, self.spec.name)
        return [
            request
            for k in range(len(intents))
            for request in self._encode_one(_as_dict(intents[k]), now_ns, nonce, k)
        ]

    def _encode_one(self, intent: dict[str, int], now_ns: int, nonce: int, k: int) -> list[Request]:
        op, index = intent["op"], intent["instrument"]
        instrument = self.instruments[index]
        if instrument.venue != self.spec.name:
            raise ConfigError(f"an intent for {instrument.key} came to {self.spec.name}")
        if op == words.CANCEL_ALL:
            return self._ask.cancel_all(now_ns, index)
        if op == words.PLACE:
            params = place_params(instrument, intent, futures=self.dialect.futures)
            order_id = intent["order_id"]
        elif op == words.CANCEL:
            params = cancel_params(instrument, intent)
            order_id = intent["target_order_id"]
        elif op == words.AMEND and self.spec.amend:
            params = amend_params(instrument, intent)
            order_id = intent["target_order_id"]
        else:
            raise ConfigError(
                f"{self.spec.name} cannot do operation {op}", remedy="cancel and place"
            )
        key = answer_key(op, order_id, nonce, k)
        weights = self._order_weights(op)
        fields: dict[str, Any] = {
            "key": key,
            "weights": weights,
            "order_ids": (order_id,),
            "instrument": index,
            "op": op,
        }
        if self.spec.transport == "http":
            return [self._ask.signed(What.INTENT, _VERBS[op], "order", params, now_ns, **fields)]
        signer = need_signer(self._signer, self.spec.name)
        body = signed_call(signer, key, _METHODS[op], params, now_ns)
        return [Request(what=What.INTENT, transport="trade", body=body, **fields)]

    def _order_weights(self, op: int) -> tuple[tuple[str, int], ...]:
        return CANCEL_WEIGHTS if op == words.CANCEL else self.dialect.order_weights

    # -- the direct path -------------------------------------------------------------------

    def market_stage(self) -> Stage:
        """Return a scanner of market frames for one loop; see `ports`."""
        prepare()  # for what the scanner declines
        return market_stage(self.instruments, self.spec.name)

    def order_stages(self) -> OrderStages | None:
        """Return what writes orders without Python, None where that is not possible."""
        if self._signer is None or self.spec.transport != "trade":
            return None
        return order_stages(
            self.instruments, self.spec.name, self.dialect, self._signer.api_key,
            amends=self.spec.amend,
        )  # fmt: skip

    def signing_stage(self) -> Stage:
        """Return what signs what `order_stages` has written."""
        signer: Any = need_signer(self._signer, self.spec.name)
        made: Stage = signer.stage()
        return made

    @property
    def nonce_pool(self) -> Any:
        """The signer's prepared nonces, None where it has none."""
        return getattr(self._signer, "pool", None)

    def sent(self, intents: Rows) -> list[Request]:
        """Return the requests, without bodies, of rows that the loop sent itself, one each."""
        made = []
        for row in map(_as_dict, intents):
            op = row["op"]
            order_id = row["order_id" if op == words.PLACE else "target_order_id"]
            made.append(
                Request(
                    what=What.INTENT,
                    transport="trade",
                    key=answer_key(op, order_id, row["nonce"], 0),
                    weights=self._order_weights(op),
                    order_ids=(order_id,),
                    instrument=row["instrument"],
                    op=op,
                )
            )
        return made


class BinanceVenue:
    """A market of Binance as a plugin; subclasses set the class attributes.

    depth_speed: how often the book stream speaks ("100ms", "0ms", ...), where the default is not
    wanted.
    """

    spec: VenueSpec
    dialect: Dialect
    contract: int
    fees: Fees = Fees(Decimal(0), Decimal(0))

    def __init__(self, depth_speed: str | None = None) -> None:
        if depth_speed is not None:
            self.dialect = msgspec.structs.replace(self.dialect, depth_speed=depth_speed)

    def request(self, what: What, now_ns: int) -> list[Request]:
        """Return public requests that need no symbol table: INSTRUMENTS and TIME."""
        if what not in (What.INSTRUMENTS, What.TIME):
            raise ConfigError(f"{self.spec.name}: {what.value} needs a bound codec")
        return BinanceCodec(self.spec, self.dialect, Instruments(), None, 0).request(what, now_ns)

    def parse_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """Decode exchangeInfo for the wanted native symbols, all when none are named."""
        return parse_exchange_info(self.spec.name, self.contract, self.fees, body, symbols)

    def bind(self, instruments: Instruments, signer: Signer | None, account: int) -> BinanceCodec:
        """Return the codec for these instruments; without a signer it only reads market data."""
        return BinanceCodec(self.spec, self.dialect, instruments, signer, account)
