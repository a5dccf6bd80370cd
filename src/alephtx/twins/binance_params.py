"""The Binance wire in small: errors, parameters, numbers, WS API frames."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from alephtx.twins.accounts import Account
from alephtx.twins.orders import Refused
from alephtx.twins.server import to_json

Params = dict[str, str]
Handler = Callable[[Account | None, Params], Any]

OPEN, KEYED, SIGNED = 0, 1, 2  # what an operation asks of its caller
NUMBER = re.compile(r"^[0-9]{1,20}(\.[0-9]{1,20})?$")


class ApiError(Exception):
    """An answer `{"code", "msg"}` with an HTTP status. data: what the WS API adds to it."""

    def __init__(
        self, code: int, message: str, status: int = 400, data: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code} {message}")
        self.data = data
        self.code = code
        self.message = message
        self.status = status


class Operation(msgspec.Struct, frozen=True):
    """One thing that can be asked. orders: how many it counts against the order limits."""

    handler: Handler
    access: int = OPEN
    weight: int = 1
    orders: int = 0


class WsRequest(msgspec.Struct):
    """A frame to the WS API or to a stream; id is echoed as it came."""

    method: str
    id: msgspec.Raw = msgspec.Raw(b"null")
    params: msgspec.Raw = msgspec.Raw(b"null")


def mandatory(params: Params, name: str) -> str:
    """Return a parameter that must be there."""
    value = params.get(name, "")
    if not value:
        raise ApiError(
            -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        )
    return value


def number(params: Params, name: str) -> Decimal:
    """Return a positive decimal parameter; no sign, no exponent."""
    text = mandatory(params, name)
    if not NUMBER.match(text):
        raise ApiError(
            -1100,
            f"Illegal characters found in parameter '{name}'; "
            "legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        )
    return Decimal(text)


def integer(params: Params, name: str, default: int | None = None) -> int:
    """Return an integer parameter; mandatory without a default."""
    if default is not None and not params.get(name):
        return default
    text = mandatory(params, name)
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ApiError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(text)


def to_units(value: Decimal, scale: int, reason: str) -> int:
    """Convert to ticks or lots; digits below the grid break the filter of that name."""
    units = value.scaleb(scale)
    if units != units.to_integral_value():
        raise Refused(reason)
    return int(units)


def plain(value: Decimal, places: int | None = None) -> str:
    """Format without exponent, with a fixed number of decimals or trimmed."""
    if places is not None:
        return f"{value:.{places}f}"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def flat_params(raw: bytes) -> Params:
    """Return the params of a WS API request as their texts, which is what was signed."""
    loaded = json.loads(raw or b"null", parse_float=str, parse_int=str) or {}
    if not isinstance(loaded, dict):
        raise ValueError("params must be an object")  # noqa: TRY004 - malformed input, like the rest
    flat = {}
    for name, value in loaded.items():
        if isinstance(value, bool):
            flat[name] = "true" if value else "false"
        elif isinstance(value, str):
            flat[name] = value
        elif value is not None:
            flat[name] = json.dumps(value, separators=(",", ":"))
    return flat


def api_answer(
    identity: bytes, status: int, *, result: Any = None, error: ApiError | None = None
) -> bytes:
    """Return the frame that answers a WS API request."""
    if error is not None:
        said = {"code": error.code, "msg": error.message}
        body = to_json(said if error.data is None else {**said, "data": error.data})
        return b'{"id":%b,"status":%d,"error":%b,"rateLimits":[]}' % (identity, status, body)
    return b'{"id":%b,"status":%d,"result":%b,"rateLimits":[]}' % (
        identity,
        status,
        to_json(result),
    )
