"""secp256k1 signatures for EVM-shaped venues: Hyperliquid's L1 actions and user-signed actions.

An L1 action (order, cancel, leverage) is hashed as msgpack(action) | nonce, 8 bytes big-endian |
00, or 01 and the vault's 20 bytes | 00 and expiresAfter, 8 bytes, where set; its keccak-256 becomes
the connectionId of an EIP-712 `Agent` under a constant domain. A user-signed action (transfer,
approval) is ordinary EIP-712. Domain separators and type hashes are computed once, so an order
costs one msgpack, three keccaks and one signature: RFC 6979, low s (libsecp256k1).
Source: hyperliquid-python-sdk 0.24.0, `hyperliquid/utils/signing.py`.
"""

import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, NoReturn

import coincurve
import msgpack
from Crypto.Hash import keccak as _keccak

from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.ports import Stage
from alephtx.core.private_memory import PrivateMemory
from alephtx.core.scalars import SECP256K1_ORDER
from alephtx.core.secrets import Secret
from alephtx.core.units import format_scaled
from alephtx.signers.evm_stage import make_stage
from alephtx.signers.nonce_pool import Entry, NoncePool

SIGNATURE_CHAIN_ID = 0x66EEE  # the chain named in user-signed actions; any chain would do
DECIMALS_MAX = 8
_WORD_MAX = 1 << 64
_NEST_MAX = 16

_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CLIENT_ID = re.compile(r"0x[0-9a-fA-F]{32}")

_FIELDS: dict[str, str] = {
    "UsdSend": "string destination,string amount,uint64 time",
    "SpotSend": "string destination,string token,string amount,uint64 time",
    "Withdraw": "string destination,string amount,uint64 time",
    "UsdClassTransfer": "string amount,bool toPerp,uint64 nonce",
    "SendAsset": "string destination,string sourceDex,string destinationDex,string token,"
    "string amount,string fromSubAccount,uint64 nonce",
    "ApproveAgent": "address agentAddress,string agentName,uint64 nonce",
    "ApproveBuilderFee": "string maxFeeRate,address builder,uint64 nonce",
    "TokenDelegate": "address validator,uint64 wei,bool isUndelegate,uint64 nonce",
    "ConvertToMultiSigUser": "string signers,uint64 nonce",
    "UserDexAbstraction": "address user,bool enabled,uint64 nonce",
    "UserSetAbstraction": "address user,string abstraction,uint64 nonce",
}


def keccak256(data: bytes) -> bytes:
    """Return the keccak-256 (not SHA3) of data; about 5 us."""
    return bytes(_keccak.new(digest_bits=256, data=data).digest())


def checksum_address(raw: bytes) -> str:
    """Return 20 bytes as an address text with the EIP-55 mixed-case checksum."""
    if len(raw) != 20:
        raise UnitError(f"an address has 20 bytes, not {len(raw)}")
    plain = raw.hex()
    digest = keccak256(plain.encode()).hex()
    letters = (
        letter.upper() if int(bit, 16) >= 8 else letter
        for letter, bit in zip(plain, digest, strict=False)
    )
    return "0x" + "".join(letters)


def number_text(value: int, scale: int) -> str:
    """Return an integer of 10^-scale as the venue hashes it: no exponent, no trailing zeros.

    Raises UnitError for anything but a non-negative int, and for digits below 10^-8.
    """
    if type(value) is not int:
        raise UnitError(
            f"{value!r:.40} is {type(value).__name__}", remedy="sign ints of ticks or lots only"
        )
    if value < 0:
        raise UnitError(f"{value} is negative", remedy="the side says buy or sell, not the sign")
    text = format_scaled(value, scale, trim=True)
    if len(text.partition(".")[2]) > DECIMALS_MAX:
        raise UnitError(f"{text} has more than {DECIMALS_MAX} decimals")
    return text


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


@cache
def _domain(name: str, chain_id: int) -> bytes:
    kind = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    return keccak256(
        keccak256(kind.encode())
        + keccak256(name.encode())
        + keccak256(b"1")
        + _word(chain_id)
        + bytes(32)
    )


@cache
def _type_hash(name: str) -> bytes:
    fields = f"string hyperliquidChain,{_FIELDS[name]}"
    return keccak256(f"HyperliquidTransaction:{name}({fields})".encode())


