"""The order side of the Binance dialect: INTENT rows to parameters, parameters to signed requests.

Numbers leave as exact decimals made from ticks and lots. Orders carry `identity.to_text(order_id)`
as newClientOrderId; answers on the WS API carry the request's id, which begins with `p`, `c` or `m`
(place, cancel, amend) and the client order id, so that an answer is understood without memory.
newOrderRespType is ACK: the private stream brings the fills, once.
"""

from typing import Protocol, runtime_checkable
from urllib.parse import quote

import msgspec

from alephtx.core import words
from alephtx.core.errors import ConfigError, OrderRejected
from alephtx.core.identity import from_text, to_text
from alephtx.core.instruments import Instrument
from alephtx.core.ports import Signer
from alephtx.core.units import format_scaled

MS = 1_000_000
RECV_WINDOW_MS = 5000
CANCEL_WEIGHTS = (("weight", 1),)
KEY_HEADER = "X-MBX-APIKEY"
Params = dict[str, str | int]
Fields = dict[str, int]
"""An INTENT row as plain integers."""

_TIF = {words.GTC: "GTC", words.IOC: "IOC", words.FOK: "FOK"}
_SIDES = {words.BUY: "BUY", words.SELL: "SELL"}
_LETTERS = {words.PLACE: "p", words.CANCEL: "c", words.AMEND: "m"}
_OPS = {letter: op for op, letter in _LETTERS.items()}


@runtime_checkable
class KeySigner(Signer, Protocol):
    """A signer with a name: Binance wants the API key beside every signature."""

    api_key: str


def check_signer(signer: Signer | None, venue: str) -> KeySigner | None:
    """Return the signer when it can sign for Binance; the check costs 15 us, so it is made once."""
    if signer is not None and not isinstance(signer, KeySigner):
        raise ConfigError(
            f"{venue}: {type(signer).__name__} has no API key", remedy="use hmac_sha256 or ed25519"
        )
    return signer


def need_signer(signer: KeySigner | None, venue: str) -> KeySigner:
    """Return the signer, or say what is missing."""
    if signer is None:
        raise ConfigError(
            f"{venue}: private requests need an account",
            remedy=f"add an [accounts.*] section with venue = {venue!r}, key and secret",
        )
    return signer


def signed_query(signer: KeySigner, params: Params, now_ns: int) -> str:
    """Return the query string of a REST request, signed over exactly the bytes that are sent."""
    stamped = {**params, "recvWindow": RECV_WINDOW_MS, "timestamp": now_ns // MS}
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in stamped.items())
    # Hex digits need no quoting; base64, as Ed25519 has it, does.
    return f"{query}&signature={quote(signer.sign(query.encode()).decode(), safe='')}"


def signed_call(signer: KeySigner, key: str, method: str, params: Params, now_ns: int) -> bytes:
    """Return the text frame of a WS API request; the signature covers the sorted raw parameters."""
    stamped: Params = {
        **params,
        "apiKey": signer.api_key,
        "recvWindow": RECV_WINDOW_MS,
        "timestamp": now_ns // MS,
    }
    payload = "&".join([f"{name}={stamped[name]}" for name in sorted(stamped)])
    stamped["signature"] = signer.sign(payload.encode()).decode()
    return msgspec.json.encode({"id": key, "method": method, "params": stamped})


def answer_key(op: int, order_id: int, nonce: int, k: int) -> str:
    """Return the id of a WS API request; at most 36 characters."""
    text = _LETTERS[op] + to_text(order_id)
    return text if op == words.PLACE else f"{text}-{nonce}-{k}"


def read_key(key: str) -> tuple[int, int]:
    """Return (op, order id) behind the id of an answer, or (0, 0) when it answers no order."""
    order_id = from_text(key[1:16])
    return (_OPS.get(key[:1], 0), order_id) if order_id else (0, 0)


