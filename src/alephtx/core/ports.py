"""Ports: what the stations promise each other; they meet only here, and `engine` joins them."""

import enum
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
import numpy as np

from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import EVENT, UPDATE

Rows = np.ndarray[Any, Any]
Environment = Literal["mainnet", "testnet", "twin"]


_BLANK_UPDATE = np.zeros((), UPDATE)
_BLANK_UPDATE["cum_qty"] = -1


class What(enum.Enum):
    """What can be asked of a venue."""

    TIME = "time"
    INSTRUMENTS = "instruments"
    SNAPSHOT = "snapshot"  # args: instrument
    LOGIN = "login"  # what a private link needs first (a listen key), none where not needed
    KEEPALIVE = "keepalive"  # keep the login alive; args: key
    ORDERS = "orders"  # open orders
    ORDER = "order"  # one order; args: instrument, order_id
    FILLS_SINCE = "fills_since"  # args: instrument, since_ns
    POSITIONS = "positions"
    BALANCES = "balances"
    FUNDING_SINCE = "funding_since"  # args: since_ns; whatever moved the wallet besides fills
    CANCEL_ALL = "cancel_all"  # args: instrument; takes the account's other orders too
    CANCEL_OURS = "cancel_ours"  # args: instrument, order_ids; over HTTP, in few requests
    DEADMAN = "deadman"  # args: timeout_ns; 0 = off
    INTENT = "intent"  # an encoded order, amend or cancel


class JoinRule(enum.IntEnum):
    """How a delta message joins the book (`feed.join`)."""

    SPOT = 1  # U == last u + 1; the first may overlap the snapshot
    FUTURES = 2  # pu == last u; the first must contain the snapshot's id
    FULL = 3  # every message is a whole book; the newest time wins


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request, ready for the wire.

    transport `http`: method, path (with query) and body are used; `trade`: body is one text frame
    of the trade link and key is the id its answer carries. weights: (bucket, cost) pairs charged
    before sending. timeout_ns: after it the outcome of a write is unknown, of a read failed.
    """

    what: What
    transport: Literal["http", "trade"] = "http"
    method: str = "GET"
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    key: str = ""
    weights: tuple[tuple[str, int], ...] = ()
    timeout_ns: int = 10_000_000_000
    order_ids: tuple[int, ...] = ()
    instrument: int = -1
    op: int = 0

    def __repr__(self) -> str:
        """Show what is asked, never keys or signatures."""
        where = self.path.partition("?")[0]
        return f"Request({self.what.value} {self.transport} {self.method} {where} key={self.key})"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One WebSocket to open, and how to keep it alive.

    frames are sent after opening, at most frames_per_s. ping: text frame to send every
    ping_every_ns (None: answer the venue's ping frames only). The link is dead when nothing at all
    arrived for stall_ns, and is re-opened before it is lifetime_ns old.
    """

    name: str
    role: Literal["market", "private", "trade"]
    path: str
    frames: tuple[bytes, ...] = ()
    ping: bytes | None = None
    ping_every_ns: int = 0
    stall_ns: int = 30_000_000_000
    lifetime_ns: int = 23 * 3600 * 1_000_000_000
    frames_per_s: int = 4


class Bucket(msgspec.Struct, frozen=True):
    """A rate limit: capacity tokens, refilled evenly over period_ns."""

    name: str
    capacity: int
    period_ns: int


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Base addresses of one environment; market, private and trade are WebSocket bases."""

    http: str
    market: str
    private: str
    trade: str = ""


class VenueSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is fixed about a venue. Twin endpoints come from the config or the demo.

    other_signers: ways to sign that an account may choose instead of `signer`.
    """

    name: str
    join: JoinRule
    endpoints: dict[str, Endpoints]
    buckets: tuple[Bucket, ...]
    signer: str
    transport: Literal["http", "trade"]  # how intents travel
    inflight_max: int = 0  # requests on the trade link that wait for their answers; 0: any number
    post_only: bool = True
    amend: bool = False
    deadman: bool = False
    bulk_cancel: bool = False  # CANCEL_ALL needs no names
    snapshot_limit: int = 1000
    money_currency: str = ""
    other_signers: tuple[str, ...] = ()


class Balance(msgspec.Struct, frozen=True):
    """One currency of an account as the venue states it; total is without open P&L."""

    currency: str
    total: Decimal
    free: Decimal


class Holding(msgspec.Struct, frozen=True):
    """One open position as the venue states it; qty in signed lots."""

    instrument: int
    qty: int
    entry_price: Decimal


class Control(msgspec.Struct, frozen=True):
    """What a decoder says that is not a row.

    kinds: `subscribed`, `send` (value: bytes to send on the same link), `login` (value: listen
    key), `login_expired`, `answer` (key: Request.key; the rows of the answer are in the batch),
    `error` (value: VenueError; key when it answers a request), `time` (value: venue ms),
    `instruments` (value: list[Instrument]), `balances` (value: list[Balance]), `positions` (value:
    list[Holding]), `limits` (value: dict bucket -> used), `reconnect` (the venue asks us to),
    `foreign` (value: text; something on the account that is not ours; key `order` for an order or a
    fill), `forced` (value: text; the venue closed a position of ours: liquidation, deleveraging,
    settlement), `more` (value: dict
    of args to ask the same What again for the next page), `funding` (value: text; money
    moved, the stream does not say for what or under which number: ask FUNDING_SINCE), `done`.
    """

    kind: str
    value: Any = None
    key: str = ""


