"""Changes of limits: what a signed command says, and what it would make of the limits.

A command is a `Change` and an Ed25519 signature over its text. It names the run, so that it is
worth nothing in another, and carries a nonce, so that it counts once. Nothing here touches an
engine: `engine.limit_commands` asks, journals and applies.
"""

import re
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from alephtx.core.errors import ConfigError
from alephtx.core.risk_schema import (
    SCOPES,
    AccountRisk,
    BaseRisk,
    InstrumentRisk,
    Risk,
    StrategyRisk,
)
from alephtx.core.secrets import Secret

if TYPE_CHECKING:
    from Crypto.PublicKey.ECC import EccKey

DOMAIN = b"alephtx limit change 1\n"
NONE = "none"
AMOUNT = re.compile(r"-?\d{1,24}(\.\d{1,18})?", re.ASCII)
SCOPED: dict[str, type[msgspec.Struct]] = {
    "bases": BaseRisk,
    "strategies": StrategyRisk,
    "instruments": InstrumentRisk,
    "venues": InstrumentRisk,
    "accounts": AccountRisk,
}
UNCHANGEABLE = (*SCOPES, "rates", "officers")
"""Fields of [risk] that are no limits: a config changes them, and a start."""

Short = Annotated[str, Meta(max_length=128)]
Long = Annotated[str, Meta(max_length=2_000)]


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants which limit to be what, and why. when_ns: wall time. old: what it is now.

    action set: limit is a field of [risk] or of the scope's table. rearm, enable: the latch
    "drawdown" or "order_ratio", from "latched" to "armed". scope: "" for all, or such as
    "strategies.arb", "instruments.binance_spot:BTC-USDT".
    """

    run: Short
    who: Short
    when_ns: int
    action: Literal["set", "rearm", "enable"]
    limit: Short
    scope: Short = ""
    old: Long
    new: Long
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    nonce: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command as it is delivered. signature: Ed25519, in hex."""

    change: Change
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$")]


def curves() -> tuple[Any, Any]:
    """Import what signs and verifies: 50 ms, and most runs have no officers."""
    from Crypto.PublicKey import ECC
    from Crypto.Signature import eddsa

    return ECC, eddsa


def _message(change: Change) -> bytes:
    return DOMAIN + msgspec.json.encode(change)


def private_key(secret: Secret) -> "EccKey":
    """Return the key behind a secret: 32 bytes in hex, as `alephtx limits key` makes them."""
    ecc, _ = curves()
    try:
        seed = bytes.fromhex(secret.reveal().strip())
        key: EccKey = ecc.construct(curve="Ed25519", seed=seed)
    except ValueError:
        raise ConfigError(
            "the key is not 32 bytes in hex (not shown)", remedy="alephtx limits key FILE makes one"
        ) from None
    return key


def public_text(key: "EccKey") -> str:
    """Return a key's public half as it stands under [risk] officers."""
    raw: bytes = key.public_key().export_key(format="raw")
    return f"ed25519:{raw.hex()}"


def sign(change: Change, key: "EccKey") -> Signed:
    """Return the command that an officer's key signs."""
    _, eddsa = curves()
    signature: bytes = eddsa.new(key, "rfc8032").sign(_message(change))
    return Signed(change=change, signature=signature.hex())


def check_signature(signed: Signed, officers: Mapping[str, str]) -> None:
    """Raise ConfigError unless the officer that a command names has signed it. About 2 ms."""
    who = signed.change.who
    if who not in officers:
        raise ConfigError(
            f"{who!r} is no officer of this run",
            remedy="name who may change limits under risk.officers, by public key",
        )
    _, eddsa = curves()
    try:
        key = eddsa.import_public_key(bytes.fromhex(officers[who].removeprefix("ed25519:")))
        eddsa.new(key, "rfc8032").verify(_message(signed.change), bytes.fromhex(signed.signature))
    except ValueError:
        raise ConfigError(f"the signature is not {who}'s", remedy="sign with that key") from None


def split_scope(scope: str) -> tuple[str, str]:
    """Return group and name of a scope; ("", "") for all."""
    group, _, name = scope.partition(".")
    if scope and (group not in SCOPED or not name):
        groups = ", ".join(f"{group}.NAME" for group in SCOPED)
        raise ConfigError(f"{scope!r} is no scope", remedy=f"one of {groups}, or none for all")
    return group, name


def _table(risk: Risk, scope: str) -> msgspec.Struct:
    group, name = split_scope(scope)
    if not group:
        return risk
    kind = SCOPED[group]
    found: msgspec.Struct = getattr(risk, group).get(name) or kind()
    return found


def _names(table: msgspec.Struct) -> list[str]:
    hidden = UNCHANGEABLE if isinstance(table, Risk) else ()
    return [name for name in table.__struct_fields__ if name not in hidden]


def value_text(value: Any) -> str:
    """Return a limit as text, as commands and people write it."""
    if value is None:
        return NONE
    if isinstance(value, tuple):
        return ",".join(value) or NONE
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def value_of(risk: Risk, limit: str, scope: str) -> str:
    """Return what a limit is; ConfigError when there is none of that name there."""
    table = _table(risk, scope)
    if limit not in _names(table):
        raise ConfigError(
            f"there is no limit {limit!r}" + (f" of {scope}" if scope else ""),
            remedy=f"one of {', '.join(_names(table))}",
        )
    return value_text(getattr(table, limit))


def every_limit(risk: Risk) -> Iterator[tuple[str, str, str]]:
    """Iterate over (scope, limit, value) of all limits, and of scopes that say something."""
    for limit in _names(risk):
        yield "", limit, value_text(getattr(risk, limit))
    for group in SCOPED:
        for name, table in getattr(risk, group).items():
            for limit in _names(table):
                value = value_text(getattr(table, limit))
                if value != NONE:
                    yield f"{group}.{name}", limit, value


def with_limit(risk: Risk, limit: str, scope: str, new: str) -> Risk:
    """Return the limits with one changed; ConfigError when the value cannot be one."""
    table = _table(risk, scope)
    kinds = {field.name: field.type for field in msgspec.structs.fields(type(table))}
    value_of(risk, limit, scope)
    try:
        value = _read(new, kinds[limit])
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{limit} cannot be {new!r}: {error}") from None
    changed: Any = msgspec.structs.replace(table, **{limit: value})
    group, name = split_scope(scope)
    if not group:
        return typing.cast(Risk, changed)
    return msgspec.structs.replace(risk, **{group: {**getattr(risk, group), name: changed}})


def _read(text: str, kind: Any) -> Any:
    """Convert a text to a limit of a type; ValueError or ValidationError when it is none."""
    arguments = typing.get_args(kind)
    if text == NONE:
        return () if typing.get_origin(kind) is tuple else msgspec.convert(None, kind)
    if typing.get_origin(kind) is tuple:
        return msgspec.convert(tuple(part.strip() for part in text.split(",")), kind)
    if kind is Decimal or Decimal in arguments:
        if not AMOUNT.fullmatch(text):
            raise ValueError("not a plain decimal")
        if Decimal(text) <= 0:
            raise ValueError("not above zero")
        return Decimal(text)
    if typing.get_origin(kind) is Literal:
        return msgspec.convert(text, kind)
    return msgspec.convert(int(text), kind)