def _refuse(instrument: Instrument, intent: Fields, why: str, remedy: str) -> OrderRejected:
    """Return the error for an intent that this venue cannot express; nothing was sent."""
    order_id = intent["order_id"]
    return OrderRejected(f"order {order_id} on {instrument.key}: {why}", remedy=remedy)


def _amounts(instrument: Instrument, intent: Fields) -> tuple[str, str]:
    """Return price and quantity as decimal texts without trailing zeros."""
    price = format_scaled(intent["price"], instrument.price_scale, trim=True)
    return price, format_scaled(intent["qty"], instrument.qty_scale, trim=True)


def place_params(instrument: Instrument, intent: Fields, *, futures: bool) -> Params:
    """Return the parameters of a new order; OrderRejected for what the venue has no word for."""
    price, qty = _amounts(instrument, intent)
    flags, order_type = intent["flags"], intent["type"]
    params: Params = {
        "symbol": instrument.symbol,
        "side": _SIDES[intent["side"]],
        "type": "LIMIT" if order_type == words.LIMIT else "MARKET",
        "quantity": qty,
        "newClientOrderId": to_text(intent["order_id"]),
        "newOrderRespType": "ACK",
    }
    if order_type == words.LIMIT:
        params["price"] = price
        _put_time_in_force(params, instrument, intent, futures=futures)
    elif order_type == words.STOP:
        _put_stop(params, instrument, intent, futures=futures)
    elif flags & words.POST_ONLY:
        raise _refuse(instrument, intent, "a market order cannot be post-only", "send a LIMIT")
    if flags & words.REDUCE_ONLY:
        if not futures:
            raise _refuse(instrument, intent, "spot knows no positions", "drop REDUCE_ONLY")
        params["reduceOnly"] = "true"
    return params


def _put_time_in_force(
    params: Params, instrument: Instrument, intent: Fields, *, futures: bool
) -> None:
    """Add the time in force of a limit order; post-only is GTX on futures, LIMIT_MAKER on spot."""
    tif = intent["tif"] or words.GTC
    if intent["flags"] & words.POST_ONLY:
        if tif != words.GTC:
            raise _refuse(
                instrument, intent, "post-only orders are GTC", "drop POST_ONLY or the tif"
            )
        if futures:
            params["timeInForce"] = "GTX"
        else:
            params["type"] = "LIMIT_MAKER"
    elif tif == words.GTD and futures:
        params["timeInForce"] = "GTD"
        params["goodTillDate"] = intent["expires_ns"] // 1_000_000_000 * 1000
    elif tif in _TIF:
        params["timeInForce"] = _TIF[tif]
    else:
        raise _refuse(instrument, intent, f"time in force {tif} is unknown here", "use GTC")


def _put_stop(params: Params, instrument: Instrument, intent: Fields, *, futures: bool) -> None:
    """Turn the order into a stop; futures take them on another endpoint, which is not served."""
    if futures:
        raise _refuse(instrument, intent, "conditional orders are not served", "hold the stop here")
    params["stopPrice"] = format_scaled(intent["trigger"], instrument.price_scale, trim=True)
    if intent["price"]:
        params["type"] = "STOP_LOSS_LIMIT"
        params["price"], _ = _amounts(instrument, intent)
        params["timeInForce"] = _TIF.get(intent["tif"] or words.GTC, "GTC")
    else:
        params["type"] = "STOP_LOSS"


def cancel_params(instrument: Instrument, intent: Fields) -> Params:
    """Return the parameters of a cancel."""
    return {
        "symbol": instrument.symbol,
        "origClientOrderId": to_text(intent["target_order_id"]),
    }


def amend_params(instrument: Instrument, intent: Fields) -> Params:
    """Return the parameters of a futures amend: new price and quantity, place in line lost."""
    price, qty = _amounts(instrument, intent)
    return {
        "symbol": instrument.symbol,
        "origClientOrderId": to_text(intent["target_order_id"]),
        "side": _SIDES[intent["side"]],
        "quantity": qty,
        "price": price,
    }
