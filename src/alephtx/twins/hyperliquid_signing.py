"""Who signed a Hyperliquid action: hashing, EIP-712, recovery, nonces; the twin's own check.

An L1 action is signed by an agent struct over keccak256(msgpack(action) + nonce + vault + expiry).
Nothing is verified by comparing addresses: the signer is recovered, and whoever signed wrongly is
a stranger with another address, as on the venue.
"""

import bisect

import coincurve
import msgspec
from Crypto.Hash import keccak

MAINNET_SOURCE, TESTNET_SOURCE = "a", "b"
NONCES_KEPT = 100
NONCE_PAST_MS = 2 * 86_400_000
NONCE_FUTURE_MS = 86_400_000

_SIGNATURE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class BadSignature(ValueError):
    """Bytes from which no signer can be recovered."""


class Signature(msgspec.Struct):
    """The wire form: r and s in hex, with or without leading zeros, v 27 or 28."""

    r: str
    s: str
    v: int


def keccak256(data: bytes) -> bytes:
    """Hash with Keccak-256 as Ethereum does, which is not SHA3-256."""
    return keccak.new(digest_bits=256, data=data).digest()


def address_of_public_key(key: coincurve.PublicKey) -> str:
    """Return the lower-case address of a public key."""
    return "0x" + keccak256(key.format(compressed=False)[1:])[-20:].hex()


def address_of_private_key(key_hex: str) -> str:
    """Return the lower-case address of a private key in hex, with or without 0x."""
    secret = bytes.fromhex(key_hex.removeprefix("0x"))
    return address_of_public_key(coincurve.PrivateKey(secret).public_key)


_DOMAIN = keccak256(
    keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    + keccak256(b"Exchange")
    + keccak256(b"1")
    + (1337).to_bytes(32, "big")
    + bytes(32)
)
_AGENT = keccak256(b"Agent(string source,bytes32 connectionId)")


def connection_id(action: bytes, nonce: int, vault: str | None, expires: int | None) -> bytes:
    """Hash a packed action with its nonce, its vault's address and its expiry."""
    data = action + nonce.to_bytes(8, "big")
    data += b"\x00" if vault is None else b"\x01" + bytes.fromhex(vault.removeprefix("0x"))
    if expires is not None:
        data += b"\x00" + expires.to_bytes(8, "big")
    return keccak256(data)


def agent_digest(source: str, identity: bytes) -> bytes:
    """Return the EIP-712 digest that a wallet signs for an L1 action."""
    agent = keccak256(_AGENT + keccak256(source.encode()) + identity)
    return keccak256(b"\x19\x01" + _DOMAIN + agent)


def recover(digest: bytes, signature: Signature) -> str:
    """Return the address that signed a digest; BadSignature when there is none."""
    try:
        r, s = int(signature.r, 16), int(signature.s, 16)
    except ValueError:
        raise BadSignature("r or s is not hex") from None
    recovery = signature.v - 27 if signature.v >= 27 else signature.v
    if not (0 < r < _SIGNATURE_ORDER and 0 < s < _SIGNATURE_ORDER and recovery in (0, 1)):
        raise BadSignature("r, s or v out of range")
    packed = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([recovery])
    try:
        return address_of_public_key(
            coincurve.PublicKey.from_signature_and_message(packed, digest, hasher=None)
        )
    except Exception as error:  # noqa: BLE001 - what the library raises off the curve
        raise BadSignature(str(error)) from None


class Nonces:
    """The nonces of one signer: unique, among the highest kept, within the time window."""

    def __init__(self) -> None:
        self._kept: list[int] = []

    def refusal(self, nonce: int, now_ms: int) -> str:
        """Return why a nonce is refused in the venue's words, or an empty text."""
        least, most = now_ms - NONCE_PAST_MS, now_ms + NONCE_FUTURE_MS
        if len(self._kept) == NONCES_KEPT:
            least = max(least, self._kept[0] + 1)
        at = bisect.bisect_left(self._kept, nonce)
        if at < len(self._kept) and self._kept[at] == nonce:
            return f"Invalid nonce: duplicate nonce {nonce}"
        if nonce < least:
            return f"Invalid nonce: nonce too low {nonce} < {least}"
        if nonce > most:
            return f"Invalid nonce: nonce too high {nonce} > {most}"
        return ""

    def keep(self, nonce: int) -> None:
        """Remember a nonce that was not refused."""
        bisect.insort(self._kept, nonce)
        del self._kept[:-NONCES_KEPT]
