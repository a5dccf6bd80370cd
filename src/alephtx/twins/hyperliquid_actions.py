"""Signed Hyperliquid requests as the venue reads them: typed, then packed again for the hash.

The venue hashes its own reading of an action, not the client's bytes: fields in its order, numbers
without trailing zeros, addresses in lower case, unknown fields dropped. A client that signs another
form is therefore met as an unknown signer, here as there.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from alephtx.twins.hyperliquid_signing import Signature

Word = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Index = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]
Cloid = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{32}$")]
Number = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}(\.[0-9]{1,20})?$")]

NOT_SIMULATED = frozenset(
    ("agentEnableDexAbstraction", "agentSetAbstraction", "approveAgent", "approveBuilderFee",
     "cDeposit", "cWithdraw", "claimRewards", "convertToMultiSigUser", "createSubAccount",
     "createVault", "multiSig", "perpDeploy", "registerReferrer", "reserveRequestWeight",
     "sendAsset", "setReferrer", "spotDeploy", "spotSend", "spotUser", "subAccountModify",
     "subAccountSpotTransfer", "subAccountTransfer", "tokenDelegate", "topUpIsolatedOnlyMargin",
     "twapCancel", "twapOrder", "updateIsolatedMargin", "usdClassTransfer", "usdSend",
     "userDexAbstraction", "userSetAbstraction", "vaultDistribute", "vaultModify",
     "vaultTransfer", "withdraw3")
)  # fmt: skip
"""Actions of the venue that the twin refuses by name instead of pretending."""


class BadRequest(Exception):
    """A request the venue cannot read: an HTTP status and a plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class NotSimulated(Exception):
    """An action that exists at the venue and not here."""


class Limit(msgspec.Struct):
    """A limit order's time in force."""

    tif: Literal["Gtc", "Ioc", "Alo"]


class Trigger(msgspec.Struct):
    """A trigger order; read so that its refusal can be worded."""

    isMarket: bool  # noqa: N815 - the venue's name, as in all classes here
    triggerPx: Number  # noqa: N815
    tpsl: Literal["tp", "sl"]


class Kind(msgspec.Struct, omit_defaults=True):
    """Either limit or trigger."""

    limit: Limit | None = None
    trigger: Trigger | None = None


class OrderWire(msgspec.Struct, omit_defaults=True):
    """One order: asset, is buy, price, size, reduce only, type, client order id."""

    a: Index
    b: bool
    p: Number
    s: Number
    r: bool
    t: Kind
    c: Cloid | None = None


class Builder(msgspec.Struct):
    """Whom a share of the fee goes to, and tenths of a basis point."""

    b: Address
    f: Word


class Order(msgspec.Struct, tag_field="type", tag="order", omit_defaults=True):
    """Place a batch."""

    orders: list[OrderWire]
    grouping: Literal["na", "normalTpsl", "positionTpsl"]
    builder: Builder | None = None


class OidCancel(msgspec.Struct):
    """One order to cancel, by number."""

    a: Index
    o: Word


class Cancel(msgspec.Struct, tag_field="type", tag="cancel"):
    """Cancel a batch by number."""

    cancels: list[OidCancel]


class CloidCancel(msgspec.Struct):
    """One order to cancel, by client order id."""

    asset: Index
    cloid: Cloid


class CancelByCloid(msgspec.Struct, tag_field="type", tag="cancelByCloid"):
    """Cancel a batch by client order id."""

    cancels: list[CloidCancel]


class ModifyWire(msgspec.Struct):
    """What to replace by what."""

    oid: Word | Cloid
    order: OrderWire


class Modify(msgspec.Struct, tag_field="type", tag="modify"):
    """Replace one order."""

    oid: Word | Cloid
    order: OrderWire


class BatchModify(msgspec.Struct, tag_field="type", tag="batchModify"):
    """Replace several orders."""

    modifies: list[ModifyWire]


class ScheduleCancel(msgspec.Struct, tag_field="type", tag="scheduleCancel", omit_defaults=True):
    """Cancel everything at a time, or call that off."""

    time: Word | None = None