class Batch:
    """Where decoders write: preallocated event and update rows and a list of controls."""

    def __init__(self, events: int = 16_384, updates: int = 2_048) -> None:
        self.events: Rows = np.zeros(events, EVENT)
        self.updates: Rows = np.zeros(updates, UPDATE)
        self.event_count = 0
        self.update_count = 0
        self.controls: list[Control] = []

    def clear(self) -> None:
        """Forget the content; rows keep their old bytes beyond the counts."""
        self.event_count = 0
        self.update_count = 0
        self.controls.clear()

    def add_update(self, **fields: int) -> None:
        """Append one update row; unnamed fields are zero, cum_qty -1."""
        self.updates[self.update_count] = _BLANK_UPDATE
        row = self.updates[self.update_count]
        for name, value in fields.items():
            row[name] = value
        self.update_count += 1


class Signer(Protocol):
    """Makes signatures; never shows its secret.

    One that can sign on the hot path also has `stage() -> Stage`: function(state, address of the
    payload, its bytes) leaves the signature at the address in word 0 of the state's field 0 and
    returns its bytes: the very bytes of `sign`. EVM's takes `mainnet`, and its payload is what the
    action's hash is taken of. `close()` wipes what stages hold; no thread may be in one.
    """

    def sign(self, payload: bytes) -> bytes:
        """Return the signature of a payload, in the form the venue's wire wants."""
        ...


class Stage(NamedTuple):
    """A compiled station of the hot path: function(state, a, b) -> int, negative for a refusal.

    function: plain; the engine compiles it and enters it by address. state: words of `pack_fields`,
    by which it finds its arrays. owners: what must live as long as the state.
    """

    function: Callable[[Rows, int, int], int]
    state: Rows
    owners: tuple[Any, ...]


# Fields and words of a market stage's state: function(state, address of a frame, its bytes) writes
# EVENT rows from row 0 and returns how many; 0: nothing to say; negative: let Python decode it.
MARKET_WORDS, MARKET_ROWS = 0, 1  # int64 (8,); EVENT (N,); then the venue's own
MARKET_TS_RECV = 0  # in: ns

# Fields and words of the order stages' state.
ORDER_WORDS = 0  # int64 (16,), then the venue's own
ORDER_NOW, ORDER_NONCE = 0, 1  # in: the venue's time, ns; the last nonce taken, see `next_nonce`
ORDER_PAYLOAD, ORDER_FRAME = 2, 3  # out: addresses of what is to be signed, and of the frame


class OrderStages(NamedTuple):
    """How a venue's orders are written without Python, byte for byte as `Codec.encode` does.

    write: function(state, address of INTENT rows, n) writes the request of n rows of one op and
    one instrument and returns the bytes to be signed, at ORDER_PAYLOAD; the nonce it took is in the
    rows. seal: function(state, address of the signature, its bytes) puts it in and returns the
    bytes of the finished text frame, at ORDER_FRAME. Both work on write's state, one thread's
    alone. Negative: the gateway is to do it. rows_max: rows of one request. costs: (bucket, cost)
    pairs by op, for one request of n rows where n is at most rows_max.
    """

    write: Stage
    seal: Stage
    rows_max: int
    costs: dict[int, tuple[tuple[str, int], ...]]


class Codec(Protocol):
    """One venue's dialect, bound to a symbol table: pure bytes in, rows out, and back."""

    spec: VenueSpec
    instruments: Instruments

    def links(self, role: str, login: str = "") -> list[Link]:
        """Return the links to open for `market`, `private` or `trade`."""
        ...

    def request(self, what: What, now_ns: int, **args: Any) -> list[Request]:
        """Return the requests that ask for something; empty where the venue has no such thing."""
        ...

    def reply(self, request: Request, status: int, headers: Any, body: bytes, out: Batch) -> None:
        """Decode the HTTP answer to a request; raise VenueError when it is a refusal."""
        ...

    def decode(self, channel: str, frame: bytes | memoryview, ts_recv: int, out: Batch) -> int:
        """Append what a frame of a `market`, `private` or `trade` link says; -1: not understood."""
        ...

    def encode(self, intents: Rows, now_ns: int, nonce: int) -> list[Request]:
        """Return the requests for INTENT rows (PLACE, CANCEL, AMEND), signed."""
        ...

    # Optional, for the direct path:
    # market_stage() -> Stage; order_stages() -> OrderStages, None where that is not possible;
    # signing_stage() -> Stage: the signer's, as `order_stages` wants it; nonce_pool: what has
    # `fill(most)`, where the signer prepares nonces, else None;
    # sent(intents: Rows) -> list[Request]: the requests, without bodies, of rows that the loop sent


class Venue(Protocol):
    """A venue plugin: `bind` joins it with a symbol table and a signer."""

    spec: VenueSpec

    def request(self, what: What, now_ns: int) -> list[Request]:
        """Return public requests that need no symbol table: INSTRUMENTS and TIME."""
        ...

    def parse_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """Decode the INSTRUMENTS answer for the wanted native symbols."""
        ...

    def bind(self, instruments: Instruments, signer: Signer | None, account: int) -> Codec:
        """Return the codec for these instruments; without a signer it only reads market data."""
        ...
