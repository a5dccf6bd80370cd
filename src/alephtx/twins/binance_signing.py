"""Whether a request to a Binance twin is signed: HMAC-SHA256 in hex, or Ed25519 in base64.

On the real venue a key is of one kind. Here an account's secret, where it is 64 hex digits as every
twin's is, is the seed of an Ed25519 key as well, and the signature's form says which is meant.
"""

import base64
import binascii
import hashlib
import hmac
import re
from functools import cache
from typing import Any

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

_SEED = re.compile(r"[0-9a-f]{64}")
_BASE64_LENGTH = 88


@cache
def _verifier(secret: str) -> Any:
    parts: dict[str, Any] = {"curve": "Ed25519", "seed": bytes.fromhex(secret)}
    key = ECC.construct(**parts)
    return eddsa.new(key.public_key(), "rfc8032")


def is_signed(secret: str, payload: bytes, given: str) -> bool:
    """Tell whether a signature belongs to a payload and to the account with this secret."""
    if len(given) == _BASE64_LENGTH and _SEED.fullmatch(secret):
        try:
            _verifier(secret).verify(payload, base64.b64decode(given, validate=True))
        except (ValueError, binascii.Error):
            return False
        return True
    made = hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made.encode(), given.encode())
