"""Hyperliquid's messages as msgspec types, and its words as ours.

Source: the venue's API pages (websocket subscriptions, info and exchange endpoints, error
responses) and hyperliquid-python-sdk 0.24.0. Unknown fields are ignored, unknown channels an error.
"""

from typing import Annotated, Any

import msgspec

from alephtx.core import words
from alephtx.core.errors import (
    InsufficientMargin,
    OrderRejected,
    Throttled,
    Unauthorized,
    VenueError,
    WouldCross,
)

NAME = "hyperliquid"
SETTLE = "USDC"
WEIGHT = "ip_weight"
JSON_HEADERS = (("Content-Type", "application/json"),)
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON asked for."""


class Level(msgspec.Struct, gc=False):
    """A price level: price, size, number of orders. Not tracked: forty a message, and no cycle."""

    px: str
    sz: str
    n: Annotated[int, msgspec.Meta(ge=0)]


class Book(msgspec.Struct):
    """Up to 20 levels a side, bids first, best first; always the whole book."""

    coin: str
    time: int
    levels: tuple[list[Level], list[Level]]


class Bbo(msgspec.Struct):
    """Best bid and ask; null where a side is empty."""

    coin: str
    time: int
    bbo: tuple[Level | None, Level | None]


class Trade(msgspec.Struct):
    """A public print; side B or A is the aggressor's."""

    coin: str
    side: str
    px: str
    sz: str
    time: int
    tid: int


class Context(msgspec.Struct):
    """Mark, oracle price and hourly funding rate of a perpetual."""

    funding: str | None = None
    mark_px: str | None = msgspec.field(name="markPx", default=None)
    oracle_px: str | None = msgspec.field(name="oraclePx", default=None)


class AssetContext(msgspec.Struct):
    """A context with its coin."""

    coin: str
    ctx: Context


class Order(msgspec.Struct, rename="camel"):
    """An order in updates and in the answers of openOrders, frontendOpenOrders, orderStatus.

    sz is what is left, origSz what was asked for.
    """

    coin: str
    side: str
    limit_px: str
    sz: str
    oid: int
    timestamp: int = 0
    orig_sz: str | None = None
    cloid: str | None = None


class OrderUpdate(msgspec.Struct, rename="camel"):
    """A change of an order's status."""

    order: Order
    status: str
    status_timestamp: int = 0


class Fill(msgspec.Struct, rename="camel"):
    """One execution of ours. crossed: we took. fee includes a builder's, closedPnl no fee."""

    coin: str
    px: str
    sz: str
    side: str
    time: int
    oid: int
    tid: int
    crossed: bool
    fee: str
    closed_pnl: str = "0"
    fee_token: str = "USDC"  # noqa: S105 - a currency
    cloid: str | None = None


class Fills(msgspec.Struct, rename="camel"):
    """Fills of the stream; the first message after a subscription is a snapshot of old ones."""

    fills: list[Fill]
    is_snapshot: bool = False


class Funding(msgspec.Struct):
    """A funding payment; usdc is what the account received, negative when it paid."""

    coin: str
    usdc: str
    time: int


class Fundings(msgspec.Struct, rename="camel"):
    """Funding payments of the stream."""

    fundings: list[Funding]
    is_snapshot: bool = False


class OwnCancel(msgspec.Struct):
    """A cancel that the venue did by itself."""

    coin: str
    oid: int


class UserEvents(msgspec.Struct, rename="camel"):
    """One of several things; fills and funding come by their own streams too and are read there."""

    non_user_cancel: list[OwnCancel] = []
    liquidation: dict[str, Any] | None = None


class PostResponse(msgspec.Struct):
    """The answer to a request sent over the socket: type info, action or error."""

    type: str
    payload: msgspec.Raw


class Post(msgspec.Struct):
    """An answer with the id of its request."""

    id: int
    response: PostResponse


class BookMessage(msgspec.Struct, tag_field="channel", tag="l2Book"):
    """Channel l2Book."""

    data: Book


class BboMessage(msgspec.Struct, tag_field="channel", tag="bbo"):
    """Channel bbo."""

    data: Bbo


class TradesMessage(msgspec.Struct, tag_field="channel", tag="trades"):
    """Channel trades."""

    data: list[Trade]


class ContextMessage(msgspec.Struct, tag_field="channel", tag="activeAssetCtx"):
    """Channel activeAssetCtx."""

    data: AssetContext


class OrdersMessage(msgspec.Struct, tag_field="channel", tag="orderUpdates"):
    """Channel orderUpdates."""

    data: list[OrderUpdate]


class FillsMessage(msgspec.Struct, tag_field="channel", tag="userFills"):
    """Channel userFills."""

    data: Fills


class FundingsMessage(msgspec.Struct, tag_field="channel", tag="userFundings"):
    """Channel userFundings."""

    data: Fundings


class UserMessage(msgspec.Struct, tag_field="channel", tag="user"):
    """Channel user, the answer to a subscription of userEvents."""

    data: UserEvents


class PostMessage(msgspec.Struct, tag_field="channel", tag="post"):
    """Channel post."""

    data: Post


class SubscribedMessage(msgspec.Struct, tag_field="channel", tag="subscriptionResponse"):
    """Channel subscriptionResponse."""

    data: dict[str, Any]


class ErrorMessage(msgspec.Struct, tag_field="channel", tag="error"):
    """Channel error."""

    data: str


class PongMessage(msgspec.Struct, tag_field="channel", tag="pong"):
    """Channel pong."""


Message = (
    BookMessage
    | BboMessage
    | TradesMessage
    | ContextMessage
    | OrdersMessage
    | FillsMessage
    | FundingsMessage
    | UserMessage
    | PostMessage
    | SubscribedMessage
    | ErrorMessage
    | PongMessage
)


