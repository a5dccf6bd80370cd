"""Secrets: values that do not show themselves, found by reference and never written in a config.

A reference is `env:NAME`, `file:/path` or, for twins only, `twin` (or `twin:NAME` for a second
account there). A twin's secret is derived from its name: both ends know it; it is worth nothing.
"""

import hashlib
import hmac
import os
import re
import stat
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from alephtx.core.errors import ConfigError

MASK = "***"
FILE_BYTES_MAX = 64 * 1024
SCRUB_LENGTH_MIN = 8

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_WORDS = frozenset(
    ("key", "keys", "secret", "secrets", "signature", "token", "tokens", "password", "passphrase",
     "authorization", "mnemonic", "cookie", "apikey", "listenkey", "privatekey")
)  # fmt: skip
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_ASSIGNED = re.compile(
    r"(?i)\b(signature|sign|api_?key|listen_?key|secret|token|password|passphrase)(=|%3D)[^&\s\"']+"
)
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_=-]{32,}")
_LONG_STEP = re.compile(r"[A-Za-z0-9+_=-]{32,}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

_living: "weakref.WeakSet[Secret]" = weakref.WeakSet()


class Secret:
    """A text that shows as `***` wherever it is printed; `reveal` gives it out.

    Comparison takes constant time. Pickling and copying into text are refused or masked, so that a
    secret cannot travel to another process or a file by accident.
    """

    __slots__ = ("__weakref__", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        _living.add(self)

    def reveal(self) -> str:
        """Return the text itself; only signers call this."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled; hand on its reference and resolve it there")


def resolve(reference: str, environment: Mapping[str, str] | None = None) -> Secret:
    """Return the secret behind a reference, or raise ConfigError; the value is never in the error.

    A file must be regular, at most 64 KiB, UTF-8, and closed to group and others; one trailing
    newline is dropped.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env" and rest:
        return _from_environment(rest, os.environ if environment is None else environment)
    if scheme == "file" and rest:
        return _from_file(Path(rest).expanduser())
    if reference == "twin" or (scheme == "twin" and rest):
        return Secret(hashlib.sha256(f"alephtx {reference}".encode()).hexdigest())
    raise ConfigError(
        "a secret is given by reference, and this is not one (not shown)",
        remedy="write env:NAME, file:/path, or twin for a twin's account",
    )


def is_reference(text: str) -> bool:
    """Say whether a text has the form of a reference."""
    scheme, _, rest = text.partition(":")
    if scheme == "env":
        return _ENVIRONMENT_NAME.fullmatch(rest) is not None
    return text == "twin" or (scheme in ("file", "twin") and bool(rest))


def _from_environment(name: str, environment: Mapping[str, str]) -> Secret:
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise ConfigError("env: is not followed by the name of an environment variable (not shown)")
    text = environment.get(name, "").strip()
    if not text:
        raise ConfigError(
            f"environment variable {name} is not set or empty",
            remedy=f"export {name}=... before the start, or use file:/path",
        )
    return Secret(text)


def _from_file(path: Path) -> Secret:
    try:
        with path.open("rb") as handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"secret file {path} is not a regular file")
            if status.st_mode & 0o077:
                raise ConfigError(
                    f"secret file {path} is open to group or others", remedy=f"chmod 600 {path}"
                )
            data = handle.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"secret file {path} cannot be read: {reason}") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"secret file {path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"secret file {path} is not UTF-8 text") from None
    if not text:
        raise ConfigError(f"secret file {path} is empty")
    return Secret(text)


def is_secret_name(name: str) -> bool:
    """Say whether a field of this name is to be masked: any of its words is key, secret, token...

    Words are split at underscores, hyphens and capitals: api_key, apiKey, X-MBX-APIKEY all count.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _SECRET_WORDS for word in words)


def looks_like_secret(text: str) -> bool:
    """Say whether a text could be a key: 32 hex digits or more, or as long a jumble of characters.

    Public addresses (0x and 40 hex digits), numbers, and the steps of a path are none.
    """
    if "://" in text or text.startswith(("/", "~", ".")):
        return any(_jumbled(match.group()) for match in _LONG_STEP.finditer(text))
    return any(_jumbled(match.group()) for match in _LONG_WORD.finditer(text))


def _jumbled(word: str) -> bool:
    body = word.removeprefix("0x").replace("-", "")
    if _ADDRESS.fullmatch(word) or body.isdigit():
        return False
    if _HEX.fullmatch(body):
        return True
    cases = (str.isdigit, str.islower, str.isupper)
    return all(any(map(case, word)) for case in cases)


def scrub(text: str) -> str:
    """Mask in a text every living secret and every `signature=...`; for logs and error reports."""
    for secret in list(_living):
        value = secret.reveal()
        if len(value) >= SCRUB_LENGTH_MIN and value in text:
            text = text.replace(value, MASK)
    return _ASSIGNED.sub(rf"\1\2{MASK}", text)
