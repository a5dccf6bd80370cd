"""Ports: what the stations promise each other; they meet only here, and `engine` joins them."""

import enum
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, Protocol

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
    """What is fixed about a venue. Twin endpoints come from the config or the demo."""

    name: str
    join: JoinRule
    endpoints: dict[str, Endpoints]
    buckets: tuple[Bucket, ...]
    signer: str
    transport: Literal["http", "trade"]  # how intents travel
    post_only: bool = True
    amend: bool = False
    deadman: bool = False
    bulk_cancel: bool = False  # CANCEL_ALL needs no names
    snapshot_limit: int = 1000
    money_currency: str = ""


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
    """Makes signatures; never shows its secret."""

    def sign(self, payload: bytes) -> bytes:
        """Return the signature of a payload, in the form the venue's wire wants."""
        ...


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