_AGENT_TYPE = keccak256(b"Agent(string source,bytes32 connectionId)")
_AGENT_HEAD = {
    True: _AGENT_TYPE + keccak256(b"a"),  # mainnet
    False: _AGENT_TYPE + keccak256(b"b"),  # testnet, and every twin
}
_EXCHANGE_HEAD = b"\x19\x01" + _domain("Exchange", 1337)


def _uint64(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < _WORD_MAX:
        raise UnitError(f"{what} {value!r:.40} is not an integer of 64 bits, unsigned")
    return value


def _address_bytes(text: Any, what: str) -> bytes:
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise UnitError(f"{what} {text!r:.60} is not an address", remedy="0x and 40 hex digits")
    return bytes.fromhex(text[2:])


def _check(value: Any, name: str, depth: int) -> None:
    """Refuse what would be hashed differently from what the venue reads."""
    kind = type(value)
    if kind is str:
        if name in ("c", "cloid") and not _CLIENT_ID.fullmatch(value):
            raise UnitError(f"client id {value!r:.60} is not 0x and 32 hex digits")
    elif kind is int:
        _uint64(value, name)
    elif depth > _NEST_MAX:
        raise UnitError(f"action nests deeper than {_NEST_MAX} at {name}")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise UnitError(f"action has the key {key!r:.40}, which is no text")
            _check(item, key, depth + 1)
    elif kind is list:
        for item in value:
            _check(item, name, depth + 1)
    elif kind is not bool and value is not None:
        raise UnitError(
            f"action field {name} is {kind.__name__} {value!r:.40}",
            remedy="numbers are decimal texts or ints; see number_text",
        )


def action_hash(
    action: dict[str, Any], nonce: int, vault: str | None = None, expires: int | None = None
) -> bytes:
    """Return the connectionId of an L1 action; the order of its keys counts.

    nonce and expires are ms. Raises UnitError for floats, negative numbers and malformed ids.
    """
    _check(action, "action", 0)
    parts = [msgpack.packb(action), _uint64(nonce, "nonce").to_bytes(8, "big")]
    parts.append(b"\x00" if vault is None else b"\x01" + _address_bytes(vault, "vault"))
    if expires is not None:
        parts.append(b"\x00" + _uint64(expires, "expires").to_bytes(8, "big"))
    return keccak256(b"".join(parts))


def l1_digest(connection_id: bytes, mainnet: bool) -> bytes:
    """Return the EIP-712 digest of the Agent that stands for an L1 action."""
    return keccak256(_EXCHANGE_HEAD + keccak256(_AGENT_HEAD[mainnet] + connection_id))


def _encode_field(kind: str, value: Any, name: str) -> bytes:
    if kind == "string":
        if not isinstance(value, str):
            raise UnitError(f"field {name} is {value!r:.40}, not a text")
        return keccak256(value.encode())
    if kind == "address":
        return bytes(12) + _address_bytes(value, name)
    if kind == "bool":
        if type(value) is not bool:
            raise UnitError(f"field {name} is {value!r:.40}, not true or false")
        return _word(int(value))
    return _word(_uint64(value, name))


def user_digest(
    name: str, message: Mapping[str, Any], mainnet: bool, chain_id: int = SIGNATURE_CHAIN_ID
) -> bytes:
    """Return the EIP-712 digest of a user-signed action such as UsdSend.

    message holds the action's own fields; others are ignored, as the venue does. Raises ConfigError
    for an unknown name, UnitError for a missing or malformed field.
    """
    if name not in _FIELDS:
        raise ConfigError(f"unknown action {name!r:.40}", remedy=f"known: {', '.join(_FIELDS)}")
    parts = [_type_hash(name), keccak256(b"Mainnet" if mainnet else b"Testnet")]
    for field in _FIELDS[name].split(","):
        kind, _, key = field.partition(" ")
        if key not in message:
            raise UnitError(f"{name} lacks the field {key}")
        parts.append(_encode_field(kind, message[key], key))
    head = b"\x19\x01" + _domain("HyperliquidSignTransaction", chain_id)
    return keccak256(head + keccak256(b"".join(parts)))


def prepare_nonce(key: int, k: int) -> Entry | None:
    """Return what a signature with the nonce k needs; None for the one in 2^128 v cannot tell."""
    point = coincurve.PrivateKey(k.to_bytes(32, "big")).public_key.format()
    r = int.from_bytes(point[1:], "big")
    if r >= SECP256K1_ORDER:
        return None
    inverse = pow(k, -1, SECP256K1_ORDER)
    return inverse, inverse * r * key % SECP256K1_ORDER, point[1:], point[0] & 1


class EvmSigner:
    """Holds one private key and signs with it; `address` is public, the key never shows.

    pool: prepared nonces, None where none were asked for.
    """

    def __init__(self, secret: Secret, nonce_pool: int = 0) -> None:
        """Take a key of 64 hex digits, 0x or not; ConfigError otherwise, without showing it.

        nonce_pool: how many nonces to keep prepared; read docs/signing.md before any but 0.
        """
        text = secret.reveal().strip()
        if not _KEY.fullmatch(text):
            raise ConfigError(
                "the EVM key is not 64 hex digits (not shown)",
                remedy="give the private key of the wallet or API wallet, 0x and 64 hex digits",
            )
        try:
            key = coincurve.PrivateKey(bytes.fromhex(text[-64:]))
        except ValueError:
            raise ConfigError("the EVM key is zero or beyond the curve's order") from None
        self._key: coincurve.PrivateKey | None = key
        public = key.public_key.format(compressed=False)
        self.address = checksum_address(keccak256(public[1:])[12:])
        self._stages: list[PrivateMemory] = []
        self.pool: NoncePool | None = None
        if nonce_pool:
            make = partial(prepare_nonce, int.from_bytes(key.secret, "big"))
            self.pool = NoncePool(make, SECP256K1_ORDER, nonce_pool)

    def __repr__(self) -> str:
        return f"EvmSigner({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer never leaves its process")

    def stage(self, mainnet: bool) -> Stage:
        """Return the compiled way to sign L1 actions, for one thread; see `core.ports.Signer`.

        The payload is what the action's hash is taken of. mainnet is fixed: a stage of a twin or
        the testnet cannot sign for real money.
        """
        assert self._key is not None, "the signer is closed"
        made, memory = make_stage(self._key.secret, _AGENT_HEAD[mainnet], _EXCHANGE_HEAD, self.pool)
        self._stages.append(memory)
        return made

    def close(self) -> None:
        """Forget the key, wipe what stages and pool hold of it; stages refuse from now on.

        For when no thread is in a stage any more: one would sign with half an entry.
        """
        self._key = None
        for memory in self._stages:
            memory.close()
        if self.pool is not None:
            self.pool.close()

    def sign_digest(self, digest: bytes) -> bytes:
        """Return r, s and v (27 or 28) as 65 bytes; 26 us."""
        if len(digest) != 32:
            raise UnitError(f"a digest has 32 bytes, not {len(digest)}")
        assert self._key is not None, "the signer is closed"
        signature = self._key.sign_recoverable(digest, hasher=None)
        return bytes(signature[:64]) + bytes((signature[64] + 27,))

    def sign(self, payload: bytes) -> bytes:
        """Return the 65-byte signature of the payload's keccak-256."""
        return self.sign_digest(keccak256(payload))

    def _wire(self, digest: bytes) -> dict[str, str | int]:
        raw = self.sign_digest(digest)
        return {"r": f"0x{raw[:32].hex()}", "s": f"0x{raw[32:64].hex()}", "v": raw[64]}

    def sign_l1(
        self,
        action: dict[str, Any],
        nonce: int,
        vault: str | None = None,
        expires: int | None = None,
        mainnet: bool = False,
    ) -> dict[str, str | int]:
        """Sign an L1 action; nonce and expires in ms. Testnet and twins sign with mainnet False."""
        return self._wire(l1_digest(action_hash(action, nonce, vault, expires), mainnet))

    def sign_user(
        self,
        name: str,
        message: Mapping[str, Any],
        mainnet: bool = False,
        chain_id: int = SIGNATURE_CHAIN_ID,
    ) -> dict[str, str | int]:
        """Sign a user-signed action (UsdSend, Withdraw, ApproveAgent, ...)."""
        return self._wire(user_digest(name, message, mainnet, chain_id))
