"""The HTTP/1.1 question that opens a WebSocket, and what a good answer is (RFC 6455, 4)."""

import base64
import hashlib
import re
from collections.abc import Iterable
from urllib.parse import SplitResult

from alephtx.core.errors import ConfigError, ProtocolError, TransportError

HEAD_MAX = 16 << 10
"""Bytes of an answer's head."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})(?: |$)")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


def upgrade_request(url: SplitResult, key: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the request; ConfigError for a header or a path that would be more than one line."""
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = 443 if url.scheme == "wss" else 80
    port = "" if url.port in (None, default) else f":{url.port}"
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [
        ("Host", host + port), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key), *headers,
    ]  # fmt: skip
    if not re.fullmatch(r"[!-~]+", target):
        raise ConfigError("a WebSocket's path has characters that no URL may have")
    for name, value in lines:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigError(f"the header {name!r} cannot be sent", remedy="use printable ASCII")
    head = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines)]
    return ("\r\n".join(head) + "\r\n\r\n").encode("ascii")


def accept_of(key: str) -> str:
    """Return what a server must answer to a key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()  # noqa: S324 - the RFC's


def check_answer(head: bytes, key: str, where: str) -> None:
    """Check an answer's head, without its empty line.

    TransportError with the status for a refusal, ProtocolError for an answer to another question.
    """
    first, *rest = head.split(b"\r\n")
    status = _STATUS.match(first)
    if status is None:
        raise ProtocolError(f"{where}: the server does not speak HTTP/1.1", retryable=True)
    code = int(status[1])
    if code != 101:
        raise TransportError(
            f"{where}: the server refused the WebSocket with HTTP {code}", code=code
        )
    fields: dict[str, list[str]] = {}
    for line in rest:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise ProtocolError(f"{where}: a broken header in the answer", retryable=True)
        fields.setdefault(name.lower(), []).append(value.strip())
    words = [word.strip().lower() for word in ",".join(fields.get("connection", [])).split(",")]
    if "upgrade" not in words or [v.lower() for v in fields.get("upgrade", [])] != ["websocket"]:
        raise ProtocolError(f"{where}: the server did not change to WebSocket", retryable=True)
    if fields.get("sec-websocket-accept") != [accept_of(key)]:
        raise ProtocolError(f"{where}: the server answered to another key", retryable=True)
    if "sec-websocket-extensions" in fields or "sec-websocket-protocol" in fields:
        raise ProtocolError(f"{where}: the server uses what was not offered", retryable=True)