class Asset(msgspec.Struct, rename="camel"):
    """One entry of meta's universe; its position is the asset number."""

    name: str
    sz_decimals: int
    is_delisted: bool | None = None


class Meta(msgspec.Struct):
    """The answer to meta."""

    universe: list[Asset]


class OrderFound(msgspec.Struct):
    """The answer to orderStatus: status `order`, or `unknownOid` without one."""

    status: str
    order: OrderUpdate | None = None


class PositionData(msgspec.Struct, rename="camel"):
    """A position; szi is signed."""

    coin: str
    szi: str
    unrealized_pnl: str
    entry_px: str | None = None


class PositionEntry(msgspec.Struct):
    """A position in its wrapper."""

    position: PositionData


class Margin(msgspec.Struct, rename="camel"):
    """Totals of the account; accountValue includes open profit and loss."""

    account_value: str


class State(msgspec.Struct, rename="camel"):
    """The answer to clearinghouseState."""

    asset_positions: list[PositionEntry]
    margin_summary: Margin
    withdrawable: str


class ExchangeStatus(msgspec.Struct):
    """The answer to exchangeStatus: the venue's clock, ms."""

    time: int


class FundingEntry(msgspec.Struct):
    """An entry of userFunding."""

    delta: dict[str, Any]
    time: int


class Answer(msgspec.Struct):
    """The answer of /exchange: status `ok` or `err`; response is an object or a text."""

    status: str
    response: Any = None


class Placed(msgspec.Struct, rename="camel"):
    """An order that rests, or that was filled at once, whole or in part."""

    oid: int
    total_sz: str = "0"


class Status(msgspec.Struct):
    """What became of one order or cancel of an action; `success` and `waiting...` are texts."""

    resting: Placed | None = None
    filled: Placed | None = None
    error: str | None = None


ORDER_STATUS = {
    "open": words.NEW,
    "triggered": words.NEW,
    "filled": words.FILLED,
    "canceled": words.CANCELED,
    "rejected": words.REJECTED,
    "scheduledCancel": words.CANCELED,
}
_ENDINGS = (("Canceled", words.CANCELED), ("Rejected", words.REJECTED))

STATUS_REASON = {
    "tickRejected": words.REASON_FILTER,
    "minTradeNtlRejected": words.REASON_FILTER,
    "perpMarginRejected": words.REASON_INSUFFICIENT,
    "insufficientSpotBalanceRejected": words.REASON_INSUFFICIENT,
    "reduceOnlyRejected": words.REASON_REDUCE_ONLY,
    "badAloPxRejected": words.REASON_WOULD_CROSS,
    "iocCancelRejected": words.REASON_NOT_FILLED,
    "marketOrderNoLiquidityRejected": words.REASON_NOT_FILLED,
    "marginCanceled": words.REASON_INSUFFICIENT,
    "reduceOnlyCanceled": words.REASON_REDUCE_ONLY,
    "delistedCanceled": words.REASON_NOT_TRADING,
}

_REFUSALS: tuple[tuple[str, int, type[VenueError]], ...] = (
    ("Price must be divisible by tick size", words.REASON_FILTER, OrderRejected),
    ("Order must have minimum value", words.REASON_FILTER, OrderRejected),
    ("Order has invalid", words.REASON_FILTER, OrderRejected),
    ("Order has zero size", words.REASON_FILTER, OrderRejected),
    ("Order price cannot be more than", words.REASON_FILTER, OrderRejected),
    ("Invalid TP/SL price", words.REASON_FILTER, OrderRejected),
    ("Insufficient margin", words.REASON_INSUFFICIENT, InsufficientMargin),
    ("Insufficient spot balance", words.REASON_INSUFFICIENT, InsufficientMargin),
    ("Reduce only order would increase position", words.REASON_REDUCE_ONLY, OrderRejected),
    ("Post only order would have immediately matched", words.REASON_WOULD_CROSS, WouldCross),
    ("Order could not immediately match", words.REASON_NOT_FILLED, OrderRejected),
    ("No liquidity available", words.REASON_NOT_FILLED, OrderRejected),
    ("Order was never placed", words.REASON_UNKNOWN_ORDER, OrderRejected),
    ("Too many cumulative requests sent", words.REASON_THROTTLED, Throttled),
    ("User or API Wallet", words.REASON_AUTH, Unauthorized),
    ("Must deposit before performing actions", words.REASON_AUTH, Unauthorized),
    ("Invalid nonce", words.REASON_CLOCK, Unauthorized),
)


def order_status(text: str) -> int:
    """Return the FIX word of an order status; 0 for one never heard of."""
    known = ORDER_STATUS.get(text, 0)
    if known:
        return known
    return next((word for ending, word in _ENDINGS if text.endswith(ending)), 0)


def refusal_reason(text: str) -> int:
    """Return the reason word of an error text."""
    return next((why for head, why, _ in _REFUSALS if text.startswith(head)), words.REASON_OTHER)


def refusal(text: str) -> VenueError:
    """Return the error that an error text stands for, with its reason word.

    `User or API Wallet 0x.. does not exist` means a wrong signature: the recovered address is
    unknown. It is Unauthorized, with a remedy.
    """
    kind = next((kind for head, _, kind in _REFUSALS if text.startswith(head)), OrderRejected)
    remedy = ""
    if kind is Unauthorized:
        remedy = "check the key, the network (mainnet or not) and the machine's clock"
    made = kind(text[:200], venue=NAME, code=text[:40], retryable=kind is Throttled, remedy=remedy)
    made.reason = refusal_reason(text)
    return made
