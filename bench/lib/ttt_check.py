"""Is what came the order that its tick asked for? Read by the standard library alone."""

import hashlib
import hmac
import json
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl

from ttt_links import opened
from ttt_ticks import QTY, SYMBOL, order_of


class Checker:
    """Checks Binance orders, of the WS API and of REST; `faults` tells the first few."""

    def __init__(self, key: str, secret: str) -> None:
        self._key, self._secret = key, secret.encode()
        self._seen: set[str] = set()
        self.bad = 0
        self.faults: list[str] = []

    def check(self, k: int, message: bytes) -> None:
        """Hold an order against tick k."""
        try:
            fault = self._fault(k, message)
        except (ValueError, KeyError, IndexError, InvalidOperation, AttributeError) as error:
            fault = f"cannot be read: {error!r}"
        if fault:
            self.bad += 1
            if len(self.faults) < 5:
                self.faults.append(f"tick {k}: {fault}")

    def _fault(self, k: int, message: bytes) -> str:
        if message[:1] == b"\x81":
            asked = json.loads(opened(message)[1])
            if asked["method"] != "order.place" or not asked["id"]:
                return f"is {asked['method']}"
            params = {name: _plain(value) for name, value in asked["params"].items()}
            names = sorted(name for name in params if name != "signature")
            payload = "&".join(f"{name}={params[name]}" for name in names)
        else:
            head, _, body = message.partition(b"\r\n\r\n")
            query = head.split(b" ", 2)[1].partition(b"?")[2].decode()
            signed = query or body.decode()
            payload = signed.partition("&signature=")[0]
            params = dict(parse_qsl(signed))
            params["apiKey"] = _header(head, b"x-mbx-apikey")
        return self._wrong(k, params, payload)

    def _wrong(self, k: int, params: dict[str, str], payload: str) -> str:
        made = hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(made, params["signature"]):
            return "signature"
        side, price = order_of(k)
        identity = params["newClientOrderId"]
        wanted = {"apiKey": self._key, "symbol": SYMBOL, "side": side, "type": "LIMIT",
                  "timeInForce": "IOC"}  # fmt: skip
        for name, value in wanted.items():
            if params[name] != value:
                return f"{name} is {params[name]!r}, not {value!r}"
        if Decimal(params["price"]) != price or Decimal(params["quantity"]) != Decimal(QTY):
            return f"{params['quantity']} at {params['price']}, not {QTY} at {price}"
        if not identity or identity in self._seen:
            return f"client id {identity!r} came before"
        self._seen.add(identity)
        return ""


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n"):
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip().decode()
    return ""