class UpdateLeverage(msgspec.Struct, tag_field="type", tag="updateLeverage"):
    """Set the leverage of one asset."""

    asset: Index
    isCross: bool  # noqa: N815
    leverage: Index


class Noop(msgspec.Struct, tag_field="type", tag="noop"):
    """Use up a nonce."""


Action = (
    Order | Cancel | CancelByCloid | Modify | BatchModify | ScheduleCancel | UpdateLeverage | Noop
)
BATCHED = (Order, Cancel, CancelByCloid, BatchModify)


class Envelope(msgspec.Struct):
    """The body of POST /exchange."""

    action: msgspec.Raw
    nonce: Word
    signature: Signature
    vaultAddress: Address | None = None  # noqa: N815
    expiresAfter: Word | None = None  # noqa: N815


class _Typed(msgspec.Struct):
    type: str


_envelope = msgspec.json.Decoder(Envelope)
_typed = msgspec.json.Decoder(_Typed)
_action = msgspec.json.Decoder(Action)


def unreadable(error: msgspec.MsgspecError) -> BadRequest:
    """Word a JSON failure as the venue's server does: 400 for syntax, 422 for shape."""
    if isinstance(error, msgspec.ValidationError):
        return BadRequest(422, f"Failed to deserialize the JSON body into the target type: {error}")
    return BadRequest(400, f"Failed to parse the request body as JSON: {error}")


def decode_body(decoder: Any, body: bytes) -> Any:
    """Decode JSON or raise BadRequest, whatever the bytes are."""
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise unreadable(error) from None
    except (UnicodeDecodeError, RecursionError):
        raise BadRequest(400, "Failed to parse the request body as JSON") from None


def read_request(body: bytes) -> tuple[Envelope, Action]:
    """Read POST /exchange; BadRequest for what is no request, NotSimulated for what is not here."""
    envelope: Envelope = decode_body(_envelope, body)
    kind = decode_body(_typed, bytes(envelope.action)).type
    if kind in NOT_SIMULATED:
        raise NotSimulated(kind)
    action: Action = decode_body(_action, bytes(envelope.action))
    _normalize(action)
    return envelope, action


def pack(action: Action) -> bytes:
    """Return the msgpack bytes that the signature covers."""
    return msgspec.msgpack.encode(action)


def batch_size(action: Action) -> int:
    """Return how many orders or cancels an action carries."""
    if isinstance(action, Order):
        return len(action.orders)
    if isinstance(action, Cancel | CancelByCloid):
        return len(action.cancels)
    return len(action.modifies) if isinstance(action, BatchModify) else 1


def is_cancel(action: Action) -> bool:
    """Say whether an action only takes orders off."""
    return isinstance(action, Cancel | CancelByCloid | ScheduleCancel)


_TRAILING = re.compile(r"\.?0+$")


def canonical(number: str) -> str:
    """Return a number without needless zeros, as the venue prints it."""
    text = _TRAILING.sub("", number) if "." in number else number
    return format(Decimal(text), "f")


def _normalize(action: Action) -> None:
    if isinstance(action, Order):
        for order in action.orders:
            _normalize_order(order)
        if action.builder is not None:
            action.builder.b = action.builder.b.lower()
    elif isinstance(action, Modify):
        action.oid = _lower(action.oid)
        _normalize_order(action.order)
    elif isinstance(action, BatchModify):
        for modify in action.modifies:
            modify.oid = _lower(modify.oid)
            _normalize_order(modify.order)
    elif isinstance(action, CancelByCloid):
        for cancel in action.cancels:
            cancel.cloid = cancel.cloid.lower()


def _lower(oid: int | str) -> int | str:
    return oid.lower() if isinstance(oid, str) else oid


def _normalize_order(order: OrderWire) -> None:
    if (order.t.limit is None) == (order.t.trigger is None):
        raise BadRequest(422, "Failed to deserialize the JSON body into the target type: t")
    order.p, order.s = canonical(order.p), canonical(order.s)
    if order.t.trigger is not None:
        order.t.trigger.triggerPx = canonical(order.t.trigger.triggerPx)
    order.c = None if order.c is None else order.c.lower()
